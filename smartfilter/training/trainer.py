"""From labelled files to a model file."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter import __version__
from smartfilter.errors import InputError
from smartfilter.graphs import get_preset
from smartfilter.io.labelled import read_labelled_metadata
from smartfilter.model_file import save_model
from smartfilter.model_info import ModelInfo, SkimInfo
from smartfilter.models import count_parameters
from smartfilter.pdg import load_vocabulary
from smartfilter.pipeline.skims import SKIMS
from smartfilter.scoring import Calibrator, limit_threads
from smartfilter.training.assessment import (
    Assessment,
    ScoredSample,
    assess,
    summarise,
)
from smartfilter.training.dataset import load_dataset
from smartfilter.training.fit import FitResult, fit, predict
from smartfilter.training.initialise import check_start, describe_start
from smartfilter.training.recalibration import CalibrationSample, calibrate_skim
from smartfilter.training.retention import check_skim_settings, find_retention_rates
from smartfilter.training.split import SPLITS, Split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from smartfilter.training.config import TrainingConfig
    from smartfilter.training.dataset import GraphDataset

__all__ = ["TrainingResult", "train_model", "train_on"]

log = logging.getLogger(__name__)

_CODES = {skim.name: int(skim.code) for skim in SKIMS}
"""Codes of skims that the configuration has none for."""

_DIFFERS_BETWEEN_PARTS = ("path", "index", "n_events", "n_generated")
"""Keys of a labelled file's provenance that do not say how it was made."""


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What a training made.

    Parameters
    ----------
    path : Path
        The model file.
    digest : str
    info : ModelInfo
    history : list of dict
        See `smartfilter.training.fit.FitResult`.
    assessment : Assessment
        Figures of merit on the test split.
    """

    path: Path
    digest: str
    info: ModelInfo
    history: list[dict[str, float]]
    assessment: Assessment


def train_model(
    files: Sequence[str | Path],
    output: str | Path,
    config: TrainingConfig,
    *,
    advance: Callable[[int], None] | None = None,
    progress: bool = False,
    history_file: Path | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> TrainingResult:
    """Train a network on labelled files and write the model file.

    The split is that of `smartfilter.training.split.Split`: parameters come from the
    training events, the best epoch, calibration and working point from the validation
    events, the quoted metrics from the test events.

    Parameters
    ----------
    files : sequence of str or Path
        As `smartfilter.open_events` takes them.
    output : str or Path
        The model file; replaced if it exists.
    config : TrainingConfig
    advance : callable, optional
        Told the number of events read since its last call.
    progress : bool
        Show a progress bar of the fit on stderr.
    history_file : Path, optional
        CSV file with one row per epoch.
    checkpoint : Path, optional
        File from which an interrupted training can go on; removed in the end, but kept
        when the budget was spent: a larger ``max_minutes`` goes on from there.
    resume : bool
        Go on from the checkpoint if there is one.

    Raises
    ------
    InputError
        If labels are missing, or a split lacks passing or failing events.
    UsageError, DeviceError
        If the configuration names what does not exist, or the model to start from does
        not fit.
    ModelFileError
        If the model to start from cannot be read.
    """
    check_start(config)
    split = Split(config.split_fractions, config.split_seed)
    dataset = load_dataset(
        files,
        skims=tuple(config.skims),
        preset=config.preset,
        split=split,
        max_events=config.max_events,
        failing_share=config.failing_share,
        variables=config.auxiliary,
        advance=advance,
    )
    log.info("%d events, %d unscorable", len(dataset), dataset.n_unscorable)
    return train_on(
        dataset,
        output,
        config,
        progress=progress,
        history_file=history_file,
        checkpoint=checkpoint,
        resume=resume,
    )


def train_on(
    dataset: GraphDataset,
    output: str | Path,
    config: TrainingConfig,
    *,
    progress: bool = False,
    history_file: Path | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> TrainingResult:
    """Train a network on a data set in memory and write the model file.

    Parameters
    ----------
    dataset : GraphDataset
        Prepared and split as the configuration says.
    output, config, progress, history_file, checkpoint, resume
        As of `train_model`.

    Raises
    ------
    InputError
        If a split lacks passing or failing events.
    UsageError, DeviceError
        If the configuration names what does not exist.
    """
    check_skim_settings(dataset.skims, config)
    dataset = _require_passing(dataset, bool(config.skims))
    preset = get_preset(config.preset)
    vocabulary = load_vocabulary(preset.vocabulary)
    result = fit(
        dataset,
        config,
        n_tokens=vocabulary.n_tokens,
        history_file=history_file,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )
    with limit_threads(config.threads):
        info = ModelInfo(
            preset=preset.name,
            features=tuple((f.name, f.unit) for f in preset.features),
            vocabulary=vocabulary,
            skims=_calibrate_skims(result, dataset, config),
            network=config.network,
            settings=result.settings,
            n_parameters=count_parameters(result.network),
            training=_describe(dataset, config, result),
        )
        assessment = _assess_test(result, dataset, info, config)
        info = replace(info, training={**info.training, **summarise(assessment)})
        digest = save_model(output, result.network, info)
    if checkpoint is not None and result.stopped != "minutes":
        checkpoint.unlink(missing_ok=True)
    return TrainingResult(Path(output), digest, info, result.history, assessment)


def _require_passing(dataset: GraphDataset, named: bool) -> GraphDataset:
    """Leave out skims that no network can learn here; refuse them if they were named."""
    learnable = []
    for k, name in enumerate(dataset.skims):
        counts = {
            part: _count_classes(dataset.passes[dataset.find(part), k])
            for part in SPLITS
        }
        poor = [part for part, numbers in counts.items() if min(numbers) == 0]
        if not poor:
            learnable.append(k)
        elif named:
            raise InputError(
                f"labels of '{name}': expected passing and failing events in every "
                f"split, got {counts[poor[0]][0]} passing and {counts[poor[0]][1]} "
                f"failing ones for {poor[0]}; add data or leave the skim out"
            )
        else:
            log.warning("skim '%s' left out: too few passing events", name)
    if not learnable:
        raise InputError(
            f"labels: expected passing and failing events in every split, got too few "
            f"for each of {', '.join(dataset.skims)} among {len(dataset)}; add data"
        )
    return dataset.select_skims([dataset.skims[k] for k in learnable])


def _count_classes(passes: Tensor) -> tuple[int, int]:
    n_passing = int(passes.sum())
    return n_passing, len(passes) - n_passing


def _calibrate_skims(
    result: FitResult, dataset: GraphDataset, config: TrainingConfig
) -> tuple[SkimInfo, ...]:
    """Return the constants of each skim: overall, and for each event type."""
    index = dataset.find("validation")
    sample = CalibrationSample(
        logits=predict(result.network, dataset, index),
        hidden=predict(result.network, dataset, index, hide_event_type=True),
        passes=dataset.passes[index].numpy(),
        weight=dataset.weight[index].numpy(),
        event_type=dataset.event_type[index].numpy().astype(np.int8),
    )
    skims = []
    for k, name in enumerate(dataset.skims):
        constants = calibrate_skim(
            sample,
            k,
            rates=find_retention_rates(dataset.totals, k, name, config),
            simulation_cost=config.simulation_cost,
            max_weight=config.max_weight,
        )
        code = config.skims.get(name) or _CODES.get(name)
        skims.append(SkimInfo(name, code, constants, config.max_weight))
    return tuple(skims)


def _assess_test(
    result: FitResult, dataset: GraphDataset, info: ModelInfo, config: TrainingConfig
) -> Assessment:
    """Return the figures of merit on the test events."""
    index = dataset.find("test")
    logits = predict(result.network, dataset, index)
    event_type = dataset.event_type[index].numpy().astype(np.int8)
    sample = ScoredSample(
        skims=dataset.skims,
        scores=Calibrator(info)(logits, event_type),
        passes=dataset.passes[index].numpy(),
        weight=dataset.weight[index].numpy(),
        event_type=event_type,
        variables={},
        n_dropped=0,
        n_unscorable=0,
    )
    return assess(sample, info, simulation_cost=config.simulation_cost)


def _describe(
    dataset: GraphDataset,
    config: TrainingConfig,
    result: FitResult,
) -> dict[str, Any]:
    """Return the provenance that the model file carries."""
    source = config.initialise_from
    return {
        "files": [Path(file).name for file in dataset.files],
        "productions": _read_productions(dataset.files),
        "n_events": {name: len(dataset.find(name)) for name in SPLITS},
        "n_passing": dict(
            zip(dataset.skims, dataset.passes.sum(dim=0).tolist(), strict=True)
        ),
        "n_unscorable": dataset.n_unscorable,
        "split": Split(config.split_fractions, config.split_seed).to_dict(),
        "seed": config.seed,
        "config": config.model_dump(mode="json"),
        "version": __version__,
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "stopped": result.stopped,
        **({"started_from": describe_start(source)} if source is not None else {}),
    }


def _read_productions(files: Sequence[str]) -> list[dict[str, Any]]:
    """Return how the labelled files were made, each way once."""
    ways: dict[str, dict[str, Any]] = {}
    for file in files:
        try:
            provenance = dict(read_labelled_metadata(file)["provenance"])
        except InputError:  # another format, which says nothing of itself
            continue
        for name in _DIFFERS_BETWEEN_PARTS:
            provenance.pop(name, None)
        ways[json.dumps(provenance, sort_keys=True)] = provenance
    return list(ways.values())
