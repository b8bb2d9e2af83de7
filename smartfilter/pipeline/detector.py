"""The mock detector: from generated particles to tracks and clusters.

The generator leaves e, mu, pi, K, p, n, photons and neutrinos stable and decays
everything else. Its decays are replayed (`replay`), stable particles fly through
tracker and calorimeter (`particles`), pions, kaons and muons may decay in flight, and the
machine adds a little of its own. The step length is the dial between speed and
detail: the physics is the same (``benchmarks/convergence.py`` measures it,
``docs/detector.md`` has the figures).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError, UsageError
from smartfilter.event_hash import hash_events
from smartfilter.events import StatusBit
from smartfilter.pipeline.calorimeter import add_background_clusters, build_clusters
from smartfilter.pipeline.checks import check_particles
from smartfilter.pipeline.geometry import Physics
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.objects import CLUSTER_COLUMNS, TRACK_COLUMNS, Detected, Table
from smartfilter.pipeline.particles import simulate_particle
from smartfilter.pipeline.random import seed_stream
from smartfilter.pipeline.replay import Particles, fill_pending
from smartfilter.pipeline.storage import (
    CLUSTERS,
    DEPOSITS,
    FIRST_TRACK,
    OVERFLOW,
    PENDING,
    TRACKS,
    Storage,
)
from smartfilter.pipeline.tracks import add_background_tracks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["Detector"]

_PURPOSE = 0x64657465_63746F72
"""Purpose of the hash that seeds an event: ASCII "detector"."""

_VECTORS = ("x", "y", "z", "px", "py", "pz")


@inner_kernel
def _simulate_event(
    storage: Storage, physics: Physics, particles: Particles, first: int, last: int
) -> bool:
    """Simulate one event; return whether its decay tree is sound."""
    counts = storage.counts
    counts[PENDING] = counts[DEPOSITS] = counts[OVERFLOW] = 0
    counts[FIRST_TRACK] = counts[TRACKS]
    if not fill_pending(storage, physics, particles, first, last):
        return False
    item = np.empty(9)
    while counts[PENDING] > 0 and counts[OVERFLOW] == 0:
        counts[PENDING] -= 1
        for i in range(len(item)):
            item[i] = storage.pending[counts[PENDING], i]
        simulate_particle(storage, physics, item)
    if physics.background:
        add_background_tracks(storage, physics)
        add_background_clusters(storage.block, storage.flight.stream)
    build_clusters(storage)
    return True


@kernel
def _simulate_events(
    storage: Storage,
    physics: Physics,
    particles: Particles,
    offsets: NDArray[np.int64],
    seeds: NDArray[np.uint64],
    ends: NDArray[np.int64],
    start: int,
) -> tuple[int, bool]:
    """Simulate events from ``start`` on.

    Returns
    -------
    int
        The event at which it stopped, for want of memory or sense; else the number of
        events.
    bool
        False if that event's mothers form a loop.
    """
    counts = storage.counts
    for event in range(start, len(seeds)):
        n_tracks, n_clusters = counts[TRACKS], counts[CLUSTERS]
        seed_stream(storage.flight.stream, seeds[event])
        first, last = offsets[event], offsets[event + 1]
        sound = _simulate_event(storage, physics, particles, first, last)
        if not sound or counts[OVERFLOW] != 0:
            counts[TRACKS], counts[CLUSTERS] = n_tracks, n_clusters
            return event, sound
        ends[event, 0], ends[event, 1] = counts[TRACKS], counts[CLUSTERS]
    return len(seeds), True


def _build_table(
    rows: list[NDArray[np.float64]],
    ends: list[NDArray[np.int64]],
    columns: Mapping[str, np.dtype[Any]],
) -> Table:
    """Join the rows of consecutive groups of events."""
    counts = np.concatenate([np.diff(part, prepend=0) for part in ends])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    joined = np.concatenate(rows)
    values = {
        name: joined[:, i].astype(dtype)
        for i, (name, dtype) in enumerate(columns.items())
    }
    return Table(offsets, values)


class Detector:
    """A fast simulation of a Belle II-like detector.

    Every event has its own random numbers, a function of its content, the seed and
    ``repeat``: results do not depend on the order, on the batch or on ``workers``.

    Parameters
    ----------
    step : float
        Longest step of charged particles (cm): 1 for labels, 0.02 for a detailed
        simulation with an honest cost.
    seed : int
        Seed of the job.
    repeat : int
        Number of the re-simulation of the same events.
    workers : int
        Threads; the kernels do not hold the interpreter lock.
    physics : Physics, optional
        Field and switches; its step is replaced by ``step``.

    Raises
    ------
    UsageError
        If the step is not positive and finite or there is no worker.
    """

    def __init__(
        self,
        *,
        step: float = 1.0,
        seed: int = 0,
        repeat: int = 0,
        workers: int = 1,
        physics: Physics | None = None,
    ) -> None:
        if not (np.isfinite(step) and step > 0.0):
            raise UsageError(f"step: expected a positive length in cm, got {step}")
        if workers < 1:
            raise UsageError(f"workers: expected at least 1, got {workers}")
        self.seed, self.repeat, self.workers = seed, repeat, workers
        self.physics = (physics or Physics())._replace(step=float(step))

    def simulate(self, events: Events) -> Detected:
        """Return the tracks and clusters of events, in their order.

        Particles without daughters are simulated, as far as the detector knows them;
        virtual and initial particles are not.

        Raises
        ------
        InputError
            As `check_particles` does, or if mothers form a loop.
        """
        particles = _collect_particles(events)
        purpose = _PURPOSE + self.repeat
        seeds = hash_events(events, self.seed, purpose=purpose)
        edges = np.linspace(0, len(events), self.workers + 1).astype(np.int64)
        groups = [slice(a, b) for a, b in pairwise(edges)]

        def simulate_group(group: slice) -> tuple[NDArray[Any], ...]:
            offsets = events.offsets[group.start : group.stop + 1]
            return self._simulate(particles, offsets, seeds[group], group.start)

        if self.workers == 1:
            parts = [simulate_group(groups[0])]
        else:
            with ThreadPoolExecutor(self.workers) as pool:
                parts = list(pool.map(simulate_group, groups))
        tracks, clusters, ends = zip(*parts, strict=True)
        return Detected(
            _build_table(list(tracks), [e[:, 0] for e in ends], TRACK_COLUMNS),
            _build_table(list(clusters), [e[:, 1] for e in ends], CLUSTER_COLUMNS),
        )

    def _simulate(
        self,
        particles: Particles,
        offsets: NDArray[np.int64],
        seeds: NDArray[np.uint64],
        start: int,
    ) -> tuple[NDArray[Any], ...]:
        """Return tracks, clusters and where each event's end, shape (n_events, 2)."""
        n_events = len(seeds)
        storage = Storage.allocate(
            256, n_tracks=16 * n_events + 64, n_clusters=24 * n_events + 64
        )
        ends = np.zeros((n_events, 2), dtype=np.int64)
        done = 0
        while True:
            done, sound = _simulate_events(
                storage, self.physics, particles, offsets, seeds, ends, done
            )
            if not sound:
                raise InputError(
                    f"mothers: expected a tree, got a loop in event {start + done}; "
                    "remove the event"
                )
            if done == n_events:
                break
            storage.counts[OVERFLOW] = 0
            storage = storage.grow()
        n_tracks, n_clusters = storage.counts[TRACKS], storage.counts[CLUSTERS]
        return storage.tracks[:n_tracks], storage.clusters[:n_clusters], ends


def _collect_particles(events: Events) -> Particles:
    """Return the columns that the kernels read, checked."""
    check_particles(events)
    vectors = {name: events[name].astype(np.float64) for name in _VECTORS}
    ignored = events["status"] & (StatusBit.VIRTUAL | StatusBit.INITIAL) != 0
    return Particles(
        pdg=events["pdg"].astype(np.int64),
        mother=events["mother_index"].astype(np.int64),
        ignored=ignored,
        daughter=np.empty(events.n_particles, dtype=np.int64),
        decays=np.empty(events.n_particles, dtype=np.int64),
        **vectors,
    )
