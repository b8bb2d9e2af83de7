"""The parent's side of a Geant4 process: start it, ask it, notice when it dies or hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from queue import SimpleQueue
from threading import Timer
from typing import TYPE_CHECKING, Any, NamedTuple

from smartfilter.errors import SmartFilterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from smartfilter.pipeline.geant4.layout import Layout
    from smartfilter.pipeline.geant4.primaries import Primaries

__all__ = ["Request", "Worker", "simulate"]

_MODULE = "smartfilter.pipeline.geant4.worker"
_LOG_CHARACTERS = 400
_LAST_WORDS = 5.0  # s; a dying process may still be writing


class Request(NamedTuple):
    """Particles for one call of Geant4.

    Parameters
    ----------
    primaries : Primaries
    events : str
        Which events they are from, for messages.
    timeout : float
        Seconds after which the process counts as hung.
    """

    primaries: Primaries
    events: str
    timeout: float


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
        self._expired = False
        # Little enough for the pipe: this does not wait for the process.
        with suppress(OSError):  # the first request will say why it is dead
            self._connection.send((layout, str(self._log), self._folder.name))

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def ask(self, request: Request) -> tuple[Primaries, NDArray[np.float64]]:
        """Return all particles shot and their hits; see `worker.Simulation`.

        Raises
        ------
        SmartFilterError
            If the process dies, or takes longer than the request allows: then it is
            killed.
        """
        # A process may hang before it has read all or after it has sent a part: ending
        # it is what surely ends a transfer.
        watchdog = Timer(request.timeout, self._expire)
        watchdog.daemon = True
        watchdog.start()
        try:
            self._connection.send(request.primaries)
            reply: tuple[Primaries, NDArray[np.float64]] = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._fail(request) from error
        finally:
            watchdog.cancel()
        if self._expired:
            raise self._fail(request)
        return reply

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()

    def _expire(self) -> None:
        self._expired = True
        self.kill()

    def _fail(self, request: Request) -> SmartFilterError:
        """Return the error of a dead process, with the end of what it printed."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS)
        self._process.kill()
        status = self._process.wait()
        text = (
            self._log.read_text(errors="replace", encoding="utf-8")
            if self._log.exists()
            else ""
        )
        tail = " ".join(text.split())[-_LOG_CHARACTERS:]
        how = f"was ended by signal {-status}" if status < 0 else f"returned {status}"
        advice = "simulate again or leave the event out"
        if self._expired:
            how = f"gave none within {request.timeout:g} s and was ended"
            advice = "allow more time or leave the event out"
        self.close()
        return SmartFilterError(
            f"Geant4 process: expected an answer, but it {how} in {request.events}; "
            f"{advice}; its last output: {tail or 'none'}"
        )


def _stop(process: Any, connection: Any, folder: Any) -> None:
    """End a process and remove its files."""
    connection.close()
    process.kill()
    process.wait()
    folder.cleanup()


def simulate(
    workers: Sequence[Worker], requests: Sequence[Request]
) -> list[tuple[Primaries, NDArray[np.float64]]]:
    """Return particles and hits of each request, in order, from whoever is free.

    Raises
    ------
    SmartFilterError
        If a process dies or hangs; all of them are killed then.
    """
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def ask(request: Request) -> tuple[Primaries, NDArray[np.float64]]:
        worker = free.get()
        try:
            return worker.ask(request)
        finally:
            free.put(worker)

    with ThreadPoolExecutor(len(workers)) as pool:
        try:
            return list(pool.map(ask, requests))
        except BaseException:
            for worker in workers:
                worker.kill()  # else the pool would wait for their answers
            raise
