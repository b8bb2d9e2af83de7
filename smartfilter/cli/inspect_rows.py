"""Rows that several tables of ``smartfilter inspect`` share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from smartfilter.cli.terminal import make_table
from smartfilter.contents import summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from rich.console import RenderableType

__all__ = ["flatten", "list_facts", "make_multiplicity_table"]

_COLUMNS = ("min", "q25", "median", "q75", "max", "mean")
_LONGEST = 60


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield names with dots and values of a nested mapping; long lists are counted."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flatten(value, f"{name}.")
        else:
            yield name, _show(value)


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        text = ", ".join(map(str, value))
        simple = not any(isinstance(item, (dict, list)) for item in value)
        return text if simple and len(text) <= _LONGEST else f"{len(value)} entries"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def list_facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of a table of a nested mapping."""
    return list(flatten(values))


def make_multiplicity_table(
    title: str, columns: Mapping[str, NDArray[Any]]
) -> RenderableType:
    """Return a table with range, quartiles and mean of numbers per event.

    Parameters
    ----------
    title : str
    columns : mapping of str to ndarray of int, each of shape (n_events,)
    """
    rows = []
    for name, values in columns.items():
        spread = summarise(values)
        shown = [
            f"{spread[c]:g}" if c != "mean" else f"{spread[c]:.1f}" for c in spread
        ]
        rows.append((name, *(shown or ["-"] * len(_COLUMNS))))
    heads = ("", "min", "25 %", "median", "75 %", "max", "mean")
    return make_table(title, heads, rows)
