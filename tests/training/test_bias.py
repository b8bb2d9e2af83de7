"""Bias of samples against closed forms, plain loops and many draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smartfilter.errors import InputError
from smartfilter.speedup import effective_sample_size
from smartfilter.training.bias import (
    compare_shares,
    find_edges,
    make_samples,
    measure_bias,
)
from smartfilter.training.density_ratio import weigh_back


def measure(variable, sample, **keywords):
    return measure_bias({"v": variable}, {"s": sample}, **keywords).samples["s"]


def test_compare_shares_error_of_a_threshold_is_hypergeometric():
    row = np.repeat(np.arange(4), (10, 20, 30, 40))
    kept = np.zeros(100)
    kept[np.arange(100) % 2 == 0] = 1.0  # the same share of each bin
    difference, deviation = compare_shares(row, np.ones(100), kept)
    np.testing.assert_allclose(difference, 0.0, atol=1e-12)
    p = np.array([0.1, 0.2, 0.3, 0.4])
    expected = np.sqrt(p * (1 - p) * (1 / 50 - 1 / 100))
    np.testing.assert_allclose(deviation, expected, rtol=1e-9)


def test_compare_shares_error_equals_a_plain_loop():
    rng = np.random.default_rng(0)
    n = 200
    row, weight = rng.integers(0, 3, n), rng.choice([0.5, 2.0], n)
    kept = weight * rng.choice([0.0, 1.0, 4.0], n)
    difference, deviation = compare_shares(row, weight, kept)
    f, u = kept / kept.sum(), weight / weight.sum()
    for b in range(3):
        q, p = f[row == b].sum(), u[row == b].sum()
        own = alike = 0.0
        for i in range(n):
            inside = float(row[i] == b)
            own += (f[i] * (inside - q) - u[i] * (inside - p)) ** 2
            alike += p * (1 - p) * (f[i] - u[i]) ** 2
        n_kept = effective_sample_size(kept[row == b])
        variance = (n_kept * own + 5 * alike) / (n_kept + 5)
        assert difference[b] == pytest.approx(q - p)
        assert deviation[b] == pytest.approx(math.sqrt(variance))


def test_compare_shares_pulls_of_unbiased_sampling_have_width_one():
    """Keep probabilities that depend on the variable, weights that make up for it."""
    rng = np.random.default_rng(1)
    variable = rng.random(4_000)
    row = (8 * variable).astype(np.int64)
    p = 0.15 + 0.8 * variable
    pulls = []
    for _ in range(300):
        kept = np.where(rng.random(len(p)) < p, 1.0 / p, 0.0)
        difference, deviation = compare_shares(row, np.ones(len(p)), kept)
        pulls.append(difference / deviation)
    np.testing.assert_allclose(np.mean(pulls, axis=0), 0.0, atol=0.25)
    np.testing.assert_allclose(np.std(pulls, axis=0), 1.0, atol=0.15)


def test_compare_shares_bins_without_kept_events_have_an_error():
    row = np.repeat([0, 1], (990, 10))
    kept = (np.arange(1_000) < 100).astype(float)
    difference, deviation = compare_shares(row, np.ones(1_000), kept)
    assert difference[1] == pytest.approx(-0.01)
    expected = math.sqrt(0.01 * 0.99 * (1 / 100 - 1 / 1_000))
    assert deviation[1] == pytest.approx(expected, rel=1e-6)


def test_measure_bias_divergence_equals_a_plain_loop():
    rng = np.random.default_rng(2)
    variable = rng.exponential(size=2_000)
    kept = (rng.random(2_000) < np.exp(-variable)).astype(float)
    row = measure(variable, kept).rows["v"]
    edges = np.quantile(variable, np.arange(1, 20) / 20)
    n_kept, expected = kept.sum(), 0.0
    for b in range(20):
        inside = np.digitize(variable, edges) == b
        share = (kept[inside].sum() + 0.5) / (n_kept + 10)
        expected += inside.mean() * math.log(inside.mean() / share)
    assert row.n_bins == 20
    assert row.divergence == pytest.approx(expected, rel=0.02)
    assert not row.is_random
    assert not row.fulfils_criterion
    assert row.pull_width > 3


def test_measure_bias_of_all_events_is_zero():
    variable = np.random.default_rng(3).normal(size=1_000)
    one = measure(variable, np.ones(1_000))
    row = one.rows["v"]
    assert row.divergence == pytest.approx(0.0, abs=1e-12)
    assert (row.pull_mean, row.pull_width) == pytest.approx((0.0, 0.0))
    assert row.fulfils_criterion
    assert (one.n_events, one.n_eff) == (1_000, 1_000)
    assert (one.n_random, one.n_fulfilling) == (1, 1)


@pytest.mark.parametrize("n_kept", [400, 2_000])
def test_measure_bias_random_divergence_is_the_closed_form(n_kept):
    variable = np.random.default_rng(4).normal(size=4_000)
    row = measure(variable, (np.arange(4_000) < n_kept).astype(float)).rows["v"]
    expected = 19 / 2 * (1 / n_kept - 1 / 4_000)
    assert row.random_mean == pytest.approx(expected, rel=0.1)
    # 19 degrees of freedom: the 95 % quantile of chi2 is 30.14
    assert row.random_95 == pytest.approx(expected * 30.14 / 19, rel=0.1)


def test_measure_bias_random_parts_are_random_in_95_percent():
    rng = np.random.default_rng(5)
    n_random, widths = 0, []
    for seed in range(200):
        variable = rng.normal(size=4_000)
        p = 1.0 / rng.choice([1.0, 2.0, 5.0], 4_000)
        kept = np.where(rng.random(4_000) < p, 1 / p, 0.0)
        row = measure(variable, kept, seed=seed).rows["v"]
        n_random += row.is_random
        widths.append(row.pull_width**2)
    assert 0.88 < n_random / 200 <= 0.99
    assert np.mean(widths) == pytest.approx(1.0, abs=0.08)


def test_measure_bias_weights_equal_repeated_events():
    rng = np.random.default_rng(6)
    variable = np.round(rng.normal(size=800), 2)
    repeats = rng.choice([1, 3], 800)
    kept = (rng.random(800) < 0.5).astype(float)
    weighted = measure(variable, kept, sample_weight=repeats.astype(float))
    repeated = measure(np.repeat(variable, repeats), np.repeat(kept, repeats))
    assert weighted.n_eff < repeated.n_eff
    assert weighted.n_eff == pytest.approx(effective_sample_size(repeats[kept > 0]))
    difference = weighted.rows["v"].divergence - repeated.rows["v"].divergence
    assert abs(difference) < 0.1 * repeated.rows["v"].divergence


def test_measure_bias_missing_values_are_a_bin_of_their_own():
    variable = np.random.default_rng(7).normal(size=1_000)
    missing = np.arange(1_000) % 2 == 0
    variable[missing] = np.nan
    row = measure(variable, missing.astype(float)).rows["v"]
    assert row.n_bins == 21
    assert row.divergence > 1.0


def test_measure_bias_constant_variables_and_empty_samples_are_left_out():
    variables = {"v": np.arange(100.0), "constant": np.ones(100)}
    samples = {"all": np.ones(100), "none": np.zeros(100)}
    table = measure_bias(variables, samples)
    assert list(table.samples) == ["all"]
    assert list(table.samples["all"].rows) == ["v"]
    document = table.to_dict()
    assert document["samples"]["all"]["variables"]["v"]["fulfils_criterion"]


@pytest.mark.parametrize(
    "variables", [{}, {"v": np.arange(39.0)}, {"v": np.full(100, 2.0)}]
)
def test_measure_bias_of_too_little_refused(variables):
    n_events = len(next(iter(variables.values()), ()))
    with pytest.raises(InputError, match="at least 40 passing events"):
        measure_bias(variables, {"all": np.ones(n_events)})


def test_find_edges_bins_hold_the_same_weight():
    rng = np.random.default_rng(8)
    values, weight = rng.normal(size=5_000), rng.choice([1.0, 5.0], 5_000)
    edges = find_edges(values, weight)
    assert len(edges) == 20
    sums = np.bincount(np.searchsorted(edges, values), weights=weight)
    np.testing.assert_allclose(sums / weight.sum(), 0.05, atol=0.002)


@pytest.mark.parametrize(
    ("values", "n_bins"),
    [([0.0] * 90 + [1.0] * 10, 2), ([0.0, 1.0, 2.0] * 40, 3), ([np.nan] * 50, 1)],
)
def test_find_edges_few_different_values_have_few_bins(values, n_bins):
    column = np.array(values)
    edges = find_edges(column, np.ones(len(column)))
    assert len(edges) == n_bins
    assert edges[-1] == np.inf


def test_make_samples_are_what_they_say():
    rng = np.random.default_rng(9)
    score = rng.random(2_000)
    p = np.clip(score, 0.1, 1.0)
    samples = make_samples(score, p, {"v": rng.normal(size=2_000)}, threshold=0.6)
    np.testing.assert_array_equal(samples["threshold"], score >= 0.6)
    drawn = samples["sampling"] > 0
    np.testing.assert_allclose(samples["sampling"][drawn], 1 / p[drawn])
    assert drawn.sum() == pytest.approx(p.sum(), abs=4 * math.sqrt(p.sum()))
    np.testing.assert_array_equal(samples["reweighted"] > 0, score >= 0.6)


def test_weigh_back_undoes_a_known_selection():
    rng = np.random.default_rng(10)
    v, noise = rng.normal(size=(2, 20_000))
    p = 1.0 / (1.0 + np.exp(-v - 0.5))
    kept = rng.random(20_000) < p
    weight = weigh_back({"v": v, "noise": noise}, kept)
    assert np.all(weight[~kept] == 0)
    assert v[kept].mean() > 0.3
    assert np.average(v, weights=weight) == pytest.approx(v.mean(), abs=0.05)
    assert np.average(v**2, weights=weight) == pytest.approx(1.0, abs=0.1)
    middle = kept & (np.abs(v) < 1)
    ratio = weight[middle] * p[middle]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_weigh_back_of_nothing_or_everything_kept_is_constant(share):
    kept = np.full(100, share > 0)
    weight = weigh_back({"v": np.arange(100.0)}, kept)
    np.testing.assert_array_equal(weight, kept.astype(float))


@pytest.mark.parametrize("absent", [np.nan, np.inf])
def test_weigh_back_with_a_variable_that_no_event_has_is_as_without(absent):
    rng = np.random.default_rng(3)
    v = rng.normal(size=400)
    kept = v > -0.5
    nothing = np.full(400, absent)
    weight = weigh_back({"v": v, "nothing": nothing}, kept)
    assert np.array_equal(weight, weigh_back({"v": v}, kept))
    constant = weigh_back({"nothing": nothing}, kept)
    assert constant[kept] == pytest.approx(1.0 / kept.mean())
    assert (constant[~kept] == 0).all()
