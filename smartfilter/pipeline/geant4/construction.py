"""The detector as Geant4 volumes; only worker processes import this.

Sensitive cells are replicas, and C++ scorers add up the energy of each: Python sees the
sums at the end of an event, not the steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geant4_pybind as g4

from smartfilter.pipeline.geant4.layout import GRIDS

if TYPE_CHECKING:
    from smartfilter.pipeline.geant4.layout import Grid, Layout

__all__ = ["SCORERS", "DetectorConstruction"]

SCORERS = ("silicon", "chamber", *(grid.name for grid in GRIDS))
"""Names of the scorers: layer of the vertex detector, layer of the chamber, crystals."""

_WORLD_RADIUS, _WORLD_HALF_LENGTH = 170.0, 240.0
_LONGEST_TIME = 60.0  # ns; the shaping time of the calorimeter is longer
_SMALLEST_ENERGY = 0.3  # MeV; what has less is absorbed on the spot


class DetectorConstruction(g4.G4VUserDetectorConstruction):
    """Build the volumes of a layout, its field and its scorers.

    Python objects that Geant4 refers to are kept alive here.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self._layout = layout
        self._kept: list[Any] = []
        self._sensitive: dict[str, list[Any]] = {}

    def Construct(self) -> Any:
        """Return the world with everything in it."""
        find = g4.G4NistManager.Instance().FindOrBuildMaterial
        layout, tracker = self._layout, find("G4_Galactic")
        world = self._logical(
            "world", tracker, 0.0, _WORLD_RADIUS, 2.0 * _WORLD_HALF_LENGTH
        )
        top = g4.G4PVPlacement(None, g4.G4ThreeVector(), world, "world", None, False, 0)
        self._kept.append(top)
        for name, material, shell in (
            ("pipe", "G4_Be", layout.pipe),
            ("wall", "G4_C", layout.wall),
            ("quartz", "G4_SILICON_DIOXIDE", layout.quartz),
        ):
            self._shell(name, find(material), shell, world)
        self._sensitive["silicon"] = [
            self._shell(f"silicon{i}", find("G4_Si"), shell, world, copy=i)
            for i, shell in enumerate(layout.layers)
        ]
        for i, (back, front, inner, outer) in enumerate(layout.plates):
            plate = self._logical(
                f"plate{i}", find("G4_Al"), inner, outer, front - back
            )
            self._place(plate, world, 0.5 * (back + front))
        self._build_chamber(world)
        for grid in GRIDS:
            self._build_crystals(grid, find("G4_CESIUM_IODIDE"), world)
        return top

    def ConstructSDandField(self) -> None:
        """Attach scorers to the sensitive volumes, and the field to the world."""
        field = g4.G4UniformMagField(
            g4.G4ThreeVector(0.0, 0.0, self._layout.field * g4.tesla)
        )
        manager = g4.G4TransportationManager.GetTransportationManager()
        manager.GetFieldManager().SetDetectorField(field)
        manager.GetFieldManager().CreateChordFinder(field)
        self._kept.append(field)
        for name in ("silicon", "chamber"):
            self._add_scorer(name, g4.G4PSEnergyDeposit("energy", 0))
        for grid in GRIDS:
            shape = (1, grid.n_rows, grid.n_columns, 2, 1, 0)
            self._add_scorer(grid.name, g4.G4PSEnergyDeposit3D("energy", *shape))

    def _add_scorer(self, name: str, scorer: Any) -> None:
        detector = g4.G4MultiFunctionalDetector(name)
        detector.RegisterPrimitive(scorer)
        g4.G4SDManager.GetSDMpointer().AddNewDetector(detector)
        self._kept += [detector, scorer]
        for volume in self._sensitive[name]:
            self.SetSensitiveDetector(volume, detector)

    def _logical(
        self,
        name: str,
        material: Any,
        inner: float,
        outer: float,
        length: float,
        angle: float = 360.0,
    ) -> Any:
        """Return a tube (cm, degrees) with the limits of tracking."""
        solid = g4.G4Tubs(
            name,
            inner * g4.cm,
            outer * g4.cm,
            0.5 * length * g4.cm,
            -0.5 * angle * g4.deg,
            angle * g4.deg,
        )
        volume = g4.G4LogicalVolume(solid, material, name)
        far = 1e9 * g4.mm
        limits = g4.G4UserLimits(
            far, far, _LONGEST_TIME * g4.ns, _SMALLEST_ENERGY * g4.MeV
        )
        volume.SetUserLimits(limits)
        self._kept += [solid, volume, limits]
        return volume

    def _place(self, volume: Any, mother: Any, z: float, copy: int = 0) -> None:
        position = g4.G4ThreeVector(0.0, 0.0, z * g4.cm)
        name = volume.GetName()
        self._kept.append(
            g4.G4PVPlacement(None, position, volume, name, mother, False, copy)
        )

    def _shell(
        self,
        name: str,
        material: Any,
        shell: tuple[float, float, float, float],
        mother: Any,
        copy: int = 0,
    ) -> Any:
        """Return a thin cylinder, placed."""
        radius, thickness, back, front = shell
        outer = radius + thickness
        volume = self._logical(name, material, radius, outer, front - back)
        self._place(volume, mother, 0.5 * (back + front), copy)
        return volume

    def _replicate(
        self, volume: Any, mother: Any, axis: Any, n: int, width: float, start: float
    ) -> None:
        name = volume.GetName()
        self._kept.append(g4.G4PVReplica(name, volume, mother, axis, n, width, start))

    def _build_chamber(self, world: Any) -> None:
        """Fill the chamber with layers of helium and ethane (50 : 50 by volume)."""
        gas = g4.G4Material("gas", 7.03e-4 * g4.g / g4.cm3, 3)
        for symbol, share in (("He", 0.1175), ("C", 0.7050), ("H", 0.1775)):
            element = g4.G4NistManager.Instance().FindOrBuildElement(symbol)
            gas.AddElement(element, share)
        self._kept.append(gas)
        inner, outer, back, front = self._layout.chamber
        n, length = self._layout.n_layers, front - back
        chamber = self._logical("chamber", gas, inner, outer, length)
        self._place(chamber, world, 0.5 * (back + front))
        width = (outer - inner) / n
        layer = self._logical("layer", gas, inner, inner + width, length)
        self._replicate(layer, chamber, g4.EAxis.kRho, n, width * g4.cm, inner * g4.cm)
        self._sensitive["chamber"] = [layer]

    def _build_crystals(self, grid: Grid, material: Any, world: Any) -> None:
        """Fill one part of the calorimeter: rows, then columns in azimuth."""
        name, length = grid.name, grid.forward - grid.backward
        block = self._logical(name, material, grid.inner, grid.outer, length)
        self._place(block, world, 0.5 * (grid.backward + grid.forward))
        inner, outer, axis, start = grid.inner, grid.outer, g4.EAxis.kZAxis, 0.0
        if grid.radial:
            width = (outer - inner) / grid.n_rows
            outer, axis, start = inner + width, g4.EAxis.kRho, inner
        else:
            width = length = length / grid.n_rows
        row = self._logical(f"{name} row", material, inner, outer, length)
        self._replicate(row, block, axis, grid.n_rows, width * g4.cm, start * g4.cm)
        angle = 360.0 / grid.n_columns
        cell = self._logical(f"{name} cell", material, inner, outer, length, angle)
        self._replicate(cell, row, g4.EAxis.kPhi, grid.n_columns, angle * g4.deg, 0.0)
        self._sensitive[name] = [cell]
