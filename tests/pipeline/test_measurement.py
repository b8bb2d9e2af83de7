"""Measured against predicted speedup: on made-up runs and on the real chain."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from smartfilter import speedup
from smartfilter.cli import cli
from smartfilter.errors import SmartFilterError, UsageError
from smartfilter.events import Events
from smartfilter.pipeline.chain import STAGES, ChainRun, ChainSettings, FilterSettings
from smartfilter.pipeline.chain import run as run_chain
from smartfilter.pipeline.comparison import (
    Estimate,
    divide_speedups,
    measure_speedup,
    predict,
)
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.measurement import THRESHOLD_FACTORS, measure
from smartfilter.pipeline.objects import Detected
from smartfilter.pipeline.results import Measurement, PointResult
from smartfilter.pipeline.rounds import Job, Plan, run_rounds
from smartfilter.pipeline.working_points import WorkingPoint, correct_times, replay
from smartfilter.sampling import optimal_keep_probability
from smartfilter.scoring import Scorer

T_G, T_N, T_S = 1.0, 0.5, 100.0
AT_04 = WorkingPoint("threshold", threshold=0.4)
SAMPLING = WorkingPoint("sample", constant=1.5)


def make_run(
    n_events: int,
    *,
    seed: int = 0,
    mode: str = "observe",
    threshold: float = 0.4,
    busy: float = 0.0,
) -> ChainRun:
    """A run with made-up times; kept events cost more where ``busy`` is positive.

    Mode ``observe``: filter looks on; ``none``: no filter; ``threshold``, ``sample``.
    """
    rng = np.random.default_rng(seed)
    score = rng.beta(0.5, 4.0, n_events)
    passes = rng.random(n_events) < score
    u = rng.random(n_events)
    t_s = T_S * (1.0 + busy * score) * rng.uniform(0.5, 1.5, n_events)
    p = np.ones(n_events)
    if mode == "threshold":
        p = (score >= threshold).astype(float)
    elif mode in ("sample", "watch-sample"):
        p = np.clip(1.5 * np.sqrt(score), 0.01, 1.0)
    keep = np.ones(n_events, bool) if mode in ("observe", "watch-sample") else u < p
    times = {stage: np.zeros((n_events, 2)) for stage in STAGES}
    times["generation"][:] = T_G
    if mode != "none":
        times["filter"][:] = T_N
    share = {"detector": 0.9, "reconstruction": 0.08, "skim": 0.02}
    for stage, part in share.items():
        times[stage][:] = (part * t_s * keep)[:, None]
    weight = np.divide(keep, p, out=np.zeros(n_events), where=p > 0)
    return ChainRun(
        times=times,
        passes=passes & keep,
        score=np.full(n_events, np.nan) if mode == "none" else score,
        logit=np.log(score) - np.log1p(-score),
        keep_probability=p,
        weight=weight,
        draw=u,
    )


def test_predict_threshold_equals_a_plain_loop():
    observed = make_run(3000, busy=2.0)
    found = predict(observed, AT_04, "cpu")
    n_pass = n_fail = pass_kept = fail_kept = 0
    total = kept_total = 0.0
    t_s = observed.seconds(("detector", "reconstruction", "skim"), "cpu")
    for passes, score, time in zip(observed.passes, observed.score, t_s, strict=True):
        kept = score >= 0.4
        n_pass += passes
        n_fail += not passes
        pass_kept += passes and kept
        fail_kept += (not passes) and kept
        total += time
        kept_total += time * kept
    rates = {
        "tpr": pass_kept / n_pass,
        "fpr": fail_kept / n_fail,
        "retention_rate": n_pass / 3000,
    }
    times = {"t_g": T_G, "t_s": total / 3000}
    expected = {
        **rates,
        **times,
        "t_n": T_N,
        "keep_fraction": (pass_kept + fail_kept) / 3000,
        "predicted_speedup": speedup.threshold_speedup(**rates, **times, t_n=T_N),
        "predicted_with_costs": rates["tpr"]
        * (T_G + total / 3000)
        / (T_G + T_N + kept_total / 3000),
        "printed_formula": speedup.printed_formula(**rates, **times),
        "substituted_formula": speedup.substituted_formula(**rates, **times),
    }
    expected["excess_without_costs"] = (
        expected["predicted_speedup"] / expected["predicted_with_costs"] - 1
    )
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-9), name


def test_predict_errors_are_those_of_the_binomial_and_of_the_mean():
    observed = make_run(4000)
    found = predict(observed, AT_04, "wall")
    r = found["retention_rate"]
    assert r.error == pytest.approx(np.sqrt(r.value * (1 - r.value) / 4000), rel=0.15)
    f1, n_pass = found["tpr"], r.value * 4000
    assert f1.error == pytest.approx(
        np.sqrt(f1.value * (1 - f1.value) / n_pass), rel=0.15
    )
    t_s = observed.seconds(("detector", "reconstruction", "skim"), "wall")
    assert found["t_s"].error == pytest.approx(t_s.std() / np.sqrt(4000), rel=0.15)
    assert found["t_g"].error == pytest.approx(0.0, abs=1e-12)


def test_predict_sampling_equals_formula_c():
    observed = make_run(3000, mode="watch-sample", busy=1.0)
    found = predict(observed, SAMPLING, "cpu")
    p, y = observed.keep_probability, observed.passes
    t_s = observed.seconds(("detector", "reconstruction", "skim"), "cpu")
    inputs: dict[str, Any] = {
        "retention_rate": y.mean(),
        "mean_pass_over_p": (y / p).mean(),
        "mean_keep_probability": p.mean(),
        "t_g": T_G,
        "t_n": T_N,
        "t_s": t_s.mean(),
    }
    assert found["predicted_speedup"].value == pytest.approx(
        speedup.sampling_speedup(**inputs)
    )
    assert found["predicted_with_costs"].value == pytest.approx(
        speedup.sampling_speedup(**inputs, mean_kept_t_s=(p * t_s).mean())
    )
    assert "printed_formula" not in found


def test_unscorable_event_counts_as_kept():
    observed = make_run(500)
    observed.score[:50] = np.nan
    found = predict(observed, replace(AT_04, threshold=1.0), "cpu")
    assert found["keep_fraction"].value == pytest.approx(0.1)


def test_measure_speedup_is_the_ratio_of_costs_per_passing_event():
    without = make_run(2000, mode="none")
    with_filter = make_run(2000, mode="threshold")
    found = measure_speedup(without, with_filter, "cpu")
    cost = without.seconds(STAGES, "cpu").sum() / without.passes.sum()
    cost_filtered = with_filter.seconds(STAGES, "cpu").sum() / with_filter.passes.sum()
    assert found.value == pytest.approx(cost / cost_filtered)
    assert 0 < found.error < 0.2 * found.value


def test_measure_speedup_of_sampling_counts_effective_events():
    without, sampled = make_run(4000, mode="none"), make_run(4000, mode="sample")
    found = measure_speedup(without, sampled, "cpu")
    effective = speedup.effective_sample_size(sampled.weight[sampled.passes])
    cost = without.seconds(STAGES, "cpu").sum() / without.passes.sum()
    cost_sampled = sampled.seconds(STAGES, "cpu").sum() / effective
    assert found.value == pytest.approx(cost / cost_sampled)


@pytest.mark.parametrize(
    ("mode", "point"), [("threshold", AT_04), ("sample", SAMPLING)]
)
@pytest.mark.parametrize("same", [True, False])
def test_replay_equals_the_run_with_the_filter(
    mode: str, point: WorkingPoint, same: bool
):
    """Where times do not depend on the run, both give the same number."""
    without, with_filter = make_run(1000, mode="none"), make_run(1000, mode=mode)
    source = with_filter if same else make_run(1000, mode="threshold", threshold=0.7)
    again = replay(without, source, point, same=same)
    assert np.array_equal(again.passes, with_filter.passes)
    assert np.allclose(again.weight, with_filter.weight)
    for stage in STAGES:
        assert np.allclose(again.times[stage], with_filter.times[stage])
    found = measure_speedup(without, again, "cpu")
    assert found == pytest.approx(measure_speedup(without, with_filter, "cpu"))


def test_replay_of_official_draws_needs_their_run():
    point = WorkingPoint("official", slope=0.5, offset=0.0)
    with pytest.raises(UsageError, match="run with mode 'official'"):
        replay(make_run(9, mode="none"), make_run(9), point, same=False)


def test_working_point_without_constants_refused():
    with pytest.raises(UsageError, match="constants of mode 'sample'"):
        WorkingPoint("sample").get_keep_probability(make_run(3))


def test_correct_times_adds_what_simulated_events_cost_the_next_one():
    """Each event behind a kept one takes 3 instead of 1: a plain loop counts them."""
    ran = make_run(500, mode="threshold", threshold=0.4)
    other = make_run(500, mode="threshold", threshold=0.1)

    def count(kept: Any) -> float:
        total, before = 0.0, False
        for keep in kept:
            total += 3.0 if before else 1.0
            before = bool(keep)
        return total

    before = np.concatenate([[False], ran.weight[:-1] > 0])
    times = np.where(before, 3.0, 1.0)
    ran = replace(ran, times={**ran.times, "filter": np.stack([times] * 2, axis=1)})
    corrected = correct_times(ran, other.weight > 0).times["filter"][:, 0]
    assert corrected.sum() == pytest.approx(count(other.weight > 0))
    assert corrected.sum() > 1.2 * times.sum()
    unchanged = correct_times(ran, ran.weight > 0).times["filter"][:, 0]
    assert unchanged == pytest.approx(times)


def test_divide_speedups_equals_the_ratio_of_both_with_the_jackknife_error():
    without, run = make_run(800, mode="none"), make_run(800, mode="threshold")
    factors = np.repeat([1.0, 1.1, 1.2, 1.3], 200)[:, None]
    slow = replace(run, times={s: t * factors for s, t in run.times.items()})
    found = divide_speedups(run, slow, "cpu", 200)
    expected = (
        measure_speedup(without, run, "cpu").value
        / measure_speedup(without, slow, "cpu").value
    )
    assert found.value == pytest.approx(expected)
    cost = [r.seconds(STAGES, "cpu").reshape(4, 200).sum(axis=1) for r in (run, slow)]
    left_out = [
        np.delete(cost[1], k).sum() / np.delete(cost[0], k).sum() for k in range(4)
    ]
    spread = np.sum(np.square(np.array(left_out) - np.mean(left_out)))
    assert found.error == pytest.approx(np.sqrt(3 / 4 * spread))
    assert np.isnan(divide_speedups(run, slow, "cpu", 800).error)


def test_comparison_adds_relative_errors_in_quadrature():
    quantities = {
        "measured_speedup": Estimate(4.0, 0.4),
        "predicted_with_costs": Estimate(5.0, 0.25),
    }
    found = PointResult(AT_04, True, False, quantities).comparison
    assert found.value == pytest.approx(0.8)
    assert found.error == pytest.approx(0.8 * np.sqrt(0.01 + 0.0025))


def test_costs_that_do_not_depend_on_the_score_make_both_formulas_equal():
    found = predict(make_run(50_000), AT_04, "cpu")
    excess = found["excess_without_costs"]
    assert abs(excess.value) < 4 * excess.error < 0.05


def test_sampling_measured_equals_formula_c_on_average():
    """The draws are new, everything else is the same sample: only they fluctuate."""
    observed = make_run(40_000, mode="watch-sample")
    predicted = predict(observed, SAMPLING, "cpu")["predicted_with_costs"]
    sampled, without = make_run(40_000, mode="sample"), make_run(40_000, mode="none")
    measured = measure_speedup(without, sampled, "cpu")
    assert abs(measured.value - predicted.value) < 3 * measured.error
    assert measured.error < 0.03 * measured.value


def test_errors_cover_the_spread_of_repeated_measurements():
    """Pulls between independent samples have a width of one, with equal costs."""
    pulls = []
    for seed in range(40):
        quantities = predict(make_run(1500, seed=seed), AT_04, "cpu")
        without = make_run(1500, seed=1000 + seed, mode="none")
        with_filter = make_run(1500, seed=1000 + seed, mode="threshold")
        quantities["measured_speedup"] = measure_speedup(without, with_filter, "cpu")
        point = PointResult(AT_04, True, False, quantities)
        pulls.append(point.pull())
        assert abs(point.pull("printed_formula")) > 5
    assert 0.7 < np.std(pulls) < 1.4
    assert abs(np.mean(pulls)) < 0.5


def test_filter_that_keeps_busy_events_needs_the_formula_with_costs():
    quantities = predict(make_run(20_000, busy=4.0), AT_04, "cpu")
    runs = [make_run(20_000, seed=1, mode=m, busy=4.0) for m in ("none", "threshold")]
    quantities["measured_speedup"] = measure_speedup(runs[0], runs[1], "cpu")
    point = PointResult(AT_04, True, False, quantities)
    assert abs(point.pull("predicted_with_costs")) < 3
    assert point.pull() < -3


def test_point_without_error_has_no_pull():
    exact = Estimate(2.0, 0.0)
    names = ("measured_speedup", "predicted_speedup", "predicted_with_costs")
    point = PointResult(SAMPLING, True, True, dict.fromkeys(names, exact))
    document = point.to_document()
    assert document["pull"] is None
    assert "pull_printed_formula" not in document


def test_chain_run_joins_in_order():
    first, second = make_run(10, seed=1), make_run(20, seed=2)
    joined = ChainRun.join([first, second])
    assert len(joined) == 30
    assert np.array_equal(joined.score, np.concatenate([first.score, second.score]))
    assert np.array_equal(joined.times["skim"][10:], second.times["skim"])


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


@pytest.fixture(scope="module")
def measurement(count_model: Path) -> Measurement:
    return measure(
        "mixed",
        300,
        skim="feiHadronicB0",
        model=count_model,
        step=1.0,
        decay_table="pythia",
        modes=("threshold", "sample"),
        thresholds=(0.1, 0.0, 0.3),
        events_per_round=150,
    )


def get_point(measurement: Measurement, blocks: bool, **wanted: Any) -> PointResult:
    (found,) = (
        point
        for point in measurement.points
        if point.blocks == blocks
        and all(getattr(point.point, k) == v for k, v in wanted.items())
    )
    return found


def test_measure_gives_sane_numbers(measurement: Measurement):
    assert len(measurement.points) == 10
    for result in measurement.points:
        quantities = result.quantities
        for name in ("t_g", "t_n", "t_s"):
            assert quantities[name].value > 0
        assert 0 < quantities["retention_rate"].value < 0.3
        assert quantities["measured_speedup"].value > 0
        assert quantities["measured_speedup"].error > 0
    for blocks in (True, False):
        everything = get_point(measurement, blocks, threshold=0.0)
        assert everything.quantities["tpr"].value == 1.0
        assert everything.quantities["fpr"].value == 1.0
        assert everything.replayed
        main = get_point(measurement, blocks, threshold=0.1)
        assert not main.replayed
        harder = get_point(measurement, blocks, threshold=0.3)
        assert harder.quantities["keep_fraction"].value < (
            main.quantities["keep_fraction"].value
        )
    assert measurement.points[0] is get_point(measurement, True, threshold=0.1)
    assert measurement.precision > 0


def test_measure_runs_sampling_once_and_replays_its_cheapest_constant(
    measurement: Measurement,
):
    model = [
        get_point(measurement, b, mode="sample", constant=1.2) for b in (True, False)
    ]
    assert [point.replayed for point in model] == [False, True]
    sampling = [p for p in measurement.points if p.point.mode == "sample"]
    cheapest = [p for p in sampling if p.point.constant != 1.2]
    assert len(cheapest) == 2
    assert all(point.replayed for point in cheapest)


def test_measure_of_a_filter_that_keeps_all_is_below_one(measurement: Measurement):
    everything = get_point(measurement, False, threshold=0.0).quantities
    assert everything["predicted_speedup"].value < 1
    assert everything["measured_speedup"].value < 1
    assert everything["excess_without_costs"].value == pytest.approx(0.0, abs=1e-9)


def test_measure_formulas_are_consistent_with_its_rates(measurement: Measurement):
    for result in measurement.points:
        value = {name: q.value for name, q in result.quantities.items()}
        rates = {name: value[name] for name in ("tpr", "fpr", "retention_rate")}
        times = {name: value[name] for name in ("t_g", "t_s")}
        if result.point.mode != "threshold":
            assert "printed_formula" not in value
            continue
        assert value["predicted_speedup"] == pytest.approx(
            speedup.threshold_speedup(**rates, **times, t_n=value["t_n"])
        )
        assert value["printed_formula"] == pytest.approx(
            speedup.printed_formula(**rates, **times)
        )
        assert value["substituted_formula"] == pytest.approx(
            speedup.substituted_formula(**rates, **times)
        )


def test_measure_document_has_the_promised_keys(measurement: Measurement):
    document = json.loads(json.dumps(measurement.to_document(), allow_nan=False))
    promised = {
        "t_g",
        "t_n",
        "t_s",
        "retention_rate",
        "tpr",
        "fpr",
        "measured_speedup",
        "measured_speedup_error",
        "predicted_speedup",
        "predicted_speedup_error",
        "pull",
        "comparison",
        "comparison_error",
        "pull_predicted_with_costs",
    }
    wrong = {"printed_formula", "substituted_formula", "pull_printed_formula"}
    assert promised | wrong <= set(document)
    for point in document["points"]:
        assert promised <= set(point)
        assert (wrong <= set(point)) == (point["mode"] == "threshold")
        assert ("replay_ratio" in point) == (not point["replayed"])
        both = {point["measured_speedup_cpu"], point["measured_speedup_wall"]}
        assert point["measured_speedup"] in both
    assert document["event_type"] == "mixed"
    assert document["times"]["wall"]["t_n_events"] > 0
    assert set(document["stages"]) == set(STAGES)
    assert document["stages"]["filter"]["cpu_without"] == 0.0
    assert document["stages"]["detector"]["wall_with"] > 0
    without = sum(row["cpu_without_per_passing"] for row in document["stages"].values())
    with_it = sum(row["cpu_with_per_passing"] for row in document["stages"].values())
    assert without / with_it == pytest.approx(document["measured_speedup_cpu"])
    for curve in document["curves"]:
        assert len(curve["threshold"]) == len(curve["predicted_with_costs_error"])


def test_measure_default_points_follow_the_model(count_model: Path):
    steps: dict[str, tuple[int | None, list[int]]] = {}

    def begin(task: str, total: int | None, unit: str = "events") -> Any:
        steps[task] = (total, [])
        return steps[task][1].append

    result = measure(
        "mixed",
        200,
        skim="feiHadronicB0",
        model=count_model,
        modes=("official", "threshold"),
        ways=("events",),
        step=1.0,
        decay_table="pythia",
        clock="wall",
        begin=begin,
    )
    assert list(steps) == ["measure", "points", "curves"]
    assert [total for total, _ in steps.values()] == [200, 6, 25]
    assert all(sum(done) == total for total, done in steps.values())
    official, *others = result.points
    assert official.point == WorkingPoint("official", slope=0.5, offset=0.0)
    assert not official.replayed
    assert [p.point.threshold for p in others] == pytest.approx(
        [0.1 * factor for factor in THRESHOLD_FACTORS]
    )
    assert [p.replayed for p in others] == [False] + [True] * 4
    assert result.to_document()["filter_in_blocks"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_events": 0}, "number of events"),
        ({"modes": ["debug"]}, "got 'debug'"),
        ({"modes": []}, "mode: .* got none"),
        ({"modes": ["sample"], "thresholds": [0.1]}, "thresholds"),
        ({"ways": ["threads"]}, "way to call"),
        ({"clock": "sun"}, "clock"),
        ({"detector": "cloud chamber"}, "detector: expected one of mock, geant4"),
        ({"workers": 0}, "workers"),
        ({"events_per_round": 0}, "events_per_round"),
        ({"skim": "TauLFV"}, "skim: expected one of"),
        ({"n_events": 1}, "events that pass"),
    ],
)
def test_measure_senseless_setting_refused(
    change: dict[str, Any], message: str, count_model: Path
):
    settings = {
        "n_events": 10,
        "skim": "feiHadronicB0",
        "step": 1.0,
        "decay_table": "pythia",
        **change,
    }
    n_events = settings.pop("n_events")
    with pytest.raises(UsageError, match=message):
        measure("mixed", n_events, model=count_model, **settings)


def test_measure_command_prints_tables_and_writes_files(
    count_model: Path, tmp_path: Path
):
    arguments = ["measure", "-n", "250", "--step", "1", "--decay-table", "pythia"]
    arguments += ["--model", str(count_model), "--output", str(tmp_path), "--blocks"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    for word in ("t_g", "CPU time", "wall clock", "reconstruction", "(A2)", "replayed"):
        assert word in done.stdout
    document = json.loads((tmp_path / "measure.json").read_text())
    assert document["schema_version"] == 1
    assert document["command_line"] == shlex.join(["smartfilter", *arguments])
    assert {"smartfilter", "python", "torch", "pythia8mc"} <= set(document["versions"])
    assert {"cpu", "cores", "load"} <= set(document["machine"])
    assert len(document["points"]) == len(THRESHOLD_FACTORS) + 2
    for name in ("measure", "costs"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    again = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert isinstance(again.exception, UsageError)
    assert "use --force" in str(again.exception)
