"""Figures of merit of a model per skim and event type, from scored events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.events import EVENT_TYPES
from smartfilter.model_info import DEFAULT
from smartfilter.points import Times
from smartfilter.training.agreement import (
    Agreement,
    ChiSquared,
    count_disagreements,
    sum_deviations,
)
from smartfilter.training.calibration import choose_threshold
from smartfilter.training.evaluation import Evaluation, evaluate, find_rate
from smartfilter.training.quantiles import compare_quantiles
from smartfilter.training.scored import ScoredSample, score_labelled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smartfilter.model_info import Calibration, ModelInfo
    from smartfilter.training.quantiles import Quantile

__all__ = [
    "Assessment",
    "Result",
    "ScoredSample",
    "assess",
    "count_results",
    "name_event_type",
    "needs_validation",
    "score_labelled",
    "summarise",
]


_SUMMARY = (
    "skim",
    "event_type",
    "n_passing",
    "retention_rate",
    "auc",
    "auc_error",
    "speedup",
    "speedup_error",
    "sampling_speedup",
    "calibration_error",
    "n_disagreeing",
)
"""Metrics that a model file carries for each skim and event type."""


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
    threshold_from : str
        What chose the working point: ``model``, whose training took its validation
        events, or ``validation``, those among the data.
    """

    skim: str
    event_type: str
    n_events: int
    n_passing: int
    retention_rate: float
    evaluation: Evaluation | None
    quantiles: tuple[Quantile, ...]
    threshold_from: str = "model"

    @property
    def n_disagreeing(self) -> int:
        """Quantiles in which predicted and observed disagree."""
        return sum(not quantile.agrees for quantile in self.quantiles)

    @property
    def chi_squared(self) -> ChiSquared | None:
        """Deviations of all quantiles together; None for few passing events."""
        return sum_deviations(self.quantiles)

    def to_metrics(self) -> dict[str, Any]:
        """Return the numbers without the curves."""
        deviations = self.chi_squared
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
            "chi_squared": deviations.value if deviations else None,
            "chi_squared_groups": deviations.n_groups if deviations else 0,
            "chi_squared_p_value": deviations.p_value if deviations else None,
            "threshold_from": self.threshold_from,
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
    def agreement(self) -> Agreement:
        """How many quantiles of all skims and event types disagree, and should."""
        return count_disagreements(
            {(r.skim, r.event_type): r.quantiles for r in self.results}
        )

    @property
    def evaluations(self) -> Mapping[str, Evaluation]:
        """The evaluations of `main`."""
        return {k: r.evaluation for k, r in self.main.items() if r.evaluation}


def assess(
    sample: ScoredSample,
    info: ModelInfo,
    *,
    simulation_cost: float = 100.0,
    filter_cost: float = 0.0,
    validation: ScoredSample | None = None,
    advance: Callable[[int], None] | None = None,
) -> Assessment:
    """Return the figures of merit of each skim and event type on scored events.

    Parameters
    ----------
    sample : ScoredSample
    info : ModelInfo
        Gives retention rates, thresholds and sampling constants.
    simulation_cost, filter_cost : float
        t_s / t_g and t_n / t_g.
    validation : ScoredSample, optional
        Other events of the same model, which choose the thresholds for these times; by
        default the thresholds are those of the model.
    advance : callable, optional
        Told the number of results, of `count_results`, since its last call.
    """
    times = Times(t_g=1.0, t_s=simulation_cost, t_n=filter_cost)
    results = []
    for k in range(len(sample.skims)):
        for code in np.unique(sample.event_type).tolist():
            results.append(_assess_one(sample, info, k, code, times, validation))
            if advance is not None:
                advance(1)
    return Assessment(tuple(results), sample)


def count_results(sample: ScoredSample) -> int:
    """Return the number of skims times event types of scored events."""
    return len(sample.skims) * len(np.unique(sample.event_type))


def summarise(assessment: Assessment) -> dict[str, Any]:
    """Return the metrics that a model file carries, by the keys of its record."""
    return {
        "metrics": {k: r.to_metrics() for k, r in assessment.main.items()},
        "metrics_by_event_type": [
            {key: value for key, value in r.to_metrics().items() if key in _SUMMARY}
            for r in assessment.results
        ],
        "agreement": assessment.agreement.to_dict(),
    }


def needs_validation(info: ModelInfo, times: Times) -> bool:
    """Whether the thresholds of a model were chosen for other times than these."""
    cost = info.training.get("config", {}).get("simulation_cost")
    return cost is None or times != Times(t_g=1.0, t_s=float(cost), t_n=0.0)


def _assess_one(
    sample: ScoredSample,
    info: ModelInfo,
    column: int,
    code: int,
    times: Times,
    validation: ScoredSample | None,
) -> Result:
    name = sample.skims[column]
    event_type = name_event_type(code)
    skim = info.skims[info.skim_names.index(name)]
    calibration = skim.get_calibration(event_type)
    rows = sample.event_type == code
    score, passes = sample.scores[rows, column], sample.passes[rows, column]
    weight = sample.weight[rows]
    configured = info.training.get("config", {}).get("retention_rate", {})
    evaluation = None
    threshold = _choose_again(validation, column, code, calibration, times)
    if passes.any() and not passes.all():
        evaluation = evaluate(
            score,
            passes,
            calibration=calibration,
            sample_weight=weight,
            threshold=threshold,
            simulation_cost=times.t_s,
            filter_cost=times.t_n,
            max_weight=skim.max_weight,
        )
    return Result(
        skim=name,
        event_type=event_type,
        n_events=len(passes),
        n_passing=int(passes.sum()),
        retention_rate=find_rate(passes, calibration, weight),
        evaluation=evaluation,
        quantiles=compare_quantiles(
            score,
            passes,
            sample_weight=weight,
            n_calibration=calibration.n_passing,
            retention_rate=calibration.retention_rate if name in configured else None,
        ),
        threshold_from="model" if threshold is None else "validation",
    )


def name_event_type(code: int) -> str:
    """Return the name of an event type, ``default`` for an unknown one."""
    return EVENT_TYPES[code] if code >= 0 else DEFAULT


def _choose_again(
    validation: ScoredSample | None,
    column: int,
    code: int,
    calibration: Calibration,
    times: Times,
) -> float | None:
    """Return the best threshold of the validation events; None if none can be found."""
    if validation is None:
        return None
    rows = validation.event_type == code
    passes = validation.passes[rows, column]
    if not passes.any() or passes.all():
        return None
    return choose_threshold(
        validation.scores[rows, column],
        passes,
        retention_rate=find_rate(passes, calibration, validation.weight[rows]),
        times=times,
        sample_weight=validation.weight[rows],
    )
