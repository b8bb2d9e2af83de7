"""Throughput of workers: events per second of several, of one, and of this process.

Scores and simulates the same files with two workers of a local Dask cluster, with a cluster
of one, and in this process without Dask, in turns, and compares the rows. The ratio that
counts is that of two workers to one; that to this process is beside it. Starting the
workers and loading the model are apart. One JSON document and one table, with the
processor time of this process and of its workers, which says what bounds the ratio; exit
code 1 if the rows differ. Takes five minutes on two cores.

    python benchmarks/workers.py -o benchmarks/results/workers.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil
from record import describe_machine

from smartfilter import Scorer, open_events
from smartfilter.cluster import START_SECONDS, connect
from smartfilter.decision import DecisionSettings
from smartfilter.distributed import DaskWorkers, open_workers
from smartfilter.io import MdstWriter, read_scores
from smartfilter.model_file import find_model
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.simulate_files import SimulationTask, simulate_files
from smartfilter.score_files import EVENTS_PER_CHUNK, score_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from smartfilter.distributed import Workers

TARGET = 1.7
"""Throughput of two workers over that of one."""

HERE = 0
"""Stands for this process in place of a number of workers."""

SIMULATED_PER_CHUNK = 2_000
"""Events per chunk of ``simulate``, as the command has it."""


def make_files(folder: Path, n_files: int, n_events: int) -> list[Path]:
    """Generate one file of events and give it several names."""
    first = folder / "0.root"
    with MdstWriter(first) as writer:
        writer.write(Generator("mixed", seed=1).generate(n_events))
    files = [first, *(folder / f"{k}.root" for k in range(1, n_files))]
    for file in files[1:]:
        file.hardlink_to(first)
    return files


def run_score(
    files: Sequence[Path], output: Path, workers: Workers, *, model: str
) -> None:
    """Score files into a score file, as the command does."""
    scorer = Scorer(find_model(model), device="cpu")
    score_files(
        open_events(files, chunk_size=EVENTS_PER_CHUNK),
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
        open_events(files, chunk_size=SIMULATED_PER_CHUNK),
        output,
        task=SimulationTask(),
        workers=workers,
        provenance={},
        force=True,
    )


class Command(NamedTuple):
    """What is measured, on files of how many events each."""

    name: str
    run: Callable[[Sequence[Path], Path, Workers], None]
    n_events: int


@contextmanager
def open_pool(n_workers: int) -> Iterator[Workers]:
    """Provide a cluster of so many workers, also of one, or this process."""
    if n_workers == HERE:
        with open_workers() as here:
            yield here
        return
    with connect(n_workers, None) as client:
        yield DaskWorkers(client, START_SECONDS)


Pools = dict[int, "Workers"]


class Clock:
    """Wall clock, and processor time of this process and of those that it started."""

    def __init__(self) -> None:
        self._start = self._look()

    def read(self) -> tuple[float, float, float]:
        """Return the seconds of all three since it was made."""
        begin, end = self._start, self._look()
        return (end[0] - begin[0], end[1] - begin[1], end[2] - begin[2])

    @staticmethod
    def _look() -> tuple[float, float, float]:
        others = 0.0
        for process in psutil.Process().children(recursive=True):
            used = process.cpu_times()
            others += used.user + used.system
        return time.perf_counter(), time.process_time(), others


def measure(
    command: Command, folder: Path, n_files: int, pools: Pools, repeats: int
) -> dict[str, Any]:
    """Return events per second of this process, of one worker and of several."""
    files = make_files(folder, n_files, command.n_events)
    seconds: dict[int, list[tuple[float, float, float]]] = {n: [] for n in pools}
    outputs = {n: folder / f"{n}.parquet" for n in pools}
    for n, pool in pools.items():  # model, kernels and file cache
        command.run(files[: max(1, n)], outputs[n], pool)
    for turn in range(repeats):
        for n in np.roll(list(pools), turn).tolist():
            clock = Clock()
            command.run(files, outputs[n], pools[n])
            seconds[n].append(clock.read())
            print(
                f"{command.name}, round {turn + 1} of {repeats}: "
                f"{name_pool(n)} {seconds[n][-1][0]:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    n_workers = max(pools)
    n_all = n_files * command.n_events
    rates = {n: n_all / np.array(times)[:, 0] for n, times in seconds.items()}
    return {
        "command": command.name,
        "n_events": n_all,
        "n_workers": n_workers,
        "events_per_second": {name_pool(n): quartiles(v) for n, v in rates.items()},
        "ratio": quartiles(rates[n_workers] / rates[1]),
        "ratio_to_process": quartiles(rates[n_workers] / rates[HERE]),
        "target": TARGET if n_workers == 2 else None,
        "seconds": {
            name_pool(n): dict(
                zip(
                    ("wall", "processor_here", "processor_workers"),
                    np.median(times, axis=0).tolist(),
                    strict=True,
                )
            )
            for n, times in seconds.items()
        },
        "same_rows": all(
            have_same_rows(command.name, outputs[HERE], outputs[n]) for n in pools
        ),
    }


def name_pool(n_workers: int) -> str:
    """Return what the results call it."""
    if n_workers == HERE:
        return "process"
    return "1 worker" if n_workers == 1 else f"{n_workers} workers"


def quartiles(values: Any) -> dict[str, float]:
    """Return median and quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(middle), "lower": float(low), "upper": float(high)}


