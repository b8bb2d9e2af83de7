"""``smartfilter generate``: Pythia 8 events in the mdst layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smartfilter.cli.options import EVENT_TYPE, OutputPath, decay_table_option
from smartfilter.cli.terminal import emit, json_option, make_table, show_progress

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]

BLOCK = 2_000
"""Events generated and written at once."""


@click.command("generate")
@click.option("-n", "n_events", type=click.IntRange(min=1), required=True)
@click.option("--event-type", type=EVENT_TYPE, required=True)
@click.option(
    "-o", "--output", type=OutputPath(".root"), required=True, help="OUT.root"
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--experiment", type=click.IntRange(0, 1023), default=0)
@click.option("--run", type=click.IntRange(min=0), default=1)
@click.option("--first-event", type=click.IntRange(min=0), default=1)
@decay_table_option
@click.option("--force", is_flag=True, help="Replace an existing output.")
@json_option
def command(
    n_events: int,
    event_type: str,
    output: Path,
    seed: int,
    experiment: int,
    run: int,
    first_event: int,
    decay_table: str,
    force: bool,
) -> None:
    """Generate events with Pythia 8 and write them in the layout of an mdst file.

    \b
    Example:
      smartfilter generate -n 1000 --event-type mixed -o events.root
    """  # noqa: D301
    import time

    from smartfilter import __version__
    from smartfilter.io import MdstWriter
    from smartfilter.pipeline.generator import Generator

    provenance = {
        "command": "generate",
        "version": __version__,
        "event_type": event_type,
        "seed": seed,
        "decay_table": decay_table,
        "n_generated": n_events,
    }
    generator = Generator(
        event_type,
        seed=seed,
        experiment=experiment,
        run=run,
        first_event=first_event,
        decay_table=decay_table,
    )
    start = time.perf_counter()
    with (
        MdstWriter(output, provenance=provenance, force=force) as writer,
        show_progress("generate", n_events) as advance,
    ):
        for first in range(0, n_events, BLOCK):
            events = generator.generate(min(BLOCK, n_events - first))
            writer.write(events)
            advance(len(events))
    rate = n_events / (time.perf_counter() - start)
    document = {**provenance, "events_per_second": rate, "output": str(output)}
    rows = [("events", f"{n_events:,}"), ("events/s", f"{rate:,.0f}")]
    emit(document, make_table(f"{event_type} events in {output}", ("", ""), rows))
