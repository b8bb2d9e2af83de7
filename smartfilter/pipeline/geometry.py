"""Shapes, materials and field of the mock detector: a simplified Belle II.

Lengths in cm, areal densities in g/cm^2, energies in GeV. Dimensions are those of the
Belle II Technical Design Report (arXiv:1011.0352) and of the Belle II Physics Book
(arXiv:1808.10567, chapter 3), rounded, with beam pipe, walls and gas of the drift
chamber from basf2's geometry files (``ir/data/BeamPipe.xml``, ``cdc/data/CDC.xml``);
properties of materials are those of the tables "Atomic and Nuclear Properties of
Materials" of the Particle Data Group. Support structures, cables and the tilt of sensors
are left out. The z axis is that of the solenoid and the interaction point is its
origin. ``docs/detector.md`` lists every number with its source.
"""

from __future__ import annotations

from math import hypot, sqrt, tan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smartfilter.pipeline.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CALORIMETER_ANGLES",
    "CALORIMETER_DEPTH",
    "CHAMBER_BACKWARD",
    "CHAMBER_FORWARD",
    "CHAMBER_INNER",
    "CHAMBER_LAYERS",
    "CHAMBER_OUTER",
    "CHAMBER_SPACING",
    "CHAMBER_WALL",
    "CSI",
    "CYLINDER_AREAL",
    "CYLINDER_BACKWARD",
    "CYLINDER_FORWARD",
    "CYLINDER_RADIATION",
    "CYLINDER_RADIUS",
    "GAS",
    "INTERACTION_LENGTH_CSI",
    "INTERACTION_LENGTH_SILICON",
    "N_CYLINDERS",
    "N_PLANES",
    "PLANE_AREAL",
    "PLANE_RADIATION",
    "PLANE_Z",
    "SILICON",
    "TRACKER_ANGLES",
    "VERTEX_FIRST",
    "VERTEX_LAST",
    "VOLUME_BACKWARD",
    "VOLUME_FORWARD",
    "VOLUME_RADIUS",
    "Material",
    "Physics",
    "distance_to_cylinder",
    "distance_to_wall",
    "hits_calorimeter",
    "is_in_volume",
]


class Physics(NamedTuple):
    """What the detector does to particles; switches are for tests and studies.

    Parameters
    ----------
    step : float
        Longest step of charged particles (cm).
    field : float
        Field along z (T).
    scattering, energy_loss, straggling, decays, interactions, background : bool
        Multiple scattering in the tracker; ionisation and radiation of charged
        particles in the tracker; fluctuations of both (without them ionisation takes its
        mean and nothing radiates), in the tracker and of hadrons and muons in the
        calorimeter; decays in flight of pions, kaons and muons; nuclear interactions and
        photon conversions in the tracker; clusters and tracks of the machine.
    """

    step: float = 1.0
    field: float = 1.5
    scattering: bool = True
    energy_loss: bool = True
    straggling: bool = True
    decays: bool = True
    interactions: bool = True
    background: bool = True


class Material(NamedTuple):
    """A homogeneous material.

    Parameters
    ----------
    electrons : float
        Z/A (mol/g).
    excitation : float
        Mean excitation energy (GeV).
    density : float
        Density (g/cm^3).
    radiation_length : float
        Radiation length (g/cm^2).
    cut : float
        Energy above which knock-on electrons are sampled one by one (GeV); our choice.
    sternheimer : tuple of float
        a, k, x0, x1 of the density effect (PDG eq. 34.7).
    """

    electrons: float
    excitation: float
    density: float
    radiation_length: float
    cut: float
    sternheimer: tuple[float, float, float, float]


SILICON = Material(
    0.49848, 173.0e-9, 2.329, 21.82, 5.0e-5, (0.14921, 3.2546, 0.2015, 2.8716)
)
GAS = Material(0.5870, 45.0e-9, 7.03e-4, 48.6, 2.0e-6, (0.1676, 3.0, 1.6, 4.0))
"""Helium and ethane, 50 : 50 by volume at 23 degrees C (densities of basf2's
``cdc/data/CDC-Materials.xml``), added up by Bragg's rule; wires are left out. Density
effect by Sternheimer and Peierls' rule for gases, Phys. Rev. B 3 (1971) 3681."""
CSI = Material(
    0.41569, 553.1e-9, 4.510, 8.39, 5.0e-4, (0.25381, 2.6657, 0.0395, 3.3353)
)