def have_same_rows(name: str, first: Path, second: Path) -> bool:
    """Whether both files hold the same, to the last bit."""
    if name.startswith("score"):
        tables = read_scores(first), read_scores(second)
        return all(
            np.array_equal(column, tables[1][key], equal_nan=column.dtype.kind == "f")
            for key, column in tables[0].columns.items()
        )
    return first.read_bytes() == second.read_bytes()


def show(result: dict[str, Any]) -> str:
    """Return a row of the table."""
    rates, seconds = result["events_per_second"], result["seconds"]
    spread = "{median:6.2f} ({lower:.2f} to {upper:.2f})".format
    many = seconds[name_pool(result["n_workers"])]
    used = f"{many['processor_here']:.1f} + {many['processor_workers']:.1f}"
    return (
        f"{result['command']:15}{result['n_events']:>8,}"
        + "".join(f"{rate['median']:>11,.0f}" for rate in rates.values())
        + f"{spread(**result['ratio']):>22}{spread(**result['ratio_to_process']):>22}"
        + f"{many['wall']:>8.1f}{used:>12}  "
        + ("same" if result["same_rows"] else "DIFFERENT")
    )


def show_head(n_workers: int) -> str:
    """Return the head of the table; rates in events/s, times in s."""
    return (
        f"{'command':15}{'events':>8}{'process':>11}{'1 worker':>11}"
        f"{name_pool(n_workers):>11}{'to 1 worker':>22}{'to the process':>22}"
        f"{'wall':>8}{'here + them':>12}  rows"
    )


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument(
        "--events", type=int, default=20_000, help="per file; half of it for subtree"
    )
    parser.add_argument("--simulated", type=int, default=1_500, help="events per file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    least = {"workers": 2, "files": 1, "events": 2, "simulated": 1, "repeats": 1}
    for name, value in least.items():
        if getattr(options, name) < value:
            parser.error(f"--{name}: expected at least {value}")
    commands = (
        Command("score, gcn", partial(run_score, model="gcn"), options.events),
        Command(
            "score, subtree", partial(run_score, model="subtree"), options.events // 2
        ),
        Command("simulate", run_simulate, options.simulated),
    )
    machine, results = describe_machine(), []
    print(show_head(options.workers), flush=True)
    with ExitStack() as stack:
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="smartfilter-workers-")
        )
        pools = {
            n: stack.enter_context(open_pool(n)) for n in (HERE, 1, options.workers)
        }
        for number, command in enumerate(commands):
            folder = Path(name) / str(number)
            folder.mkdir()
            result = measure(command, folder, options.files, pools, options.repeats)
            results.append(result)
            print(show(result), flush=True)
    document = {"machine": machine, "target": TARGET, "results": results}
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(
            json.dumps(document, indent=2) + "\n", encoding="utf-8"
        )
    return 0 if all(result["same_rows"] for result in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
