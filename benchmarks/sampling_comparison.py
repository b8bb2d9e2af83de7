"""Rules that turn scores into keep probabilities, and what each of them is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.sampling import (
    estimate_joint_constants,
    find_joint_constants,
    find_sampling_constant,
    fit_official_constants,
    joint_keep_probability,
    official_keep_probability,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from sampling_events import Sample

    Floats = NDArray[np.float64]

__all__ = ["REFERENCE", "Costs", "Probabilities", "compare_one_skim", "compare_rules"]


class Costs(NamedTuple):
    """Times in units of t_g, and the maximum weight."""

    t_s: float
    t_n: float
    max_weight: float

    @property
    def keywords(self) -> dict[str, float]:
        """Keywords of the functions that find constants."""
        return {"t_g": 1.0, **self._asdict()}


class Probabilities(NamedTuple):
    """What a rule does: p behind each skim's weight, and p of being simulated."""

    weight: Floats
    simulated: Floats


Rule = Any
"""Takes the sample to fit on; returns a function from a sample to probabilities."""


def fit_joint(fit: Sample, costs: Costs) -> Rule:
    """One probability, closed form, with the joint constants."""
    c = find_joint_constants(fit.scores, sample_weight=fit.weight, **costs.keywords)
    return lambda sample: share_probability(
        joint_keep_probability(sample.scores, c, max_weight=costs.max_weight), sample
    )


def fit_estimated(fit: Sample, costs: Costs) -> Rule:
    """One probability, closed form, constants estimated from those of single skims."""
    rates = np.average(fit.passes, axis=0, weights=fit.weight)
    c = estimate_joint_constants(find_single_constants(fit, costs), rates)
    return lambda sample: share_probability(
        joint_keep_probability(sample.scores, c, max_weight=costs.max_weight), sample
    )


def fit_maximum(fit: Sample, costs: Costs) -> Rule:
    """One probability, the largest of the single skims'."""
    c = find_single_constants(fit, costs)
    return lambda sample: share_probability(
        np.clip(c * np.sqrt(sample.scores), 1.0 / costs.max_weight, 1.0).max(axis=1),
        sample,
    )


def find_single_constants(fit: Sample, costs: Costs) -> Floats:
    return np.array(
        [
            find_sampling_constant(s, sample_weight=fit.weight, **costs.keywords)
            for s in fit.scores.T
        ]
    )


def share_probability(p: Floats, sample: Sample) -> Probabilities:
    return Probabilities(np.repeat(p[:, None], len(sample.skims), axis=1), p)


def fit_official(fit: Sample, costs: Costs) -> list[tuple[float, float]]:
    """Return (a, b) of each skim that cost least for this skim alone."""
    return [
        fit_official_constants(z, y, sample_weight=fit.weight, **costs.keywords)
        for z, y in zip(fit.logits.T, fit.passes.T, strict=True)
    ]


def draw_officially(
    sample: Sample,
    constants: Sequence[tuple[float, float]],
    costs: Costs,
    shift: float = 0.0,
) -> Probabilities:
    """One draw per skim; simulated if any is drawn. ``shift`` scales every p."""
    p = np.stack(
        [
            official_keep_probability(z, a, b - shift / a, max_weight=costs.max_weight)
            for z, (a, b) in zip(sample.logits.T, constants, strict=True)
        ],
        axis=1,
    )
    return Probabilities(p, 1.0 - np.prod(1.0 - p, axis=1))


def fit_official_draws(fit: Sample, costs: Costs) -> Rule:
    constants = fit_official(fit, costs)
    return lambda sample: draw_officially(sample, constants, costs)


def fit_official_draws_together(fit: Sample, costs: Costs) -> Rule:
    """Like the fitted draws, with the common factor of all p that costs least."""
    constants = fit_official(fit, costs)

    def mean_cost(shift: float) -> float:
        means = summarise(fit, draw_officially(fit, constants, costs, shift))
        return float(np.mean(1.0 / speedups(fit.weight @ means, costs)))

    shift = min(np.linspace(-3.0, 6.0, 91), key=mean_cost)
    return lambda sample: draw_officially(sample, constants, costs, shift)


def fit_union(fit: Sample, costs: Costs) -> Rule:
    """Fitted official draws, but one weight for all: 1 / P(any skim is drawn)."""
    draw = fit_official_draws(fit, costs)
    return lambda sample: share_probability(draw(sample).simulated, sample)


def fit_shipped_draws(fit: Sample, costs: Costs) -> Rule:
    assert fit.shipped is not None
    constants = fit.shipped
    return lambda sample: draw_officially(sample, constants, costs)


