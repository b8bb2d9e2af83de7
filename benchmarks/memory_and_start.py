"""Memory against the number of events, and how soon commands start.

Each run is a process of its own; its memory is the largest resident set that the system
saw. The long run reads one file ten times, under ten names; the short one, which varies by
some percent, is done several times.

    python benchmarks/memory_and_start.py -o output/memory.json
    python benchmarks/memory_and_start.py --events 10000000  # a 1-million-event file
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from record import Limit, Quartiles, Report, Row, start
from samples import make_events, write_events

from smartfilter.errors import SmartFilterError

__all__ = ["Run", "command", "measure", "run_command"]

PASSES = 10
FEW = 10_000
EXAMPLE = Path(__file__).parents[1] / "examples" / "events.root"
ALLOWANCE = 1.1
"""Largest memory of the long run, in units of that of the short one."""


class Run(NamedTuple):
    """Wall clock in s and largest resident set in MB of a process."""

    seconds: float
    megabytes: float


_LAUNCH = """
import os, subprocess, sys, time
command = "from smartfilter.cli import main; main()"
begin = time.perf_counter()
process = subprocess.Popen([sys.executable, "-c", command, *sys.argv[1:]], stdout=2)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(process.returncode, time.perf_counter() - begin, usage.ru_maxrss / 1024)
"""
"""A small process starts the one that is measured: Linux counts what the starting process
has in memory as the started one's largest resident set, until it is larger itself."""


def run_command(*arguments: str) -> Run:
    """Run ``smartfilter`` with these arguments.

    Raises
    ------
    SmartFilterError
        If it fails.
    """
    command = [sys.executable, "-c", _LAUNCH, *arguments]
    done = subprocess.run(command, capture_output=True, check=True)
    code, seconds, megabytes = done.stdout.split()
    if int(code):
        text = done.stderr.decode(errors="replace").strip()
        raise SmartFilterError(f"smartfilter {' '.join(arguments)}: {text}")
    return Run(float(seconds), float(megabytes))


def _score(folder: Path, files: list[Path]) -> Run:
    output = folder / "scores.parquet"
    names = [str(file) for file in files]
    return run_command("score", *names, "-o", str(output), "--force", "--device", "cpu")


def measure_memory(n_events: int, few: int, rounds: int = 1) -> list[Row]:
    """Compare the memory of few and of many events."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = make_events(min(few, FEW))
        small = [write_events(folder / "few.root", events, few)]
        short = [_score(folder, small).megabytes for _ in range(rounds)]
        path = write_events(folder / "many.root", events, n_events // PASSES)
        files = [folder / f"many-{i}.root" for i in range(PASSES)]
        for file in files:
            file.hardlink_to(path)
        long = _score(folder, files)
        size = path.stat().st_size * PASSES / 1e6
    return [
        Row(
            what=f"peak memory, {n_events:,} events ({size:,.0f} MB read)",
            unit="MB",
            measured=Quartiles.of([long.megabytes]),
            rival=f"{few:,} events",
            theirs=Quartiles.of(short),
            ratio=Quartiles.of(long.megabytes / np.array(short)),
            limit=Limit("ratio", "at most", ALLOWANCE),
        ),
        Row("  events/s of that run", "", Quartiles.of([n_events / long.seconds])),
    ]


def measure_start(rounds: int) -> list[Row]:
    """Time commands from the shell's point of view."""
    score = ("score", str(EXAMPLE), "--device", "cpu")
    found = {}
    for name, arguments in (("--help", ("--help",)), ("score examples/", score)):
        run_command(*arguments)
        found[name] = Quartiles.of(
            [run_command(*arguments).seconds for _ in range(rounds)]
        )
    limits = (0.5, 5.0)
    return [
        Row(
            what=f"smartfilter {name}",
            unit="s",
            measured=seconds,
            limit=Limit("measured", "at most", limit),
        )
        for (name, seconds), limit in zip(found.items(), limits, strict=True)
    ]


def measure(n_events: int, rounds: int, few: int = FEW) -> Report:
    """Measure both."""
    settings = {"events": n_events, "few": few, "passes": PASSES, "rounds": rounds}
    report = Report("memory and start", settings)
    report.rows = [*measure_memory(n_events, few, rounds), *measure_start(rounds)]
    return report


@click.command()
@click.option("--events", "n_events", default=1_000_000, show_default=True)
@click.option("--few", default=FEW, show_default=True, help="Events of the short run.")
@click.option("--rounds", default=5, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="OUT.json")
def command(n_events: int, few: int, rounds: int, output: Path | None) -> None:
    """Measure memory and start."""
    measure(n_events, rounds, few).publish(output)


if __name__ == "__main__":
    start(command)
