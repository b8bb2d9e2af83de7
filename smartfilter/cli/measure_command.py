"""``smartfilter measure``: the chain with and without the filter against the formulas."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from smartfilter.cli.completion import complete_devices, complete_skims
from smartfilter.cli.options import (
    EVENT_TYPE,
    Choice,
    FiniteRange,
    chain_seed_option,
    decay_table_option,
    detector_option,
    model_option,
)
from smartfilter.cli.terminal import (
    SCHEMA_VERSION,
    describe_run,
    emit,
    json_option,
    show_steps,
)

__all__ = ["command"]


@click.command("measure")
@click.option(
    "-n",
    "n_events",
    type=click.IntRange(min=1),
    default=36_000,
    show_default=True,
    help="Events per sample; there are two.",
)
@click.option(
    "--event-type",
    type=EVENT_TYPE,
    default="mixed",
    show_default=True,
    help="What to generate.",
)
@click.option(
    "--skim",
    shell_complete=complete_skims,
    default="feiHadronicB0",
    show_default=True,
    help="Skim that counts as passing.",
)
@model_option
@click.option(
    "--mode",
    "modes",
    type=Choice(["threshold", "sample", "official"]),
    multiple=True,
    default=["threshold", "sample"],
    show_default=True,
    help="How the filter decides; repeatable.",
)
@click.option(
    "--threshold",
    "thresholds",
    type=FiniteRange(0.0, 1.0),
    multiple=True,
    help="Working point; repeatable, the first one is run for real.  "
    "[0.7, 0.5, 0.3, 0.2, 0.1 times the model's]",
)
@click.option("--run-all", is_flag=True, help="Run every threshold for real.")
@click.option(
    "--blocks/--per-event",
    "blocks",
    default=None,
    help="Let the filter score whole blocks, or one event at a time.  [both]",
)
@detector_option
@click.option(
    "--step",
    type=FiniteRange(min=0.0, min_open=True),
    default=0.08,
    show_default=True,
    help="Longest step in the mock detector, cm: the dial of t_s.",
)
@decay_table_option
@chain_seed_option
@click.option(
    "--clock",
    type=Choice(["cpu", "wall"]),
    default="cpu",
    show_default=True,
    help="Processor time or wall clock; the JSON document has both.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that share the events.",
)
@click.option(
    "--device",
    shell_complete=complete_devices,
    default="cpu",
    show_default=True,
    help="Where the network runs: auto, cpu, cuda or cuda:N.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for measure.json and the figures measure and costs (.png, .pdf); extra plot.",
)
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@json_option
def command(
    n_events: int,
    event_type: str,
    skim: str,
    model: str | None,
    modes: tuple[str, ...],
    thresholds: tuple[float, ...],
    run_all: bool,
    blocks: bool | None,
    detector: str,
    step: float,
    decay_table: str,
    seed: int,
    clock: str,
    workers: int,
    device: str,
    output: Path | None,
    force: bool,
) -> None:
    """Run generator, filter, detector, reconstruction and skim, and time them.

    Predictions come from one sample of N events, the measured speedup from another one
    that runs with and without the filter. Every worker is one thread; times are per
    event and core.

    \b
    Examples:
      smartfilter measure --workers 2 -o output
      smartfilter measure -n 5000 --threshold 0.05 --threshold 0.1 --json
    """  # noqa: D301
    from smartfilter.cli.measure_tables import make_tables
    from smartfilter.pipeline.measurement import WAYS, measure

    ways = WAYS if blocks is None else ("blocks",) if blocks else ("events",)
    run = describe_run()
    with ExitStack() as stack:
        report = None
        if output is not None:
            from smartfilter.plots import ReportFolder, draw_costs, draw_measurement

            report = stack.enter_context(
                ReportFolder(output, "measure", ["measure", "costs"], force=force)
            )
        begin = stack.enter_context(show_steps())
        result = measure(
            event_type,
            n_events,
            skim=skim,
            model=model,
            modes=modes,
            thresholds=thresholds,
            run_all=run_all,
            ways=ways,
            detector=detector,
            step=step,
            decay_table=decay_table,
            seed=seed,
            clock=clock,
            workers=workers,
            device=device,
            begin=begin,
        )
        document = {**result.to_document(), **run}
        if report is not None:
            numbers = {"schema_version": SCHEMA_VERSION, **document}
            figures = {
                "measure": draw_measurement(numbers),
                "costs": draw_costs(numbers),
            }
            advance = begin("figures", len(report.paths), "files")
            report.write(numbers, figures, advance)
    emit(document, *make_tables(document))
    if report is not None:
        click.echo(f"Written: {', '.join(map(str, report.paths))}", err=True)