RULES: dict[str, Callable[[Sample, Costs], Rule]] = {
    "one probability, joint constants": fit_joint,
    "one probability, estimated constants": fit_estimated,
    "one probability, maximum": fit_maximum,
    "official draws, weight of their union": fit_union,
    "official draws, fitted together": fit_official_draws_together,
    "official draws, fitted": fit_official_draws,
    "official draws, as shipped": fit_shipped_draws,
}
REFERENCE = "official draws, fitted together"


def cross_fit(sample: Sample, costs: Costs, fit: Any, half: NDArray[Any]) -> Floats:
    """Return `summarise` of every event with constants from the other half."""
    means = np.empty((len(half), 2 * len(sample.skims) + 2))
    for fold in (half, ~half):
        rule = fit(sample.take(~fold), costs)
        part = sample.take(fold)
        means[fold] = summarise(part, rule(part))
    return means


def summarise(sample: Sample, p: Probabilities) -> Floats:
    """Return per event 1, p simulated, y_k and y_k / p_k: means of these are enough."""
    y = sample.passes
    ones = np.ones((len(y), 1))
    return np.concatenate([ones, p.simulated[:, None], y, y / p.weight], axis=1)


def speedups(sums: Floats, costs: Costs) -> Floats:
    """Return formula (C) of each skim from sums over events, (..., n_skims)."""
    mean = sums[..., 1:] / sums[..., :1]
    n_skims = (sums.shape[-1] - 2) // 2
    used = 1.0 + costs.t_n + costs.t_s * mean[..., :1]
    y, over_p = mean[..., 1 : 1 + n_skims], mean[..., 1 + n_skims :]
    return (1.0 + costs.t_s) * y / (over_p * used)


def bootstrap(
    weight: Floats, means: dict[str, Floats], costs: Costs, n_draws: int, seed: int
) -> dict[str, Floats]:
    """Return the speedups of each rule on the events and on resampled ones.

    Shape (1 + n_draws, n_skims); the events themselves come first. All rules see the
    same resampled events, so that the errors of ratios are right.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, list[Floats]] = {
        name: [speedups((weight @ m)[None], costs)] for name, m in means.items()
    }
    for start in range(0, n_draws, 20):
        size = min(20, n_draws - start)
        counts = rng.poisson(1.0, (size, len(weight))) * weight
        for name, m in means.items():
            rows[name].append(speedups(counts @ m, costs))
    return {name: np.concatenate(r) for name, r in rows.items()}


def describe(values: Floats) -> dict[str, float]:
    """Return value and bootstrap error of one figure, shape (1 + n_draws,)."""
    return {"value": float(values[0]), "error": float(values[1:].std(ddof=1))}


def compare_one_skim(
    sample: Sample, costs: Costs, half: NDArray[Any], n_draws: int, seed: int
) -> dict[str, Any]:
    """Compare the closed form with the best clipped exponential, skim by skim."""
    result = {}
    for k, name in enumerate(sample.skims):
        one = sample._replace(
            skims=(name,),
            logits=sample.logits[:, [k]],
            scores=sample.scores[:, [k]],
            passes=sample.passes[:, [k]],
        )
        means = {
            "closed": cross_fit(one, costs, fit_joint, half),
            "exponential": cross_fit(one, costs, fit_official_draws, half),
        }
        found = bootstrap(one.weight, means, costs, n_draws, seed)
        ratio = describe((found["closed"] / found["exponential"])[:, 0])
        result[name] = {
            "retention_rate": float(np.average(one.passes[:, 0], weights=one.weight)),
            "closed_form": describe(found["closed"][:, 0]),
            "fitted_exponential": describe(found["exponential"][:, 0]),
            "fitted_constants": fit_official(one, costs)[0],
            "ratio": ratio,
            "not_worse": ratio["value"] + ratio["error"] >= 1.0,
        }
    return result


def compare_rules(
    sample: Sample, costs: Costs, half: NDArray[Any], n_draws: int, seed: int
) -> dict[str, Any]:
    """Every rule for all skims together: n_eff per skim at equal cost."""
    rules = {
        name: fit
        for name, fit in RULES.items()
        if sample.shipped is not None or fit is not fit_shipped_draws
    }
    means = {name: cross_fit(sample, costs, fit, half) for name, fit in rules.items()}
    found = bootstrap(sample.weight, means, costs, n_draws, seed)
    gain = {name: values / found[REFERENCE] for name, values in found.items()}
    return {
        name: {
            "simulated": float(np.average(means[name][:, 1], weights=sample.weight)),
            "speedup": describe(harmonic_mean(values)),
            "gain": describe(harmonic_mean(values) / harmonic_mean(found[REFERENCE])),
            "skims": {
                skim: {
                    "speedup": describe(values[:, k]),
                    "gain": describe(gain[name][:, k]),
                }
                for k, skim in enumerate(sample.skims)
            },
        }
        for name, values in found.items()
    }


def harmonic_mean(values: Floats) -> Floats:
    mean: Floats = 1.0 / np.mean(1.0 / values, axis=-1)
    return mean
