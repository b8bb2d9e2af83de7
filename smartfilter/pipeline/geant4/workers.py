"""The parent's side of a Geant4 process: start it, ask it, notice when it dies."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartfilter.errors import SmartFilterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from smartfilter.pipeline.geant4.layout import Layout
    from smartfilter.pipeline.geant4.primaries import Primaries

__all__ = ["Worker", "simulate"]

_MODULE = "smartfilter.pipeline.geant4.worker"
_LOG_CHARACTERS = 400
_LAST_WORDS = 5.0  # s; a dying process may still be writing


class Worker:
    """One process with Geant4; started anew, never forked.

    Parameters
    ----------
    layout : Layout
        Detector to simulate.
    """

    def __init__(self, layout: Layout) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="smartfilter-geant4-")
        self._log = Path(self._folder.name) / "geant4.log"
        self._connection, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-m", _MODULE, str(theirs.fileno())]
            path = os.pathsep.join(folder for folder in sys.path if folder)
            self._process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
            )
        self.close = weakref.finalize(
            self, _stop, self._process, self._connection, self._folder
        )
        self.send((layout, str(self._log), self._folder.name))

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def send(self, message: Any) -> None:
        """Send a request.

        Raises
        ------
        SmartFilterError
            If the process is dead.
        """
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._fail() from error

    def receive(self) -> Any:
        """Wait for a reply and return it.

        Raises
        ------
        SmartFilterError
            If the process dies first.
        """
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._fail() from error

    def _fail(self) -> SmartFilterError:
        """Return the error of a dead process, with the end of what it printed."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS)
        self._process.kill()
        status = self._process.wait()
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        tail = " ".join(text.split())[-_LOG_CHARACTERS:]
        how = f"was ended by signal {-status}" if status < 0 else f"returned {status}"
        self.close()
        return SmartFilterError(
            f"Geant4 process: expected an answer, but it {how}; simulate again or leave "
            f"the event out; its last output: {tail or 'none'}"
        )


def _stop(process: Any, connection: Any, folder: Any) -> None:
    """End a process and remove its files."""
    connection.close()
    process.kill()
    process.wait()
    folder.cleanup()


def simulate(
    workers: Sequence[Worker], parts: Sequence[Primaries]
) -> list[tuple[Primaries, NDArray[np.float64]]]:
    """Return particles and hits of each part, one worker per part, side by side."""
    for worker, part in zip(workers, parts, strict=True):
        worker.send(part)
    return [worker.receive() for worker in workers]
