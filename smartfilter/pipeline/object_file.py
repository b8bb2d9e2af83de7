"""Files of detector objects: the tracks and clusters of simulated events.

A Parquet file with one row per event, in the order of the labelled file that was written
with it: ``file`` (string, null if unknown) and ``entry``
(int64), the position of the event in the file that was simulated; ``experiment, run,
production, event`` (int64); ``event_type`` (dictionary of strings, null if unknown);
``content`` (uint64), a hash of the event's identity and generated particles;
``tracks`` and ``clusters`` (lists of structs of `TRACK_COLUMNS` and `CLUSTER_COLUMNS`).
They hold what reconstruction reads, bit for bit. The file's metadata have under the
key ``smartfilter`` a JSON document: ``kind`` (``detector objects``), ``schema_version`` and
``provenance``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smartfilter.errors import InputError, UsageError
from smartfilter.event_hash import hash_events
from smartfilter.events import EVENT_TYPES, ID_COLUMNS
from smartfilter.io.formats import reading
from smartfilter.io.locations import expand_paths
from smartfilter.io.parquet import (
    EVENT_TYPE,
    BatchWriter,
    check_columns,
    encode_strings,
    open_parquet,
    to_numpy,
)
from smartfilter.pipeline.objects import CLUSTER_COLUMNS, TRACK_COLUMNS, Detected, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = [
    "IDENTITY_COLUMNS",
    "ObjectBlock",
    "ObjectSource",
    "ObjectWriter",
    "hash_content",
    "open_objects",
]

KIND = "detector objects"
SCHEMA_VERSION = 1
_PURPOSE = 0x6F62_6A65_6374_7300
"""Purpose of the hash in ``content``: ASCII "objects"."""

_BLOCK_EVENTS = 10_000  # 10 MB

IDENTITY_COLUMNS: Mapping[str, pa.DataType] = {
    "file": pa.string(),
    "entry": pa.int64(),
    **dict.fromkeys(ID_COLUMNS, pa.int64()),
    "event_type": EVENT_TYPE,
}
"""Columns that say which event a row is about."""

_TABLES = {"tracks": TRACK_COLUMNS, "clusters": CLUSTER_COLUMNS}


def _list_type(columns: Mapping[str, np.dtype[Any]]) -> pa.DataType:
    fields = [
        pa.field(name, pa.from_numpy_dtype(dtype), nullable=False)
        for name, dtype in columns.items()
    ]
    return pa.list_(pa.field("element", pa.struct(fields), nullable=False))


_COLUMNS: Mapping[str, pa.DataType] = {
    **IDENTITY_COLUMNS,
    "content": pa.uint64(),
    **{name: _list_type(columns) for name, columns in _TABLES.items()},
}


def _leaves(kinds: str) -> list[str]:
    """Return the columns of tracks and clusters whose dtype is of these kinds."""
    return [
        f"{table}.list.element.{name}"
        for table, columns in _TABLES.items()
        for name, dtype in columns.items()
        if dtype.kind in kinds
    ]


def hash_content(events: Events) -> NDArray[np.uint64]:
    """Return what ties stored objects to their event, shape (n_events,)."""
    return hash_events(events, 0, purpose=_PURPOSE)


@dataclass(frozen=True, eq=False)
class ObjectBlock:
    """Consecutive events of a file of objects.

    Parameters
    ----------
    identity : pyarrow.RecordBatch
        The columns `IDENTITY_COLUMNS` and ``content``.
    detected : Detected
        Tracks and clusters of the same events.
    file : str
        The file of objects.
    start : int
        Row of the first event in that file.
    """

    identity: pa.RecordBatch
    detected: Detected
    file: str
    start: int

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.identity)


class ObjectWriter(BatchWriter):
    """Writes the objects of events to a Parquet file; see the module's text.

    Parameters
    ----------
    path : str or Path
        Where the file will be; written to a temporary name and moved when complete.
    provenance : mapping, optional
        What made the objects; JSON values.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    UsageError
        As `BatchWriter`.
    """

    def __init__(
        self,
        path: str | Path,
        provenance: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
    ) -> None:
        super().__init__(
            path,
            _COLUMNS,
            {
                "kind": KIND,
                "schema_version": SCHEMA_VERSION,
                "provenance": dict(provenance or {}),
            },
            block_rows=_BLOCK_EVENTS,
            force=force,
            use_dictionary=["file", "event_type", *_leaves("iu")],
            # The bytes of like significance side by side compress better.
            column_encoding=dict.fromkeys(_leaves("f"), "BYTE_STREAM_SPLIT"),
        )

    def write(self, events: Events, detected: Detected) -> None:
        """Append events and their objects.

        Raises
        ------
        UsageError
            If the numbers of events differ.
        """
        sizes = len(detected.tracks), len(detected.clusters)
        if sizes != (len(events), len(events)):
            raise UsageError(
                f"objects: expected {len(events)} events, got tracks of {sizes[0]} and "
                f"clusters of {sizes[1]}"
            )
        files = [events.file or None] * len(events)
        self.write_columns(
            {
                "file": pa.array(files, pa.string()),
                "entry": pa.array(events.entry),
                **{name: pa.array(getattr(events, name)) for name in ID_COLUMNS},
                "event_type": encode_strings(events.event_type, EVENT_TYPES),
                "content": pa.array(hash_content(events)),
                "tracks": _to_lists(detected.tracks, TRACK_COLUMNS),
                "clusters": _to_lists(detected.clusters, CLUSTER_COLUMNS),
            }
        )


def _to_lists(table: Table, columns: Mapping[str, np.dtype[Any]]) -> pa.ListArray:
    kind = _list_type(columns)
    rows = pa.StructArray.from_arrays(
        [pa.array(np.asarray(table[name], dtype)) for name, dtype in columns.items()],
        fields=list(kind.value_type),
    )
    offsets = pa.array(table.offsets.astype(np.int32))
    return pa.ListArray.from_arrays(offsets, rows, type=kind)


def _from_lists(lists: pa.ListArray, name: str, where: str) -> Table:
    if lists.null_count:
        to_numpy(lists, name, where)
    offsets = lists.offsets.to_numpy().astype(np.int64)
    rows = lists.flatten()
    columns = {key: to_numpy(rows.field(key), key, where) for key in _TABLES[name]}
    return Table(offsets - offsets[0], columns)


class ObjectSource:
    """Objects of the events in one or more files; made by `open_objects`.

    Parameters
    ----------
    files : sequence of str
        Paths, each of an existing file.

    Raises
    ------
    InputError
        If a file cannot be read, is of another kind or lacks a column.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.files = tuple(files)
        self.provenances: list[dict[str, Any]] = []
        self.n_events = 0
        for path in self.files:
            with reading(path):
                file, document = open_parquet(path, KIND)
                with file:
                    check_columns(file, dict(_COLUMNS), path)
                    self.provenances.append(dict(document["provenance"]))
                    self.n_events += int(file.metadata.num_rows)

    def iterate(self, block_events: int = 2_000) -> Iterator[ObjectBlock]:
        """Yield consecutive events, at most ``block_events`` at a time, never none.

        Raises
        ------
        InputError
            If a file is damaged or has missing values.
        """
        for path in self.files:
            yield from _iterate_file(path, block_events)


