"""One particle in the detector: photon, charged particle or neutral hadron.

Lengths in cm, momenta in GeV.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from smartfilter.pipeline.calorimeter import deposit_hadron, deposit_shower
from smartfilter.pipeline.geometry import (
    CALORIMETER_DEPTH,
    CHAMBER_WALL,
    CYLINDER_BACKWARD,
    CYLINDER_FORWARD,
    CYLINDER_RADIATION,
    CYLINDER_RADIUS,
    N_CYLINDERS,
    N_PLANES,
    PLANE_RADIATION,
    PLANE_Z,
    VOLUME_BACKWARD,
    VOLUME_FORWARD,
    VOLUME_RADIUS,
    Physics,
    distance_to_cylinder,
    distance_to_wall,
    is_in_volume,
)
from smartfilter.pipeline.identification import identify
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.random import exponential, uniform
from smartfilter.pipeline.species import (
    ELECTRON,
    NEUTRAL_HADRON,
    NEUTRAL_PION,
    PHOTON,
    PROTON,
    decay_in_flight,
    describe,
    split_two,
)
from smartfilter.pipeline.storage import (
    CHARGE,
    CODE,
    FATE,
    FIRST_TRACK,
    KIND,
    LIMIT,
    MOMENTUM,
    N_PHOTONS,
    PROPER,
    TRACK,
    UX,
    UY,
    UZ,
    Flight,
    Storage,
    X,
    Y,
    Z,
    push,
)
from smartfilter.pipeline.tracks import duplicate_track, fit_track
from smartfilter.pipeline.transport import (
    DECAYED,
    EXITED,
    STOPPED,
    start_flight,
    transport,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MAX_PATH", "move_straight", "simulate_particle"]

MAX_PATH = 400.0
"""Path after which a looping particle is given up (cm)."""

_KINK_EFFICIENCY = 0.3
_SOFTEST_PHOTON = 0.005  # GeV; no cluster comes from less


@inner_kernel
def move_straight(state: NDArray[np.float64], path: float) -> None:
    """Move along a straight line, in place."""
    for i in range(3):
        state[X + i] += path * state[UX + i]


@inner_kernel
def _is_near(x: float, y: float, z: float) -> bool:
    """Return whether a point is in the tracker or in the crystals."""
    radius = VOLUME_RADIUS + CALORIMETER_DEPTH
    backward = VOLUME_BACKWARD - CALORIMETER_DEPTH
    forward = VOLUME_FORWARD + CALORIMETER_DEPTH
    return x * x + y * y < radius * radius and backward < z < forward


@inner_kernel
def _path_to_conversion(flight: Flight, wall: float) -> float:
    """Return the path of a photon to its conversion in a layer before the wall.

    Infinite if it does not convert. Layers inside the point of origin are left out.
    """
    state = flight.state
    x, y, z, ux, uy, uz = state[X], state[Y], state[Z], state[UX], state[UY], state[UZ]
    depth = exponential(flight.stream) * 9.0 / 7.0
    for i in range(N_CYLINDERS):
        path = distance_to_cylinder(x, y, ux, uy, CYLINDER_RADIUS[i])
        height = z + path * uz
        inner = i <= CHAMBER_WALL
        if path < wall and (
            not inner or CYLINDER_BACKWARD[i] < height < CYLINDER_FORWARD[i]
        ):
            cosine = (x + path * ux) * ux + (y + path * uy) * uy
            cosine = max(cosine / CYLINDER_RADIUS[i], 0.05)
            depth -= CYLINDER_RADIATION[i] / cosine
            if depth < 0.0:
                return path
    for i in range(N_PLANES):
        path = (PLANE_Z[i] - z) / uz if uz != 0.0 else inf
        if 0.0 < path < wall:
            depth -= PLANE_RADIATION[i] / max(abs(uz), 0.05)
            if depth < 0.0:
                return path
    return inf


@inner_kernel
def _fly_straight(storage: Storage, physics: Physics) -> None:
    """Move a neutral particle to the calorimeter, unless it is a photon that converts."""
    flight, state = storage.flight, storage.flight.state
    flight.identity[FATE] = EXITED
    x, y, z = state[X], state[Y], state[Z]
    if not is_in_volume(x, y, z):
        return
    wall = distance_to_wall(x, y, z, state[UX], state[UY], state[UZ])
    path = inf
    if flight.identity[KIND] == PHOTON and physics.interactions:
        path = _path_to_conversion(flight, wall)
    if path > wall:
        move_straight(state, wall)
        return
    flight.identity[FATE] = DECAYED
    move_straight(state, path + 1e-6)
    x, y, z = state[X], state[Y], state[Z]
    share = uniform(flight.stream)
    for code in (11, -11):
        p = share * state[MOMENTUM]
        push(storage, code, x, y, z, p * state[UX], p * state[UY], p * state[UZ])
        share = 1.0 - share


@inner_kernel
def _fly_charged(storage: Storage, physics: Physics, c_tau: float) -> None:
    """Fly a charged particle through the tracker and find its track."""
    flight, state = storage.flight, storage.flight.state
    if not is_in_volume(state[X], state[Y], state[Z]):
        flight.identity[FATE] = EXITED
        return
    if physics.decays and c_tau > 0.0:
        state[PROPER] = c_tau * exponential(flight.stream)
    state[LIMIT] = MAX_PATH
    transport(flight, physics)
    for i in range(flight.identity[N_PHOTONS]):
        k = flight.photons[i]
        push(storage, 22, k[0], k[1], k[2], k[3], k[4], k[5])


@inner_kernel
def _enter_calorimeter(storage: Storage, physics: Physics) -> float:
    """Let a particle that came to the calorimeter enter it; return the energy."""
    flight = storage.flight
    kind = flight.identity[KIND]
    if flight.identity[FATE] != EXITED:
        return 0.0
    if kind in (PHOTON, ELECTRON):
        return deposit_shower(storage.block, flight, physics)
    return deposit_hadron(storage.block, flight, physics, CALORIMETER_DEPTH)


@inner_kernel
def _decay_if_due(storage: Storage, physics: Physics) -> None:
    """Replace a particle that decayed by its daughters.

    One that stopped decays at rest if it is positive; negative ones are captured.
    """
    flight, state = storage.flight, storage.flight.state
    fate, charge = flight.identity[FATE], flight.identity[CHARGE]
    at_rest = fate == STOPPED and charge > 0 and physics.decays
    if fate == DECAYED or at_rest:
        x, y, z, p = state[X], state[Y], state[Z], state[MOMENTUM]
        px, py, pz = p * state[UX], p * state[UY], p * state[UZ]
        decay_in_flight(storage, flight.identity[CODE], x, y, z, px, py, pz)


@inner_kernel
def _simulate_charged(
    storage: Storage, physics: Physics, c_tau: float, inherited: int
) -> None:
    """Fly a charged particle to its end, with its track, cluster or daughters.

    The daughter of a particle with a track (``inherited``) is mostly taken for the end of
    it; its cluster is then matched to that track.
    """
    flight = storage.flight
    flight.identity[TRACK] = inherited
    _fly_charged(storage, physics, c_tau)
    index = -1
    if inherited < 0 or uniform(flight.stream) < _KINK_EFFICIENCY:
        index = fit_track(storage, physics)
    if index >= 0:
        flight.identity[TRACK] = index - storage.counts[FIRST_TRACK]
    energy = _enter_calorimeter(storage, physics)
    _decay_if_due(storage, physics)
    if index >= 0:
        identify(flight, storage.tracks[index], energy)
        duplicate_track(storage, index)


@kernel
def simulate_particle(
    storage: Storage, physics: Physics, item: NDArray[np.float64]
) -> None:
    """Simulate one particle of the work list.

    Parameters
    ----------
    storage : Storage
    physics : Physics
    item : ndarray of float64, shape (9,)
        A row of ``Storage.pending``.
    """
    flight, state = storage.flight, storage.flight.state
    x, y, z, px, py, pz = item[0], item[1], item[2], item[3], item[4], item[5]
    if not _is_near(x, y, z):
        return
    start_flight(flight, int(item[6]), int(item[7]), x, y, z, px, py, pz)
    kind, charge, mass, c_tau = describe(flight.identity[CODE])
    if kind == NEUTRAL_PION:
        a = split_two(flight.stream, px, py, pz, mass, 0.0, 0.0)
        push(storage, 22, x, y, z, a[0], a[1], a[2])
        push(storage, 22, x, y, z, a[3], a[4], a[5])
    elif state[MOMENTUM] < 1e-6 or (
        kind == PHOTON and state[MOMENTUM] < _SOFTEST_PHOTON
    ):
        return
    elif charge != 0 and kind <= PROTON:
        _simulate_charged(storage, physics, c_tau, int(item[8]))
    elif kind in (PHOTON, NEUTRAL_HADRON):
        _fly_straight(storage, physics)
        _enter_calorimeter(storage, physics)
