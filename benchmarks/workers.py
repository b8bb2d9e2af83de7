"""Throughput of workers: events per second of one process and of several.

Scores the same files with one process and with a local Dask cluster, in turns, and compares
the rows. Starting the workers and loading the model are apart. One JSON document and one
table; exit code 1 if the rows differ.

    python benchmarks/workers.py -o output/workers.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter import Scorer, open_events
from smartfilter.decision import DecisionSettings
from smartfilter.distributed import open_workers
from smartfilter.io import MdstWriter, read_scores
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.simulate_files import SimulationTask, simulate_files
from smartfilter.score_files import score_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smartfilter.distributed import Workers

TARGET = 1.7
"""Throughput of two workers over that of one."""

CHUNKS = {"score": 20_000, "simulate": 2_000}
"""Events per chunk, as the commands have them."""


def make_files(folder: Path, n_files: int, n_events: int) -> list[Path]:
    """Generate one file of events and give it several names."""
    first = folder / "0.root"
    with MdstWriter(first) as writer:
        writer.write(Generator("mixed", seed=1).generate(n_events))
    files = [first, *(folder / f"{k}.root" for k in range(1, n_files))]
    for file in files[1:]:
        file.hardlink_to(first)
    return files


def run_score(files: Sequence[Path], output: Path, workers: Workers) -> None:
    """Score files into a score file, as the command does."""
    scorer = Scorer(device="cpu")
    score_files(
        open_events(files, chunk_size=CHUNKS["score"]),
        scorer=scorer,
        settings=DecisionSettings.for_each_type(scorer.info, mode="sample"),
        workers=workers,
        describe=lambda run: run.summary.to_metadata(),
        output=output,
        device="cpu",
        force=True,
    )


def run_simulate(files: Sequence[Path], output: Path, workers: Workers) -> None:
    """Simulate files with the mock detector, as the command does."""
    simulate_files(
        open_events(files, chunk_size=CHUNKS["simulate"]),
        output,
        task=SimulationTask(),
        workers=workers,
        provenance={},
        force=True,
    )


RUNS: dict[str, Callable[[Sequence[Path], Path, Workers], None]] = {
    "score": run_score,
    "simulate": run_simulate,
}


def measure(
    name: str, files: Sequence[Path], folder: Path, n_workers: int, repeats: int
) -> dict[str, Any]:
    """Return events per second of one process and of the workers."""
    n_events = open_events(files).n_events
    run = RUNS[name]
    seconds: dict[int, list[float]] = {1: [], n_workers: []}
    outputs = {n: folder / f"{name}-{n}.parquet" for n in seconds}
    with ExitStack() as stack:
        pools = {n: stack.enter_context(open_workers(n)) for n in seconds}
        for n, pool in pools.items():  # model, kernels and file cache
            run(files[: 2 * n], outputs[n], pool)
        for _ in range(repeats):
            for n, pool in pools.items():
                start = time.perf_counter()
                run(files, outputs[n], pool)
                seconds[n].append(time.perf_counter() - start)
    rates = {n: n_events / np.array(times) for n, times in seconds.items()}
    ratios = rates[n_workers] / rates[1]
    return {
        "command": name,
        "n_events": n_events,
        "n_workers": n_workers,
        "events_per_second": {str(n): quartiles(values) for n, values in rates.items()},
        "ratio": quartiles(ratios),
        "target": TARGET if n_workers == 2 else None,
        "same_rows": have_same_rows(name, *outputs.values()),
    }


def quartiles(values: Any) -> dict[str, float]:
    """Return median and quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(middle), "lower": float(low), "upper": float(high)}


def have_same_rows(name: str, first: Path, second: Path) -> bool:
    """Whether both files hold the same, to the last bit."""
    if name == "score":
        tables = read_scores(first), read_scores(second)
        return all(
            np.array_equal(column, tables[1][key], equal_nan=column.dtype.kind == "f")
            for key, column in tables[0].columns.items()
        )
    return first.read_bytes() == second.read_bytes()


def describe_machine() -> dict[str, Any]:
    """Return what the times depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def show(result: dict[str, Any]) -> str:
    """Return a row of the table."""
    rates = result["events_per_second"]
    one, many = (rates[n]["median"] for n in ("1", str(result["n_workers"])))
    ratio = result["ratio"]
    spread = f"{ratio['lower']:.2f} to {ratio['upper']:.2f}"
    return (
        f"{result['command']:10}{result['n_events']:>10,}{one:>12,.0f}{many:>12,.0f}"
        f"{ratio['median']:>8.2f}  ({spread})  "
        f"{'same' if result['same_rows'] else 'DIFFERENT'}"
    )


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--events", type=int, default=20_000, help="per file")
    parser.add_argument("--simulated", type=int, default=2_000, help="events per file")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    machine = describe_machine()
    results = []
    print(
        f"{'command':10}{'events':>10}{'1, ev/s':>12}{options.workers:>6}, ev/s"
        f"{'ratio':>8}  (quartiles)     rows"
    )
    with tempfile.TemporaryDirectory(prefix="smartfilter-workers-") as name:
        for command, n_events in (
            ("score", options.events),
            ("simulate", options.simulated),
        ):
            folder = Path(name) / command
            folder.mkdir()
            files = make_files(folder, options.files, n_events)
            result = measure(command, files, folder, options.workers, options.repeats)
            results.append(result)
            print(show(result), flush=True)
    document = {"machine": machine, "target": TARGET, "results": results}
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if all(result["same_rows"] for result in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
