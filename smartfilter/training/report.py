"""One document about one or several models on the same events."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError
from smartfilter.events import EVENT_TYPES
from smartfilter.io import open_events
from smartfilter.model_info import DEFAULT
from smartfilter.progress import begin_silently
from smartfilter.sampling import optimal_keep_probability
from smartfilter.shipped import name_model
from smartfilter.training.assessment import assess, count_results, needs_validation
from smartfilter.training.auc import compare_areas
from smartfilter.training.bias import make_samples, measure_bias
from smartfilter.training.curves import make_curves
from smartfilter.training.evaluation import find_rate, weight_to_rate
from smartfilter.training.histograms import fill_histograms
from smartfilter.training.history import find_history
from smartfilter.training.labels import SAMPLE_WEIGHT
from smartfilter.training.scored import score_models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.model_info import Calibration
    from smartfilter.points import Times
    from smartfilter.progress import Begin
    from smartfilter.scoring import Scorer
    from smartfilter.training.assessment import Assessment, Result
    from smartfilter.training.bias import BiasTable

__all__ = ["ModelReport", "evaluate_models"]

log = logging.getLogger(__name__)

N_DRAWN = 6
"""Variables that the figure shows: those that the threshold changes most."""


class ModelReport:
    """One model on the test events.

    Parameters
    ----------
    scorer : Scorer
    assessment : Assessment
    times : Times
    """

    def __init__(self, scorer: Scorer, assessment: Assessment, times: Times) -> None:
        self.scorer = scorer
        self.assessment = assessment
        self.times = times
        self.bias: dict[str, BiasTable] = {}
        self.differences: dict[str, tuple[float, float]] = {}
        """Skim -> AUC minus that of the first model, and its standard error."""

    @property
    def name(self) -> str:
        """The path of the model file; of a shipped one its name."""
        return name_model(self.scorer.path)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the event-level variables of the test events."""
        names = self.assessment.sample.variables
        return tuple(name for name in names if name != SAMPLE_WEIGHT)

    def select(self, result: Result) -> NDArray[np.bool_]:
        """Return the test events of a result's event type, shape (n_events,)."""
        known = result.event_type != DEFAULT
        code = EVENT_TYPES.index(result.event_type) if known else -1
        chosen: NDArray[np.bool_] = self.assessment.sample.event_type == code
        return chosen

    def find_column(self, skim: str) -> int:
        """Return the position of a skim in the test events."""
        return self.assessment.sample.skims.index(skim)

    def find_calibration(self, result: Result) -> tuple[Calibration, float]:
        """Return the constants of a result's skim and its largest weight."""
        info = self.scorer.info
        skim = info.skims[info.skim_names.index(result.skim)]
        return skim.get_calibration(result.event_type), skim.max_weight

    def _read_passing(self, result: Result) -> Any:
        """Return variables, samples and weights of the passing events."""
        sample, column = self.assessment.sample, self.find_column(result.skim)
        rows = self.select(result) & sample.passes[:, column]
        score = sample.scores[rows, column]
        variables = {name: sample.variables[name][rows] for name in self.variables}
        calibration, max_weight = self.find_calibration(result)
        assert result.evaluation is not None
        samples = make_samples(
            score,
            optimal_keep_probability(
                score, calibration.sampling_constant, max_weight=max_weight
            ),
            variables,
            threshold=result.evaluation.threshold,
        )
        return variables, samples, sample.weight[rows]

    def measure_bias(self, advance: Callable[[int], None] | None = None) -> None:
        """Measure the bias of each skim, on the event type that passes it most often.

        Parameters
        ----------
        advance : callable, optional
            Told the number of skims since its last call.

        Raises
        ------
        InputError
            If that is possible for none.
        """
        if not self.variables:
            raise InputError(
                "bias: expected event-level variables that all files have, got none; "
                "label the events with smartfilter produce or simulate"
            )
        reason = "bias: expected a skim with passing and failing events, got none"
        for name, result in self.assessment.main.items():
            try:
                variables, samples, weight = self._read_passing(result)
                self.bias[name] = measure_bias(variables, samples, sample_weight=weight)
            except InputError as error:
                reason = str(error)
                log.warning("%s: %s", name, error)
            if advance is not None:
                advance(1)
        if not self.bias:
            raise InputError(reason)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers without curves."""
        info, assessment = self.scorer.info, self.assessment
        skims = {name: r.to_metrics() for name, r in assessment.main.items()}
        for name, (difference, error) in self.differences.items():
            skims[name] |= {
                "auc_difference": difference,
                "auc_difference_error": error,
            }
        return {
            "path": self.name,
            "digest": self.scorer.digest,
            "network": info.network,
            "n_parameters": info.n_parameters,
            "skims": skims,
            "results": [
                {**r.to_metrics(), "quantiles": [q.to_dict() for q in r.quantiles]}
                for r in assessment.results
            ],
            "agreement": assessment.agreement.to_dict(),
            "bias": {name: table.to_dict() for name, table in self.bias.items()},
        }

    def to_curves(self, skim: str) -> dict[str, Any]:
        """Return the curves of one skim, and histograms where the bias was measured."""
        result = self.assessment.main[skim]
        sample, column = self.assessment.sample, self.find_column(skim)
        rows = self.select(result)
        calibration, max_weight = self.find_calibration(result)
        curves = make_curves(
            sample.scores[rows, column],
            sample.passes[rows, column],
            calibration=calibration,
            times=self.times,
            sample_weight=sample.weight[rows],
            max_weight=max_weight,
        )
        if skim in self.bias:
            curves["histograms"] = self._fill_histograms(result)
        curves["history"] = find_history(self.scorer.path, self.scorer.info.training)
        return curves

    def _fill_histograms(self, result: Result) -> dict[str, Any]:
        biased = self.bias[result.skim].samples
        rows = next(iter(biased.values())).rows
        names = sorted(rows, key=lambda name: -rows[name].divergence)[:N_DRAWN]
        variables, samples, weight = self._read_passing(result)
        return {
            name: fill_histograms(variables[name], samples, sample_weight=weight)
            for name in names
        }


def evaluate_models(
    files: Sequence[str | Path],
    scorers: Sequence[Scorer],
    *,
    skims: Sequence[str] = (),
    times: Times,
    all_events: bool = False,
    bias: bool = False,
    begin: Begin = begin_silently,
) -> tuple[ModelReport, ...]:
    """Evaluate models on events that none of them was trained on.

    Parameters
    ----------
    files : sequence of str or Path
        Labelled files.
    scorers : sequence of Scorer
        One or more; AUC differences are to the first.
    skims : sequence of str
        By default all that every model has.
    times : Times
        In units of t_g.
    all_events : bool
        See `smartfilter.training.scored.score_models`.
    bias : bool
        Measure the bias of event-level variables.
    begin : Begin
        Told of the steps: scoring, figures of merit, comparison, bias.

    Raises
    ------
    InputError
        If no skim has passing and failing events, the bias cannot be measured, or as
        `score_models`.
    """
    scored = score_models(
        files,
        scorers,
        skims=skims,
        all_events=all_events,
        validation=[needs_validation(scorer.info, times) for scorer in scorers],
        advance=begin("score", open_events(files).n_events),
    )
    n_results = sum(count_results(samples.test) for samples in scored)
    advance = begin("evaluate", n_results, "results")
    reports = tuple(
        ModelReport(
            scorer,
            assess(
                samples.test,
                scorer.info,
                simulation_cost=times.t_s,
                filter_cost=times.t_n,
                validation=samples.validation,
                advance=advance,
            ),
            times,
        )
        for scorer, samples in zip(scorers, scored, strict=True)
    )
    sample = reports[0].assessment.sample
    if not reports[0].assessment.main:
        raise InputError(
            f"labels: expected passing and failing events of one of "
            f"{', '.join(sample.skims)}, got none among {len(sample)}; add data"
        )
    if len(reports) > 1:
        _compare(reports, begin("compare", len(reports[0].assessment.main), "skims"))
    if bias:
        n_skims = sum(len(report.assessment.main) for report in reports)
        advance = begin("bias", n_skims, "skims")
        for report in reports:
            report.measure_bias(advance)
    return reports


def _compare(reports: Sequence[ModelReport], advance: Callable[[int], None]) -> None:
    """Set the differences of the areas to that of the first model."""
    first = reports[0]
    for name, result in first.assessment.main.items():
        rows, column = first.select(result), first.find_column(name)
        sample = first.assessment.sample
        passes = sample.passes[rows, column]
        calibration, _ = first.find_calibration(result)
        rate = find_rate(passes, calibration, sample.weight[rows])
        areas = compare_areas(
            np.stack(
                [r.assessment.sample.scores[rows, column] for r in reports], axis=1
            ),
            passes,
            sample_weight=weight_to_rate(passes, rate, sample.weight[rows]),
        )
        for k, report in enumerate(reports):
            report.differences[name] = areas.subtract(k, 0)
        advance(1)
