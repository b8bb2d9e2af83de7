"""The figure of a measurement: predicted curves, measured points, costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.plots.style import COLOURS, GREY, require_keys, use_style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["STAGES", "describe_measurement", "draw_measurement"]

_BELOW_CURVES: dict[str, Any] = {"bbox_to_anchor": (0.0, 0.12)}

_FORMULAS = (
    (
        "substituted_formula",
        "(B'), published derivation",
        COLOURS["red"],
        (0, (5, 1.5, 1, 1.5)),
    ),
    (
        "predicted_speedup",
        "(A), equal cost of all events",
        COLOURS["orange"],
        (0, (5, 2)),
    ),
    ("predicted_with_costs", "(A2), kept events busier", COLOURS["blue"], "-"),
    ("printed_formula", "(B), as published", COLOURS["purple"], (0, (1, 1.2))),
)
"""Key, label, colour and dashes; the dashes tell them apart in grey."""

STAGES = (
    ("generation", "generation", COLOURS["light grey"], "\\\\\\\\"),
    ("filter", "filter", COLOURS["red"], "////"),
    ("detector", "detector simulation", COLOURS["blue"], ""),
    ("reconstruction", "reconstruction", COLOURS["orange"], "...."),
    ("skim", "skim", COLOURS["violet"], "xxxx"),
)
"""Key, label, colour and hatching of each stage, in the order of the chain."""


def draw_measurement(document: Mapping[str, Any]) -> Figure:
    """Draw predicted and measured speedups, their ratio, and where the time goes.

    Parameters
    ----------
    document : mapping
        The JSON document of ``smartfilter measure``.

    Raises
    ------
    InputError
        If the document lacks a key.
    MissingPackageError
        If matplotlib or mplhep is not installed.
    """
    with use_style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(15.0, 7.6), layout="constrained")
        grid = figure.add_gridspec(
            2, 3, height_ratios=(2.8, 1.0), width_ratios=(3.6, 1.0, 1.8)
        )
        curves = figure.add_subplot(grid[0, 0])
        sampling = figure.add_subplot(grid[0, 1], sharey=curves)
        ratio = figure.add_subplot(grid[1, 0], sharex=curves)
        sampling_ratio = figure.add_subplot(grid[1, 1], sharex=sampling, sharey=ratio)
        costs = figure.add_subplot(grid[:, 2])
        with require_keys("measurement", "smartfilter measure"):
            _draw_thresholds(curves, ratio, document)
            _draw_sampling(sampling, sampling_ratio, document)
            _draw_costs(costs, document)
            figure.suptitle(
                describe_measurement(document), x=0.01, ha="left", fontsize="medium"
            )
        for axes in (curves, sampling):
            axes.tick_params(labelbottom=False)
        for axes in (sampling, sampling_ratio):
            axes.tick_params(labelleft=False)
    return figure


def describe_measurement(document: Mapping[str, Any]) -> str:
    """Return what was measured, in a line."""
    detector = {"mock": "mock detector", "geant4": "Geant4, simplified geometry"}
    cost = 1e3 * document["t_s"]
    return (
        f"{document['event_type']}, {document['skim']}   |   "
        f"{detector[document['detector']]}: $t_s$ = {cost:.3g} ms, "
        f"$t_s/t_g$ = {document['t_s'] / document['t_g']:.0f}   |   "
        f"$r$ = {100 * document['retention_rate']:.1f} %   |   "
        f"2 × {document['n_events']:,} events, {document['clock'].upper()} time"
    )


def _way(row: Mapping[str, Any]) -> str:
    return "in blocks" if row["filter_in_blocks"] else "event by event"


def _draw_thresholds(axes: Axes, ratio: Axes, document: Mapping[str, Any]) -> None:
    """Draw the curves of the formulas and the points with a threshold."""
    points = [p for p in document["points"] if p["threshold"] is not None]
    for curve in document["curves"][:1]:
        _draw_curves(axes, curve)
    for curve in document["curves"][1:]:
        _draw_band(axes, curve, GREY, f"(A2), filter {_way(curve)}")
    for way in _list_ways(points):
        own = [p for p in points if p["filter_in_blocks"] == way]
        _draw_points(axes, own, "measured_speedup", "threshold", label=True)
        _draw_points(ratio, own, "comparison", _place_threshold)
    highest = max(p["measured_speedup"] or 1.0 for p in document["points"])
    axes.set(xscale="log", yscale="log", ylabel="speedup", ylim=(0.07, 16.0 * highest))
    axes.yaxis.set_major_formatter("{x:g}")
    handles, labels = axes.get_legend_handles_labels()
    n_formulas = len(_FORMULAS) if document["curves"] else 0
    axes.add_artist(
        axes.legend(handles[:n_formulas], labels[:n_formulas], loc="upper left")
    )
    axes.legend(
        handles[n_formulas:], labels[n_formulas:], loc="lower left", **_BELOW_CURVES
    )
    _frame_ratio(ratio, document)
    ratio.set(xlabel="threshold on the score", ylabel="measured / (A2)")
    _label_thresholds(ratio)


def _place_threshold(point: Mapping[str, Any]) -> float:
    """Return where a point stands, so that those of both ways can be told apart."""
    return float(point["threshold"]) * (1.0 if point["filter_in_blocks"] else 1.03)


def _label_thresholds(axes: Axes) -> None:
    """Label 1, 2, 3 and 5 of each decade, without exponents."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_curves(axes: Axes, curve: Mapping[str, Any]) -> None:
    """Draw all formulas over the threshold."""
    for name, label, color, dashes in _FORMULAS:
        if name == "predicted_with_costs":
            _draw_band(axes, curve, color, label)
        else:
            axes.plot(
                curve["threshold"],
                _read(curve, name),
                label=label,
                color=color,
                linestyle=dashes,
            )