INTERACTION_LENGTH_SILICON = 108.4
INTERACTION_LENGTH_CSI = 38.04  # cm

# The inner face of the calorimeter bounds the volume in which particles are tracked.
VOLUME_RADIUS, VOLUME_BACKWARD, VOLUME_FORWARD = 125.0, -102.0, 196.0
CALORIMETER_DEPTH = 30.0

# Cylinders: beam pipe, two pixel and four strip layers, inner wall of the drift
# chamber, its outer wall together with the quartz bars of the time-of-propagation
# counter, and the calorimeter. Thickness in radiation lengths and in g/cm^2.
CYLINDER_RADIUS = np.array(
    [1.0, 1.4, 2.2, 3.9, 8.0, 10.4, 13.5, 16.0, 112.0, VOLUME_RADIUS]
)
CYLINDER_RADIATION = np.array(
    [0.0079, 0.0021, 0.0021, 0.007, 0.007, 0.007, 0.007, 0.0029, 0.20, 0.0]
)
CYLINDER_AREAL = np.array(
    [0.30, 0.046, 0.046, 0.153, 0.153, 0.153, 0.153, 0.1, 5.2, 0.0]
)
N_CYLINDERS = len(CYLINDER_RADIUS)
VERTEX_FIRST, VERTEX_LAST, CHAMBER_WALL = 1, 6, 7

# Planes: calorimeter and end plate of the chamber, backward; end plate with the
# ring-imaging Cherenkov counter and calorimeter, forward.
PLANE_Z = np.array([VOLUME_BACKWARD, -80.0, 160.0, VOLUME_FORWARD])
PLANE_RADIATION = np.array([0.0, 0.15, 0.20, 0.0])
PLANE_AREAL = np.array([0.0, 4.0, 5.0, 0.0])
N_PLANES = len(PLANE_Z)

CHAMBER_INNER, CHAMBER_OUTER = 16.8, 111.1
CHAMBER_LAYERS = 56
CHAMBER_SPACING = (CHAMBER_OUTER - CHAMBER_INNER) / CHAMBER_LAYERS
CHAMBER_BACKWARD, CHAMBER_FORWARD = -75.0, 155.0
_RADIANS = np.pi / 180.0
TRACKER_ANGLES = (17.0 * _RADIANS, 150.0 * _RADIANS)
CALORIMETER_ANGLES = (12.4 * _RADIANS, 155.1 * _RADIANS)
# Polar angles without crystals between the barrel and the endcaps.
_GAPS = np.array([31.4, 32.2, 128.7, 130.7]) * _RADIANS

# Sensitive length of each cylinder: the polar angles of the tracker seen from 0.
CYLINDER_BACKWARD: NDArray[np.float64] = CYLINDER_RADIUS / tan(TRACKER_ANGLES[1])
CYLINDER_FORWARD: NDArray[np.float64] = CYLINDER_RADIUS / tan(TRACKER_ANGLES[0])


@kernel
def is_in_volume(x: float, y: float, z: float) -> bool:
    """Return whether a point is inside the inner face of the calorimeter."""
    return hypot(x, y) < VOLUME_RADIUS and VOLUME_BACKWARD < z < VOLUME_FORWARD


@kernel
def hits_calorimeter(theta: float) -> bool:
    """Return whether there are crystals at this polar angle (rad)."""
    if theta < CALORIMETER_ANGLES[0] or theta > CALORIMETER_ANGLES[1]:
        return False
    return not (_GAPS[0] < theta < _GAPS[1] or _GAPS[2] < theta < _GAPS[3])


@kernel
def distance_to_cylinder(
    x: float, y: float, ux: float, uy: float, radius: float
) -> float:
    """Return the path along a straight line from inside to a cylinder, else infinity.

    ``ux, uy`` are components of a unit vector in space.
    """
    a = ux * ux + uy * uy
    c = x * x + y * y - radius * radius
    if a < 1e-18 or c > 0.0:
        return np.inf
    b = x * ux + y * uy
    return (-b + sqrt(b * b - a * c)) / a


@kernel
def distance_to_wall(
    x: float, y: float, z: float, ux: float, uy: float, uz: float
) -> float:
    """Return the path along a straight line to the inner face of the calorimeter."""
    path = distance_to_cylinder(x, y, ux, uy, VOLUME_RADIUS)
    if uz > 0.0:
        path = min(path, (VOLUME_FORWARD - z) / uz)
    elif uz < 0.0:
        path = min(path, (VOLUME_BACKWARD - z) / uz)
    return path
