"""Fit a network to a data set: balanced loss, early stopping, history."""

from __future__ import annotations

import copy
import csv
import json
import logging
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from smartfilter.errors import MissingPackageError, UsageError
from smartfilter.events import UNKNOWN_EVENT_TYPE
from smartfilter.models import build
from smartfilter.models.layers import set_standardisation
from smartfilter.scoring import limit_threads, resolve_device
from smartfilter.training.evaluation import area_under_curve
from smartfilter.training.streams import (
    PREDICTION_EVENTS,
    Batch,
    EpochStream,
    FixedStream,
)

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside lightning's own imports
        from lightning.pytorch import Callback, LightningModule, Trainer
        from lightning.pytorch.callbacks import (
            EarlyStopping,
            ModelCheckpoint,
            RichProgressBar,
        )
except ImportError as error:
    raise MissingPackageError("lightning", "train") from error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.training.config import TrainingConfig
    from smartfilter.training.dataset import GraphDataset

__all__ = ["FitResult", "fit", "predict"]

_FINGERPRINT = "smartfilter_fingerprint"
_PLATEAU = "smartfilter_plateau"

STANDARDISATION_EVENTS = 20_000
"""Training events whose nodes give the means and deviations of the features."""


@dataclass(frozen=True)
class FitResult:
    """A fitted network and how it got there.

    Parameters
    ----------
    network : nn.Module
        With the parameters of the best epoch.
    history : list of dict
        Per epoch: epoch, train_loss, validation_loss, validation_auc (mean over the
        skims), learning_rate, seconds, and with several skims auc_<skim> each.
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


class _Classifier(LightningModule):
    """Binary cross-entropy per skim on logits."""

    def __init__(
        self,
        network: nn.Module,
        config: TrainingConfig,
        stream: EpochStream,
        skims: tuple[str, ...],
        fingerprint: str,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.stream = stream
        self.skims = skims
        self.fingerprint = fingerprint
        self.n_steps = config.epochs * len(stream)
        # Lightning would step it behind the checkpoint, and a resumed fit miss that.
        self.plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self.plateau_state: dict[str, Any] | None = None
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_train_epoch_start(self) -> None:
        self.stream.epoch = self.current_epoch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[_FINGERPRINT] = self.fingerprint
        if self.plateau is not None:
            checkpoint[_PLATEAU] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.plateau_state = checkpoint.get(_PLATEAU)

    def on_train_start(self) -> None:
        if self.plateau is not None and self.plateau_state is not None:
            self.plateau.load_state_dict(self.plateau_state)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        inputs, passes, weight = batch
        loss = binary_cross_entropy_with_logits(self.network(*inputs), passes, weight)
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=1)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
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
        if self.plateau is not None:
            self.plateau.step(float(loss))
        self.log("validation_loss", loss, prog_bar=True)
        self.log("validation_auc", float(np.mean(auc)), prog_bar=True)
        if len(auc) > 1:
            self.log_dict({f"auc_{k}": v for k, v in zip(self.skims, auc, strict=True)})

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
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=config.plateau_patience
        )
        return optimizer


@dataclass
class _History(Callback):
    """Remembers every epoch and the parameters of the best one."""

    file: Path | None
    rows: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.best = state_dict["rows"], state_dict["best"]
        if self.rows:
            self.started = time.perf_counter() - self.rows[-1]["seconds"]

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
            **{k: v for k, v in metrics.items() if k.startswith("auc_")},
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
    checkpoint: Path | None = None,
    resume: bool = False,
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
    checkpoint : Path, optional
        File from which an interrupted fit can go on, rewritten after each epoch.
    resume : bool
        Go on from the checkpoint if there is one; the result is that of a fit without
        interruption.
    progress : bool
        Show a progress bar on stderr.

    Raises
    ------
    InputError
        If a split lacks passing or failing events of a skim.
    UsageError, DeviceError
        If network, settings or device do not exist, or the checkpoint is of another
        configuration or other data.
    """
    fingerprint = _identify(dataset, config)
    start = checkpoint if checkpoint and resume and checkpoint.exists() else None
    if start is not None:
        _require_same(start, fingerprint)
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
        streams = EpochStream(dataset, config), FixedStream(dataset, config)
        history = _History(history_file)
        module = _Classifier(network, config, streams[0], dataset.skims, fingerprint)
        with _quiet_lightning():
            trainer = _make_trainer(
                config, device, history, checkpoint, progress=progress
            )
            try:
                trainer.fit(module, *streams, ckpt_path=start, weights_only=True)
            except SystemExit:  # what lightning makes of an interruption
                if trainer.interrupted:
                    raise KeyboardInterrupt from None
                raise
    network.load_state_dict(history.best)
    return FitResult(network.cpu().eval(), history.rows, settings)


def _identify(dataset: GraphDataset, config: TrainingConfig) -> str:
    """Return what a fit depends on as text."""
    document = {
        "config": config.model_dump(mode="json", exclude={"threads", "device"}),
        "skims": dataset.skims,
        "n_events": len(dataset),
        "n_nodes": len(dataset.x),
        "n_passing": dataset.passes.sum(dim=0).tolist(),
    }
    return json.dumps(document, sort_keys=True)


def _require_same(checkpoint: Path, fingerprint: str) -> None:
    """Refuse a checkpoint of another fit."""
    try:
        stored = torch.load(checkpoint, weights_only=True).get(_FINGERPRINT)
    except (OSError, RuntimeError, EOFError, AttributeError, UnpicklingError) as error:
        raise UsageError(
            f"checkpoint: expected one of a training, got something else in "
            f"{checkpoint}; train without resuming"
        ) from error
    if stored != fingerprint:
        raise UsageError(
            f"checkpoint: expected the same configuration and data, got others in "
            f"{checkpoint}; use those, or train without resuming"
        )


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
    config: TrainingConfig,
    device: torch.device,
    history: _History,
    checkpoint: Path | None,
    *,
    progress: bool,
) -> Trainer:
    callbacks: list[Callback] = [
        history,
        EarlyStopping("validation_loss", patience=config.stop_patience),
    ]
    if checkpoint is not None:
        callbacks.append(
            ModelCheckpoint(
                checkpoint.absolute().parent,
                checkpoint.stem,
                enable_version_counter=False,
                save_on_train_epoch_end=True,
            )
        )
    if progress:
        callbacks.append(RichProgressBar(console_kwargs={"stderr": True}))
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        max_epochs=config.epochs,
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=checkpoint is not None,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def predict(
    network: nn.Module,
    dataset: GraphDataset,
    index: Tensor,
    *,
    hide_event_type: bool = False,
) -> NDArray[np.float32]:
    """Return the logits of these events, shape (n, n_skims); on the CPU.

    Parameters
    ----------
    network : nn.Module
    dataset : GraphDataset
    index : Tensor of int64, shape (n,)
    hide_event_type : bool
        Whether the network sees all events as of unknown type.
    """
    parts = []
    with torch.inference_mode():
        for part in torch.split(index, PREDICTION_EVENTS):
            batch = dataset.gather(part)
            if hide_event_type:
                unknown = torch.full_like(batch.event_type, UNKNOWN_EVENT_TYPE)
                batch = batch._replace(event_type=unknown)
            parts.append(network(*batch))
    result: NDArray[np.float32] = torch.cat(parts).numpy()
    return result
