"""Points of the figures against counting."""

from __future__ import annotations

import numpy as np
import pytest

from smartfilter.model_info import Calibration
from smartfilter.points import Times
from smartfilter.speedup import effective_sample_size, threshold_speedup
from smartfilter.training.curves import (
    make_curves,
    roc_points,
    speedup_points,
    weight_histogram,
)


def make_sample(n=3_000, seed=0):
    rng = np.random.default_rng(seed)
    score = np.round(rng.beta(0.7, 8.0, n), 3).clip(0.001)
    return score, rng.random(n) < score


def test_roc_points_lie_on_the_curve():
    score, passes = make_sample()
    points = roc_points(score, passes, n_points=50)
    assert 20 < len(points["fpr"]) <= 50
    for fpr, tpr, threshold in zip(*points.values(), strict=True):
        if threshold < 1.0:
            kept = score >= threshold
            assert tpr == pytest.approx(kept[passes].mean())
            assert fpr == pytest.approx(kept[~passes].mean())
    assert (points["fpr"][0], points["tpr"][0]) == (0.0, 0.0)
    assert (points["fpr"][-1], points["tpr"][-1]) == (1.0, 1.0)
    assert min(f for f in points["fpr"] if f > 0) < 0.01, "dense where it is steep"


def test_speedup_points_equal_formula_at_each_threshold():
    score, passes = make_sample()
    points = speedup_points(
        score, passes, np.ones(len(score)), times=Times(1.0, 50.0, 0.5), n_points=7
    )
    rate = passes.mean()
    for threshold, speedup in zip(points["threshold"], points["speedup"], strict=True):
        kept = score >= threshold
        expected = threshold_speedup(
            tpr=kept[passes].mean(),
            fpr=kept[~passes].mean(),
            retention_rate=rate,
            t_g=1.0,
            t_s=50.0,
            t_n=0.5,
        )
        assert speedup == pytest.approx(expected)
    assert points["limit"] == pytest.approx(51.0 / (1.5 + 50.0 * rate))
    assert all(error >= 0 for error in points["error"])


def test_weight_histogram_equals_the_mean_of_many_draws():
    score, passes = make_sample(400)
    p = np.clip(1.5 * np.sqrt(score), 0.01, 1.0)
    histogram = weight_histogram(p, passes, np.ones(len(p)), n_bins=6)
    edges = np.array(histogram["edges"])
    rng = np.random.default_rng(1)
    kept = rng.random((3_000, len(p))) < p
    share = kept.mean(axis=0)
    for k in range(6):
        inside = (1 / p >= edges[k]) & (1 / p < edges[k + 1])
        expected = share[inside & passes].sum() / share.sum()
        assert histogram["passing"][k] == pytest.approx(expected, abs=0.005)
    sizes = [effective_sample_size(1 / p[passes & k]) for k in kept]
    n_kept = [(passes & k).sum() for k in kept]
    assert histogram["n_eff_share"] == pytest.approx(
        np.mean(sizes) / np.mean(n_kept), rel=0.05
    )
    total = sum(histogram["passing"]) + sum(histogram["failing"])
    assert total == pytest.approx(1.0)


def test_make_curves_without_a_retention_rate_takes_that_of_the_events():
    score, passes = make_sample()
    foreign = Calibration(1.0, 0.0, float("nan"), 0.2, 2.0, 0.5, 0.0)
    curves = make_curves(
        score, passes, calibration=foreign, times=Times(1.0, 100.0, 0.0)
    )
    assert set(curves) == {"roc", "calibration", "speedup", "weights"}
    rate = np.average(curves["calibration"]["rate"])
    assert rate == pytest.approx(passes.mean(), rel=0.05)
