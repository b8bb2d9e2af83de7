"""What Geant4 calls per event: one primary in, its hits out; only workers import this.

Every particle of the generator is a Geant4 event of its own. The scorers then tell which
particle left which hit, without a call into Python per step or per track.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import geant4_pybind as g4
import numpy as np

from smartfilter.pipeline.geant4.construction import SCORERS
from smartfilter.pipeline.geant4.layout import GRIDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.pipeline.geant4.primaries import Primaries

__all__ = ["Actions"]

_CAUGHT = frozenset((11, 13, 211, 321, 2212))
_SOFTEST_SECONDARY = 20.0 * g4.MeV
_TRACKER_RADIUS, _TRACKER_BACKWARD, _TRACKER_FORWARD = 110.0, -75.0, 155.0  # cm
_URGENT = g4.G4ClassificationOfNewTrack.fUrgent
_KILL = g4.G4ClassificationOfNewTrack.fKill
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
        g4.HepRandom.setTheSeeds([(seed >> 33) + 1, (seed & 0x7FFFFFFF) + 1, 0])
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
        self._values = array("d")

    def start(self) -> None:
        """Forget earlier hits."""
        self._values = array("d")

    def hits(self) -> NDArray[np.float64]:
        """Return primary, detector, cell and energy (GeV), shape (n_hits, 4)."""
        return np.array(self._values, dtype=np.float64).reshape(-1, 4)

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
            for cell, energy in collections.GetHC(number):
                if energy > 0.0:
                    row = primary, detector, first + cell, energy / g4.GeV
                    self._values.extend(row)


class _Catcher(g4.G4UserStackingAction):
    """Take charged particles made in the tracker out of the event.

    They are shot again as events of their own, so that their hits are known apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self._active = False
        self._number = -1
        self._rows: list[tuple[float, ...]] = []

    def start(self, *, active: bool) -> None:
        """Forget earlier particles; say whether to look for any."""
        self._active, self._number, self._rows = active, -1, []

    def secondaries(self) -> NDArray[np.float64]:
        """Return maker, PDG code, vertex, time and momentum, shape (n, 9)."""
        return np.array(self._rows, dtype=np.float64).reshape(-1, 9)

    def PrepareNewEvent(self) -> None:
        """Count events."""
        self._number += 1

    def ClassifyNewTrack(self, track: Any) -> Any:
        """Kill what is taken out; called for every particle, so quick to say no."""
        if track.GetParentID() != 1 or not self._active:
            return _URGENT
        if track.GetKineticEnergy() < _SOFTEST_SECONDARY:
            return _URGENT
        pdg, position = track.GetDefinition().GetPDGEncoding(), track.GetPosition()
        if abs(pdg) not in _CAUGHT or not _is_in_tracker(position):
            return _URGENT
        p = track.GetMomentum() / g4.GeV
        place = position.x / g4.cm, position.y / g4.cm, position.z / g4.cm
        time = track.GetGlobalTime() / g4.ns
        self._rows.append((self._number, pdg, *place, time, p.x, p.y, p.z))
        return _KILL


def _is_in_tracker(position: Any) -> bool:
    """Return whether a point is inside the outer radius of the chamber."""
    inside: bool = position.perp() < _TRACKER_RADIUS * g4.cm
    return inside and _TRACKER_BACKWARD < position.z / g4.cm < _TRACKER_FORWARD


class Actions(g4.G4VUserActionInitialization):
    """The user actions of a serial run."""

    def __init__(self) -> None:
        super().__init__()
        self._gun: _Gun
        self._reader: _Reader
        self._catcher: _Catcher

    def Build(self) -> None:
        """Create the actions; Geant4 calls this when it initializes."""
        self._gun, self._reader, self._catcher = _Gun(), _Reader(), _Catcher()
        for action in (self._gun, self._reader, self._catcher):
            self.SetUserAction(action)

    def start(self, primaries: Primaries, *, catch: bool) -> None:
        """Prepare a run; ``catch``: take secondaries out."""
        self._gun.start(primaries)
        self._reader.start()
        self._catcher.start(active=catch)

    def secondaries(self) -> NDArray[np.float64]:
        """Return the particles taken out, shape (n_secondaries, 9)."""
        return self._catcher.secondaries()

    def hits(self) -> NDArray[np.float64]:
        """Return the hits of the run, shape (n_hits, 4)."""
        return self._reader.hits()
