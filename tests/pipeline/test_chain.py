"""The chain with and without the filter, and its rounds on several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartfilter.errors import SmartFilterError
from smartfilter.events import Events
from smartfilter.pipeline.chain import ChainSettings, FilterSettings
from smartfilter.pipeline.chain import run as run_chain
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.objects import Detected
from smartfilter.pipeline.rounds import Job, Plan, run_rounds
from smartfilter.pipeline.working_points import WorkingPoint, replay
from smartfilter.sampling import optimal_keep_probability
from smartfilter.scoring import Scorer

CHAIN = ChainSettings("mixed", "feiHadronicB0", 1.0, seed=1, decay_table="pythia")


DETECTOR = Detector(step=1.0, seed=1)


def test_run_with_filter_keeps_the_decisions_of_the_run_without(scorer: Scorer):
    """The same events pass in both; skipped ones cost no simulation."""
    without = run_chain(CHAIN, 120, seed=3, detector=DETECTOR)
    with_filter = run_chain(
        CHAIN,
        120,
        seed=3,
        detector=DETECTOR,
        filtering=FilterSettings(threshold=0.1),
        scorer=scorer,
    )
    keep = with_filter.weight > 0
    assert 0 < keep.sum() < 120
    assert np.array_equal(keep, with_filter.score >= 0.1)
    assert np.array_equal(with_filter.passes, without.passes & keep)
    for stage in ("detector", "reconstruction", "skim"):
        assert np.array_equal(with_filter.times[stage][:, 0] > 0, keep)
        assert (without.times[stage][:, 0] > 0).all()
    assert (with_filter.times["filter"] > 0).all()
    assert not without.times["filter"].any()
    assert np.isnan(without.score).all()


def test_run_with_blocks_gives_the_same_scores(scorer: Scorer):
    alone, blocks = (
        run_chain(
            CHAIN,
            25,
            seed=3,
            detector=DETECTOR,
            filtering=FilterSettings(blocks=blocks),
            scorer=scorer,
        )
        for blocks in (False, True)
    )
    assert np.allclose(alone.score, blocks.score, rtol=1e-5)
    assert np.array_equal(alone.weight, blocks.weight)
    assert (blocks.times["filter"] > 0).all()


def test_replayed_draws_are_those_of_the_run(scorer: Scorer):
    without = run_chain(CHAIN, 150, seed=4, detector=DETECTOR)
    sampled = run_chain(
        CHAIN,
        150,
        seed=4,
        detector=DETECTOR,
        filtering=FilterSettings("sample"),
        scorer=scorer,
    )
    point = WorkingPoint("sample", constant=1.2)
    again = replay(without, sampled, point, same=False)
    assert np.array_equal(again.weight, sampled.weight)
    assert np.array_equal(again.passes, sampled.passes)
    assert np.array_equal(again.keep_probability, sampled.keep_probability)
    p = optimal_keep_probability(sampled.score, 1.2)
    assert np.array_equal(sampled.weight > 0, without.draw < p)
    assert 0 < np.count_nonzero(sampled.weight) < 150


def test_run_without_events_is_empty():
    assert len(run_chain(CHAIN, 0, seed=1, detector=DETECTOR)) == 0


class BusyProcess:
    """A detector whose work is done by another process, as Geant4's is."""

    def __init__(self) -> None:
        code = (
            "import sys, time\n"
            "for line in sys.stdin:\n"
            "    end = time.process_time() + 0.01\n"
            "    while time.process_time() < end: pass\n"
            "    print(flush=True)\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._detector = DETECTOR

    @property
    def pids(self) -> tuple[int, ...]:
        return (self._process.pid,)

    def simulate(self, events: Events) -> Detected:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self._process.stdout.readline()
        return self._detector.simulate(events)

    def close(self) -> None:
        self._process.communicate()


def test_cpu_time_of_the_detectors_process_counts():
    detector = BusyProcess()
    try:
        run_chain(CHAIN, 1, seed=3, detector=detector)
        found = run_chain(CHAIN, 10, seed=3, detector=detector)
    finally:
        detector.close()
    cpu = found.times["detector"][:, 1]
    assert (cpu > 0.0095).all()
    assert np.median(cpu) < 0.2


def make_plan(model: Path, **changes: Any) -> Plan:
    jobs = (Job("plain", 1), Job("filter", 1, FilterSettings(threshold=0.1)))
    plan = Plan(CHAIN, jobs, 25, seed=5, model=str(model), events_per_round=10)
    return replace(plan, **changes)


def test_rounds_share_out_all_events(count_model: Path):
    assert make_plan(count_model).rounds == [10, 10, 5]
    assert make_plan(count_model, n_events=20).rounds == [10, 10]
    plan = make_plan(count_model)
    seeds = {plan.get_generator_seed(turn, k) for turn in range(-1, 9) for k in (0, 1)}
    assert len(seeds) == 20


def test_rounds_do_not_depend_on_the_number_of_workers(count_model: Path):
    done: list[int] = []
    plan = make_plan(count_model)
    alone = run_rounds(plan, workers=1, advance=done.append)
    shared = run_rounds(plan, workers=2)
    assert sum(done) == 25
    for name in ("plain", "filter"):
        for column in ("passes", "score", "weight", "draw"):
            assert np.array_equal(
                getattr(alone[name], column),
                getattr(shared[name], column),
                equal_nan=True,
            )
    assert np.array_equal(
        shared["filter"].passes, shared["plain"].passes & (shared["filter"].weight > 0)
    )


def test_dead_worker_is_an_error(count_model: Path, monkeypatch: pytest.MonkeyPatch):
    submit = ProcessPoolExecutor.submit

    def submit_death(pool: ProcessPoolExecutor, *_: Any) -> Future[Any]:
        return submit(pool, os._exit, 3)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", submit_death)
    with pytest.raises(SmartFilterError, match="one ended early"):
        run_rounds(make_plan(count_model), workers=2)
