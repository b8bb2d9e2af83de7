"""Look-elsewhere: right calibrations pass, wrong ones do not."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from smartfilter.training.agreement import count_disagreements, sum_deviations
from smartfilter.training.quantiles import Quantile, compare_quantiles


def make_quantile(predicted=100.0, observed=100.0, error=10.0, **changes):
    return Quantile(0.0, 1.0, 10, predicted, observed, error, **changes)


def draw_quantiles(seed, *, factor=1.0, n_events=4_000):
    rng = np.random.default_rng(seed)
    score = rng.beta(0.7, 8.0, n_events)
    return compare_quantiles(
        np.clip(factor * score, 0, 1), rng.random(n_events) < score
    )


def test_count_disagreements_probability_equals_all_outcomes():
    """Three quantiles with known chances: every outcome by a plain loop."""
    chances = (0.04, 0.01, 0.2)
    wrong = (True, False, True)
    quantiles = [
        make_quantile(observed=300.0 if w else 100.0, chance=c)
        for w, c in zip(wrong, chances, strict=True)
    ]
    expected = 0.0
    for outcome in product([0, 1], repeat=3):
        if sum(outcome) >= 2:
            expected += math.prod(
                [c if hit else 1 - c for hit, c in zip(outcome, chances, strict=True)]
            )
    result = count_disagreements({("skim", "mixed"): quantiles})
    assert (result.n_quantiles, result.n_disagreeing) == (3, 2)
    assert result.n_expected == pytest.approx(0.25)
    assert result.p_value == pytest.approx(expected)


def test_count_disagreements_right_calibrations_expect_what_is_seen():
    rows = {("skim", str(seed)): draw_quantiles(seed) for seed in range(150)}
    result = count_disagreements(rows)
    assert result.n_quantiles == 1500
    assert abs(result.n_disagreeing - result.n_expected) < 3 * result.n_expected**0.5
    assert 20 < result.n_expected < 0.0455 * 1500
    assert result.p_value > 0.001
    assert result.corrected_p_value > 0.001


def test_count_disagreements_wrong_calibrations_are_found():
    rows = {("skim", str(s)): draw_quantiles(s, factor=1.15) for s in range(30)}
    result = count_disagreements(rows)
    assert result.p_value < 1e-6
    one = {("skim", "0"): draw_quantiles(0, factor=1.6)}
    assert count_disagreements(one).corrected_p_value < 1e-3


def test_count_disagreements_of_nothing():
    result = count_disagreements({})
    assert (result.n_quantiles, result.p_value, result.corrected_p_value) == (0, 1, 1)


def test_count_disagreements_corrects_for_the_number_of_tests():
    rows = {("skim", str(k)): [make_quantile()] for k in range(9)}
    rows["skim", "off"] = [make_quantile(observed=125.0)]
    result = count_disagreements(rows)
    assert result.least_p_value == pytest.approx(0.012419, rel=1e-3)  # 2.5 sigma
    assert result.corrected_p_value == pytest.approx(1 - (1 - 0.012419) ** 10, rel=1e-3)


def test_sum_deviations_merges_small_neighbours_by_hand():
    quantiles = [
        make_quantile(1.0, 3.0, 1.0),
        make_quantile(4.0, 4.0, 2.0),
        make_quantile(6.0, 2.0, 2.0),
        make_quantile(50.0, 60.0, 7.0),
    ]
    result = sum_deviations(quantiles)
    assert result is not None
    assert result.n_groups == 2
    # 50 alone; 6 + 4 = 10 are enough and take the 1 that is left.
    expected = 10.0**2 / 49.0 + (11.0 - 9.0) ** 2 / (4.0 + 4.0 + 1.0)
    assert result.value == pytest.approx(expected)
    assert result.p_value == pytest.approx(np.exp(-expected / 2))  # chi2 of two


def test_sum_deviations_of_few_events_is_none():
    assert sum_deviations([make_quantile(2.0, 3.0, 1.4)]) is None
    assert sum_deviations([]) is None


def test_sum_deviations_p_values_of_right_calibrations_are_uniform():
    sums = [sum_deviations(draw_quantiles(seed, n_events=2_000)) for seed in range(200)]
    values = [one.p_value for one in sums if one is not None]
    assert len(values) == 200
    counts = np.histogram(values, 4, (0, 1))[0]
    assert np.all(np.abs(counts - 50) < 4 * 6.1)
