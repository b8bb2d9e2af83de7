"""From energy in crystals to showers: sums around local maxima.

Every crystal belongs to the strongest crystal of its neighbourhood, that one to the
strongest of its own, and so on to a local maximum. Energies in GeV, lengths in cm.
"""

from __future__ import annotations

from math import atan2, cos, log, sin
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smartfilter.pipeline.geant4.layout import GRIDS, N_CELLS
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.random import normal

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Showers", "find_showers"]

# Shapes of the three parts, in the order of their cells.
_FIRST = np.array([grid.first for grid in GRIDS])
_ROWS = np.array([grid.n_rows for grid in GRIDS])
_COLUMNS = np.array([grid.n_columns for grid in GRIDS])
_START = np.array([g.inner if g.radial else g.backward for g in GRIDS])
_WIDTH = np.array(
    [
        ((g.outer - g.inner) if g.radial else (g.forward - g.backward)) / g.n_rows
        for g in GRIDS
    ]
)
# Inner face of each part: a radius, and two positions along z.
_FACE = np.array([GRIDS[0].inner, GRIDS[1].backward, GRIDS[2].forward])

_NOISE, _THRESHOLD = 0.35e-3, 0.5e-3  # per crystal; those of the mock detector
_SEED = 5e-3
_WINDOW = 2
_RADIATION_LENGTH, _CRITICAL = 1.86, 0.0112  # of CsI (PDG)
# Median part of a photon's energy that is found: at 1 GeV, and its slope in ln(E).
_CONTAINMENT, _SLOPE = 0.950, -0.003


class Showers(NamedTuple):
    """Showers of one event, and room to find them.

    Parameters
    ----------
    total : ndarray of float64, shape (N_CELLS,)
        Energy per cell; 0 between events.
    cells : ndarray of int64, shape (N_CELLS,)
        Cells with energy.
    seed : ndarray of int64, shape (N_CELLS,)
        Number of the shower that a cell belongs to.
    values : ndarray of float64, shape (capacity, 5)
        Energy found, number of crystals, direction (unit vector).
    share : ndarray of float64, shape (capacity, n_primaries)
        Energy from each primary of the event.
    """

    total: NDArray[np.float64]
    cells: NDArray[np.int64]
    seed: NDArray[np.int64]
    values: NDArray[np.float64]
    share: NDArray[np.float64]

    @classmethod
    def allocate(cls, capacity: int, n_primaries: int) -> Showers:
        """Return empty room for this many showers and primaries in an event."""
        return cls(
            np.zeros(N_CELLS),
            np.empty(N_CELLS, dtype=np.int64),
            np.empty(N_CELLS, dtype=np.int64),
            np.empty((capacity, 5)),
            np.empty((capacity, n_primaries)),
        )


@inner_kernel
def _find_part(cell: int) -> int:
    """Return the part of the calorimeter of a cell."""
    part = 0
    while part < 2 and cell >= _FIRST[part + 1]:
        part += 1
    return part


@inner_kernel
def _find_strongest(total: NDArray[np.float64], cell: int) -> int:
    """Return the cell with most energy in the window around one; itself if equal."""
    part = _find_part(cell)
    first, n_columns = _FIRST[part], _COLUMNS[part]
    row, column = (cell - first) // n_columns, (cell - first) % n_columns
    best = cell
    for i in range(max(row - _WINDOW, 0), min(row + _WINDOW + 1, _ROWS[part])):
        for j in range(column - _WINDOW, column + _WINDOW + 1):
            other = first + i * n_columns + j % n_columns
            if total[other] > total[best]:
                best = other
    return best


@inner_kernel
def _sum_cells(
    showers: Showers,
    stream: NDArray[np.uint64],
    cell: NDArray[np.int64],
    energy: NDArray[np.float64],
) -> int:
    """Add up the energy per cell, with noise; return how many cells are left."""
    total, cells = showers.total, showers.cells
    n_cells = 0
    for i in range(len(cell)):
        if total[cell[i]] == 0.0:
            cells[n_cells] = cell[i]
            n_cells += 1
        total[cell[i]] += energy[i]
    kept = 0
    for i in range(n_cells):
        total[cells[i]] += _NOISE * normal(stream)
        if total[cells[i]] > _THRESHOLD:
            cells[kept] = cells[i]
            kept += 1
        else:
            total[cells[i]] = 0.0
    return kept


