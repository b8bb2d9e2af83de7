"""Weighted sums over many seeds and many jobs against their exact expectation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from smartfilter import speedup
from smartfilter.decision import (
    DecisionSettings,
    SkimSettings,
    decide,
    uniform,
)
from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts

N_EVENTS, N_SEEDS, N_SKIMS = 2000, 800, 3
CONSTANTS = (1.2, 2.0, 3.0)
SAMPLING_MODES = ("sample", "official")


def make_events(numbers: Any, content: Any) -> Events:
    """Events of two particles: one with the given code, and its daughter."""
    n_events = len(numbers)
    columns = {k: np.zeros(2 * n_events, t) for k, t in PARTICLE_COLUMNS.items()}
    columns["pdg"][::2] = content
    columns["pdg"][1::2] = 22
    columns["mother_index"] = np.tile(np.array([-1, 0], np.int32), n_events)
    offsets = offsets_from_counts(np.full(n_events, 2))
    return Events.from_columns(offsets, columns, event=np.asarray(numbers))


def draw_scores(n_events: int, rng: Any) -> Any:
    """Calibrated scores of three correlated skims."""
    z = rng.normal(size=(n_events, 1)) + rng.normal(size=(n_events, N_SKIMS))
    return 1.0 / (1.0 + np.exp(3.0 + np.arange(N_SKIMS) - z))


def make_settings(mode: str, seed: int = 0) -> DecisionSettings:
    skims = tuple(
        SkimSettings(f"skim{k}", k, threshold=0.3, constant=c, slope=0.5, offset=-1.0)
        for k, c in enumerate(CONSTANTS)
    )
    return DecisionSettings(mode, skims, seed=seed)


def decide_all(events: Events, scores: Any, settings: DecisionSettings) -> Any:
    return decide(
        events,
        logits=np.log(scores / (1 - scores)),
        scores=scores,
        scorable=np.ones(len(scores), bool),
        settings=settings,
    )


def compute_probabilities(scores: Any, mode: str) -> Any:
    """Keep probability behind each skim's weight, from the formulas."""
    if mode == "official":
        logits = np.log(scores / (1 - scores))
        return np.clip(np.exp(0.5 * (logits + 1.0)), 0.01, 1.0)
    total = (scores * np.square(CONSTANTS)).mean(axis=1, keepdims=True)
    return np.repeat(np.clip(np.sqrt(total), 0.01, 1.0), N_SKIMS, axis=1)


