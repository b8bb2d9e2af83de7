"""From files of events to a labelled file, in bounded memory."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from smartfilter.errors import InputError
from smartfilter.io import LabelledWriter
from smartfilter.pipeline.simulation import label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from smartfilter.events import Events
    from smartfilter.pipeline.simulation import AnyDetector

__all__ = ["label_files"]


def label_files(
    chunks: Iterable[Events],
    output: Path,
    *,
    detector: AnyDetector,
    provenance: Mapping[str, Any],
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
        Kept in the file.
    force : bool
        Whether an existing file may be replaced.
    advance : callable, optional
        Told the number of events done since its last call.

    Returns
    -------
    dict of str to int
        Passing events per skim.

    Raises
    ------
    InputError
        If there is no event, or one cannot be simulated.
    """
    passing: dict[str, int] = {}
    with ExitStack() as stack:
        writer = None
        for chunk in chunks:
            events = label(chunk, detector=detector)
            if writer is None:
                writer = stack.enter_context(
                    LabelledWriter(
                        output,
                        tuple(events.labels),
                        tuple(events.variables),
                        provenance,
                        force=force,
                    )
                )
            writer.write(events)
            for name, passes in events.labels.items():
                passing[name] = passing.get(name, 0) + int(passes.sum())
            if advance is not None:
                advance(len(events))
        if writer is None:
            raise InputError("events: expected at least one to simulate, got none")
    return passing
