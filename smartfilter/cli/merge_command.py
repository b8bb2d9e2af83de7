"""``smartfilter merge``: one score file of many."""

from __future__ import annotations

from pathlib import Path

import click

from smartfilter.cli.completion import complete_files
from smartfilter.cli.terminal import (
    emit,
    join_equal,
    json_option,
    make_table,
    show_steps,
)

__all__ = ["command"]


@click.command("merge")
@click.argument(
    "files", nargs=-1, required=True, metavar="SCORES...", shell_complete=complete_files
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="OUT.parquet or OUT.root",
)
@click.option("--force", is_flag=True, help="Replace an existing output.")
@json_option
def command(files: tuple[str, ...], output: Path, force: bool) -> None:
    """Join score files of the same model, mode and settings.

    Counts and sums of weights add up. Each file is verified, and refused if its
    model or settings differ or if it has an event of another file.

    \b
    Example:
      smartfilter merge 'scores/*.parquet' -o scores.parquet
    """  # noqa: D301
    from smartfilter.io import merge_scores
    from smartfilter.io.locations import expand_paths

    paths = [location.path for location in expand_paths(files)]
    with show_steps() as begin:
        metadata = merge_scores(paths, output, force=force, begin=begin)
    document = {
        "n_files": len(paths),
        "n_events": metadata["n_generated"],
        "output": str(output),
        **metadata,
    }
    rows = [
        ("files", f"{len(paths):,}"),
        ("events", f"{metadata['n_generated']:,}"),
        ("kept", f"{metadata['n_kept']:,}"),
        *(
            (f"sum of weights, {skim}", f"{total:,.1f}")
            for skim, total in join_equal(metadata["sum_weight"]).items()
        ),
    ]
    emit(document, make_table(f"scores in {output}", ("", ""), rows))
