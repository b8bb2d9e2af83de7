"""Reader of HepMC 2 and HepMC 3 text files, plain or gzipped, with pyhepmc.

Units become cm, ns (the time component over the speed of light) and GeV. The rules are
those of basf2 (``generators/hepmc/src/HepMCReader.cc``): the mother is the first particle
that enters the production vertex; all particles are primary; those with HepMC status 4,
21, 22, 23, 51, 52 or 71 are virtual; those with status 21 are left out, their daughters
belong to their mother. In addition particles of status 1 without an end vertex are
marked stable. The order is that of the file.

A vertex without a position is where the particle that enters it was produced, as in
HepMC 3. That library knows no production vertex of particles without a mother and drops
the one that a HepMC 2 file may give; unless the event has a position they are put where
they end, which for an Y(4S) is the same point.

A file is read through once when it is opened, to count its events and to see that its
last line is there. Parsing is a loop over events, as the format demands; what is done per
event is a fixed number of calls on arrays, and all else is done per chunk.
"""

from __future__ import annotations

import gzip
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.errors import InputError, MissingPackageError
from smartfilter.events import (
    NO_MOTHER,
    PARTICLE_COLUMNS,
    Events,
    StatusBit,
    offsets_from_counts,
)
from smartfilter.io.formats import reading
from smartfilter.io.published import refuse_extra_columns
from smartfilter.io.record import OUT_OF_RANGE, index_in_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from smartfilter.io.formats import ReadOptions
    from smartfilter.io.locations import Location

__all__ = ["HepMCFile", "open_file", "recognises"]

_GZIP = b"\x1f\x8b"
_HEADERS = {
    b"HepMC::Asciiv3": "ReaderAscii",
    b"HepMC::IO_GenEvent": "ReaderAsciiHepMC2",
}
"""What the first lines hold -> class of `pyhepmc.io`."""

_LAST_LINE = b"END_EVENT_LISTING"
_EVENT_LINE = b"\nE "
_BLOCK = 1 << 20
_HEAD_SIZE = 256

SPEED_OF_LIGHT = 29.9792458
"""cm/ns."""

_FINAL = 1
_INTERNAL = 21
"""Partons that MadGraph keeps for its own books (basf2 HepMCReader.cc)."""

_VIRTUAL = (4, 21, 22, 23, 51, 52, 71)
"""HepMC status of particles that are not simulated (basf2 HepMCReader.cc)."""


class _Record(NamedTuple):
    """One event; arrays of shape (n_particles,), rows 0-based.

    ``production`` and ``end`` are vertices counted from 1, 0 for none; ``vertices`` of
    shape (1 + n_vertices, 4) has x, y, z, t (cm), first those of the event.
    """

    number: int
    particles: NDArray[Any]
    mother: NDArray[np.int32]
    production: NDArray[np.int64]
    end: NDArray[np.int64]
    vertices: NDArray[np.float64]


def recognises(location: Location) -> bool:
    """Whether the text begins like HepMC 2 or 3."""
    try:
        with reading(location):
            return _find_reader(location) is not None
    except InputError:
        return False


def open_file(location: Location, options: ReadOptions) -> HepMCFile:
    """Open and check a file; see `HepMCFile`."""
    return HepMCFile(location, options)


def _open_text(location: Location) -> Any:
    path = Path(location.path)
    with path.open("rb") as file:
        is_compressed = file.read(len(_GZIP)) == _GZIP
    return gzip.open(path, "rb") if is_compressed else path.open("rb")


def _find_reader(location: Location) -> str | None:
    """Return the class of `pyhepmc.io` that reads this file, if there is one."""
    with _open_text(location) as file:
        head = file.read(_HEAD_SIZE)
    return next((name for mark, name in _HEADERS.items() if mark in head), None)


def _count_events(location: Location) -> int:
    """Return the number of events of a file that is complete."""
    n_events, tail = 0, b""
    with _open_text(location) as file:
        while block := file.read(_BLOCK):
            text = tail[-len(_EVENT_LINE) + 1 :] + block
            n_events += text.count(_EVENT_LINE)
            tail = (tail + block)[-_HEAD_SIZE:]
    if not tail.rstrip().endswith(_LAST_LINE):
        raise InputError(
            f"file '{location}': expected '...{_LAST_LINE.decode()}' as last line, got "
            f"{tail[-40:]!r}; the file is truncated: make or copy it again"
        )
    return n_events


def _import_pyhepmc() -> Any:
    try:
        import_module("pyhepmc.io")
        pyhepmc = import_module("pyhepmc")
    except ImportError as error:
        raise MissingPackageError("pyhepmc", "hepmc") from error
    # Its own messages go to stderr from C++; what is wrong becomes an exception here.
    pyhepmc.Setup.print_errors = pyhepmc.Setup.print_warnings = False
    pyhepmc.Setup.debug_level = 0
    return pyhepmc


