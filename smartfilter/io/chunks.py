"""Chunks of event files: pieces of work that can be read anywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from smartfilter.errors import InputError
from smartfilter.events import Events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smartfilter.io.formats import EventFile

__all__ = ["Chunk", "RangeFile", "describe_file", "list_chunks"]


@runtime_checkable
class RangeFile(Protocol):
    """An event file of which any entries can be read, in any process."""

    def read(self, start: int, stop: int) -> Events:
        """Return the events ``start:stop``."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive events of one file: a range that is read on demand, or the events.

    Parameters
    ----------
    file : str
        The file's name as the user gave it.
    key : str
        Tells the chunks of a run apart; sorts like them.
    n_events : int
    content : RangeFile, Events or InputError
        Where to read them, what was read, or why it could not be.
    start : int
        Entry of the first event.
    """

    file: str
    key: str
    n_events: int
    content: RangeFile | Events | InputError
    start: int = 0

    def read(self) -> Events:
        """Return the events.

        Raises
        ------
        InputError
            If they cannot be read, or are no longer there.
        """
        if isinstance(self.content, InputError):
            raise self.content
        if isinstance(self.content, Events):
            return self.content
        events = self.content.read(self.start, self.start + self.n_events)
        return replace(events, file=self.file)


def list_chunks(
    name: str, reader: EventFile, *, position: int, chunk_size: int
) -> Iterator[Chunk]:
    """Yield the chunks of a file in order.

    Formats that are read from front to back are read here.

    Parameters
    ----------
    name : str
        The file's name as the user gave it.
    reader : EventFile
    position : int
        Number of the file among all.
    chunk_size : int
        Most events per chunk.
    """

    def make_key(start: int) -> str:
        return f"{position:06d}-{start:012d}"

    if isinstance(reader, RangeFile):
        for start in range(0, reader.n_events, chunk_size):
            n_events = min(chunk_size, reader.n_events - start)
            yield Chunk(name, make_key(start), n_events, reader, start)
        return
    start = 0
    chunks = reader.iterate(chunk_size)
    while True:
        try:
            events = next(chunks, None)
        except InputError as error:
            yield Chunk(name, make_key(start), 0, error, start)
            return
        if events is None:
            return
        yield Chunk(name, make_key(start), len(events), events, start)
        start += len(events)


def describe_file(name: str, path: str) -> dict[str, Any]:
    """Return what tells a file from an earlier one of that name; local files only."""
    try:
        found = Path(path).stat()
    except OSError:
        return {"name": name}
    return {
        "name": name,
        "path": str(Path(path).resolve()),
        "size": found.st_size,
        "modified_ns": found.st_mtime_ns,
    }
