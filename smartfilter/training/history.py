"""What a training logged: one row per epoch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COLUMNS", "find_history"]

COLUMNS = ("epoch", "train_loss", "validation_loss", "validation_auc")
"""Columns without which a file is no history."""


def find_history(
    path: str | Path, training: Mapping[str, Any]
) -> list[dict[str, float]]:
    """Return the epochs of a model: those that it records, or of the CSV file beside it.

    Parameters
    ----------
    path : str or Path
        The model file; ``model.pt`` has its history in ``model.csv``.
    training : mapping
        `smartfilter.model_info.ModelInfo.training`; with ``history`` if it records one.

    Returns
    -------
    list of dict
        Rows with at least `COLUMNS`; empty if there is none.
    """
    rows: Any = training.get("history")
    if rows is None:
        try:
            with (
                Path(path)
                .with_suffix(".csv")
                .open(newline="", encoding="utf-8") as stream
            ):
                rows = list(csv.DictReader(stream))
        except (OSError, UnicodeDecodeError, csv.Error):
            return []
    try:
        return [
            {key: float(row[key]) for key in (*COLUMNS, *row) if row[key] is not None}
            for row in rows
        ]
    except (KeyError, TypeError, ValueError):
        return []
