"""Particle lists of one event and the combination of daughters to mothers.

Kernels over a `Store`: work buffers that are filled anew for every event. Row
``species * CAPACITY + i`` is candidate ``i`` of a list. Four-momenta are in the
centre-of-mass frame (GeV), where delta E and Mbc are plain numbers.
"""

from __future__ import annotations

from enum import IntFlag
from math import log, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smartfilter.pipeline.decay_modes import (
    CONJUGATE,
    MASSES,
    MAX_DAUGHTERS,
    SPECIES,
    ModeTable,
    Window,
)
from smartfilter.pipeline.kernels import inner_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CAPACITY",
    "MASK_BITS",
    "Overflow",
    "Store",
    "add_candidate",
    "clear",
    "combine_all",
    "make_store",
]

CAPACITY = 512
"""Candidates that a list can hold."""

MASK_BITS = 62
"""Tracks, and photons, that the bit masks of used objects can tell apart."""


class Overflow(IntFlag):
    """What did not fit into the buffers of an event."""

    TRACKS = 1
    """More than `MASK_BITS` tracks; those of lowest pT make no candidates."""
    PHOTONS = 2
    """More than `MASK_BITS` photons; those of lowest energy make no candidates."""
    CANDIDATES = 4
    """A list was full; its candidates of lowest quality gave way."""


_CHI2_MAX = 9.0
"""Squared pull of Mbc and of delta E from which on a candidate is as good as any other:
outside the peak it is combinatorial, and those are flat."""

_N = len(SPECIES)
_BEAM = int(Window.BEAM)
_FULL = int(Overflow.CANDIDATES)


class Store(NamedTuple):
    """Work buffers of one event.

    ``four`` is (E, px, py, pz); ``used`` the bit masks of tracks and photons;
    ``quality`` the log odds; ``value`` the mass (GeV), or Mbc and delta E of a
    `Window.BEAM` candidate; ``mode`` the row of the mode table (-1: none).
    ``size`` is the number of candidates held and ``found`` of those that met the cuts.
    ``room`` limits ``size``: 1 where only the best candidate is wanted.
    """

    four: NDArray[np.float64]
    used: NDArray[np.int64]
    quality: NDArray[np.float64]
    value: NDArray[np.float64]
    mode: NDArray[np.int64]
    size: NDArray[np.int64]
    found: NDArray[np.int64]
    room: NDArray[np.int64]
    max_energy: NDArray[np.float64]
    mass: NDArray[np.float64]
    overflow: NDArray[np.int64]
    partial: NDArray[np.float64]
    partial_used: NDArray[np.int64]
    position: NDArray[np.int64]
    rest: NDArray[np.float64]


def make_store(table: ModeTable) -> Store:
    """Return buffers for this table of modes."""
    rows = _N * CAPACITY
    room = np.full(_N, CAPACITY, dtype=np.int64)
    room[table.mother[table.window == _BEAM]] = 1
    masses = MASSES | {CONJUGATE[n]: m for n, m in MASSES.items() if n in CONJUGATE}
    return Store(
        four=np.empty((rows, 4)),
        used=np.empty((rows, 2), dtype=np.int64),
        quality=np.empty(rows),
        value=np.empty((rows, 2)),
        mode=np.empty(rows, dtype=np.int64),
        size=np.zeros(_N, dtype=np.int64),
        found=np.zeros(_N, dtype=np.int64),
        room=room,
        max_energy=np.zeros(_N),
        mass=np.array([masses[name] for name in SPECIES]),
        overflow=np.zeros(1, dtype=np.int64),
        partial=np.empty((MAX_DAUGHTERS + 1, 5)),
        partial_used=np.empty((MAX_DAUGHTERS + 1, 2), dtype=np.int64),
        position=np.empty(MAX_DAUGHTERS, dtype=np.int64),
        rest=np.empty((MAX_DAUGHTERS + 1, 2)),
    )


@inner_kernel
def clear(store: Store) -> None:
    """Empty all lists."""
    store.size[:] = 0
    store.found[:] = 0
    store.max_energy[:] = 0.0
    store.overflow[0] = 0


