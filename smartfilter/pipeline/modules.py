"""The stages of the standalone chain as modules for a path.

What they exchange in the data store of `smartfilter.framework`: ``MCParticles`` (an
`Events` of one event), ``EventMetaData``, ``EventExtraInfo`` with the event type and
``passes_<SkimName>``, and ``Detected`` and ``Reconstructed`` of the same event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smartfilter.decision import uniform
from smartfilter.errors import UsageError
from smartfilter.events import EVENT_TYPES, Events
from smartfilter.framework import Module, ModulePropFlags, PyStoreArray, PyStoreObj
from smartfilter.io import open_events
from smartfilter.pipeline.clock import read_cpu_time
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.reconstruction import reconstruct
from smartfilter.pipeline.skims import SKIMS, apply_skims

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.pipeline.simulation import AnyDetector
    from smartfilter.pipeline.skims import Skim

__all__ = [
    "BLOCK_SIZE",
    "BlockPosition",
    "CollectorModule",
    "DetectorModule",
    "EventFileModule",
    "GeneratorModule",
    "ReconstructionModule",
    "SkimModule",
    "SourceModule",
]

BLOCK_SIZE = 500
"""Events that a source makes or reads at once."""


class BlockPosition(NamedTuple):
    """The block that the current event is taken from, and its position there."""

    events: Events
    position: int


def _slice_event(block: Events, index: int) -> Events:
    """Return one event of a block; its columns are views."""
    first, last = block.offsets[index], block.offsets[index + 1]
    one = slice(index, index + 1)
    return Events(
        offsets=np.array([0, last - first]),
        particles={name: c[first:last] for name, c in block.particles.items()},
        experiment=block.experiment[one],
        run=block.run[one],
        production=block.production[one],
        event=block.event[one],
        event_type=block.event_type[one],
        entry=block.entry[one],
        file=block.file,
    )


class SourceModule(Module):
    """Provides events one by one from blocks; a block's cost falls into one call.

    Also stores ``EventBlock``, a `BlockPosition`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_property_flags(ModulePropFlags.INPUT)
        self._blocks: Iterator[Events] = iter(())
        self._block: Events | None = None
        self._single: list[Events] = []
        self._index = 0
        self._meta_data = PyStoreObj("EventMetaData")
        self._extra_info = PyStoreObj("EventExtraInfo")
        self._particles = PyStoreArray("MCParticles")
        self._position = PyStoreObj("EventBlock")

    def make_blocks(self) -> Iterator[Events]:
        """Return the blocks of events; called in initialize()."""
        return iter(())

    def initialize(self) -> None:
        """Start with the first event."""
        self._blocks = self.make_blocks()
        self._block, self._index = None, 0
        for entry in (self._meta_data, self._extra_info, self._position):
            entry.registerInDataStore()
        self._particles.registerInDataStore()

    def event(self) -> None:
        """Store the next event, or the end of data."""
        self._meta_data.create()
        while self._block is None or self._index == len(self._block):
            self._block, self._index = next(self._blocks, None), 0
            if self._block is None:
                self._meta_data.setEndOfData()
                return
            self._single = [
                _slice_event(self._block, i) for i in range(len(self._block))
            ]
        event = self._single[self._index]
        self._position.assign(BlockPosition(self._block, self._index))
        self._index += 1
        self._particles.assign(event)
        meta_data = self._meta_data.obj()
        meta_data.experiment = int(event.experiment[0])
        meta_data.run = int(event.run[0])
        meta_data.production = int(event.production[0])
        meta_data.event = int(event.event[0])
        self._extra_info.create()
        if event.event_type[0] >= 0:
            name = EVENT_TYPES[event.event_type[0]]
            self._extra_info.addExtraStringInfo("eventType", name)


class GeneratorModule(SourceModule):
    """Generates events with Pythia 8, the same ones in every processing.

    Parameters
    ----------
    event_type : str
        One of `smartfilter.events.EVENT_TYPES`.
    n_events : int
    seed : int
    experiment, run, first_event : int
        Identity of the events, see `Generator`.
    decay_table : str
        ``belle2`` or ``pythia``, see `Generator`.
    block_size : int
        Events generated at once.
    """

    def __init__(
        self,
        event_type: str,
        n_events: int,
        *,
        seed: int,
        experiment: int = 0,
        run: int = 1,
        first_event: int = 1,
        decay_table: str = "belle2",
        block_size: int = BLOCK_SIZE,
    ) -> None:
        super().__init__()
        if block_size < 1:
            raise UsageError(f"block size: expected at least 1, got {block_size}")
        self._event_type = event_type
        self._n_events = n_events
        self._seed = seed
        self._experiment, self._run = experiment, run
        self._first_event = first_event
        self._decay_table = decay_table
        self._block_size = block_size

    def make_blocks(self) -> Iterator[Events]:
        """Return the blocks that a new generator makes."""
        generator = Generator(
            self._event_type,
            seed=self._seed,
            experiment=self._experiment,
            run=self._run,
            first_event=self._first_event,
            decay_table=self._decay_table,
        )
        sizes = (
            min(self._block_size, self._n_events - first)
            for first in range(0, self._n_events, self._block_size)
        )
        return (generator.generate(size) for size in sizes)


