"""How far is a network from the limit? The same events, simulated again and again.

Labelled files that the network was not trained on are read; all events that pass and a
share of the others are simulated again. A run that was stopped goes on with the same
command.

Example:
  python benchmarks/oracle.py 'fresh/mixed-*.parquet' --repeats 20 -o output/oracle
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from pass_probability import Repeats, estimate_limits
from rich.console import Console

from smartfilter.cli.terminal import make_table, show_progress
from smartfilter.decision import hash_events
from smartfilter.io import open_events
from smartfilter.io.labelled import read_labelled_metadata
from smartfilter.model_file import default_model_path
from smartfilter.pipeline.simulation import label
from smartfilter.scoring import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from smartfilter.events import Events

_PURPOSE = 0x6F7261636C652020
"""Purpose of the hash that chooses failing events: ASCII "oracle  "."""


def choose(
    events: Events, skim: str, share: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return all passing events and a share of the failing ones, and their weights."""
    passes = events.labels[skim]
    u = (hash_events(events, 0, purpose=_PURPOSE) >> np.uint64(11)) * 2.0**-53
    chosen = np.flatnonzero(passes | (u < share))
    return chosen, np.where(passes[chosen], 1.0, 1.0 / share)


def simulate_again(
    events: Events, skim: str, *, repeats: int, seed: int, step: float
) -> NDArray[np.bool_]:
    """Return the labels of new simulations, shape (n_events, repeats)."""
    labels = [
        label(events, seed=seed, step=step, repeat=k + 1).labels[skim]
        for k in range(repeats)
    ]
    return np.stack(labels, axis=1)


def collect(
    files: Sequence[str],
    scorers: Sequence[Scorer],
    folder: Path,
    *,
    skim: str,
    share: float,
    repeats: int,
    advance: Callable[[int], None],
) -> tuple[Repeats, NDArray[np.float64]]:
    """Return repeats with the first network's score, and all scores (n, n_models)."""
    parts: list[Repeats] = []
    scores: list[NDArray[np.float64]] = []
    for events in open_events(files):
        chosen, weight = choose(events, skim, share)
        some = events.take(chosen)
        provenance = read_labelled_metadata(events.file)["provenance"]
        seed, step = provenance["seed"], provenance["step"]
        name = f"{events.file}:{events.entry[0]}:{len(events)}:{skim}:{share}:{repeats}"
        part = folder / f"{sha256(name.encode()).hexdigest()[:16]}.npy"
        if not part.exists():
            labels = simulate_again(some, skim, repeats=repeats, seed=seed, step=step)
            temporary = part.with_suffix(".tmp.npy")
            np.save(temporary, labels)
            temporary.replace(part)
        columns = [s.info.skim_names.index(skim) for s in scorers]
        each = [
            s.score(some).scores[:, c].astype(np.float64)
            for s, c in zip(scorers, columns, strict=True)
        ]
        scores.append(np.stack(each, axis=1))
        counts = np.load(part)
        parts.append(Repeats(each[0], some.labels[skim], counts, weight))
        advance(len(events))
    return (
        Repeats(*(np.concatenate(c) for c in zip(*parts, strict=True))),
        np.concatenate(scores),
    )


def bootstrap(sample: Repeats, cost: float, n: int) -> dict[str, dict[str, Any]]:
    """Return values and errors of all estimates."""
    values = {name: m._asdict() for name, m in estimate_limits(sample, cost).items()}
    rng = np.random.default_rng(0)
    draws: list[dict[str, dict[str, float]]] = []
    for _ in range(n):
        index = rng.integers(len(sample.score), size=len(sample.score))
        limits = estimate_limits(sample.take(index), cost)
        draws.append({name: m._asdict() for name, m in limits.items()})
    return {
        name: {
            **merit,
            **{
                f"{key}_error": float(np.std([d[name][key] for d in draws], ddof=1))
                for key in merit
            },
        }
        for name, merit in values.items()
    }


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True)
@click.option("--model", "models", multiple=True, help="Repeatable.  [the shipped one]")
@click.option("--skim", default="feiHadronicB0", show_default=True)
@click.option("--repeats", type=click.IntRange(4), default=20, show_default=True)
@click.option(
    "--share",
    type=click.FloatRange(0.0, 1.0, min_open=True),
    default=0.2,
    show_default=True,
    help="Of the failing events that are simulated again.",
)
@click.option(
    "--t-s", "cost", default=100.0, show_default=True, help="In units of t_g."
)
@click.option("--bootstrap", "n_draws", type=click.IntRange(2), default=50)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def command(
    files: tuple[str, ...],
    models: tuple[str, ...],
    skim: str,
    repeats: int,
    share: float,
    cost: float,
    n_draws: int,
    output: Path,
) -> None:
    """Simulate again, estimate the limit, print it beside what networks reach."""
    folder = output / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    scorers = [Scorer(m) for m in models or (str(default_model_path()),)]
    with show_progress("simulate again", open_events(files).n_events) as advance:
        sample, scores = collect(
            files,
            scorers,
            folder,
            skim=skim,
            share=share,
            repeats=repeats,
            advance=advance,
        )
    document: dict[str, Any] = {
        "skim": skim,
        "repeats": repeats,
        "t_s": cost,
        "n_events": float(sample.weight.sum()),
        "n_passing": int(sample.passes.sum()),
        "passes_again": float(sample.counts[sample.passes].mean()),
        "models": {},
    }
    for k, scorer in enumerate(scorers):
        limits = bootstrap(sample._replace(score=scores[:, k]), cost, n_draws)
        document["models"][Path(scorer.path).name] = limits
    for name, limits in document["models"].items():
        rows = [
            (
                estimate,
                f"{m['auc']:.4f} ± {m['auc_error']:.4f}",
                f"{m['speedup']:.2f} ± {m['speedup_error']:.2f}",
            )
            for estimate, m in limits.items()
        ]
        title = f"{skim}, {repeats} repeats, bins in the score of {name}"
        Console().print(make_table(title, ("", "AUC", "speedup (A)"), rows))
    path = output / "oracle.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command()
