"""Index conventions of a particle list: mothers, daughters and generator particles.

basf2 stores 1-based positions with 0 for "none" (``m_mother``); the public data sets
let a particle without a mother point to itself; inside smartfilter positions are 0-based
with -1 for "none". All conversions are here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.events import NO_MOTHER, StatusBit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "OUT_OF_RANGE",
    "daughter_ranges",
    "drop_secondaries",
    "index_in_event",
    "mothers_by_index",
    "mothers_by_position",
    "zero_based",
]

OUT_OF_RANGE = -2
"""Mother or daughter index of a particle whose stored index points outside its event."""

_DAUGHTERS = ("first_daughter", "last_daughter")


def index_in_event(offsets: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the 0-based row within its event of each particle, shape (n_particles,)."""
    starts = np.repeat(offsets[:-1].astype(np.int32), np.diff(offsets))
    return np.arange(offsets[-1], dtype=np.int32) - starts


def zero_based(
    index: NDArray[np.int32], offsets: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Return 0-based positions in the event from basf2's 1-based ones.

    0 (none) becomes -1; what points outside the event becomes `OUT_OF_RANGE`.

    Parameters
    ----------
    index : ndarray of int32, shape (n_particles,)
        1-based positions, 0 for none.
    offsets : ndarray of int64, shape (n_events + 1,)
        Offsets of the events.
    """
    counts = np.diff(offsets)
    outside = (index < 0) | (index > np.repeat(counts.astype(np.int32), counts))
    result = index - np.int32(1)
    result[outside] = OUT_OF_RANGE
    return result


def mothers_by_position(
    mother: NDArray[np.int32], offsets: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Return mother indices from 0-based positions that are -1 or a particle's own.

    Parameters
    ----------
    mother : ndarray of int32, shape (n_particles,)
        0-based positions within the event; -1, or the particle's own, for none.
    offsets : ndarray of int64, shape (n_events + 1,)
        Offsets of the events.

    Returns
    -------
    ndarray of int32, shape (n_particles,)
        -1 for none, `OUT_OF_RANGE` where the position is outside the event.
    """
    counts = np.diff(offsets)
    size = np.repeat(counts.astype(np.int32), counts)
    result = np.where(mother == index_in_event(offsets), np.int32(NO_MOTHER), mother)
    result[(mother < NO_MOTHER) | (mother >= size)] = OUT_OF_RANGE
    return result


def mothers_by_index(
    index: NDArray[np.int32], mother: NDArray[np.int32], offsets: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Return mother indices where particles carry numbers and name their mother's.

    Parameters
    ----------
    index : ndarray of int32, shape (n_particles,)
        Number of each particle, not necessarily contiguous.
    mother : ndarray of int32, shape (n_particles,)
        Number of the mother; the particle's own, or one that no particle of the event
        has (its mother was removed), for none.
    offsets : ndarray of int64, shape (n_events + 1,)
        Offsets of the events.

    Returns
    -------
    ndarray of int32, shape (n_particles,)
        0-based rows within the event; -1 for none, `OUT_OF_RANGE` where two particles
        of the event have the mother's number.
    """
    if len(index) == 0:
        return np.empty(0, dtype=np.int32)
    low = int(min(index.min(), mother.min()))
    span = int(max(index.max(), mother.max())) - low + 1
    counts = np.diff(offsets)
    first_key = np.repeat(np.arange(len(counts)) * span - low, counts)
    key, wanted = first_key + index, first_key + mother
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    found = np.searchsorted(ordered, wanted)
    after = np.searchsorted(ordered, wanted, side="right")
    row = order[np.minimum(found, len(order) - 1)]
    result = index_in_event(offsets)[row]
    result[(found == after) | (wanted == key)] = NO_MOTHER
    result[(after > found + 1) & (wanted != key)] = OUT_OF_RANGE
    return result


@dataclass(frozen=True)
class _Renumbering:
    """New positions of the rows that stay; ``before[i]`` rows stay ahead of row i."""

    kept: NDArray[np.bool_]
    before: NDArray[np.int64]
    starts: NDArray[np.int64]

    def mothers(self, mother_index: NDArray[np.int32]) -> NDArray[np.int32]:
        index = mother_index[self.kept]
        inside = index >= 0
        row = self.starts[inside] + index[inside]
        renumbered = self.before[row] - self.before[self.starts[inside]]
        index[inside] = np.where(self.kept[row], renumbered, NO_MOTHER)
        return index

    def daughters(
        self, first: NDArray[np.int32], last: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        first, last = first[self.kept], last[self.kept]
        inside = (first >= 0) & (last >= 0)
        starts = self.starts[inside]
        ahead = self.before[starts]
        new_first = self.before[starts + first[inside]] - ahead
        new_last = self.before[starts + last[inside] + 1] - ahead - 1
        some = new_first <= new_last
        first[inside] = np.where(some, new_first, NO_MOTHER)
        last[inside] = np.where(some, new_last, NO_MOTHER)
        return first, last


def drop_secondaries(
    offsets: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Keep the particles of the generator (status bit 0) and renumber indices.

    A mother that is dropped leaves -1, so that its primary daughter becomes a root (no
    known file has one); an index that is out of range stays `OUT_OF_RANGE`. A daughter
    range shrinks to the daughters that stay (-1 if none does).

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_events + 1,)
        Offsets of the events.
    columns : mapping of str to ndarray, each of shape (n_particles,)
        At least ``status`` and ``mother_index``.

    Returns
    -------
    tuple of ndarray and dict
        Offsets and columns of the particles that stay.
    """
    kept = (columns["status"] & np.uint16(StatusBit.PRIMARY)) != 0
    if kept.all():
        return offsets, dict(columns)
    before = np.zeros(len(kept) + 1, dtype=np.int64)
    np.cumsum(kept, out=before[1:])
    starts = np.repeat(offsets[:-1], np.diff(offsets))[kept]
    renumbering = _Renumbering(kept, before, starts)
    reduced = {
        name: renumbering.mothers(column) if name == "mother_index" else column[kept]
        for name, column in columns.items()
        if name not in _DAUGHTERS
    }
    if all(name in columns for name in _DAUGHTERS):
        ranges = renumbering.daughters(*(columns[name] for name in _DAUGHTERS))
        reduced.update(zip(_DAUGHTERS, ranges, strict=True))
    return before[offsets], reduced


def daughter_ranges(
    offsets: NDArray[np.int64], mother_index: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """Return the first and last daughter of each particle, 0-based in the event.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_events + 1,)
        Offsets of the events.
    mother_index : ndarray of int32, shape (n_particles,)
        0-based mother within the event; a value outside the event names no mother.

    Returns
    -------
    first, last : ndarray of int32, shape (n_particles,)
        Smallest and largest row that names this particle as mother; -1 if none does.
    contiguous : ndarray of bool, shape (n_particles,)
        Whether every row between them is a daughter too (true if there is none).
    """
    n_particles = len(mother_index)
    counts = np.diff(offsets)
    starts = np.repeat(offsets[:-1], counts)
    has_mother = (mother_index >= 0) & (mother_index < np.repeat(counts, counts))
    daughter = np.flatnonzero(has_mother)
    mother = starts[daughter] + mother_index[daughter]
    position = (daughter - starts[daughter]).astype(np.int32)
    first = np.full(n_particles, NO_MOTHER, dtype=np.int32)
    last = first.copy()
    last[mother] = position
    first[mother[::-1]] = position[::-1]
    n_daughters = np.bincount(mother, minlength=n_particles)
    return first, last, (n_daughters == 0) | (last - first + 1 == n_daughters)
