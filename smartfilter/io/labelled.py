"""Labelled Parquet files: generated events and which skims they pass.

One row per event: ``experiment, run, production, event`` (int64), ``event_type``
(dictionary of strings, null if unknown), ``entry`` (int64, position in the file that
was simulated), ``particles`` (list of structs of `PARTICLE_COLUMNS`),
``passes_<skim>`` (bool) and event-level variables (float32). The file's metadata have
under the key ``smartfilter`` a JSON document: ``kind`` (``labelled``),
``schema_version``, ``skims``, ``variables`` and ``provenance``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smartfilter.errors import InputError, UsageError
from smartfilter.events import (
    EVENT_TYPES,
    ID_COLUMNS,
    PARTICLE_COLUMNS,
    Events,
)
from smartfilter.io.formats import ReadOptions, reading, require_same_length
from smartfilter.io.output import METADATA_KEY, EventBuffer, OutputFile, dump_metadata
from smartfilter.io.parquet import (
    EVENT_TYPE,
    check_columns,
    decode_event_type,
    encode_strings,
    open_parquet,
    to_numpy,
)
from smartfilter.io.record import drop_secondaries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from smartfilter.io.locations import Location

__all__ = [
    "DICTIONARY_COLUMNS",
    "PASSES",
    "LabelledFile",
    "LabelledWriter",
    "describe_labelled",
    "labelled_columns",
    "open_file",
    "read_labelled_metadata",
    "recognises",
]

KIND = "labelled"
SCHEMA_VERSION = 1
PASSES = "passes_"
"""Before a skim's name in the name of its column."""

_BLOCK_ROWS = 500_000
_PARTICLE = pa.struct(
    [
        pa.field(name, pa.from_numpy_dtype(dtype), nullable=False)
        for name, dtype in PARTICLE_COLUMNS.items()
    ]
)
DICTIONARY_COLUMNS = [
    "event_type",
    *(
        f"particles.list.element.{name}"
        for name, dtype in PARTICLE_COLUMNS.items()
        if dtype.kind in "iu"
    ),
]
"""Columns of few different values."""

_PARTICLES = pa.list_(pa.field("element", _PARTICLE, nullable=False))
_EVENT_COLUMNS: dict[str, pa.DataType] = {
    **dict.fromkeys(ID_COLUMNS, pa.int64()),
    "event_type": EVENT_TYPE,
    "entry": pa.int64(),
    "particles": _PARTICLES,
}


def labelled_columns(
    skims: Sequence[str], variables: Sequence[str]
) -> dict[str, pa.DataType]:
    """Return the columns of a file with these labels and event-level variables."""
    return {
        **_EVENT_COLUMNS,
        **{f"{PASSES}{skim}": pa.bool_() for skim in skims},
        **dict.fromkeys(variables, pa.float32()),
    }


