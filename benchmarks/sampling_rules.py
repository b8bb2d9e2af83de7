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
from typing import Any

import click
import numpy as np
from sampling_comparison import REFERENCE, Costs, compare_one_skim, compare_rules
from sampling_events import draw_sample, leave_out_poor, score_sample

from smartfilter.errors import SmartFilterError


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
@click.option("--model", help="Model file.  [the shipped default]")
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
    sample, left_out = leave_out_poor(sample, half)
    for name, n_passing in left_out.items():
        print(
            f"{name}: left out, {n_passing} of {len(sample.weight):,} events pass",
            file=sys.stderr,
        )
    document: dict[str, Any] = {
        "source": "labelled events" if files else "drawn scores",
        "files": files,
        "model": model,
        "correlation": None if files else correlation,
        "n_events": len(sample.weight),
        "left_out": left_out,
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
        output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        command()
    except SmartFilterError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
