"""Option types that several commands share; importing it loads click alone."""

from __future__ import annotations

import click

__all__ = ["EVENT_TYPE"]

EVENT_TYPE = click.Choice(
    ["ccbar", "charged", "ddbar", "mixed", "ssbar", "taupair", "uubar"]
)
"""`smartfilter.events.EVENT_TYPES`, which loads NumPy; a test compares the two."""
