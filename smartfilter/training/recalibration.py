"""The constants of a model file anew, from labelled events; the network stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smartfilter import __version__
from smartfilter.errors import InputError
from smartfilter.events import EVENT_TYPES, UNKNOWN_EVENT_TYPE
from smartfilter.io import open_events
from smartfilter.model_file import load_module, save_model
from smartfilter.model_info import DEFAULT, Calibration, ModelInfo, SkimInfo
from smartfilter.progress import begin_silently
from smartfilter.scoring import Calibrator, Scorer
from smartfilter.training.assessment import Assessment, assess, count_results, summarise
from smartfilter.training.calibration import calibrate
from smartfilter.training.config import TrainingConfig, validate_config
from smartfilter.training.labels import (
    Totals,
    read_sample_weight,
    require_labels,
)
from smartfilter.training.retention import find_retention_rates
from smartfilter.training.scored import ScoredSample
from smartfilter.training.split import SPLITS, Split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.progress import Begin

__all__ = ["CalibrationSample", "Recalibration", "calibrate_skim", "recalibrate"]


class CalibrationSample(NamedTuple):
    """Events with raw logits, which calibration or assessment starts from.

    Parameters
    ----------
    logits : ndarray of float32, shape (n_events, n_skims)
    hidden : ndarray of float32, shape (n_events, n_skims)
        Of a network that does not know the event type.
    passes : ndarray of bool, shape (n_events, n_skims)
    weight : ndarray of float32, shape (n_events,)
    event_type : ndarray of int8, shape (n_events,)
    """

    logits: NDArray[np.float32]
    hidden: NDArray[np.float32]
    passes: NDArray[np.bool_]
    weight: NDArray[np.float32]
    event_type: NDArray[np.int8]

    def take(self, rows: NDArray[np.bool_]) -> CalibrationSample:
        """Return some of the events."""
        return CalibrationSample._make(column[rows] for column in self)


@dataclass(frozen=True, eq=False)
class Recalibration:
    """What a recalibration made.

    Parameters
    ----------
    path : Path
    digest : str
    info : ModelInfo
    n_events : int
        That the constants rest on.
    assessment : Assessment
        Figures of merit on the test split.
    """

    path: Path
    digest: str
    info: ModelInfo
    n_events: int
    assessment: Assessment


def recalibrate(
    model: str | Path,
    files: Sequence[str | Path],
    output: str | Path,
    *,
    all_events: bool = False,
    begin: Begin = begin_silently,
) -> Recalibration:
    """Write a model file with the same network and new constants.

    Retention rates are those of all events of the files (or configured ones that the
    model records), calibration, thresholds and sampling constants come from the
    validation events, the quoted metrics from the test events.

    Parameters
    ----------
    model : str or Path
    files : sequence of str or Path
        Labelled files with every event type that the model shall know.
    output : str or Path
        The new model file; replaced if it exists.
    all_events : bool
        Calibrate with the training events as well: only for files that the model was
        not trained on.
    begin : Begin
        Told of the steps: scoring, calibration, figures of merit.

    Raises
    ------
    InputError
        If a label is missing or there are no validation or no test events.
    ModelFileError
        If the model records no split or its network cannot be built.
    """
    network, info = load_module(model)
    split = Split.from_training(info.training, str(model))
    scorer, advance = Scorer(model), begin("score", open_events(files).n_events)
    sample, part, totals = _read(files, scorer, split, advance)
    test = part == SPLITS.index("test")
    chosen = ~test if all_events else part == SPLITS.index("validation")
    for name, rows in (("calibrate", chosen), ("test", test)):
        if not rows.any():
            raise InputError(
                f"events to {name} with: expected some in {', '.join(map(str, files))}, "
                f"got none among {len(part)}; add data"
            )
    config = _read_config(info, str(model))
    advance = begin("calibrate", len(info.skims), "skims")
    skims = _calibrate_skims(sample.take(chosen), info, totals, config, advance)
    info = replace(info, skims=skims)
    assessment = _assess(sample.take(test), info, config, begin)
    record = {
        "files": [Path(file).name for file in open_events(files).files],
        "n_events": int(chosen.sum()),
        "all_events": all_events,
        "version": __version__,
    }
    training = {**info.training, **summarise(assessment), "calibration": record}
    info = replace(info, training=training)
    digest = save_model(output, network, info)
    return Recalibration(Path(output), digest, info, int(chosen.sum()), assessment)


def _read_config(info: ModelInfo, where: str) -> TrainingConfig:
    """Return what a model records of rates and cost; other keys may be of old versions."""
    recorded = info.training.get("config", {})
    used = {
        k: recorded[k] for k in ("retention_rate", "simulation_cost") if k in recorded
    }
    return validate_config(used, f"of {where}")


def _calibrate_skims(
    sample: CalibrationSample,
    info: ModelInfo,
    totals: Totals,
    config: TrainingConfig,
    advance: Callable[[int], None],
) -> tuple[SkimInfo, ...]:
    """Return the skims of the model with new constants."""
    skims = []
    for k, skim in enumerate(info.skims):
        constants = calibrate_skim(
            sample,
            k,
            rates=find_retention_rates(totals, k, skim.name, config),
            simulation_cost=config.simulation_cost,
            max_weight=skim.max_weight,
        )
        skims.append(replace(skim, calibration=constants))
        advance(1)
    return tuple(skims)


def calibrate_skim(
    sample: CalibrationSample,
    column: int,
    *,
    rates: Mapping[str, float],
    simulation_cost: float,
    max_weight: float,
) -> dict[str, Calibration]:
    """Return the constants of a skim: overall, and for each event type.

    Parameters
    ----------
    sample : CalibrationSample
        Events that the network was not trained on.
    column : int
        Of the skim.
    rates : mapping of str to float
        Event type, and ``default``, -> retention rate.
    simulation_cost, max_weight : float
        As in `smartfilter.training.calibration.calibrate`.
    """
    calibrate_one = partial(
        calibrate, simulation_cost=simulation_cost, max_weight=max_weight
    )
    overall = calibrate_one(
        sample.hidden[:, column],
        sample.passes[:, column],
        retention_rate=rates[DEFAULT],
        sample_weight=sample.weight,
    )
    constants = {DEFAULT: overall}
    for code in np.unique(sample.event_type[sample.event_type >= 0]).tolist():
        own = sample.take(sample.event_type == code)
        constants[EVENT_TYPES[code]] = calibrate_one(
            own.logits[:, column],
            own.passes[:, column],
            retention_rate=rates[EVENT_TYPES[code]],
            sample_weight=own.weight,
            overall=overall,
        )
    return constants


def _read(
    files: Sequence[str | Path],
    scorer: Scorer,
    split: Split,
    advance: Callable[[int], None],
) -> tuple[CalibrationSample, NDArray[np.int8], Totals]:
    """Return scorable events of all splits, their split, and sums over all events."""
    names = scorer.info.skim_names
    samples, parts = [], []
    totals: Totals | None = None
    for events in open_events(files):
        require_labels(events, names)
        counted = Totals.count(events, names)
        totals = counted if totals is None else totals + counted
        scored = scorer.score(events)
        use = scored.scorable
        samples.append(
            CalibrationSample(
                scored.logits[use],
                scorer.score(_hide_type(events)).logits[use],
                np.stack([events.labels[name] for name in names], axis=1)[use],
                read_sample_weight(events)[use],
                events.event_type[use],
            )
        )
        parts.append(split.assign(events)[use])
        advance(len(events))
    if totals is None:
        raise InputError(
            f"events: expected some to calibrate with, got none in {files}"
        )
    columns = [np.concatenate(column) for column in zip(*samples, strict=True)]
    return CalibrationSample._make(columns), np.concatenate(parts), totals


def _hide_type(events: Events) -> Events:
    codes = np.full(len(events), UNKNOWN_EVENT_TYPE, dtype=np.int8)
    return events.with_event_type_codes(codes)


def _assess(
    sample: CalibrationSample, info: ModelInfo, config: TrainingConfig, begin: Begin
) -> Assessment:
    scored = ScoredSample(
        skims=info.skim_names,
        scores=Calibrator(info)(sample.logits, sample.event_type),
        passes=sample.passes,
        weight=sample.weight,
        event_type=sample.event_type,
        variables={},
        n_dropped=0,
        n_unscorable=0,
    )
    return assess(
        scored,
        info,
        simulation_cost=config.simulation_cost,
        advance=begin("evaluate", count_results(scored), "results"),
    )
