"""The figure of the comparison: AUC against cost of a network, and against training time.

python benchmarks/network_figure.py benchmarks/results/networks.json \
      -o docs/figures/networks.png
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from network_table import MAKERS, oracle_option
from result_files import expect_result, load_result

from smartfilter.cli import run
from smartfilter.plots.style import COLOURS, GREY, use_style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["command", "draw", "find_curve", "find_frontier", "find_spaced"]

FAMILIES = {
    "lab_report/": ("lab report", "blue", "o"),
    "pd4ml/": ("pd4ml, reference GCN", "orange", "s"),
    "gatgap": ("GATGAP", "purple", "D"),
    "": ("smartfilter", "red", "*"),
}
"""How a name begins -> what its points are called, and how they are drawn."""

N_CURVES = 8
"""Networks whose training is drawn: the best ones."""

ROOM = (0.35, 0.009)
"""What a name needs on the left: decades of cost, and AUC."""


def draw(document: Mapping[str, Any], limit: Mapping[str, Any]) -> Figure:
    """Return the figure.

    Parameters
    ----------
    document : mapping
        ``comparison.json`` of ``network_comparison.py``.
    limit : mapping
        ``results/oracle.json`` of ``oracle.py``.
    """
    entries = document["networks"]
    estimate = next(iter(limit["models"].values()))["extrapolated"]
    with use_style():
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, 2, figsize=(17, 7), layout="constrained")
        _draw_costs(axes[0], entries)
        _draw_training(axes[1], entries[:N_CURVES])
        for axis in axes:
            axis.axhline(estimate["auc"], color=GREY, linestyle=":")
            axis.text(
                0.02,
                estimate["auc"] + 0.002,
                "limit of any network",
                color=GREY,
                fontsize=12,
                transform=axis.get_yaxis_transform(),
            )
    return figure


def find_frontier(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the networks that none is at once better and cheaper than, cheapest first."""
    frontier: list[str] = []
    best = -1.0
    by_cost = sorted(entries, key=lambda e: (-e["events_per_second"], -e["auc"]))
    for entry in by_cost:
        if entry["auc"] > best:
            best = entry["auc"]
            frontier.append(entry["name"])
    return frontier


def find_spaced(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the networks whose names have room, the best of those side by side."""
    spaced: list[Mapping[str, Any]] = []
    for entry in sorted(entries, key=lambda e: -e["auc"]):
        if not any(
            abs(math.log10(other["events_per_second"] / entry["events_per_second"]))
            < ROOM[0]
            and abs(other["auc"] - entry["auc"]) < ROOM[1]
            for other in spaced
        ):
            spaced.append(entry)
    return spaced


def find_curve(entry: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Return minutes of processor time and the best validation AUC up to then."""
    minutes: list[float] = []
    best: list[float] = []
    for epoch in entry["runs"][0]["history"]:
        minutes.append(epoch["seconds"] / 60.0)
        best.append(max(epoch["validation_auc"], best[-1] if best else 0.0))
    return minutes, best


def _find_family(name: str) -> tuple[str, str, str]:
    return next(family for begin, family in FAMILIES.items() if name.startswith(begin))


def _draw_costs(axis: Axes, entries: Sequence[Mapping[str, Any]]) -> None:
    frontier = find_frontier(entries)
    by_name = {entry["name"]: entry for entry in entries}
    axis.plot(
        [1e6 / by_name[name]["events_per_second"] for name in frontier],
        [by_name[name]["auc"] for name in frontier],
        color=GREY,
        linewidth=1.2,
        zorder=1,
    )
    labelled: set[str] = set()
    for entry in entries:
        label, colour, marker = _find_family(entry["name"])
        axis.errorbar(
            1e6 / entry["events_per_second"],
            entry["auc"],
            yerr=entry["auc_error"],
            color=COLOURS[colour],
            marker=marker,
            markersize=15 if marker == "*" else 8,
            linestyle="none",
            label=None if label in labelled else label,
        )
        labelled.add(label)
    for entry in find_spaced(entries):
        axis.annotate(
            entry["name"].rpartition("/")[2],
            (1e6 / entry["events_per_second"], entry["auc"]),
            xytext=(9, -14),
            textcoords="offset points",
            fontsize=11,
        )
    axis.set_xscale("log")
    axis.set_xlim(right=3.5 * axis.get_xlim()[1])
    axis.set_xlabel("network, µs per event of one core")
    axis.set_ylabel("AUC, test events")
    axis.legend(loc="lower right")


def _draw_training(axis: Axes, entries: Sequence[Mapping[str, Any]]) -> None:
    colours = list(COLOURS.values())
    for number, entry in enumerate(entries):
        axis.plot(
            *find_curve(entry),
            color=colours[number % len(colours)],
            linestyle="-" if number < len(colours) else "--",
            label=entry["name"].rpartition("/")[2],
        )
    axis.set_xlim(left=0.0)
    axis.set_xlabel("training, minutes of one core")
    axis.set_ylabel("best AUC so far, validation events")
    axis.legend(loc="lower right", ncols=2)


@click.command()
@click.argument("comparison", type=click.Path(exists=True, path_type=Path))
@oracle_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="OUT.png"
)
def command(comparison: Path, oracle: Path, output: Path) -> None:
    """Draw a comparison of networks."""
    with expect_result(MAKERS, comparison, oracle):
        figure = draw(load_result(comparison), load_result(oracle))
    figure.savefig(output, dpi=80)
    click.echo(f"drawn: {output}")


if __name__ == "__main__":
    run(command)
