"""What Geant4 calls per event: one primary in, its hits out; only workers import this.

Every particle of the generator is a Geant4 event of its own. The scorers then tell which
particle left which hit, without a call into Python per step or per track.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geant4_pybind as g4
import numpy as np

from smartfilter.pipeline.geant4.construction import SCORERS
from smartfilter.pipeline.geant4.layout import GRIDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.pipeline.geant4.primaries import Primaries

__all__ = ["Actions"]

_FIRST_CELL = {grid.name: grid.first for grid in GRIDS}


class _Gun(g4.G4VUserPrimaryGeneratorAction):
    """Shoot one primary after the other, each with its own random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._gun = g4.G4ParticleGun(1)
        self._rows: Any = iter(())

    def start(self, primaries: Primaries) -> None:
        """Take a list of primaries."""
        self._rows = zip(
            *(column.tolist() for column in primaries.columns()), strict=True
        )

    def GeneratePrimaries(self, event: Any) -> None:
        """Shoot the next primary."""
        pdg, x, y, z, time, px, py, pz, seed = next(self._rows)
        # Two words below 2^31: what the engine takes as seeds, 0 ends the list.
        g4.HepRandom.setTheSeeds([(seed >> 33) + 1, (seed & 0x7FFFFFFF) + 1])
        table = g4.G4ParticleTable.GetParticleTable()
        definition = table.FindParticle(pdg)
        if definition is None:
            return
        gun, p = self._gun, float(np.sqrt(px * px + py * py + pz * pz))
        mass = definition.GetPDGMass()
        energy = float(np.hypot(p * g4.GeV, mass)) - mass
        gun.SetParticleDefinition(definition)
        gun.SetParticleEnergy(energy)
        gun.SetParticleMomentumDirection(g4.G4ThreeVector(px / p, py / p, pz / p))
        gun.SetParticlePosition(g4.G4ThreeVector(x * g4.cm, y * g4.cm, z * g4.cm))
        gun.SetParticleTime(time * g4.ns)
        gun.GeneratePrimaryVertex(event)


class _Reader(g4.G4UserEventAction):
    """Collect the sums of the scorers."""

    def __init__(self) -> None:
        super().__init__()
        self._ids: list[tuple[int, int, int]] = []
        self._rows: list[tuple[int, int, int, float]] = []

    def start(self) -> None:
        """Forget earlier hits."""
        self._rows = []

    def hits(self) -> NDArray[np.float64]:
        """Return primary, detector, cell and energy (GeV), shape (n_hits, 4)."""
        return np.array(self._rows, dtype=np.float64).reshape(-1, 4)

    def _find_collections(self) -> None:
        manager = g4.G4SDManager.GetSDMpointer()
        for i, name in enumerate(SCORERS):
            number = manager.GetCollectionID(f"{name}/energy")
            self._ids.append((i, number, _FIRST_CELL.get(name, 0)))

    def EndOfEventAction(self, event: Any) -> None:
        """Read the scorers."""
        if not self._ids:
            self._find_collections()
        collections, primary = event.GetHCofThisEvent(), event.GetEventID()
        for detector, number, first in self._ids:
            hits = collections.GetHC(number)
            self._rows += [
                (primary, detector, first + cell, energy / g4.GeV)
                for cell, energy in hits
                if energy > 0.0
            ]


class Actions(g4.G4VUserActionInitialization):
    """The user actions of a serial run."""

    def __init__(self) -> None:
        super().__init__()
        self._gun: _Gun
        self._reader: _Reader

    def Build(self) -> None:
        """Create the actions; Geant4 calls this when it initializes."""
        self._gun, self._reader = _Gun(), _Reader()
        self.SetUserAction(self._gun)
        self.SetUserAction(self._reader)

    def start(self, primaries: Primaries) -> None:
        """Prepare a run."""
        self._gun.start(primaries)
        self._reader.start()

    def hits(self) -> NDArray[np.float64]:
        """Return the hits of the run, shape (n_hits, 4)."""
        return self._reader.hits()
