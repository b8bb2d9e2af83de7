"""The Geant4 detector: events in, tracks and clusters out."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from smartfilter.errors import MissingPackageError, UsageError
from smartfilter.event_hash import hash_events
from smartfilter.events import offsets_from_counts
from smartfilter.pipeline.geant4.clustering import Showers
from smartfilter.pipeline.geant4.hits import collect_crystals, count_layers
from smartfilter.pipeline.geant4.layout import make_layout
from smartfilter.pipeline.geant4.primaries import (
    concatenate_primaries,
    select_primaries,
)
from smartfilter.pipeline.geant4.response import Shots, respond
from smartfilter.pipeline.geant4.workers import Request, Worker, simulate
from smartfilter.pipeline.geometry import Physics
from smartfilter.pipeline.objects import CLUSTER_COLUMNS, TRACK_COLUMNS, Detected, Table
from smartfilter.pipeline.storage import CLUSTERS, OVERFLOW, TRACKS, Storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.pipeline.geant4.hits import Crystals, TrackHits
    from smartfilter.pipeline.geant4.primaries import Primaries

__all__ = ["Geant4Detector"]

_Arguments: TypeAlias = (
    "tuple[Shots, TrackHits, Crystals, Showers, NDArray[Any], NDArray[Any], "
    "NDArray[np.uint64]]"
)

_PURPOSE = 0x6765_616E_7434_0000
"""Purpose of the hash that seeds an event: ASCII "geant4", then the repetition."""

_RESPONSE = np.uint64(0x9E3779B97F4A7C15)  # keeps smearing apart from transport
_EVENTS_PER_REQUEST = 50  # seconds of work; a process keeps 30 kB per event meanwhile
_SHOWERS = 512  # per event; local maxima beyond that are lost


class Geant4Detector:
    """A simplified Belle II-like detector with Geant4 transport.

    Processes start with the first events, are used again by later calls, and end with
    `close`, the ``with`` block or the detector itself. Every event has its own random
    numbers, a function of its content, the seed and ``repeat``: results do not depend on
    the order, on the batch or on ``workers``.

    Parameters
    ----------
    seed : int
        Seed of the job.
    repeat : int
        Number of the re-simulation of the same events.
    workers : int
        Processes with Geant4.
    background : bool
        Whether the machine adds tracks and clusters.
    timeout, timeout_per_event : float
        A process counts as hung ``timeout`` seconds plus ``timeout_per_event`` for
        each event after a request; it gets at most 50 events at once. The first
        request includes the start of Geant4.

    Raises
    ------
    UsageError
        If there is no worker or a time is not positive and finite.
    MissingPackageError
        If geant4-pybind is not installed.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        repeat: int = 0,
        workers: int = 1,
        background: bool = True,
        timeout: float = 60.0,
        timeout_per_event: float = 2.0,
    ) -> None:
        if workers < 1:
            raise UsageError(f"workers: expected at least 1, got {workers}")
        for name, seconds in (
            ("timeout", timeout),
            ("timeout_per_event", timeout_per_event),
        ):
            if not (np.isfinite(seconds) and seconds > 0.0):
                raise UsageError(f"{name}: expected positive seconds, got {seconds}")
        self.timeout, self.timeout_per_event = timeout, timeout_per_event
        if find_spec("geant4_pybind") is None:
            raise MissingPackageError("geant4-pybind", "geant4")
        self.seed, self.repeat, self.workers = seed, repeat, workers
        self._physics = Physics(
            step=5.0,
            scattering=False,
            energy_loss=False,
            decays=False,
            interactions=False,
            background=background,
        )
        self._processes: list[Worker] = []

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes that run."""
        return tuple(process.pid for process in self._processes)

    def __enter__(self) -> Self:
        """Return the detector; its processes end with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes."""
        self.close()

    def close(self) -> None:
        """End all processes; the next events start new ones."""
        for process in self._processes:
            process.close()
        self._processes = []

    def simulate(self, events: Events) -> Detected:
        """Return the tracks and clusters of events, in their order.

        Particles without daughters are simulated, as far as the detector knows them;
        virtual and initial particles are not. A particle that the generator decayed
        outside the tracker is simulated instead of its daughters.

        Raises
        ------
        InputError
            If a momentum or vertex is not finite, a mother is out of range, or mothers
            form a loop.
        SmartFilterError
            If a Geant4 process dies or hangs; the next call starts a new one.
        """
        seeds = hash_events(events, self.seed, purpose=_PURPOSE + self.repeat)
        primaries, hits = self._transport(events, select_primaries(events, seeds))
        counts = np.bincount(primaries.event, minlength=len(events))
        shots = Shots(
            offsets_from_counts(counts),
            *(getattr(primaries, name) for name in Shots._fields[1:]),
        )
        largest = max(1, int(counts.max(initial=0)))
        arguments: _Arguments = (
            shots,
            count_layers(hits, len(primaries)),
            collect_crystals(hits, primaries, len(events)),
            Showers.allocate(_SHOWERS, largest),
            np.empty(_SHOWERS, dtype=np.int64),
            np.empty(largest, dtype=np.int64),
            seeds ^ _RESPONSE,
        )
        return self._respond(arguments, len(events))

    def _transport(
        self, events: Events, primaries: Primaries
    ) -> tuple[Primaries, NDArray[np.float64]]:
        """Return all particles shot, and their hits in the same order."""
        if len(primaries) == 0:
            return primaries, np.empty((0, 4))
        n_processes = min(self.workers, len(primaries))
        requests = self._make_requests(events, primaries, n_processes)
        try:
            while len(self._processes) < n_processes:
                self._processes.append(Worker(make_layout(self._physics.field)))
            shot = simulate(self._processes[:n_processes], requests)
        except BaseException:
            self.close()  # an answer that nobody took would be the next one's
            raise
        return concatenate_primaries(shot)

    def _make_requests(
        self, events: Events, primaries: Primaries, n_processes: int
    ) -> list[Request]:
        """Return the primaries in parts of similar length, in order."""
        n_parts = max(n_processes, -(-len(events) // _EVENTS_PER_REQUEST))
        n_parts = min(n_parts, len(primaries))
        edges = np.linspace(0, len(primaries), n_parts + 1).astype(np.int64)
        requests = []
        for a, b in pairwise(edges):
            part = primaries.take(slice(a, b))
            first, last = int(part.event[0]), int(part.event[-1])
            timeout = self.timeout + self.timeout_per_event * (last - first + 1)
            requests.append(Request(part, _name_events(events, first, last), timeout))
        return requests

    def _respond(self, arguments: _Arguments, n_events: int) -> Detected:
        """Reconstruct; again with more memory if it was too little."""
        capacity = _SHOWERS
        while True:
            storage = Storage.allocate(
                capacity,
                n_tracks=16 * n_events + capacity,
                n_clusters=24 * n_events + capacity,
            )
            ends = np.zeros((n_events, 2), dtype=np.int64)
            if respond(storage, self._physics, *arguments, ends):
                break
            storage.counts[OVERFLOW] = 0
            capacity *= 4
        tracks, clusters = storage.counts[TRACKS], storage.counts[CLUSTERS]
        return Detected(
            _make_table(storage.tracks[:tracks], ends[:, 0], TRACK_COLUMNS),
            _make_table(storage.clusters[:clusters], ends[:, 1], CLUSTER_COLUMNS),
        )


def _name_events(events: Events, first: int, last: int) -> str:
    """Return what a message calls a range of events."""
    names = [
        f"entry {events.entry[i]} (experiment {events.experiment[i]}, "
        f"run {events.run[i]}, event {events.event[i]})"
        for i in (first, last)
    ]
    where = f" of '{events.file}'" if events.file else ""
    return f"{' to '.join(names if first < last else names[:1])}{where}"


def _make_table(
    rows: NDArray[np.float64],
    ends: NDArray[np.int64],
    columns: Mapping[str, np.dtype[Any]],
) -> Table:
    """Return rows as a table."""
    values = {
        name: rows[:, i].astype(dtype)
        for i, (name, dtype) in enumerate(columns.items())
    }
    return Table(offsets_from_counts(np.diff(ends, prepend=0)), values)
