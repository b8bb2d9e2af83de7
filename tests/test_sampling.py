"""Sampling constants against brute force, their conditions and a general optimiser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smartfilter import sampling
from smartfilter.errors import UsageError

COST: dict[str, Any] = {"t_g": 1.0, "t_s": 100.0, "t_n": 0.5}


def draw_scores(n_events: int = 4000, n_skims: int = 3) -> Any:
    """Scores of correlated skims with different rates."""
    rng = np.random.default_rng(11)
    z = rng.normal(size=(n_events, 1)) + rng.normal(size=(n_events, n_skims))
    return 1.0 / (1.0 + np.exp(4.0 + np.arange(n_skims) - 1.5 * z))


def mean_cost(p: Any, y: Any, importance: Any = 1.0) -> float:
    """Importance-weighted sum over skims of 1 / speedup, up to a constant."""
    relative = np.mean(y / p[:, None], axis=0) / y.mean(axis=0)
    return float(np.sum(importance * relative) * (1.5 + 100.0 * p.mean()))


def test_joint_keep_probability_equals_a_plain_loop():
    scores, c = draw_scores(200), [0.5, 1.5, 3.0]
    p = sampling.joint_keep_probability(scores, c, max_weight=20.0)
    for row, value in zip(scores, p, strict=True):
        mean = sum(ck**2 * s for ck, s in zip(c, row, strict=True)) / 3
        assert value == pytest.approx(min(1.0, max(mean**0.5, 0.05)))


def test_joint_keep_probability_of_equal_skims_is_that_of_one():
    score = draw_scores(200, 1)
    one = sampling.optimal_keep_probability(score[:, 0], 1.7)
    for n_skims in (1, 2, 5):
        scores = np.repeat(score, n_skims, axis=1)
        p = sampling.joint_keep_probability(scores, [1.7] * n_skims)
        assert p == pytest.approx(one)


def test_joint_keep_probability_at_the_borders_of_the_score_is_in_range():
    scores = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    p = sampling.joint_keep_probability(scores, [2.0, 0.5])
    assert p == pytest.approx([0.01, 1.0, 0.5 / np.sqrt(2)])
    assert sampling.joint_keep_probability(scores[:0], [2.0, 0.5]).shape == (0,)


def test_closed_form_costs_less_than_every_probability_on_a_grid():
    """Three kinds of events: all functions p(s) are three numbers."""
    score, share = np.array([0.002, 0.05, 0.6]), np.array([0.6, 0.37, 0.03])
    c = sampling.find_sampling_constant(score, sample_weight=share, **COST)
    grid = np.geomspace(0.01, 1.0, 120)
    p = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1)
    costs = (share * score / p).sum(axis=-1) * (1.5 + 100.0 * (p @ share))
    best = np.clip(c * np.sqrt(score), 0.01, 1.0)
    found = (share * score / best).sum() * (1.5 + 100.0 * best @ share)
    assert found <= costs.min()
    assert found == pytest.approx(costs.min(), rel=2e-3)


def test_find_sampling_constant_with_labels_uses_them():
    score = draw_scores(4000, 1)[:, 0]
    passes = np.random.default_rng(0).random(4000) < score**2
    c = sampling.find_sampling_constant(score, passes, **COST)
    costs = [
        mean_cost(np.clip(x * np.sqrt(score), 0.01, 1.0), passes[:, None].astype(float))
        for x in (0.98 * c, c, 1.02 * c)
    ]
    assert costs[1] < min(costs[0], costs[2])
    assert c != pytest.approx(sampling.find_sampling_constant(score, **COST), rel=0.01)


def test_find_joint_constants_of_one_skim_is_the_sampling_constant():
    scores = draw_scores(2000, 1)
    one = sampling.find_sampling_constant(scores[:, 0], **COST)
    assert sampling.find_joint_constants(scores, **COST) == pytest.approx(
        [one], rel=1e-4
    )


@pytest.mark.parametrize("importance", [(1.0, 1.0, 1.0), (1.0, 5.0, 0.2)])
def test_find_joint_constants_meet_the_condition_of_the_minimum(importance: Any):
    scores, a = draw_scores(), np.array(importance)
    c = sampling.find_joint_constants(scores, importance=a, max_weight=1e6, **COST)
    a = a / scores.mean(axis=0)
    assert c**2 / c[0] ** 2 == pytest.approx(a / a[0])
    total = scores @ a
    constant = c[0] / np.sqrt(3 * a[0])
    p = np.minimum(1.0, constant * np.sqrt(total))
    condition = (1.5 + 100.0 * p.mean()) / (100.0 * np.mean(total / p))
    assert constant**2 == pytest.approx(condition, rel=1e-3)


def test_find_joint_constants_cannot_be_improved_by_changing_p_anywhere():
    scores = draw_scores()
    c = sampling.find_joint_constants(scores, **COST)
    p = sampling.joint_keep_probability(scores, c)
    best = mean_cost(p, scores)
    rng = np.random.default_rng(5)
    for _ in range(50):
        change = rng.normal(size=3) @ np.log(scores).T * 0.02 + 0.05 * rng.normal()
        assert mean_cost(np.clip(p * np.exp(change), 0.01, 1.0), scores) > best


def test_find_joint_constants_cost_less_than_estimates_and_these_less_than_the_maximum():
    scores = draw_scores()
    single = [sampling.find_sampling_constant(s, **COST) for s in scores.T]
    joint = sampling.find_joint_constants(scores, **COST)
    estimate = sampling.estimate_joint_constants(single, scores.mean(axis=0))
    p = sampling.joint_keep_probability
    costs = [
        mean_cost(p(scores, joint), scores),
        mean_cost(p(scores, estimate), scores),
        mean_cost(np.clip(np.sqrt(scores) * single, 0.01, 1).max(axis=1), scores),
        mean_cost(np.ones(len(scores)), scores),
    ]
    assert costs == sorted(costs)


def test_find_joint_constants_importance_buys_effective_events():
    scores = draw_scores()
    sizes = []
    for weight in (0.2, 1.0, 5.0):
        c = sampling.find_joint_constants(scores, importance=[1, 1, weight], **COST)
        p = sampling.joint_keep_probability(scores, c)
        per_event = scores[:, 2].mean() ** 2 / np.mean(scores[:, 2] / p)
        sizes.append(per_event / (1.5 + 100.0 * p.mean()))
    assert sizes == sorted(sizes)


def test_find_joint_constants_honours_sample_weights_and_labels():
    scores = draw_scores(1500)
    passes = np.random.default_rng(1).random(scores.shape) < scores
    weight = np.where(scores[:, 0] > 0.02, 3.0, 1.0)
    rows = np.repeat(np.arange(1500), weight.astype(int))
    weighted = sampling.find_joint_constants(
        scores, passes, sample_weight=weight, **COST
    )
    repeated = sampling.find_joint_constants(scores[rows], passes[rows], **COST)
    assert weighted == pytest.approx(repeated, rel=1e-4)


@pytest.mark.parametrize("importance", [[1.0], [1, 1, 0], [1, 1, np.nan]])
def test_find_joint_constants_refuse_impossible_importances(importance: Any):
    with pytest.raises(UsageError, match="expected 3 numbers > 0"):
        sampling.find_joint_constants(draw_scores(10), importance=importance, **COST)


def test_find_joint_constants_refuse_a_skim_that_nothing_passes():
    passes = np.ones((10, 3)) * [1, 1, 0]
    with pytest.raises(UsageError, match="every skim"):
        sampling.find_joint_constants(draw_scores(10), passes, **COST)


def test_fit_official_constants_equals_a_general_optimiser():
    minimize = pytest.importorskip("scipy.optimize").minimize
    score = draw_scores(1800, 1)[:, 0]
    logit = 0.7 * np.log(score / (1 - score)) + 1.0

    def cost(x: Any) -> float:
        p = np.clip(np.exp(x[0] * (logit - x[1])), 0.01, 1.0)
        return mean_cost(p, score[:, None])

    a, b = sampling.fit_official_constants(logit, score, **COST)
    other = min(
        (minimize(cost, start, method="Nelder-Mead") for start in ((0.5, 0), (1, -2))),
        key=lambda result: result.fun,
    )
    assert cost((a, b)) <= other.fun * (1 + 1e-5)
    assert (a, b) == pytest.approx(tuple(other.x), abs=0.03)


def test_fit_official_constants_of_many_events_merges_neighbours_without_loss():
    score = draw_scores(50_000, 1)[:, 0]
    logit = np.log(score / (1 - score))
    passes = np.random.default_rng(2).random(50_000) < score
    a, b = sampling.fit_official_constants(logit, passes, **COST)

    def cost(slope: float, offset: float) -> float:
        p = np.clip(np.exp(slope * (logit - offset)), 0.01, 1.0)
        return mean_cost(p, passes[:, None].astype(float))

    around = [cost(a * x, b + d) for x in (0.97, 1, 1.03) for d in (-0.1, 0, 0.1)]
    assert cost(a, b) <= min(around) * (1 + 1e-5)


def test_fit_official_constants_slope_at_small_scores_is_a_half():
    rng = np.random.default_rng(3)
    logit = rng.normal(-7.0, 1.5, 20_000)
    score = 1.0 / (1.0 + np.exp(-logit))
    a, _ = sampling.fit_official_constants(logit, score, max_weight=1e6, **COST)
    assert a == pytest.approx(0.5, abs=0.01)


def test_fit_official_constants_never_beats_the_closed_form_on_calibrated_scores():
    for k, max_weight in enumerate((100.0, 10.0, 1e6)):
        score = draw_scores(3000, 3)[:, k]
        logit = np.log(score / (1 - score))
        a, b = sampling.fit_official_constants(
            logit, score, max_weight=max_weight, **COST
        )
        c = sampling.find_sampling_constant(score, max_weight=max_weight, **COST)
        fitted = sampling.official_keep_probability(logit, a, b, max_weight=max_weight)
        closed = sampling.optimal_keep_probability(score, c, max_weight=max_weight)
        y = score[:, None]
        assert mean_cost(closed, y) <= mean_cost(fitted, y) * (1 + 1e-6)


@pytest.mark.parametrize(
    ("logit", "passes"), [([1.0, 1.0], [1.0, 0.0]), ([0.0, 1.0], [0.0, 0.0])]
)
def test_fit_official_constants_refuse_what_has_no_minimum(logit: Any, passes: Any):
    with pytest.raises(UsageError, match="different logits"):
        sampling.fit_official_constants(np.array(logit), np.array(passes), **COST)


def test_estimate_joint_constants_is_a_plain_geometric_mean():
    found = sampling.estimate_joint_constants([2.0, 1.0, 4.0], [0.04, 0.25, 0.01])
    common = (2.0 * 0.2 * 1.0 * 0.5 * 4.0 * 0.1) ** (1 / 3)
    assert found == pytest.approx([common / 0.2, common / 0.5, common / 0.1])
    assert sampling.estimate_joint_constants([1.7], [0.05]).tolist() == [1.7]
    assert sampling.estimate_joint_constants([1.7] * 3, [0.05] * 3) == pytest.approx(
        [1.7] * 3
    )


def test_estimate_joint_constants_cost_little_more_than_the_optimum():
    scores = draw_scores()
    single = [sampling.find_sampling_constant(s, **COST) for s in scores.T]
    estimate = sampling.estimate_joint_constants(single, scores.mean(axis=0))
    optimum = sampling.find_joint_constants(scores, **COST)
    p = sampling.joint_keep_probability
    ratio = mean_cost(p(scores, estimate), scores) / mean_cost(
        p(scores, optimum), scores
    )
    assert 1.0 <= ratio < 1.01


@pytest.mark.parametrize(("c", "rate"), [(0.0, 0.1), (np.nan, 0.1), (1.0, 0.0)])
def test_estimate_joint_constants_refuse_impossible_values(c: float, rate: float):
    with pytest.raises(UsageError, match="expected numbers > 0"):
        sampling.estimate_joint_constants([1.0, c], [0.1, rate])
