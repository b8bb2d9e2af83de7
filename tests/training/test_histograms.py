"""Histograms against counting."""

from __future__ import annotations

import numpy as np
import pytest

from smartfilter.training.histograms import fill_histograms


def test_fill_histograms_equal_counting():
    rng = np.random.default_rng(0)
    values = rng.normal(size=3_000)
    values[:5] = np.nan
    weight = rng.choice([1.0, 2.0], 3_000)
    kept = np.where(rng.random(3_000) < 0.4, 2.5, 0.0)
    histogram = fill_histograms(values, {"s": kept}, sample_weight=weight)
    edges = np.array(histogram["edges"])
    inside = np.clip(values, edges[0], edges[-1] - 1e-9)
    for weights, shape in (
        (weight, histogram["all"]),
        (weight * kept, histogram["samples"]["s"]),
    ):
        use = ~np.isnan(values)
        sums = np.histogram(inside[use], edges, weights=weights[use])[0]
        squares = np.histogram(inside[use], edges, weights=weights[use] ** 2)[0]
        np.testing.assert_allclose(shape["share"], sums / sums.sum())
        np.testing.assert_allclose(shape["error"], np.sqrt(squares) / sums.sum())
    shares = np.array(histogram["samples"]["s"]["share"])
    expected = shares / np.array(histogram["all"]["share"])
    np.testing.assert_allclose(histogram["samples"]["s"]["ratio"], expected)
    assert all(error > 0 for error in histogram["samples"]["s"]["ratio_error"])


def test_fill_histograms_of_the_same_events_have_ratio_one_without_error():
    values = np.random.default_rng(1).normal(size=500)
    sample = fill_histograms(values, {"s": np.full(500, 3.0)})["samples"]["s"]
    filled = [r for r in sample["ratio"] if r is not None]
    np.testing.assert_allclose(filled, 1.0)
    errors = [e for e in sample["ratio_error"] if e is not None]
    np.testing.assert_allclose(errors, 0.0, atol=1e-7)


def test_fill_histograms_of_small_integers_have_a_bin_each():
    values = np.repeat([3.0, 4.0, 6.0], 50)
    histogram = fill_histograms(values, {"s": (values < 5).astype(float)})
    assert histogram["edges"] == [2.5, 3.5, 4.5, 5.5, 6.5]
    assert histogram["all"]["share"] == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    ratio = histogram["samples"]["s"]["ratio"]
    assert ratio[2] is None
    assert [ratio[0], ratio[1], ratio[3]] == pytest.approx([1.5, 1.5, 0.0])


def test_fill_histograms_long_tails_are_in_the_outer_bin():
    values = np.append(np.random.default_rng(2).normal(size=900), np.full(100, 1e6))
    histogram = fill_histograms(values, {"none": np.zeros(1_000)})
    assert histogram["edges"][-1] < 20
    assert histogram["all"]["share"][-1] >= 0.1
    assert histogram["samples"] == {}


@pytest.mark.parametrize("values", [np.full(50, 0.25), np.full(50, np.nan)])
def test_fill_histograms_of_one_value_or_none(values):
    histogram = fill_histograms(values, {})
    assert len(histogram["edges"]) == 2