class HepMCFile:
    """One HepMC file.

    Parameters
    ----------
    location : Location
        The file.
    options : ReadOptions

    Raises
    ------
    UsageError
        If extra columns are asked for: these files have none.
    MissingPackageError
        If pyhepmc is not installed.
    InputError
        If the file cannot be read, is truncated or of another format.
    """

    def __init__(self, location: Location, options: ReadOptions) -> None:
        refuse_extra_columns(options, location, "HepMC")
        self._location = location
        with reading(location):
            reader = _find_reader(location)
            if reader is None:
                known = " or ".join(mark.decode() for mark in _HEADERS)
                raise InputError(
                    f"file '{location}': expected text with {known} in its first "
                    f"lines, got something else; give a HepMC 2 or HepMC 3 text file"
                )
            self._reader = reader
            self._pyhepmc = _import_pyhepmc()
            self.n_events = _count_events(location)

    def iterate(self, chunk_size: int) -> Iterator[Events]:
        """Yield consecutive events, at most ``chunk_size`` at a time.

        Raises
        ------
        InputError
            If the text cannot be parsed.
        """
        with reading(self._location), _open_text(self._location) as file:
            stream = self._pyhepmc.io.pyiostream(file, _BLOCK)
            reader = getattr(self._pyhepmc.io, self._reader)(stream)
            for start in range(0, self.n_events, chunk_size):
                stop = min(start + chunk_size, self.n_events)
                records = [self._read_event(reader, k) for k in range(start, stop)]
                yield self._convert(records, start)

    def empty(self) -> Events:
        """Return no events, with the columns that `iterate` gives."""
        columns = {name: np.empty(0, dtype) for name, dtype in PARTICLE_COLUMNS.items()}
        offsets = np.zeros(1, dtype=np.int64)
        return Events.from_columns(offsets, columns, file=str(self._location))

    def _read_event(self, reader: Any, entry: int) -> _Record:
        units = self._pyhepmc.Units
        event = self._pyhepmc.GenEvent(units.GEV, units.CM)
        if not reader.read_event(event) or reader.failed():
            raise InputError(
                f"event: cannot be parsed at entry {entry} of '{self._location}'; the "
                f"file is damaged: make or copy it again"
            )
        event.set_units(units.GEV, units.CM)
        data = self._pyhepmc.GenEventData()
        event.write_data(data)
        position = event.numpy.vertices
        origin = event.event_pos()
        vertices = np.empty((1 + len(data.vertices), 4))
        vertices[0] = origin.x, origin.y, origin.z, origin.t
        for k, name in enumerate("xyzt"):
            vertices[1:, k] = getattr(position, name)
        production, end, mother = _link(data.links1, data.links2, len(data.particles))
        return _Record(
            event.event_number, data.particles.copy(), mother, production, end, vertices
        )

    def _convert(self, records: list[_Record], start: int) -> Events:
        """Return events from their records."""
        counts = np.array([len(record.particles) for record in records])
        offsets = offsets_from_counts(counts)
        particles = np.concatenate([record.particles for record in records])
        mother = np.concatenate([record.mother for record in records])
        end = np.concatenate([record.end for record in records])
        x, y, z, ct = np.concatenate([_place(record) for record in records]).T
        status = np.full(len(particles), int(StatusBit.PRIMARY))
        final = (particles["status"] == _FINAL) & (end == 0)
        status[final] |= int(StatusBit.STABLE_IN_GENERATOR)
        status[np.isin(particles["status"], _VIRTUAL)] |= int(StatusBit.VIRTUAL)
        columns = {
            "pdg": particles["pid"],
            "mother_index": mother,
            "array_index": index_in_event(offsets),
            "status": status,
            "mass": particles["mass"],
            "energy": particles["e"],
            **{name: particles[name] for name in ("px", "py", "pz")},
            "prod_time": ct / SPEED_OF_LIGHT,
            "x": x,
            "y": y,
            "z": z,
        }
        with np.errstate(over="ignore"):
            columns = {k: columns[k].astype(d) for k, d in PARTICLE_COLUMNS.items()}
        is_internal = particles["status"] == _INTERNAL
        offsets, columns = _leave_out(offsets, columns, is_internal)
        return Events.from_columns(
            offsets,
            columns,
            event=np.array([record.number for record in records]),
            entry=np.arange(start, start + len(records)),
            file=str(self._location),
        )


def _link(
    first: NDArray[np.int32], second: NDArray[np.int32], n_particles: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Return the production vertex, the end vertex and the mother of each particle.

    Parameters
    ----------
    first, second : ndarray of int32, shape (n_links,)
        Where a link leads from and to: particles count from 1, vertices from -1.
    n_particles : int
    """
    first, second = first.astype(np.int64), second.astype(np.int64)
    enters = first > 0
    incoming, into = first[enters], -second[enters]
    outgoing, source = second[~enters], -first[~enters]
    production = np.zeros(n_particles, dtype=np.int64)
    production[outgoing - 1] = source
    end = np.zeros(n_particles, dtype=np.int64)
    end[incoming - 1] = into
    n_vertices = int(max(into.max(initial=0), source.max(initial=0)))
    first_incoming = np.zeros(1 + n_vertices, dtype=np.int64)
    first_incoming[into[::-1]] = incoming[::-1]
    return production, end, (first_incoming[production] - 1).astype(np.int32)


def _place(record: _Record) -> NDArray[np.float64]:
    """Return where each particle is produced, x, y, z, t in cm: (n_particles, 4)."""
    at = record.production
    if not record.vertices[0].any():
        at = np.where(at == 0, record.end, at)
    return record.vertices[at]


def _leave_out(
    offsets: NDArray[np.int64],
    columns: dict[str, NDArray[Any]],
    left_out: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Remove particles; their daughters become those of the next one above."""
    if not left_out.any():
        return offsets, columns
    starts = np.repeat(offsets[:-1], np.diff(offsets))
    mother = columns["mother_index"]
    row = np.where(mother >= 0, starts + mother, NO_MOTHER)
    for _ in range(len(row).bit_length()):  # after k rounds up to 2^k mothers higher
        climbs = np.flatnonzero((row >= 0) & left_out[row])
        row[climbs] = row[row[climbs]]
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(~left_out)])
    index = np.where(row >= 0, before[row] - before[starts], NO_MOTHER)
    index[(row >= 0) & left_out[row]] = OUT_OF_RANGE  # a loop of them
    columns = {**columns, "mother_index": index.astype(np.int32)}
    kept = {name: column[~left_out] for name, column in columns.items()}
    return before[offsets], kept
