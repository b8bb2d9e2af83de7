r"""Measure the speedup of the filter and compare it with the formulas.

Two independent samples are generated. On the first the chain runs while the filter
looks on, and once more with the filter at work for its own time: rates, times and hence
the predictions come from it. On the second the chain
runs without and with the filter, and

.. math:: \frac{T_\mathrm{without} / N_\mathrm{without}}{T_\mathrm{with} / N_\mathrm{with}}

is the measured speedup, T the time of all stages and N the number of passing events, or
with sampling their effective number. Errors are from a bootstrap over events; as both runs
of the second sample share their events, so do their replicas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.decision import DecisionSettings
from smartfilter.errors import UsageError
from smartfilter.pipeline.chain import (
    CLOCKS,
    STAGES,
    ChainRun,
    ChainSettings,
    FilterSettings,
    run,
)
from smartfilter.pipeline.comparison import (
    Estimate,
    measure_speedup,
    predict,
    replay,
)
from smartfilter.scoring import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


__all__ = ["Measurement", "PointResult", "measure"]

N_WARM_UP = 20
"""Events that compile and load everything before the clock starts."""


@dataclass(frozen=True)
class PointResult:
    """Prediction and measurement of one working point.

    Parameters
    ----------
    mode : str
    threshold : float or None
        None with sampling.
    replayed : bool
        Whether the measurement follows from the times of the run without the filter and
        those of the filter alone, instead of a run of its own.
    quantities : mapping of str to Estimate
        Times (s), rates and speedups by name; see `Measurement.to_document`.
    """

    mode: str
    threshold: float | None
    replayed: bool
    quantities: Mapping[str, Estimate]

    def pull(self, name: str = "predicted_speedup") -> float:
        """Return (measured - predicted) / error of the difference."""
        measured, predicted = self.quantities["measured_speedup"], self.quantities[name]
        error = np.hypot(measured.error, predicted.error)
        difference = measured.value - predicted.value
        return float(difference / error) if error > 0 else float("nan")

    def to_document(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary; what is not defined is None."""
        document: dict[str, Any] = {
            "mode": self.mode,
            "threshold": self.threshold,
            "replayed": self.replayed,
        }
        for name, (value, error) in self.quantities.items():
            document[name] = _finite(value)
            document[f"{name}_error"] = _finite(error)
        document["pull"] = _finite(self.pull())
        for name in ("predicted_with_costs", "printed_formula", "substituted_formula"):
            if name in self.quantities:
                document[f"pull_{name}"] = _finite(self.pull(name))
        return document


