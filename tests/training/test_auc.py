"""Areas under ROC curves against plain loops and many samples."""

from __future__ import annotations

import numpy as np
import pytest

from smartfilter.errors import UsageError
from smartfilter.training.auc import (
    area_under_curve,
    compare_areas,
    find_interval,
)


def make_pair(n=400, seed=0, ties=False):
    """Two scores that share half of what they know."""
    rng = np.random.default_rng(seed)
    passes = rng.random(n) < 0.4
    shared = rng.normal(passes * 1.2)
    scores = shared[:, None] + rng.normal(scale=(0.5, 1.0), size=(n, 2))
    return (np.round(scores, 1) if ties else scores), passes


def test_compare_areas_covariance_equals_delong_by_loops():
    scores, passes = make_pair(60, ties=True)
    placed = []
    for k in range(2):
        a, b = scores[passes, k], scores[~passes, k]
        psi = (a[:, None] > b) + 0.5 * (a[:, None] == b)
        placed.append((psi.mean(axis=1), psi.mean(axis=0)))
    areas = compare_areas(scores, passes)
    for i in range(2):
        for j in range(2):
            expected = sum(
                np.mean(
                    (placed[i][c] - placed[i][c].mean())
                    * (placed[j][c] - placed[j][c].mean())
                )
                / len(placed[i][c])
                for c in range(2)
            )
            assert areas.covariance[i, j] == pytest.approx(expected)


def test_compare_areas_difference_error_equals_spread_of_samples():
    differences = [
        compare_areas(*make_pair(seed=seed)).subtract(0, 1) for seed in range(300)
    ]
    value, error = np.array(differences).T
    assert value.std() == pytest.approx(error.mean(), rel=0.12)
    single = [
        area_under_curve(make_pair(seed=s)[0][:, 0], make_pair(seed=s)[1])[1]
        for s in range(20)
    ]
    assert error.mean() < 1.4 * np.mean(single) * 0.95, "both models saw the same"


def test_compare_areas_subtract_itself_is_zero():
    areas = compare_areas(*make_pair())
    assert areas.subtract(1, 1) == (0.0, 0.0)


def test_find_interval_holds_the_truth_in_95_percent_of_samples():
    rng = np.random.default_rng(4)
    truth = 0.9213503964748575  # Phi(2 / sqrt(2))
    inside = 0
    for _ in range(600):
        passes = np.arange(120) < 40
        low, high = find_interval(*area_under_curve(rng.normal(2.0 * passes), passes))
        inside += low < truth < high
    assert 0.92 < inside / 600 < 0.98


def test_find_interval_stays_within_zero_and_one():
    low, high = find_interval(0.99, 0.02)
    assert 0 < low < 0.99 < high < 1
    assert find_interval(1.0, 0.0) == (1.0, 1.0)


def test_compare_areas_one_class_refused():
    with pytest.raises(UsageError, match="passing and failing"):
        compare_areas(np.ones((3, 2)), np.zeros(3, dtype=bool))
