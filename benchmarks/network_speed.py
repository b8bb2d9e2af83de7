"""The network on the CPU in blocks, against torch-geometric and padded tensors.

One thread, the same weights, the same events in the same blocks of 6,000 nodes. The
rivals get their edge lists and adjacency matrices ready-made; ours builds its own.

    python benchmarks/network_speed.py -o output/network.json
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import torch
from geometric import GeometricGCN, make_geometric
from padded import PaddedGCN, iterate_batches
from record import Limit, Report, compare, start, time_in_turn
from samples import make_events, make_network

from smartfilter.graphs import prepare
from smartfilter.model_file import load_model, save_model
from smartfilter.scoring import NODES_PER_BATCH, find_batch_end, limit_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from smartfilter.events import Events
    from smartfilter.models import GCN

__all__ = ["command", "make_contestants", "measure"]

GEOMETRIC = "torch-geometric, GCNConv"
ONCE = "torch-geometric, normalised once"
PADDED = "padded, dense adjacency"
SMALL_PADDED = "padded, 32 events per batch"


def make_contestants(
    events: Events, network: GCN, info: Any, folder: Path
) -> dict[str, Callable[[], Tensor]]:
    """Return what each way to score these events does; each gives all logits."""
    path = folder / "network.pt"
    save_model(path, network, info)
    model = load_model(path)
    offsets = prepare(events, info.preset).offsets
    blocks, first = [], 0
    while first < len(events):
        last = find_batch_end(offsets, first, NODES_PER_BATCH["cpu"])
        blocks.append(events.take(slice(first, last)))
        first = last
    graphs = [prepare(block, info.preset) for block in blocks]
    flat = [
        [torch.from_numpy(c) for c in (g.x, g.pdg, g.mother, g.offsets, g.event_type)]
        for g in graphs
    ]
    edges = [make_geometric(graph) for graph in graphs]
    words = info.vocabulary
    dense = [b for e in blocks for b in iterate_batches(e, words, len(e))]
    small = list(iterate_batches(events, words, 32))
    geometric, once = GeometricGCN(network), GeometricGCN(network, once=True)
    padded = PaddedGCN(network)

    def run(function: Any, batches: list[Any]) -> Callable[[], Tensor]:
        @torch.inference_mode()
        def score() -> Tensor:
            return torch.cat([function(batch) for batch in batches])

        return score

    return {
        "ours": run(lambda batch: model(*batch), flat),
        GEOMETRIC: run(geometric, edges),
        ONCE: run(once, edges),
        PADDED: run(padded, dense),
        SMALL_PADDED: run(padded, small),
    }


def count_operations(network: GCN, n_nodes: float) -> float:
    """Return the multiplications and additions of the matrix products per event."""
    per_node = sum(
        2 * m.weight.numel()
        for c in network.convolutions
        for m in c.modules()
        if isinstance(m, torch.nn.Linear)
    )
    head = sum(2 * p.numel() for p in network.head.parameters())
    return n_nodes * per_node + head


def measure_product(n: int = 768, rounds: int = 9) -> float:
    """Return the operations/s of a matrix product that fits the cache."""
    a = torch.randn(n, n)
    seconds = time_in_turn({"product": lambda: a @ a}, rounds, warm_up=2)["product"]
    return float(2 * n**3 / np.median(seconds))


def profile(score: Callable[[], Tensor], n_events: int) -> list[dict[str, Any]]:
    """Return the operators of torch that take the most time of their own."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    with record(activities=[ProfilerActivity.CPU]) as found:
        score()
    averages = found.key_averages()
    total = sum(item.self_cpu_time_total for item in averages)
    largest = sorted(averages, key=lambda item: -item.self_cpu_time_total)[:8]
    return [
        {
            "operator": item.key.removeprefix("aten::"),
            "us per event": item.self_cpu_time_total / n_events,
            "share": item.self_cpu_time_total / total,
        }
        for item in largest
    ]


def measure(n_events: int, rounds: int) -> Report:
    """Compare all ways for 32 units, and for the shipped network's 64."""
    events = make_events(n_events)
    report = Report("network", {"events": n_events, "rounds": rounds})
    report.notes.append(
        "random weights, of which the speed does not depend; layers, skip connections "
        "and outputs are those of the shipped network"
    )
    with limit_threads(1), tempfile.TemporaryDirectory() as folder:
        peak = measure_product()
        for units in (32, 64):
            network, info = make_network(events, n_units=units)
            contestants = make_contestants(events, network, info, Path(folder))
            _require_equal({k: run() for k, run in contestants.items()})
            seconds = time_in_turn(contestants, rounds)
            for rival, factor in ((GEOMETRIC, 1.5), (ONCE, None), (PADDED, 2.0)):
                limit = None if factor is None else Limit("ratio", "at least", factor)
                what = f"{units} units"
                report.rows.append(
                    compare(what, n_events, seconds, "ours", rival, limit)
                )
            report.rows.append(
                compare(f"{units} units", n_events, seconds, "ours", SMALL_PADDED)
            )
            report.details[f"{units} units: operators"] = profile(
                contestants["ours"], n_events
            )
            n_nodes = len(prepare(events).x) / n_events
            work = count_operations(network, n_nodes)
            rate = work * n_events / float(np.median(seconds["ours"]))
            report.notes.append(
                f"{units} units: {work / 1e6:.2f} MFLOP per event in matrix products, "
                f"{rate / 1e9:.0f} GFLOP/s overall; a product of 768 x 768 alone "
                f"reaches {peak / 1e9:.0f}"
            )
    return report


def _require_equal(logits: dict[str, Tensor]) -> None:
    """Refuse to compare the speed of networks that do not agree."""
    for name, values in logits.items():
        torch.testing.assert_close(
            values, logits["ours"], atol=2e-4, rtol=0, msg=lambda m, n=name: f"{n}: {m}"
        )


@click.command()
@click.option("--events", "n_events", default=3_000, show_default=True)
@click.option("--rounds", default=9, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="OUT.json")
def command(n_events: int, rounds: int, output: Path | None) -> None:
    """Measure the network in blocks."""
    measure(n_events, rounds).publish(output)


if __name__ == "__main__":
    start(command)