@dataclass(frozen=True)
class Measurement:
    """Result of `measure`.

    Parameters
    ----------
    settings : mapping
        What was run: event type, skim, model, numbers of events, step, seed, clock.
    stages : mapping of str to mapping of str to float
        Seconds per event that reaches it, of each stage without and with the filter, on
        both clocks.
    points : tuple of PointResult
        The first one is the main one.
    """

    settings: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, float]]
    points: tuple[PointResult, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document of ``smartfilter measure``, schema version aside.

        Quantities of the main point stand at the top and, as of every other point, in
        ``points``; each has its ``_error``. From the first sample: ``t_g``, ``t_n``,
        ``t_s`` (s), ``retention_rate``, ``tpr``, ``fpr``, ``keep_fraction``,
        ``predicted_speedup`` (formula A, or C with sampling), ``predicted_with_costs``
        (A2, or C with the measured cost of kept events), ``printed_formula`` (B),
        ``substituted_formula`` (B'). From the second: ``measured_speedup``;
        ``replayed_speedup`` is the same from the times of the run without the filter.
        """
        points = [point.to_document() for point in self.points]
        return {
            **self.settings,
            **points[0],
            "stages": {name: dict(row) for name, row in self.stages.items()},
            "points": points,
        }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


class _Samples(NamedTuple):
    """The runs that a measurement is made of."""

    observed: ChainRun
    unfiltered: ChainRun
    filtered: Sequence[ChainRun]


def measure(
    event_type: str,
    n_events: int,
    *,
    skim: str,
    model: str | Path | Scorer | None = None,
    mode: str = "threshold",
    threshold: float | None = None,
    thresholds: Sequence[float] = (),
    run_all: bool = False,
    step: float = 0.02,
    seed: int = 1,
    clock: str = "cpu",
    blocks: bool = False,
    rounds: int = 4,
    device: str = "cpu",
    advance: Callable[[int], None] | None = None,
) -> Measurement:
    """Run the chain with and without the filter and compare with the formulas.

    Everything runs on one thread. Numbers are compiled and the network is warmed up
    before. The runs take turns, ``rounds`` times, so that a drift of the machine's
    speed hits all of them.

    Parameters
    ----------
    event_type : str
    n_events : int
        Generated events per sample; there are two samples.
    skim : str
        Skim that counts, of the chain and of the model.
    model : str, Path or Scorer, optional
        By default the model that smartfilter ships.
    mode : str
        ``threshold``, ``sample`` or ``official``.
    threshold : float, optional
        By default the model's.
    thresholds : sequence of float
        Further working points, with mode ``threshold``.
    run_all : bool
        Run the chain for each of them; by default their measurement is replayed from
        the times of the events in the run without the filter.
    step : float
        Longest step in the detector, cm; the dial of the cost of the simulation.
    seed : int
    clock : str
        ``cpu`` (not disturbed by what else runs) or ``wall``.
    blocks : bool
        Let the filter score whole blocks of the generator.
    rounds : int
        Turns of the runs.
    device : str
        Where the network runs.
    advance : callable, optional
        Told the number of events done since its last call, of ``3 * n_events`` and one
        more ``n_events`` for each run with the filter.

    Raises
    ------
    UsageError
        If a setting makes no sense, or no event passes in one of the runs.
    SmartFilterError
        What model and stages raise.
    """
    _check(n_events, mode, thresholds, clock, rounds)
    scorer = (
        model if isinstance(model, Scorer) else Scorer(model, device=device, threads=1)
    )
    settings = DecisionSettings.from_model(
        scorer.info, skims=[skim], mode=mode, threshold=threshold, event_type=event_type
    )
    main = settings.skims[0].threshold if mode == "threshold" else None
    points = [main, *(t for t in thresholds if t != main)]
    chain = ChainSettings(event_type, skim, step, detector_seed=seed)
    runs = [
        FilterSettings(scorer, mode, point, seed=seed, blocks=blocks)
        for point in (points if run_all else points[:1])
    ]
    samples = _run_in_turns(chain, n_events, rounds, seed, runs, advance)
    for sample in (samples.observed, samples.unfiltered):
        if not sample.passes.any() or sample.passes.all():
            raise UsageError(
                f"measure: expected events that pass {skim} and events that do not, got "
                f"{sample.passes.sum()} of {n_events} that pass; generate more events"
            )
    results = tuple(
        _compare(samples, k, mode, point, clock) for k, point in enumerate(points)
    )
    described = {
        "event_type": event_type,
        "skim": skim,
        "model": str(scorer.path),
        "model_digest": scorer.digest,
        "n_events": n_events,
        "n_passing": int(samples.unfiltered.passes.sum()),
        "step": step,
        "seed": seed,
        "clock": clock,
        "filter_in_blocks": blocks,
        "device": str(scorer.device),
    }
    return Measurement(described, _summarise_stages(samples), results)


def _check(
    n_events: int, mode: str, thresholds: Sequence[float], clock: str, rounds: int
) -> None:
    if n_events < 1:
        raise UsageError(f"number of events: expected at least 1, got {n_events}")
    if mode == "debug":
        raise UsageError("mode: expected threshold, sample or official, got 'debug'")
    if thresholds and mode != "threshold":
        raise UsageError(f"thresholds: expected mode 'threshold', got '{mode}'")
    if clock not in CLOCKS:
        raise UsageError(f"clock: expected one of {', '.join(CLOCKS)}, got '{clock}'")
    if rounds < 1:
        raise UsageError(f"rounds: expected at least 1, got {rounds}")


def _run_in_turns(
    chain: ChainSettings,
    n_events: int,
    rounds: int,
    seed: int,
    filters: Sequence[FilterSettings],
    advance: Callable[[int], None] | None,
) -> _Samples:
    """Run all samples, a part of each per round, after a warm-up.

    On the first sample the filter runs twice: once looking on, while everything is
    simulated, which gives rates and t_s; once at work, which gives t_n. Behind a
    simulated event, which leaves its own data in the processor's caches, the filter is
    about twice as slow as behind one that was skipped.
    """
    watching = replace(filters[0], debug=True)
    jobs = [(watching, 0), (filters[0], 0), (None, 1), *((f, 1) for f in filters)]
    generator_seeds = np.random.SeedSequence(seed).generate_state(2 * rounds + 1)
    for job, _ in jobs[:3]:
        run(chain, N_WARM_UP, seed=int(generator_seeds[-1]), filtering=job)
    parts: list[list[ChainRun]] = [[] for _ in jobs]
    for turn in range(rounds):
        share = n_events * (turn + 1) // rounds - n_events * turn // rounds
        for (job, sample), done in zip(jobs, parts, strict=True):
            part_seed = int(generator_seeds[2 * turn + sample])
            done.append(run(chain, share, seed=part_seed, filtering=job))
            if advance is not None:
                advance(share)
    looking, working, unfiltered, *filtered = (ChainRun.join(done) for done in parts)
    times = {**looking.times, "filter": working.times["filter"]}
    return _Samples(replace(looking, times=times), unfiltered, filtered)


def _compare(
    samples: _Samples, index: int, mode: str, threshold: float | None, clock: str
) -> PointResult:
    """Return prediction and measurement of one working point."""
    unfiltered = samples.unfiltered
    quantities = predict(samples.observed, mode, threshold, clock)
    again = replay(unfiltered, samples.filtered[0], threshold)
    replayed = index >= len(samples.filtered)
    filtered = again if replayed else samples.filtered[index]
    quantities["measured_speedup"] = measure_speedup(unfiltered, filtered, clock)
    quantities["replayed_speedup"] = measure_speedup(unfiltered, again, clock)
    return PointResult(mode, threshold, replayed, quantities)


def _summarise_stages(samples: _Samples) -> dict[str, dict[str, float]]:
    """Return seconds per event that reaches each stage, by clock and run."""
    summary: dict[str, dict[str, float]] = {}
    for stage in STAGES:
        row = summary[stage] = {}
        for name, run_ in (
            ("without", samples.unfiltered),
            ("with", samples.filtered[0]),
        ):
            reached = run_.times[stage][:, 0] > 0
            for column, clock in enumerate(CLOCKS):
                total = float(run_.times[stage][:, column].sum())
                row[f"{clock}_{name}"] = total / max(int(reached.sum()), 1)
    return summary
