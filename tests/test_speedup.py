"""Formulas against closed forms, a plain simulation of the chain, and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smartfilter import speedup
from smartfilter.errors import UsageError

CASE: dict[str, Any] = {"retention_rate": 0.05, "t_g": 1.0, "t_s": 100.0}


def test_formulas_of_a_perfect_filter_are_the_known_ones():
    perfect = {"tpr": 1.0, "fpr": 0.0, **CASE}
    assert speedup.threshold_speedup(**perfect) == pytest.approx(101 / 6)
    assert speedup.speedup_limit(**CASE) == pytest.approx(101 / 6)
    assert speedup.printed_formula(**perfect) == pytest.approx(1.0)
    assert speedup.substituted_formula(**perfect) == pytest.approx(20.0)


def test_formulas_at_a_typical_working_point_are_the_known_ones():
    point = {"tpr": 0.8, "fpr": 0.1, **CASE}
    assert speedup.threshold_speedup(**point) == pytest.approx(5.57, abs=0.005)
    assert speedup.substituted_formula(**point) == pytest.approx(6.94, abs=0.005)
    assert speedup.printed_formula(**point) == pytest.approx(0.30, abs=0.005)


def test_threshold_speedup_of_a_filter_that_keeps_all_is_below_one():
    value = speedup.threshold_speedup(tpr=1.0, fpr=1.0, t_n=0.5, **CASE)
    assert value == pytest.approx(101 / 101.5)


def test_threshold_speedup_of_a_filter_that_keeps_nothing_is_zero():
    assert speedup.threshold_speedup(tpr=0.0, fpr=0.0, **CASE) == 0.0


def test_threshold_speedup_equals_the_cost_ratio_of_a_simulated_chain():
    """Count the cost per passing event, event by event, with and without a filter."""
    rng = np.random.default_rng(1)
    n, r, t_g, t_n, t_s = 400_000, 0.05, 0.2, 0.1, 20.0
    passes = rng.random(n) < r
    keep = rng.random(n) < np.where(passes, 0.8, 0.1)
    without = n * (t_g + t_s) / passes.sum()
    with_filter = (n * (t_g + t_n) + keep.sum() * t_s) / (keep & passes).sum()
    predicted = speedup.threshold_speedup(
        tpr=(keep & passes).sum() / passes.sum(),
        fpr=(keep & ~passes).sum() / (~passes).sum(),
        retention_rate=passes.mean(),
        t_g=t_g,
        t_n=t_n,
        t_s=t_s,
    )
    assert predicted == pytest.approx(without / with_filter, rel=1e-12)


def test_speedup_with_costs_equals_the_cost_ratio_when_kept_events_are_busier():
    rng = np.random.default_rng(2)
    n, t_g, t_n = 100_000, 0.2, 0.1
    passes = rng.random(n) < 0.05
    keep = rng.random(n) < np.where(passes, 0.8, 0.1)
    t_s = rng.exponential(np.where(keep, 30.0, 15.0))
    without = (n * t_g + t_s.sum()) / passes.sum()
    with_filter = (n * (t_g + t_n) + t_s[keep].sum()) / (keep & passes).sum()
    value = speedup.speedup_with_costs(
        tpr=(keep & passes).sum() / passes.sum(),
        t_g=t_g,
        t_n=t_n,
        mean_t_s=t_s.mean(),
        mean_kept_t_s=(keep * t_s).mean(),
    )
    assert value == pytest.approx(without / with_filter, rel=1e-12)


def test_speedup_with_costs_of_equal_costs_is_formula_a():
    keep_share = 0.05 * 0.8 + 0.95 * 0.1
    value = speedup.speedup_with_costs(
        tpr=0.8, t_g=1.0, t_n=0.3, mean_t_s=100.0, mean_kept_t_s=100.0 * keep_share
    )
    assert value == pytest.approx(
        speedup.threshold_speedup(tpr=0.8, fpr=0.1, t_n=0.3, **CASE)
    )


def test_sampling_speedup_without_sampling_is_the_cost_of_the_filter():
    value = speedup.sampling_speedup(
        mean_pass_over_p=0.05, mean_keep_probability=1.0, t_n=0.7, **CASE
    )
    assert value == pytest.approx(101 / 101.7)


def test_sampling_speedup_equals_the_ratio_of_costs_at_equal_effective_size():
    rng = np.random.default_rng(3)
    n, t_g, t_n, t_s = 1_000_000, 1.0, 0.5, 100.0
    score = rng.beta(0.3, 5.0, n)
    passes = rng.random(n) < score
    p = np.clip(2.0 * np.sqrt(score), 0.01, 1.0)
    keep = rng.random(n) < p
    n_eff = speedup.effective_sample_size(1 / p[keep & passes])
    with_filter = (n * (t_g + t_n) + keep.sum() * t_s) / n_eff
    without = n * (t_g + t_s) / passes.sum()
    value = speedup.sampling_speedup(
        retention_rate=passes.mean(),
        mean_pass_over_p=np.mean(passes / p),
        mean_keep_probability=p.mean(),
        t_g=t_g,
        t_s=t_s,
        t_n=t_n,
    )
    assert value == pytest.approx(without / with_filter, rel=0.02)


def test_sampling_speedup_of_constant_probability_never_wins():
    for p in (0.1, 0.5, 0.9):
        value = speedup.sampling_speedup(
            mean_pass_over_p=0.05 / p, mean_keep_probability=p, **CASE
        )
        assert value < 1.0


def test_effective_sample_size_matches_closed_forms():
    assert speedup.effective_sample_size(np.ones(7)) == pytest.approx(7)
    assert speedup.effective_sample_size([3.0, 1.0]) == pytest.approx(16 / 10)
    assert speedup.effective_sample_size([]) == 0.0
    with pytest.raises(UsageError, match="at event 1"):
        speedup.effective_sample_size([1.0, np.nan, -1.0])


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_effective_sample_size_does_not_depend_on_the_unit_of_weights(factor: float):
    assert speedup.effective_sample_size([factor, 2 * factor, 0.0]) == pytest.approx(
        9 / 5
    )


def test_thresholds_of_events_that_count_nothing_are_refused():
    score, passes = np.array([0.9, 0.1]), np.array([True, False])
    with pytest.raises(UsageError, match="passing and failing"):
        speedup.threshold_curve(score, passes, sample_weight=np.array([0.0, 1.0]))
    with pytest.raises(UsageError, match="got 0 for all"):
        speedup.find_best_threshold(
            score, passes, retention_rate=0.05, t_g=0.0, t_s=0.0
        )


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_sampling_speedup_refuses_an_impossible_mean(value: float):
    with pytest.raises(UsageError, match="mean_pass_over_p"):
        speedup.sampling_speedup(
            retention_rate=0.05,
            mean_pass_over_p=value,
            mean_keep_probability=0.3,
            t_g=1.0,
            t_s=100.0,
        )


def test_find_best_threshold_equals_a_scan_over_all_thresholds():
    rng = np.random.default_rng(4)
    passes = rng.random(300) < 0.3
    score = np.round(rng.normal(passes * 1.0), 1)  # with ties
    weight = rng.uniform(0.5, 2.0, 300)
    best = speedup.find_best_threshold(score, passes, sample_weight=weight, **CASE)
    scan = {}
    for t in np.unique(score):
        keep = score >= t
        f1 = weight[keep & passes].sum() / weight[passes].sum()
        f0 = weight[keep & ~passes].sum() / weight[~passes].sum()
        scan[t] = f1 * 101 / (1 + 100 * (0.05 * f1 + 0.95 * f0))
    assert best.threshold == max(scan, key=scan.__getitem__)
    assert best.speedup == pytest.approx(max(scan.values()))
    with pytest.raises(UsageError, match="passing and failing"):
        speedup.find_best_threshold(score, np.ones(300, bool), **CASE)


def test_propagate_equals_the_spread_of_random_inputs():
    values = {"tpr": 0.8, "fpr": 0.1, **CASE}
    errors = {"tpr": 0.02, "fpr": 0.005, "t_s": 3.0}
    value, error = speedup.propagate(speedup.threshold_speedup, values, errors)
    rng = np.random.default_rng(5)
    draws = {k: rng.normal(v, errors.get(k, 0.0), 200_000) for k, v in values.items()}
    spread = speedup.threshold_speedup(**draws)
    assert value == pytest.approx(5.57, abs=0.005)
    assert error == pytest.approx(spread.std(), rel=0.03)


def test_propagate_uses_correlations_and_stays_inside_the_borders():
    values = {"a": 2.0, "b": 2.0}
    full = np.array([[0.04, 0.04], [0.04, 0.04]])
    assert speedup.propagate(lambda a, b: a - b, values, full)[1] == pytest.approx(
        0.0, abs=1e-9
    )
    perfect = {"tpr": 1.0, "fpr": 0.0, **CASE}
    errors = {"tpr": 0.01, "fpr": 0.01}
    value, error = speedup.propagate(speedup.threshold_speedup, perfect, errors)
    assert value == pytest.approx(101 / 6)
    assert np.isfinite(error)
    assert error > 0


def test_propagate_of_an_error_that_rounding_made_is_zero_and_not_a_failure():
    values = {"tpr": 1.0 - 2e-16, "fpr": 0.1, **CASE}
    value, error = speedup.propagate(speedup.threshold_speedup, values, {"tpr": 1e-17})
    assert value == pytest.approx(speedup.threshold_speedup(**values))
    assert error == pytest.approx(0.0, abs=1e-14)


def test_threshold_curve_of_probabilities_is_the_expectation_of_labels():
    score = np.array([0.2, 0.9, 0.5, 0.5])
    curve = speedup.threshold_curve(score, score)
    assert curve.threshold.tolist() == [0.9, 0.5, 0.2]
    assert curve.tpr == pytest.approx([0.9 / 2.1, 1.9 / 2.1, 1.0])
    assert curve.fpr == pytest.approx([0.1 / 1.9, 1.1 / 1.9, 1.0])


@pytest.mark.parametrize(
    ("name", "value"), [("tpr", 1.2), ("fpr", -0.1), ("t_s", -1.0), ("t_g", np.inf)]
)
def test_threshold_speedup_refuses_impossible_input(name: str, value: float):
    with pytest.raises(UsageError, match=name):
        speedup.threshold_speedup(**{"tpr": 0.8, "fpr": 0.1, **CASE, name: value})
