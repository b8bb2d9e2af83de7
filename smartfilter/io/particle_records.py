"""Parquet files of other programs: one row per event, a column of lists of particles.

Written with awkward or pyarrow: ``particles`` is a list of structs, and there are
event-level columns beside it. Rows are read in batches, so that memory does not grow
with the file, and only the fields that are needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smartfilter.errors import InputError
from smartfilter.io.formats import reading
from smartfilter.io.parquet import to_numpy
from smartfilter.io.published import refuse_extra_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.io.formats import ReadOptions
    from smartfilter.io.locations import Location

__all__ = ["RecordFile", "Records", "has_particle_fields"]

PARTICLES = "particles"


class Records(NamedTuple):
    """Consecutive rows as flat columns.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_events + 1,)
    particles : mapping of str to ndarray, each of shape (n_particles,)
        By our names, with the values and dtypes of the file.
    columns : mapping of str to ndarray, each of shape (n_events,)
        By the names of the file.
    start : int
        Row of the first event.
    """

    offsets: NDArray[np.int64]
    particles: Mapping[str, NDArray[Any]]
    columns: Mapping[str, NDArray[Any]]
    start: int


def _storage_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type below awkward's extension types."""
    while isinstance(dtype, pa.BaseExtensionType):
        dtype = dtype.storage_type
    return dtype


def _storage(array: pa.Array) -> pa.Array:
    """Return the array below awkward's extension arrays."""
    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array


def _find_fields(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Return the fields of the particles; none if there is no such column."""
    if PARTICLES not in schema.names:
        return {}
    lists = _storage_type(schema.field(PARTICLES).type)
    if not (pa.types.is_list(lists) or pa.types.is_large_list(lists)):
        return {}
    structs = _storage_type(lists.value_type)
    if not pa.types.is_struct(structs):
        return {}
    return {field.name: _storage_type(field.type) for field in structs}


def _is_number(dtype: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(dtype)
        or pa.types.is_floating(dtype)
        or pa.types.is_boolean(dtype)
    )


def has_particle_fields(location: Location, names: set[str]) -> bool:
    """Return whether a Parquet file has particles with these fields; never raises."""
    try:
        with reading(location):
            return names <= set(_find_fields(pq.read_schema(location.path)))
    except InputError:
        return False


class RecordFile(ABC):
    """One Parquet file of another program.

    Parameters
    ----------
    location : Location
        The file.
    options : ReadOptions
        Secondaries, should there be any, are dropped like those of an mdst file.

    Raises
    ------
    UsageError
        If extra columns are asked for: these files have none.
    InputError
        If the file cannot be read or lacks a field.
    """

    FORMAT: ClassVar[str]
    """What messages call it."""

    FIELDS: ClassVar[Mapping[str, str]]
    """Our column -> field of the particles that must be there."""

    OPTIONAL_FIELDS: ClassVar[Mapping[str, str]] = {}
    """Our column -> field that may be there."""

    def __init__(self, location: Location, options: ReadOptions) -> None:
        refuse_extra_columns(options, location, self.FORMAT)
        self._location = location
        self._keep_secondaries = options.keep_secondaries
        with reading(location), self._open() as file:
            self.n_events = int(file.metadata.num_rows)
            schema = file.schema_arrow
            self._fields = self._select_fields(_find_fields(schema))
            self._columns = [
                field.name
                for field in schema
                if field.name != PARTICLES and _is_number(_storage_type(field.type))
            ]
            paths = [file.schema.column(i).path for i in range(len(file.schema.names))]
        wanted = set(self._fields.values())
        self._leaves = [
            path
            for path in paths
            if path in self._columns
            or (path.startswith(f"{PARTICLES}.") and path.split(".")[-1] in wanted)
        ]

    @abstractmethod
    def _convert(self, records: Records) -> Events:
        """Return these rows as events."""

    def _open(self) -> pq.ParquetFile:
        return pq.ParquetFile(self._location.path, page_checksum_verification=True)

    def _select_fields(self, found: Mapping[str, pa.DataType]) -> dict[str, str]:
        known = {**self.FIELDS, **self.OPTIONAL_FIELDS}
        chosen = {ours: theirs for ours, theirs in known.items() if theirs in found}
        for ours, theirs in known.items():
            dtype = found.get(theirs)
            absent = dtype is None and ours in self.FIELDS
            if absent or (dtype is not None and not _is_number(dtype)):
                raise InputError(
                    f"field '{PARTICLES}.{theirs}': expected a number per particle of "
                    f"a {self.FORMAT} file, got {dtype or 'no such field'} in "
                    f"'{self._location}'; fields: {', '.join(found)}"
                )
        return chosen

    def _read(self, batch: pa.RecordBatch, start: int) -> Records:
        where = str(self._location)
        lists = _storage(batch.column(PARTICLES))
        if lists.null_count:
            to_numpy(lists, PARTICLES, where)
        offsets = lists.offsets.to_numpy().astype(np.int64)
        structs = _storage(lists.flatten())
        particles = {
            ours: to_numpy(_storage(structs.field(theirs)), theirs, where)
            for ours, theirs in self._fields.items()
        }
        columns = {
            name: _read_event_column(_storage(batch.column(name)), name, where)
            for name in self._columns
        }
        return Records(offsets - offsets[0], particles, columns, start)

    def _iterate_records(self, chunk_size: int) -> Iterator[Records]:
        with reading(self._location):
            file = self._open()
        start = 0
        with file:
            batches = file.iter_batches(chunk_size, columns=self._leaves)
            while True:
                with reading(self._location):
                    batch = next(batches, None)
                    if batch is None:
                        return
                    records = self._read(batch, start)
                start += len(batch)
                if len(batch):
                    yield records

    def iterate(self, chunk_size: int) -> Iterator[Events]:
        """Yield consecutive events, at most ``chunk_size`` and a row group at a time.

        Raises
        ------
        InputError
            If the file is damaged, has missing values, or values that make no sense.
        """
        for records in self._iterate_records(chunk_size):
            with reading(self._location):
                events = self._convert(records)
            yield events

    def empty(self) -> Events:
        """Return no events, with the columns that `iterate` gives."""
        nothing = np.empty(0)
        return self._convert(
            Records(
                np.zeros(1, dtype=np.int64),
                dict.fromkeys(self._fields, nothing),
                dict.fromkeys(self._columns, nothing),
                0,
            )
        )


def _read_event_column(array: pa.Array, name: str, where: str) -> NDArray[Any]:
    """Return an event-level column; missing numbers of a float column are NaN."""
    if pa.types.is_floating(array.type):
        values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return values
    return to_numpy(array, name, where)
