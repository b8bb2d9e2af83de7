"""Beams of SuperKEKB at the Y(4S): energies, angles, spread, interaction point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CROSSING_HALF_ANGLE",
    "ELECTRON_MASS",
    "ENERGY",
    "ENERGY_SPREAD",
    "Collisions",
    "beam_momenta",
    "draw_collisions",
    "draw_vertices",
]

ENERGY = (7.004, 4.002)
"""Electron (HER) and positron (LER) energy, GeV (basf2 ``beamparameters.py``, Y4S)."""

ENERGY_SPREAD = (5.13e-3, 2.375e-3)
"""Gaussian width of the two energies, GeV (basf2 ``beamparameters.py``)."""

CROSSING_HALF_ANGLE = 0.0415
"""Angle of each beam to the z axis, in the x-z plane, rad (same source)."""

BUNCH_SIZE = ((10.2e-4, 59e-7, 0.60), (7.75e-4, 59e-7, 0.50))
"""Gaussian x, y, z sizes of the two bunches, cm (same source: 10.2 and 7.75 um,
59 nm, 6 and 5 mm)."""

ELECTRON_MASS = 0.51099895e-3
"""GeV (CODATA 2018)."""


@dataclass(frozen=True, eq=False)
class Collisions:
    """Four-momenta (E, px, py, pz) in GeV of colliding beams, each (n_events, 4)."""

    electron: NDArray[np.float64]
    positron: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """Sum of both beams, shape (n_events, 4)."""
        return self.electron + self.positron


def beam_momenta(energy: NDArray[np.float64], beam: int) -> NDArray[np.float64]:
    """Return four-momenta (E, px, py, pz) of a beam, shape (n_events, 4).

    Parameters
    ----------
    energy : ndarray of float64, shape (n_events,)
        Beam energies, GeV.
    beam : int
        0: electrons, at +41.5 mrad to +z; 1: positrons, at 41.5 mrad to -z. Both
        move towards +x.
    """
    momentum = np.sqrt(np.square(energy) - ELECTRON_MASS**2)
    direction = (1.0, -1.0)[beam]
    return np.stack(
        [
            energy,
            momentum * np.sin(CROSSING_HALF_ANGLE),
            np.zeros_like(energy),
            direction * momentum * np.cos(CROSSING_HALF_ANGLE),
        ],
        axis=1,
    )


def draw_collisions(
    rng: np.random.Generator, n_events: int, *, smear: bool
) -> Collisions:
    """Return beams with nominal or Gaussian energies."""
    spread = np.array(ENERGY_SPREAD) if smear else np.zeros(2)
    energy = np.array(ENERGY) + spread * rng.standard_normal((n_events, 2))
    return Collisions(beam_momenta(energy[:, 0], 0), beam_momenta(energy[:, 1], 1))


@lru_cache
def _vertex_covariance() -> NDArray[np.float64]:
    """Return the covariance of the interaction point, cm^2, shape (3, 3).

    The product of two Gaussian bunches, each along its own beam (as basf2's
    ``calculate_beamspot``): 6.4 um, 42 nm, 154 um wide in x, y, z.
    """
    covariance = []
    for size, angle in zip(
        BUNCH_SIZE, (CROSSING_HALF_ANGLE, np.pi - CROSSING_HALF_ANGLE), strict=True
    ):
        c, s = np.cos(angle), np.sin(angle)
        rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        covariance.append(rotation @ np.diag(np.square(size)) @ rotation.T)
    electron, positron = covariance
    return np.asarray(electron @ np.linalg.inv(electron + positron) @ positron)


def draw_vertices(rng: np.random.Generator, n_events: int) -> NDArray[np.float64]:
    """Return interaction points (x, y, z), cm, shape (n_events, 3)."""
    width = np.linalg.cholesky(_vertex_covariance())
    return np.asarray(rng.standard_normal((n_events, 3)) @ width.T)
