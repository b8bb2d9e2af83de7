"""Readers and writers of event, label and score files.

Importing this package loads no file library; names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smartfilter.io.labelled import LabelledWriter
    from smartfilter.io.mdst import EXTRA_COLUMNS
    from smartfilter.io.mdst_writer import MdstWriter, read_provenance
    from smartfilter.io.merged import merge_scores
    from smartfilter.io.score_reader import (
        ScoreFile,
        ScoreTable,
        read_scores,
        verify_scores,
    )
    from smartfilter.io.scores import ScoreWriter
    from smartfilter.io.source import EventSource, open_events

__all__ = [
    "EXTRA_COLUMNS",
    "EventSource",
    "LabelledWriter",
    "MdstWriter",
    "ScoreFile",
    "ScoreTable",
    "ScoreWriter",
    "merge_scores",
    "open_events",
    "read_provenance",
    "read_scores",
    "verify_scores",
]

_HOMES = {
    "EXTRA_COLUMNS": "smartfilter.io.mdst",
    "EventSource": "smartfilter.io.source",
    "LabelledWriter": "smartfilter.io.labelled",
    "MdstWriter": "smartfilter.io.mdst_writer",
    "ScoreFile": "smartfilter.io.score_reader",
    "ScoreTable": "smartfilter.io.score_reader",
    "ScoreWriter": "smartfilter.io.scores",
    "merge_scores": "smartfilter.io.merged",
    "open_events": "smartfilter.io.source",
    "read_provenance": "smartfilter.io.mdst_writer",
    "read_scores": "smartfilter.io.score_reader",
    "verify_scores": "smartfilter.io.score_reader",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'smartfilter.io' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