@pytest.fixture(scope="module", params=SAMPLING_MODES)
def repeated(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Sums of weights and squares of passing events, (n_seeds, n_skims)."""
    rng = np.random.default_rng(21)
    scores = draw_scores(N_EVENTS, rng)
    passes = rng.random(scores.shape) < scores
    events = make_events(np.arange(N_EVENTS), 300553)
    sums, squares, kept = [], [], []
    for seed in range(N_SEEDS):
        result = decide_all(events, scores, make_settings(request.param, seed))
        weight = result.weight * passes
        sums.append(weight.sum(axis=0))
        squares.append(np.square(weight).sum(axis=0))
        kept.append(result.keep.sum())
    return {
        "mode": request.param,
        "p": compute_probabilities(scores, request.param),
        "passes": passes,
        "sums": np.array(sums),
        "squares": np.array(squares),
        "kept": np.array(kept),
    }


def test_decide_weighted_passing_events_agree_with_the_unfiltered_ones(repeated):
    expected = repeated["passes"].sum(axis=0)
    p, y = repeated["p"], repeated["passes"]
    sigma = np.sqrt((y * (1 - p) / p).sum(axis=0))
    pull = (repeated["sums"] - expected) / sigma
    assert np.abs(pull.mean(axis=0)).max() < 4 / np.sqrt(N_SEEDS)
    assert np.abs(pull.std(axis=0) - 1).max() < 4 / np.sqrt(2 * N_SEEDS)


def test_decide_effective_size_is_the_one_of_the_formula(repeated):
    p, y = repeated["p"], repeated["passes"]
    expected = y.sum(axis=0) ** 2 / (y / p).sum(axis=0)
    found = repeated["sums"].mean(axis=0) ** 2 / repeated["squares"].mean(axis=0)
    assert found == pytest.approx(expected, rel=0.03)


def test_decide_number_of_kept_events_is_the_sum_of_their_probabilities(repeated):
    p = repeated["p"]
    keep = 1 - np.prod(1 - p, axis=1) if repeated["mode"] == "official" else p[:, 0]
    sigma = np.sqrt((keep * (1 - keep)).sum() / N_SEEDS)
    assert repeated["kept"].mean() == pytest.approx(keep.sum(), abs=4 * sigma)


def test_decide_one_probability_beats_draws_per_skim_at_fewer_simulated_events():
    """The same scores, the official rule against one weight with its probabilities."""
    scores = draw_scores(20_000, np.random.default_rng(5))
    p = compute_probabilities(scores, "official")
    union = 1 - np.prod(1 - p, axis=1)
    rate = scores.mean(axis=0)
    draws = rate**2 / np.mean(scores / p, axis=0)
    shared = rate**2 / np.mean(scores / union[:, None], axis=0)
    assert np.all(shared > draws)


def measure_width(mode: str, content: Any, scores: Any, passes: Any) -> Any:
    """Mean and width of the pulls of sums over 40 jobs of 50 events, (2, n_skims)."""
    size, jobs_per_sum = 50, 40
    events = make_events(np.arange(len(scores)) % size, content)
    result = decide_all(events, scores, make_settings(mode, 7))
    p = compute_probabilities(scores, mode)
    shape = (-1, size * jobs_per_sum, N_SKIMS)
    added = (result.weight * passes - passes).reshape(shape).sum(axis=1)
    variance = (passes * (1 - p) / p).reshape(shape).sum(axis=1)
    pull = added / np.sqrt(variance)
    return pull.mean(axis=0), pull.std(axis=0)


@pytest.mark.parametrize("mode", SAMPLING_MODES)
def test_decide_many_small_jobs_with_the_same_event_numbers_are_independent(mode: str):
    """Jobs of 50 events that all count from 0 add up as one large job does.

    Were u a function of the event number alone, all jobs would repeat the decisions of
    the first; the last lines make sure that the test would see it.
    """
    n_events, n_sums = 400_000, 200
    rng = np.random.default_rng(31)
    scores = draw_scores(n_events, rng)
    passes = rng.random(scores.shape) < scores
    content = rng.integers(1, 2**31, n_events)
    mean, width = measure_width(mode, content, scores, passes)
    assert np.abs(mean).max() < 4 / np.sqrt(n_sums)
    assert np.abs(width - 1).max() < 4 / np.sqrt(2 * n_sums)
    mean, width = measure_width(mode, 300553, scores, passes)
    assert np.abs(mean).max() > 8 / np.sqrt(n_sums)


def test_decide_error_of_independent_samples_is_what_the_effective_size_says():
    """Relative error of the yield, generation included, is 1 / sqrt(n_eff)."""
    n_jobs, size = 1000, 500
    rng = np.random.default_rng(41)
    scores = draw_scores(n_jobs * size, rng)
    passes = rng.random(scores.shape) < scores
    content = rng.integers(1, 2**31, n_jobs * size)
    events = make_events(np.tile(np.arange(size), n_jobs), content)
    result = decide_all(events, scores, make_settings("sample", 3))
    weight = (result.weight * passes)[:, 0]
    n_eff = speedup.effective_sample_size(weight) / n_jobs
    yields = weight.reshape(n_jobs, size).sum(axis=1)
    relative = yields.std() / yields.mean()
    # A fixed number of generated events lacks the part r of the Poisson variance.
    rate = passes[:, 0].mean()
    expected = np.sqrt(1 / n_eff - 1 / size)
    assert relative == pytest.approx(expected, rel=4 / np.sqrt(2 * n_jobs))
    assert yields.mean() == pytest.approx(
        rate * size, abs=4 * expected * rate * size / np.sqrt(n_jobs)
    )


def test_uniform_of_passing_and_failing_events_is_the_same_and_flat():
    rng = np.random.default_rng(51)
    scores = draw_scores(40_000, rng)
    passes = rng.random(len(scores)) < scores[:, 0]
    content = np.where(passes, 511, -511) * rng.integers(1, 1000, len(scores))
    u = uniform(make_events(np.arange(len(scores)) % 100, content), 9)
    for chosen in (passes, ~passes):
        counts = np.histogram(u[chosen], bins=20, range=(0, 1))[0]
        mean = chosen.sum() / 20
        assert np.sum((counts - mean) ** 2 / mean) < 50.0  # 1e-4 at 19 d.o.f.
    assert abs(np.corrcoef(u, passes)[0, 1]) < 4 / np.sqrt(len(u))


def test_decide_thresholds_and_debug_add_no_randomness():
    scores = draw_scores(500, np.random.default_rng(61))
    events = make_events(np.arange(500), 300553)
    for mode in ("threshold", "debug"):
        settings = make_settings(mode)
        one = decide_all(events, scores, settings)
        other = decide_all(events, scores, replace(settings, seed=99))
        assert np.array_equal(one.keep, other.keep)
        assert set(np.unique(one.weight)) <= {0.0, 1.0}