class EventFileModule(SourceModule):
    """Reads events from files of any format that `smartfilter.open_events` knows.

    Parameters
    ----------
    paths : str, Path or sequence of them
    block_size : int
        Events read at once.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        block_size: int = BLOCK_SIZE,
    ) -> None:
        super().__init__()
        self._source = open_events(paths, chunk_size=block_size)

    def make_blocks(self) -> Iterator[Events]:
        """Return the chunks of the files."""
        return iter(self._source)


class DetectorModule(Module):
    """Simulates tracks and clusters.

    Parameters
    ----------
    step : float
        Longest step of charged particles, cm; the dial of cost and detail.
    seed : int
    detector : AnyDetector, optional
        Used as it is, instead of the mock detector with these settings.

    Attributes
    ----------
    process_times : list of int
        CPU time (ns) that processes of the detector used per event; empty if it has
        none. The framework's clocks do not see it.
    """

    def __init__(
        self,
        *,
        step: float = 1.0,
        seed: int = 0,
        detector: AnyDetector | None = None,
    ) -> None:
        super().__init__()
        self._detector: AnyDetector = detector or Detector(step=step, seed=seed)
        self._has_processes = hasattr(self._detector, "pids")
        self._used = 0
        self.process_times: list[int] = []
        self._particles = PyStoreArray("MCParticles")
        self._detected = PyStoreObj("Detected")

    def initialize(self) -> None:
        """Register what is stored."""
        self._particles.isRequired()
        self._detected.registerInDataStore()
        self.process_times = []
        self._used = self._read_process_time()

    def event(self) -> None:
        """Simulate the event."""
        self._detected.assign(self._detector.simulate(self._particles.getPtr()))
        if self._has_processes:
            before, self._used = self._used, self._read_process_time()
            self.process_times.append(self._used - before)

    def _read_process_time(self) -> int:
        pids: tuple[int, ...] = getattr(self._detector, "pids", ())
        return sum(read_cpu_time(pid) for pid in pids)


class ReconstructionModule(Module):
    """Reconstructs candidates and event-level quantities."""

    def __init__(self) -> None:
        super().__init__()
        self._detected = PyStoreObj("Detected")
        self._reconstructed = PyStoreObj("Reconstructed")

    def initialize(self) -> None:
        """Register what is stored."""
        self._detected.isRequired()
        self._reconstructed.registerInDataStore()

    def event(self) -> None:
        """Reconstruct the event."""
        self._reconstructed.assign(reconstruct(self._detected.obj()))


class SkimModule(Module):
    """Stores ``passes_<SkimName>``, 0 or 1, in EventExtraInfo.

    Parameters
    ----------
    skims : sequence of Skim
    """

    def __init__(self, skims: Sequence[Skim] = SKIMS) -> None:
        super().__init__()
        self._skims = tuple(skims)
        self._reconstructed = PyStoreObj("Reconstructed")
        self._extra_info = PyStoreObj("EventExtraInfo")

    def initialize(self) -> None:
        """Check that there is something to select on."""
        self._reconstructed.isRequired()
        self._extra_info.registerInDataStore()

    def event(self) -> None:
        """Apply the skims."""
        passes = apply_skims(self._reconstructed.obj(), self._skims)
        for name, passed in passes.items():
            self._extra_info.addExtraInfo(f"passes_{name}", float(passed[0]))


class CollectorModule(Module):
    """Keeps numbers of the events that reach it.

    Parameters
    ----------
    names : sequence of str
        Names in EventExtraInfo, as ``passes_feiHadronicB0``.
    seed : int, optional
        Seed of the sampling: then ``draw``, the random number that sampling compares
        with, is kept as well.
    """

    def __init__(self, names: Sequence[str], *, seed: int | None = None) -> None:
        super().__init__()
        self._names = tuple(names)
        self._seed = seed
        self._rows: list[tuple[float, ...]] = []
        self._particles = PyStoreArray("MCParticles")
        self._extra_info = PyStoreObj("EventExtraInfo")

    def initialize(self) -> None:
        """Forget what was collected."""
        self._rows = []
        self._particles.isRequired()
        self._extra_info.isRequired()

    def event(self) -> None:
        """Keep the numbers of the event."""
        info = self._extra_info.obj()
        events = self._particles.getPtr()
        values = [info.getExtraInfo(name) for name in self._names]
        if self._seed is not None:
            values.append(float(uniform(events, self._seed)[0]))
        self._rows.append((events.entry[0], *values))

    @property
    def columns(self) -> dict[str, NDArray[np.float64]]:
        """The numbers by name, and ``entry``, each of shape (n_collected,)."""
        names = ("entry", *self._names, *(() if self._seed is None else ("draw",)))
        table = np.array(self._rows, dtype=np.float64).reshape(-1, len(names))
        return dict(zip(names, table.T, strict=True))