def describe_labelled(
    skims: Sequence[str], variables: Sequence[str], provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the JSON document of a labelled file."""
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "skims": tuple(skims),
        "variables": tuple(variables),
        "provenance": dict(provenance),
    }


class LabelledWriter(OutputFile):
    """Writes events with labels to a Parquet file; see the module's text.

    Parameters
    ----------
    path : str or Path
        Where the file will be; written to a temporary name and moved when complete.
    skims : sequence of str
        Names of the labels that every event has.
    variables : sequence of str
        Names of the event-level variables that every event has, for example
        ``sample_weight``.
    provenance : mapping, optional
        What made the labels, with ``n_generated``; JSON values.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    UsageError
        If the file exists and ``force`` is false, the folder does not exist, a name
        is used twice, or the provenance has no JSON form.
    """

    def __init__(
        self,
        path: str | Path,
        skims: Sequence[str],
        variables: Sequence[str] = (),
        provenance: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
    ) -> None:
        super().__init__(path, force=force)
        self._skims, self._variables = tuple(skims), tuple(variables)
        columns = labelled_columns(self._skims, self._variables)
        n_names = len(_EVENT_COLUMNS) + len(self._skims) + len(self._variables)
        if len(columns) != n_names:
            raise UsageError(
                f"column names: expected each once, got skims {', '.join(skims)} and "
                f"variables {', '.join(variables)} beside {', '.join(_EVENT_COLUMNS)}"
            )
        document = describe_labelled(self._skims, self._variables, provenance or {})
        self._schema = pa.schema(
            [pa.field(name, dtype) for name, dtype in columns.items()],
            metadata={METADATA_KEY: dump_metadata(document)},
        )
        self._buffer = EventBuffer(_BLOCK_ROWS)
        self._writer = pq.ParquetWriter(
            self._temporary,
            self._schema,
            compression="zstd",
            use_dictionary=DICTIONARY_COLUMNS,
            write_page_checksum=True,
        )

    def write(self, events: Events) -> None:
        """Append events.

        Raises
        ------
        InputError
            If the events lack a label or a variable.
        """
        self._check_open()
        missing = [name for name in self._skims if name not in events.labels]
        missing += [name for name in self._variables if name not in events.variables]
        if missing:
            raise InputError(
                f"labelled events: missing {', '.join(missing)}, got "
                f"{', '.join([*events.labels, *events.variables]) or 'no label'}"
            )
        for block in self._buffer.add(events):
            self._write_block(block)

    def _write_block(self, events: Events) -> None:
        particles = pa.StructArray.from_arrays(
            [
                pa.array(np.asarray(events[name], dtype=dtype))
                for name, dtype in PARTICLE_COLUMNS.items()
            ],
            fields=list(_PARTICLE),
        )
        columns: dict[str, pa.Array] = {
            **{name: pa.array(getattr(events, name)) for name in ID_COLUMNS},
            "event_type": encode_strings(events.event_type, EVENT_TYPES),
            "entry": pa.array(events.entry),
            "particles": pa.ListArray.from_arrays(
                pa.array(events.offsets.astype(np.int32)), particles, type=_PARTICLES
            ),
        }
        for skim in self._skims:
            columns[f"{PASSES}{skim}"] = pa.array(events.labels[skim], pa.bool_())
        for name in self._variables:
            values = np.asarray(events.variables[name], dtype=np.float32)
            columns[name] = pa.array(values)
        table = pa.Table.from_arrays(list(columns.values()), schema=self._schema)
        self._writer.write_table(table)

    def _finish(self) -> None:
        for block in self._buffer.drain():
            self._write_block(block)
        self._writer.close()

    def _abandon(self) -> None:
        self._writer.close()


def recognises(location: Location) -> bool:
    """Whether this is one of our labelled files."""
    try:
        with reading(location):
            open_parquet(location.path, KIND)[0].close()
    except InputError:
        return False
    return True


def open_file(location: Location, options: ReadOptions) -> LabelledFile:
    """Open and check a file; see `LabelledFile`."""
    return LabelledFile(location, options)


def read_labelled_metadata(path: str | Path) -> dict[str, Any]:
    """Return the JSON document of a labelled file.

    Raises
    ------
    InputError
        If the file cannot be read or is of another kind.
    """
    with reading(path):
        file, document = open_parquet(path, KIND)
        file.close()
    return document


class LabelledFile:
    """One labelled file.

    ``entry`` of the events is the row in this file. That of the file that was
    simulated is in the file's own column ``entry``.

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
        If the file cannot be read or lacks a column.
    """

    def __init__(self, location: Location, options: ReadOptions) -> None:
        if options.extra_columns:
            raise UsageError(
                f"extra column: a labelled file has none, "
                f"got {', '.join(options.extra_columns)} for '{location}'"
            )
        self._location = location
        self._keep_secondaries = options.keep_secondaries
        with reading(location):
            file, document = open_parquet(location.path, KIND)
            with file:
                self._skims = tuple(map(str, document["skims"]))
                self._variables = tuple(map(str, document["variables"]))
                self.provenance: dict[str, Any] = dict(document["provenance"])
                check_columns(file, self._columns, location.path)
                self.n_events = int(file.metadata.num_rows)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the event-level variables."""
        return self._variables

    @property
    def _columns(self) -> dict[str, pa.DataType]:
        return labelled_columns(self._skims, self._variables)

    def _events(self, batch: pa.RecordBatch, start: int) -> Events:
        where = str(self._location)

        def column(name: str) -> Any:
            return to_numpy(batch.column(name), name, where)

        lists = batch.column("particles")
        if lists.null_count:
            to_numpy(lists, "particles", where)
        offsets = lists.offsets.to_numpy().astype(np.int64)
        offsets -= offsets[0]
        structs = lists.flatten()
        particles = {
            name: to_numpy(structs.field(name), name, where)
            for name in PARTICLE_COLUMNS
        }
        if not self._keep_secondaries:
            offsets, particles = drop_secondaries(offsets, particles)
        return Events.from_columns(
            offsets,
            particles,
            event_type=decode_event_type(batch.column("event_type")),
            entry=np.arange(start, start + len(batch), dtype=np.int64),
            labels={skim: column(f"{PASSES}{skim}") for skim in self._skims},
            variables={name: column(name) for name in self._variables},
            file=where,
            **{name: column(name) for name in ID_COLUMNS},
        )

    def iterate(self, chunk_size: int) -> Iterator[Events]:
        """Yield consecutive events, at most ``chunk_size`` and a row group at a time.

        Raises
        ------
        InputError
            If the file is damaged or has missing values.
        """
        for _, events in self.iterate_rows(chunk_size):
            yield events

    def iterate_rows(self, chunk_size: int) -> Iterator[tuple[pa.RecordBatch, Events]]:
        """Yield as `iterate`, together with the rows as they are in the file."""
        with reading(self._location):
            file = pq.ParquetFile(self._location.path, page_checksum_verification=True)
        start = 0
        with file:
            require_same_length(self.n_events, file.metadata.num_rows, self._location)
            batches = file.iter_batches(
                chunk_size, columns=list(self._columns), use_threads=False
            )
            while True:
                with reading(self._location):
                    batch = next(batches, None)
                    if batch is None:
                        return
                    events = self._events(batch, start)
                start += len(events)
                if len(events):
                    yield batch, events

    def empty(self) -> Events:
        """Return no events, with the columns that `iterate` gives."""
        schema = pa.schema(list(self._columns.items()))
        return self._events(pa.RecordBatch.from_pylist([], schema=schema), 0)
