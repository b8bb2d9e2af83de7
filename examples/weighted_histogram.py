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

import hist
import mplhep
import numpy as np
from hist import Hist
from matplotlib.figure import Figure

from smartfilter import Scorer
from smartfilter.decision import DecisionSettings, decide
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.simulation import label
from smartfilter.plots.style import use_style
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


def fill(values: Any, weights: NDArray[np.float64]) -> Hist[Any]:
    """Return a histogram that keeps sums of weights and of their squares."""
    axis = hist.axis.Variable(EDGES, label="number of tracks")
    histogram = Hist(axis, storage=hist.storage.Weight())
    histogram.fill(values, weight=weights)
    return histogram


def read(histogram: Hist[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of weights per bin and their standard deviations."""
    bins: Any = histogram.view()
    return bins.value, np.sqrt(bins.variance)


def plot(histograms: dict[str, Hist[Any]], file: Path) -> None:
    """Draw the histograms into a PNG file; shapes tell them apart in grey."""
    looks: list[dict[str, Any]] = [
        {"histtype": "fill", "color": "0.85", "edgecolor": "0.4"},
        {"histtype": "step", "color": "#e42536", "linestyle": "--", "yerr": True},
        {"histtype": "errorbar", "color": "black", "marker": "o", "xerr": True},
    ]
    with use_style():
        figure = Figure(figsize=(7.6, 5.6), layout="constrained")
        axes = figure.subplots()
        for (name, histogram), look in zip(histograms.items(), looks, strict=True):
            mplhep.histplot(histogram, ax=axes, label=name, w2method="sqrt", **look)
        tops = [total + error for total, error in map(read, histograms.values())]
        axes.set(
            xlabel="number of tracks",
            ylabel=f"events that pass {SKIM}",
            xlim=(EDGES[0], EDGES[-1]),
            ylim=(0.0, 1.35 * np.max(tops)),
        )
        axes.legend(loc="upper left")
        figure.savefig(file, dpi=150)


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
    for name, histogram in histograms.items():
        total, error = read(histogram)
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
