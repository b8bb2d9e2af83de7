"""Analyse a filtered sample: histograms with weights, next to the unfiltered ones.

Takes three samples of the same events: all of them, those that a threshold keeps, and
those that sampling keeps, with the weights that the filter stores; and compares the number
of tracks where the skim is passed. A threshold loses events, some kinds more than others;
sampled events, each counted with its weight, give the unfiltered histogram on average.
Writes ``weighted_histogram.png``.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from smartfilter import Scorer
from smartfilter.decision import DecisionSettings, decide
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.simulation import label
from smartfilter.speedup import effective_sample_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.events import Events

SKIM = "feiHadronicB0"
VARIABLE = "n_tracks"
EDGES = np.array([0, 6, 8, 10, 12, 14, 20])


def make_sample(n_events: int) -> Events:
    """Return simulated events with the skim's decision and event-level variables."""
    return label(Generator("mixed", seed=11).generate(n_events))


def draw_weights(scorer: Scorer, events: Events, mode: str) -> NDArray[np.float64]:
    """Return each event's weight, 0 where the filter drops it."""
    scores = scorer.score(events)
    settings = DecisionSettings.from_model(
        scorer.info, skims=[SKIM], mode=mode, seed=1, event_type="mixed"
    )
    decision = decide(
        events,
        logits=scores.logits,
        scores=scores.scores,
        scorable=scores.scorable,
        settings=settings,
    )
    return decision.weight[:, 0]


def fill(values: Any, weights: NDArray[np.float64]) -> tuple[Any, Any]:
    """Return the sums of weights per bin and their standard deviations."""
    total = np.histogram(values, EDGES, weights=weights)[0]
    squares = np.histogram(values, EDGES, weights=weights**2)[0]
    return total, np.sqrt(squares)


def plot(histograms: dict[str, tuple[Any, Any]], file: Path) -> None:
    """Draw the histograms into a PNG file."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    center, half = (EDGES[1:] + EDGES[:-1]) / 2, np.diff(EDGES) / 2
    for shift, (name, (total, error)) in enumerate(histograms.items()):
        axes.errorbar(
            center + 0.2 * (shift - 1), total, error, half, fmt=".", label=name
        )
    axes.set(xlabel="tracks", ylabel=f"generated events that pass {SKIM}")
    axes.legend()
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main(n_events: int = 1000) -> None:
    """Print the table and draw the figure."""
    events = make_sample(n_events)
    scorer = Scorer()
    passes = events.labels[SKIM]
    values = events.variables[VARIABLE][passes]
    weights = {
        "unfiltered": np.ones(n_events),
        "threshold": draw_weights(scorer, events, "threshold"),
        "sampled, weighted": draw_weights(scorer, events, "sample"),
    }
    histograms = {
        name: fill(values, weight[passes]) for name, weight in weights.items()
    }
    bins = [f"{low}-{high - 1}" for low, high in pairwise(EDGES)]
    print(f"{n_events} generated events, passing {SKIM}, by number of tracks")
    print(f"{'':18}" + "".join(f"{name:>14}" for name in [*bins, "all"]))
    for name, (total, error) in histograms.items():
        cells = [f"{t:.1f}+-{e:.1f}" for t, e in zip(total, error, strict=True)]
        cells.append(f"{total.sum():.1f}+-{np.sqrt((error**2).sum()):.1f}")
        print(f"{name:18}" + "".join(f"{cell:>14}" for cell in cells))
    for name, weight in weights.items():
        kept = weight > 0
        size = effective_sample_size(weight[kept & passes])
        print(f"{name}: {kept.sum()} simulated, effective size {size:.1f}")
    file = Path("weighted_histogram.png")
    plot(histograms, file)
    print(f"drawn: {file}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
