"""The figure of `convergence.py`: readable in grey, units on every axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

__all__ = ["draw"]

_STYLES = (
    {"color": "black", "marker": "o", "linestyle": "-"},
    {"color": "0.35", "marker": "s", "linestyle": "--"},
    {"color": "0.6", "marker": "^", "linestyle": "-."},
    {"color": "0.2", "marker": "D", "linestyle": ":"},
    {"color": "0.5", "marker": "v", "linestyle": "-"},
)
_SKIMS = ("feiHadronicB0", "feiHadronicBplus", "InclusiveLambda", "DstToD0Pi_D0ToHpJm")


def draw(document: dict[str, Any], path: Path) -> None:
    """Write the figure of a result to ``path`` with the suffixes .png and .pdf."""
    figure, axes = plt.subplots(2, 2, figsize=(10.0, 7.2), layout="constrained")
    (first, second), (third, fourth) = axes
    if "convergence" in document:
        part = document["convergence"]
        steps, studies = part["steps"], list(part["studies"].values())
        _draw_deviations(first, steps, studies)
        _draw_ratios(second, steps, studies[4], "ratio to the closed form")
        _draw_ratios(
            third, steps, studies[5][::2], "mean cluster energy, ratio to mean"
        )
    if "retention" in document:
        _draw_retention(fourth, document["retention"])
    for axis in axes.flat:
        axis.set_xscale("log")
        axis.set_xlabel("longest step (cm)")
        axis.axvline(1.0, color="0.85", zorder=0)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, frameon=False)
    for suffix in (".png", ".pdf"):
        temporary = path.with_name(f"{path.name}.part{suffix}")
        figure.savefig(temporary, dpi=90)
        temporary.replace(path.with_suffix(suffix))
    plt.close(figure)


def _draw_deviations(axis: Axes, steps: list[float], studies: list[Any]) -> None:
    """Draw what is deterministic, with its order of convergence."""
    curves = (
        (studies[0][0], "end of the helix (cm)"),
        (studies[2][0], "entry point with energy loss (cm)"),
        (studies[2][2], "momentum with energy loss (GeV)"),
        (studies[3][3], "energy loss of a proton in CsI (relative)"),
    )
    for (row, name), style in zip(curves, _STYLES, strict=False):
        pairs = [(h, v) for h, v in zip(steps, row["values"], strict=True) if v > 1e-12]
        order = "" if row["order"] is None else f", order {row['order']:.1f}"
        if pairs:
            axis.plot(*zip(*pairs, strict=True), label=name + order, ms=4, **style)
    axis.set_yscale("log")
    axis.set_ylim(top=10.0)
    axis.set_ylabel("rms deviation")


def _draw_ratios(
    axis: Axes, steps: list[float], rows: list[dict[str, Any]], label: str
) -> None:
    """Draw random quantities over their closed form or their mean over the steps."""
    for k, (row, style) in enumerate(zip(rows, _STYLES, strict=False)):
        centre = row["expected"] or row["mean"]
        axis.errorbar(
            [h * 1.03**k for h in steps],
            [v / centre for v in row["values"]],
            [e / centre for e in row["errors"]],
            label=row["name"],
            ms=4,
            capsize=2,
            lw=0.8,
            **(style | {"linestyle": "none"}),
        )
    axis.axhline(1.0, color="0.8", zorder=0)
    axis.set_ylabel(label)


def _draw_retention(axis: Axes, part: dict[str, Any]) -> None:
    """Draw retention less that of the reference, on the same events."""
    for k, (name, style) in enumerate(zip(_SKIMS, _STYLES, strict=False)):
        points = [p for p in part["skims"][name]["points"] if "difference" in p]
        axis.errorbar(
            [p["step"] * 1.06**k for p in points],
            [100.0 * p["difference"] for p in points],
            [100.0 * (p["difference_error"] or 0.0) for p in points],
            label=name,
            ms=4,
            capsize=2,
            **(style | {"linestyle": "none"}),
        )
    axis.axhline(0.0, color="0.8", zorder=0)
    axis.set_ylabel(f"retention less that at {part['reference']:g} cm (%)")
