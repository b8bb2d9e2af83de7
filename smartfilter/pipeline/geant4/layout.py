"""Volumes of the simplified detector, and how its cells are numbered.

Lengths in cm. Radii, lengths and areal densities are those of the mock detector
(`smartfilter.pipeline.geometry`), so that both detectors can be compared; crystals are
cells of a regular grid, not the projective crystals of Belle II.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GRIDS", "N_CELLS", "Grid", "Layout", "make_layout"]


@dataclass(frozen=True)
class Grid:
    """Crystals of one part of the calorimeter.

    Parameters
    ----------
    name : str
    n_rows, n_columns : int
        Cells along z (barrel) or the radius (endcaps), and in azimuth.
    first : int
        Number of the first cell; row by row.
    inner, outer, backward, forward : float
        Radii and ends in z (cm).
    """

    name: str
    n_rows: int
    n_columns: int
    first: int
    inner: float
    outer: float
    backward: float
    forward: float

    @property
    def radial(self) -> bool:
        """Whether rows follow the radius."""
        return self.name != "barrel"


# 6.5 cm x 5.5 cm in the barrel; rings of 6.3 cm and 6.5 cm in the endcaps. The endcaps
# begin at the polar angles of `geometry.CALORIMETER_ANGLES`.
GRIDS = (
    Grid("barrel", 46, 144, 0, 125.0, 155.0, -102.0, 196.0),
    Grid("forward", 13, 96, 46 * 144, 43.1, 125.0, 196.0, 226.0),
    Grid("backward", 12, 96, 46 * 144 + 13 * 96, 47.3, 125.0, -132.0, -102.0),
)
N_CELLS = 46 * 144 + (13 + 12) * 96


@dataclass(frozen=True)
class Layout:
    """What Geant4 is told about the detector.

    Parameters
    ----------
    field : float
        Field along z (T).
    layers : tuple of tuple of float
        Silicon layers: inner radius, thickness, backward and forward end (cm).
    pipe, wall, quartz : tuple of float
        Beam pipe (beryllium), inner wall of the chamber (carbon), and bars of the
        time-of-propagation counter (quartz): the same four numbers.
    chamber : tuple of float
        Inner and outer radius, backward and forward end of the gas (cm).
    n_layers : int
        Layers of the chamber.
    plates : tuple of tuple of float
        End plates (aluminium): backward and forward face, inner and outer radius (cm).
    """

    field: float
    layers: tuple[tuple[float, float, float, float], ...]
    pipe: tuple[float, float, float, float]
    wall: tuple[float, float, float, float]
    quartz: tuple[float, float, float, float]
    chamber: tuple[float, float, float, float]
    n_layers: int
    plates: tuple[tuple[float, float, float, float], ...]


# Densities (g/cm^3; PDG, Atomic and Nuclear Properties of Materials).
_SILICON, _BERYLLIUM, _CARBON, _QUARTZ, _ALUMINIUM = 2.329, 1.848, 2.0, 2.20, 2.699


def make_layout(field: float = 1.5) -> Layout:
    """Return the layout that follows the mock detector's geometry."""
    from smartfilter.pipeline import geometry as g

    def shell(index: int, density: float) -> tuple[float, float, float, float]:
        areal = float(g.CYLINDER_AREAL[index])
        radius = float(g.CYLINDER_RADIUS[index])
        ends = float(g.CYLINDER_BACKWARD[index]), float(g.CYLINDER_FORWARD[index])
        return radius, areal / density, *ends

    silicon = range(g.VERTEX_FIRST, g.VERTEX_LAST + 1)
    quartz = shell(g.CHAMBER_WALL + 1, _QUARTZ)
    ends = g.CHAMBER_BACKWARD, g.CHAMBER_FORWARD
    back, front = float(g.PLANE_Z[1]), float(g.PLANE_Z[2])
    areal = g.PLANE_AREAL / _ALUMINIUM
    return Layout(
        field=field,
        layers=tuple(shell(i, _SILICON) for i in silicon),
        pipe=(*shell(0, _BERYLLIUM)[:2], back, front),
        wall=(*shell(g.CHAMBER_WALL, _CARBON)[:2], *ends),
        quartz=(*quartz[:2], back, front),
        chamber=(g.CHAMBER_INNER, g.CHAMBER_OUTER, *ends),
        n_layers=g.CHAMBER_LAYERS,
        plates=(
            (back - float(areal[1]), back, 16.0, 111.1),
            (front, front + float(areal[2]), 16.0, 111.1),
        ),
    )
