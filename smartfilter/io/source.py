"""Events from files, in chunks of bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smartfilter.errors import InputError, UsageError
from smartfilter.events import Events, concatenate
from smartfilter.io.chunks import Chunk, RangeFile, describe_file, list_chunks
from smartfilter.io.formats import EventFile, ReadOptions, find_format
from smartfilter.io.locations import expand_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from smartfilter.io.locations import Location

__all__ = ["EventSource", "open_events"]


class EventSource:
    """Events of one or more files; iterate over it for chunks of `Events`.

    Each chunk comes from one file and holds at most ``chunk_size`` events. ``file``
    and ``entry`` of a chunk identify its events. A source can be iterated over any
    number of times. Made by `open_events`.

    Attributes
    ----------
    skipped : dict of str to str
        Files that were left out, and why each cannot be opened.
    """

    def __init__(
        self,
        readers: Sequence[tuple[Location, EventFile]],
        chunk_size: int,
        skipped: Mapping[str, str] | None = None,
    ) -> None:
        self._readers = tuple((str(location), reader) for location, reader in readers)
        self._paths = tuple(location.path for location, _ in readers)
        self._chunk_size = chunk_size
        self.skipped = dict(skipped or {})

    @property
    def files(self) -> tuple[str, ...]:
        """The files in the order in which they are read."""
        return tuple(name for name, _ in self._readers)

    @property
    def paths(self) -> tuple[str, ...]:
        """The same without trees or sets: what the operating system opens."""
        return self._paths

    @property
    def n_events(self) -> int:
        """Number of events in all files, from their metadata."""
        return sum(reader.n_events for _, reader in self._readers)

    def __iter__(self) -> Iterator[Events]:
        """Yield the events of all files in order, in chunks."""
        for _, reader in self._readers:
            yield from reader.iterate(self._chunk_size)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the same chunks as pieces of work, which may be read elsewhere."""
        for position, (name, reader) in enumerate(self._readers):
            yield from list_chunks(
                name, reader, position=position, chunk_size=self._chunk_size
            )

    def read_entry(
        self, entry: int, *, advance: Callable[[int], None] | None = None
    ) -> Events:
        """Return one event; of formats that are read in any order nothing else is read.

        Parameters
        ----------
        entry : int
            Position among the events of all files.
        advance : callable, optional
            Told the number of events passed since its last call.

        Raises
        ------
        InputError
            If there is no such entry, or a file is damaged.
        """
        left = entry
        for name, reader in self._readers:
            if isinstance(reader, RangeFile):
                if left < reader.n_events:
                    return Chunk(name, "", 1, reader, left).read()
                left -= reader.n_events
                continue
            for chunk in reader.iterate(self._chunk_size):
                if left < len(chunk):
                    return chunk.take([left])
                left -= len(chunk)
                if advance is not None:
                    advance(len(chunk))
        raise InputError(
            f"event: expected an entry below {self.n_events}, got {entry} in "
            f"{', '.join(self.files)}"
        )

    def describe(self) -> dict[str, Any]:
        """Return what the chunks follow from: JSON values that change if a file does."""
        files = [
            {**describe_file(name, path), "n_events": reader.n_events}
            for path, (name, reader) in zip(self._paths, self._readers, strict=True)
        ]
        return {"chunk_size": self._chunk_size, "files": files}

    def read(self) -> Events:
        """Return all events at once; ``file`` is that of the first ones."""
        chunks = list(self)
        return concatenate(chunks) if chunks else self._readers[0][1].empty()


def open_events(
    paths: str | Path | Sequence[str | Path],
    *,
    chunk_size: int = 20_000,
    extra_columns: Sequence[str] = (),
    keep_secondaries: bool = False,
    skip_bad_files: bool = False,
) -> EventSource:
    """Open event files of any known format, told by their content.

    Belle II mdst and udst ROOT files; our labelled Parquet files; the public SmartBKG data
    sets (the lab course's Parquet, pd4ml's and the authors' npz) and basf2's training
    Parquet, whose label appears as skim ``feiHadronicB0``; HepMC 2 and 3 text, plain or
    gzipped (needs the extra ``hepmc``). See the modules in `smartfilter.io.formats.FORMATS`.

    Every file is opened once here, so that a wrong one is found before any work.

    Parameters
    ----------
    paths : str, Path or sequence of them
        Paths, globs, ``file.root:tree``, ``file.npz:set`` or ``root://`` URLs (these
        need the extra ``xrootd``).
    chunk_size : int
        Largest number of events in a chunk.
    extra_columns : sequence of str
        Further particle columns, see `smartfilter.io.mdst.EXTRA_COLUMNS`.
    keep_secondaries : bool
        Keep particles that the detector simulation made; by default only those of
        the generator (status bit 0) are read and mother indices refer to them.
    skip_bad_files : bool
        Leave out existing files that cannot be opened, unless that is all of them.

    Returns
    -------
    EventSource
        Iterable over chunks of `Events`.

    Raises
    ------
    UsageError
        If ``chunk_size`` is not positive, no path is given or an extra column is
        not known.
    InputError
        If a path names no file, or a file that cannot be read, has an unknown format
        or lacks a column.
    MissingPackageError
        If a ``root://`` URL is given and fsspec-xrootd is not installed, or a HepMC file
        and pyhepmc is not.
    """
    if chunk_size < 1:
        raise UsageError(f"chunk_size: expected at least 1 event, got {chunk_size}")
    options = ReadOptions(tuple(extra_columns), keep_secondaries)
    readers: list[tuple[Location, EventFile]] = []
    skipped: dict[str, str] = {}
    for location in expand_paths(paths):
        try:
            reader = find_format(location).load().open_file(location, options)
        except InputError as error:
            if not skip_bad_files:
                raise
            skipped[str(location)] = str(error)
        else:
            readers.append((location, reader))
    if not readers:
        first = next(iter(skipped.values()))
        raise InputError(f"files: expected one that can be read, got none; {first}")
    return EventSource(readers, chunk_size, skipped)
