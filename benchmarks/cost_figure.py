"""Cost per event against batch size, multiplicity and number of skims, as a figure.

One thread, a network of 32 units with random weights. The events of the second
panel are Pythia's, sorted by their number of particles.

    python benchmarks/cost_figure.py -o output/cost.json --figure docs/figures/cost.png
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import torch
from record import Quartiles, Report, Row, start, time_in_turn
from samples import make_events, make_network

from smartfilter.decision import DecisionSettings, decide_by_type
from smartfilter.graphs import prepare
from smartfilter.model_file import save_model
from smartfilter.plots.style import COLOURS, use_style
from smartfilter.scoring import (
    NODES_PER_BATCH,
    Calibrator,
    Scorer,
    limit_threads,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from smartfilter.events import Events

__all__ = ["STAGES", "command", "draw", "measure", "time_stages"]

STAGES = {"preparation": "blue", "network": "orange", "decision": "red"}
BATCHES = (1, 3, 10, 30, 100, 140, 300, 1000, 3000)
SKIMS = (1, 3, 10, 51)
N_BINS = 6
UNITS = 32
MOST_PARTS = 200


def make_scorer(folder: Path, events: Events, n_skims: int) -> Scorer:
    """Return a scorer with random weights and the shipped constants, repeated."""
    network, info = make_network(events, n_units=UNITS, n_skims=n_skims)
    skims = tuple(
        replace(info.skims[k % len(info.skims)], name=f"skim{k}", code=None)
        for k in range(n_skims)
    )
    path = folder / f"{n_skims}.pt"
    save_model(path, network, replace(info, skims=skims))
    return Scorer(path, device="cpu")


def time_stages(
    events: Events, scorer: Scorer, size: int, rounds: int
) -> dict[str, Quartiles]:
    """Return the us per event of each stage: prepare, network, calibrate and decide.

    ``size`` events go through a stage at once.
    """
    n_parts = min(-(-len(events) // size), MOST_PARTS)
    parts = [events.take(slice(i * size, (i + 1) * size)) for i in range(n_parts)]
    n_events = sum(len(part) for part in parts)
    graphs = [prepare(part, scorer.info.preset) for part in parts]
    batches = [
        [torch.from_numpy(c) for c in (g.x, g.pdg, g.mother, g.offsets, g.event_type)]
        for g in graphs
    ]
    logits = [scorer.model(*batch).numpy() for batch in batches]
    settings = DecisionSettings.for_each_type(scorer.info, mode="sample")
    calibrate = Calibrator(scorer.info)

    def finish() -> None:
        for part, graph, found in zip(parts, graphs, logits, strict=True):
            decide_by_type(
                part,
                logits=found,
                scores=calibrate(found, graph.event_type),
                scorable=graph.scorable,
                settings=settings,
            )

    work: dict[str, Callable[[], object]] = {
        "preparation": lambda: [prepare(part, scorer.info.preset) for part in parts],
        "network": lambda: [scorer.model(*batch) for batch in batches],
        "decision": finish,
    }
    seconds = time_in_turn(work, rounds)
    return {name: Quartiles.of(1e6 * s / n_events) for name, s in seconds.items()}


def measure(n_events: int, rounds: int) -> Report:
    """Measure all three panels; their points are the report's tables."""
    report = Report("cost", {"events": n_events, "rounds": rounds, "units": UNITS})
    events = make_events(n_events)
    order = np.argsort(events.counts, kind="stable")
    with tempfile.TemporaryDirectory() as name, limit_threads(1):
        folder = Path(name)
        scorers = {n: make_scorer(folder, events, n) for n in SKIMS}
        panels = {
            "batch size (events)": [
                (size, events, scorers[10], size)
                for size in BATCHES
                if size <= n_events
            ],
            "particles per event": [
                (float(part.counts.mean()), part, scorers[10], _fill_block(part))
                for part in map(events.take, np.array_split(order, N_BINS))
            ],
            "skims": [
                (n, events, scorer, _fill_block(events))
                for n, scorer in scorers.items()
            ],
        }
        for axis, points in panels.items():
            report.details[axis] = [
                _make_point(axis, value, time_stages(*setting, rounds))
                for value, *setting in points
            ]
    best = min(report.details["batch size (events)"], key=_sum_stages)
    total = Quartiles.of([_sum_stages(best)])
    size = best["batch size (events)"]
    report.rows = [Row(f"t_n, {size} events at once", "us per event", total)]
    report.notes.append("us per event: median, lower and upper quartile of each stage")
    return report


def _fill_block(events: Events) -> int:
    """Return the number of events per batch that `smartfilter.scoring` would take."""
    return max(int(NODES_PER_BATCH["cpu"] / max(events.counts.mean(), 1.0)), 1)


def _make_point(
    axis: str, value: float, stages: dict[str, Quartiles]
) -> dict[str, Any]:
    point: dict[str, Any] = {axis: value}
    for name, quartiles in stages.items():
        point |= {
            name: quartiles.median,
            f"{name}, lower": quartiles.lower,
            f"{name}, upper": quartiles.upper,
        }
    return point


def _sum_stages(point: dict[str, Any]) -> float:
    return float(sum(point[name] for name in STAGES))


def draw(report: Report, path: Path) -> None:
    """Draw the cost per event of each stage, and their sum."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with use_style():
        figure, axes = plt.subplots(1, 3, figsize=(19, 6), layout="constrained")
        for panel, (axis, points) in zip(axes, report.details.items(), strict=True):
            x = [point[axis] for point in points]
            for name, colour in STAGES.items():
                middle = np.array([point[name] for point in points])
                spread = [
                    [abs(p[name] - p[f"{name}, {side}"]) for p in points]
                    for side in ("lower", "upper")
                ]
                panel.errorbar(
                    x,
                    middle,
                    yerr=spread,
                    marker="o",
                    color=COLOURS[colour],
                    label=name,
                )
            total = [_sum_stages(point) for point in points]
            panel.plot(x, total, color="black", linestyle="--", label="sum")
            panel.set_xlabel(axis)
            panel.set_yscale("log")
            if axis != "particles per event":
                panel.set_xscale("log")
        axes[0].set_ylabel("cost per event (µs)")
        axes[-1].legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
        plt.close(figure)


@click.command()
@click.option("--events", "n_events", default=3_000, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--figure", type=click.Path(path_type=Path), help="OUT.png")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="OUT.json")
def command(
    n_events: int, rounds: int, figure: Path | None, output: Path | None
) -> None:
    """Measure the cost per event and draw it."""
    report = measure(n_events, rounds)
    report.publish(output)
    if figure is not None:
        draw(report, figure)


if __name__ == "__main__":
    start(command)