@inner_kernel
def _find_row(store: Store, species: int, quality: float) -> int:
    """Return the row for a new candidate of this quality, -1 if it has no place."""
    begin = species * CAPACITY
    size = store.size[species]
    if size < store.room[species]:
        store.size[species] = size + 1
        return int(begin + size)
    if store.room[species] > 1:
        store.overflow[0] |= _FULL
    worst: int = begin
    for row in range(begin + 1, begin + size):
        if store.quality[row] < store.quality[worst]:
            worst = row
    if quality > store.quality[worst]:
        return worst
    return -1


@inner_kernel
def add_candidate(
    store: Store,
    species: int,
    energy: float,
    px: float,
    py: float,
    pz: float,
    tracks: int,
    photons: int,
    quality: float,
    value: float,
    second_value: float,
    mode: int,
) -> None:
    """Count a candidate and put it into its list, or in the place of a worse one."""
    store.found[species] += 1
    row = _find_row(store, species, quality)
    if row < 0:
        return
    store.four[row, 0] = energy
    store.four[row, 1] = px
    store.four[row, 2] = py
    store.four[row, 3] = pz
    store.used[row, 0] = tracks
    store.used[row, 1] = photons
    store.quality[row] = quality
    store.value[row, 0] = value
    store.value[row, 1] = second_value
    store.mode[row] = mode
    store.max_energy[species] = max(store.max_energy[species], energy)


@inner_kernel
def combine_all(store: Store, table: ModeTable, beam_energy: float) -> None:
    """Fill the lists of all mothers; ``beam_energy`` is half the CM energy (GeV)."""
    size, daughters, n_daughters = store.size, table.daughters, table.n_daughters
    for mode in range(len(n_daughters)):
        possible = True
        for k in range(n_daughters[mode]):
            if size[daughters[mode, k]] == 0:
                possible = False
                break
        if possible:
            _limit(store, table, mode, beam_energy)
            if table.window[mode] == _BEAM:
                _combine_best(store, table, mode, beam_energy)
            else:
                _combine(store, table, mode, beam_energy)


@inner_kernel
def _combine_best(
    store: Store, table: ModeTable, mode: int, beam_energy: float
) -> None:
    """Combine a mode whose mother's list holds the best candidate alone.

    The mode's best candidate is one among as many as met the cuts, at most one of them
    right: its odds are divided by their number, the combinatorial background as the
    event itself shows it.
    """
    mother = table.mother[mode]
    row, scratch = mother * CAPACITY, mother * CAPACITY + 1
    size, found = store.size[mother], store.found[mother]
    _copy(store, row, scratch)
    store.size[mother] = 0
    _combine(store, table, mode, beam_energy)
    n = store.found[mother] - found
    if n > 0:
        store.quality[row] -= log(n)
    if size > 0 and (n == 0 or store.quality[row] <= store.quality[scratch]):
        _copy(store, scratch, row)
    store.size[mother] = 1 if n > 0 else size


@inner_kernel
def _copy(store: Store, source: int, target: int) -> None:
    """Copy a candidate to another row."""
    store.four[target, :] = store.four[source, :]
    store.used[target, :] = store.used[source, :]
    store.quality[target] = store.quality[source]
    store.value[target, :] = store.value[source, :]
    store.mode[target] = store.mode[source]


@inner_kernel
def _limit(store: Store, table: ModeTable, mode: int, beam_energy: float) -> None:
    """Set ``rest`` and begin an empty sum.

    ``rest[k]`` is for `Window.BEAM` the largest and smallest energy allowed after
    daughter k, else the largest mass allowed after daughter k.
    """
    mass, energy = 0.0, 0.0
    low = beam_energy - table.width[mode]
    high = beam_energy + table.width[mode]
    if table.window[mode] != _BEAM:
        high = store.mass[table.mother[mode]] + table.width[mode]
    for k in range(table.n_daughters[mode] - 1, -1, -1):
        species = table.daughters[mode, k]
        store.rest[k, 0] = high - mass
        store.rest[k, 1] = low - energy
        mass += store.mass[species]
        energy += store.max_energy[species]
    store.partial[0, :] = 0.0
    store.partial_used[0, :] = 0
    store.position[0] = 0