@inner_kernel
def _measure_direction(
    energy: float, part: int, x: float, y: float, along: float
) -> tuple[float, float, float]:
    """Return the direction of a shower seen from the origin.

    The mean position holds at the shower's depth, about X0 (ln(E / Ec) + 1) along the
    direction itself (maximum and tail of the profile: PDG, Passage of particles through
    matter, section 34.5); two iterations are enough.

    Parameters
    ----------
    energy : float
    part : int
    x, y : float
        Mean direction in azimuth.
    along : float
        Mean z in the barrel, mean radius in the endcaps.
    """
    depth = _RADIATION_LENGTH * (log(max(energy / _CRITICAL, 1.0)) + 1.0)
    face = _FACE[part]
    theta = atan2(face, along) if part == 0 else atan2(along, face)
    for _ in range(2):
        if part == 0:
            theta = atan2(face + depth * sin(theta), along)
        else:
            theta = atan2(along, face + depth * cos(theta))
    phi = atan2(y, x)
    return sin(theta) * cos(phi), sin(theta) * sin(phi), cos(theta)


@inner_kernel
def _measure_showers(showers: Showers, n_cells: int, n_showers: int) -> None:
    """Fill energy, number of crystals and direction of each shower."""
    for k in range(n_showers):
        energy, count, along, x, y, part = 0.0, 0.0, 0.0, 0.0, 0.0, 0
        for i in range(n_cells):
            cell = showers.cells[i]
            if showers.seed[cell] != k:
                continue
            part = _find_part(cell)
            e, local = showers.total[cell], cell - _FIRST[part]
            row, column = local // _COLUMNS[part], local % _COLUMNS[part]
            phi = 2.0 * np.pi * (column + 0.5) / _COLUMNS[part]
            energy, count = energy + e, count + 1.0
            x, y = x + e * cos(phi), y + e * sin(phi)
            along += e * (_START[part] + (row + 0.5) * _WIDTH[part])
        values = showers.values[k]
        values[0] = energy / (_CONTAINMENT + _SLOPE * log(energy))
        values[1] = count
        direction = _measure_direction(energy, part, x, y, along / energy)
        values[2], values[3], values[4] = direction


@kernel
def find_showers(
    showers: Showers,
    stream: NDArray[np.uint64],
    cell: NDArray[np.int64],
    energy: NDArray[np.float64],
    primary: NDArray[np.int64],
    n_primaries: int,
) -> int:
    """Find the showers of one event; return their number.

    Parameters
    ----------
    showers : Showers
        Filled here.
    stream : ndarray of uint64, shape (4,)
        Random numbers, for the noise.
    cell, primary : ndarray of int64, shape (n_hits,)
        Crystal, and position of the primary in the event.
    energy : ndarray of float64, shape (n_hits,)
    n_primaries : int
        Primaries of the event.
    """
    n_cells = _sum_cells(showers, stream, cell, energy)
    total, cells, seed = showers.total, showers.cells, showers.seed
    n_showers = 0
    for i in range(n_cells):
        seed[cells[i]] = -1
        strong = total[cells[i]] > _SEED and n_showers < len(showers.values)
        if strong and _find_strongest(total, cells[i]) == cells[i]:
            seed[cells[i]] = n_showers
            n_showers += 1
    for i in range(n_cells):
        root = cells[i]
        strongest = _find_strongest(total, root)
        while strongest != root:
            root = strongest
            strongest = _find_strongest(total, root)
        seed[cells[i]] = seed[root]
    _measure_showers(showers, n_cells, n_showers)
    for k in range(n_showers):
        for i in range(n_primaries):
            showers.share[k, i] = 0.0
    for i in range(len(cell)):
        if total[cell[i]] > 0.0 and seed[cell[i]] >= 0:
            showers.share[seed[cell[i]], primary[i]] += energy[i]
    for i in range(n_cells):
        total[cells[i]] = 0.0
    return n_showers
