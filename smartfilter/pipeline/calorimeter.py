"""Response of the calorimeter: energy deposits of every kind, and their clusters.

Energies in GeV, lengths in cm, angles in rad. Hadronic interactions are a simple model
of ours, chosen to look like Belle II: an interacting hadron leaves a random part of its
energy, some of it in clusters of their own (split-offs).
"""

from __future__ import annotations

from math import acos, atan2, cos, log, pi, sin, sqrt
from typing import TYPE_CHECKING

from smartfilter.pipeline.geometry import (
    CSI,
    INTERACTION_LENGTH_CSI,
    Physics,
    hits_calorimeter,
)
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.matter import cross_matter
from smartfilter.pipeline.random import (
    exponential,
    normal,
    normal_pair,
    poisson,
    uniform,
)
from smartfilter.pipeline.shower import CRYSTAL_WIDTH, simulate_shower
from smartfilter.pipeline.species import MUON
from smartfilter.pipeline.storage import (
    CHARGE,
    CLUSTERS,
    CODE,
    DEPOSITS,
    KIND,
    MASS,
    MOMENTUM,
    OVERFLOW,
    ROW,
    TRACK,
    UX,
    UY,
    UZ,
    Block,
    Flight,
    Storage,
    X,
    Y,
    Z,
    add_deposit,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CLUSTER_THRESHOLD",
    "MERGING_ANGLE",
    "add_background_clusters",
    "build_clusters",
    "deposit_hadron",
    "deposit_shower",
]

CLUSTER_THRESHOLD = 0.020
"""Smallest energy of a cluster (GeV)."""

MERGING_ANGLE = 0.07
"""Deposits closer than this become one cluster (rad): 1.6 crystals of the barrel."""

_NOISE = (
    0.35e-3  # per crystal, GeV (Belle II Physics Book, section 3.7: 0.2 to 0.5 MeV)
)
_CRYSTAL_THRESHOLD = 0.5e-3
_CALIBRATION = 0.01  # uncertainty of the energy scale, cluster by cluster
# Median part of a photon's energy in 5 x 5 crystals: at 1 GeV, and its slope in ln(E).
_CONTAINMENT, _LEAKAGE = 0.956, 0.0088
_BACKGROUND_CLUSTERS, _BACKGROUND_SLOPE = 2.0, 0.02


@inner_kernel
def _reaches_crystals(state: NDArray[np.float64]) -> bool:
    """Return whether the particle ends its flight in front of crystals."""
    transverse = sqrt(state[X] * state[X] + state[Y] * state[Y])
    return hits_calorimeter(atan2(transverse, state[Z]))


@inner_kernel
def _shift(
    state: NDArray[np.float64], a: float, b: float
) -> tuple[float, float, float]:
    """Return the position shifted by (a, b) across the direction of flight."""
    ux, uy, uz = state[UX], state[UY], state[UZ]
    transverse = sqrt(ux * ux + uy * uy)
    c, s = 1.0, 0.0
    if transverse > 1e-9:
        c, s = ux / transverse, uy / transverse
    return (
        state[X] - s * a - c * uz * b,
        state[Y] + c * a - s * uz * b,
        state[Z] + transverse * b,
    )


@kernel
def deposit_shower(block: Block, flight: Flight, physics: Physics) -> float:
    """Let a photon or electron at the calorimeter shower; return the energy measured.

    The energy is that of 5 x 5 crystals with noise, corrected for the mean containment;
    the position is their mean with logarithmic weights (Awes et al., Nucl. Instrum.
    Meth. A 311 (1992) 130).
    """
    state, stream, identity = flight.state, flight.stream, flight.identity
    if not _reaches_crystals(state):
        return 0.0
    offset_a = CRYSTAL_WIDTH * (uniform(stream) - 0.5)
    offset_b = CRYSTAL_WIDTH * (uniform(stream) - 0.5)
    charged = identity[CHARGE] != 0
    energy, step = state[MOMENTUM], physics.step
    simulate_shower(block, stream, energy, charged, step, offset_a, offset_b)
    total, count = 0.0, 0
    for i in range(2, 7):
        for j in range(2, 7):
            energy = block.crystals[i, j] + _NOISE * normal(stream)
            energy = energy if energy > _CRYSTAL_THRESHOLD else 0.0
            count += energy > 0.0
            block.crystals[i, j] = energy
            total += energy
    if total <= 0.0:
        return 0.0
    a, b = _find_centre(block.crystals, total)
    position = _shift(state, a - offset_a, b - offset_b)
    total *= 1.0 + _CALIBRATION * normal(stream)
    total /= _CONTAINMENT - _LEAKAGE * log(total)
    add_deposit(
        block,
        total,
        position,
        float(count),
        float(identity[TRACK]),
        float(identity[ROW]),
    )
    return total


@inner_kernel
def _find_centre(crystals: NDArray[np.float64], total: float) -> tuple[float, float]:
    """Return the centre of 5 x 5 crystals, relative to the middle one."""
    sum_weight, a, b = 0.0, 0.0, 0.0
    for i in range(2, 7):
        for j in range(2, 7):
            if crystals[i, j] > 0.0:
                weight = max(0.0, 4.0 + log(crystals[i, j] / total))
                sum_weight += weight
                a += weight * (i - 4)
                b += weight * (j - 4)
    return a / sum_weight * CRYSTAL_WIDTH, b / sum_weight * CRYSTAL_WIDTH


@inner_kernel
def _released_energy(flight: Flight) -> float:
    """Return the rest energy that a nuclear interaction sets free.

    That of a meson, both rest energies for an antibaryon, none for a baryon.
    """
    mass, code = float(flight.state[MASS]), flight.identity[CODE]
    if mass < 0.9:
        return mass
    return 2.0 * mass if code < 0 else 0.0


