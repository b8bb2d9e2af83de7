"""The TorchScript network on a GPU: the same logits as on the CPU, and how fast.

Checks itself: logits must agree with the CPU's to 1e-4 and decisions must be the same.
Without a CUDA device it says so and ends well.

    python benchmarks/gpu_speed.py -o output/gpu.json
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import torch
from record import Limit, Quartiles, Report, Row, start
from samples import make_events, make_model, make_network, write_events
from score_speed import score

from smartfilter.errors import ModelFileError
from smartfilter.graphs import prepare
from smartfilter.scoring import NODES_PER_BATCH, Scorer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from smartfilter.graphs import GraphBatch

__all__ = ["command", "compare_logits", "measure"]

TOLERANCE = 1e-4
SKIPPED = "no CUDA device: nothing was measured"


def compare_logits(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Return the largest difference of logits, and how many decisions at 0 differ.

    Raises
    ------
    ModelFileError
        If the logits differ by more than the tolerance.
    """
    difference = float(np.abs(ours - theirs).max(initial=0.0))
    if not difference <= tolerance:
        raise ModelFileError(
            f"logits: expected those of the CPU to {tolerance}, "
            f"got a difference of {difference}"
        )
    changed = int(((ours >= 0) != (theirs >= 0)).sum())
    return {"largest difference": difference, "other decisions": changed}


def _time(work: Callable[[], object], rounds: int) -> NDArray[np.float64]:
    """Return the seconds of each round, the device's work included."""
    seconds = np.empty(rounds)
    for i in range(-2, rounds):
        torch.cuda.synchronize()
        begin = perf_counter()
        work()
        torch.cuda.synchronize()
        if i >= 0:
            seconds[i] = perf_counter() - begin
    return seconds


def _to_cuda(graph: GraphBatch) -> list[Tensor]:
    columns = (graph.x, graph.pdg, graph.mother, graph.offsets, graph.event_type)
    return [torch.from_numpy(column).cuda() for column in columns]


def measure(n_events: int, rounds: int) -> Report:
    """Measure network, copies and whole files, or nothing without a GPU."""
    settings = {"events": n_events, "rounds": rounds, "units": 128}
    report = Report("gpu", settings)
    if not torch.cuda.is_available():
        report.notes.append(SKIPPED)
        return report
    events = make_events(n_events)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(folder / "model.pt", events, n_units=128)
        cpu, gpu = Scorer(model, device="cpu"), Scorer(model, device="cuda")
        path = write_events(folder / "events.root", events, 5 * n_events)
        graph = prepare(events)
        report.details["logits: CUDA against CPU"] = [
            compare_logits(gpu.score_graph(graph), cpu.score_graph(graph))
        ]
        most = NODES_PER_BATCH["cuda"]
        n_block = int(np.searchsorted(graph.offsets, most, side="right")) - 1
        block = prepare(events.take(slice(0, n_block)))
        resident = _to_cuda(block)
        network = _time(lambda: gpu.model(*resident), rounds)
        copies = _time(lambda: _to_cuda(block), rounds)
        whole = _time(lambda: gpu.score_graph(block), rounds)
        files = _time(lambda: score(path, gpu, folder / "out.parquet"), rounds)
        report.rows = [
            _row("network, 128 units", n_block / network, 1e6),
            _row("  copies to the device", n_block / copies),
            _row("  with copies", n_block / whole),
            _row("score, ROOT to Parquet", 5 * n_events / files),
        ]
        report.details["reduced precision"] = _try_half(resident, events)
    return report


def _row(what: str, rate: NDArray[np.float64], limit: float | None = None) -> Row:
    target = None if limit is None else Limit("measured", "at least", limit)
    return Row(what, "events/s", Quartiles.of(rate), limit=target)


@torch.inference_mode()
def _try_half(columns: list[Tensor], events: Any) -> list[dict[str, Any]]:
    """Return how autocast to half the width changes logits and decisions at 0."""
    network = make_network(events, n_units=128)[0].cuda()
    expected = network(*columns)
    rows = []
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast("cuda", dtype=dtype):
            found = network(*columns).float()
        share = float(((found >= 0) != (expected >= 0)).float().mean())
        difference = float((found - expected).abs().max())
        rows.append(
            {
                "precision": str(dtype).removeprefix("torch."),
                "largest difference": difference,
                "share of other decisions": share,
            }
        )
    return rows


@click.command()
@click.option("--events", "n_events", default=20_000, show_default=True)
@click.option("--rounds", default=20, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="OUT.json")
def command(n_events: int, rounds: int, output: Path | None) -> None:
    """Compare and measure the network on a GPU."""
    report = measure(n_events, rounds)
    report.publish(output)


if __name__ == "__main__":
    start(command)
