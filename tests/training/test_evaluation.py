"""Figures of merit against scikit-learn, plain loops and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from smartfilter.errors import InputError, UsageError
from smartfilter.model_info import Calibration, sigmoid
from smartfilter.sampling import optimal_keep_probability
from smartfilter.training.evaluation import (
    area_under_curve,
    calibration_curve,
    evaluate,
    weight_to_rate,
)


def make_sample(n=2_000, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    passes = rng.random(n) < 0.3
    score = rng.normal(passes * 1.0)
    if ties:
        score = np.round(score, 1)
    return score, passes, rng.choice([0.5, 1.0, 3.0], n)


def make_constants(**changes):
    constants = Calibration(1.0, 0.0, 0.05, 0.1, 2.0, 0.5, 0.0)
    return replace(constants, **changes)


@pytest.mark.parametrize("ties", [False, True])
def test_area_under_curve_weighted_equals_scikit_learn(ties):
    score, passes, weight = make_sample(ties=ties)
    auc, _ = area_under_curve(score, passes, sample_weight=weight)
    assert auc == pytest.approx(
        roc_auc_score(passes, score, sample_weight=weight), abs=1e-12
    )


def test_area_under_curve_error_equals_delong_by_loops():
    score, passes, _ = make_sample(n=60, ties=True)
    a, b = score[passes], score[~passes]
    psi = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    # DeLong's S10 and S01 with n instead of n - 1.
    variance = psi.mean(axis=1).var() / len(a) + psi.mean(axis=0).var() / len(b)
    auc, error = area_under_curve(score, passes)
    assert auc == pytest.approx(psi.mean())
    assert error == pytest.approx(np.sqrt(variance))


def test_area_under_curve_error_equals_spread_of_samples():
    values = [area_under_curve(*make_sample(seed=s)[:2]) for s in range(200)]
    auc, error = np.array(values).T
    assert auc.std() == pytest.approx(error.mean(), rel=0.2)


def test_area_under_curve_one_class_refused():
    with pytest.raises(UsageError, match="passing and failing"):
        area_under_curve(np.ones(3), np.ones(3, dtype=bool))


def test_weight_to_rate_gives_the_rate_and_mean_one():
    _, passes, weight = make_sample()
    got = weight_to_rate(passes, 0.05, weight)
    assert got.mean() == pytest.approx(1.0)
    assert got[passes].sum() / got.sum() == pytest.approx(0.05)
    ratio = got[passes] / weight[passes]
    np.testing.assert_allclose(ratio, ratio[0])


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, np.nan])
def test_weight_to_rate_impossible_rate_refused(rate):
    with pytest.raises(UsageError, match="between 0 and 1"):
        weight_to_rate(np.array([True, False]), rate)


def test_calibration_curve_of_true_probabilities_is_flat():
    rng = np.random.default_rng(5)
    score = rng.beta(0.5, 5.0, 100_000)
    curve = calibration_curve(score, rng.random(len(score)) < score)
    pulls = (np.array(curve.rate) - curve.score) / np.maximum(curve.error, 1e-9)
    assert len(curve.score) == 20
    assert np.all(np.abs(pulls[5:]) < 4.0)
    assert curve.calibration_error < 0.004


def test_calibration_curve_error_equals_known_shift():
    score = np.full(1_000, 0.3)
    passes = np.arange(1_000) < 100
    rng = np.random.default_rng(0)
    curve = calibration_curve(score, rng.permutation(passes), n_bins=1)
    assert curve.calibration_error == pytest.approx(0.2)
    assert curve.error[0] == pytest.approx(np.sqrt(0.1 * 0.9 / 1000))


def make_scored(n=20_000):
    rng = np.random.default_rng(6)
    passes = rng.random(n) < 0.5
    return sigmoid(
        rng.normal(np.where(passes, 1.2, -1.2)) + np.log(0.05 / 0.95)
    ), passes


def test_evaluate_numbers_equal_the_formulas():
    score, passes = make_scored()
    result = evaluate(score, passes, calibration=make_constants())
    f1, f0 = (score >= 0.1)[passes].mean(), (score >= 0.1)[~passes].mean()
    assert result.tpr == pytest.approx(f1)
    assert result.fpr == pytest.approx(f0)
    speedup = f1 * 101 / (1 + 100 * (0.05 * f1 + 0.95 * f0))
    assert result.speedup == pytest.approx(speedup)
    assert result.max_speedup >= result.speedup
    assert result.auc == pytest.approx(roc_auc_score(passes, score))
    balanced = 0.5 * ((score >= 0.05)[passes].mean() + (score < 0.05)[~passes].mean())
    assert result.accuracy == pytest.approx(balanced)
    p = optimal_keep_probability(score, 2.0)
    mean_pass, mean_p = (
        0.05 * (1 / p)[passes].mean(),
        0.05 * p[passes].mean() + 0.95 * p[~passes].mean(),
    )
    expected = 0.05 * 101 / (mean_pass * (1 + 100 * mean_p))
    assert result.sampling_speedup == pytest.approx(expected)


def test_evaluate_speedup_error_equals_spread_of_resamples():
    score, passes = make_scored(4_000)
    rng = np.random.default_rng(7)
    speedups = []
    for _ in range(100):
        pick = rng.integers(0, len(score), len(score))
        result = evaluate(score[pick], passes[pick], calibration=make_constants())
        speedups.append(result.speedup)
    error = evaluate(score, passes, calibration=make_constants()).speedup_error
    assert np.std(speedups) == pytest.approx(error, rel=0.25)


def test_evaluate_uses_sample_weights():
    score, passes = make_scored()
    repeats = np.where(score > 0.05, 3, 1)
    weighted = evaluate(
        score, passes, calibration=make_constants(), sample_weight=repeats
    )
    repeated = evaluate(
        np.repeat(score, repeats),
        np.repeat(passes, repeats),
        calibration=make_constants(),
    )
    for name in ("auc", "speedup", "max_speedup", "sampling_speedup", "accuracy"):
        assert getattr(weighted, name) == pytest.approx(getattr(repeated, name))
    assert weighted.speedup_error > repeated.speedup_error


def test_evaluate_one_class_refused():
    with pytest.raises(InputError, match="0 passing ones of 3"):
        evaluate(np.ones(3), np.zeros(3, dtype=bool), calibration=make_constants())


def test_evaluation_metrics_hold_numbers_only():
    score, passes = make_scored(500)
    metrics = evaluate(score, passes, calibration=make_constants()).to_metrics()
    assert {"auc", "auc_error", "accuracy", "speedup"} <= set(metrics)
    assert all(isinstance(value, (int, float)) for value in metrics.values())
