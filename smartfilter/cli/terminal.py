"""What commands print: JSON or tables on stdout, progress on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from smartfilter.progress import Begin

__all__ = [
    "COMMAND_LINE",
    "describe_run",
    "emit",
    "is_interactive",
    "join_equal",
    "json_option",
    "make_table",
    "report_skipped",
    "show_progress",
    "show_steps",
]

_Value = TypeVar("_Value")

COMMAND_LINE = "smartfilter.command_line"
"""Where the context of a command keeps it."""

SCHEMA_VERSION = 1
"""Version of the JSON documents."""

_WIDTH = 120
"""Columns of tables that go to a file or a pipe, unless COLUMNS says otherwise."""

_TEXT_WIDTH = 80
"""The same of lines of text."""


def _remember_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().obj["json"] = True


json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_remember_json,
    help="One JSON document on stdout.",
)
"""Option of every command: the same as ``--json`` before the command's name."""


def _finite(value: Any) -> Any:
    """Return plain Python values with null for what JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def emit(document: Mapping[str, Any], *tables: RenderableType) -> None:
    """Print the JSON document if it was asked for, else the tables.

    Parameters
    ----------
    document : mapping
        The result; ``schema_version`` is added, NaN and infinity become null.
    *tables : rich renderables
        What a person reads.
    """
    if click.get_current_context().find_root().obj["json"]:
        plain = _finite({"schema_version": SCHEMA_VERSION, **document})
        click.echo(json.dumps(plain, indent=2, allow_nan=False))
        return
    from rich.console import Console

    fixed = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(highlight=False, width=_WIDTH if fixed else None)
    for table in tables:
        narrow = fixed and isinstance(table, str)
        console.print(table, width=_TEXT_WIDTH if narrow else None)


def describe_run() -> dict[str, Any]:
    """Return command line, versions and machine; see `smartfilter.run_record`."""
    from smartfilter import run_record

    return run_record.describe_run(click.get_current_context().meta[COMMAND_LINE])


def make_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> RenderableType:
    """Return a title and a table: first column left, the others right-aligned."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_header=any(columns), pad_edge=False)
    for position, name in enumerate(columns):
        table.add_column(
            name, justify="left" if position == 0 else "right", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return Group(Text(title, style="bold"), table)


def join_equal(by_skim: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return the values of all skims, or one for each of them if all are the same.

    Weights are where one serves all skims: in every mode but ``official``.
    """
    values = list(by_skim.values())
    if len(values) > 1 and all(value == values[0] for value in values):
        return {f"each of {len(values)} skims": values[0]}
    return dict(by_skim)


def report_skipped(skipped: Mapping[str, str]) -> None:
    """Say on stderr which files were left out, and why."""
    for reason in skipped.values():
        click.echo(f"WARNING: left out: {reason}", err=True)
    if skipped:
        click.echo(f"WARNING: {len(skipped)} files were left out", err=True)


def is_interactive() -> bool:
    """Return whether somebody looks at stderr: bars are for a terminal only."""
    return sys.stderr.isatty()


@contextmanager
def show_steps() -> Iterator[Begin]:
    """Show a bar per step with rate and remaining time on stderr, on a terminal only.

    Yields
    ------
    Begin
        Begins a step; the one before it is complete then.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def begin(
            task: str, total: int | None, unit: str = "events"
        ) -> Callable[[int], None]:
            for row in bars.tasks:
                if not row.finished:
                    complete = row.completed if row.total is None else row.total
                    bars.update(row.id, total=complete, completed=complete)
            identity = bars.add_task(task, total=total, rate="")

            def advance(n_units: int) -> None:
                bars.advance(identity, n_units)
                row = bars.tasks[-1]
                speed = row.speed or row.completed / max(row.elapsed or 0.0, 1e-3)
                rate = f"{_show_rate(speed)} {unit}/s" if speed else ""
                bars.update(identity, rate=rate)

            return advance

        yield begin


def _show_rate(speed: float) -> str:
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"


@contextmanager
def show_progress(
    task: str, total: int | None, unit: str = "events"
) -> Iterator[Callable[[int], None]]:
    """Show the bar of work in one step; see `show_steps`.

    Yields
    ------
    callable
        Takes the number of units done since the last call.
    """
    with show_steps() as begin:
        yield begin(task, total, unit)
