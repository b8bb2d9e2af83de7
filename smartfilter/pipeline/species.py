"""Particle species that the detector knows, and their decays in flight.

Masses, lifetimes and branching fractions: Particle Data Group, Phys. Rev. D 110 (2024)
030001, rounded. Lengths in cm, momenta and masses in GeV.
"""

from __future__ import annotations

from math import cos, pi, sin, sqrt
from typing import TYPE_CHECKING

from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.random import uniform
from smartfilter.pipeline.storage import Storage, push

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CHARGED_MASSES",
    "ELECTRON",
    "INVISIBLE",
    "KAON",
    "LIGHT_SPEED",
    "LONG_LIVED_CHARGED",
    "LONG_LIVED_NEUTRAL",
    "MUON",
    "NEUTRAL_HADRON",
    "NEUTRAL_PION",
    "PHOTON",
    "PION",
    "PROTON",
    "decay_in_flight",
    "describe",
    "split_three",
    "split_two",
]

LIGHT_SPEED = 29.9792458  # cm/ns

M_E, M_MU, M_PI, M_K, M_P = 0.000510999, 0.105658, 0.139570, 0.493677, 0.938272
M_PI0, M_K0, M_N, M_LAMBDA = 0.134977, 0.497611, 0.939565, 1.115683
CHARGED_MASSES = (M_E, M_MU, M_PI, M_K, M_P)

ELECTRON, MUON, PION, KAON, PROTON = range(5)
PHOTON, NEUTRAL_HADRON, NEUTRAL_PION = 5, 6, 7
LONG_LIVED_CHARGED, LONG_LIVED_NEUTRAL = 8, 9
INVISIBLE = -1


@kernel
def describe(pdg: int) -> tuple[int, int, float, float]:
    """Return kind, charge, mass and c tau (0: stable) of a particle.

    Kinds 0 to 4 are the charged particles that the detector tracks, in the order of
    their log-likelihoods; `INVISIBLE` is everything that leaves no trace, unknown
    codes included.
    """
    code = abs(pdg)
    sign = 1 if pdg > 0 else -1
    if code == 22:
        return PHOTON, 0, 0.0, 0.0
    if code == 211:
        return PION, sign, M_PI, 780.45
    if code == 321:
        return KAON, sign, M_K, 371.1
    if code == 11:
        return ELECTRON, -sign, M_E, 0.0
    if code == 13:
        return MUON, -sign, M_MU, 65863.8
    if code == 2212:
        return PROTON, sign, M_P, 0.0
    if code == 2112:
        return NEUTRAL_HADRON, 0, M_N, 0.0
    if code == 130:
        return NEUTRAL_HADRON, 0, M_K0, 0.0
    if code == 111:
        return NEUTRAL_PION, 0, M_PI0, 0.0
    return _describe_strange(code, sign)


@inner_kernel
def _describe_strange(code: int, sign: int) -> tuple[int, int, float, float]:
    """Return `describe` of particles that the generator decays far from the origin."""
    if code == 310:
        return LONG_LIVED_NEUTRAL, 0, M_K0, 0.0
    if code == 3122:
        return LONG_LIVED_NEUTRAL, 0, M_LAMBDA, 0.0
    if code == 3322:
        return LONG_LIVED_NEUTRAL, 0, 1.31486, 0.0
    if code == 3222:
        return LONG_LIVED_CHARGED, sign, 1.18937, 0.0
    if code == 3112:
        return LONG_LIVED_CHARGED, -sign, 1.197449, 0.0
    if code == 3312:
        return LONG_LIVED_CHARGED, -sign, 1.32171, 0.0
    if code == 3334:
        return LONG_LIVED_CHARGED, -sign, 1.67245, 0.0
    return INVISIBLE, 0, 0.0, 0.0


@inner_kernel
def _breakup_momentum(mass: float, m1: float, m2: float) -> float:
    """Return the momentum of two daughters at rest (PDG, Kinematics, eq. 49.17)."""
    total, difference = (m1 + m2) * (m1 + m2), (m1 - m2) * (m1 - m2)
    square = (mass * mass - total) * (mass * mass - difference)
    return sqrt(max(square, 0.0)) / (2.0 * mass)


@inner_kernel
def _boost(
    px: float,
    py: float,
    pz: float,
    mass: float,
    qx: float,
    qy: float,
    qz: float,
    m: float,
) -> tuple[float, float, float]:
    """Return a momentum (q, m) of the rest frame of (p, mass) in the frame of p."""
    energy = sqrt(px * px + py * py + pz * pz + mass * mass)
    e = sqrt(qx * qx + qy * qy + qz * qz + m * m)
    scale = ((px * qx + py * qy + pz * qz) / (energy + mass) + e) / mass
    return qx + scale * px, qy + scale * py, qz + scale * pz


