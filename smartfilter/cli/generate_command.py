"""``smartfilter generate``: Pythia 8 events in the mdst layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smartfilter.cli.options import (
    EVENT_TYPE,
    OutputPath,
    chain_seed_option,
    dask_option,
    decay_table_option,
    resume_option,
    workers_option,
)
from smartfilter.cli.terminal import emit, json_option, make_table, show_progress

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]


@click.command("generate")
@click.option(
    "-n", "n_events", type=click.IntRange(min=1), required=True, help="Events."
)
@click.option("--event-type", type=EVENT_TYPE, required=True, help="What to generate.")
@click.option(
    "-o", "--output", type=OutputPath(".root"), required=True, help="OUT.root"
)
@chain_seed_option
@click.option(
    "--experiment",
    type=click.IntRange(0, 1023),
    default=0,
    show_default=True,
    help="Experiment number.",
)
@click.option(
    "--run",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Run number.",
)
@click.option(
    "--first-event",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Number of the first event.",
)
@decay_table_option
@workers_option
@dask_option
@resume_option
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
    n_workers: int,
    scheduler: str | None,
    resume: bool,
    force: bool,
) -> None:
    """Generate events with Pythia 8 and write them in the layout of an mdst file.

    The events follow from the options alone, not from the number of workers.

    \b
    Examples:
      smartfilter generate -n 1000 --event-type mixed -o events.root
      smartfilter generate -n 1000000 --event-type mixed -o big.root --workers 8
    """  # noqa: D301
    import time

    from smartfilter import __version__
    from smartfilter.campaign import stop_on_sigterm
    from smartfilter.distributed import open_workers
    from smartfilter.pipeline.generate_file import GenerationTask, generate_file

    provenance = {
        "command": "generate",
        "version": __version__,
        "event_type": event_type,
        "seed": seed,
        "decay_table": decay_table,
        "n_generated": n_events,
    }
    task = GenerationTask(
        event_type=event_type,
        seed=seed,
        experiment=experiment,
        run=run,
        first_event=first_event,
        decay_table=decay_table,
    )
    start = time.perf_counter()
    with (
        stop_on_sigterm(),
        open_workers(n_workers, scheduler) as workers,
        show_progress("generate", n_events) as advance,
    ):
        n_resumed = generate_file(
            output,
            n_events,
            task=task,
            workers=workers,
            provenance=provenance,
            force=force,
            resume=resume,
            advance=advance,
        )
    rate = (n_events - n_resumed) / (time.perf_counter() - start)
    document = {
        **provenance,
        "n_resumed": n_resumed,
        "events_per_second": rate,
        "output": str(output),
    }
    rows = [("events", f"{n_events:,}"), ("events/s", f"{rate:,.0f}")]
    emit(document, make_table(f"{event_type} events in {output}", ("", ""), rows))
