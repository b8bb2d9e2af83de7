"""``smartfilter simulate``: labels from the mock detector or from Geant4."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from smartfilter.cli.options import OutputPath
from smartfilter.cli.retention import make_retention_table
from smartfilter.cli.terminal import emit, json_option, show_progress

if TYPE_CHECKING:
    from pathlib import Path

    from smartfilter.io import EventSource
    from smartfilter.pipeline.simulation import AnyDetector

__all__ = ["command"]

_BLOCKS = {"mock": 2_000, "geant4": 200}
"""Events that are in memory at once: seconds of work."""


@click.command("simulate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o", "--output", type=OutputPath(".parquet"), required=True, help="OUT.parquet"
)
@click.option(
    "--objects",
    type=OutputPath(".parquet"),
    help="OUT.parquet for tracks and clusters: 'smartfilter skim' starts from them.",
)
@click.option(
    "--detector",
    "kind",
    type=click.Choice(["mock", "geant4"]),
    default="mock",
    show_default=True,
    help="geant4: Geant4 transport in a simplified geometry; extra geant4.",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--step",
    type=click.FloatRange(min=0.0, min_open=True),
    default=1.0,
    show_default=True,
    help="Longest step in the mock detector, cm.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the detector.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.0, min_open=True),
    default=2.0,
    show_default=True,
    help="Longest time of Geant4, seconds per event, beside a minute per request.",
)
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@json_option
def command(
    files: tuple[str, ...],
    output: Path,
    objects: Path | None,
    kind: str,
    workers: int,
    step: float,
    seed: int,
    timeout: float,
    force: bool,
) -> None:
    """Run detector, reconstruction and skims; write the events with labels.

    \b
    Examples:
      smartfilter simulate events.root -o labelled.parquet
      smartfilter simulate events.root -o labelled.parquet --objects objects.parquet
    """  # noqa: D301
    import time

    from smartfilter import __version__
    from smartfilter.io import open_events
    from smartfilter.pipeline.detector import Detector
    from smartfilter.pipeline.labelling import label_files, list_versions

    source = open_events(files, chunk_size=_BLOCKS[kind])
    provenance = {
        "command": "simulate",
        "version": __version__,
        "versions": list_versions(),
        "inputs": list(files),
        "generation": _read_generation(source),
        "detector": kind,
        "step_cm": step if kind == "mock" else None,
        "seed": seed,
    }
    start = time.perf_counter()
    with ExitStack() as stack:
        detector: AnyDetector = Detector(step=step, seed=seed, workers=workers)
        if kind == "geant4":
            from smartfilter.pipeline.geant4 import Geant4Detector

            detector = stack.enter_context(
                Geant4Detector(seed=seed, workers=workers, timeout_per_event=timeout)
            )
        advance = stack.enter_context(show_progress("simulate", source.n_events))
        passing = label_files(
            source,
            output,
            detector=detector,
            provenance=provenance,
            objects=objects,
            force=force,
            advance=advance,
        )
    n_events = source.n_events
    rate = n_events / (time.perf_counter() - start)
    document = {
        **provenance,
        "n_events": n_events,
        "n_passing": passing,
        "events_per_second": rate,
        "output": str(output),
        "objects": None if objects is None else str(objects),
    }
    title = f"{n_events:,} events in {output}, {rate:,.0f} events/s"
    emit(document, make_retention_table(title, passing, n_events))


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
