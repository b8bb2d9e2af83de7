"""``smartfilter evaluate``: figures of merit of models on events they never saw."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartfilter.cli.completion import complete_models
from smartfilter.cli.metrics import (
    describe_agreement,
    make_bias_tables,
    make_comparison_tables,
    make_result_tables,
)
from smartfilter.cli.options import FiniteRange, device_option, skims_option
from smartfilter.cli.terminal import (
    SCHEMA_VERSION,
    describe_run,
    emit,
    json_option,
    show_steps,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from smartfilter.training.report import ModelReport

__all__ = ["command"]

TIME = FiniteRange(min=0.0)

MODEL_SUFFIXES = (".pt", ".onnx")
"""How the name of a model file ends; everything else is data."""


@click.command("evaluate")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="MODEL... DATA...",
    shell_complete=complete_models,
)
@skims_option
@click.option(
    "--t-s",
    type=TIME,
    default=100.0,
    show_default=True,
    help="Simulation, reconstruction and skim, in units of t_g.",
)
@click.option(
    "--t-n", type=TIME, default=0.0, show_default=True, help="Filter, the same."
)
@click.option(
    "--all-events",
    is_flag=True,
    help="Use every event: only for files that no model was trained on.",
)
@click.option(
    "--bias",
    is_flag=True,
    help="Compare event-level variables of passing events with and without the filter; "
    "the tables show the first skim.",
)
@device_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for evaluate.json and figures of the first skim; extra plot.",
)
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@json_option
def command(
    files: tuple[str, ...],
    skims: tuple[str, ...],
    t_s: float,
    t_n: float,
    all_events: bool,
    bias: bool,
    device: str,
    output: Path | None,
    force: bool,
) -> None:
    """Evaluate models on labelled events; those they were trained on are left out.

    Arguments that end in .pt or .onnx and names of shipped models (gcn, subtree) are
    models, all others are data. Several models see the same events: those that none of
    them was trained on. An ONNX network does not know what it was trained on and needs
    --all-events.

    Times are in units of the generation time t_g. One row per skim and event type; the
    figures at the top of the JSON document are those of the first model and skim on the
    events of the type that passes it most often. The threshold is the one that training
    chose with validation events; for other times than in the training, validation
    events among the data choose it again.

    \b
    Examples:
      smartfilter evaluate model.pt 'datasets/*.parquet'
      smartfilter evaluate gcn own.pt 'datasets/*.parquet' --bias -o output
    """  # noqa: D301
    from smartfilter.model_file import is_shipped, list_shipped
    from smartfilter.points import Times
    from smartfilter.scoring import Scorer
    from smartfilter.training.report import evaluate_models

    models = [f for f in files if f.lower().endswith(MODEL_SUFFIXES) or is_shipped(f)]
    data = [f for f in files if f not in models]
    if not models or not data:
        raise click.UsageError(
            f"expected one or more models ({', '.join((*MODEL_SUFFIXES, *list_shipped()))}) "
            "and data, got "
            f"{len(models)} models and {len(data)} data files"
        )
    run = describe_run()
    scorers = [Scorer(model, device=device) for model in models]
    with ExitStack() as stack:
        report = None
        if output is not None:
            from smartfilter.plots import ReportFolder
            from smartfilter.plots.evaluation import list_figures

            histories = [(s.path, s.info.training) for s in scorers]
            names = list_figures(histories, bias=bias)
            report = stack.enter_context(
                ReportFolder(output, "evaluate", names, force=force)
            )
        begin = stack.enter_context(show_steps())
        reports = evaluate_models(
            data,
            scorers,
            skims=skims,
            times=Times(1.0, t_s, t_n),
            all_events=all_events,
            bias=bias,
            begin=begin,
        )
        document = {**_make_document(reports), **run}
        if report is not None:
            from smartfilter.plots.evaluation import draw_figures

            skim = next(iter(document["skims"]))
            curves = []
            advance = begin("curves", len(reports), "models")
            for one in reports:
                curves.append(one.to_curves(skim))
                advance(1)
            numbers = {
                "schema_version": SCHEMA_VERSION,
                **document,
                "curves": {"skim": skim, "models": curves},
            }
            advance = begin("figures", len(report.paths), "files")
            report.write(numbers, draw_figures(numbers, report.figures), advance)
    emit(document, *_make_tables(reports, document))
    if report is not None:
        click.echo(f"Written: {', '.join(map(str, report.paths))}", err=True)


def _make_document(reports: Sequence[ModelReport]) -> dict[str, Any]:
    """Return the JSON document: the first model at the top, all of them in a list."""
    models = [report.to_dict() for report in reports]
    first, sample = models[0], reports[0].assessment.sample
    return {
        "model": {"path": first["path"], "digest": first["digest"]},
        **next(iter(first["skims"].values())),
        "n_events": len(sample),
        "n_left_out": sample.n_dropped,
        "n_unscorable": sample.n_unscorable,
        "skims": first["skims"],
        "results": first["results"],
        "models": models,
    }


def _make_tables(
    reports: Sequence[ModelReport], document: dict[str, Any]
) -> list[RenderableType]:
    models = document["models"]
    title = (
        f"{document['n_events']:,} unseen events, {document['n_left_out']:,} left out"
    )
    tables: list[RenderableType] = []
    if len(reports) == 1:
        tables += make_result_tables(title, reports[0].assessment.results)
        skim = next(iter(document["skims"]))
        tables += ["", *make_comparison_tables(models, skim)]
    else:
        tables.append(title)
        for skim in document["skims"]:
            tables += make_comparison_tables(models, skim)
        tables += [
            f"{Path(r.name).name}: {describe_agreement(r.assessment.agreement)}"
            for r in reports
        ]
    for report in reports:
        if report.bias:
            skim, table = next(iter(report.bias.items()))
            tables += [
                "",
                *make_bias_tables(f"{Path(report.name).name}, {skim}", table),
            ]
    return tables
