"""What lightning drives: a network with its loss, and the memory of its epochs."""

from __future__ import annotations

import copy
import csv
import math
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from smartfilter.errors import MissingPackageError
from smartfilter.training.evaluation import area_under_curve

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside lightning's own imports
        from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise MissingPackageError("lightning", "train") from error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from smartfilter.training.config import TrainingConfig
    from smartfilter.training.losses import Loss
    from smartfilter.training.streams import Batch, EpochStream

__all__ = ["FINGERPRINT", "Classifier", "History"]

FINGERPRINT = "smartfilter_fingerprint"
"""Key of what a fit depends on in its checkpoint."""

_PLATEAU = "smartfilter_plateau"


class Classifier(LightningModule):
    """A network, its loss and its optimiser.

    Parameters
    ----------
    network : nn.Module
    config : TrainingConfig
    stream : EpochStream
        Told the epoch.
    loss : Loss
    skims : tuple of str
    fingerprint : str
        Written to checkpoints.
    """

    def __init__(
        self,
        network: nn.Module,
        config: TrainingConfig,
        stream: EpochStream,
        loss: Loss,
        skims: tuple[str, ...],
        fingerprint: str,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.stream = stream
        self.loss = loss
        self.skims = skims
        self.fingerprint = fingerprint
        self.n_steps = config.epochs * len(stream)
        # Lightning would step it behind the checkpoint, and a resumed fit miss that.
        self.plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self.plateau_state: dict[str, Any] | None = None
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_train_epoch_start(self) -> None:
        """Draw events, and hide outputs (dropout), as this epoch of this seed does."""
        self.stream.epoch = self.current_epoch
        torch.manual_seed(1_000_003 * self.config.seed + self.current_epoch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what lightning does not know of."""
        checkpoint[FINGERPRINT] = self.fingerprint
        if self.plateau is not None:
            checkpoint[_PLATEAU] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the state of the schedule, which does not exist yet."""
        self.plateau_state = checkpoint.get(_PLATEAU)

    def on_train_start(self) -> None:
        """Restore the schedule."""
        if self.plateau is not None and self.plateau_state is not None:
            self.plateau.load_state_dict(self.plateau_state)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of a batch."""
        inputs, passes, weight = batch
        loss = self.loss(self.network(*inputs), passes, weight)
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=1)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Keep the logits of a batch."""
        inputs, passes, weight = batch
        logits = self.network(*inputs)[:, : len(self.skims)]
        self.seen.append((logits, passes, weight))

    def on_validation_epoch_end(self) -> None:
        """Log loss and area under the curve of all validation events together."""
        logits, passes, weight = (
            torch.cat(c).cpu() for c in zip(*self.seen, strict=True)
        )
        self.seen.clear()
        loss = self.loss(logits, passes, weight)
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
        """Return Adam with the schedule of the configuration."""
        config = self.config
        optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        if config.schedule == "cosine":
            cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.n_steps)
            return [optimizer], [{"scheduler": cosine, "interval": "step"}]
        if config.schedule == "plateau":
            self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer,
                factor=config.plateau_factor,
                patience=config.plateau_patience,
                threshold=config.plateau_threshold,
                min_lr=config.min_learning_rate,
            )
        return optimizer


@dataclass
class History(Callback):
    """Remembers every epoch and the parameters of the best one; keeps to the budget.

    Parameters
    ----------
    file : Path or None
        CSV file, rewritten after each epoch.
    max_minutes : float or None
        The training stops behind the epoch that exceeds it.
    clock : callable
        Tells seconds.
    """

    file: Path | None
    max_minutes: float | None = None
    clock: Callable[[], float] = time.perf_counter
    rows: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock."""
        self.started = self.clock()

    @property
    def is_over_budget(self) -> bool:
        """Whether the epochs so far took longer than they may."""
        if self.max_minutes is None or not self.rows:
            return False
        return self.rows[-1]["seconds"] > 60.0 * self.max_minutes

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {"rows": self.rows, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; the time of earlier epochs counts."""
        self.rows, self.best = state_dict["rows"], state_dict["best"]
        if self.rows:
            self.started = self.clock() - self.rows[-1]["seconds"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a row."""
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        row = {
            "epoch": float(trainer.current_epoch),
            **{
                k: metrics[k]
                for k in ("train_loss", "validation_loss", "validation_auc")
            },
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "seconds": self.clock() - self.started,
            **{k: v for k, v in metrics.items() if k.startswith("auc_")},
        }
        losses = [r["validation_loss"] for r in self.rows]
        earlier = min(filter(math.isfinite, losses), default=math.inf)
        if not self.best or row["validation_loss"] < earlier:
            network = cast("Classifier", pl_module).network
            self.best = copy.deepcopy(network.state_dict())
        self.rows.append(row)
        if self.is_over_budget:
            trainer.should_stop = True
        if self.file is not None:
            self._write()

    def _write(self) -> None:
        assert self.file is not None
        with self.file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