def _draw_band(axes: Axes, curve: Mapping[str, Any], color: str, label: str) -> None:
    """Draw (A2) with its standard error."""
    name, x = "predicted_with_costs", curve["threshold"]
    value, error = _read(curve, name), _read(curve, f"{name}_error")
    axes.plot(x, value, color=color, label=label)
    axes.fill_between(x, value - error, value + error, color=color, alpha=0.25, lw=0)


def _read(curve: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    """Return a column of a curve; NaN, which is not drawn, where it has None."""
    return np.array(curve[name], dtype=np.float64)


def _list_ways(points: Sequence[Mapping[str, Any]]) -> list[bool]:
    return list(dict.fromkeys(bool(p["filter_in_blocks"]) for p in points))


def _draw_points(
    axes: Axes,
    points: Sequence[Mapping[str, Any]],
    name: str,
    x: str | Callable[[Mapping[str, Any]], float],
    *,
    label: bool = False,
) -> None:
    """Draw points with errors: full where run, open where replayed."""
    for replayed in (False, True):
        some = [p for p in points if p["replayed"] == replayed and p[name] is not None]
        if not some:
            continue
        blocks = some[0]["filter_in_blocks"]
        kind = "replayed" if replayed else "run"
        axes.errorbar(
            [p[x] if isinstance(x, str) else x(p) for p in some],
            [p[name] for p in some],
            [p[f"{name}_error"] or 0.0 for p in some],
            fmt="o" if blocks else "s",
            color="black" if blocks else GREY,
            markerfacecolor="white" if replayed else None,
            markersize=8,
            linewidth=1.5,
            zorder=5,
            label=f"measured, {kind}, filter {_way(some[0])}" if label else None,
        )


def _frame_ratio(axes: Axes, document: Mapping[str, Any]) -> None:
    """Draw what is expected, and show at least +-16 % and every point."""
    ratios = [
        p["comparison"] for p in document["points"] if p["comparison"] is not None
    ]
    reach = max([0.16, *(1.15 * abs(ratio - 1.0) for ratio in ratios)])
    axes.axhspan(0.95, 1.05, color="0.88", zorder=0)
    axes.axhline(1.0, color="black", linewidth=1.0, zorder=1)
    axes.set_ylim(1.0 - reach, 1.0 + reach)


def _draw_sampling(axes: Axes, ratio: Axes, document: Mapping[str, Any]) -> None:
    """Draw the points of importance sampling."""
    points = [p for p in document["points"] if p["threshold"] is None]
    place = {id(p): float(i) for i, p in enumerate(points)}

    def find(point: Mapping[str, Any]) -> float:
        return place[id(point)]

    for point in points:
        x = find(point)
        value, error = (
            point["predicted_with_costs"],
            point["predicted_with_costs_error"],
        )
        color = COLOURS["blue"] if point["filter_in_blocks"] else GREY
        axes.plot([x - 0.35, x + 0.35], [value, value], color=color)
        axes.fill_between(
            [x - 0.35, x + 0.35],
            value - error,
            value + error,
            color=color,
            alpha=0.25,
            linewidth=0,
        )
    for way in _list_ways(points):
        own = [p for p in points if p["filter_in_blocks"] == way]
        _draw_points(axes, own, "measured_speedup", find)
        _draw_points(ratio, own, "comparison", find)
    _frame_ratio(ratio, document)
    axes.set_title("sampling, (C)", fontsize="medium")
    constants = [p["sampling_constant"] for p in points]
    ratio.set(
        xlim=(-0.7, max(len(points), 1) - 0.3),
        xlabel="constant $c$",
        xticks=list(place.values()),
        xticklabels=["–" if c is None else f"{c:.1f}" for c in constants],
    )
    ratio.tick_params(axis="x", which="minor", bottom=False, top=False)
    axes.tick_params(axis="x", which="both", bottom=False, top=False)


def _draw_costs(axes: Axes, document: Mapping[str, Any]) -> None:
    """Draw the time per passing event without and with the filter, by stage."""
    clock, stages = document["clock"], document["stages"]
    labels = ("without\nfilter", "with\nfilter")
    start = [0.0, 0.0]
    for name, label, color, hatch in STAGES:
        row = stages[name]
        height = [
            1e3 * row[f"{clock}_{which}_per_passing"] for which in ("without", "with")
        ]
        axes.bar(
            labels,
            height,
            0.6,
            bottom=start,
            color=color,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.8,
            label=label,
        )
        start = [a + b for a, b in zip(start, height, strict=True)]
    for x, total in enumerate(start):
        axes.text(x, total, f"{total:.0f} ms", ha="center", va="bottom")
    axes.set(
        ylabel=f"{clock.upper()} time per passing event (ms)",
        ylim=(0.0, 1.12 * max(*start, 1e-9)),
        xlim=(-0.6, 1.6),
    )
    point = document["threshold"]
    title = f"{document['mode']}" if point is None else f"threshold {point:.3g}"
    gain = start[0] / start[1] if start[1] > 0 else 0.0
    axes.text(1.0, 1.06 * start[1] + 0.04 * start[0], f"1 / {gain:.1f}", ha="center")
    axes.set_title(f"{title}, filter {_way(document)}", fontsize="medium")
    axes.tick_params(axis="x", which="both", bottom=False, top=False)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], loc="upper right")
