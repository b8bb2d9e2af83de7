"""``smartfilter calibrate``: new constants for a trained network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smartfilter.cli.completion import complete_files, complete_models
from smartfilter.cli.metrics import make_result_tables
from smartfilter.cli.options import OutputPath
from smartfilter.cli.terminal import emit, json_option, show_steps

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]


@click.command("calibrate")
@click.argument("model", shell_complete=complete_models)
@click.argument(
    "files", nargs=-1, required=True, metavar="DATA...", shell_complete=complete_files
)
@click.option("-o", "--output", type=OutputPath(".pt"), required=True, help="MODEL.pt")
@click.option(
    "--all-events",
    is_flag=True,
    help="Calibrate with training events, too: only for files that the model was not "
    "trained on.",
)
@click.option("--force", is_flag=True, help="Replace an existing model file.")
@json_option
def command(
    model: str,
    files: tuple[str, ...],
    output: Path,
    all_events: bool,
    force: bool,
) -> None:
    """Calibrate a model again without training: the network stays as it is.

    Retention rates, calibration, thresholds and sampling constants come from DATA, by
    the split that the model records: validation events give the constants, test events
    the metrics. DATA are the files of the training, or others if generator, simulation
    or skims changed a little.

    \b
    Example:
      smartfilter calibrate model.pt 'datasets/*.parquet' -o calibrated.pt
    """  # noqa: D301
    from smartfilter.io.output import check_output
    from smartfilter.training.recalibration import recalibrate

    check_output(output, force=force)
    with show_steps() as begin:
        result = recalibrate(model, files, output, all_events=all_events, begin=begin)
    assessment = result.assessment
    document = {
        "output": str(output),
        "digest": result.digest,
        "n_events": result.n_events,
        "metrics": {k: r.to_metrics() for k, r in assessment.main.items()},
        "results": [r.to_metrics() for r in assessment.results],
        "agreement": assessment.agreement.to_dict(),
    }
    title = f"{output}: {len(assessment.sample):,} test events"
    emit(document, *make_result_tables(title, assessment.results))