def _iterate_file(path: str, block_events: int) -> Iterator[ObjectBlock]:
    with reading(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
    start = 0
    with file:
        batches = file.iter_batches(block_events, columns=list(_COLUMNS))
        while True:
            with reading(path):
                batch = next(batches, None)
                if batch is None:
                    return
                block = _make_block(batch, path, start)
            start += len(block)
            if len(block):
                yield block


def _make_block(batch: pa.RecordBatch, path: str, start: int) -> ObjectBlock:
    tables = {name: _from_lists(batch.column(name), name, path) for name in _TABLES}
    for name in ("entry", "content", *ID_COLUMNS):
        to_numpy(batch.column(name), name, path)
    identity = batch.select([*IDENTITY_COLUMNS, "content"])
    return ObjectBlock(identity, Detected(**tables), path, start)


def open_objects(paths: str | Path | Sequence[str | Path]) -> ObjectSource:
    """Open files of detector objects.

    Every file is opened once here, so that a wrong one is found before any work.

    Parameters
    ----------
    paths : str, Path or sequence of them
        Paths or globs.

    Raises
    ------
    UsageError
        If no path is given.
    InputError
        If a path names no file, or one that cannot be read, is of another kind or lacks
        a column.
    """
    locations = expand_paths(paths)
    for location in locations:
        if location.is_remote:
            raise InputError(
                f"objects: expected a local file, got the URL '{location}'; copy it"
            )
    return ObjectSource([location.path for location in locations])
