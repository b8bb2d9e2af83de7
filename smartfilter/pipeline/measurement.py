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

from typing import TYPE_CHECKING

from smartfilter.decision import DecisionSettings
from smartfilter.errors import UsageError
from smartfilter.pipeline.chain import (
    CLOCKS,
    ChainSettings,
    FilterSettings,
    open_detector,
)
from smartfilter.pipeline.rounds import EVENTS_PER_ROUND, Job, Plan, run_rounds
from smartfilter.pipeline.samples import Samples, compare
from smartfilter.pipeline.working_points import WorkingPoint
from smartfilter.progress import begin_silently
from smartfilter.scoring import Scorer
from smartfilter.shipped import name_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from smartfilter.pipeline.results import Measurement
    from smartfilter.progress import Begin

__all__ = ["THRESHOLD_FACTORS", "WAYS", "measure"]

WAYS = ("blocks", "events")
"""How the filter is called: with the generator's blocks, or one event at a time."""

THRESHOLD_FACTORS = (0.7, 0.5, 0.3, 0.2, 0.1)
"""Working points by default, in units of the model's own threshold.

That one is best for t_s = 100 t_g; here t_s is some 30 t_g, and the best one lower.
"""


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
    begin: Begin = begin_silently,
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
    begin : Begin
        Told of the steps: the runs, whose events are those of ``n_events``; points and
        curves.

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
    runs = run_rounds(plan, workers=workers, advance=begin("measure", n_events))
    samples = Samples(
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
        "model": name_model(scorer.path),
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
    return compare(samples, by_mode, ways, clock, events_per_round, described, begin)


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


def _check_passing(samples: Samples, skim: str) -> None:
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
