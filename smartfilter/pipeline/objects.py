"""What a detector leaves behind: tracks and clusters as flat tables with offsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["CLUSTER_COLUMNS", "TRACK_COLUMNS", "Detected", "Table"]

_F4, _I4 = np.dtype(np.float32), np.dtype(np.int32)

TRACK_COLUMNS: Mapping[str, np.dtype[Any]] = {
    "px": _F4,
    "py": _F4,
    "pz": _F4,
    "charge": np.dtype(np.int8),
    "d0": _F4,
    "z0": _F4,
    "n_vxd": np.dtype(np.int16),
    "n_cdc": np.dtype(np.int16),
    "ll_e": _F4,
    "ll_mu": _F4,
    "ll_pi": _F4,
    "ll_k": _F4,
    "ll_p": _F4,
    "array_index": _I4,
}
"""Columns of tracks: momentum (GeV) at the point of closest approach to the z axis,
charge (+1, -1), signed transverse and longitudinal impact parameters (cm), numbers of
vertex-detector and drift-chamber hits, log-likelihoods of the five charged hypotheses,
and the row of the true particle in the event (-1: none)."""

CLUSTER_COLUMNS: Mapping[str, np.dtype[Any]] = {
    "energy": _F4,
    "theta": _F4,
    "phi": _F4,
    "n_crystals": np.dtype(np.int16),
    "track": _I4,
    "array_index": _I4,
}
"""Columns of calorimeter clusters: energy (GeV), direction seen from the interaction
point (rad), number of crystals, row in the event of the matched track (-1: neutral),
and the row of the true particle in the event (-1: none)."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of several events: event ``i`` has rows ``offsets[i]:offsets[i + 1]``.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_events + 1,)
    columns : mapping of str to ndarray, each of shape (n_rows,)
    """

    offsets: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.offsets) - 1

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column, shape (n_rows,)."""
        return self.columns[name]


@dataclass(frozen=True, eq=False)
class Detected:
    """Tracks and clusters of the same events."""

    tracks: Table
    clusters: Table
