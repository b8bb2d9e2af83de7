"""``smartfilter export``: a model file as ONNX for the official module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smartfilter.cli.completion import complete_models, complete_skim_codes
from smartfilter.cli.options import EVENT_TYPE, OutputPath
from smartfilter.cli.terminal import emit, json_option, make_table, show_progress

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]


def _parse_codes(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> dict[str, int]:
    """Return the codes of ``NAME=CODE`` by name."""
    codes = {}
    for value in values:
        name, _sign, code = value.rpartition("=")
        if not name or not code.isdecimal():
            raise click.BadParameter(f"expected NAME=CODE, got '{value}'")
        codes[name] = int(code)
    return codes


@click.command("export")
@click.argument("model", metavar="MODEL", shell_complete=complete_models)
@click.option(
    "--onnx", "output", type=OutputPath(".onnx"), required=True, help="OUT.onnx"
)
@click.option(
    "--event-type",
    type=EVENT_TYPE,
    help="Take the sampling constants of this type.  [the model's default]",
)
@click.option(
    "--skim-code",
    "codes",
    shell_complete=complete_skim_codes,
    multiple=True,
    callback=_parse_codes,
    metavar="NAME=CODE",
    help="Code of a skim; repeatable.  [the model's]",
)
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@json_option
def command(
    model: str,
    output: Path,
    event_type: str | None,
    codes: dict[str, int],
    force: bool,
) -> None:
    """Write MODEL as ONNX with the interface of the official SmartBackground module.

    OUT.json beside it holds what the module's configuration payload holds. Scoring
    with --model OUT.onnx reads the two; they hold no calibration, so that scores are
    sigmoid(logit) there and --mode official is the one that repeats MODEL.

    \b
    Examples:
      smartfilter export model.pt --onnx out.onnx
      smartfilter score gen.root --model out.onnx --mode official
    """  # noqa: D301
    from smartfilter.model_file import load_module
    from smartfilter.onnx_export import export_network

    module, info = load_module(model)
    with show_progress("export", None):
        export = export_network(
            module, info, output, codes=codes, event_type=event_type, force=force
        )
    document = {
        "model": model,
        "output": str(export.network),
        "configuration": str(export.document),
        "n_bytes": export.n_bytes,
        "skims": list(info.skim_names),
        "largest_difference": export.largest_difference,
    }
    rows = [
        ("network", str(export.network)),
        ("configuration", str(export.document)),
        ("bytes", f"{export.n_bytes:,}"),
        ("skims", ", ".join(info.skim_names)),
        ("largest difference of trial logits", f"{export.largest_difference:.1e}"),
    ]
    emit(document, make_table(f"{model} as ONNX", ("", ""), rows))
