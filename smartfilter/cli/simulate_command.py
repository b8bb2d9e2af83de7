"""``smartfilter simulate``: labels from the mock detector."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from smartfilter.cli.options import OutputPath
from smartfilter.cli.terminal import emit, json_option, make_table, show_progress

if TYPE_CHECKING:
    from pathlib import Path

    from smartfilter.pipeline.simulation import AnyDetector

__all__ = ["command"]


@click.command("simulate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o", "--output", type=OutputPath(".parquet"), required=True, help="OUT.parquet"
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
@click.option("--force", is_flag=True, help="Replace an existing output.")
@json_option
def command(
    files: tuple[str, ...],
    output: Path,
    kind: str,
    workers: int,
    step: float,
    seed: int,
    force: bool,
) -> None:
    """Run detector, reconstruction and skims; write the events with labels.

    \b
    Example:
      smartfilter simulate events.root -o labelled.parquet
    """  # noqa: D301
    import time

    from smartfilter import __version__
    from smartfilter.io import open_events
    from smartfilter.pipeline.detector import Detector
    from smartfilter.pipeline.labelling import label_files

    provenance = {
        "command": "simulate",
        "version": __version__,
        "inputs": list(files),
        "detector": kind,
        "step_cm": step if kind == "mock" else None,
        "seed": seed,
    }
    source = open_events(files, chunk_size=2_000)
    start = time.perf_counter()
    with ExitStack() as stack:
        detector: AnyDetector = Detector(step=step, seed=seed, workers=workers)
        if kind == "geant4":
            from smartfilter.pipeline.geant4 import Geant4Detector

            detector = stack.enter_context(Geant4Detector(seed=seed, workers=workers))
        advance = stack.enter_context(show_progress("simulate", source.n_events))
        passing = label_files(
            source,
            output,
            detector=detector,
            provenance=provenance,
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
    }
    rows = [
        (name, f"{k:,}", f"{100 * k / max(n_events, 1):.3f}")
        for name, k in passing.items()
    ]
    title = f"{n_events:,} events in {output}, {rate:,.0f} events/s"
    emit(document, make_table(title, ("skim", "passing", "retention %"), rows))
