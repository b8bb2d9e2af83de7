"""Where two tracks cross: vertices of K_S and Lambda from helices in the solenoid.

A helix is a row ``(px, py, pz, charge, d0, z0)`` at the point of closest approach to
the z axis, in Belle II's convention: that point is (d0 sin phi, -d0 cos phi, z0) with
phi the azimuth of the momentum there. The field is 1.5 T along z.
"""

from __future__ import annotations

from math import atan2, hypot, sqrt
from typing import TYPE_CHECKING, Any

from smartfilter.pipeline.kernels import inner_kernel, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CURVATURE", "MAX_GAP", "cross"]

CURVATURE = 0.0029979246 * 1.5
"""Transverse momentum over radius (GeV / cm) in 1.5 T: speed of light x field."""

MAX_GAP = 0.5
"""Largest distance (cm) of two circles that do not meet but still make a vertex."""


@inner_kernel
def _centre(helix: NDArray[Any]) -> tuple[float, float, float]:
    """Return centre x, y and radius (cm) of the transverse circle.

    A positive charge turns clockwise seen against the field, so that the centre lies at
    charge * radius along (sin phi, -cos phi).
    """
    pt = hypot(helix[0], helix[1])
    radius = pt / CURVATURE
    reach = helix[4] + helix[3] * radius
    return reach * helix[1] / pt, -reach * helix[0] / pt, radius


@inner_kernel
def _move(
    helix: NDArray[Any], x: float, y: float, cx: float, cy: float, radius: float
) -> tuple[float, float, float]:
    """Return z, px, py of the helix at (x, y) on its circle, within half a turn."""
    charge = helix[3]
    distance = hypot(x - cx, y - cy)
    pt = hypot(helix[0], helix[1])
    px = charge * pt * (y - cy) / distance
    py = -charge * pt * (x - cx) / distance
    # Turning angle from the start, positive counter-clockwise.
    angle = atan2(helix[0] * py - helix[1] * px, helix[0] * px + helix[1] * py)
    path = -charge * radius * angle
    return helix[5] + path * helix[2] / pt, px, py


@kernel
def cross(first: NDArray[Any], second: NDArray[Any], out: NDArray[Any]) -> bool:
    """Find the point where two helices come closest to each other in space.

    Of the two points where the transverse circles meet, the one where the helices agree
    better in z; where they do not meet, the middle of the gap.

    Parameters
    ----------
    first, second : ndarray of float, shape (6,) or more
        ``(px, py, pz, charge, d0, z0)``: GeV, cm.
    out : ndarray of float64, shape (8,)
        Set to x, y, z (cm), distance in z (cm), and px, py of the first and of the
        second track there (GeV).

    Returns
    -------
    bool
        False if the circles are further apart than `MAX_GAP`.
    """
    ax, ay, ar = _centre(first)
    bx, by, br = _centre(second)
    dx, dy = bx - ax, by - ay
    distance = hypot(dx, dy)
    if not distance > 0.0:
        return False
    ux, uy = dx / distance, dy / distance
    # Distance from the first centre to the chord, and half the chord's length.
    along = (distance * distance + ar * ar - br * br) / (2.0 * distance)
    half2 = ar * ar - along * along
    half = 0.0
    if half2 > 0.0:
        half = sqrt(half2)
    elif distance >= ar + br:
        if distance - ar - br > MAX_GAP:
            return False
        along = 0.5 * (ar + distance - br)
    else:
        if abs(ar - br) - distance > MAX_GAP:
            return False
        # One circle inside the other: nearest on the far side of the larger's centre.
        along = 0.5 * (ar + distance + br) if ar > br else 0.5 * (distance - br - ar)
    out[3] = 1e9
    for side in (-1.0, 1.0):
        x = ax + along * ux - side * half * uy
        y = ay + along * uy + side * half * ux
        az, apx, apy = _move(first, x, y, ax, ay, ar)
        bz, bpx, bpy = _move(second, x, y, bx, by, br)
        if abs(az - bz) < out[3]:
            out[0], out[1], out[2] = x, y, 0.5 * (az + bz)
            out[3] = abs(az - bz)
            out[4], out[5], out[6], out[7] = apx, apy, bpx, bpy
        if half == 0.0:
            break
    return True
