"""Motion on a helix, and where it meets the surfaces of the detector.

Lengths in cm, momenta in GeV.
"""

from __future__ import annotations

from math import cos, sin, sqrt
from typing import TYPE_CHECKING

from smartfilter.pipeline.geometry import CYLINDER_RADIUS, PLANE_Z
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.storage import UX, UY, UZ, X, Y, Z

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CURVATURE",
    "advance",
    "count_surfaces",
    "find_crossing",
    "find_radius",
    "settle_on_cylinder",
]

CURVATURE = 0.00299792458
"""Curvature of a unit charge: momentum (GeV) x curvature (1/cm) / field (T)."""

_GRAZING = 0.01  # cosine below which a crossing is not refined


@kernel
def advance(state: NDArray[np.float64], path: float, curvature: float) -> None:
    """Move along a helix about the z axis, exactly, for any path.

    Parameters
    ----------
    state : ndarray of float64, shape (>= 6,)
        Position and direction, changed in place.
    path : float
        Length of the path.
    curvature : float
        `CURVATURE` times field and charge over momentum: a positive charge turns
        clockwise seen from +z in a field along +z.
    """
    half = -0.5 * path * curvature
    square = half * half
    if square < 0.01:
        ratio = 1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0))
        cosine = 1.0 - square / 2.0 * (1.0 - square / 12.0 * (1.0 - square / 30.0))
    else:
        ratio, cosine = sin(half) / half, cos(half)
    sine, chord = half * ratio, path * ratio
    ux, uy = state[UX], state[UY]
    middle_x, middle_y = ux * cosine - uy * sine, ux * sine + uy * cosine
    state[X] += chord * middle_x
    state[Y] += chord * middle_y
    state[Z] += path * state[UZ]
    state[UX] = middle_x * cosine - middle_y * sine
    state[UY] = middle_x * sine + middle_y * cosine


@inner_kernel
def find_radius(state: NDArray[np.float64]) -> float:
    """Return the distance from the z axis."""
    return sqrt(state[X] * state[X] + state[Y] * state[Y])


@inner_kernel
def _fraction_to_radius(
    x: float, y: float, dx: float, dy: float, radius: float, sign: float
) -> float:
    """Return where the chord (x, y) + f (dx, dy) meets a circle, 0 <= f <= 1.

    ``sign`` is 1 on the way out and -1 on the way in.
    """
    a = dx * dx + dy * dy
    b = x * dx + y * dy
    root = sqrt(max(b * b - a * (x * x + y * y - radius * radius), 0.0))
    return min(max((sign * root - b) / a, 0.0), 1.0)


@inner_kernel
def find_crossing(
    state: NDArray[np.float64],
    radius: float,
    x: float,
    y: float,
    z: float,
    shell: int,
    slab: int,
) -> tuple[int, int, float]:
    """Return the first surface between (x, y, z) and the present position.

    ``radius`` is that of the present position. ``shell`` and ``slab`` count the cylinders and planes below the start. The answer is
    the change of shell, the change of slab (both 0: no surface), and the fraction of the
    chord.
    """
    change, circle, fraction = 0, 0.0, 2.0
    if radius >= CYLINDER_RADIUS[shell]:
        change, circle = 1, CYLINDER_RADIUS[shell]
    elif shell > 0 and radius < CYLINDER_RADIUS[shell - 1]:
        change, circle = -1, CYLINDER_RADIUS[shell - 1]
    if change != 0:
        dx, dy = state[X] - x, state[Y] - y
        fraction = _fraction_to_radius(x, y, dx, dy, circle, float(change))
    side, plane = 0, 0.0
    if state[Z] >= PLANE_Z[slab]:
        side, plane = 1, PLANE_Z[slab]
    elif state[Z] < PLANE_Z[slab - 1]:
        side, plane = -1, PLANE_Z[slab - 1]
    if side != 0:
        other = min(max((plane - z) / (state[Z] - z), 0.0), 1.0)
        if other < fraction:
            return 0, side, other
    return change, 0, fraction


@inner_kernel
def settle_on_cylinder(
    state: NDArray[np.float64], radius: float, curvature: float
) -> float:
    """Move along the helix to a cylinder close by (one step of Newton's method).

    The chord that finds a crossing leaves the particle off the surface by the
    sagitta of the step. Returns the path, 0 for a grazing particle.
    """
    now = find_radius(state)
    slope = (state[X] * state[UX] + state[Y] * state[UY]) / now
    if abs(slope) < _GRAZING:
        return 0.0
    path: float = (radius - now) / slope
    advance(state, path, curvature)
    return path


@inner_kernel
def count_surfaces(value: float, surfaces: NDArray[np.float64]) -> int:
    """Return how many of the sorted values are not above one."""
    count = 0
    while count < len(surfaces) and surfaces[count] <= value:
        count += 1
    return count
