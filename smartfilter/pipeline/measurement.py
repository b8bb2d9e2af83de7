r"""Measure the speedup of the filter and compare it with the formulas.

Two independent samples are generated. On the first the chain runs while the filter
looks on, and once more with the filter at work for its own time: rates, times and hence
the predictions come from it. On the second the chain runs without and with the filter,
and

.. math:: \frac{T_\mathrm{without} / N_\mathrm{without}}{T_\mathrm{with} / N_\mathrm{with}}

is the measured speedup, T the time of all stages and N the number of passing events, or
with sampling their effective number. Errors are from a bootstrap over events; as both runs
of the second sample share their events, so do their replicas.

Other working points are replayed: the filter keeps other events, whose times are those of
the run without the filter. Where a point also ran, the replay is compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.decision import DecisionSettings
from smartfilter.errors import UsageError
from smartfilter.pipeline.chain import (
    CLOCKS,
    STAGES,
    ChainRun,
    ChainSettings,
    FilterSettings,
    open_detector,
)
from smartfilter.pipeline.comparison import (
    Estimate,
    divide_speedups,
    measure_speedup,
    predict,
)
from smartfilter.pipeline.results import Measurement, PointResult
from smartfilter.pipeline.rounds import EVENTS_PER_ROUND, Job, Plan, run_rounds
from smartfilter.pipeline.working_points import (
    FIRST_STAGES,
    WorkingPoint,
    correct_times,
    replay,
)
from smartfilter.sampling import find_sampling_constant
from smartfilter.scoring import Scorer
from smartfilter.speedup import effective_sample_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


__all__ = ["THRESHOLD_FACTORS", "WAYS", "measure"]

WAYS = ("blocks", "events")
"""How the filter is called: with the generator's blocks, or one event at a time."""

THRESHOLD_FACTORS = (0.7, 0.5, 0.3, 0.2, 0.1)
"""Working points by default, in units of the model's own threshold.

That one is best for t_s = 100 t_g; here t_s is some 30 t_g, and the best one lower.
"""

_N_CURVE = 25  # thresholds of a curve


@dataclass(frozen=True)
class _Samples:
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


def measure(
    event_type: str,
    n_events: int,
    *,
    skim: str,
    model: str | Path | None = None,
    modes: Sequence[str] = ("threshold", "sample"),
    thresholds: Sequence[float] = (),
    run_all: bool = False,
    ways: Sequence[str] = WAYS,
    detector: str = "mock",
    step: float = 0.08,
    decay_table: str = "belle2",
    seed: int = 1,
    clock: str = "cpu",
    workers: int = 1,
    events_per_round: int = EVENTS_PER_ROUND,
    device: str = "cpu",
    advance: Callable[[int], None] | None = None,
) -> Measurement:
    """Run the chain with and without the filter and compare with the formulas.

    Numbers are compiled and the network is warmed up before. The runs take turns, so
    that a drift of the machine's speed hits all of them.

    Parameters
    ----------
    event_type : str
    n_events : int
        Generated events per sample; there are two samples.
    skim : str
        Skim that counts, of the chain and of the model.
    model : str or Path, optional
        Model file; by default the one that smartfilter ships.
    modes : sequence of str
        Of ``threshold``, ``sample`` and ``official``. The first one has the main point.
        With ``sample`` the model's constant runs, which is for t_s = 100 t_g and
        t_n = 0; the one that costs least with the times of the first sample is
        replayed.
    thresholds : sequence of float
        Working points, the main one first; by default the model's threshold times
        `THRESHOLD_FACTORS`.
    run_all : bool
        Run the chain for each threshold and way; by default the first threshold runs
        in each way, sampling in the first way, and the others are replayed.
    ways : sequence of str
        Of `WAYS`; the first one has the main point.
    detector : str
        ``mock`` or ``geant4``.
    step : float
        Longest step in the mock detector, cm; the dial of the cost of the simulation.
    decay_table : str
        Of the generator.
    seed : int
    clock : str
        ``cpu`` (not disturbed by what else runs) or ``wall``; of all times that
        predictions and points are made of.
    workers : int
        Processes that share the events, each on one thread. Events and labels do not
        depend on it.
    events_per_round : int
        Events per turn.
    device : str
        Where the network runs.
    advance : callable, optional
        Told the number of events, of ``n_events``, done since its last call.

    Raises
    ------
    UsageError
        If a setting makes no sense, or no event passes in one of the runs.
    SmartFilterError
        What model and stages raise.
    """
    _check(n_events, modes, thresholds, ways, clock)
    scorer = Scorer(model, device=device, threads=1)
    chain = ChainSettings(event_type, skim, step, seed, detector, decay_table)
    with open_detector(chain):
        pass  # say what is missing before any process starts
    by_mode = _list_points(scorer, chain, modes, thresholds)
    jobs = _list_jobs(by_mode, ways, run_all=run_all)
    plan = Plan(
        chain,
        tuple(job for job, _ in jobs),
        n_events,
        seed,
        model=str(scorer.path),
        device=device,
        events_per_round=events_per_round,
    )
    runs = run_rounds(plan, workers=workers, advance=advance)
    samples = _Samples(
        runs["observed"],
        {way: runs[f"working {way}"] for way in ways},
        runs["unfiltered"],
        {key: runs[job.name] for job, key in jobs if key is not None},
        by_mode[modes[0]][0],
    )
    _check_passing(samples, skim)
    described = {
        "event_type": event_type,
        "skim": skim,
        "model": str(scorer.path),
        "model_digest": scorer.digest,
        "n_events": n_events,
        "n_passing": int(samples.unfiltered.passes.sum()),
        "detector": detector,
        "step": step if detector == "mock" else None,
        "decay_table": decay_table,
        "seed": seed,
        "clock": clock,
        "workers": workers,
        "device": str(scorer.device),
    }
    return _evaluate(samples, by_mode, ways, clock, events_per_round, described)


