"""Memory of the detector kernels: the particle in flight, and lists of fixed size.

Nothing grows inside a kernel. A list that is full raises a flag, and the caller repeats
that event with more memory (the same random numbers give the same event).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smartfilter.pipeline.kernels import inner_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "AREAL",
    "CHARGE",
    "CLUSTERS",
    "CODE",
    "CURLING",
    "DEPOSITS",
    "FATE",
    "FIRST",
    "FIRST_TRACK",
    "KIND",
    "LAST_RADIUS",
    "LIMIT",
    "MASS",
    "MOMENTUM",
    "N_CHAMBER",
    "N_PHOTONS",
    "N_VERTEX",
    "OUTWARD",
    "OVERFLOW",
    "PATH",
    "PENDING",
    "PROPER",
    "REFERENCE_AREAL",
    "REFERENCE_MOMENTUM",
    "ROW",
    "TRACK",
    "TRACKS",
    "UX",
    "UY",
    "UZ",
    "Block",
    "Flight",
    "Storage",
    "X",
    "Y",
    "Z",
    "add_deposit",
    "push",
]

PENDING, TRACKS, DEPOSITS, CLUSTERS, OVERFLOW, FIRST_TRACK = range(6)
"""Positions in ``Storage.counts``."""

# Positions in `Flight.state`: position, direction and momentum now, and the same from
# `FIRST` on at the first hit; ...
X, Y, Z, UX, UY, UZ, MOMENTUM = range(7)
FIRST = 7
# ... mass, path so far, path at which to stop, path to the decay / beta gamma; ...
MASS, PATH, LIMIT, PROPER = range(14, 18)
# ... areal density crossed so far, and momentum and areal density where the momentum is
# measured: at the last vertex hit or the first chamber hit; radius of the last hit.
AREAL, REFERENCE_MOMENTUM, REFERENCE_AREAL, LAST_RADIUS = range(18, 22)
N_STATE = 22

# Positions in `Flight.identity`. The flags say whether the particle has been going
# outward and whether it has turned back since.
CODE, ROW, KIND, CHARGE, TRACK, FATE = range(6)
N_VERTEX, N_CHAMBER, OUTWARD, CURLING, N_PHOTONS = range(6, 11)
N_IDENTITY = 11


class Flight(NamedTuple):
    """The particle being simulated.

    Parameters
    ----------
    state : ndarray of float64, shape (22,)
        Numbers of its flight, by the positions above (cm, GeV, g/cm^2).
    identity : ndarray of int64, shape (11,)
        PDG code, true row, kind, charge, row of its track in the event (-1: none), how
        the flight ended, numbers of hits, flags, number of photons.
    photons : ndarray of float64, shape (64, 6)
        Photons radiated on the way: position and momentum.
    stream : ndarray of uint64, shape (4,)
        State of the random numbers.
    """

    state: NDArray[np.float64]
    identity: NDArray[np.int64]
    photons: NDArray[np.float64]
    stream: NDArray[np.uint64]


class Block(NamedTuple):
    """The calorimeter while one event is simulated.

    Parameters
    ----------
    deposits : ndarray of float64, shape (capacity, 7)
        Energy, unit vector from the origin (3), number of crystals, track (-1: none),
        true row (-1: none).
    shower : ndarray of float64, shape (4096, 8)
        Particles of one electromagnetic shower still to be followed.
    crystals : ndarray of float64, shape (9, 9)
        Energies left by that shower.
    counts : ndarray of int64, shape (6,)
        That of `Storage`.
    """

    deposits: NDArray[np.float64]
    shower: NDArray[np.float64]
    crystals: NDArray[np.float64]
    counts: NDArray[np.int64]


class Storage(NamedTuple):
    """Everything that kernels write to.

    Parameters
    ----------
    flight : Flight
    block : Block
    pending : ndarray of float64, shape (capacity, 9)
        Particles still to be simulated: position, momentum, PDG code, true row, row of
        the track of a charged mother in the event (-1: none).
    tracks : ndarray of float64, shape (capacity, 14)
        Tracks of all events so far, in the order of `TRACK_COLUMNS`.
    clusters : ndarray of float64, shape (capacity, 6)
        Clusters of all events so far, in the order of `CLUSTER_COLUMNS`.
    counts : ndarray of int64, shape (6,)
        Rows in use: pending, tracks, deposits, clusters; whether one was full; first
        track of the event.
    """

    flight: Flight
    block: Block
    pending: NDArray[np.float64]
    tracks: NDArray[np.float64]
    clusters: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def allocate(cls, capacity: int, *, n_tracks: int, n_clusters: int) -> Storage:
        """Return empty storage for events with up to ``capacity`` particles."""
        counts = np.zeros(6, dtype=np.int64)
        flight = Flight(
            state=np.zeros(N_STATE),
            identity=np.zeros(N_IDENTITY, dtype=np.int64),
            photons=np.empty((64, 6)),
            stream=np.zeros(4, dtype=np.uint64),
        )
        block = Block(
            deposits=np.empty((capacity, 7)),
            shower=np.empty((4096, 8)),
            crystals=np.zeros((9, 9)),
            counts=counts,
        )
        return cls(
            flight=flight,
            block=block,
            pending=np.empty((capacity, 9)),
            tracks=np.empty((n_tracks, 14)),
            clusters=np.empty((n_clusters, 6)),
            counts=counts,
        )

    def grow(self) -> Storage:
        """Return the same with every list twice as long."""

        def double(rows: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.concatenate([rows, np.empty_like(rows)])

        return self._replace(
            block=self.block._replace(deposits=double(self.block.deposits)),
            pending=double(self.pending),
            tracks=double(self.tracks),
            clusters=double(self.clusters),
        )


@inner_kernel
def push(
    storage: Storage,
    pdg: int,
    x: float,
    y: float,
    z: float,
    px: float,
    py: float,
    pz: float,
) -> None:
    """Put a particle on the work list, with true row and track of the one in flight."""
    n = storage.counts[PENDING]
    if n == len(storage.pending):
        storage.counts[OVERFLOW] = 1
        return
    item = storage.pending[n]
    item[0], item[1], item[2] = x, y, z
    item[3], item[4], item[5] = px, py, pz
    item[6], item[7] = pdg, storage.flight.identity[ROW]
    item[8] = storage.flight.identity[TRACK]
    storage.counts[PENDING] = n + 1


@inner_kernel
def add_deposit(
    block: Block,
    energy: float,
    position: tuple[float, float, float],
    n_crystals: float,
    track: float,
    row: float,
) -> None:
    """Record energy at a point of the calorimeter."""
    n = block.counts[DEPOSITS]
    if n == len(block.deposits):
        block.counts[OVERFLOW] = 1
        return
    x, y, z = position
    scale = 1.0 / np.sqrt(x * x + y * y + z * z)
    deposit = block.deposits[n]
    deposit[0] = energy
    deposit[1], deposit[2], deposit[3] = x * scale, y * scale, z * scale
    deposit[4], deposit[5], deposit[6] = n_crystals, track, row
    block.counts[DEPOSITS] = n + 1
