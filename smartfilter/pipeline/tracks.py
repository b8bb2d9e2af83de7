"""What reconstruction would make of a flight: whether it is a track, and its helix.

Pattern recognition and fit are parametric: they act on the simulated trajectory (with
its scattering and energy loss), its numbers of hits and its lever arm. Helix parameters
follow basf2: d0 is positive where the angular momentum about the z axis is, so the point
of closest approach is d0 (sin phi0, -cos phi0). Lengths in cm, momenta in GeV.
"""

from __future__ import annotations

from math import atan2, cos, floor, hypot, pi, sin, sqrt

from smartfilter.pipeline.geometry import SILICON, TRACKER_ANGLES, Physics
from smartfilter.pipeline.helix import CURVATURE
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.matter import stopping_power
from smartfilter.pipeline.random import (
    exponential,
    normal,
    normal_pair,
    poisson,
    uniform,
)
from smartfilter.pipeline.species import CHARGED_MASSES, PION
from smartfilter.pipeline.storage import (
    CHARGE,
    FIRST,
    LAST_RADIUS,
    MASS,
    N_CHAMBER,
    N_VERTEX,
    OVERFLOW,
    REFERENCE_AREAL,
    REFERENCE_MOMENTUM,
    ROW,
    TRACKS,
    Flight,
    Storage,
)

__all__ = ["add_background_tracks", "duplicate_track", "find_perigee", "fit_track"]

# Relative momentum resolution a pT + b / beta of a full track (TDR, chapter 7):
# measurement and scattering, with the lever arm they hold for (Gluckstern, Nucl.
# Instrum. Meth. 24 (1963) 381: a falls with its square, b with the lever arm).
_RESOLUTION, _SCATTERING, _LEVER = 0.0011, 0.0030, 110.0
_SILICON_GAIN = 0.1  # point resolution of silicon relative to the chamber, in `a`
# Position (cm) and angle (rad) at the first hit: with and without silicon.
_SILICON_POINT, _SILICON_ANGLE, _SILICON_MULTIPLE = 0.0012, 0.0003, 0.0006
_WIRE_POINT, _WIRE_Z, _WIRE_ANGLE = 0.015, 0.2, 0.002
_BACKGROUND_TRACKS = 0.05


@kernel
def find_perigee(
    x: float, y: float, z: float, px: float, py: float, pz: float, bend: float
) -> tuple[float, float, float, float]:
    """Return d0, z0, px and py of a helix at its closest approach to the z axis.

    Parameters
    ----------
    x, y, z, px, py, pz : float
        A point of the helix and the momentum there; pT > 0.
    bend : float
        `CURVATURE` times field and charge, not 0.
    """
    pt = hypot(px, py)
    radius = pt / bend
    cx, cy = x + radius * py / pt, y - radius * px / pt
    distance = hypot(cx, cy)
    sign = 1.0 if bend > 0.0 else -1.0
    d0 = sign * distance - radius
    phi0 = atan2(sign * cx, -sign * cy)
    turn = atan2(py, px) - phi0
    turn -= 2.0 * pi * floor(turn / (2.0 * pi) + 0.5)
    z0 = z + pz / pt * turn * radius
    return d0, z0, pt * cos(phi0), pt * sin(phi0)


@inner_kernel
def _is_found(flight: Flight) -> bool:
    """Return whether pattern recognition finds a track."""
    state, stream = flight.state, flight.stream
    theta = atan2(hypot(state[FIRST + 3], state[FIRST + 4]), state[FIRST + 5])
    if theta < TRACKER_ANGLES[0] or theta > TRACKER_ANGLES[1]:
        return False
    n_vertex, n_chamber = flight.identity[N_VERTEX], flight.identity[N_CHAMBER]
    if n_vertex >= 3 and n_chamber >= 8:
        return uniform(stream) < 0.98
    if n_chamber >= 16:
        return uniform(stream) < 0.92
    if n_vertex >= 4:
        p = state[FIRST + 6]
        efficiency = 0.85 * min(max((p - 0.04) / 0.05, 0.0), 1.0)
        return bool(uniform(stream) < efficiency)
    return False


@inner_kernel
def _momentum_resolution(flight: Flight, pt: float, beta: float) -> float:
    """Return the relative resolution of the curvature."""
    state, n_chamber = flight.state, flight.identity[N_CHAMBER]
    start = hypot(state[FIRST], state[FIRST + 1])
    lever = max(state[LAST_RADIUS] - start, 2.0) / _LEVER
    measured = _RESOLUTION * pt / (lever * lever)
    if n_chamber >= 8:
        measured *= sqrt(56.0 / n_chamber)
    else:
        measured *= _SILICON_GAIN
    return hypot(measured, _SCATTERING / (beta * lever))


