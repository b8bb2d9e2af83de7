"""``smartfilter train``: labelled files in, model file out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from smartfilter.cli.completion import (
    complete_configs,
    complete_devices,
    complete_files,
    complete_skims,
)
from smartfilter.cli.metrics import make_result_tables
from smartfilter.cli.options import FiniteRange, OutputPath
from smartfilter.cli.terminal import emit, is_interactive, json_option, show_progress

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]


@click.command("train")
@click.argument(
    "files", nargs=-1, required=True, metavar="DATA...", shell_complete=complete_files
)
@click.option("-o", "--output", type=OutputPath(".pt"), required=True, help="MODEL.pt")
@click.option(
    "--config",
    shell_complete=complete_configs,
    default="gcn",
    show_default=True,
    help="YAML file or the name of a shipped configuration; a wrong name lists them.",
)
@click.option(
    "--skim",
    "skims",
    shell_complete=complete_skims,
    multiple=True,
    help="Skim to learn, the main one first; repeatable.  [that of the file, or all]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Replaces the configuration's seed."
)
@click.option("--epochs", type=click.IntRange(min=1), help="Replaces that of the file.")
@click.option(
    "--minutes",
    type=FiniteRange(min=0, min_open=True),
    help="Stop behind the epoch that exceeds this time; --resume with more goes on.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--device", shell_complete=complete_devices, help="cpu, cuda or cuda:N.")
@click.option("--resume", is_flag=True, help="Go on from the last complete epoch.")
@click.option("--force", is_flag=True, help="Replace an existing model file.")
@json_option
def command(
    files: tuple[str, ...],
    output: Path,
    config: str,
    skims: tuple[str, ...],
    seed: int | None,
    epochs: int | None,
    minutes: float | None,
    threads: int | None,
    device: str | None,
    resume: bool,
    force: bool,
) -> None:
    """Train a network on labelled Parquet files and write a model file.

    Events are split into training, validation and test events by a hash of their
    identity and content; the metrics are those of the test events. The history is
    written beside the model as CSV. An interrupted training goes on with --resume from
    the checkpoint MODEL.ckpt, which is removed in the end; when
    --minutes ended it, --resume with more of them goes on.

    \b
    Example:
      smartfilter train 'datasets/*.parquet' -o model.pt
      smartfilter train 'datasets/mixed-*.parquet' -o m.pt --skim feiHadronicB0 \\
        --config lab_report/combined_gcn
    """  # noqa: D301
    from smartfilter.io import open_events
    from smartfilter.io.output import check_output
    from smartfilter.training.config import read_config
    from smartfilter.training.trainer import train_model

    history = output.with_suffix(".csv")
    check_output(output, force=force)
    check_output(history, force=force or resume)
    changes: dict[str, Any] = {
        "skims": skims or None,
        "seed": seed,
        "epochs": epochs,
        "max_minutes": minutes,
        "threads": threads,
        "device": device,
    }
    settings = read_config(
        config, **{key: value for key, value in changes.items() if value is not None}
    )
    with show_progress("read", open_events(files).n_events) as advance:
        result = train_model(
            files,
            output,
            settings,
            advance=advance,
            progress=is_interactive(),
            history_file=history,
            checkpoint=output.with_suffix(".ckpt"),
            resume=resume,
        )
    assessment = result.assessment
    document = {
        "output": str(output),
        "digest": result.digest,
        "epochs": len(result.history),
        "stopped": result.info.training["stopped"],
        "metrics": {k: r.to_metrics() for k, r in assessment.main.items()},
        "results": [r.to_metrics() for r in assessment.results],
    }
    title = f"{output}: {len(assessment.sample):,} test events"
    emit(document, *make_result_tables(title, assessment.results))
