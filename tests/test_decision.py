"""Decisions against closed forms, brute force and unbiasedness."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from smartfilter import decision, sampling
from smartfilter.decision import DecisionSettings, SkimSettings, decide
from smartfilter.errors import UsageError
from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts
from smartfilter.graphs import PRESETS
from smartfilter.model_info import Calibration, ModelInfo, SkimInfo
from smartfilter.pdg import load_vocabulary

COST: dict[str, Any] = {"t_g": 1.0, "t_s": 100.0, "t_n": 0.5}


def make_events(n_events: int, *, first: int = 0) -> Events:
    """Events of two particles each that differ in their event number alone."""
    offsets = offsets_from_counts(np.full(n_events, 2))
    columns = {k: np.zeros(2 * n_events, t) for k, t in PARTICLE_COLUMNS.items()}
    columns["mother_index"] = np.tile(np.array([-1, 0], np.int32), n_events)
    return Events.from_columns(
        offsets, columns, event=np.arange(first, first + n_events)
    )


def make_settings(mode: str, n_skims: int = 1, **changes: Any) -> DecisionSettings:
    skims = tuple(
        SkimSettings(f"skim{k}", k, threshold=0.3, constant=1.5, slope=0.5, offset=0.4)
        for k in range(n_skims)
    )
    return replace(DecisionSettings(mode, skims, seed=7), **changes)


def make_scores(n_events: int, n_skims: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    scores = rng.beta(0.4, 4.0, (n_events, n_skims)).astype(np.float32)
    logits = np.log(scores / (1 - scores))
    return {"logits": logits, "scores": scores, "scorable": np.ones(n_events, bool)}


def test_decide_threshold_keeps_what_reaches_it_with_weight_one():
    inputs = make_scores(1000)
    result = decide(make_events(1000), settings=make_settings("threshold"), **inputs)
    expected = inputs["scores"][:, 0] >= 0.3
    assert np.array_equal(result.keep, expected)
    assert np.array_equal(result.weight[:, 0], expected.astype(float))


def test_decide_threshold_of_several_skims_keeps_for_any():
    inputs = make_scores(1000, 2)
    result = decide(make_events(1000), settings=make_settings("threshold", 2), **inputs)
    assert np.array_equal(result.keep, (inputs["scores"] >= 0.3).any(axis=1))
    assert np.array_equal(result.weight[:, 0], result.weight[:, 1])


def test_decide_sample_equals_a_plain_loop():
    inputs, events = make_scores(500, 3), make_events(500)
    result = decide(events, settings=make_settings("sample", 3), **inputs)
    u = decision.uniform(events, 7)
    for i, scores in enumerate(inputs["scores"].astype(float)):
        p = min(1.0, max(1.5 * (sum(scores) / 3) ** 0.5, 0.01))
        assert result.keep[i] == (u[i] < p)
        assert result.keep_probability[i] == pytest.approx([p] * 3)
        assert result.weight[i] == pytest.approx([1 / p if u[i] < p else 0.0] * 3)


def test_decide_sample_is_unbiased_over_seeds():
    """The weighted number of passing events has the right mean and variance."""
    n, inputs, events = 4000, make_scores(4000), make_events(4000)
    passes = np.random.default_rng(2).random(n) < inputs["scores"][:, 0]
    sums = []
    for seed in range(300):
        settings = make_settings("sample", seed=seed)
        weight = decide(events, settings=settings, **inputs).weight[:, 0]
        sums.append(weight[passes].sum())
    p = sampling.optimal_keep_probability(inputs["scores"][passes, 0], 1.5)
    sigma = np.sqrt(((1 - p) / p).sum())
    assert np.mean(sums) == pytest.approx(passes.sum(), abs=4 * sigma / np.sqrt(300))
    assert np.std(sums) == pytest.approx(sigma, rel=0.15)


def test_decide_official_draws_each_skim_on_its_own():
    inputs, events = make_scores(20_000, 2), make_events(20_000)
    result = decide(events, settings=make_settings("official", 2), **inputs)
    p = np.exp(0.5 * (inputs["logits"].astype(float) - 0.4)).clip(0.01, 1.0)
    assert result.keep_probability == pytest.approx(p)
    drawn = result.weight > 0
    assert np.array_equal(result.keep, drawn.any(axis=1))
    assert result.weight[drawn] == pytest.approx(1 / p[drawn])
    pull = (drawn - p) / np.sqrt(p * (1 - p) + 1e-12)
    assert np.abs(pull.mean(axis=0)).max() < 4 / np.sqrt(20_000)
    assert abs(np.corrcoef(pull.T)[0, 1]) < 4 / np.sqrt(20_000)


def test_decide_debug_keeps_everything():
    result = decide(make_events(50), settings=make_settings("debug"), **make_scores(50))
    assert result.keep.all()
    assert np.all(result.weight == 1)


@pytest.mark.parametrize("mode", decision.MODES)
def test_decide_keeps_unscorable_events_with_weight_one(mode: str):
    inputs = make_scores(100, 2)
    inputs["scorable"][::3] = False
    inputs["scores"][::3] = np.nan
    inputs["logits"][::3] = np.nan
    settings = make_settings(mode, 2)
    result = decide(make_events(100), settings=settings, **inputs)
    assert result.keep[::3].all()
    assert np.all(result.weight[::3] == 1)
    assert np.all(np.isfinite(result.weight))


@pytest.mark.parametrize("mode", decision.MODES)
def test_decide_does_not_depend_on_the_batch(mode: str):
    inputs, events = make_scores(64, 2), make_events(64)
    settings = make_settings(mode, 2)
    whole = decide(events, settings=settings, **inputs)
    order = np.random.default_rng(0).permutation(64)
    for part in np.array_split(order, 5):
        some = {k: v[part] for k, v in inputs.items()}
        result = decide(events.take(part), settings=settings, **some)
        assert np.array_equal(result.keep, whole.keep[part])
        assert np.array_equal(result.weight, whole.weight[part])


def test_decide_of_no_events_is_empty():
    result = decide(make_events(0), settings=make_settings("sample"), **make_scores(0))
    assert result.keep.shape == (0,)
    assert result.weight.shape == (0, 1)


def test_find_sampling_constant_beats_every_other_and_meets_the_condition():
    score = np.random.default_rng(3).beta(0.3, 5.0, 20_000)
    c = sampling.find_sampling_constant(score, max_weight=1e6, **COST)

    def cost(constant: float) -> float:
        p = np.minimum(1.0, constant * np.sqrt(score))
        return float(np.mean(score / p) * (1.5 + 100.0 * p.mean()))

    assert all(cost(c) <= cost(c * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2))
    p = np.minimum(1.0, c * np.sqrt(score))
    condition = (1.5 + 100.0 * p.mean()) / (100.0 * np.mean(score / p))
    assert c**2 == pytest.approx(condition, rel=1e-3)


def test_find_sampling_constant_honours_sample_weights():
    score = np.random.default_rng(4).beta(0.3, 5.0, 2000)
    twice = np.where(score > 0.1, 2.0, 1.0)
    repeated = np.concatenate([score, score[score > 0.1]])
    assert sampling.find_sampling_constant(
        score, sample_weight=twice, **COST
    ) == pytest.approx(sampling.find_sampling_constant(repeated, **COST), rel=1e-4)


def test_official_keep_probability_is_the_modules_three_branches():
    logits = np.array([-60.0, -2.0, 0.4, 3.0])
    p = sampling.official_keep_probability(logits, 0.5, 0.4)
    assert p == pytest.approx([0.01, np.exp(-1.2), 1.0, 1.0])


def make_info(*skims: tuple[str, float, float]) -> ModelInfo:
    """A model of skims with name, retention rate and sampling constant."""
    return ModelInfo(
        preset="smart_background",
        features=(),
        vocabulary=load_vocabulary(PRESETS["smart_background"].vocabulary),
        skims=tuple(
            SkimInfo(name, None, {"default": Calibration(1, 0, r, 0.2, c, 0.5, 0)})
            for name, r, c in skims
        ),
        network="none",
        settings={},
        n_parameters=0,
    )


def test_settings_from_a_model_of_several_skims_have_joint_constants():
    info = make_info(("a", 0.04, 2.0), ("b", 0.25, 1.0), ("c", 0.01, 3.0))
    one = DecisionSettings.from_model(info, skims=["a"], mode="sample")
    assert [skim.constant for skim in one.skims] == [2.0]
    two = DecisionSettings.from_model(info, skims=["b", "a"], mode="sample")
    common = (2.0 * 0.2 * 1.0 * 0.5) ** 0.5
    assert [skim.constant for skim in two.skims] == pytest.approx(
        [common / 0.5, common / 0.2]
    )
    assert [skim.column for skim in two.skims] == [1, 0]


def test_settings_from_a_model_take_a_skim_named_twice_once():
    """The score file had its columns once and its sums twice: it was refused as damaged."""
    info = make_info(("a", 0.04, 2.0), ("b", 0.25, 1.0))
    settings = DecisionSettings.from_model(info, skims=["b", "a", "b"])
    assert [skim.name for skim in settings.skims] == ["b", "a"]


@pytest.mark.parametrize("mode", ["sample", "official", "debug"])
def test_settings_from_a_model_refuse_a_threshold_that_nothing_uses(mode: str):
    info = make_info(("a", 0.04, 2.0))
    with pytest.raises(UsageError, match=f"threshold: .* got it with '{mode}'"):
        DecisionSettings.from_model(info, mode=mode, threshold=0.1)


@pytest.mark.parametrize("constant", [0.0, -1.0, np.nan, np.inf])
def test_settings_refuse_a_constant_that_is_no_number_above_zero(constant: float):
    skim = SkimSettings("skim0", 0, threshold=0.2, constant=constant)
    with pytest.raises(UsageError, match="constant of skim0"):
        DecisionSettings("sample", (skim,))


@pytest.mark.parametrize("threshold", [np.nan, -0.1, 1.1, np.inf])
def test_settings_refuse_a_threshold_that_drops_or_keeps_by_accident(threshold: float):
    skim = SkimSettings("skim0", 0, threshold=threshold, constant=1.5)
    with pytest.raises(UsageError, match="threshold of skim0"):
        DecisionSettings("threshold", (skim,))


def test_settings_refuse_impossible_values():
    with pytest.raises(UsageError, match="expected one of threshold"):
        make_settings("magic")
    with pytest.raises(UsageError, match="at least one"):
        DecisionSettings("sample", ())
    with pytest.raises(UsageError, match="at least 1"):
        make_settings("sample", max_weight=0.5)
    with pytest.raises(UsageError, match="positive"):
        sampling.find_sampling_constant(np.zeros(3), **COST)
