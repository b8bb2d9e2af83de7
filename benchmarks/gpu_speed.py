"""The TorchScript network on a GPU: the same logits as on the CPU, and how fast.

Checks itself: logits must agree with the CPU's to 1e-4. Without a CUDA device it says so
and ends well. Reduced precision is shown with the decisions that it would change.

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
from record import Limit, Quartiles, Report, Row, compare, start
from samples import make_events, make_model, write_events
from score_speed import READ, read_columns, score

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
        _wait()
        begin = perf_counter()
        work()
        _wait()
        if i >= 0:
            seconds[i] = perf_counter() - begin
    return seconds


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _copy(graph: GraphBatch, device: torch.device) -> list[Tensor]:
    columns = (graph.x, graph.pdg, graph.mother, graph.offsets, graph.event_type)
    return [torch.from_numpy(column).to(device) for column in columns]


def measure(n_events: int, rounds: int, device: str = "cuda") -> Report:
    """Measure network, copies and whole files, or nothing without the device."""
    settings = {"events": n_events, "rounds": rounds, "units": 128, "device": device}
    report = Report("gpu", settings)
    if device == "cuda" and not torch.cuda.is_available():
        report.notes.append(SKIPPED)
        return report
    events = make_events(n_events)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(folder / "model.pt", events, n_units=128)
        cpu, gpu = Scorer(model, device="cpu"), Scorer(model, device=device)
        path = write_events(folder / "events.root", events, 5 * n_events)
        graph = prepare(events)
        expected = cpu.score_graph(graph)
        report.details[f"logits: {device} against CPU"] = [
            compare_logits(gpu.score_graph(graph), expected)
        ]
        most = NODES_PER_BATCH[gpu.device.type]
        n_block = int(np.searchsorted(graph.offsets, most, side="right")) - 1
        block = prepare(events.take(slice(0, n_block)))
        resident = _copy(block, gpu.device)
        network = _time(lambda: gpu.model(*resident), rounds)
        copies = _time(lambda: _copy(block, gpu.device), rounds)
        whole = _time(lambda: gpu.score_graph(block), rounds)
        files = _time(lambda: score(path, gpu, folder / "out.parquet"), rounds)
        reading = _time(lambda: read_columns(path), rounds)
        rates = [len(block) / network, len(block) / copies, len(block) / whole]
        report.rows = [
            _row("network, 128 units", rates[0], 1e6),
            _row("  copies to the device", rates[1]),
            _row("  network with copies", rates[2]),
            compare(
                "score, ROOT to Parquet",
                5 * n_events,
                {"ours": files, READ: reading},
                "ours",
                READ,
            ),
        ]
        report.details["reduced precision against CPU"] = _try_reduced(
            gpu, block, expected[: len(block)]
        )
    return report


def _row(what: str, rate: NDArray[np.float64], limit: float | None = None) -> Row:
    target = None if limit is None else Limit("measured", "at least", limit)
    return Row(what, "events/s", Quartiles.of(rate), limit=target)


def _try_reduced(
    gpu: Scorer, block: GraphBatch, expected: NDArray[np.float32]
) -> list[dict[str, Any]]:
    """Return how matrix products in reduced precision change logits and decisions."""
    before = torch.get_float32_matmul_precision()
    rows = []
    try:
        for precision in ("highest", "high", "medium"):
            torch.set_float32_matmul_precision(precision)
            logits = gpu.score_graph(block)
            found = compare_logits(logits, expected, tolerance=np.inf)
            rows.append({"precision": precision, **found})
    finally:
        torch.set_float32_matmul_precision(before)
    return rows


@click.command()
@click.option("--events", "n_events", default=20_000, show_default=True)
@click.option("--rounds", default=20, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="OUT.json")
def command(n_events: int, rounds: int, output: Path | None) -> None:
    """Compare and measure the network on a GPU."""
    measure(n_events, rounds).publish(output)


if __name__ == "__main__":
    start(command)
