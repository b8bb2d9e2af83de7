"""The process in which Geant4 runs: ``python -m smartfilter.pipeline.geant4.worker``.

Geant4 allows one run manager per process and ends the process on a fatal error. Requests
and replies travel through a pipe whose descriptor is the only argument.
"""

from __future__ import annotations

import os
import resource
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.pipeline.geant4.data_files import write_data_files
from smartfilter.pipeline.geant4.primaries import add_secondaries, join_primaries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.pipeline.geant4.layout import Layout
    from smartfilter.pipeline.geant4.primaries import Primaries

__all__ = ["Simulation", "main"]

_GENERATIONS = 4
"""Generations of secondaries shot as events of their own; the last keeps its own."""


class Simulation:
    """Geant4, ready to simulate.

    Parameters
    ----------
    layout : Layout
    """

    def __init__(self, layout: Layout) -> None:
        import geant4_pybind as g4

        from smartfilter.pipeline.geant4.actions import Actions
        from smartfilter.pipeline.geant4.construction import DetectorConstruction
        from smartfilter.pipeline.geant4.physics import PhysicsList

        kind = g4.G4RunManagerType.SerialOnly
        self._manager = g4.G4RunManagerFactory.CreateRunManager(kind)
        self._actions = Actions()
        self._parts = (DetectorConstruction(layout), PhysicsList(), self._actions)
        for part in self._parts:
            self._manager.SetUserInitialization(part)
        self._manager.Initialize()

    def run(self, primaries: Primaries) -> tuple[Primaries, NDArray[np.float64]]:
        """Return all particles shot and their hits.

        Charged secondaries from the tracker follow the particle that made them.

        Returns
        -------
        Primaries
        ndarray of float64, shape (n_hits, 4)
            Particle, detector (position in `construction.SCORERS`), cell, energy (GeV).
        """
        parts, hits, start = [primaries], [np.empty((0, 4))], 0
        for left in reversed(range(_GENERATIONS)):
            current = parts[-1]
            if len(current) == 0:
                break
            self._actions.start(current, catch=left > 0)
            self._manager.BeamOn(len(current))
            hits.append(self._actions.hits())
            hits[-1][:, 0] += start
            rows = self._actions.secondaries()
            parts.append(add_secondaries(current, rows, start))
            start += len(current)
        return join_primaries(parts, hits)


def main(descriptor: int) -> None:
    """Serve requests until the other end closes the pipe."""
    connection: Any = Connection(descriptor)
    with connection:
        layout, log, folder = connection.recv()
        _redirect(log)
        # Geant4 aborts on a fatal error: that shall not leave a core file.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.environ.update(write_data_files(Path(folder)))
        simulation = Simulation(layout)
        while True:
            try:
                request = connection.recv()
            except EOFError:
                return
            connection.send(simulation.run(request))


def _redirect(log: str) -> None:
    """Send everything that Geant4 prints to a file."""
    sys.stdout.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)


if __name__ == "__main__":
    main(int(sys.argv[1]))