@inner_kernel
def _combine(store: Store, table: ModeTable, mode: int, beam_energy: float) -> None:
    """Try every choice of daughters of one mode, depth first.

    A sum is given up as soon as the lightest (or most energetic) choice of the other
    daughters cannot bring it into the window: an invariant mass never falls when a
    particle is added by less than that particle's mass.
    """
    n = table.n_daughters[mode]
    beam = table.window[mode] == _BEAM
    if beam:
        lowest = table.mbc_min[mode]
    else:
        lowest = store.mass[table.mother[mode]] - table.width[mode]
    # Local names: taking an array out of a tuple in the loop would cost most of it.
    four, used, quality, size = store.four, store.used, store.quality, store.size
    partial, partial_used = store.partial, store.partial_used
    position, rest, daughters = store.position, store.rest, table.daughters
    depth = 0
    while depth >= 0:
        species = daughters[mode, depth]
        if position[depth] >= size[species]:
            depth -= 1
            continue
        row = species * CAPACITY + position[depth]
        position[depth] += 1
        tracks, photons = partial_used[depth, 0], partial_used[depth, 1]
        if (tracks & used[row, 0]) | (photons & used[row, 1]):
            continue
        energy = partial[depth, 0] + four[row, 0]
        px = partial[depth, 1] + four[row, 1]
        py = partial[depth, 2] + four[row, 2]
        pz = partial[depth, 3] + four[row, 3]
        p2 = px * px + py * py + pz * pz
        limit = rest[depth, 0]
        if beam:
            mass2 = beam_energy * beam_energy - p2
            if not rest[depth, 1] < energy < limit:
                continue
        else:
            mass2 = energy * energy - p2
            if mass2 >= limit * limit:
                continue
        if depth == n - 1 and mass2 <= lowest * lowest:
            continue
        depth += 1
        partial[depth, 0] = energy
        partial[depth, 1] = px
        partial[depth, 2] = py
        partial[depth, 3] = pz
        partial[depth, 4] = partial[depth - 1, 4] + quality[row]
        partial_used[depth, 0] = tracks | used[row, 0]
        partial_used[depth, 1] = photons | used[row, 1]
        if depth < n:
            same = daughters[mode, depth] == species
            position[depth] = position[depth - 1] if same else 0
            continue
        if beam:
            _judge_beam(store, table, mode, beam_energy)
        else:
            _judge_mass(store, table, mode)
        depth -= 1


@inner_kernel
def _judge_mass(store: Store, table: ModeTable, mode: int) -> None:
    """Keep the complete sum with the nominal mass at its CM momentum."""
    n = table.n_daughters[mode]
    total = store.partial[n]
    momentum2 = total[1] * total[1] + total[2] * total[2] + total[3] * total[3]
    mass = sqrt(max(total[0] * total[0] - momentum2, 0.0))
    mother = table.mother[mode]
    nominal = store.mass[mother]
    if momentum2 < table.momentum_min[mode] * table.momentum_min[mode]:
        return
    pull = (mass - nominal) / table.sigma[mode]
    add_candidate(
        store,
        mother,
        sqrt(momentum2 + nominal * nominal),
        total[1],
        total[2],
        total[3],
        store.partial_used[n, 0],
        store.partial_used[n, 1],
        total[4] + table.log_prior[mode] - 0.5 * pull * pull,
        mass,
        0.0,
        mode,
    )


@inner_kernel
def _judge_beam(store: Store, table: ModeTable, mode: int, beam_energy: float) -> None:
    """Keep the complete sum with its pulls of Mbc and delta E."""
    n = table.n_daughters[mode]
    total = store.partial[n]
    delta_e = total[0] - beam_energy
    momentum2 = total[1] * total[1] + total[2] * total[2] + total[3] * total[3]
    mbc = sqrt(beam_energy * beam_energy - momentum2)
    mother = table.mother[mode]
    pull_mbc = (mbc - store.mass[mother]) / table.mbc_sigma[mode]
    pull_e = delta_e / table.sigma[mode]
    chi2 = min(pull_mbc * pull_mbc, _CHI2_MAX) + min(pull_e * pull_e, _CHI2_MAX)
    add_candidate(
        store,
        mother,
        total[0],
        total[1],
        total[2],
        total[3],
        store.partial_used[n, 0],
        store.partial_used[n, 1],
        total[4] + table.log_prior[mode] - 0.5 * chi2,
        mbc,
        delta_e,
        mode,
    )