def _check(
    n_events: int,
    modes: Sequence[str],
    thresholds: Sequence[float],
    ways: Sequence[str],
    clock: str,
) -> None:
    if n_events < 1:
        raise UsageError(f"number of events: expected at least 1, got {n_events}")
    for what, given, known in (
        ("mode", modes, ("threshold", "sample", "official")),
        ("way to call the filter", ways, WAYS),
        ("clock", (clock,), CLOCKS),
    ):
        unknown = [name for name in given if name not in known]
        if unknown or not given or len(set(given)) < len(given):
            raise UsageError(
                f"{what}: expected different ones of {', '.join(known)}, "
                f"got {', '.join(map(repr, given)) or 'none'}"
            )
    if thresholds and "threshold" not in modes:
        raise UsageError(
            f"thresholds: expected mode 'threshold', got {', '.join(map(repr, modes))}"
        )


def _check_passing(samples: _Samples, skim: str) -> None:
    for sample in (samples.observed, samples.unfiltered):
        if not sample.passes.any() or sample.passes.all():
            raise UsageError(
                f"measure: expected events that pass {skim} and events that do not, got "
                f"{sample.passes.sum()} of {len(sample)} that pass; generate more events"
            )


def _list_points(
    scorer: Scorer,
    chain: ChainSettings,
    modes: Sequence[str],
    thresholds: Sequence[float],
) -> dict[str, list[WorkingPoint]]:
    """Return the working points that are known beforehand, by mode."""

    def make(mode: str, threshold: float | None = None) -> WorkingPoint:
        settings = DecisionSettings.from_model(
            scorer.info,
            skims=[chain.skim],
            mode=mode,
            threshold=threshold,
            event_type=chain.event_type,
        )
        return WorkingPoint.from_settings(settings)

    points = {mode: [make(mode)] for mode in modes}
    if "threshold" in modes:
        own = points["threshold"][0].threshold or 0.0
        wanted = thresholds or [factor * own for factor in THRESHOLD_FACTORS]
        points["threshold"] = [make("threshold", t) for t in dict.fromkeys(wanted)]
    return points


def _list_jobs(
    by_mode: Mapping[str, Sequence[WorkingPoint]],
    ways: Sequence[str],
    *,
    run_all: bool,
) -> list[tuple[Job, tuple[str, WorkingPoint] | None]]:
    """Return what runs, and for runs with the filter at work their way and point."""

    def use(point: WorkingPoint, way: str, *, debug: bool = False) -> FilterSettings:
        return FilterSettings(point.mode, point.threshold, debug, way == "blocks")

    main = next(iter(by_mode.values()))[0]
    jobs: list[tuple[Job, tuple[str, WorkingPoint] | None]] = [
        (Job("observed", 0, use(main, ways[0], debug=True)), None),
        *((Job(f"working {way}", 0, use(main, way)), None) for way in ways),
        (Job("unfiltered", 1), None),
    ]
    for way in ways:
        for mode, points in by_mode.items():
            first = way == ways[0] or points[0] == main or mode == "official"
            chosen = points if run_all else points[:1] if first else []
            jobs += [
                (Job(f"{mode} {k} {way}", 1, use(point, way)), (way, point))
                for k, point in enumerate(chosen)
            ]
    return jobs


def _evaluate(
    samples: _Samples,
    by_mode: Mapping[str, Sequence[WorkingPoint]],
    ways: Sequence[str],
    clock: str,
    group_size: int,
    described: Mapping[str, Any],
) -> Measurement:
    """Compare all points in all ways."""
    results = []
    for way in ways:
        points = [point for listed in by_mode.values() for point in listed]
        if "sample" in by_mode:
            points.append(_find_cheapest_sampling(samples, way, by_mode, clock))
        results += [
            _compare(samples, way, point, clock, group_size) for point in points
        ]
    curves = [
        _draw_curve(samples, way, by_mode["threshold"], clock)
        for way in ways
        if "threshold" in by_mode
    ]
    times = {name: _list_times(samples, ways, name) for name in CLOCKS}
    main = samples.filtered[ways[0], samples.main]
    stages = _summarise_stages(samples.unfiltered, main)
    return Measurement(described, times, stages, tuple(results), tuple(curves))


def _find_cheapest_sampling(
    samples: _Samples,
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


def _compare(
    samples: _Samples, way: str, point: WorkingPoint, clock: str, group_size: int
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
    samples: _Samples, way: str, points: Sequence[WorkingPoint], clock: str
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
    return curve


def _list_times(
    samples: _Samples, ways: Sequence[str], clock: str
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
