"""What a fit sees: batches of an epoch, their labels and the weights of the loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from smartfilter.errors import InputError
from smartfilter.events import UNKNOWN_EVENT_TYPE
from smartfilter.training.auxiliary import RankScale
from smartfilter.training.dataset import GraphBatchTensors
from smartfilter.training.losses import find_importance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smartfilter.training.config import TrainingConfig
    from smartfilter.training.dataset import GraphDataset

__all__ = ["PREDICTION_EVENTS", "Batch", "EpochStream", "FixedStream", "balance"]

PREDICTION_EVENTS = 128
"""Events per batch where there is no gradient: what stays in a CPU's cache."""

_RANKED_EVENTS = 20_000
"""Drawn events among which auxiliary targets are ranked."""


class Batch(tuple[GraphBatchTensors, Tensor, Tensor]):
    """Inputs, labels (n_batch, n_skims) as float and weights of the loss, the same.

    Training batches have auxiliary targets as further columns of the labels.
    """

    __slots__ = ()


def balance(dataset: GraphDataset, index: Tensor, power: float = 1.0) -> Tensor:
    r"""Return weights of the loss under which passing events of each skim count more.

    With S1 and S0 the sums of the sample weights of passing and of failing events, a
    passing event counts :math:`(S_0 / S_1)^\mathrm{power}` as much as a failing one of
    the same sample weight; the weights of each skim add up to the number of events.

    Parameters
    ----------
    dataset : GraphDataset
    index : Tensor of int64, shape (n,)
        Positions of events.
    power : float
        1: both classes count the same; 0: as often as they occur. Between them a rare
        skim has few large weights and does not rule a network that others share.

    Returns
    -------
    Tensor of float32, shape (n, n_skims)

    Raises
    ------
    InputError
        If no event passes, or none fails, a skim.
    """
    weight = dataset.weight[index].double().unsqueeze(1)
    passes = dataset.passes[index]
    sum_passing = (weight * passes).sum(dim=0)
    sum_failing = (weight * ~passes).sum(dim=0)
    for name, w1, w0 in zip(dataset.skims, sum_passing, sum_failing, strict=True):
        if not (w1 > 0 and w0 > 0):
            raise InputError(
                f"labels of '{name}': expected passing and failing events in every "
                f"split, got only {'failing' if w1 <= 0 else 'passing'} ones among "
                f"{len(index)}; add data"
            )
    ratio = (sum_failing / sum_passing) ** power
    scale = len(index) * weight / (ratio * sum_passing + sum_failing)
    return torch.where(passes, ratio * scale, scale).float()


def _weigh(dataset: GraphDataset, index: Tensor, config: TrainingConfig) -> Tensor:
    """Return the weights of `balance` times the importance of each skim."""
    weight = balance(dataset, index, config.class_balance)
    return weight * find_importance(dataset, config)


class _Pools:
    """Events that pass any skim and events that fail all, with draws of both.

    Drawn events stand for those left out; the mean weight of a draw stays 1.
    """

    def __init__(
        self, dataset: GraphDataset, split: str, config: TrainingConfig
    ) -> None:
        index = dataset.find(split)
        weight = _weigh(dataset, index, config)
        passing = dataset.passes[index].any(dim=1)
        everything = (index[passing], index[~passing])
        self.pools = everything
        if split == "train" and config.training_events is not None:
            self.pools = _limit(everything, config.training_events, config.split_seed)
        sizes = [len(pool) for pool in self.pools]
        wanted = sizes[0]
        if config.events_per_epoch is not None:
            share = 1.0 / (1.0 + config.failing_per_passing)
            wanted = min(wanted, max(1, round(share * config.events_per_epoch)))
        self.n_drawn = (
            wanted,
            min(math.ceil(config.failing_per_passing * wanted), sizes[1]),
        )
        self.weight = torch.zeros(dataset.passes.shape)
        self.weight[index] = weight * (sum(self.n_drawn) / len(index))
        for pool, n_drawn in zip(everything, self.n_drawn, strict=True):
            self.weight[pool] *= len(pool) / max(n_drawn, 1)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return the positions of drawn events in random order."""
        drawn = [
            pool[torch.randperm(len(pool), generator=generator)[:n_drawn]]
            for pool, n_drawn in zip(self.pools, self.n_drawn, strict=True)
        ]
        index = torch.cat(drawn)
        return index[torch.randperm(len(index), generator=generator)]


def _limit(
    pools: tuple[Tensor, Tensor], n_events: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the same number of events of either class, at most n_events together."""
    n_each = min(n_events // 2, *(len(pool) for pool in pools))
    generator = torch.Generator().manual_seed(seed)
    passing, failing = (
        pool[torch.randperm(len(pool), generator=generator)[:n_each]].sort().values
        for pool in pools
    )
    return passing, failing


class EpochStream:
    """Training batches: each epoch has a draw of its own, a function of seed and epoch.

    Parameters
    ----------
    dataset : GraphDataset
    config : TrainingConfig
    """

    def __init__(self, dataset: GraphDataset, config: TrainingConfig) -> None:
        self._dataset = dataset
        self._config = config
        self._pools = _Pools(dataset, "train", config)
        self._scale = self._measure_scale() if dataset.variables.shape[1] else None
        self.epoch = 0

    def _measure_scale(self) -> RankScale:
        """Return the ranks of the auxiliary targets among events as they are drawn."""
        generator = torch.Generator().manual_seed(self._config.seed)
        index = self._pools.draw(generator)[:_RANKED_EVENTS]
        return RankScale.measure(self._dataset.variables[index])

    def __len__(self) -> int:
        """Return the number of batches."""
        return math.ceil(sum(self._pools.n_drawn) / self._config.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the epoch in random order."""
        config = self._config
        generator = torch.Generator().manual_seed(1_000_003 * config.seed + self.epoch)
        index = self._pools.draw(generator)
        for part in torch.split(index, config.batch_size):
            batch = self._dataset.gather(part)
            hidden = (
                torch.rand(len(part), generator=generator)
                < config.unknown_event_type_share
            )
            event_type = batch.event_type.masked_fill(hidden, UNKNOWN_EVENT_TYPE)
            yield Batch(
                (
                    batch._replace(event_type=event_type),
                    self._read_targets(part),
                    self._pools.weight[part],
                )
            )

    def _read_targets(self, index: Tensor) -> Tensor:
        passes = self._dataset.passes[index].float()
        if self._scale is None:
            return passes
        return torch.cat([passes, self._scale(self._dataset.variables[index])], dim=1)


class FixedStream:
    """Batches of the same validation events in every epoch.

    Parameters
    ----------
    dataset : GraphDataset
    config : TrainingConfig
    """

    def __init__(self, dataset: GraphDataset, config: TrainingConfig) -> None:
        self._dataset = dataset
        pools = _Pools(dataset, "validation", config)
        generator = torch.Generator().manual_seed(config.seed)
        index = pools.draw(generator).sort().values
        self._index = torch.split(index, PREDICTION_EVENTS)
        self._weight = pools.weight

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._index)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order."""
        for part in self._index:
            inputs = self._dataset.gather(part)
            passes = self._dataset.passes[part].float()
            yield Batch((inputs, passes, self._weight[part]))
