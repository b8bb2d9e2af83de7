"""``smartfilter inspect``: what a file or a model holds."""

from __future__ import annotations

from pathlib import Path

import click

from smartfilter.cli.completion import complete_models, complete_skims
from smartfilter.cli.terminal import json_option
from smartfilter.shipped import DEFAULT_MODEL

__all__ = ["command"]

_PICTURES = (".svg", ".png", ".pdf")
_MODELS = (".pt", ".onnx")
_KINDS = {"scores": "scores", "detector objects": "objects"}
"""What a Parquet file calls itself -> what is inspected."""


@click.command("inspect")
@click.argument("file", shell_complete=complete_models)
@click.option("--event", "entry", type=click.IntRange(min=0), help="Draw this entry.")
@click.option(
    "--model",
    shell_complete=complete_models,
    help="Model that scores the event, and whose preparation counts for a file: a file, "
    f"gcn or subtree.  [{DEFAULT_MODEL}]",
)
@click.option(
    "--skim",
    shell_complete=complete_skims,
    help="Skim of a score file for the histograms.  [the first one]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --event: the decay tree as .svg, .png or .pdf; extra plot.",
)
@click.option("--force", is_flag=True, help="Replace an existing picture.")
@json_option
def command(
    file: str,
    entry: int | None,
    model: str | None,
    skim: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Show what a file holds: events, scores, detector objects or a model.

    FILE is an event file of any known format, a score file, detector objects that
    simulate wrote, a model file, or the name of a shipped model: gcn or subtree.

    \b
    Examples:
      smartfilter inspect examples/events.root
      smartfilter inspect examples/events.root --event 3 -o tree.svg
      smartfilter inspect scores.parquet --skim feiHadronicB0
      smartfilter inspect subtree
    """  # noqa: D301
    if output is not None and output.suffix.lower() not in _PICTURES:
        raise click.UsageError(
            f"expected an output that ends in {', '.join(_PICTURES)}, got '{output}'"
        )
    if output is not None and entry is None:
        raise click.UsageError("-o draws one event: name it with --event")
    kind = _find_kind(file)
    _check_options(kind, entry=entry, model=model, skim=skim)
    if kind == "model":
        from smartfilter.cli.inspect_model import inspect_model

        inspect_model(file)
    elif kind == "scores":
        from smartfilter.cli.inspect_scores import inspect_scores

        inspect_scores(file, skim)
    elif kind == "objects":
        from smartfilter.cli.inspect_events import inspect_objects

        inspect_objects(file)
    elif entry is None:
        from smartfilter.cli.inspect_events import inspect_events

        inspect_events(file, model)
    else:
        from smartfilter.cli.inspect_tree import inspect_event

        inspect_event(file, entry, model, output, force=force)


def _check_options(
    kind: str, *, entry: int | None, model: str | None, skim: str | None
) -> None:
    """Refuse options that mean nothing for this kind of file."""
    if kind != "events" and entry is not None:
        raise click.UsageError(f"--event goes with a file of events, got {kind}")
    if kind != "events" and model is not None:
        raise click.UsageError(f"--model goes with a file of events, got {kind}")
    if kind != "scores" and skim is not None:
        raise click.UsageError(f"--skim goes with a score file, got {kind}")


def _find_kind(file: str) -> str:
    """Return ``model``, ``scores``, ``objects`` or ``events``."""
    if Path(file).suffix.lower() in _MODELS or _is_shipped(file):
        return "model"
    if not Path(file).is_file():
        return "events"
    from smartfilter.errors import InputError
    from smartfilter.io import ScoreFile
    from smartfilter.io.formats import reading
    from smartfilter.io.parquet import read_kind

    try:
        with reading(file):
            kind = read_kind(file)
    except InputError:
        return "events"
    if kind is not None:
        return _KINDS.get(kind, "events")
    try:
        ScoreFile(file)
    except InputError:
        return "events"
    return "scores"


def _is_shipped(name: str) -> bool:
    """Return whether this is the name of a shipped model; torch is loaded for names."""
    path = Path(name)
    if path.suffix or path.name != name or path.exists():
        return False
    from smartfilter.errors import InputError
    from smartfilter.model_file import is_shipped, list_shipped

    if is_shipped(name):
        return True
    if any(sign in name for sign in "*?["):
        return False
    raise InputError(
        f"inspect: expected a file or a shipped model ({', '.join(list_shipped())}), "
        f"got '{name}', which is neither; check the name"
    )
