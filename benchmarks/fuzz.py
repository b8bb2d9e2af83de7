"""Damage files in thousands of ways and see that smartfilter reads or refuses them.

Every file has to end in a result or in one sentence with the exit code of its kind:
never in a traceback, a hang, an end of the interpreter, a partial output or more memory
than `MEMORY`. The same seed damages in the same order. Exit code 1 if a file failed.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import click
from fuzz_mutations import mutate
from fuzz_targets import TARGETS, Target, Workplace

import smartfilter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Child", "Record", "command"]

MEMORY = 256
"""MiB of resident memory that reading one small file may take beyond what is loaded."""

_ADDRESSES = 4096

PATIENCE = 20.0
"""Seconds after which reading one small file counts as a hang."""

_START = 120.0
_FINE = ("valid", "refused")


class Child:
    """A process that runs commands, started anew when it ends or hangs.

    Parameters
    ----------
    place : Workplace
    first : list of str
        A command that works: it loads the libraries before memory is limited.
    """

    def __init__(self, place: Workplace, first: list[str]) -> None:
        self._output = place.path("out") / "scores.parquet"
        self._output.parent.mkdir()
        self._log = place.path("stderr.log")
        self._first = [*first, "-o", str(self._output)]
        self._process: subprocess.Popen[str] | None = None

    @property
    def output(self) -> Path:
        """Where commands shall write their score file."""
        return self._output

    def _start(self) -> subprocess.Popen[str]:
        script = Path(__file__).with_name("fuzz_child.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(_ADDRESSES), str(self._log)],
            env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        answer = self._ask(self._process, self._first, (3,), _START)
        if answer["outcome"] != "valid":
            raise click.ClickException(f"an intact file failed: {answer}")
        return self._process

    def _ask(
        self,
        process: subprocess.Popen[str],
        arguments: list[str],
        refusals: Sequence[int],
        seconds: float,
        talk: str = "",
    ) -> dict[str, Any]:
        if process.stdin is None or process.stdout is None:
            raise AssertionError
        output = str(self._output) if str(self._output) in arguments else None
        job = {
            "arguments": arguments,
            "output": output,
            "refusals": refusals,
            "talk": talk,
        }
        process.stdin.write(json.dumps({**job, "seconds": 0.8 * seconds}) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        line = process.stdout.readline() if ready else ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            if answer["memory"] > MEMORY and seconds != _START:
                answer |= {"outcome": f"{answer['memory']} MiB", "text": ""}
            return answer
        self.stop()
        shutil.rmtree(self._output.parent)
        self._output.parent.mkdir()
        outcome = f"interpreter ended ({process.returncode})" if ready else "hang"
        return {
            "outcome": outcome,
            "text": self._log.read_text(errors="replace", encoding="utf-8"),
        }

    def run(self, target: Target, arguments: list[str]) -> dict[str, Any]:
        """Return how a command ended."""
        process = self._process or self._start()
        return self._ask(process, arguments, target.refusals, PATIENCE, target.talk)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@dataclass
class Record:
    """What became of the files of one kind."""

    files: int = 0
    refused: int = 0
    same: int = 0
    other: int = 0
    failed: int = 0
    slowest: float = 0.0
    memory: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)

    def add(self, way: str, answer: dict[str, Any], seconds: float, usual: str) -> None:
        """Count one file; ``usual`` is the fingerprint of the intact one."""
        self.files += 1
        self.ways[way.partition(":")[0]] += 1
        self.slowest = max(self.slowest, seconds)
        self.memory = max(self.memory, answer.get("memory", 0))
        outcome = answer["outcome"]
        if outcome not in _FINE:
            self.failed += 1
            self.failures.append(
                {"way": way, "outcome": outcome, "text": answer["text"]}
            )
        elif outcome == "refused":
            self.refused += 1
        elif answer["fingerprint"] == usual:
            self.same += 1
        else:
            self.other += 1
            self.others[way] += 1


class Fuzzer:
    """Damages files of one kind, one after the other.

    Parameters
    ----------
    target : Target
    place : Workplace
    child : Child
    seed : int
    keep : Path, optional
        Folder for the files that failed.
    """

    def __init__(
        self,
        target: Target,
        place: Workplace,
        child: Child,
        seed: int,
        keep: Path | None,
    ) -> None:
        self.target, self.record = target, Record()
        self._place, self._child, self._keep = place, child, keep
        self._rng = Random(f"{seed} {target.name}")
        self._intact = target.intact(place)
        self._usual = {path: self._identify(path) for path in self._intact}
        self._wrong = self._make_wrong()

    def _make_wrong(self) -> Iterator[tuple[str, Path]]:
        if self.target.wrong is not None:
            yield from self.target.wrong(self._intact[0], self._place.folder)

    def _identify(self, path: Path) -> str:
        answer = self._ask(path)
        if answer["outcome"] != "valid":
            raise click.ClickException(f"the intact file '{path}' failed: {answer}")
        return str(answer["fingerprint"])

    def _ask(self, path: Path) -> dict[str, Any]:
        names = {
            "FILE": str(path),
            "BESIDE": str(path.with_suffix(self.target.beside)),
            "EVENTS": str(self._place.path("mdst.root")),
            "OUTPUT": str(self._child.output),
        }
        arguments = [names.get(word, word) for word in self.target.command]
        return self._child.run(self.target, arguments)

    def _damage(self) -> tuple[str, Path, Path]:
        source = self._rng.choice(self._intact)
        way, data = mutate(self._rng, source.read_bytes())
        path = self._place.path(f"damaged{source.suffix}")
        path.write_bytes(data)
        if self.target.beside:
            other = source.with_suffix(self.target.beside)
            shutil.copyfile(other, path.with_suffix(self.target.beside))
        return way, path, source

    def step(self) -> None:
        """Try the next file: of wrong content and damaged in turn."""
        wrong = next(self._wrong, None) if self.record.files % 2 else None
        if wrong is None:
            way, path, source = self._damage()
        else:
            (what, path), source = wrong, self._intact[0]
            way = f"content: {what}"
        start = time.monotonic()
        answer = self._ask(path)
        seconds = time.monotonic() - start
        self.record.add(way, answer, seconds, self._usual[source])
        if answer["outcome"] not in _FINE:
            self._save(path)

    def _save(self, path: Path) -> None:
        if self._keep is not None:
            self._keep.mkdir(parents=True, exist_ok=True)
            name = f"{self.target.name}-{self.record.files}{path.suffix}"
            shutil.copyfile(path, self._keep / name.replace(" ", "-"))


def _choose(names: tuple[str, ...]) -> list[Target]:
    known = {target.name: target for target in TARGETS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.UsageError(f"target {unknown[0]!r}: expected {', '.join(known)}")
    return [known[name] for name in names] or list(TARGETS)


def _report(records: dict[str, Record]) -> None:
    columns = ("files", "refused", "same", "other", "failed", "slowest", "memory")
    click.echo(f"{'':20}" + "".join(f"{name:>10}" for name in columns))
    for name, r in records.items():
        numbers = (r.files, r.refused, r.same, r.other, r.failed)
        shown = [*map(str, numbers), f"{r.slowest:.1f} s", f"{r.memory} MiB"]
        click.echo(f"{name:20}" + "".join(f"{text:>10}" for text in shown))
    for name, r in records.items():
        for failure in r.failures[:5]:
            click.echo(f"{name}: {failure['outcome']} ({failure['way']})", err=True)
            click.echo(failure["text"][-600:], err=True)


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(min=0.0), default=2.0, show_default=True
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--target", "names", multiple=True, help="Kind of file; repeatable.  [all]"
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder for what failed.")
def command(
    minutes: float,
    seed: int,
    names: tuple[str, ...],
    output: Path | None,
    keep: Path | None,
) -> None:
    """Damage files for some minutes; exit code 1 if one is not read or refused."""
    with tempfile.TemporaryDirectory(prefix="smartfilter-fuzz-") as folder:
        place = Workplace.make(Path(folder))
        events = str(TARGETS[0].intact(place)[0])
        child = Child(place, ["--json", "score", events])
        try:
            fuzzers = [Fuzzer(t, place, child, seed, keep) for t in _choose(names)]
            start = time.monotonic()
            while time.monotonic() - start < 60.0 * minutes:
                for fuzzer in fuzzers:
                    fuzzer.step()
        finally:
            child.stop()
    records = {fuzzer.target.name: fuzzer.record for fuzzer in fuzzers}
    document = {
        "version": smartfilter.__version__,
        "seed": seed,
        "seconds": time.monotonic() - start,
        "files": sum(r.files for r in records.values()),
        "failed": sum(r.failed for r in records.values()),
        "targets": {name: vars(r) for name, r in records.items()},
    }
    _report(records)
    click.echo(f"{document['files']} files, {document['failed']} failed")
    if output is not None:
        output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if document["failed"] else 0)


if __name__ == "__main__":
    command()
