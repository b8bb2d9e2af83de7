"""Decisions of ``smartfilter score`` by event identity: the second of two passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError, UsageError
from smartfilter.events import ID_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.io import ScoreTable

__all__ = ["ScoreLookup"]


class ScoreLookup:
    """The rows of a score file, found by experiment, run, production and event.

    The decisions are those of the file, to the last bit. A look-up is a binary search
    per number: exact, and about 20 microseconds among two million events, which take
    1.5 s to load.

    Parameters
    ----------
    path : str or Path
        Written by ``smartfilter score`` (Parquet or ROOT).

    Raises
    ------
    InputError
        If the file cannot be read, or has an event twice.
    UsageError
        If pyarrow or uproot is not installed; both are needed here only.
    """

    def __init__(self, path: str | Path) -> None:
        table = _read(path)
        self.path = str(path)
        self.skims = table.skims
        self.mode = str(table.metadata.get("mode", "unknown"))
        self.digest = str(table.metadata.get("model_digest", "unknown"))
        self.event_type: NDArray[np.int8] = table["event_type"]
        self.n_particles: NDArray[np.int64] = table["n_particles"]
        self.keep: NDArray[np.bool_] = table["keep"]
        self.weight = self._stack(table, "weight")
        self.score = self._stack(table, "score")
        self._order = np.lexsort([table[name] for name in reversed(ID_COLUMNS)])
        self._columns = [table[name][self._order] for name in ID_COLUMNS]
        self._refuse_duplicates(table)

    def _stack(self, table: ScoreTable, name: str) -> NDArray[Any]:
        """Return a quantity of all skims, shape (n_events, n_skims)."""
        return np.stack([table[f"{name}_{skim}"] for skim in self.skims], axis=1)

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.keep)

    def _refuse_duplicates(self, table: ScoreTable) -> None:
        same = np.ones(max(len(self) - 1, 0), dtype=bool)
        for column in self._columns:
            same &= column[1:] == column[:-1]
        again = np.flatnonzero(same)
        if not len(again):
            return
        first, second = self._order[again[0]], self._order[again[0] + 1]
        name = " / ".join(str(column[again[0]]) for column in self._columns)
        places = " and ".join(
            f"entry {table['entry'][row]} of {table['file'][row]}"
            for row in (first, second)
        )
        raise InputError(
            f"score file '{self.path}': expected each event once, got {name} "
            f"({' / '.join(ID_COLUMNS)}) in {places}, and {len(again)} such rows; "
            "a look-up cannot tell them apart: score the files of one job at a time"
        )

    def check(self, *, skims: Sequence[str], mode: str | None, **others: Any) -> None:
        """Refuse settings that contradict the file, which has decided already.

        Parameters
        ----------
        skims : sequence of str
            Empty for those of the file.
        mode : str, optional
        **others
            Further settings, None where not given; the file has its own.

        Raises
        ------
        UsageError
            If a setting is another than the file's.
        """
        given = [name for name, value in others.items() if value is not None]
        if given:
            raise UsageError(
                f"scores: expected no {' and no '.join(given)} beside a score file, "
                "which has its own"
            )
        if skims and set(skims) != set(self.skims):
            raise UsageError(
                f"skims: expected {', '.join(self.skims)}, for which '{self.path}' "
                f"decides, got {', '.join(skims)}; score again with --skim"
            )
        if mode not in (None, self.mode):
            raise UsageError(
                f"mode: expected {self.mode}, that of '{self.path}', got {mode}; "
                "score again with --mode"
            )

    def find(self, identity: Sequence[int]) -> int | None:
        """Return the row of an event in the file's order, None if it is not there.

        Parameters
        ----------
        identity : sequence of int
            Experiment, run, production and event number.
        """
        first, last = 0, len(self)
        for column, value in zip(self._columns, identity, strict=True):
            part = column[first:last]
            last = first + int(part.searchsorted(value, side="right"))
            first += int(part.searchsorted(value, side="left"))
        return int(self._order[first]) if first < last else None


def _read(path: str | Path) -> ScoreTable:
    try:
        from smartfilter.io import read_scores
    except ModuleNotFoundError as error:
        raise UsageError(
            f"score file '{path}': reading it needs the package '{error.name}', which "
            f"is not installed; run: pip install {error.name}"
        ) from error
    return read_scores(path)