@inner_kernel
def _measure_momentum(flight: Flight, scale: float) -> float:
    """Return the momentum at the origin, measured too small by a factor.

    That at the last vertex hit or the entrance of the chamber, plus the mean energy loss
    of a pion in the matter crossed before.
    """
    mass = CHARGED_MASSES[PION]
    p = flight.state[REFERENCE_MOMENTUM] / scale
    loss = flight.state[REFERENCE_AREAL] * stopping_power(mass, p, SILICON)
    energy = hypot(p, mass) + loss
    return sqrt(energy * energy - mass * mass)


@kernel
def fit_track(storage: Storage, physics: Physics) -> int:
    """Add a track for the flight just made; return its row, -1 if it is not found.

    The trajectory at the first hit is smeared in position, direction and curvature and
    extrapolated to the z axis. A curvature that changes sign changes the charge.
    """
    flight, stream, state = storage.flight, storage.flight.stream, storage.flight.state
    bend = CURVATURE * physics.field * flight.identity[CHARGE]
    if bend == 0.0 or not _is_found(flight):
        return -1
    ux, uy, uz = state[FIRST + 3], state[FIRST + 4], state[FIRST + 5]
    transverse, p = hypot(ux, uy), state[FIRST + 6]
    beta = p / hypot(p, state[MASS])
    scale = 1.0 + _momentum_resolution(flight, p * transverse, beta) * normal(stream)
    bend = bend if scale > 0.0 else -bend
    angle = hypot(_SILICON_ANGLE, _SILICON_MULTIPLE / (beta * p))
    point_xy, point_z = _SILICON_POINT, 2.0 * _SILICON_POINT
    if flight.identity[N_VERTEX] < 2:
        angle, point_xy, point_z = _WIRE_ANGLE, _WIRE_POINT, _WIRE_Z
    p = _measure_momentum(flight, max(abs(scale), 0.05))
    a, b = normal_pair(stream)
    c, d = normal_pair(stream)
    phi = atan2(uy, ux) + a * angle / transverse
    cotangent = uz / transverse + b * angle / (transverse * transverse)
    pt = p / sqrt(1.0 + cotangent * cotangent)
    d0, z0, px, py = find_perigee(
        state[FIRST] - sin(phi) * c * point_xy,
        state[FIRST + 1] + cos(phi) * c * point_xy,
        state[FIRST + 2] + d * point_z,
        pt * cos(phi),
        pt * sin(phi),
        pt * cotangent,
        bend,
    )
    charge = 1.0 if bend > 0.0 else -1.0
    return _add_track(
        storage,
        (px, py, pt * cotangent, charge, d0, z0),
        float(flight.identity[N_VERTEX]),
        float(flight.identity[N_CHAMBER]),
        float(flight.identity[ROW]),
    )


@inner_kernel
def _add_track(
    storage: Storage,
    helix: tuple[float, float, float, float, float, float],
    n_vertex: float,
    n_chamber: float,
    row: float,
) -> int:
    """Write one row of tracks, its log-likelihoods 0, and return its number."""
    n = int(storage.counts[TRACKS])
    if n == len(storage.tracks):
        storage.counts[OVERFLOW] = 1
        return -1
    track = storage.tracks[n]
    track[0], track[1], track[2] = helix[0], helix[1], helix[2]
    track[3], track[4], track[5] = helix[3], helix[4], helix[5]
    track[6], track[7] = n_vertex, n_chamber
    for i in range(8, 13):
        track[i] = 0.0
    track[13] = row
    storage.counts[TRACKS] = n + 1
    return n


@kernel
def duplicate_track(storage: Storage, index: int) -> None:
    """Add a second copy of a track, now and then: curling ones are found twice."""
    stream, track = storage.flight.stream, storage.tracks[index]
    pt = hypot(track[0], track[1])
    if uniform(stream) > (0.05 if pt < 0.25 else 0.003):
        return
    scale, shift = 1.0 + 0.05 * normal(stream), 0.5 * normal(stream)
    if pt < 0.25 and uniform(stream) < 0.5:
        scale = -scale  # the way back: opposite direction and charge
    charge = track[3] if scale > 0.0 else -track[3]
    helix = (
        scale * track[0],
        scale * track[1],
        scale * track[2],
        charge,
        track[4] + 0.2 * shift,
        track[5] + shift,
    )
    copy = _add_track(storage, helix, 0.0, track[7], track[13])
    if copy >= 0:
        for i in range(8, 13):
            storage.tracks[copy, i] = track[i]


@kernel
def add_background_tracks(storage: Storage, physics: Physics) -> None:
    """Add tracks of the machine and chance combinations of hits: few, soft, displaced."""
    stream = storage.flight.stream
    if physics.field == 0.0:
        return
    for _ in range(poisson(stream, _BACKGROUND_TRACKS)):
        pt = 0.08 + 0.15 * exponential(stream)
        phi = 2.0 * pi * uniform(stream)
        a, b = normal_pair(stream)
        charge = 1.0 if uniform(stream) < 0.5 else -1.0
        helix = (pt * cos(phi), pt * sin(phi), pt * a, charge, a, 5.0 * b)
        copy = _add_track(storage, helix, 0.0, 20.0, -1.0)
        if copy >= 0:
            storage.tracks[copy, 10] = 2.0
