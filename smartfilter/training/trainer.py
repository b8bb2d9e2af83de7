"""From labelled files to a model file."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter import __version__
from smartfilter.errors import InputError
from smartfilter.graphs import get_preset
from smartfilter.io.labelled import read_labelled_metadata
from smartfilter.model_file import save_model
from smartfilter.model_info import DEFAULT, Calibration, ModelInfo, SkimInfo, sigmoid
from smartfilter.models import count_parameters
from smartfilter.pdg import load_vocabulary
from smartfilter.sampling import find_sampling_constant
from smartfilter.speedup import find_best_threshold
from smartfilter.training.dataset import load_dataset
from smartfilter.training.evaluation import (
    Evaluation,
    evaluate,
    fit_calibration,
    weight_to_rate,
)
from smartfilter.training.fit import FitResult, fit, predict
from smartfilter.training.split import SPLITS, Split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from smartfilter.training.config import TrainingConfig
    from smartfilter.training.dataset import GraphDataset

__all__ = ["TrainingResult", "calibrate", "train_model"]

log = logging.getLogger(__name__)

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
    evaluations : mapping of str to Evaluation
        By skim, on the test split.
    """

    path: Path
    digest: str
    info: ModelInfo
    history: list[dict[str, float]]
    evaluations: Mapping[str, Evaluation]


def calibrate(
    logit: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    retention_rate: float,
    simulation_cost: float,
    max_weight: float,
    sample_weight: NDArray[Any] | None = None,
) -> Calibration:
    """Return the constants of one skim, from validation events.

    Parameters
    ----------
    logit : ndarray of float, shape (n_events,)
    passes : ndarray of bool, shape (n_events,)
    retention_rate : float
    simulation_cost : float
        t_s / t_g.
    max_weight : float
    sample_weight : ndarray of float, shape (n_events,), optional

    Notes
    -----
    a and b of the official keep probability exp(a (logit - b)) are those of
    c sqrt(score) at small scores, where sigmoid is exp.
    """
    slope, intercept = fit_calibration(
        logit, passes, retention_rate=retention_rate, sample_weight=sample_weight
    )
    score = sigmoid(slope * logit.astype(np.float64) + intercept)
    weight = weight_to_rate(passes, retention_rate, sample_weight)
    times = {"t_g": 1.0, "t_s": simulation_cost}
    best = find_best_threshold(
        score, passes, retention_rate=retention_rate, sample_weight=weight, **times
    )
    constant = find_sampling_constant(
        score, max_weight=max_weight, sample_weight=weight, **times
    )
    return Calibration(
        slope=slope,
        intercept=intercept,
        retention_rate=retention_rate,
        threshold=best.threshold,
        sampling_constant=constant,
        official_slope=0.5 * slope,
        official_offset=-(2.0 * float(np.log(constant)) + intercept) / slope,
    )


def train_model(
    files: Sequence[str | Path],
    output: str | Path,
    config: TrainingConfig,
    *,
    advance: Callable[[int], None] | None = None,
    progress: bool = False,
    history_file: Path | None = None,
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

    Raises
    ------
    InputError
        If labels are missing, or a split lacks passing or failing events.
    UsageError, DeviceError
        If the configuration names what does not exist.
    """
    split = Split(config.split_fractions, config.split_seed)
    dataset = load_dataset(
        files,
        skims=tuple(config.skims),
        preset=config.preset,
        split=split,
        max_events=config.max_events,
        advance=advance,
    )
    log.info("%d events, %d unscorable", len(dataset), dataset.n_unscorable)
    preset = get_preset(config.preset)
    vocabulary = load_vocabulary(preset.vocabulary)
    result = fit(
        dataset,
        config,
        n_tokens=vocabulary.n_tokens,
        history_file=history_file,
        progress=progress,
    )
    skims = _calibrate_skims(result, dataset, config)
    evaluations = _evaluate_skims(result, dataset, skims, config)
    info = ModelInfo(
        preset=preset.name,
        features=tuple((f.name, f.unit) for f in preset.features),
        vocabulary=vocabulary,
        skims=skims,
        network=config.network,
        settings=result.settings,
        n_parameters=count_parameters(result.network),
        training=_describe(dataset, split, config, result, evaluations),
    )
    digest = save_model(output, result.network, info)
    return TrainingResult(Path(output), digest, info, result.history, evaluations)


def _calibrate_skims(
    result: FitResult, dataset: GraphDataset, config: TrainingConfig
) -> tuple[SkimInfo, ...]:
    index = dataset.find("validation")
    logits = predict(result.network, dataset, index)
    passes, weight = dataset.passes[index].numpy(), dataset.weight[index].numpy()
    rates = _find_retention_rates(dataset, config)
    skims = []
    for k, name in enumerate(dataset.skims):
        constants = calibrate(
            logits[:, k],
            passes[:, k],
            retention_rate=rates[name],
            simulation_cost=config.simulation_cost,
            max_weight=config.max_weight,
            sample_weight=weight,
        )
        if constants.slope <= 0:
            raise InputError(
                f"calibration of '{name}': expected a slope > 0, got {constants.slope}; "
                "the network has not learned anything, train on more data"
            )
        code = config.skims.get(name)
        skims.append(SkimInfo(name, code, {DEFAULT: constants}, config.max_weight))
    return tuple(skims)


def _find_retention_rates(
    dataset: GraphDataset, config: TrainingConfig
) -> dict[str, float]:
    """Return the retention rate of each skim: configured, else that of all data."""
    weight = dataset.weight.double().numpy()
    rates = np.average(dataset.passes.numpy(), axis=0, weights=weight)
    measured = dict(zip(dataset.skims, rates.tolist(), strict=True))
    return {
        **measured,
        **{k: config.retention_rate.get(k, measured[k]) for k in measured},
    }


def _evaluate_skims(
    result: FitResult,
    dataset: GraphDataset,
    skims: Sequence[SkimInfo],
    config: TrainingConfig,
) -> dict[str, Evaluation]:
    index = dataset.find("test")
    logits = predict(result.network, dataset, index)
    passes, weight = dataset.passes[index].numpy(), dataset.weight[index].numpy()
    evaluations = {}
    for k, skim in enumerate(skims):
        constants = skim.get_calibration()
        evaluations[skim.name] = evaluate(
            constants.to_score(logits[:, k]),
            passes[:, k],
            calibration=constants,
            sample_weight=weight,
            simulation_cost=config.simulation_cost,
            max_weight=skim.max_weight,
        )
    return evaluations


def _describe(
    dataset: GraphDataset,
    split: Split,
    config: TrainingConfig,
    result: FitResult,
    evaluations: Mapping[str, Evaluation],
) -> dict[str, Any]:
    """Return the provenance that the model file carries."""
    return {
        "files": [Path(file).name for file in dataset.files],
        "productions": _read_productions(dataset.files),
        "n_events": {name: len(dataset.find(name)) for name in SPLITS},
        "n_passing": dict(
            zip(dataset.skims, dataset.passes.sum(dim=0).tolist(), strict=True)
        ),
        "n_unscorable": dataset.n_unscorable,
        "split": split.to_dict(),
        "seed": config.seed,
        "config": config.model_dump(mode="json"),
        "version": __version__,
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "metrics": {name: e.to_metrics() for name, e in evaluations.items()},
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
