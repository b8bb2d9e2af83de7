"""Multiplicities, event shapes and what is missing of one event."""

from __future__ import annotations

from math import cos, sin, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.pipeline.decay_modes import MASSES
from smartfilter.pipeline.event_shape import fox_wolfram_r2, sphericity, thrust
from smartfilter.pipeline.final_states import is_from_beams
from smartfilter.pipeline.kernels import inner_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["describe_event"]

TRACK_PT_MIN, CLUSTER_ENERGY_MIN = 0.1, 0.1
"""GeV; basf2 ``fei`` event cleaning."""

_PION_MASS = MASSES["pi+"]


@inner_kernel
def _add_momentum(
    momenta: NDArray[Any],
    n: int,
    to_cm: NDArray[Any],
    energy: float,
    px: float,
    py: float,
    pz: float,
) -> float:
    """Set row ``n`` to the CM momentum; return the CM energy."""
    for k in range(3):
        momenta[n, k] = (
            to_cm[k + 1, 0] * energy
            + to_cm[k + 1, 1] * px
            + to_cm[k + 1, 2] * py
            + to_cm[k + 1, 3] * pz
        )
    x, y, z = momenta[n, 0], momenta[n, 1], momenta[n, 2]
    momenta[n, 3] = sqrt(x * x + y * y + z * z)
    return float(
        to_cm[0, 0] * energy + to_cm[0, 1] * px + to_cm[0, 2] * py + to_cm[0, 3] * pz
    )


@inner_kernel
def describe_event(
    tracks: NDArray[Any],
    clusters: NDArray[Any],
    to_cm: NDArray[Any],
    cm_energy: float,
    momenta: NDArray[Any],
    counts: NDArray[Any],
    values: NDArray[Any],
) -> None:
    """Set multiplicities, event shapes and missing quantities.

    Rows 1 to 3 of ``counts`` and 6 to 11 of ``values``, in the order of the columns of
    `smartfilter.pipeline.reconstruction`. ``momenta`` is room for one row per object.
    """
    n, charge, visible = 0, 0.0, 0.0
    for track in tracks:
        pt2 = track[0] * track[0] + track[1] * track[1]
        if not pt2 > TRACK_PT_MIN**2 or not is_from_beams(track):
            continue
        energy = sqrt(pt2 + track[2] * track[2] + _PION_MASS * _PION_MASS)
        visible += _add_momentum(
            momenta, n, to_cm, energy, track[0], track[1], track[2]
        )
        charge += track[3]
        n += 1
    counts[1], counts[2] = n, int(charge)
    for cluster in clusters:
        energy, theta, phi = cluster[0], cluster[1], cluster[2]
        if not energy > CLUSTER_ENERGY_MIN or cluster[3] >= 0:
            continue
        pt = energy * sin(theta)
        visible += _add_momentum(
            momenta, n, to_cm, energy, pt * cos(phi), pt * sin(phi), energy * cos(theta)
        )
        n += 1
    counts[3] = n - counts[1]
    values[6] = fox_wolfram_r2(momenta, n)
    values[7] = thrust(momenta, n)
    values[8] = sphericity(momenta, n)
    missing = cm_energy - visible
    mass2 = missing * missing
    for k in range(3):
        # The beams are at rest in this frame: missing momentum is minus the visible.
        total = np.sum(momenta[:n, k])
        mass2 -= total * total
    values[9], values[10], values[11] = visible, missing, mass2
