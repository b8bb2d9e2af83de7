"""The process in which Geant4 runs: ``python -m smartfilter.pipeline.geant4.worker``.

Geant4 allows one run manager per process and ends the process on a fatal error. Requests
and replies travel through a pipe whose descriptor is the only argument.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartfilter.pipeline.geant4.data_files import write_data_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from smartfilter.pipeline.geant4.layout import Layout
    from smartfilter.pipeline.geant4.primaries import Primaries

__all__ = ["Simulation", "main"]


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

    def run(self, primaries: Primaries) -> NDArray[np.float64]:
        """Return the hits of every primary, shape (n_hits, 4).

        Columns: primary, detector (position in `construction.SCORERS`), cell, energy
        (GeV).
        """
        self._actions.start(primaries)
        if len(primaries) > 0:
            self._manager.BeamOn(len(primaries))
        return self._actions.hits()


def main(descriptor: int) -> None:
    """Serve requests until the other end closes the pipe."""
    connection: Any = Connection(descriptor)
    with connection:
        layout, log, folder = connection.recv()
        _redirect(log)
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
