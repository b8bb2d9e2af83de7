"""Whole files: ROOT in, Parquet out, against the lab course's chain and bare reading.

The process may use two cores: in ours a thread reads ahead while two others prepare,
score and decide, a chunk each; the lab course's chain takes both for its network.

    python benchmarks/score_speed.py -o output/score.json
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
import uproot
from padded import score_file
from record import Limit, Quartiles, Report, Row, compare, start, time_in_turn
from samples import make_events, make_model, write_events

from smartfilter.bulk import score_events
from smartfilter.decision import DecisionSettings
from smartfilter.distributed import Workers, open_workers
from smartfilter.events import ID_COLUMNS, PARTICLE_COLUMNS
from smartfilter.graphs import prepare
from smartfilter.io import open_events
from smartfilter.io.mdst import MEMBERS, PARTICLES, TREE
from smartfilter.model_file import load_module
from smartfilter.score_files import EVENTS_PER_CHUNK, score_files
from smartfilter.scoring import Scorer, limit_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

__all__ = ["InTurn", "command", "measure", "read_columns", "score"]

LAB = "lab course: padded, event by event"
READ = "uproot reading the same columns"
SERIAL = "reading in turn"
CHUNK = 20_000
CORES = 2


class InTurn(Workers):
    """Reads and scores one chunk after the other, in one thread."""

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Generator[tuple[Any, Any]]:
        """Yield each item with its result."""
        for item in items:
            yield item, function(item)


def score(path: Path, scorer: Scorer, output: Path, *, ahead: bool = True) -> None:
    """Do what ``smartfilter score --threads 2`` does."""
    with open_workers(threads=CORES) as workers:
        score_files(
            open_events(path, chunk_size=EVENTS_PER_CHUNK),
            scorer=scorer,
            settings=DecisionSettings.for_each_type(scorer.info),
            workers=workers if ahead else InTurn(),
            describe=lambda run: run.summary.to_metadata(),
            output=output,
            device="cpu",
            force=True,
        )


def read_columns(path: Path) -> int:
    """Read the columns that scoring needs, and do nothing with them."""
    names = [f"EventMetaData/m_{name}" for name in ID_COLUMNS]
    members = [MEMBERS[name] for name in PARTICLE_COLUMNS if name in MEMBERS]
    names += [f"{PARTICLES}/{PARTICLES}.{member}" for member in members]
    n_events = 0
    with uproot.open({str(path): TREE}, object_cache=None, array_cache=None) as tree:
        for first in range(0, tree.num_entries, CHUNK):
            last = min(first + CHUNK, tree.num_entries)
            for name in names:
                tree[name].array(entry_start=first, entry_stop=last)
            n_events += last - first
    return n_events


def break_down(path: Path, scorer: Scorer) -> list[dict[str, Any]]:
    """Return the stages of `score` one after another, in us per event."""
    spent = {"read": 0.0, "prepare": 0.0, "network": 0.0, "all but reading": 0.0}

    def take(stage: str, work: Callable[[], Any]) -> Any:
        begin = perf_counter()
        result = work()
        spent[stage] += perf_counter() - begin
        return result

    chunks = iter(open_events(path, chunk_size=CHUNK))
    settings = DecisionSettings.for_each_type(scorer.info)
    n_events = 0
    while (events := take("read", lambda: next(chunks, None))) is not None:
        n_events += len(events)
        graph = take("prepare", lambda e=events: prepare(e, scorer.info.preset))
        with limit_threads(1):
            take("network", lambda g=graph: scorer.score_graph(g))
        take(
            "all but reading",
            lambda e=events: score_events([e], scorer=scorer, settings=settings),
        )
    return [{"stage": k, "us per event": 1e6 * v / n_events} for k, v in spent.items()]


def measure(n_events: int, rounds: int, n_lab: int) -> Report:
    """Compare all on the same file; the lab course's chain on its first events."""
    events = make_events(min(n_events, CHUNK))
    n_lab = min(n_lab, n_events)
    settings = {"events": n_events, "lab_events": n_lab, "rounds": rounds}
    settings |= {"cores": CORES, "units": 32}
    report = Report("score", settings)
    with tempfile.TemporaryDirectory() as name, limit_threads(CORES):
        folder = Path(name)
        path = write_events(folder / "events.root", events, n_events)
        few = write_events(folder / "few.root", events, n_lab)
        scorer = Scorer(make_model(folder / "m.pt", events, n_units=32), device="cpu")
        network, info = load_module(folder / "m.pt")
        words, output = info.vocabulary, folder / "out.parquet"
        contestants = {
            "ours": lambda: score(path, scorer, output),
            SERIAL: lambda: score(path, scorer, output, ahead=False),
            LAB: lambda: score_file(few, network, words, folder / "lab.parquet"),
            READ: lambda: read_columns(path),
        }
        seconds = time_in_turn(contestants, rounds)
        seconds[LAB] *= n_events / n_lab
        report.details["stages, one after another"] = break_down(path, scorer)
    report.notes.append(
        f"the lab course's chain gets the first {n_lab:,} of the {n_events:,} events"
    )
    what = "score, 32 units, ROOT to Parquet"
    limits = {LAB: Limit("ratio", "at least", 4.0), READ: None, SERIAL: None}
    report.rows = [
        compare(what, n_events, seconds, "ours", rival, limit)
        for rival, limit in limits.items()
    ]
    share = Quartiles.of(seconds[READ] / seconds["ours"])
    report.rows.append(Row("  share of bare reading in that time", "", share))
    return report


@click.command()
@click.option("--events", "n_events", default=60_000, show_default=True)
@click.option("--lab-events", default=10_000, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="OUT.json")
def command(n_events: int, lab_events: int, rounds: int, output: Path | None) -> None:
    """Measure the scoring of whole files."""
    measure(n_events, rounds, lab_events).publish(output)


if __name__ == "__main__":
    start(command)
