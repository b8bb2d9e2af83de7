"""Measured against predicted speedup, on made-up runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from smartfilter import speedup
from smartfilter.errors import UsageError
from smartfilter.pipeline.chain import STAGES, ChainRun
from smartfilter.pipeline.comparison import (
    Estimate,
    divide_speedups,
    measure_speedup,
    predict,
)
from smartfilter.pipeline.results import PointResult
from smartfilter.pipeline.working_points import WorkingPoint, correct_times, replay

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
