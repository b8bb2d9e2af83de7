"""Fit a network to a data set: balanced loss, early stopping, history."""

from __future__ import annotations

import copy
import csv
import logging
import math
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from smartfilter.errors import InputError, MissingPackageError
from smartfilter.models import build
from smartfilter.models.layers import set_standardisation
from smartfilter.scoring import limit_threads, resolve_device
from smartfilter.training.dataset import GraphBatchTensors
from smartfilter.training.evaluation import area_under_curve

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside lightning's own imports
        from lightning.pytorch import Callback, LightningModule, Trainer
        from lightning.pytorch.callbacks import EarlyStopping, RichProgressBar
except ImportError as error:
    raise MissingPackageError("lightning", "train") from error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.training.config import TrainingConfig
    from smartfilter.training.dataset import GraphDataset

__all__ = ["FitResult", "balance", "fit", "predict"]

STANDARDISATION_EVENTS = 20_000
"""Training events whose nodes give the means and deviations of the features."""

PREDICTION_EVENTS = 128
"""Events per batch where there is no gradient: what stays in a CPU's cache."""


class _Batch(tuple[GraphBatchTensors, Tensor, Tensor]):
    """Inputs, labels (n_batch, n_skims) as float and weights of the loss, the same."""

    __slots__ = ()


@dataclass(frozen=True)
class FitResult:
    """A fitted network and how it got there.

    Parameters
    ----------
    network : nn.Module
        With the parameters of the best epoch.
    history : list of dict
        Per epoch: epoch, train_loss, validation_loss, validation_auc, learning_rate,
        seconds.
    settings : dict
        Keywords that built the network.
    """

    network: nn.Module
    history: list[dict[str, float]]
    settings: dict[str, Any]

    @property
    def best_epoch(self) -> int:
        """Epoch with the smallest validation loss, 0-based."""
        losses = [row["validation_loss"] for row in self.history]
        return int(np.argmin(losses))


