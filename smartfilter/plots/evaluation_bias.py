"""Figures of what a filter does to the events that pass: weights and variables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.plots.style import COLOURS, GREY
from smartfilter.plots.variables import label_variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_bias", "draw_divergence", "draw_weights"]

_SAMPLES = {
    "threshold": ("threshold", COLOURS["blue"], "-", "o"),
    "sampling": ("sampling, weighted", COLOURS["orange"], (0, (5, 2)), "s"),
    "reweighted": ("threshold, density ratio", COLOURS["red"], (0, (1, 1.2)), "^"),
}
"""Label, colour, dashes and marker of each sample."""

_COLUMNS = 3
_LEAST_DIVERGENCE = 2e-5


def _describe(document: Mapping[str, Any]) -> str:
    skim = document["curves"]["skim"]
    model = document["models"][0]
    metrics = model["skims"][skim]
    return (
        f"{Path(model['path']).name}, {skim}, {metrics['event_type']}, "
        f"{metrics['n_passing']:,} passing events"
    )


def draw_weights(document: Mapping[str, Any]) -> Figure:
    """Draw the weights of kept events of the first model, and the effective number."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.4, 6.4), layout="constrained")
    axes = figure.subplots()
    weights = document["curves"]["models"][0]["weights"]
    metrics = document["models"][0]["skims"][document["curves"]["skim"]]
    edges = np.array(weights["edges"])
    passing, failing = np.array(weights["passing"]), np.array(weights["failing"])
    total = passing + failing
    axes.stairs(
        total,
        edges,
        fill=True,
        facecolor="0.85",
        edgecolor=GREY,
        hatch="////",
        label=f"kept events: {100 * failing.sum():.1f} % of them fail",
    )
    axes.stairs(
        passing,
        edges,
        color=COLOURS["blue"],
        linewidth=2.5,
        label=f"passing: $n_{{eff}}$ / kept = {weights['n_eff_share']:.2f}",
    )
    filled = np.concatenate([passing[passing > 0], total[total > 0]])
    lowest = 0.5 * filled.min() if len(filled) else 1e-6
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="weight $1/p$",
        ylabel="share of the kept events",
        xlim=(edges[0], edges[-1]),
        ylim=(lowest, 30.0 * max(float(total.max()), lowest)),
    )
    axes.legend(
        loc="upper right",
        title=f"$c$ = {metrics['sampling_constant']:.2f}, "
        f"$n_{{eff}}$ / generated passing = {metrics['sampling_n_eff_share']:.2f}, "
        f"(C) = {metrics['sampling_speedup']:.2f}",
    )
    figure.suptitle(_describe(document), x=0.01, ha="left", fontsize="medium")
    return figure


def draw_bias(document: Mapping[str, Any]) -> Figure:
    """Draw variables of passing events, filtered and not, of the first model."""
    from matplotlib.figure import Figure

    histograms = document["curves"]["models"][0]["histograms"]
    rows = -(-len(histograms) // _COLUMNS)
    figure = Figure(figsize=(5.6 * _COLUMNS, 0.7 + 5.2 * rows), layout="constrained")
    grid = figure.add_gridspec(
        2 * rows, _COLUMNS, height_ratios=[2.4, 1.0] * rows, hspace=0.0
    )
    handles: dict[str, Any] = {}
    for k, (name, histogram) in enumerate(histograms.items()):
        row, column = divmod(k, _COLUMNS)
        axes = figure.add_subplot(grid[2 * row, column])
        ratio = figure.add_subplot(grid[2 * row + 1, column], sharex=axes)
        _draw_variable(axes, ratio, histogram)
        axes.tick_params(labelbottom=False)
        ratio.set_xlabel(label_variable(name))
        if column == 0:
            axes.set_ylabel("share of events")
            ratio.set_ylabel("ratio")
        handles |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles)
    )
    figure.suptitle(_describe(document), x=0.01, ha="left", fontsize="medium")
    return figure


def _draw_variable(axes: Axes, ratio: Axes, histogram: Mapping[str, Any]) -> None:
    edges = np.array(histogram["edges"])
    centres, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    axes.stairs(
        histogram["all"]["share"],
        edges,
        fill=True,
        color="0.85",
        label="no filter",
    )
    highest = max(histogram["all"]["share"])
    samples = histogram["samples"]
    for k, (name, sample) in enumerate(samples.items()):
        label, color, dashes, marker = _SAMPLES[name]
        axes.stairs(
            sample["share"],
            edges,
            color=color,
            linestyle=dashes,
            linewidth=1.8,
            label=label,
        )
        highest = max(highest, *sample["share"])
        shift = (k - 0.5 * (len(samples) - 1)) * 0.25
        ratio.errorbar(
            centres + shift * width,
            np.array(sample["ratio"], dtype=np.float64),
            np.array(sample["ratio_error"], dtype=np.float64),
            fmt=marker,
            color=color,
            markersize=4,
            linewidth=1.0,
            capsize=0,
        )
    axes.set(ylim=(0.0, 1.15 * highest), xlim=(edges[0], edges[-1]))
    ratio.axhline(1.0, color="black", linewidth=1.0, zorder=1)
    ratio.set_ylim(0.0, 2.4)


def draw_divergence(document: Mapping[str, Any]) -> Figure:
    """Draw the divergence of each variable beside that of random parts."""
    from matplotlib.figure import Figure

    bias = document["models"][0]["bias"][document["curves"]["skim"]]
    samples = bias["samples"]
    first = next(iter(samples.values()))["variables"]
    names = sorted(first, key=lambda name: first[name]["divergence"])
    figure = Figure(figsize=(10.5, 2.6 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(names), dtype=np.float64)
    for k, (name, sample) in enumerate(samples.items()):
        label, color, _, marker = _SAMPLES[name]
        rows = [sample["variables"][variable] for variable in names]
        y = place + 0.26 * (0.5 * (len(samples) - 1) - k)
        columns = ("random_mean", "random_95", "divergence")
        mean, high, value = (
            np.maximum([row[c] for row in rows], _LEAST_DIVERGENCE) for c in columns
        )
        axes.hlines(y, mean, high, color=color, linewidth=5.0, alpha=0.35)
        axes.plot(
            value,
            y,
            linestyle="none",
            marker=marker,
            markersize=6,
            color=color,
            markeredgecolor="black",
            markeredgewidth=0.6,
            label=f"{label}: $n_{{eff}}$ = {sample['n_eff']:,.0f}",
        )
    for y in place[:-1]:
        axes.axhline(y + 0.5, color="0.9", linewidth=0.8, zorder=0)
    axes.axvline(
        bias["criterion"],
        color="black",
        linestyle=(0, (2, 2)),
        linewidth=1.2,
        label=f"criterion {bias['criterion']}",
    )
    axes.set(
        xscale="log",
        xlabel="KL divergence from no filter (bars: random parts, mean to 95 %)",
        ylim=(-0.7, len(names) - 0.3),
    )
    axes.set_yticks(place, [label_variable(name) for name in names])
    axes.tick_params(axis="y", which="both", length=0, labelsize="small")
    figure.legend(loc="outside lower center", ncols=2)
    figure.suptitle(_describe(document), x=0.01, ha="left", fontsize="medium")
    return figure
