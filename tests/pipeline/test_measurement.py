"""Measured against predicted speedup: on made-up runs and on the real chain."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from smartfilter import speedup
from smartfilter.errors import UsageError
from smartfilter.pipeline.chain import STAGES, ChainRun, ChainSettings, FilterSettings
from smartfilter.pipeline.chain import run as run_chain
from smartfilter.pipeline.comparison import Estimate, measure_speedup, predict, replay
from smartfilter.pipeline.measurement import Measurement, PointResult, measure
from smartfilter.scoring import Scorer

T_G, T_N, T_S = 1.0, 0.5, 100.0


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
        keep_probability=p,
        weight=weight,
    )


def test_predict_threshold_equals_a_plain_loop():
    observed = make_run(3000, busy=2.0)
    found = predict(observed, "threshold", 0.4, "cpu")
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
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-9), name


def test_predict_errors_are_those_of_the_binomial_and_of_the_mean():
    observed = make_run(4000)
    found = predict(observed, "threshold", 0.4, "wall")
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
    found = predict(observed, "sample", None, "cpu")
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
    found = predict(observed, "threshold", 2.0, "cpu")
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


@pytest.mark.parametrize("mode", ["threshold", "sample"])
def test_replay_equals_the_run_with_the_filter(mode: str):
    """Where times do not depend on the run, both give the same number."""
    without, with_filter = make_run(1000, mode="none"), make_run(1000, mode=mode)
    threshold = 0.4 if mode == "threshold" else None
    again = replay(without, with_filter, threshold)
    assert np.array_equal(again.passes, with_filter.passes)
    for stage in STAGES:
        assert np.allclose(again.times[stage], with_filter.times[stage])
    found = measure_speedup(without, again, "cpu")
    assert found == pytest.approx(measure_speedup(without, with_filter, "cpu"))


def test_errors_cover_the_spread_of_repeated_measurements():
    """Pulls between independent samples have a width of one, with equal costs."""
    pulls = []
    for seed in range(40):
        quantities = predict(make_run(1500, seed=seed), "threshold", 0.4, "cpu")
        without = make_run(1500, seed=1000 + seed, mode="none")
        with_filter = make_run(1500, seed=1000 + seed, mode="threshold")
        quantities["measured_speedup"] = measure_speedup(without, with_filter, "cpu")
        point = PointResult("threshold", 0.4, replayed=False, quantities=quantities)
        pulls.append(point.pull())
        assert abs(point.pull("printed_formula")) > 5
    assert 0.7 < np.std(pulls) < 1.4
    assert abs(np.mean(pulls)) < 0.5


def test_filter_that_keeps_busy_events_needs_the_formula_with_costs():
    quantities = predict(make_run(20_000, busy=4.0), "threshold", 0.4, "cpu")
    runs = [make_run(20_000, seed=1, mode=m, busy=4.0) for m in ("none", "threshold")]
    quantities["measured_speedup"] = measure_speedup(runs[0], runs[1], "cpu")
    point = PointResult("threshold", 0.4, replayed=False, quantities=quantities)
    assert abs(point.pull("predicted_with_costs")) < 3
    assert point.pull() < -3


def test_point_without_error_has_no_pull():
    exact = Estimate(2.0, 0.0)
    point = PointResult(
        "sample",
        None,
        replayed=True,
        quantities={"measured_speedup": exact, "predicted_speedup": exact},
    )
    document = point.to_document()
    assert document["pull"] is None
    assert "pull_printed_formula" not in document


def test_chain_run_joins_in_order():
    first, second = make_run(10, seed=1), make_run(20, seed=2)
    joined = ChainRun.join([first, second])
    assert len(joined) == 30
    assert np.array_equal(joined.score, np.concatenate([first.score, second.score]))
    assert np.array_equal(joined.times["skim"][10:], second.times["skim"])


CHAIN = ChainSettings("mixed", "feiHadronicB0", step=1.0)


def test_run_with_filter_keeps_the_decisions_of_the_run_without(scorer: Scorer):
    """The same events pass in both; skipped ones cost no simulation."""
    without = run_chain(CHAIN, 120, seed=3)
    filtering = FilterSettings(scorer, threshold=0.1, seed=1)
    with_filter = run_chain(CHAIN, 120, seed=3, filtering=filtering)
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
    alone = run_chain(CHAIN, 25, seed=3, filtering=FilterSettings(scorer, seed=1))
    blocks = run_chain(
        CHAIN, 25, seed=3, filtering=FilterSettings(scorer, seed=1, blocks=True)
    )
    assert np.allclose(alone.score, blocks.score, rtol=1e-5)
    assert np.array_equal(alone.weight, blocks.weight)
    assert len(np.unique(blocks.times["filter"][:, 0])) == 1


def test_run_without_events_is_empty():
    assert len(run_chain(CHAIN, 0, seed=1)) == 0


@pytest.fixture(scope="module")
def measurement(scorer: Scorer) -> Measurement:
    return measure(
        "mixed",
        300,
        skim="feiHadronicB0",
        model=scorer,
        step=1.0,
        threshold=0.1,
        thresholds=(0.0, 0.3),
        rounds=2,
    )


def test_measure_gives_sane_numbers(measurement: Measurement):
    main, everything, harder = measurement.points
    for point in measurement.points:
        quantities = point.quantities
        for name in ("t_g", "t_n", "t_s"):
            assert quantities[name].value > 0
        assert 0 < quantities["retention_rate"].value < 0.3
        assert quantities["measured_speedup"].value > 0
        assert quantities["measured_speedup"].error > 0
    assert everything.quantities["tpr"].value == 1.0
    assert everything.quantities["fpr"].value == 1.0
    assert harder.quantities["keep_fraction"].value < (
        main.quantities["keep_fraction"].value
    )
    assert (main.replayed, everything.replayed) == (False, True)


def test_measure_of_a_filter_that_keeps_all_is_below_one(measurement: Measurement):
    everything = measurement.points[1].quantities
    assert everything["predicted_speedup"].value < 1
    assert everything["measured_speedup"].value < 1
    assert everything["predicted_with_costs"].value == pytest.approx(
        everything["predicted_speedup"].value
    )


def test_measure_formulas_are_consistent_with_its_rates(measurement: Measurement):
    for point in measurement.points:
        value = {name: q.value for name, q in point.quantities.items()}
        rates = {name: value[name] for name in ("tpr", "fpr", "retention_rate")}
        times = {name: value[name] for name in ("t_g", "t_s")}
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
        "printed_formula",
        "substituted_formula",
        "pull",
    }
    assert promised <= set(document)
    assert len(document["points"]) == 3
    for point in document["points"]:
        assert promised <= set(point)
    assert document["event_type"] == "mixed"
    assert set(document["stages"]) == set(STAGES)
    assert document["stages"]["filter"]["cpu_without"] == 0.0
    assert document["stages"]["detector"]["wall_with"] > 0


def test_measure_sampling_runs_every_stage(scorer: Scorer):
    done: list[int] = []
    result = measure(
        "mixed",
        200,
        skim="feiHadronicB0",
        model=scorer,
        mode="sample",
        step=1.0,
        blocks=True,
        clock="wall",
        rounds=1,
        advance=done.append,
    )
    assert sum(done) == 800
    (point,) = result.points
    assert point.threshold is None
    assert point.quantities["keep_fraction"].value < 1
    assert result.to_document()["filter_in_blocks"] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_events": 0}, "number of events"),
        ({"mode": "debug"}, "got 'debug'"),
        ({"mode": "sample", "thresholds": [0.1]}, "thresholds"),
        ({"clock": "sun"}, "clock"),
        ({"rounds": 0}, "rounds"),
        ({"skim": "TauLFV"}, "skim: expected one of"),
        ({"n_events": 1, "rounds": 1}, "events that pass"),
    ],
)
def test_measure_senseless_setting_refused(
    change: dict[str, Any], message: str, scorer: Scorer
):
    settings = {"n_events": 10, "skim": "feiHadronicB0", "step": 1.0, **change}
    n_events = settings.pop("n_events")
    with pytest.raises(UsageError, match=message):
        measure("mixed", n_events, model=scorer, **settings)
