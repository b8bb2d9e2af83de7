"""From hits to tracks and clusters, with the mock detector's reconstruction.

The mock detector flies each charged particle on an ideal helix, without matter; what
Geant4 saw then replaces the hits of that flight. Track finding, resolution, particle
identification, merging of clusters and machine background are shared with the mock
detector. Lengths in cm, energies in GeV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smartfilter.pipeline.calorimeter import add_background_clusters, build_clusters
from smartfilter.pipeline.geant4.clustering import Showers, find_showers
from smartfilter.pipeline.geometry import CHAMBER_INNER, CHAMBER_SPACING, Physics
from smartfilter.pipeline.identification import identify
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.particles import MAX_PATH
from smartfilter.pipeline.random import seed_stream, uniform
from smartfilter.pipeline.species import PROTON, describe
from smartfilter.pipeline.storage import (
    CLUSTERS,
    DEPOSITS,
    FATE,
    FIRST_TRACK,
    LAST_RADIUS,
    LIMIT,
    N_CHAMBER,
    N_VERTEX,
    OVERFLOW,
    PENDING,
    TRACKS,
    Storage,
    X,
    Y,
    Z,
    add_deposit,
)
from smartfilter.pipeline.tracks import (
    add_background_tracks,
    duplicate_track,
    fit_track,
)
from smartfilter.pipeline.transport import EXITED, STOPPED, start_flight, transport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from smartfilter.pipeline.geant4.hits import Crystals, TrackHits

__all__ = ["Shots", "respond"]

_VERTEX_EFFICIENCY, _CHAMBER_EFFICIENCY = 0.98, 0.95  # those of the mock detector
_EARLY_END = 10.0  # cm short of the helix: the particle did not get to its end
_MATCHING_COSINE = 0.985  # 0.17 rad between a track's end and its cluster
_SOFTEST_SHOWER = 5e-3
_KINK_EFFICIENCY = 0.3  # that of the mock detector


class Shots(NamedTuple):
    """Primaries of all events, as kernels read them.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_events + 1,)
    row, pdg, mother : ndarray of int64, shape (n_primaries,)
    x, y, z, px, py, pz : ndarray of float64, shape (n_primaries,)
    """

    offsets: NDArray[np.int64]
    row: NDArray[np.int64]
    pdg: NDArray[np.int64]
    mother: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    px: NDArray[np.float64]
    py: NDArray[np.float64]
    pz: NDArray[np.float64]


@inner_kernel
def _thin(stream: NDArray[np.uint64], count: int, efficiency: float) -> int:
    """Return how many of the hits are seen."""
    seen = 0
    for _ in range(count):
        seen += uniform(stream) < efficiency
    return seen


@inner_kernel
def _fly(
    storage: Storage, physics: Physics, shots: Shots, hits: TrackHits, i: int
) -> None:
    """Fly a primary on its helix and give it the hits that Geant4 saw."""
    flight = storage.flight
    x, y, z = shots.x[i], shots.y[i], shots.z[i]
    px, py, pz = shots.px[i], shots.py[i], shots.pz[i]
    start_flight(flight, shots.pdg[i], shots.row[i], x, y, z, px, py, pz)
    state, identity = flight.state, flight.identity
    state[LIMIT] = MAX_PATH
    transport(flight, physics)
    ideal = state[LAST_RADIUS]
    identity[N_VERTEX] = _thin(flight.stream, hits.n_vertex[i], _VERTEX_EFFICIENCY)
    identity[N_CHAMBER] = _thin(flight.stream, hits.n_chamber[i], _CHAMBER_EFFICIENCY)
    if hits.last_layer[i] < 0:
        state[LAST_RADIUS] = min(ideal, CHAMBER_INNER)
    else:
        layer = CHAMBER_INNER + (hits.last_layer[i] + 0.5) * CHAMBER_SPACING
        state[LAST_RADIUS] = min(ideal, layer)
    if identity[FATE] == EXITED and state[LAST_RADIUS] < ideal - _EARLY_END:
        identity[FATE] = STOPPED


@inner_kernel
def _match_showers(
    storage: Storage,
    showers: Showers,
    n_showers: int,
    leader: NDArray[np.int64],
    i: int,
) -> float:
    """Return the energy of the primary's showers at the end of its helix.

    They are marked by a negative number of crystals.
    """
    state, energy = storage.flight.state, 0.0
    if storage.flight.identity[FATE] != EXITED:
        return 0.0
    length = (state[X] ** 2 + state[Y] ** 2 + state[Z] ** 2) ** 0.5
    for k in range(n_showers):
        v = showers.values[k]
        cosine = (v[2] * state[X] + v[3] * state[Y] + v[4] * state[Z]) / length
        if leader[k] == i and cosine > _MATCHING_COSINE:
            energy += v[0]
            v[1] = -abs(v[1])
    return energy


@inner_kernel
def _find_leaders(
    showers: Showers, n_showers: int, n_primaries: int, leader: NDArray[np.int64]
) -> None:
    """Find the primary with most energy in each shower."""
    for k in range(n_showers):
        leader[k] = 0
        for i in range(1, n_primaries):
            if showers.share[k, i] > showers.share[k, leader[k]]:
                leader[k] = i


@inner_kernel
def _add_shower(
    storage: Storage, values: NDArray[np.float64], row: int, track: int
) -> None:
    if values[0] > _SOFTEST_SHOWER:
        direction = values[2], values[3], values[4]
        add_deposit(
            storage.block,
            values[0],
            direction,
            abs(values[1]),
            float(track),
            float(row),
        )


@inner_kernel
def _reconstruct(
    storage: Storage,
    physics: Physics,
    shots: Shots,
    hits: TrackHits,
    showers: Showers,
    leader: NDArray[np.int64],
    first: int,
    i: int,
    inherited: int,
) -> int:
    """Find the track of a charged particle; return its row in the event, -1 if none.

    One made by a particle with a track (``inherited``) is mostly taken for the end of it.
    """
    _fly(storage, physics, shots, hits, i)
    energy = _match_showers(storage, showers, len(leader), leader, i - first)
    if inherited >= 0 and uniform(storage.flight.stream) > _KINK_EFFICIENCY:
        return inherited
    index = fit_track(storage, physics)
    if index < 0:
        return inherited
    identify(storage.flight, storage.tracks[index], energy)
    duplicate_track(storage, index)
    return int(index - storage.counts[FIRST_TRACK])


@inner_kernel
def _respond_event(
    storage: Storage,
    physics: Physics,
    shots: Shots,
    hits: TrackHits,
    showers: Showers,
    leader: NDArray[np.int64],
    tracks: NDArray[np.int64],
    n_showers: int,
    event: int,
) -> None:
    """Write the tracks and clusters of one event."""
    first, last = shots.offsets[event], shots.offsets[event + 1]
    _find_leaders(showers, n_showers, last - first, leader)
    for i in range(first, last):
        kind, charge, _, _ = describe(shots.pdg[i])
        mother = shots.mother[i]
        track = tracks[mother - first] if mother >= 0 else -1
        if charge != 0 and kind <= PROTON:
            track = _reconstruct(
                storage,
                physics,
                shots,
                hits,
                showers,
                leader[:n_showers],
                first,
                i,
                track,
            )
        tracks[i - first] = track
        for k in range(n_showers):
            if leader[k] == i - first:
                owner = track if showers.values[k, 1] < 0.0 else -1
                _add_shower(storage, showers.values[k], shots.row[i], owner)
    if physics.background:
        add_background_tracks(storage, physics)
        add_background_clusters(storage.block, storage.flight.stream)
    build_clusters(storage)


@kernel
def respond(
    storage: Storage,
    physics: Physics,
    shots: Shots,
    hits: TrackHits,
    crystals: Crystals,
    showers: Showers,
    leader: NDArray[np.int64],
    tracks: NDArray[np.int64],
    seeds: NDArray[np.uint64],
    ends: NDArray[np.int64],
) -> bool:
    """Reconstruct events; return False if storage was too small.

    Parameters
    ----------
    storage : Storage
        Receives tracks and clusters.
    physics : Physics
        Without matter: of the ideal flight.
    shots : Shots
    hits : TrackHits
    crystals : Crystals
    showers : Showers
    leader, tracks : ndarray of int64
        Room for one number per shower, and per primary of an event.
    seeds : ndarray of uint64, shape (n_events,)
    ends : ndarray of int64, shape (n_events, 2)
        Filled: where the tracks and clusters of each event end.
    """
    counts, stream = storage.counts, storage.flight.stream
    for event in range(len(seeds)):
        counts[PENDING] = counts[DEPOSITS] = counts[OVERFLOW] = 0
        counts[FIRST_TRACK] = counts[TRACKS]
        seed_stream(stream, seeds[event])
        start, stop = crystals.offsets[event], crystals.offsets[event + 1]
        first, last = shots.offsets[event], shots.offsets[event + 1]
        n_showers = find_showers(
            showers,
            stream,
            crystals.cell[start:stop],
            crystals.energy[start:stop],
            crystals.primary[start:stop] - first,
            last - first,
        )
        _respond_event(
            storage, physics, shots, hits, showers, leader, tracks, n_showers, event
        )
        if counts[OVERFLOW] != 0:
            return False
        ends[event, 0], ends[event, 1] = counts[TRACKS], counts[CLUSTERS]
    return True
