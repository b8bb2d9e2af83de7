"""The list of physics processes; only worker processes import this.

Standard electromagnetic physics, hadron physics FTFP_BERT, elastic scattering, capture
at rest and decays, less the processes that cannot work without data files:
photoelectric absorption, Rayleigh scattering, elastic scattering of neutrons and light
nuclei, and capture of neutrons. What has less than 0.3 MeV is absorbed on the spot, which stands for the
photoelectric effect.
"""

from __future__ import annotations

from typing import Any

import geant4_pybind as g4

__all__ = ["PhysicsList"]

_REMOVED = {"phot", "Rayl"}
_REMOVED_OF_NEUTRONS = {"hadElastic", "nCapture"}
_NO_ELASTIC = {"neutron", "deuteron", "triton", "He3", "alpha", "GenericIon"}
_PRODUCTION_CUT = 1.0  # mm


class PhysicsList(g4.G4VModularPhysicsList):
    """All constructors, then the processes removed that need files."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Any] = [
            g4.G4DecayPhysics(),
            g4.G4EmStandardPhysics(),
            g4.G4HadronElasticPhysics(),
            g4.G4HadronPhysicsFTFP_BERT(),
            g4.G4StoppingPhysics(),
            g4.G4StepLimiterPhysics(),
        ]
        self._kept[-1].SetApplyToAll(True)
        for constructor in self._kept:
            constructor.SetVerboseLevel(0)
            self.RegisterPhysics(constructor)
        parameters = g4.G4EmParameters.Instance()
        # Otherwise the photoelectric effect hides in one process for all of a photon's.
        parameters.SetGeneralProcessActive(False)
        parameters.SetVerbose(0)
        g4.G4HadronicParameters.Instance().SetVerboseLevel(0)
        self.SetDefaultCutValue(_PRODUCTION_CUT * g4.mm)
        self.SetVerboseLevel(0)

    def ConstructProcess(self) -> None:
        """Build everything, then remove."""
        super().ConstructProcess()
        for particle in g4.G4ParticleTable.GetParticleTable().GetParticleList():
            manager = particle.GetProcessManager()
            if manager is not None:
                _remove_processes(particle.GetParticleName(), manager)


def _remove_processes(particle: str, manager: Any) -> None:
    """Remove the processes of one particle that need files."""
    for i in reversed(range(manager.GetProcessListLength())):
        if _needs_files(particle, manager.GetProcessList()[i].GetProcessName()):
            manager.RemoveProcess(i)


def _needs_files(particle: str, process: str) -> bool:
    if process in _REMOVED:
        return True
    if process == "hadElastic":
        return particle in _NO_ELASTIC
    return particle == "neutron" and process in _REMOVED_OF_NEUTRONS
