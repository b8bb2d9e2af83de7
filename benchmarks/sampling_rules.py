"""Ways to sample, compared by effective events at equal cost.

Two questions, both answered on held-out events: every constant is fitted on one half of
the events and used on the other, in both directions; errors are from a bootstrap over
events.

1. One skim: is the closed form p = c sqrt(s) as good as the best clipped exponential?
2. Several skims: one probability and one weight, against basf2's own draws, one per skim.

Labelled files and a model give the answer for that model; without files, calibrated
scores of correlated skims are drawn (``--correlation``).

    python benchmarks/sampling_rules.py -o output/sampling-synthetic.json
    python benchmarks/sampling_rules.py 'datasets/*.parquet' --model model.pt -o out.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np

from smartfilter.errors import SmartFilterError
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

    Floats = NDArray[np.float64]

SYNTHETIC = {
    "feiHadronicB0": 0.05,
    "feiSLB0": 0.1,
    "BtoPi0Pi0": 0.01,
    "InclusiveLambda": 0.03,
}
"""Skims of the drawn scores and their retention rates: illustrative."""


class Sample(NamedTuple):
    """Scored events; shape (n_events, n_skims), weight (n_events,)."""

    skims: tuple[str, ...]
    logits: Floats
    scores: Floats
    passes: Floats
    weight: Floats
    shipped: tuple[tuple[float, float], ...] | None

    def take(self, rows: NDArray[Any]) -> Sample:
        """Return some of the events."""
        return self._replace(
            logits=self.logits[rows],
            scores=self.scores[rows],
            passes=self.passes[rows],
            weight=self.weight[rows],
        )


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


def draw_sample(n_events: int, correlation: float, seed: int) -> Sample:
    """Draw calibrated scores of correlated skims, and labels from them."""
    rng = np.random.default_rng(seed)
    rates = np.array(list(SYNTHETIC.values()))
    shared = rng.normal(size=(n_events, 1))
    own = rng.normal(size=(n_events, len(rates)))
    z = 2.0 * (np.sqrt(correlation) * shared + np.sqrt(1.0 - correlation) * own)
    low, high = np.full(len(rates), -40.0), np.full(len(rates), 40.0)
    for _ in range(60):
        shift = 0.5 * (low + high)
        above = np.mean(1.0 / (1.0 + np.exp(-z - shift)), axis=0) > rates
        low, high = np.where(above, low, shift), np.where(above, shift, high)
    logits = z + 0.5 * (low + high)
    scores = 1.0 / (1.0 + np.exp(-logits))
    passes = (rng.random(scores.shape) < scores).astype(np.float64)
    return Sample(
        tuple(SYNTHETIC), logits, scores, passes, np.ones(n_events), shipped=None
    )


def score_sample(
    files: Sequence[str], model: str | None, skims: Sequence[str], all_events: bool
) -> Sample:
    """Score labelled events that the model was not trained on."""
    from smartfilter.bulk import resolve_event_type
    from smartfilter.io import open_events
    from smartfilter.scoring import Scorer
    from smartfilter.training.dataset import read_sample_weight, require_labels
    from smartfilter.training.split import Split

    scorer = Scorer(model)
    names = tuple(skims) or scorer.info.skim_names
    columns = [scorer.info.skim_names.index(name) for name in names]
    split = (
        None
        if all_events
        else Split.from_training(scorer.info.training, str(scorer.path))
    )
    parts = []
    for chunk in open_events(files):
        require_labels(chunk, names)
        unseen = chunk if split is None else split.drop_used(chunk)[0]
        events, _ = resolve_event_type(unseen, None)
        found = scorer.score(events)
        use = found.scorable
        labels = np.stack([events.labels[name] for name in names], axis=1)
        parts.append(
            (
                found.logits[use][:, columns],
                found.scores[use][:, columns],
                labels[use],
                read_sample_weight(events)[use],
            )
        )
    logits, scores, passes, weight = (
        np.concatenate(p).astype(np.float64) for p in zip(*parts, strict=True)
    )
    constants = [scorer.info.skims[column].get_calibration() for column in columns]
    shipped = tuple((c.official_slope, c.official_offset) for c in constants)
    return Sample(names, logits, scores, passes, weight, shipped)


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


def show(figure: dict[str, float], digits: int = 3) -> str:
    return f"{figure['value']:.{digits}f} ± {figure['error']:.{digits}f}"


def print_tables(document: dict[str, Any]) -> None:
    print(f"{document['n_events']:,} events, {document['source']}")
    print("\nOne skim at a time: speedup (C), held out")
    row = "{:24s} {:>8s} {:>16s} {:>18s} {:>16s} {:>10s}"
    print(row.format("", "r", "c sqrt(s)", "exp(a (z - b))", "ratio", "not worse"))
    for name, item in document["one_skim"].items():
        cells = (
            show(item["closed_form"]),
            show(item["fitted_exponential"]),
            show(item["ratio"], digits=4),
        )
        verdict = "yes" if item["not_worse"] else "no"
        print(row.format(name, f"{item['retention_rate']:.4f}", *cells, verdict))
    print(f"\nAll skims: n_eff at equal cost, relative to: {REFERENCE}")
    row = "{:38s} {:>10s} {:>16s} {:>16s}   {}"
    print(row.format("", "simulated", "mean speedup", "mean gain", "gain by skim"))
    for name, item in document["rules"].items():
        gains = ", ".join(f"{s['gain']['value']:.2f}" for s in item["skims"].values())
        cells = (f"{item['simulated']:.1%}", show(item["speedup"]), show(item["gain"]))
        print(row.format(name, *cells, gains))


@click.command()
@click.argument("files", nargs=-1)
@click.option("--model", help="Model file.  [the shipped gcn.pt]")
@click.option("--skim", "skims", multiple=True, help="Skim; repeatable.  [all]")
@click.option("--all-events", is_flag=True, help="The model never saw these files.")
@click.option("--t-s", default=100.0, show_default=True, help="In units of t_g.")
@click.option("--t-n", default=0.0, show_default=True, help="In units of t_g.")
@click.option("--max-weight", default=100.0, show_default=True)
@click.option("--n-events", default=100_000, show_default=True, help="To draw.")
@click.option("--correlation", default=0.5, show_default=True, help="To draw.")
@click.option("--bootstrap", "n_draws", default=400, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="OUT.json")
def command(
    files: tuple[str, ...],
    model: str | None,
    skims: tuple[str, ...],
    all_events: bool,
    t_s: float,
    t_n: float,
    max_weight: float,
    n_events: int,
    correlation: float,
    n_draws: int,
    seed: int,
    output: Path | None,
) -> None:
    """Compare ways to sample by effective events at equal cost."""
    costs = Costs(t_s, t_n, max_weight)
    if files:
        sample = score_sample(files, model, skims, all_events)
    else:
        sample = draw_sample(n_events, correlation, seed)
    half = np.random.default_rng(seed).permutation(len(sample.weight)) % 2 == 0
    document: dict[str, Any] = {
        "source": "labelled events" if files else "drawn scores",
        "files": files,
        "model": model,
        "correlation": None if files else correlation,
        "n_events": len(sample.weight),
        "t_g": 1.0,
        **costs._asdict(),
        "seed": seed,
        "reference": REFERENCE,
        "one_skim": compare_one_skim(sample, costs, half, n_draws, seed),
        "rules": compare_rules(sample, costs, half, n_draws, seed),
    }
    print_tables(document)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    try:
        command()
    except SmartFilterError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
