"""Calibration against known truths, closed forms and limits."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from smartfilter.model_info import Calibration, sigmoid
from smartfilter.speedup import threshold_speedup
from smartfilter.training import calibration
from smartfilter.training.calibration import (
    CURVE_EVENTS,
    estimate_rate,
    shift_calibration,
)
from smartfilter.training.curve import fit_calibration, fit_curve

calibrate = partial(calibration.calibrate, simulation_cost=100.0, max_weight=100.0)


def bent_truth(logit):
    """Log-odds with a kink, which no straight line describes."""
    return np.where(logit > -3, 1.5 * (logit + 3), 0.5 * (logit + 3)) - 2.5


def make_bent(n_events, seed):
    rng = np.random.default_rng(seed)
    logit = rng.normal(-4.0, 1.5, n_events)
    p = 1.0 / (1.0 + np.exp(-bent_truth(logit)))
    return logit, rng.random(n_events) < p, p


def decile_ratios(score, truth, logit):
    """Return mean score over mean true probability in tenths, by a plain loop."""
    order = np.argsort(logit)
    return np.array(
        [score[rows].sum() / truth[rows].sum() for rows in np.array_split(order, 10)]
    )


def test_calibrate_bent_truth_is_recovered_in_every_decile():
    logit, passes, _ = make_bent(150_000, seed=0)
    constants = calibrate(logit, passes, retention_rate=passes.mean())
    fresh, _, truth = make_bent(200_000, seed=1)
    ratios = decile_ratios(constants.to_score(fresh), truth, fresh)
    np.testing.assert_allclose(ratios[2:], 1.0, atol=0.05)
    np.testing.assert_allclose(ratios[:2], 1.0, atol=0.2)  # 70 events between them
    straight = sigmoid(constants.slope * fresh + constants.intercept)
    assert np.abs(decile_ratios(straight, truth, fresh)[2:] - 1.0).max() > 0.3


def test_calibrate_prior_is_put_back_as_in_closed_form():
    """Gaussians at +-1/2, half passing: log-odds x + log(r / (1 - r)) at the rate r."""
    rng = np.random.default_rng(3)
    passes = rng.random(200_000) < 0.5
    x = rng.normal(np.where(passes, 0.5, -0.5))
    constants = calibrate(x, passes, retention_rate=0.03)
    grid = np.linspace(-2.0, 2.0, 21)  # 600 events of the rarer class beyond
    expected = 1.0 / (1.0 + np.exp(-(grid + np.log(0.03 / 0.97))))
    np.testing.assert_allclose(constants.to_score(grid), expected, rtol=0.06)
    assert constants.retention_rate == 0.03


def test_calibrate_thinned_failing_events_with_weights_agree():
    logit, passes, _ = make_bent(200_000, seed=4)
    keep = passes | (np.arange(len(passes)) % 5 == 0)
    weight = np.where(passes, 1.0, 5.0)[keep]
    full = calibrate(logit, passes, retention_rate=passes.mean())
    thin = calibrate(
        logit[keep],
        passes[keep],
        retention_rate=passes.mean(),
        sample_weight=weight,
    )
    grid = np.linspace(-6, 0, 13)
    np.testing.assert_allclose(thin.to_score(grid), full.to_score(grid), rtol=0.1)


def test_calibrate_mean_score_is_the_retention_rate():
    logit, passes, _ = make_bent(20_000, seed=5)
    constants = calibrate(logit, passes, retention_rate=passes.mean())
    assert constants.to_score(logit).mean() == pytest.approx(passes.mean(), rel=1e-4)
    assert constants.n_passing == pytest.approx(passes.sum())


@pytest.mark.parametrize("n_passing", [0, 1, CURVE_EVENTS - 1])
def test_calibrate_few_passing_events_spread_the_overall_shape(n_passing):
    """A share of 1/2 / (n + 1) of the score is the same for all events."""
    logit, passes, _ = make_bent(50_000, seed=6)
    overall = calibrate(logit, passes, retention_rate=passes.mean())
    other = np.random.default_rng(7).normal(-6.0, 1.0, 4_000)
    some = np.arange(4_000) < n_passing
    rate = estimate_rate(float(n_passing), 4_000.0)
    constants = calibrate(other, some, retention_rate=rate, overall=overall)
    score = constants.to_score(other).astype(float)
    assert score.mean() == pytest.approx(rate, rel=1e-4)
    shifted = shift_calibration(overall, other, retention_rate=rate)
    share = 0.5 / (n_passing + 1.0)
    expected = (1.0 - share) * shifted.to_score(other).astype(float) + share * rate
    np.testing.assert_allclose(score, expected, rtol=0.02)
    order = np.argsort(other)
    assert np.all(np.diff(score[order]) >= 0)
    assert constants.n_passing == n_passing
    assert 0.0 < constants.threshold < 1.0
    assert np.isfinite(constants.sampling_constant)
    assert np.isfinite(constants.official_offset)


def test_calibrate_few_passing_events_of_another_kind_are_not_ruled_out():
    """Types whose passing events have nothing to do with the score: none is impossible."""
    logit, passes, _ = make_bent(50_000, seed=6)
    overall = calibrate(logit, passes, retention_rate=passes.mean())
    rng = np.random.default_rng(11)
    other = rng.normal(-4.0, 3.0, 100_000)
    few = np.zeros(len(other), dtype=bool)
    few[:5] = True
    rate = 5 / len(other)
    shifted = shift_calibration(overall, other, retention_rate=rate)
    constants = calibrate(other, few, retention_rate=rate, overall=overall)
    lowest = other < -7.0  # a sixth of all events
    assert shifted.to_score(other)[lowest].mean() < 0.03 * rate
    spread = constants.to_score(other)[lowest].mean()
    assert spread == pytest.approx(rate / 12, rel=0.2)


def test_calibrate_logit_that_says_nothing_keeps_the_overall_shape():
    rng = np.random.default_rng(8)
    passes = np.arange(5_000) % 10 == 0
    logit = rng.normal(-0.5 * passes)  # the wrong way round
    overall = Calibration(0.7, -1.0, 0.1, 0.2, 1.0, 0.35, 0.0)
    constants = calibrate(logit, passes, retention_rate=0.1, overall=overall)
    assert constants.slope == 0.7
    assert constants.knots == ()
    assert constants.to_score(logit).mean() == pytest.approx(0.1, rel=1e-4)


def test_calibrate_threshold_of_few_events_is_the_best_for_true_scores():
    logit, passes, _ = make_bent(4_000, seed=9)
    constants = calibrate(logit, passes, retention_rate=passes.mean())
    score = constants.to_score(logit).astype(float)

    def speedup(threshold):
        kept = score >= threshold
        return threshold_speedup(
            tpr=score[kept].sum() / score.sum(),
            fpr=(1 - score[kept]).sum() / (1 - score).sum(),
            retention_rate=score.mean(),
            t_g=1.0,
            t_s=100.0,
        )

    best = max(speedup(t) for t in np.unique(score)[::7])
    assert speedup(constants.threshold) >= best - 1e-6


def test_shift_calibration_moves_log_odds_by_one_number():
    constants = Calibration(2.0, 1.0, 0.1, 0.2, 1.0, 1.0, 0.0, (-1.0, 1.0), (0.3, 0.0))
    logit = np.linspace(-3, 3, 50)
    moved = shift_calibration(constants, logit, retention_rate=0.01)
    before, after = (c.to_score(logit).astype(float) for c in (constants, moved))
    assert after.mean() == pytest.approx(0.01, rel=1e-5)
    change = np.log(after / (1 - after)) - np.log(before / (1 - before))
    np.testing.assert_allclose(change, change[0], atol=1e-4)


def test_fit_curve_scores_ascend_even_if_the_truth_does_not():
    rng = np.random.default_rng(10)
    z = rng.normal(-2.0, 2.0, 60_000)
    p = 1.0 / (1.0 + np.exp(2.0 + 0.8 * np.abs(z)))  # falls for z > 0
    passes = rng.random(len(z)) < p
    knots, shifts = fit_curve(z, passes, retention_rate=passes.mean())
    grid = np.linspace(-8, 6, 500)
    bent = grid + np.interp(grid, knots, shifts)
    assert np.all(np.diff(bent) > 0)


def test_fit_curve_equal_logits_have_no_curve():
    passes = np.arange(1_000) < 100
    assert fit_curve(np.full(1_000, 0.5), passes, retention_rate=0.1) == ((), ())


@pytest.mark.parametrize(
    ("passing", "generated", "rate"),
    [(5.0, 100.0, 0.05), (0.0, 99.0, 0.005), (0.0, 0.0, 0.5)],
)
def test_estimate_rate_share_or_mean_of_jeffreys_posterior(passing, generated, rate):
    assert estimate_rate(passing, generated) == pytest.approx(rate)


def test_fit_calibration_recovers_the_likelihood_ratio():
    """Two Gaussians at +-1/2: the true log-odds are x + log(r / (1 - r))."""
    rng = np.random.default_rng(3)
    passes = rng.random(200_000) < 0.5
    x = rng.normal(np.where(passes, 0.5, -0.5))
    slope, intercept = fit_calibration(x, passes, retention_rate=0.05)
    assert slope == pytest.approx(1.0, abs=0.02)
    assert intercept == pytest.approx(np.log(0.05 / 0.95), abs=0.02)


def test_fit_calibration_thinned_failing_events_with_weights_agrees():
    rng = np.random.default_rng(4)
    passes = rng.random(300_000) < 0.1
    x = rng.normal(np.where(passes, 1.0, 0.0))
    full = fit_calibration(x, passes, retention_rate=0.1)
    kept = passes | (rng.random(len(x)) < 0.125)
    weight = np.where(passes, 1.0, 8.0)[kept]
    thinned = fit_calibration(
        x[kept], passes[kept], retention_rate=0.1, sample_weight=weight
    )
    np.testing.assert_allclose(thinned, full, atol=0.03)


def test_fit_calibration_equals_scikit_learn():
    logit, passes, _ = make_bent(5_000, seed=11)
    slope, intercept = fit_calibration(logit, passes, retention_rate=passes.mean())
    regression = LogisticRegression(C=np.inf, tol=1e-10)
    regression.fit(logit[:, None], passes)
    assert slope == pytest.approx(regression.coef_[0, 0], rel=1e-3)
    assert intercept == pytest.approx(regression.intercept_[0], rel=1e-3)


def test_fit_calibration_equal_logits_give_the_rate():
    passes = np.arange(100) < 20
    slope, intercept = fit_calibration(np.full(100, 2.0), passes, retention_rate=0.2)
    assert slope == 0.0
    assert intercept == pytest.approx(np.log(0.25))
