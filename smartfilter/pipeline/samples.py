"""The runs of a measurement, and what they say of working points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.pipeline.chain import CLOCKS, STAGES, ChainRun
from smartfilter.pipeline.comparison import (
    Estimate,
    divide_speedups,
    measure_speedup,
    predict,
)
from smartfilter.pipeline.results import Measurement, PointResult
from smartfilter.pipeline.working_points import (
    FIRST_STAGES,
    WorkingPoint,
    correct_times,
    replay,
)
from smartfilter.progress import begin_silently
from smartfilter.sampling import find_sampling_constant
from smartfilter.speedup import effective_sample_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from smartfilter.progress import Begin

__all__ = ["Samples", "compare"]

_N_CURVE = 25  # thresholds of a curve


@dataclass(frozen=True)
class Samples:
    """The runs that a measurement is made of.

    Parameters
    ----------
    observed : ChainRun
        First sample; everything is simulated, the filter looks on.
    working : mapping of str to ChainRun
        First sample, the filter at work at the main point; by way.
    unfiltered : ChainRun
        Second sample.
    filtered : mapping of (str, WorkingPoint) to ChainRun
        Second sample; by way and point. The main point ran in each way.
    main : WorkingPoint
    """

    observed: ChainRun
    working: Mapping[str, ChainRun]
    unfiltered: ChainRun
    filtered: Mapping[tuple[str, WorkingPoint], ChainRun]
    main: WorkingPoint

    def observe(self, way: str, point: WorkingPoint) -> ChainRun:
        """Return the first sample with the times of generation and filter at a point."""
        keep = point.get_keep_probability(self.observed)
        working = correct_times(self.working[way], keep)
        first = {stage: working.times[stage] for stage in FIRST_STAGES}
        return replace(self.observed, times={**self.observed.times, **first})

    def replay(self, way: str, point: WorkingPoint) -> ChainRun:
        """Return the second sample at a point, from the run at the main point."""
        own = point == self.main or point.mode == "official"
        ran = self.filtered[way, point if own else self.main]
        return replay(self.unfiltered, ran, point, same=own)


def compare(
    samples: Samples,
    by_mode: Mapping[str, Sequence[WorkingPoint]],
    ways: Sequence[str],
    clock: str,
    group_size: int,
    described: Mapping[str, Any],
    begin: Begin = begin_silently,
) -> Measurement:
    """Compare prediction and measurement of all points in all ways.

    Parameters
    ----------
    samples : Samples
    by_mode : mapping of str to sequence of WorkingPoint
        Points that are known beforehand; with ``sample`` the one that costs least is
        added.
    ways : sequence of str
        The first one has the main point.
    clock : str
        Of `smartfilter.pipeline.chain.CLOCKS`.
    group_size : int
        Events that ran one after the other in one process.
    described : mapping
        The settings, for the result.
    begin : Begin
        Told of the steps: points, curves.
    """
    known = [point for listed in by_mode.values() for point in listed]
    results = []
    advance = begin(
        "points", len(ways) * (len(known) + ("sample" in by_mode)), "points"
    )
    for way in ways:
        points = list(known)
        if "sample" in by_mode:
            points.append(_find_cheapest_sampling(samples, way, by_mode, clock))
        for point in points:
            results.append(_compare_point(samples, way, point, clock, group_size))
            advance(1)
    curves = []
    if "threshold" in by_mode:
        advance = begin("curves", len(ways) * _N_CURVE, "points")
        curves = [
            _draw_curve(samples, way, by_mode["threshold"], clock, advance)
            for way in ways
        ]
    times = {name: _list_times(samples, ways, name) for name in CLOCKS}
    main = samples.filtered[ways[0], samples.main]
    stages = _summarise_stages(samples.unfiltered, main)
    return Measurement(described, times, stages, tuple(results), tuple(curves))


def _find_cheapest_sampling(
    samples: Samples,
    way: str,
    by_mode: Mapping[str, Sequence[WorkingPoint]],
    clock: str,
) -> WorkingPoint:
    """Return sampling with the constant for the times of the first sample."""
    (model,) = by_mode["sample"]
    found = predict(samples.observe(way, model), model, clock)
    score = samples.observed.score
    constant = find_sampling_constant(
        score[~np.isnan(score)],
        t_g=found["t_g"].value,
        t_s=found["t_s"].value,
        t_n=found["t_n"].value,
        max_weight=model.max_weight,
    )
    return replace(model, constant=constant)


def _compare_point(
    samples: Samples, way: str, point: WorkingPoint, clock: str, group_size: int
) -> PointResult:
    """Return prediction and measurement of one working point."""
    unfiltered = samples.unfiltered
    quantities = predict(samples.observe(way, point), point, clock)
    again = samples.replay(way, point)
    ran = samples.filtered.get((way, point))
    filtered = again if ran is None else ran
    measured = {name: measure_speedup(unfiltered, filtered, name) for name in CLOCKS}
    quantities["measured_speedup"] = measured[clock]
    quantities |= {f"measured_speedup_{name}": m for name, m in measured.items()}
    if ran is not None:
        quantities["replay_ratio"] = divide_speedups(again, ran, clock, group_size)
    return PointResult(point, way == "blocks", ran is None, quantities)


def _draw_curve(
    samples: Samples,
    way: str,
    points: Sequence[WorkingPoint],
    clock: str,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Return what the formulas predict over the threshold, JSON-ready."""
    known = [point.threshold for point in points if point.threshold]
    low, high = (min(known) / 1.2, min(1.2 * max(known), 1.0)) if known else (0.01, 1.0)
    curve: dict[str, Any] = {"filter_in_blocks": way == "blocks", "threshold": []}
    for threshold in np.geomspace(low, high, _N_CURVE):
        point = replace(points[0], threshold=float(threshold))
        found = predict(samples.observe(way, point), point, clock)
        curve["threshold"].append(float(threshold))
        for name, (value, error) in found.items():
            curve.setdefault(name, []).append(value)
            curve.setdefault(f"{name}_error", []).append(error)
        advance(1)
    return curve


def _list_times(
    samples: Samples, ways: Sequence[str], clock: str
) -> dict[str, Estimate]:
    """Return t_g, t_s and the t_n of each way."""
    times: dict[str, Estimate] = {}
    for way in ways:
        found = predict(samples.observe(way, samples.main), samples.main, clock)
        times |= {"t_g": found["t_g"], f"t_n_{way}": found["t_n"], "t_s": found["t_s"]}
    return times


def _summarise_stages(
    unfiltered: ChainRun, filtered: ChainRun
) -> dict[str, dict[str, float]]:
    """Return seconds per event and per passing event of each stage."""
    summary: dict[str, dict[str, float]] = {stage: {} for stage in STAGES}
    for name, run in (("without", unfiltered), ("with", filtered)):
        passing = effective_sample_size(run.weight[run.passes])
        for stage, row in summary.items():
            reached = max(int((run.times[stage][:, 0] > 0).sum()), 1)
            for column, clock in enumerate(CLOCKS):
                total = float(run.times[stage][:, column].sum())
                row[f"{clock}_{name}"] = total / reached
                row[f"{clock}_{name}_per_passing"] = total / max(passing, 1.0)
    return summary
