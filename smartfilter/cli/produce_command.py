"""``smartfilter produce``: labelled data sets in bulk."""

from __future__ import annotations

from pathlib import Path

import click

from smartfilter.cli.options import (
    EVENT_TYPE,
    chain_seed_option,
    dask_option,
    decay_table_option,
    detector_option,
    step_option,
    workers_option,
)
from smartfilter.cli.terminal import emit, json_option, make_table, show_progress

__all__ = ["command"]


@click.command("produce")
@click.option(
    "-n", "n_events", type=click.IntRange(min=1), required=True, help="Events."
)
@click.option("--event-type", type=EVENT_TYPE, required=True, help="What to generate.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the Parquet files.",
)
@chain_seed_option
@step_option
@decay_table_option
@detector_option
@click.option(
    "--objects",
    is_flag=True,
    help="Keep tracks and clusters in the folder 'objects' of the output.",
)
@workers_option
@dask_option
@json_option
def command(
    n_events: int,
    event_type: str,
    output: Path,
    seed: int,
    step: float,
    decay_table: str,
    detector: str,
    objects: bool,
    n_workers: int,
    scheduler: str | None,
) -> None:
    """Generate and simulate events in bulk; run it again to resume.

    \b
    Examples:
      smartfilter produce -n 100000 --event-type mixed -o datasets --workers 2
      smartfilter produce -n 100000 --event-type mixed -o datasets --objects
    """  # noqa: D301
    import time

    from smartfilter.campaign import stop_on_sigterm
    from smartfilter.training.production import plan_parts, produce

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(
            f"folder '{output}': cannot be made ({error})"
        ) from error
    parts = plan_parts(
        output,
        event_type=event_type,
        n_events=n_events,
        seed=seed,
        step=step,
        decay_table=decay_table,
        detector=detector,
        objects=objects,
    )
    start = time.perf_counter()
    with stop_on_sigterm(), show_progress("produce", n_events) as advance:
        made = produce(parts, workers=n_workers, scheduler=scheduler, advance=advance)
    seconds = time.perf_counter() - start
    document = {
        "n_events": n_events,
        "n_made": made,
        "n_files": len(parts),
        "event_type": event_type,
        "seed": seed,
        "decay_table": decay_table,
        "detector": detector,
        "objects": objects,
        "events_per_second": made / seconds if made else 0.0,
        "output": str(output),
    }
    rows = [
        ("events", f"{n_events:,}"),
        ("made now", f"{made:,}"),
        ("files", f"{len(parts):,}"),
        ("events/s", f"{made / seconds:,.0f}"),
    ]
    emit(document, make_table(f"{event_type} events in {output}", ("", ""), rows))
