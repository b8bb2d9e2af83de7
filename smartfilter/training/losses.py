"""Losses on logits: binary cross-entropy, and the cost of the filtered production."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from smartfilter.model_info import DEFAULT
from smartfilter.training.retention import find_retention_rates

if TYPE_CHECKING:
    from smartfilter.training.config import TrainingConfig
    from smartfilter.training.dataset import GraphDataset

__all__ = ["EffectiveSampleSizeLoss", "Loss", "find_importance", "make_loss"]

_SMALLEST_LOGIT = -60.0
"""1/p grows as exp(-logit): beyond, float32 would overflow in the squared gradient."""


class Loss(Protocol):
    """From logits, labels and weights, all (n_events, n_skims), to a number."""

    def __call__(self, logits: Tensor, passes: Tensor, weight: Tensor, /) -> Tensor:
        """Return the loss, shape ()."""


@dataclass(frozen=True, eq=False)
class EffectiveSampleSizeLoss:
    r"""Time with the filter over time without, at the same effective sample size.

    Each event is kept with the probability p = sigmoid(logit) and has the weight 1/p if
    it is. Passing events with the sum of weights S1(w) are worth
    :math:`S_1(w)^2 / S_1(w/p)` events without weights. With the means :math:`m_1, m_0`
    over passing and failing events and the retention rate r,

    .. math::
        \frac{t_g + t_n + t_s (r\, m_1(p) + (1 - r)\, m_0(p))}{t_g + t_s}\; m_1(1/p)

    which is 1 over `smartfilter.speedup.sampling_speedup`, and for equal sums of weights
    of both classes the legacy filter's metric and loss (basf2
    ``generators/scripts/smartBKG/utils/metrics.py``).

    Parameters
    ----------
    retention_rate : Tensor, shape (n_skims,)
    importance : Tensor, shape (n_skims,)
        Weights of the mean over the skims, with the mean 1.
    simulation_cost, filter_cost : float
        t_s / t_g and t_n / t_g.

    Notes
    -----
    A skim of which a batch lacks passing or failing events does not count there.
    """

    retention_rate: Tensor
    importance: Tensor
    simulation_cost: float
    filter_cost: float

    def __call__(self, logits: Tensor, passes: Tensor, weight: Tensor) -> Tensor:
        """Return the mean over the skims, shape ()."""
        rate = self.retention_rate.to(logits)
        p = torch.sigmoid(logits)
        inverse = 1.0 + torch.exp(-logits.clamp(min=_SMALLEST_LOGIT))
        passing, failing = weight * passes, weight * (1.0 - passes)
        sum_1, sum_0 = passing.sum(dim=0), failing.sum(dim=0)
        counts = (sum_1 > 0) & (sum_0 > 0)
        sum_1, sum_0 = torch.where(counts, sum_1, 1.0), torch.where(counts, sum_0, 1.0)
        kept = rate * (passing * p).sum(dim=0) / sum_1
        kept = kept + (1.0 - rate) * (failing * p).sum(dim=0) / sum_0
        time = 1.0 + self.filter_cost + self.simulation_cost * kept
        ratio = time / (1.0 + self.simulation_cost) * (passing * inverse).sum(0) / sum_1
        return (ratio * counts * self.importance.to(logits)).mean()


def find_importance(dataset: GraphDataset, config: TrainingConfig) -> Tensor:
    """Return the relative weight of each skim's loss, mean 1, shape (n_skims,)."""
    importance = torch.tensor([config.loss_weight.get(k, 1.0) for k in dataset.skims])
    return importance / importance.mean()


def make_loss(dataset: GraphDataset, config: TrainingConfig) -> Loss:
    """Return the loss that a configuration asks for.

    Parameters
    ----------
    dataset : GraphDataset
        Gives skims and retention rates.
    config : TrainingConfig
    """
    if config.loss == "cross_entropy":
        return binary_cross_entropy_with_logits
    rates = [
        find_retention_rates(dataset.totals, k, skim, config)[DEFAULT]
        for k, skim in enumerate(dataset.skims)
    ]
    return EffectiveSampleSizeLoss(
        torch.tensor(rates),
        find_importance(dataset, config),
        config.loss_simulation_cost,
        config.loss_filter_cost,
    )
