"""Preparation: Events to graph tensors, against the padded event-by-event way.

One thread. There is no numba variant of the preparation: NumPy alone passes the
target that was set for numba, and a second implementation would be a second set of
rules.

    python benchmarks/preparation_speed.py -o output/preparation.json
"""

from __future__ import annotations

from pathlib import Path

import click
from padded import iterate_batches
from record import Limit, Quartiles, Report, Row, compare, start, time_in_turn
from samples import make_events

from smartfilter.graphs import prepare
from smartfilter.pdg import load_vocabulary
from smartfilter.scoring import limit_threads

__all__ = ["command", "measure"]

PADDED = "padded, event by event"


def measure(n_events: int, rounds: int) -> Report:
    """Compare both on the same events."""
    events = make_events(n_events)
    words = load_vocabulary("smart_background")
    few = events.take(slice(0, min(1000, n_events)))
    contestants = {
        "ours": lambda: prepare(events),
        PADDED: lambda: [len(batch.x) for batch in iterate_batches(events, words)],
        "few": lambda: prepare(few),
    }
    with limit_threads(1):
        seconds = time_in_turn(contestants, rounds)
    settings = {"events": n_events, "particles": events.n_particles, "rounds": rounds}
    report = Report("preparation", settings)
    row = compare("Events to GraphBatch", n_events, seconds, "ours", PADDED)
    rate = Quartiles.of(n_events / seconds["ours"])
    report.rows = [
        Row(**{**vars(row), "limit": Limit("ratio", "at least", 15.0)}),
        Row(
            "  without numba",
            "events/s",
            rate,
            limit=Limit("measured", "at least", 150_000.0),
        ),
        Row(
            "  target that was set for numba, reached without it",
            "events/s",
            rate,
            limit=Limit("measured", "at least", 300_000.0),
        ),
        Row(
            f"  {len(few)} events at once",
            "events/s",
            Quartiles.of(len(few) / seconds["few"]),
        ),
    ]
    share = events.n_particles / n_events
    cost = 1e9 * Quartiles.of(seconds["ours"]).median / events.n_particles
    report.notes.append(
        f"{share:.1f} particles per event; {cost:.0f} ns per particle, bound by some "
        "forty passes of NumPy over columns of 4 to 8 bytes in the cache"
    )
    return report


@click.command()
@click.option("--events", "n_events", default=20_000, show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="OUT.json")
def command(n_events: int, rounds: int, output: Path | None) -> None:
    """Measure the preparation of events."""
    measure(n_events, rounds).publish(output)


if __name__ == "__main__":
    start(command)
