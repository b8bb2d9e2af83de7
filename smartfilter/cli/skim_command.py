"""``smartfilter skim``: labels again, from stored tracks and clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smartfilter.cli.completion import complete_files
from smartfilter.cli.options import OutputPath
from smartfilter.cli.retention import make_retention_table
from smartfilter.cli.terminal import emit, json_option, show_progress

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]


@click.command("skim")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="OBJECTS...",
    shell_complete=complete_files,
)
@click.option(
    "-o",
    "--output",
    type=OutputPath(".parquet"),
    help="OUT.parquet: one row per event, or with --events a labelled file.",
)
@click.option(
    "--events",
    multiple=True,
    metavar="LABELLED",
    shell_complete=complete_files,
    help="Labelled file of the same events, to get new labels; repeatable.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads.",
)
@click.option("--force", is_flag=True, help="Replace an existing output.")
@json_option
def command(
    files: tuple[str, ...],
    output: Path | None,
    events: tuple[str, ...],
    workers: int,
    force: bool,
) -> None:
    """Run reconstruction and skims on stored tracks and clusters: no simulation.

    OBJECTS are files that 'smartfilter simulate --objects' or 'smartfilter produce
    --objects' wrote, or globs. Of several, LABELLED are in the same order.

    \b
    Examples:
      smartfilter skim objects.parquet
      smartfilter skim objects.parquet -o labels.parquet
      smartfilter skim objects.parquet --events labelled.parquet -o new.parquet
    """  # noqa: D301
    import time

    from smartfilter import __version__
    from smartfilter.io.relabelled import LabelledRows
    from smartfilter.pipeline.labelling import list_versions
    from smartfilter.pipeline.object_file import open_objects
    from smartfilter.pipeline.skimming import skim_files
    from smartfilter.pipeline.skims import estimate_retention

    if events and output is None:
        raise click.UsageError("--events goes with -o, the file for the new labels")
    source = open_objects(files)
    labelled = LabelledRows(events) if events else None
    provenance = {
        "command": "skim",
        "version": __version__,
        "versions": list_versions(),
    }
    n_events = source.n_events
    start = time.perf_counter()
    with show_progress("skim", n_events) as advance:
        passing = skim_files(
            source,
            output,
            events=labelled,
            workers=workers,
            provenance=provenance,
            force=force,
            advance=advance,
        )
    rate = n_events / (time.perf_counter() - start)
    shares = {name: estimate_retention(k, n_events) for name, k in passing.items()}
    document = {
        **provenance,
        "inputs": list(source.files),
        "events": list(labelled.files) if labelled else [],
        "n_events": n_events,
        "n_passing": passing,
        "retention_rate": {name: share for name, (share, _) in shares.items()},
        "retention_rate_error": {name: error for name, (_, error) in shares.items()},
        "events_per_second": rate,
        "output": None if output is None else str(output),
    }
    title = f"{n_events:,} events, {rate:,.0f} events/s"
    emit(document, make_retention_table(title, passing, n_events))
