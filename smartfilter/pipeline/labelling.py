"""From files of events to a labelled file, in bounded memory."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from smartfilter import run_record
from smartfilter.errors import InputError, UsageError
from smartfilter.io import LabelledWriter
from smartfilter.pipeline.object_file import ObjectWriter
from smartfilter.pipeline.simulation import (
    SKIM_NAMES,
    VARIABLE_NAMES,
    label_objects,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from smartfilter.events import Events
    from smartfilter.pipeline.objects import Detected
    from smartfilter.pipeline.simulation import AnyDetector

__all__ = [
    "label_files",
    "list_versions",
    "open_outputs",
    "require_different",
    "require_events",
]

_PACKAGES = ("numpy", "numba", "pythia8mc", "geant4-pybind")


def list_versions() -> dict[str, str]:
    """Return the versions of the installed packages on which labels depend."""
    return run_record.list_versions(_PACKAGES)


def label_files(
    chunks: Iterable[Events],
    output: Path,
    *,
    detector: AnyDetector,
    provenance: Mapping[str, Any],
    objects: Path | None = None,
    force: bool = False,
    advance: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Simulate events chunk by chunk and write them with their labels.

    Parameters
    ----------
    chunks : iterable of Events
        For instance the source that `smartfilter.open_events` returns.
    output : Path
        A Parquet file, see `smartfilter.io.labelled`.
    detector : AnyDetector
        See `smartfilter.pipeline.simulation`.
    provenance : mapping
        Kept in the files.
    objects : Path, optional
        A Parquet file for the tracks and clusters, see
        `smartfilter.pipeline.object_file`. Complete before ``output`` appears.
    force : bool
        Whether existing files may be replaced.
    advance : callable, optional
        Told the number of events done since its last call.

    Returns
    -------
    dict of str to int
        Passing events per skim.

    Raises
    ------
    UsageError
        If both outputs are the same file, or one cannot be written.
    InputError
        If there is no event, or one cannot be simulated.
    """
    passing = dict.fromkeys(SKIM_NAMES, 0)
    n_events = 0
    with open_outputs(output, objects, provenance, force=force) as write:
        for chunk in chunks:
            detected = detector.simulate(chunk)
            events = chunk.with_labels(*label_objects(detected))
            write(events, detected)
            for name, passes in events.labels.items():
                passing[name] += int(passes.sum())
            n_events += len(events)
            if advance is not None:
                advance(len(events))
        require_events(n_events)
    return passing


def require_events(n_events: int) -> None:
    """Refuse to write files without events.

    Raises
    ------
    InputError
        If there is none.
    """
    if not n_events:
        raise InputError("events: expected at least one to simulate, got none")


@contextmanager
def open_outputs(
    output: Path,
    objects: Path | None,
    provenance: Mapping[str, Any],
    *,
    force: bool,
    force_objects: bool | None = None,
) -> Iterator[Callable[[Events, Detected | None], None]]:
    """Provide a function that writes events, with labels, and their objects.

    The objects are complete before ``output`` appears.

    Parameters
    ----------
    output, objects, provenance, force
        As of `label_files`.
    force_objects : bool, optional
        Whether an existing file of objects may be replaced; by default ``force``.

    Raises
    ------
    UsageError
        If both outputs are the same file, or one cannot be written.
    """
    if force_objects is None:
        force_objects = force
    require_different(output, objects)
    with ExitStack() as stack:  # the last to enter is the first to be completed
        writer = stack.enter_context(
            LabelledWriter(output, SKIM_NAMES, VARIABLE_NAMES, provenance, force=force)
        )
        keeper = None
        if objects is not None:
            keeper = stack.enter_context(
                ObjectWriter(objects, provenance, force=force_objects)
            )

        def write(events: Events, detected: Detected | None) -> None:
            writer.write(events)
            if keeper is not None and detected is not None:
                keeper.write(events, detected)

        yield write


def require_different(output: Path, objects: Path | None) -> None:
    """Check that both outputs are different files.

    Raises
    ------
    UsageError
        If they are one.
    """
    if objects is not None and objects.resolve() == output.resolve():
        raise UsageError(f"outputs: expected two files, got '{output}' twice")
