"""``smartfilter rebuild``: a model file with the network code of this version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smartfilter.cli.completion import complete_models
from smartfilter.cli.options import OutputPath
from smartfilter.cli.terminal import emit, json_option, make_table

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]


@click.command("rebuild")
@click.argument("model", shell_complete=complete_models)
@click.option("-o", "--output", type=OutputPath(".pt"), required=True, help="MODEL.pt")
@click.option("--force", is_flag=True, help="Replace an existing model file.")
@json_option
def command(model: str, output: Path, force: bool) -> None:
    """Write a model file with the network code of this version.

    A model file carries the code of its network. Weights, calibration and thresholds
    stay as they are; the logits are compared, and the file records what was done.

    \b
    Example:
      smartfilter rebuild model.pt -o faster.pt
    """  # noqa: D301
    from smartfilter.io.output import check_output
    from smartfilter.model_rebuild import rebuild_model

    check_output(output, force=force)
    result = rebuild_model(model, output)
    document = {"output": str(output), **result._asdict()}
    rows = [
        ("digest before", result.old_digest[:16]),
        ("digest", result.digest[:16]),
        ("largest difference of a logit", f"{result.difference:.2g}"),
    ]
    emit(document, make_table(str(output), ("", ""), rows))
