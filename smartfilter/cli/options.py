"""Option types that several commands share; importing it loads click alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["EVENT_TYPE", "OutputPath", "decay_table_option"]

EVENT_TYPE = click.Choice(
    ["ccbar", "charged", "ddbar", "mixed", "ssbar", "taupair", "uubar"]
)
"""`smartfilter.events.EVENT_TYPES`, which loads NumPy; a test compares the two."""

decay_table_option = click.option(
    "--decay-table",
    type=click.Choice(["belle2", "pythia"]),
    default="belle2",
    show_default=True,
    help="Branching fractions of DECAY_BELLE2.DEC, or Pythia's own.",
)
"""`smartfilter.pipeline.generator.DECAY_TABLES`; a test compares the two."""


class OutputPath(click.Path):
    """The path of an output whose name has to end in a suffix.

    Parameters
    ----------
    suffix : str
        With the dot.
    """

    def __init__(self, suffix: str) -> None:
        super().__init__(path_type=Path, dir_okay=False)
        self.suffix = suffix

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the path, or fail as a usage error."""
        path: Any = super().convert(value, param, ctx)
        if path.suffix.lower() != self.suffix:
            self.fail(f"expected a name that ends in {self.suffix}, got '{value}'")
        return path
