"""Beams, the boost to their centre of mass, and event-shape variables.

The kernels take particles as rows ``(px, py, pz, |p|)`` in the centre-of-mass frame
(GeV) and do not change them.
"""

from __future__ import annotations

from math import acos, cos, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.pipeline.beams import ENERGY, beam_momenta
from smartfilter.pipeline.kernels import inner_kernel, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BEAM_MOMENTUM",
    "CM_ENERGY",
    "TO_CM",
    "boost_matrix",
    "fox_wolfram_r2",
    "sphericity",
    "thrust",
]


def _nominal_beams() -> NDArray[np.float64]:
    """Return (E, px, py, pz) of both beams together, GeV, lab frame."""
    beams = [beam_momenta(np.array([ENERGY[k]]), k)[0] for k in range(2)]
    return np.asarray(beams[0] + beams[1])


def boost_matrix(momentum: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Lorentz boost into the rest frame of a system.

    Parameters
    ----------
    momentum : ndarray of float64, shape (4,)
        (E, px, py, pz) of the system; must be time-like.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        Acts on column vectors (E, px, py, pz); rotation free (Jackson, Classical
        Electrodynamics, eq. 11.98).
    """
    energy, vector = momentum[0], momentum[1:]
    mass = np.sqrt(energy**2 - vector @ vector)
    matrix = np.empty((4, 4))
    matrix[0, 0] = energy / mass
    matrix[0, 1:] = matrix[1:, 0] = -vector / mass
    matrix[1:, 1:] = np.eye(3) + np.outer(vector, vector) / (mass * (energy + mass))
    return matrix


BEAM_MOMENTUM = _nominal_beams()
"""(E, px, py, pz) of the nominal colliding beams (GeV, lab frame), shape (4,)."""

CM_ENERGY = float(np.sqrt(BEAM_MOMENTUM[0] ** 2 - np.sum(BEAM_MOMENTUM[1:] ** 2)))
"""Centre-of-mass energy (GeV)."""

TO_CM = boost_matrix(BEAM_MOMENTUM)
"""Boost from the lab to the centre-of-mass frame, shape (4, 4)."""


@kernel
def fox_wolfram_r2(momenta: NDArray[Any], n: int) -> float:
    """Return H2 / H0 of the first ``n`` rows; 0 without particles.

    Source: Fox and Wolfram, Phys. Rev. Lett. 41 (1978) 1581, with momenta in the place
    of energies as in basf2 ``FoxWolfram.cc``. 0 is isotropic, 1 is back to back.
    """
    h0 = 0.0
    h2 = 0.0
    for i in range(n):
        pi_ = momenta[i, 3]
        if pi_ <= 0.0:
            continue
        # Each particle with itself: cosine 1.
        h0 += pi_ * pi_
        h2 += pi_ * pi_
        for j in range(i):
            if momenta[j, 3] <= 0.0:
                continue
            product = pi_ * momenta[j, 3]
            dot = (
                momenta[i, 0] * momenta[j, 0]
                + momenta[i, 1] * momenta[j, 1]
                + momenta[i, 2] * momenta[j, 2]
            )
            cosine = dot / product
            h0 += 2.0 * product
            h2 += product * (3.0 * cosine * cosine - 1.0)
    return h2 / h0 if h0 > 0.0 else 0.0


@inner_kernel
def _climb(momenta: NDArray[Any], n: int, ax: float, ay: float, az: float) -> float:
    """Return the length that axis -> sum sign(p . axis) p ends at, from this axis."""
    length = -1.0
    while True:
        sx, sy, sz = 0.0, 0.0, 0.0
        for i in range(n):
            px, py, pz = momenta[i, 0], momenta[i, 1], momenta[i, 2]
            sign = 1.0 if px * ax + py * ay + pz * az >= 0.0 else -1.0
            sx += sign * px
            sy += sign * py
            sz += sign * pz
        longer = sqrt(sx * sx + sy * sy + sz * sz)
        # It grows at every step until the signs no longer change.
        if not longer > length * (1.0 + 1e-12):
            return length
        length = longer
        ax, ay, az = sx, sy, sz


@inner_kernel
def _longest_sum2(momenta: NDArray[Any], n: int, first: int, second: int) -> float:
    """Return the largest squared sum with the plane through two momenta as divide.

    All others take the sign of their side of the plane, the two either sign.
    """
    ax, ay, az = momenta[first, 0], momenta[first, 1], momenta[first, 2]
    bx, by, bz = momenta[second, 0], momenta[second, 1], momenta[second, 2]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    sx, sy, sz = 0.0, 0.0, 0.0
    for i in range(n):
        if i in (first, second):
            continue
        px, py, pz = momenta[i, 0], momenta[i, 1], momenta[i, 2]
        sign = 1.0 if px * nx + py * ny + pz * nz >= 0.0 else -1.0
        sx += sign * px
        sy += sign * py
        sz += sign * pz
    longest = 0.0
    for sign in (-1.0, 1.0):
        x, y, z = ax + sign * bx, ay + sign * by, az + sign * bz
        # |s + t|^2 and |s - t|^2 differ in the sign of the mixed term alone.
        mixed = 2.0 * abs(sx * x + sy * y + sz * z)
        square = sx * sx + sy * sy + sz * sz + x * x + y * y + z * z
        longest = max(longest, square + mixed)
    return longest


@kernel
def thrust(momenta: NDArray[Any], n: int) -> float:
    """Return the thrust of the first ``n`` rows; 0 without particles.

    The largest of sum |p . axis| / sum |p|, that is, of |sum +-p| / sum |p|. The best
    signs divide the particles by a plane, which can be turned until it goes through
    two of them: all pairs are tried (Brandt and Dahmen, Z. Phys. C 1 (1979) 61).
    Particles exactly in one plane or line are ties; for them, the axes that the
    iteration axis -> sum sign(p . axis) p reaches from every particle count, too.
    """
    total, best2 = 0.0, 0.0
    for i in range(n):
        total += momenta[i, 3]
        for j in range(i):
            best2 = max(best2, _longest_sum2(momenta, n, i, j))
    if not total > 0.0:
        return 0.0
    best = sqrt(best2)
    for i in range(n):
        best = max(
            best, _climb(momenta, n, momenta[i, 0], momenta[i, 1], momenta[i, 2])
        )
    return best / total


@kernel
def sphericity(momenta: NDArray[Any], n: int) -> float:
    """Return 3/2 (1 - largest eigenvalue of the momentum tensor); 0 without particles.

    The tensor is sum p_a p_b / sum p^2 (Bjorken and Brodsky, Phys. Rev. D 1 (1970)
    1416); its trace is 1. Eigenvalue of a symmetric 3 x 3 matrix in closed form: Smith,
    Commun. ACM 4 (1961) 168.
    """
    xx, yy, zz, xy, xz, yz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        px, py, pz = momenta[i, 0], momenta[i, 1], momenta[i, 2]
        xx += px * px
        yy += py * py
        zz += pz * pz
        xy += px * py
        xz += px * pz
        yz += py * pz
    trace = xx + yy + zz
    if trace <= 0.0:
        return 0.0
    third = 1.0 / 3.0
    xx, yy, zz = xx / trace - third, yy / trace - third, zz / trace - third
    xy, xz, yz = xy / trace, xz / trace, yz / trace
    spread2 = (xx * xx + yy * yy + zz * zz + 2.0 * (xy * xy + xz * xz + yz * yz)) / 6.0
    if spread2 <= 0.0:
        return 1.0
    spread = sqrt(spread2)
    determinant = (
        xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    )
    cosine = min(1.0, max(-1.0, determinant / (2.0 * spread2 * spread)))
    angle = acos(cosine) / 3.0
    largest = third + 2.0 * spread * cos(angle)
    return min(1.0, max(0.0, 1.5 * (1.0 - largest)))
