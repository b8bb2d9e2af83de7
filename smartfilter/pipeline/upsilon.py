"""The decay Y(4S) -> B anti-B: kinematics, lifetimes and coherent B0 mixing.

Pythia knows neither the polarisation of the Y(4S) nor the entanglement of the two
neutral B mesons, so that the B mesons are drawn here, with their proper times, and
Pythia decays them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from smartfilter.pipeline.beams import draw_collisions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "B_LIFETIME",
    "B_MASS",
    "MASS_DIFFERENCE",
    "SPEED_OF_LIGHT",
    "UPSILON_PDG",
    "UpsilonDecays",
    "boost",
    "draw_upsilon_decays",
]

UPSILON_PDG = 300553

SPEED_OF_LIGHT = 299.792458
"""mm / ns."""

B_MASS = {511: 5.27972, 521: 5.27941}
"""GeV (PDG 2024)."""

B_LIFETIME = {511: 1.517e-3, 521: 1.638e-3}
"""ns (PDG 2024)."""

MASS_DIFFERENCE = 506.9
"""Delta m_d, 1 / ns (PDG 2024: 0.5069 / ps)."""

THRESHOLD_MARGIN = 1e-4
"""Smallest energy above the B anti-B threshold, GeV: beams below it are drawn again."""


@dataclass(frozen=True, eq=False)
class UpsilonDecays:
    """Y(4S) -> B anti-B decays, GeV and mm/c.

    Parameters
    ----------
    upsilon : ndarray of float64, shape (n_events, 4)
        Four-momentum (E, px, py, pz) of the Y(4S).
    mass : ndarray of float64, shape (n_events,)
        Mass of the Y(4S).
    b_pdg : ndarray of int64, shape (n_events, 2)
        Flavours at the time of decay.
    b_momentum : ndarray of float64, shape (n_events, 2, 4)
    b_proper_time : ndarray of float64, shape (n_events, 2)
        c times proper time, mm.
    """

    upsilon: NDArray[np.float64]
    mass: NDArray[np.float64]
    b_pdg: NDArray[np.int64]
    b_momentum: NDArray[np.float64]
    b_proper_time: NDArray[np.float64]


def invariant_mass(p4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mass of four-momenta (E, px, py, pz), shape (...)."""
    squared = np.square(p4[..., 0]) - np.square(p4[..., 1:]).sum(axis=-1)
    return np.asarray(np.sqrt(squared))


def boost(p4: NDArray[np.float64], frame: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return four-momenta given in the rest frame of ``frame`` as seen from outside.

    Parameters
    ----------
    p4, frame : ndarray of float64, shape (n, 4)
        (E, px, py, pz); ``frame`` is timelike. Boosts into the rest frame of Q by
        passing Q with its momentum reversed.
    """
    mass = invariant_mass(frame)
    momentum, direction = p4[:, 1:], frame[:, 1:]
    projection = (momentum * direction).sum(axis=1)
    energy = (frame[:, 0] * p4[:, 0] + projection) / mass
    factor = (p4[:, 0] + energy) / (frame[:, 0] + mass)
    return np.concatenate(
        [energy[:, None], momentum + factor[:, None] * direction], axis=1
    )


def _draw_directions(
    rng: np.random.Generator, axis: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return unit vectors with dN/dcos ~ sin^2 of the angle to ``axis``, (n, 3)."""
    uniform = rng.random((len(axis), 2))
    # The cubic (2 + 3 c - c^3) / 4 = u has the root c = 2 sin(asin(2 u - 1) / 3).
    cosine = 2 * np.sin(np.arcsin(2 * uniform[:, 0] - 1) / 3)
    sine = np.sqrt(1 - np.square(cosine))
    phi = 2 * np.pi * uniform[:, 1]
    first = np.cross(axis, np.array([0.0, 1.0, 0.0]))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(axis, first)
    return np.asarray(
        cosine[:, None] * axis
        + (sine * np.cos(phi))[:, None] * first
        + (sine * np.sin(phi))[:, None] * second
    )


def _draw_beams(
    rng: np.random.Generator, n_events: int, threshold: float, *, smear: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return electron and total four-momenta with enough energy, each (n, 4)."""
    beams = draw_collisions(rng, n_events, smear=smear)
    electron, total = beams.electron, beams.total
    while (low := np.flatnonzero(invariant_mass(total) < threshold)).size:
        again = draw_collisions(rng, low.size, smear=smear)
        electron[low], total[low] = again.electron, again.total
    return electron, total


def _draw_flavours(
    rng: np.random.Generator, proper_time: NDArray[np.float64], *, pdg: int
) -> NDArray[np.int64]:
    """Return the flavours at decay, shape (n, 2).

    An entangled pair decays with equal flavours with probability
    (1 - cos(Delta m (t1 - t2))) / 2 (PDG review of B0 - anti-B0 mixing, without CP
    violation and without a difference in width).
    """
    sign = np.where(rng.random(len(proper_time)) < 0.5, 1, -1)
    first = np.ones_like(sign) if pdg == 521 else sign
    equal_draw = rng.random(len(proper_time))
    difference = (proper_time[:, 0] - proper_time[:, 1]) / SPEED_OF_LIGHT
    equal = equal_draw < 0.5 * (1 - np.cos(MASS_DIFFERENCE * difference))
    second = np.where(equal & (pdg == 511), first, -first)
    return pdg * np.stack([first, second], axis=1).astype(np.int64)


def draw_upsilon_decays(
    rng: np.random.Generator, n_events: int, *, pdg: int, smear: bool
) -> UpsilonDecays:
    """Return Y(4S) -> B anti-B decays with independent exponential proper times.

    The B direction follows sin^2 of the angle to the beam axis in the centre of mass,
    as for a vector produced by e+ e- with helicity +-1 (basf2's ``EvtGenInterface``).

    Parameters
    ----------
    rng : numpy.random.Generator
    n_events : int
    pdg : int
        511 or 521.
    smear : bool
        Whether the beam energies have their spread.
    """
    b_mass = B_MASS[pdg]
    threshold = 2 * b_mass + THRESHOLD_MARGIN
    electron, total = _draw_beams(rng, n_events, threshold, smear=smear)
    mass = invariant_mass(total)
    reverse = total * np.array([1.0, -1.0, -1.0, -1.0])
    axis = boost(electron, reverse)[:, 1:]
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    momentum = np.sqrt(np.square(mass / 2) - b_mass**2)
    vector = momentum[:, None] * _draw_directions(rng, axis)
    b_momentum = np.stack(
        [
            boost(np.concatenate([mass[:, None] / 2, sign * vector], axis=1), total)
            for sign in (1.0, -1.0)
        ],
        axis=1,
    )
    proper_time = rng.exponential(B_LIFETIME[pdg] * SPEED_OF_LIGHT, size=(n_events, 2))
    return UpsilonDecays(
        upsilon=total,
        mass=mass,
        b_pdg=_draw_flavours(rng, proper_time, pdg=pdg),
        b_momentum=b_momentum,
        b_proper_time=proper_time,
    )
