"""Which generated particles exist in the detector: replay of the generator's decays.

The generator decays K_S, K_L, hyperons and everything shorter-lived. Here such a
particle flies straight from its production vertex to the production vertex of its
daughters. Where it interacts, stops or leaves first, nothing below it in the decay tree
exists. Charged hyperons lose energy on the way but are not bent and leave no track (c tau
of a few cm), because the generator's decay points know of no field.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

from smartfilter.pipeline.calorimeter import deposit_hadron
from smartfilter.pipeline.geometry import (
    CALORIMETER_DEPTH,
    Physics,
    distance_to_wall,
    is_in_volume,
)
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.particles import move_straight
from smartfilter.pipeline.species import (
    LONG_LIVED_CHARGED,
    LONG_LIVED_NEUTRAL,
    NEUTRAL_HADRON,
    PROTON,
    describe,
)
from smartfilter.pipeline.storage import (
    CHARGE,
    FATE,
    LIMIT,
    ROW,
    TRACK,
    UX,
    UY,
    UZ,
    Storage,
    push,
)
from smartfilter.pipeline.transport import ARRIVED, start_flight, transport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Particles", "fill_pending"]

_SHORTEST_FLIGHT = 0.1  # cm; nothing is within the beam pipe

_UNKNOWN, _ABSENT, _PRESENT = 0, 1, 2


class Particles(NamedTuple):
    """Generator particles of all events, flat, and room for the replay.

    Parameters
    ----------
    pdg, mother : ndarray of int64
        PDG code and row of the mother in the event (-1: none).
    ignored : ndarray of bool
        Virtual and initial particles: not simulated themselves.
    x, y, z, px, py, pz : ndarray of float64
        Production vertex (cm) and momentum (GeV).
    daughter : ndarray of int64
        Filled here: one daughter, as row in the event, -1: none.
    decays : ndarray of int64
        Filled here: whether the particle's decay takes place.
    """

    pdg: NDArray[np.int64]
    mother: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    px: NDArray[np.float64]
    py: NDArray[np.float64]
    pz: NDArray[np.float64]
    daughter: NDArray[np.int64]
    decays: NDArray[np.int64]


@inner_kernel
def _is_replayed(pdg: int) -> bool:
    """Return whether the detector knows how this particle flies to its decay."""
    kind, charge, _, _ = describe(pdg)
    if kind in (LONG_LIVED_CHARGED, LONG_LIVED_NEUTRAL, NEUTRAL_HADRON):
        return True
    return charge != 0 and kind <= PROTON


@inner_kernel
def _reaches_decay(
    storage: Storage, physics: Physics, particles: Particles, i: int, j: int, row: int
) -> bool:
    """Return whether particle ``i``, of daughter ``j``, lives to its decay."""
    x, y, z = particles.x[i], particles.y[i], particles.z[i]
    dx, dy, dz = particles.x[j] - x, particles.y[j] - y, particles.z[j] - z
    length = sqrt(dx * dx + dy * dy + dz * dz)
    code = particles.pdg[i]
    if length < _SHORTEST_FLIGHT or not _is_replayed(code) or not is_in_volume(x, y, z):
        return True
    px, py, pz = particles.px[i], particles.py[i], particles.pz[i]
    scale = sqrt(px * px + py * py + pz * pz) / length
    flight, state = storage.flight, storage.flight.state
    start_flight(flight, code, row, x, y, z, scale * dx, scale * dy, scale * dz)
    if flight.identity[CHARGE] != 0:
        flight.identity[CHARGE] = 0
        state[LIMIT] = length
        transport(flight, physics)
        return bool(flight.identity[FATE] == ARRIVED)
    wall = distance_to_wall(x, y, z, state[UX], state[UY], state[UZ])
    if length <= wall:
        return True
    move_straight(state, wall)
    depth = min(length - wall, CALORIMETER_DEPTH)
    deposit = deposit_hadron(storage.block, flight, physics, depth)
    return deposit == 0.0 and depth < CALORIMETER_DEPTH


@kernel
def fill_pending(
    storage: Storage, physics: Physics, particles: Particles, first: int, last: int
) -> bool:
    """Put the particles of one event that exist and have no daughters on the work list.

    Parameters
    ----------
    storage : Storage
    physics : Physics
    particles : Particles
    first, last : int
        The event's rows are ``first`` to ``last - 1``.

    Returns
    -------
    bool
        False if mothers form a loop.
    """
    mother, daughter, decays = particles.mother, particles.daughter, particles.decays
    for i in range(first, last):
        daughter[i], decays[i] = -1, _UNKNOWN
    for i in range(first, last):
        if mother[i] >= 0:
            daughter[first + mother[i]] = i - first
    left = last - first
    while left > 0:
        before = left
        for i in range(first, last):
            above = _PRESENT if mother[i] < 0 else decays[first + mother[i]]
            if decays[i] != _UNKNOWN or above == _UNKNOWN:
                continue
            left -= 1
            decays[i] = _ABSENT
            if above == _ABSENT:
                continue
            if daughter[i] < 0:
                _push_row(storage, particles, i, i - first)
                continue
            j = first + daughter[i]
            if _reaches_decay(storage, physics, particles, i, j, i - first):
                decays[i] = _PRESENT
        if left == before:
            return False
    return True


@inner_kernel
def _push_row(storage: Storage, particles: Particles, i: int, row: int) -> None:
    """Put a generator particle on the work list."""
    if particles.ignored[i]:
        return
    x, y, z = particles.x[i], particles.y[i], particles.z[i]
    px, py, pz = particles.px[i], particles.py[i], particles.pz[i]
    storage.flight.identity[ROW], storage.flight.identity[TRACK] = row, -1
    push(storage, particles.pdg[i], x, y, z, px, py, pz)
