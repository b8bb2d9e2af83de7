"""``smartfilter report``: one page of a folder of results."""

from __future__ import annotations

from pathlib import Path

import click

from smartfilter.cli.options import OutputPath
from smartfilter.cli.terminal import emit, json_option

__all__ = ["command"]


@click.command("report")
@click.argument(
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
)
@click.option(
    "-o",
    "--output",
    type=OutputPath(".html"),
    help="The page.  [DIR/report.html]",
)
@click.option("--force", is_flag=True, help="Replace an existing page.")
@json_option
def command(folder: Path, output: Path | None, force: bool) -> None:
    """Make one HTML page of the results in DIR: tables, figures, provenance.

    DIR is the output of smartfilter measure or evaluate, or holds model files with the
    histories of their trainings; several of them give several sections. The page
    contains its figures and needs nothing else, neither files nor a network.

    \b
    Examples:
      smartfilter evaluate model.pt 'datasets/*.parquet' -o output
      smartfilter report output
      smartfilter report models/ -o models.html
    """  # noqa: D301
    from smartfilter.io.output import TextFile
    from smartfilter.plots.page import render
    from smartfilter.plots.report import make_report

    target = folder / "report.html" if output is None else output
    with TextFile(target, force=force) as file:
        page = make_report(folder)
        file.text = render(page)
    figures = sum(len(section.figures) for section in page.sections)
    tables = sum(len(section.tables) for section in page.sections)
    document = {
        "output": str(target),
        "sections": [section.title for section in page.sections],
        "n_tables": tables,
        "n_figures": figures,
    }
    emit(document, f"{target}: {page.subtitle}; {tables} tables, {figures} figures")
