"""Simulate files of events into a labelled file: on any workers, and with resume."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from smartfilter.campaign import OnEvents, run_pieces
from smartfilter.distributed import remember
from smartfilter.io.output import check_output, refuse_inputs
from smartfilter.io.parts import Part, PartStore, pack_events, unpack_events
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.labelling import (
    list_versions,
    open_outputs,
    require_different,
    require_events,
)
from smartfilter.pipeline.objects import Detected, Table
from smartfilter.pipeline.simulation import SKIM_NAMES, label_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.distributed import Workers
    from smartfilter.events import Events
    from smartfilter.io import EventSource
    from smartfilter.pipeline.simulation import AnyDetector

__all__ = ["SimulationRun", "SimulationTask", "simulate_files"]

_TABLES = ("tracks", "clusters")
_OFFSETS = "offsets"


@dataclass(frozen=True)
class SimulationTask:
    """What is done to every chunk; a worker makes its detector once.

    Parameters
    ----------
    detector : str
        ``mock`` or ``geant4``.
    seed : int
        Of the detector.
    step : float
        Longest step in the mock detector, cm.
    timeout : float
        Longest time of Geant4, seconds per event.
    keep_objects : bool
        Whether parts hold tracks and clusters.
    """

    detector: str = "mock"
    seed: int = 0
    step: float = 1.0
    timeout: float = 2.0
    keep_objects: bool = False

    def make_detector(self) -> AnyDetector:
        """Return the detector; see its class for the errors."""
        if self.detector == "geant4":
            from smartfilter.pipeline.geant4 import Geant4Detector

            return Geant4Detector(seed=self.seed, timeout_per_event=self.timeout)
        return Detector(step=self.step, seed=self.seed)

    def __call__(self, events: Events) -> Part:
        """Return a chunk with its labels."""
        detected = remember("detector", self, self.make_detector).simulate(events)
        labelled = events.with_labels(*label_objects(detected))
        arrays = pack_events(labelled)
        if self.keep_objects:
            arrays |= _pack_objects(detected)
        passing = {name: int(v.sum()) for name, v in labelled.labels.items()}
        document = {"file": events.file, "n_events": len(events), "passing": passing}
        return Part(arrays, document)


@dataclass(frozen=True)
class SimulationRun:
    """What `simulate_files` did.

    Parameters
    ----------
    n_events : int
        Events in the output.
    passing : dict of str to int
        Those that pass, by skim.
    skipped : dict of str to str
        Files that cannot be read, and why.
    n_resumed : int
        Events that an earlier run had simulated.
    """

    n_events: int
    passing: dict[str, int]
    skipped: dict[str, str]
    n_resumed: int


def simulate_files(
    source: EventSource,
    output: Path,
    *,
    task: SimulationTask,
    workers: Workers,
    provenance: Mapping[str, Any],
    objects: Path | None = None,
    force: bool = False,
    resume: bool = False,
    skip_bad_files: bool = False,
    advance: Callable[[int], None] | None = None,
) -> SimulationRun:
    """Simulate files chunk by chunk, on any workers, and write them with their labels.

    The files do not depend on the workers, nor on whether the run was interrupted.

    Parameters
    ----------
    source : EventSource
    output : Path
        A Parquet file, see `smartfilter.io.labelled`.
    task : SimulationTask
        Has to keep objects if they are written.
    workers : Workers
    provenance, objects, force, advance
        As of `label_files`.
    resume : bool
        Go on with what an interrupted run of the same files and task left.
    skip_bad_files : bool
        Leave out files that turn out to be unreadable, all of their events.

    Raises
    ------
    UsageError
        If both outputs are the same file, one is an input or cannot be written, or what
        is left is of another run.
    InputError
        If there is no event, or one cannot be read or simulated.
    """
    require_different(output, objects)
    for path in (output, objects):
        refuse_inputs(path, source.paths)
    inputs = {
        "command": "simulate",
        **source.describe(),
        **asdict(task),
        "objects": objects and str(objects.absolute()),
        "versions": list_versions(),
    }
    if objects is not None and not resume:
        check_output(objects, force=force)
    with PartStore(output, inputs, resume=resume, force=force) as store:
        # A run that was interrupted between its two outputs has made the objects.
        force_objects = force or store.n_parts > 0
        if objects is not None:
            check_output(objects, force=force_objects)
        campaign = run_pieces(
            source.chunks(),
            OnEvents(task),
            workers=workers,
            store=store,
            skip_bad_files=skip_bad_files,
            advance=advance,
        )
        documents = list(campaign.documents())
        n_events = sum(document["n_events"] for document in documents)
        require_events(n_events)
        skipped = {**source.skipped, **campaign.skipped}
        noted = {**provenance, "skipped_files": skipped} if skipped else provenance
        with open_outputs(
            output, objects, noted, force=force, force_objects=force_objects
        ) as write:
            for part in campaign.parts():
                events = unpack_events(part.arrays, part.document["file"])
                write(events, _unpack_objects(part) if objects is not None else None)
    passing = {
        name: sum(document["passing"][name] for document in documents)
        for name in SKIM_NAMES
    }
    return SimulationRun(n_events, passing, skipped, campaign.n_resumed)


def _pack_objects(detected: Detected) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for name in _TABLES:
        table: Table = getattr(detected, name)
        arrays |= {f"{name}.{key}": column for key, column in table.columns.items()}
        arrays[f"{name}.{_OFFSETS}"] = table.offsets
    return arrays


def _unpack_objects(part: Part) -> Detected:
    tables = {}
    for name in _TABLES:
        columns = {
            key.removeprefix(f"{name}."): column
            for key, column in part.arrays.items()
            if key.startswith(f"{name}.")
        }
        tables[name] = Table(columns.pop(_OFFSETS), columns)
    return Detected(**tables)