@inner_kernel
def _ionise(flight: Flight, physics: Physics, end: float) -> float:
    """Step a charged particle to a depth; return the momentum left."""
    depth, p = 0.0, float(flight.state[MOMENTUM])
    while depth < end and p > 0.0:
        path = min(physics.step, end - depth)
        areal, straggling = path * CSI.density, physics.straggling
        mass = flight.state[MASS]
        p = cross_matter(flight.stream, mass, p, areal, CSI, straggling)
        depth += path
    return p


@kernel
def deposit_hadron(
    block: Block, flight: Flight, physics: Physics, depth: float
) -> float:
    """Let a hadron or a muon enter the crystals; return the energy measured.

    A charged particle ionises in steps until it interacts, stops or leaves; a neutral one
    leaves energy where it interacts. A stopped antiproton annihilates.

    Parameters
    ----------
    block : Block
    flight : Flight
        At the face of the crystals.
    physics : Physics
    depth : float
        Depth at which the particle decays or leaves (cm), at most `CALORIMETER_DEPTH`.
    """
    state, stream, identity = flight.state, flight.stream, flight.identity
    if not _reaches_crystals(state):
        return 0.0
    end = depth
    if identity[KIND] != MUON:
        end = min(depth, exponential(stream) * INTERACTION_LENGTH_CSI)
    p, mass = state[MOMENTUM], state[MASS]
    start = sqrt(p * p + mass * mass)
    if identity[CHARGE] != 0:
        p = _ionise(flight, physics, end)
    energy = sqrt(p * p + mass * mass)
    deposit = max(start - energy, 0.0)
    released = _released_energy(flight)
    hits = end < depth
    if (hits and p > 0.0) or (p == 0.0 and released > mass):
        deposit += _interact(block, flight, energy - mass + released)
    if deposit <= 0.0:
        return 0.0
    spread = 2.0 if hits else 1.0
    a, b = normal_pair(stream)
    position = _shift(state, spread * a, spread * b)
    deposit *= 1.0 + 0.03 * normal(stream)
    track, row = float(identity[TRACK]), float(identity[ROW])
    add_deposit(block, deposit, position, 2.0 + deposit // 0.06, track, row)
    return deposit


@inner_kernel
def _interact(block: Block, flight: Flight, available: float) -> float:
    """Return the visible energy of a nuclear interaction, its split-offs put aside."""
    stream, row = flight.stream, float(flight.identity[ROW])
    visible = available * min(max(0.4 + 0.2 * normal(stream), 0.02), 0.95)
    for _ in range(poisson(stream, 0.4 + 0.3 * min(available, 3.0))):
        energy = min(0.07 * exponential(stream), 0.5 * visible)
        visible -= energy
        distance = 125.0 * (MERGING_ANGLE + 0.12 * exponential(stream))
        phi = 2.0 * pi * uniform(stream)
        position = _shift(flight.state, distance * cos(phi), distance * sin(phi))
        add_deposit(block, energy, position, 1.0 + energy // 0.03, -1.0, row)
    return visible


@kernel
def add_background_clusters(block: Block, stream: NDArray[np.uint64]) -> None:
    """Add clusters of the machine: Poisson number, exponential energy, flat in space."""
    for _ in range(poisson(stream, _BACKGROUND_CLUSTERS)):
        energy = CLUSTER_THRESHOLD + _BACKGROUND_SLOPE * exponential(stream)
        z = -0.9 + 1.87 * uniform(stream)
        phi = 2.0 * pi * uniform(stream)
        transverse = sqrt(1.0 - z * z)
        position = transverse * cos(phi), transverse * sin(phi), z
        if hits_calorimeter(acos(z)):
            add_deposit(block, energy, position, 1.0 + energy // 0.02, -1.0, -1.0)


@kernel
def build_clusters(storage: Storage) -> None:
    """Merge deposits that lie close together into clusters above the threshold.

    The strongest deposit left takes those within `MERGING_ANGLE`: energies add up,
    directions are averaged by energy, and the first track among them is matched.
    """
    deposits, n = storage.block.deposits, storage.counts[DEPOSITS]
    closest = cos(MERGING_ANGLE)
    while True:
        seed = -1
        for i in range(n):
            if deposits[i, 0] > 0.0 and (
                seed < 0 or deposits[i, 0] > deposits[seed, 0]
            ):
                seed = i
        if seed < 0:
            return
        sx, sy, sz = deposits[seed, 1], deposits[seed, 2], deposits[seed, 3]
        energy, x, y, z, count, track = 0.0, 0.0, 0.0, 0.0, 0.0, deposits[seed, 5]
        for i in range(n):
            d = deposits[i]
            if d[0] > 0.0 and d[1] * sx + d[2] * sy + d[3] * sz > closest:
                energy += d[0]
                x, y, z = x + d[0] * d[1], y + d[0] * d[2], z + d[0] * d[3]
                count += d[4]
                track = d[5] if track < 0.0 else track
                d[0] = 0.0
        if energy > CLUSTER_THRESHOLD:
            _add_cluster(storage, energy, x, y, z, count, track, deposits[seed, 6])


@inner_kernel
def _add_cluster(
    storage: Storage,
    energy: float,
    x: float,
    y: float,
    z: float,
    count: float,
    track: float,
    row: float,
) -> None:
    """Write one row of clusters."""
    n = storage.counts[CLUSTERS]
    if n == len(storage.clusters):
        storage.counts[OVERFLOW] = 1
        return
    cluster = storage.clusters[n]
    cluster[0] = energy
    cluster[1], cluster[2] = atan2(sqrt(x * x + y * y), z), atan2(y, x)
    cluster[3], cluster[4], cluster[5] = count, track, row
    storage.counts[CLUSTERS] = n + 1
