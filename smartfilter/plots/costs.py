"""The figure of where the time goes: costs by stage, without and with the filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.plots.measurement import STAGES, describe_measurement
from smartfilter.plots.style import require_keys, use_style

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["draw_costs"]

_LEAST_SHARE = 0.12
"""Share of a bar from which on it has room for its number."""


def draw_costs(document: Mapping[str, Any]) -> Figure:
    """Draw the time per passing event by stage, without and with the filter.

    On the left in milliseconds, on the right as shares of each bar.

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

        figure = Figure(figsize=(13.3, 5.4), layout="constrained")
        times, shares = figure.subplots(ncols=2, sharey=True, width_ratios=(1.5, 1.0))
        with require_keys("measurement", "smartfilter measure"):
            _draw_bars(times, shares, document)
            figure.suptitle(
                describe_measurement(document), x=0.01, ha="left", fontsize="medium"
            )
    return figure


def _draw_bars(times: Axes, shares: Axes, document: Mapping[str, Any]) -> None:
    clock, stages = document["clock"], document["stages"]
    cost = np.array(
        [
            [
                1e3 * stages[name][f"{clock}_{which}_per_passing"]
                for which in ("without", "with")
            ]
            for name, *_ in STAGES
        ]
    )
    total = np.maximum(cost.sum(axis=0), 1e-12)
    place = np.array([1.0, 0.0])
    _stack_bars(times, place, cost)
    _stack_bars(shares, place, 100.0 * cost / total)
    for y, value in zip(place, total, strict=True):
        times.text(
            value, y, f"  {_show_time(value)} ms", va="center", fontweight="bold"
        )
    for column, y in enumerate(place):
        _label_bars(shares, 100.0 * cost[:, column] / total[column], y)
    gain = total[0] / total[1]
    times.set(
        xlabel=f"{clock.upper()} time per passing event (ms)",
        xlim=(0.0, 1.25 * float(total.max())),
        ylim=(-0.6, 1.6),
    )
    times.set_yticks(place, ["without\nfilter", f"with filter\nspeedup {gain:.2f}"])
    shares.set_title(_name_point(document), fontsize="medium", loc="right")
    shares.set(xlabel="share of the time (%)", xlim=(0.0, 100.0))
    for axes in (times, shares):
        axes.tick_params(axis="y", which="both", left=False, right=False)
    handles, names = times.get_legend_handles_labels()
    times.figure.legend(handles, names, loc="outside lower center", ncols=len(names))


def _show_time(value: float) -> str:
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


def _name_point(document: Mapping[str, Any]) -> str:
    way = "in blocks" if document["filter_in_blocks"] else "event by event"
    threshold = document["threshold"]
    mode = document["mode"] if threshold is None else f"threshold {threshold:.3g}"
    return f"{mode}, filter {way}"


def _stack_bars(
    axes: Axes, place: NDArray[np.float64], cost: NDArray[np.float64]
) -> None:
    start = np.zeros(len(place))
    for (_, label, color, hatch), width in zip(STAGES, cost, strict=True):
        axes.barh(
            place,
            width,
            0.6,
            left=start,
            color=color,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.8,
            label=label,
        )
        start = start + width


def _label_bars(axes: Axes, shares: NDArray[np.float64], y: float) -> None:
    """Write the share into each part of a bar that has room for it."""
    start = 0.0
    for value in shares:
        if value >= 100.0 * _LEAST_SHARE:
            axes.text(
                start + 0.5 * value,
                y,
                f"{value:.0f} %",
                ha="center",
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 2.0},
            )
        start += value
