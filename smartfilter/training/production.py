"""Generate and simulate in bulk: labelled data sets, in parallel and with resume."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from smartfilter import __version__
from smartfilter.distributed import open_workers
from smartfilter.errors import UsageError
from smartfilter.events import encode_event_type
from smartfilter.io.labelled import read_labelled_metadata
from smartfilter.io.lock import OutputLock
from smartfilter.io.output import find_temporaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smartfilter.events import Events
    from smartfilter.pipeline.simulation import AnyDetector

__all__ = [
    "EVENTS_PER_FILE",
    "OBJECTS_FOLDER",
    "Part",
    "plan_parts",
    "produce",
    "produce_part",
]

EVENTS_PER_FILE = 10_000
"""Events per file: the unit of work, and of what a resumed production makes again."""

BLOCK = 2_000
"""Events that are in memory at once."""

OBJECTS_FOLDER = "objects"
"""Folder of the tracks and clusters, in that of the labelled files: a pattern for those
does not catch these."""


@dataclass(frozen=True)
class Part:
    """One file of a production; the same part always holds the same events.

    Parameters
    ----------
    path : str
        Where the file will be.
    event_type : str
    index : int
        Number of the part; the run number of its events is one more.
    n_events : int
    seed : int
        Seed of the whole production.
    step : float
        Longest step in the detector, cm.
    decay_table : str
        See `smartfilter.pipeline.generator.Generator`.
    detector : str
        ``mock`` or ``geant4``.
    objects : bool
        Whether tracks and clusters are kept in a file of their own.
    """

    path: str
    event_type: str
    index: int
    n_events: int
    seed: int
    step: float
    decay_table: str
    detector: str = "mock"
    objects: bool = False

    @property
    def objects_path(self) -> Path | None:
        """Where the tracks and clusters are kept, if they are."""
        path = Path(self.path)
        return path.parent / OBJECTS_FOLDER / path.name if self.objects else None

    @property
    def is_complete(self) -> bool:
        """Whether all files of the part are there."""
        paths = (Path(self.path), self.objects_path)
        return all(path is None or path.exists() for path in paths)

    @property
    def generator_seed(self) -> int:
        """Seed of the part's generator, different for each part and event type."""
        return self.seed * 1_000_003 + self.index


def plan_parts(
    folder: Path,
    *,
    event_type: str,
    n_events: int,
    seed: int = 1,
    step: float = 1.0,
    decay_table: str = "belle2",
    detector: str = "mock",
    objects: bool = False,
) -> list[Part]:
    """Return the parts of a production of ``n_events`` events."""
    encode_event_type(event_type)
    return [
        Part(
            path=str(folder / f"{event_type}-{index:05d}.parquet"),
            event_type=event_type,
            index=index,
            n_events=min(EVENTS_PER_FILE, n_events - first),
            seed=seed,
            step=step,
            decay_table=decay_table,
            detector=detector,
            objects=objects,
        )
        for index, first in enumerate(range(0, n_events, EVENTS_PER_FILE))
    ]


def produce_part(part: Part) -> int:
    """Generate and label the events of one part; return their number."""
    from smartfilter.pipeline.detector import Detector
    from smartfilter.pipeline.labelling import label_files, list_versions

    provenance = {
        "command": "produce",
        "version": __version__,
        "versions": list_versions(),
        "n_generated": part.n_events,
        **asdict(part),
        "path": Path(part.path).name,
    }
    if part.objects_path is not None:
        part.objects_path.parent.mkdir(exist_ok=True)
    with ExitStack() as stack:
        detector: AnyDetector = Detector(step=part.step, seed=part.seed)
        if part.detector == "geant4":
            from smartfilter.pipeline.geant4 import Geant4Detector

            detector = stack.enter_context(Geant4Detector(seed=part.seed))
        label_files(
            _generate(part),
            Path(part.path),
            detector=detector,
            provenance=provenance,
            objects=part.objects_path,
            force=True,
        )
    return part.n_events


def _generate(part: Part) -> Iterator[Events]:
    """Yield the events of a part in blocks."""
    from smartfilter.pipeline.generator import Generator

    generator = Generator(
        part.event_type,
        seed=part.generator_seed,
        run=part.index + 1,
        decay_table=part.decay_table,
    )
    for first in range(0, part.n_events, BLOCK):
        yield generator.generate(min(BLOCK, part.n_events - first))


def _check_settings(part: Part) -> None:
    """Refuse to go on with a file that was made with other settings."""
    found = read_labelled_metadata(part.path)["provenance"]
    asked = asdict(replace(part, path=Path(part.path).name))
    del asked["objects"]  # where they are missing, the part is made again
    made = {"detector": "mock", **found}  # once the only one, and not written down
    for name, value in asked.items():
        if made.get(name) != value:
            raise UsageError(
                f"part '{part.path}': expected {name} {value} as asked for now, got "
                f"{made.get(name)}; name another folder, or remove the file"
            )


def produce(
    parts: list[Part],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    advance: Callable[[int], None] | None = None,
) -> int:
    """Make the parts that are not there yet; return the number of events made.

    A part is complete or absent, so that an interrupted production goes on where it
    stopped. The events do not depend on the number of workers.

    Parameters
    ----------
    parts : list of Part
        From `plan_parts`.
    workers : int
        Processes on this machine.
    scheduler : str, optional
        Address of a Dask scheduler whose workers see the same folder.
    advance : callable, optional
        Told the number of events done since its last call.

    Raises
    ------
    UsageError
        If there is less than one worker, a part is there that was made with other
        settings, or another production of this event type writes into the folder.
    InputError
        If a part is there and cannot be read.
    """
    if not parts:
        return 0
    folder, event_type = Path(parts[0].path).parent, parts[0].event_type
    with OutputLock(folder / event_type):
        for place in (folder, folder / OBJECTS_FOLDER):
            _remove_temporaries(place, event_type)
        for part in parts:
            if Path(part.path).exists():
                _check_settings(part)
        missing = [part for part in parts if not part.is_complete]
        report = advance or (lambda _: None)
        report(sum(p.n_events for p in parts) - sum(p.n_events for p in missing))
        if missing:
            absolute = [replace(p, path=str(Path(p.path).absolute())) for p in missing]
            with (
                open_workers(workers, scheduler) as pool,
                closing(pool.map(produce_part, absolute)) as results,
            ):
                for _, n_events in results:
                    report(n_events)
    return sum(part.n_events for part in missing)


def _remove_temporaries(folder: Path, event_type: str) -> None:
    """Remove what a production that was killed has left of its files."""
    if folder.is_dir():
        for path in find_temporaries(folder, rf"{event_type}-\d+", ".parquet"):
            path.unlink(missing_ok=True)
