"""``smartfilter simulate``: labels from the mock detector or from Geant4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from smartfilter.cli.completion import complete_files
from smartfilter.cli.options import (
    FiniteRange,
    OutputPath,
    dask_option,
    detector_option,
    resume_option,
    skip_bad_files_option,
    step_option,
    workers_option,
)
from smartfilter.cli.retention import make_retention_table
from smartfilter.cli.terminal import (
    emit,
    json_option,
    report_skipped,
    show_progress,
)

if TYPE_CHECKING:
    from pathlib import Path

    from smartfilter.io import EventSource

__all__ = ["command"]

_BLOCKS = {"mock": 2_000, "geant4": 200}
"""Events that are in memory at once: seconds of work."""


@click.command("simulate")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", shell_complete=complete_files
)
@click.option(
    "-o", "--output", type=OutputPath(".parquet"), required=True, help="OUT.parquet"
)
@click.option(
    "--objects",
    type=OutputPath(".parquet"),
    help="OUT.parquet for tracks and clusters: 'smartfilter skim' starts from them.",
)
@detector_option
@workers_option
@dask_option
@step_option
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the detector.",
)
@click.option(
    "--timeout",
    type=FiniteRange(min=0.0, min_open=True),
    default=2.0,
    show_default=True,
    help="Longest time of Geant4, seconds per event, beside a minute per request.",
)
@skip_bad_files_option
@resume_option
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@json_option
def command(
    files: tuple[str, ...],
    output: Path,
    objects: Path | None,
    detector: str,
    n_workers: int,
    scheduler: str | None,
    step: float,
    seed: int,
    timeout: float,
    skip_bad_files: bool,
    resume: bool,
    force: bool,
) -> None:
    """Run detector, reconstruction and skims; write the events with labels.

    \b
    Examples:
      smartfilter simulate events.root -o labelled.parquet
      smartfilter simulate events.root -o labelled.parquet --objects o.parquet
      smartfilter simulate 'gen/*.root' -o labelled.parquet --workers 8 --resume
    """  # noqa: D301
    import time

    from smartfilter import __version__
    from smartfilter.campaign import stop_on_sigterm
    from smartfilter.distributed import open_workers
    from smartfilter.io import open_events
    from smartfilter.pipeline.labelling import list_versions
    from smartfilter.pipeline.simulate_files import SimulationTask, simulate_files

    source = open_events(
        files, chunk_size=_BLOCKS[detector], skip_bad_files=skip_bad_files
    )
    provenance = {
        "command": "simulate",
        "version": __version__,
        "versions": list_versions(),
        "inputs": list(files),
        "generation": _read_generation(source),
        "detector": detector,
        "step_cm": step if detector == "mock" else None,
        "seed": seed,
    }
    task = SimulationTask(
        detector=detector,
        seed=seed,
        step=step,
        timeout=timeout,
        keep_objects=objects is not None,
    )
    task.make_detector()  # says what is wrong with the options before any work
    start = time.perf_counter()
    with (
        stop_on_sigterm(),
        open_workers(n_workers, scheduler) as workers,
        show_progress("simulate", source.n_events) as advance,
    ):
        run = simulate_files(
            source,
            output,
            task=task,
            workers=workers,
            provenance=provenance,
            objects=objects,
            force=force,
            resume=resume,
            skip_bad_files=skip_bad_files,
            advance=advance,
        )
    report_skipped(run.skipped)
    seconds = time.perf_counter() - start
    rate = max(run.n_events - run.n_resumed, 0) / seconds
    document = {
        **provenance,
        "n_events": run.n_events,
        "n_resumed": run.n_resumed,
        "n_passing": run.passing,
        "skipped_files": run.skipped,
        "events_per_second": rate,
        "output": str(output),
        "objects": None if objects is None else str(objects),
    }
    title = f"{run.n_events:,} events in {output}, {rate:,.0f} events/s"
    emit(document, make_retention_table(title, run.passing, run.n_events))


def _read_generation(source: EventSource) -> dict[str, Any]:
    """Return what the files that ``smartfilter generate`` wrote say of themselves."""
    from smartfilter.errors import InputError
    from smartfilter.io import read_provenance

    found = {}
    for file in source.files:
        try:
            found[file] = read_provenance(file)
        except InputError:  # basf2 or somebody else wrote it
            continue
    return found