@kernel
def split_two(
    stream: NDArray[np.uint64],
    px: float,
    py: float,
    pz: float,
    mass: float,
    m1: float,
    m2: float,
) -> tuple[float, float, float, float, float, float]:
    """Return the momenta of both daughters of an isotropic two-body decay."""
    q = _breakup_momentum(mass, m1, m2)
    z = 2.0 * uniform(stream) - 1.0
    phi = 2.0 * pi * uniform(stream)
    r = sqrt(1.0 - z * z)
    qx, qy, qz = q * r * cos(phi), q * r * sin(phi), q * z
    ax, ay, az = _boost(px, py, pz, mass, qx, qy, qz, m1)
    return ax, ay, az, px - ax, py - ay, pz - az


@kernel
def split_three(
    stream: NDArray[np.uint64],
    px: float,
    py: float,
    pz: float,
    mass: float,
    m1: float,
    m2: float,
    m3: float,
) -> tuple[float, float, float, float, float, float, float, float, float]:
    """Return the momenta of three daughters, uniform in phase space.

    The mass of the pair (1, 2) has the density q(mass; m12, m3) q(m12; m1, m2) (PDG,
    Kinematics, section 49.4); sampled by rejection.
    """
    low, high = m1 + m2, mass - m3
    bound = _breakup_momentum(mass, low, m3) * _breakup_momentum(high, m1, m2)
    while True:
        m12 = low + (high - low) * uniform(stream)
        weight = _breakup_momentum(mass, m12, m3) * _breakup_momentum(m12, m1, m2)
        if uniform(stream) * bound <= weight:
            break
    bx, by, bz, cx, cy, cz = split_two(stream, px, py, pz, mass, m12, m3)
    dx, dy, dz, ex, ey, ez = split_two(stream, bx, by, bz, m12, m1, m2)
    return dx, dy, dz, ex, ey, ez, cx, cy, cz


@kernel
def decay_in_flight(
    storage: Storage,
    pdg: int,
    x: float,
    y: float,
    z: float,
    px: float,
    py: float,
    pz: float,
) -> None:
    """Put the visible daughters of a pion, kaon or muon on the work list.

    pi -> mu nu; mu -> e nu nu and the three-body decays of the kaon in flat phase space;
    the six largest modes of the kaon, scaled to a sum of one.
    """
    code = abs(pdg)
    sign = 1 if pdg > 0 else -1
    p = storage.flight.stream
    if code == 211:
        a = split_two(p, px, py, pz, M_PI, M_MU, 0.0)
        push(storage, -13 * sign, x, y, z, a[0], a[1], a[2])
    elif code == 13:
        c = split_three(p, px, py, pz, M_MU, M_E, 0.0, 0.0)
        push(storage, 11 * sign, x, y, z, c[0], c[1], c[2])
    elif code == 321:
        _decay_kaon(storage, sign, x, y, z, px, py, pz)


@inner_kernel
def _decay_kaon(
    storage: Storage,
    sign: int,
    x: float,
    y: float,
    z: float,
    px: float,
    py: float,
    pz: float,
) -> None:
    """Put the visible daughters of a charged kaon on the work list."""
    p = storage.flight.stream
    u = uniform(p) * 0.9999
    if u < 0.6356:
        a = split_two(p, px, py, pz, M_K, M_MU, 0.0)
        push(storage, -13 * sign, x, y, z, a[0], a[1], a[2])
        return
    if u < 0.8423:
        a = split_two(p, px, py, pz, M_K, M_PI, M_PI0)
        push(storage, 211 * sign, x, y, z, a[0], a[1], a[2])
        push(storage, 111, x, y, z, a[3], a[4], a[5])
        return
    first, second, third = 211 * sign, 211 * sign, -211 * sign
    m1, m2, m3 = M_PI, M_PI, M_PI
    if 0.8981 <= u < 0.9488:
        first, second, third, m1, m2, m3 = -11 * sign, 111, 12, M_E, M_PI0, 0.0
    elif 0.9488 <= u < 0.9823:
        first, second, third, m1, m2, m3 = -13 * sign, 111, 14, M_MU, M_PI0, 0.0
    elif u >= 0.9823:
        second, third, m2, m3 = 111, 111, M_PI0, M_PI0
    c = split_three(p, px, py, pz, M_K, m1, m2, m3)
    push(storage, first, x, y, z, c[0], c[1], c[2])
    push(storage, second, x, y, z, c[3], c[4], c[5])
    push(storage, third, x, y, z, c[6], c[7], c[8])
