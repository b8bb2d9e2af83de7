"""Assess a model file on labelled files: scores, labels and figures of merit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError, UsageError
from smartfilter.events import EVENT_TYPES
from smartfilter.io import open_events
from smartfilter.model_info import DEFAULT
from smartfilter.training.dataset import read_sample_weight, require_labels
from smartfilter.training.evaluation import Evaluation, evaluate
from smartfilter.training.quantiles import compare_quantiles
from smartfilter.training.split import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.model_info import ModelInfo
    from smartfilter.scoring import Scorer
    from smartfilter.training.quantiles import Quantile

__all__ = ["Assessment", "Result", "ScoredSample", "assess", "score_labelled"]


@dataclass(frozen=True, eq=False)
class ScoredSample:
    """Labelled events with their scores.

    Parameters
    ----------
    skims : tuple of str
    scores : ndarray of float32, shape (n_events, n_skims)
    passes : ndarray of bool, shape (n_events, n_skims)
    weight : ndarray of float32, shape (n_events,)
        Generated events that each event stands for.
    event_type : ndarray of int8, shape (n_events,)
    variables : mapping of str to ndarray of float32, shape (n_events,)
        Event-level variables that all files have.
    n_dropped : int
        Events left out because they took part in training or validation.
    n_unscorable : int
        Events left out because they cannot be scored.
    """

    skims: tuple[str, ...]
    scores: NDArray[np.float32]
    passes: NDArray[np.bool_]
    weight: NDArray[np.float32]
    event_type: NDArray[np.int8]
    variables: Mapping[str, NDArray[np.float32]]
    n_dropped: int
    n_unscorable: int

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.weight)


@dataclass(frozen=True, eq=False)
class Result:
    """Figures of merit of one skim on events of one type.

    Parameters
    ----------
    skim, event_type : str
        ``default`` for events of unknown type.
    n_events, n_passing : int
    retention_rate : float
        Of the model.
    evaluation : Evaluation or None
        None without passing or without failing events.
    quantiles : tuple of Quantile
        Predicted and observed passing events in tenths of the generated events.
    """

    skim: str
    event_type: str
    n_events: int
    n_passing: int
    retention_rate: float
    evaluation: Evaluation | None
    quantiles: tuple[Quantile, ...]

    @property
    def n_disagreeing(self) -> int:
        """Quantiles in which predicted and observed disagree."""
        return sum(not quantile.agrees for quantile in self.quantiles)

    def to_metrics(self) -> dict[str, Any]:
        """Return the numbers without the curves."""
        return {
            "skim": self.skim,
            "event_type": self.event_type,
            "n_events": self.n_events,
            "n_passing": self.n_passing,
            "n_failing": self.n_events - self.n_passing,
            "retention_rate": self.retention_rate,
            **(self.evaluation.to_metrics() if self.evaluation else {}),
            "n_quantiles": len(self.quantiles),
            "n_disagreeing": self.n_disagreeing,
        }


@dataclass(frozen=True, eq=False)
class Assessment:
    """Figures of merit per skim and event type, and the events that they come from.

    Parameters
    ----------
    results : tuple of Result
        Skims in the order of the sample, and for each the event types of the sample.
    sample : ScoredSample
    """

    results: tuple[Result, ...]
    sample: ScoredSample

    @property
    def main(self) -> Mapping[str, Result]:
        """Per skim the result of the event type of which most events pass.

        Skims without passing events, or without failing ones, are left out.
        """
        best: dict[str, Result] = {}
        for result in self.results:
            name = result.skim
            if result.evaluation is not None and (
                name not in best or result.n_passing > best[name].n_passing
            ):
                best[name] = result
        return best

    @property
    def evaluations(self) -> Mapping[str, Evaluation]:
        """The evaluations of `main`."""
        return {k: r.evaluation for k, r in self.main.items() if r.evaluation}


def score_labelled(
    files: Sequence[str | Path],
    scorer: Scorer,
    *,
    skims: Sequence[str] = (),
    all_events: bool = False,
    advance: Callable[[int], None] | None = None,
) -> ScoredSample:
    """Score the test events of labelled files.

    Parameters
    ----------
    files : sequence of str or Path
        As `smartfilter.open_events` takes them.
    scorer : Scorer
    skims : sequence of str
        By default all of the model.
    all_events : bool
        Use every event, for files that had no part in the training; by default those
        in the test split that the model file records.
    advance : callable, optional
        Told the number of events read since its last call.

    Raises
    ------
    InputError
        If a label is missing, or no event is left.
    UsageError
        If the model does not have a skim.
    ModelFileError
        If the model file records no split.
    """
    names = tuple(skims) or scorer.info.skim_names
    for name in names:
        if name not in scorer.info.skim_names:
            expected = ", ".join(scorer.info.skim_names)
            raise UsageError(f"skim: expected one of {expected}, got '{name}'")
    where = str(scorer.path)
    split = None if all_events else Split.from_training(scorer.info.training, where)
    parts, n_dropped = [], 0
    for chunk in open_events(files):
        require_labels(chunk, names)
        events, dropped = (chunk, 0) if split is None else split.drop_used(chunk)
        n_dropped += dropped
        parts.append(_score_chunk(events, scorer, names))
        if advance is not None:
            advance(len(chunk))
    if not sum(len(part) for part in parts):
        raise InputError(
            f"test events: expected some that {where} was not trained on, got none "
            f"({n_dropped} of its training and validation splits were left out)"
        )
    return _join(parts, n_dropped)


def _score_chunk(
    events: Events, scorer: Scorer, names: tuple[str, ...]
) -> ScoredSample:
    result = scorer.score(events)
    use = result.scorable
    columns = [scorer.info.skim_names.index(name) for name in names]
    return ScoredSample(
        skims=names,
        scores=result.scores[use][:, columns],
        passes=np.stack([events.labels[name] for name in names], axis=1)[use],
        weight=read_sample_weight(events)[use],
        event_type=events.event_type[use],
        variables={name: column[use] for name, column in events.variables.items()},
        n_dropped=0,
        n_unscorable=int((~use).sum()),
    )


def _join(parts: Sequence[ScoredSample], n_dropped: int) -> ScoredSample:
    shared = [
        name
        for name in parts[0].variables
        if all(name in part.variables for part in parts)
    ]
    return ScoredSample(
        skims=parts[0].skims,
        scores=np.concatenate([part.scores for part in parts]),
        passes=np.concatenate([part.passes for part in parts]),
        weight=np.concatenate([part.weight for part in parts]),
        event_type=np.concatenate([part.event_type for part in parts]),
        variables={
            name: np.concatenate([part.variables[name] for part in parts])
            for name in shared
        },
        n_dropped=n_dropped,
        n_unscorable=sum(part.n_unscorable for part in parts),
    )


def assess(
    sample: ScoredSample,
    info: ModelInfo,
    *,
    simulation_cost: float = 100.0,
    filter_cost: float = 0.0,
) -> Assessment:
    """Return the figures of merit of each skim and event type on scored events.

    Parameters
    ----------
    sample : ScoredSample
    info : ModelInfo
        Gives retention rates, thresholds and sampling constants.
    simulation_cost, filter_cost : float
        t_s / t_g and t_n / t_g.

    """
    results = tuple(
        _assess_one(sample, info, k, code, simulation_cost, filter_cost)
        for k in range(len(sample.skims))
        for code in np.unique(sample.event_type).tolist()
    )
    return Assessment(results, sample)


def _assess_one(
    sample: ScoredSample,
    info: ModelInfo,
    column: int,
    code: int,
    simulation_cost: float,
    filter_cost: float,
) -> Result:
    name = sample.skims[column]
    event_type = EVENT_TYPES[code] if code >= 0 else DEFAULT
    skim = info.skims[info.skim_names.index(name)]
    calibration = skim.get_calibration(event_type)
    rows = sample.event_type == code
    score, passes = sample.scores[rows, column], sample.passes[rows, column]
    weight = sample.weight[rows]
    configured = info.training.get("config", {}).get("retention_rate", {})
    evaluation = None
    if passes.any() and not passes.all():
        evaluation = evaluate(
            score,
            passes,
            calibration=calibration,
            sample_weight=weight,
            simulation_cost=simulation_cost,
            filter_cost=filter_cost,
            max_weight=skim.max_weight,
        )
    return Result(
        skim=name,
        event_type=event_type,
        n_events=len(passes),
        n_passing=int(passes.sum()),
        retention_rate=calibration.retention_rate,
        evaluation=evaluation,
        quantiles=compare_quantiles(
            score,
            passes,
            sample_weight=weight,
            n_calibration=calibration.n_passing,
            retention_rate=calibration.retention_rate if name in configured else None,
        ),
    )
