"""``smartfilter train``: labelled files in, model file out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from smartfilter.cli.options import OutputPath
from smartfilter.cli.terminal import emit, json_option, make_table, show_progress

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command", "list_metrics"]


@click.command("train")
@click.argument("files", nargs=-1, required=True, metavar="DATA...")
@click.option("-o", "--output", type=OutputPath(".pt"), required=True, help="MODEL.pt")
@click.option(
    "--config",
    default="gcn",
    show_default=True,
    help="YAML file or the name of a shipped configuration.",
)
@click.option("--seed", type=int, help="Replaces the configuration's seed.")
@click.option("--epochs", type=click.IntRange(min=1), help="Replaces that of the file.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--device", help="cpu, cuda or cuda:N.")
@click.option("--force", is_flag=True, help="Replace an existing model file.")
@json_option
def command(
    files: tuple[str, ...],
    output: Path,
    config: str,
    seed: int | None,
    epochs: int | None,
    threads: int | None,
    device: str | None,
    force: bool,
) -> None:
    """Train a network on labelled Parquet files and write a model file.

    Events are split into training, validation and test events by a hash of their
    identity and content; the metrics are those of the test events. The history is
    written beside the model as CSV.

    \b
    Example:
      smartfilter train 'datasets/mixed-*.parquet' -o model.pt
    """  # noqa: D301
    if output.exists() and not force:
        raise click.UsageError(f"'{output}' exists; use --force to replace it")
    from smartfilter.io import open_events
    from smartfilter.training.config import read_config
    from smartfilter.training.trainer import train_model

    changes = {"seed": seed, "epochs": epochs, "threads": threads, "device": device}
    settings = read_config(
        config, **{key: value for key, value in changes.items() if value is not None}
    )
    with show_progress("read", open_events(files).n_events) as advance:
        result = train_model(
            files,
            output,
            settings,
            advance=advance,
            progress=True,
            history_file=output.with_suffix(".csv"),
        )
    metrics = {name: e.to_metrics() for name, e in result.evaluations.items()}
    document = {"output": str(output), "digest": result.digest, "metrics": metrics}
    tables = [
        make_table(f"{name}, test events", ("", ""), list_metrics(values))
        for name, values in metrics.items()
    ]
    emit(document, *tables)


def list_metrics(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of a table of `smartfilter.training.evaluation.Evaluation`."""
    return [
        ("passing, failing", f"{metrics['n_passing']:,}, {metrics['n_failing']:,}"),
        ("retention", f"{metrics['retention_rate']:.4f}"),
        ("AUC", f"{metrics['auc']:.4f} ± {metrics['auc_error']:.4f}"),
        ("accuracy, balanced", f"{metrics['accuracy']:.4f}"),
        ("threshold", f"{metrics['threshold']:.4f}"),
        ("f1, f0 there", f"{metrics['tpr']:.4f}, {metrics['fpr']:.4f}"),
        (
            "speedup (A) there",
            f"{metrics['speedup']:.2f} ± {metrics['speedup_error']:.2f}",
        ),
        ("largest speedup (A)", f"{metrics['max_speedup']:.2f}"),
        ("sampling speedup (C)", f"{metrics['sampling_speedup']:.2f}"),
        ("calibration error", f"{metrics['calibration_error']:.4f}"),
    ]
