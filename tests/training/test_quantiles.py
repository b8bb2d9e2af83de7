"""Predicted against observed, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smartfilter.training.quantiles import Quantile, compare_quantiles


def make_sample(n_events=5_000, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.beta(0.7, 8.0, n_events)
    return score, rng.random(n_events) < score


def test_compare_quantiles_equals_a_plain_loop():
    score, passes = make_sample(1_000)
    order = np.argsort(score)
    quantiles = compare_quantiles(score, passes)
    assert len(quantiles) == 10
    for k, quantile in enumerate(quantiles):
        rows = order[100 * k : 100 * (k + 1)]
        assert quantile.n_events == 100
        assert quantile.predicted == pytest.approx(sum(score[i] for i in rows))
        assert quantile.observed == sum(passes[i] for i in rows)
        variance = sum(score[i] * (1 - score[i]) for i in rows)
        assert quantile.error == pytest.approx(variance**0.5)
        assert (quantile.lowest, quantile.highest) == (score[rows[0]], score[rows[-1]])


def test_compare_quantiles_repeated_events_equal_weights():
    score, passes = make_sample(1_000)
    weight = np.where(passes, 1.0, 3.0)
    heavy = compare_quantiles(score, passes, sample_weight=weight)
    repeated = compare_quantiles(
        np.repeat(score, weight.astype(int)), np.repeat(passes, weight.astype(int))
    )
    for a, b in zip(heavy, repeated, strict=True):
        assert a.predicted == pytest.approx(b.predicted, rel=0.02)
        assert a.observed == pytest.approx(b.observed, abs=2.0)


def test_compare_quantiles_error_is_the_spread_of_true_differences():
    differences, errors = [], []
    for seed in range(300):
        top = compare_quantiles(*make_sample(500, seed))[-1]
        differences.append(top.predicted - top.observed)
        errors.append(top.error)
    assert np.std(differences) == pytest.approx(np.mean(errors), rel=0.12)


def test_compare_quantiles_true_scores_agree_and_wrong_ones_do_not():
    score, passes = make_sample(200_000)
    assert sum(not q.agrees for q in compare_quantiles(score, passes)) <= 1
    wrong = compare_quantiles(np.clip(1.2 * score, 0, 1), passes)
    assert sum(not q.agrees for q in wrong) >= 8


def test_compare_quantiles_few_calibration_events_widen_the_error():
    score, passes = make_sample()
    sharp = compare_quantiles(score, passes)
    n_passing = score.sum()
    wide = compare_quantiles(score, passes, n_calibration=float(n_passing))
    ratio = [w.error / s.error for w, s in zip(wide, sharp, strict=True)]
    np.testing.assert_allclose(ratio, np.sqrt(2.0), rtol=1e-6)


def test_compare_quantiles_at_another_rate_weighs_the_classes():
    score, passes = make_sample()
    quantiles = compare_quantiles(score, passes, retention_rate=0.01)
    observed = sum(q.observed for q in quantiles)
    assert observed / len(score) == pytest.approx(0.01)


def test_compare_quantiles_without_passing_events_or_events():
    quantiles = compare_quantiles(np.full(40, 1e-5), np.zeros(40, dtype=bool))
    assert all(q.agrees and q.ratio == float("inf") for q in quantiles)
    assert compare_quantiles(np.zeros(0), np.zeros(0, dtype=bool)) == ()


def test_quantile_agrees_within_five_percent_or_two_deviations():
    assert Quantile(0, 1, 10, 105.0, 100.0, 0.1).agrees
    assert not Quantile(0, 1, 10, 106.0, 100.0, 2.9).agrees
    assert Quantile(0, 1, 10, 106.0, 100.0, 3.1).agrees


def test_compare_quantiles_probability_is_the_binomial_tail_for_small_counts():
    score = np.full(1_000, 1e-3)
    passes = np.arange(1_000) < 3
    (everything,) = compare_quantiles(score, passes, n_quantiles=1)
    fewer = sum(math.comb(1_000, k) * 1e-3**k * 0.999 ** (1_000 - k) for k in range(3))
    assert everything.probability == pytest.approx(2.0 * (1.0 - fewer), rel=1e-6)
    assert everything.agrees


@pytest.mark.parametrize(
    ("p", "n_events", "n_calibration"),
    [(0.004, 1_000, None), (0.85, 400, None), (0.02, 2_000, 25.0), (0.3, 3_000, 800.0)],
)
def test_quantile_chance_is_how_often_true_calibrations_disagree(
    p, n_events, n_calibration
):
    """Labels drawn many times; the calibration's own rate as from n_calibration events."""
    rng = np.random.default_rng(12)
    score = np.full(n_events, p)
    rate = np.full(4_000, p)
    if n_calibration is not None:
        share = (1.0 - p) / n_calibration
        rate = rng.gamma(1.0 / share, share * p, 4_000).clip(max=1.0)
    drawn = rng.binomial(n_events, rate)
    wrong = 0
    for count, repeats in zip(*np.unique(drawn, return_counts=True), strict=True):
        (one,) = compare_quantiles(
            score,
            np.arange(n_events) < count,
            n_quantiles=1,
            n_calibration=n_calibration,
        )
        wrong += repeats * (not one.agrees)
    assert one.chance == pytest.approx(wrong / 4_000, abs=0.01)
    assert one.chance < 0.0455


def test_compare_quantiles_probability_includes_the_calibration():
    """A rate known from n events and counts from it, drawn many times."""
    rng = np.random.default_rng(1)
    score = np.full(400, 0.01)
    passes = np.arange(400) < 9
    (everything,) = compare_quantiles(score, passes, n_quantiles=1, n_calibration=8.0)
    rate = rng.gamma(8.0, 1.0 / 8.0, 400_000)
    drawn = rng.poisson(4.0 * rate)
    expected = 2.0 * np.mean(drawn >= 9)
    assert everything.probability == pytest.approx(expected, rel=0.05)


def test_quantile_rare_counts_disagree():
    score = np.full(1_000, 1e-5)
    passes = np.arange(1_000) < 2
    (everything,) = compare_quantiles(score, passes, n_quantiles=1)
    assert not everything.agrees
