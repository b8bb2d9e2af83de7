"""The figure of the flow: what share of the events reaches which stage, and what it costs.

Drawn from a result of ``smartfilter measure``::

    python benchmarks/flow_figure.py benchmarks/results/measure-geant4.json \
      -o docs/figures/flow.png
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import matplotlib as mpl
from result_files import expect_result, load_result

from smartfilter.cli import run

mpl.use("Agg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Flow", "command", "draw", "find_flows"]

BLUE, GREY, WASTE = "#5790fc", "0.55", "0.88"
BOX_WIDTH, GAP, HEIGHT = 1.45, 0.75, 1.5


class Flow(NamedTuple):
    """One way through the chain; shares of the generated events, ms per one of them."""

    title: str
    names: tuple[str, ...]
    shares: tuple[float, ...]
    costs: tuple[float, ...]
    passing: float

    @property
    def cost(self) -> float:
        """Milliseconds per generated event."""
        return sum(self.costs)


def find_flows(result: dict[str, Any]) -> tuple[Flow, Flow]:
    """Return the ways without and with the filter.

    The simulation of kept events costs E[keep t_s], which follows from formula (A2) in
    ``docs/speedup.md``.
    """
    t_g, t_n, t_s = (1e3 * result[name] for name in ("t_g", "t_n", "t_s"))
    rate, tpr = result["retention_rate"], result["tpr"]
    kept_cost = tpr * (t_g + t_s) / result["predicted_with_costs"] - t_g - t_n
    simulation = "detector simulation,\nreconstruction"
    without = Flow(
        "without a filter",
        ("generator", simulation, "skim"),
        (1.0, 1.0, 1.0),
        (t_g, t_s, 0.0),
        rate,
    )
    keep = result["keep_fraction"]
    with_filter = Flow(
        "with smartfilter",
        ("generator", "smartfilter", simulation, "skim"),
        (1.0, 1.0, keep, keep),
        (t_g, t_n, kept_cost, 0.0),
        rate * tpr,
    )
    return without, with_filter


def draw(result: dict[str, Any]) -> Figure:
    """Return the figure."""
    flows = find_flows(result)
    figure, axes = plt.subplots(2, 1, figsize=(11.0, 5.6))
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.08, hspace=0.02)
    for axis, flow in zip(axes, flows, strict=True):
        _draw_flow(axis, flow)
    detector = {"geant4": "Geant4", "mock": "mock detector"}[result["detector"]]
    figure.text(
        0.018,
        0.02,
        f"Heights: share of generated events; times per generated event on one core. "
        f"{result['n_events']:,} {result['event_type']} events, {detector},\n"
        f"skim {result['skim']}, score >= {result['threshold']:g}; measured speedup "
        f"{result['measured_speedup']:.2f} ± {result['measured_speedup_error']:.2f}",
        fontsize=9.5,
        color="0.3",
    )
    return figure


def _draw_flow(axis: Axes, flow: Flow) -> None:
    axis.set_axis_off()
    axis.set_xlim(-0.1, 4 * (BOX_WIDTH + GAP) + 1.15)
    axis.set_ylim(-0.45, HEIGHT + 1.0)
    axis.text(0.0, HEIGHT + 0.68, flow.title, fontsize=14, weight="bold")
    step = 4 * (BOX_WIDTH + GAP) / len(flow.names)
    shares = (*flow.shares, flow.passing)
    for k, (name, cost) in enumerate(zip(flow.names, flow.costs, strict=True)):
        left = k * step
        colour = BLUE if name == "smartfilter" else GREY
        _draw_band(axis, left, left + BOX_WIDTH, shares[k], colour)
        next_left = (k + 1) * step
        _draw_band(axis, left + BOX_WIDTH, next_left, shares[k + 1], WASTE)
        middle = left + BOX_WIDTH / 2
        axis.text(middle, HEIGHT + 0.08, name, ha="center", va="bottom", fontsize=11)
        price = f"{cost:.2g} ms" if cost else "included"
        axis.text(middle, -0.08, price, ha="center", va="top", fontsize=11)
        gap = (left + BOX_WIDTH + next_left) / 2
        label = f"{100 * shares[k + 1]:.3g} %"
        axis.text(gap, shares[k + 1] * HEIGHT + 0.05, label, ha="center", fontsize=11)
    end = len(flow.names) * step + 0.08
    axis.text(
        end,
        0.0,
        f"pass the skim\n{flow.cost / flow.passing:,.0f} ms each",
        fontsize=11,
        va="bottom",
    )


def _draw_band(
    axis: Axes, left: float, right: float, share: float, colour: str
) -> None:
    axis.fill_between([left, right], 0.0, share * HEIGHT, color=colour, linewidth=0)


@click.command()
@click.argument("result", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="OUT.png"
)
def command(result: Path, output: Path) -> None:
    """Draw the figure of the flow from RESULT, measure.json."""
    document = load_result(result)
    with expect_result("smartfilter measure", result):
        figure = draw(document)
    figure.savefig(output, dpi=110)
    click.echo(f"drawn: {output}")


if __name__ == "__main__":
    run(command)