def balance(dataset: GraphDataset, index: Tensor) -> Tensor:
    """Return weights that make passing and failing events count the same.

    For each skim the weights of either class add up to half the number of events;
    within a class they follow the sample weights.

    Parameters
    ----------
    dataset : GraphDataset
    index : Tensor of int64, shape (n,)
        Positions of events.

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
    scale = 0.5 * len(index) * weight
    return torch.where(passes, scale / sum_passing, scale / sum_failing).float()


class _EpochStream:
    """Batches of one epoch: all passing events, a new draw of failing ones."""

    def __init__(self, dataset: GraphDataset, config: TrainingConfig) -> None:
        self._dataset = dataset
        self._batch_size = config.batch_size
        index = dataset.find("train")
        self._weight = torch.zeros(dataset.passes.shape)
        self._weight[index] = balance(dataset, index)
        any_pass = dataset.passes[index].any(dim=1)
        self._passing, self._failing = index[any_pass], index[~any_pass]
        wanted = int(np.ceil(config.failing_per_passing * len(self._passing)))
        self._n_failing = min(wanted, len(self._failing))
        # Drawn events stand for those left out; the mean weight of an epoch stays 1.
        self._weight[self._failing] *= len(self._failing) / max(self._n_failing, 1)
        self._weight *= (len(self._passing) + self._n_failing) / len(index)
        self._generator = torch.Generator().manual_seed(config.seed)

    def __len__(self) -> int:
        """Return the number of batches."""
        return math.ceil((len(self._passing) + self._n_failing) / self._batch_size)

    def __iter__(self) -> Iterator[_Batch]:
        """Yield the batches of a new epoch in random order."""
        generator = self._generator
        drawn = torch.randperm(len(self._failing), generator=generator)
        index = torch.cat([self._passing, self._failing[drawn[: self._n_failing]]])
        index = index[torch.randperm(len(index), generator=generator)]
        for part in torch.split(index, self._batch_size):
            yield _make_batch(self._dataset, part, self._weight[part])


class _FixedStream:
    """Batches of a part of the data set in order."""

    def __init__(self, dataset: GraphDataset, index: Tensor) -> None:
        self._dataset = dataset
        self._index = torch.split(index, PREDICTION_EVENTS)
        self._weight = torch.split(balance(dataset, index), PREDICTION_EVENTS)

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[_Batch]:
        for part, weight in zip(self._index, self._weight, strict=True):
            yield _make_batch(self._dataset, part, weight)


def _make_batch(dataset: GraphDataset, index: Tensor, weight: Tensor) -> _Batch:
    return _Batch((dataset.gather(index), dataset.passes[index].float(), weight))


class _Classifier(LightningModule):
    """Binary cross-entropy per skim on logits."""

    def __init__(
        self, network: nn.Module, config: TrainingConfig, steps_per_epoch: int
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.n_steps = config.epochs * steps_per_epoch
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def training_step(self, batch: _Batch, _: int) -> Tensor:
        inputs, passes, weight = batch
        loss = binary_cross_entropy_with_logits(self.network(*inputs), passes, weight)
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=1)
        return loss

    def validation_step(self, batch: _Batch, _: int) -> None:
        inputs, passes, weight = batch
        self.seen.append((self.network(*inputs), passes, weight))

    def on_validation_epoch_end(self) -> None:
        logits, passes, weight = (
            torch.cat(c).cpu() for c in zip(*self.seen, strict=True)
        )
        self.seen.clear()
        loss = binary_cross_entropy_with_logits(logits, passes, weight)
        auc = [
            area_under_curve(s.numpy(), p.numpy() > 0.5, sample_weight=w.numpy())[0]
            for s, p, w in zip(logits.T, passes.T, weight.T, strict=True)
        ]
        self.log("validation_loss", loss, prog_bar=True)
        self.log("validation_auc", float(np.mean(auc)), prog_bar=True)

    def configure_optimizers(self) -> Any:
        config = self.config
        optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        if config.schedule == "cosine":
            cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.n_steps)
            return [optimizer], [{"scheduler": cosine, "interval": "step"}]
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=config.plateau_patience
        )
        monitored = {"scheduler": plateau, "monitor": "validation_loss"}
        return [optimizer], [monitored]


@dataclass
class _History(Callback):
    """Remembers every epoch and the parameters of the best one."""

    file: Path | None
    rows: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        row = {
            "epoch": float(trainer.current_epoch),
            **{
                k: metrics[k]
                for k in ("train_loss", "validation_loss", "validation_auc")
            },
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "seconds": time.perf_counter() - self.started,
        }
        earlier = [r["validation_loss"] for r in self.rows]
        if not earlier or row["validation_loss"] < min(earlier):
            network = cast("_Classifier", pl_module).network
            self.best = copy.deepcopy(network.state_dict())
        self.rows.append(row)
        if self.file is not None:
            self._write()

    def _write(self) -> None:
        assert self.file is not None
        with self.file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)


def fit(
    dataset: GraphDataset,
    config: TrainingConfig,
    *,
    n_tokens: int,
    history_file: Path | None = None,
    progress: bool = False,
) -> FitResult:
    """Train a network on the training split, stop early on the validation split.

    Repeats to the bit with the same data, configuration and number of CPU threads.

    Parameters
    ----------
    dataset : GraphDataset
    config : TrainingConfig
    n_tokens : int
        Rows of the PDG embedding.
    history_file : Path, optional
        CSV file with one row per epoch, rewritten after each.
    progress : bool
        Show a progress bar on stderr.

    Raises
    ------
    InputError
        If a split lacks passing or failing events of a skim.
    UsageError, DeviceError
        If network, settings or device do not exist.
    """
    settings = {
        **config.settings,
        "n_features": dataset.x.shape[1],
        "n_tokens": n_tokens,
        "n_skims": len(dataset.skims),
    }
    device = resolve_device(config.device)
    with torch.random.fork_rng(devices=[]), limit_threads(config.threads):
        torch.manual_seed(config.seed)
        network = build(config.network, **settings)
        sample = dataset.find("train")[:STANDARDISATION_EVENTS]
        set_standardisation(network, dataset.gather(sample).x)
        streams = (
            _EpochStream(dataset, config),
            _FixedStream(dataset, dataset.find("validation")),
        )
        history = _History(history_file)
        with _quiet_lightning():
            trainer = _make_trainer(config, device, history, progress=progress)
            trainer.fit(_Classifier(network, config, len(streams[0])), *streams)
    network.load_state_dict(history.best)
    return FitResult(network.cpu().eval(), history.rows, settings)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence lightning's advice on loaders, loggers and devices."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)


def _make_trainer(
    config: TrainingConfig, device: torch.device, history: _History, *, progress: bool
) -> Trainer:
    callbacks: list[Callback] = [
        history,
        EarlyStopping("validation_loss", patience=config.stop_patience),
    ]
    if progress:
        callbacks.append(RichProgressBar(console_kwargs={"stderr": True}))
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        max_epochs=config.epochs,
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def predict(
    network: nn.Module, dataset: GraphDataset, index: Tensor
) -> NDArray[np.float32]:
    """Return the logits of these events, shape (n, n_skims); on the CPU."""
    with torch.inference_mode():
        parts = [
            network(*dataset.gather(part))
            for part in torch.split(index, PREDICTION_EVENTS)
        ]
    result: NDArray[np.float32] = torch.cat(parts).numpy()
    return result
