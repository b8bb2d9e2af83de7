"""Fit a network to a data set: balanced loss, early stopping, history."""

from __future__ import annotations

import inspect
import json
import logging
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from smartfilter.errors import MissingPackageError, UsageError
from smartfilter.events import UNKNOWN_EVENT_TYPE
from smartfilter.models import NETWORKS, build
from smartfilter.models.constants import set_constants
from smartfilter.presets import get_preset
from smartfilter.scoring import limit_threads, resolve_device
from smartfilter.training.auxiliary import AuxiliaryLoss, strip_outputs
from smartfilter.training.classifier import FINGERPRINT, Classifier, History
from smartfilter.training.initialise import initialise
from smartfilter.training.losses import make_loss
from smartfilter.training.streams import PREDICTION_EVENTS, EpochStream, FixedStream

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside lightning's own imports
        from lightning.pytorch import Callback, Trainer
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

STANDARDISATION_EVENTS = 20_000
"""Training events whose nodes give means and deviations of the features, and the most
frequent PDG codes."""


@dataclass(frozen=True)
class FitResult:
    """A fitted network and how it got there.

    Parameters
    ----------
    network : nn.Module
        With the parameters of the best epoch.
    history : list of dict
        Per epoch: epoch, train_loss, validation_loss, validation_auc (mean over the
        skims), learning_rate, seconds, and with several skims auc_<skim> each. With one
        thread, seconds are processor time.
    settings : dict
        Keywords that built the network.
    stopped : str
        ``epochs`` if all were done, ``minutes`` if the budget was spent, else
        ``validation``: its loss did not get smaller, or was not a number.
    """

    network: nn.Module
    history: list[dict[str, float]]
    settings: dict[str, Any]
    stopped: str

    @property
    def best_epoch(self) -> int:
        """Epoch with the smallest validation loss, 0-based."""
        losses = np.array([row["validation_loss"] for row in self.history])
        return int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))


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
        If network, settings or device do not exist, the checkpoint is of another
        configuration or other data, or the model to start from does not fit.
    ModelFileError
        If the model to start from cannot be read.
    """
    fingerprint = _identify(dataset, config)
    start = checkpoint if checkpoint and resume and checkpoint.exists() else None
    if start is not None:
        _require_same(start, fingerprint)
    _require_variables(dataset, config)
    settings = _complete_settings(dataset, config, n_tokens)
    device = resolve_device(config.device)
    with torch.random.fork_rng(devices=[]), limit_threads(config.threads):
        torch.manual_seed(config.seed)
        network = build(config.network, **settings)
        sample = dataset.find("train")[:STANDARDISATION_EVENTS]
        nodes = dataset.gather(sample)
        set_constants(network, nodes.x, nodes.pdg)
        if config.initialise_from is not None:
            initialise(
                network,
                config.initialise_from,
                config=config,
                settings=settings,
                skims=dataset.skims,
            )
        streams = EpochStream(dataset, config), FixedStream(dataset, config)
        history = History(
            history_file,
            config.max_minutes,
            time.process_time if config.threads == 1 else time.perf_counter,
        )
        loss = AuxiliaryLoss(
            make_loss(dataset, config), len(dataset.skims), config.auxiliary_weight
        )
        module = Classifier(
            network, config, streams[0], loss, dataset.skims, fingerprint
        )
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
    if config.auxiliary:
        network, settings = strip_outputs(
            network, config.network, settings, len(dataset.skims)
        )
    return FitResult(
        network.cpu().eval(), history.rows, settings, _explain_end(history, config)
    )


def _require_variables(dataset: GraphDataset, config: TrainingConfig) -> None:
    """Refuse a data set that was not read for the auxiliary targets."""
    n_variables = dataset.variables.shape[1]
    if n_variables != len(config.auxiliary):
        raise UsageError(
            f"data set: expected the variables of 'auxiliary', "
            f"{', '.join(config.auxiliary) or 'none'}, got {n_variables}; read it with them"
        )


def _complete_settings(
    dataset: GraphDataset, config: TrainingConfig, n_tokens: int
) -> dict[str, Any]:
    """Return the keywords of the network."""
    settings = {
        **config.settings,
        "n_features": dataset.x.shape[1],
        "n_tokens": n_tokens,
        "n_skims": len(dataset.skims) + len(config.auxiliary),
    }
    network = NETWORKS.get(config.network)
    if network and "features" in inspect.signature(network).parameters:
        preset = get_preset(config.preset)
        settings["features"] = [feature.name for feature in preset.features]
    return settings


def _explain_end(history: History, config: TrainingConfig) -> str:
    """Return why there was no further epoch."""
    if len(history.rows) >= config.epochs:
        return "epochs"
    return "minutes" if history.is_over_budget else "validation"


def _identify(dataset: GraphDataset, config: TrainingConfig) -> str:
    """Return what a fit depends on as text."""
    document = {
        "config": config.model_dump(
            mode="json", exclude={"threads", "device", "max_minutes"}
        ),
        "skims": dataset.skims,
        "n_events": len(dataset),
        "n_nodes": len(dataset.x),
        "n_passing": dataset.passes.sum(dim=0).tolist(),
    }
    return json.dumps(document, sort_keys=True)


def _require_same(checkpoint: Path, fingerprint: str) -> None:
    """Refuse a checkpoint of another fit."""
    try:
        stored = torch.load(checkpoint, weights_only=True).get(FINGERPRINT)
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
    history: History,
    checkpoint: Path | None,
    *,
    progress: bool,
) -> Trainer:
    callbacks: list[Callback] = [
        history,
        EarlyStopping(
            "validation_loss",
            patience=config.stop_patience,
            min_delta=config.stop_min_delta,
        ),
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
