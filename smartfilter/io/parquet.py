"""What our Parquet files share: the JSON document, writing, checks that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smartfilter.errors import InputError
from smartfilter.events import EVENT_TYPES, UNKNOWN_EVENT_TYPE
from smartfilter.io.output import METADATA_KEY, OutputFile, dump_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "EVENT_TYPE",
    "BatchWriter",
    "check_columns",
    "decode_event_type",
    "encode_strings",
    "open_parquet",
    "read_kind",
    "to_numpy",
]

EVENT_TYPE = pa.dictionary(pa.int8(), pa.string())
"""Type of the column ``event_type``; null is unknown."""

_MAGIC = b"PAR1"

_USERS = {
    "labelled": "it is for smartfilter train, evaluate, score and inspect",
    "scores": "it is for smartfilter working-point, speedup and inspect",
    "detector objects": "it is for smartfilter skim and inspect",
    "labels": "smartfilter skim --events LABELLED writes labels with their events",
}
"""Kind of a file -> commands that take it."""


class BatchWriter(OutputFile):
    """Writes record batches to a Parquet file, one row group per block.

    Parameters
    ----------
    path : str or Path
        Where the file will be; written to a temporary name and moved when complete.
    columns : mapping of str to pyarrow.DataType
    document : mapping
        The file's JSON document, with ``kind`` and ``schema_version``.
    block_rows : int
        Rows that are collected for a row group.
    force : bool
        Whether an existing file may be replaced.
    **options
        Of `pyarrow.parquet.ParquetWriter`.

    Raises
    ------
    UsageError
        As `OutputFile`, or if the document has no JSON form.
    """

    def __init__(
        self,
        path: str | Path,
        columns: Mapping[str, pa.DataType],
        document: Mapping[str, Any],
        *,
        block_rows: int,
        force: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(path, force=force)
        self._schema = pa.schema(
            list(columns.items()), metadata={METADATA_KEY: dump_metadata(document)}
        )
        self._block_rows = block_rows
        self._batches: list[pa.RecordBatch] = []
        self._n_rows = 0
        self._writer = pq.ParquetWriter(
            self._temporary,
            self._schema,
            compression="zstd",
            write_page_checksum=True,
            **options,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._schema.names)

    def write_columns(self, columns: Mapping[str, pa.Array]) -> None:
        """Append rows; the columns are those of the file, in any order."""
        self._check_open()
        arrays = [columns[name] for name in self.columns]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._batches.append(batch)
        self._n_rows += len(batch)
        if self._n_rows >= self._block_rows:
            self._flush()

    def _flush(self) -> None:
        if self._n_rows:
            table = pa.Table.from_batches(self._batches, self._schema)
            self._writer.write_table(table)
        self._batches, self._n_rows = [], 0

    def _finish(self) -> None:
        self._flush()
        self._writer.close()

    def _abandon(self) -> None:
        self._writer.close()


def open_parquet(path: str | Path, kind: str) -> tuple[pq.ParquetFile, dict[str, Any]]:
    """Open one of our Parquet files.

    Parameters
    ----------
    path : str or Path
        The file.
    kind : str
        What its JSON document must call itself.

    Returns
    -------
    tuple of pyarrow.parquet.ParquetFile and dict
        The open file and its JSON document.

    Raises
    ------
    InputError
        If the file is of another kind.
    """
    with Path(path).open("rb") as stream:
        begin = stream.read(len(_MAGIC))
    if begin and begin != _MAGIC:
        raise InputError(
            f"file '{path}': expected a {kind} file of smartfilter, Parquet, got a file "
            f"that begins with {begin!r}; name another file"
        )
    file = pq.ParquetFile(path, page_checksum_verification=True)
    stored = (file.metadata.metadata or {}).get(METADATA_KEY.encode())
    document = json.loads(stored) if stored else {}
    if not isinstance(document, dict) or document.get("kind") != kind:
        file.close()
        raise InputError(
            f"file '{path}': expected a {kind} file of smartfilter, got "
            f"{_describe(document, file.schema_arrow)}"
        )
    return file, document


def read_kind(path: str | Path) -> str | None:
    """Return what one of our Parquet files calls itself; None for any other file.

    Raises
    ------
    pyarrow.ArrowException, OSError or ValueError
        If it begins like a Parquet file and cannot be read.
    """
    with Path(path).open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            return None
    stored = (pq.read_metadata(path).metadata or {}).get(METADATA_KEY.encode())
    document = json.loads(stored) if stored else {}
    kind = document.get("kind") if isinstance(document, dict) else None
    return kind if isinstance(kind, str) else None


def _describe(document: Any, schema: pa.Schema) -> str:
    """Return what a Parquet file is, and what to do with it."""
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind in _USERS:
        return f"one of {kind}; {_USERS[kind]}"
    names = ", ".join(schema.names[:6])
    return f"another Parquet file with columns {names}, ...; name another file"


def check_columns(
    file: pq.ParquetFile, expected: dict[str, pa.DataType], path: str | Path
) -> None:
    """Check that a file has these columns with these types.

    Raises
    ------
    InputError
        If a column is missing or has another type.
    """
    schema = file.schema_arrow
    for name, dtype in expected.items():
        found = schema.field(name).type if name in schema.names else "no such column"
        if found != dtype:
            raise InputError(
                f"column '{name}': expected {dtype}, got {found} in '{path}'; "
                f"write the file again with this version"
            )


def to_numpy(
    array: pa.Array | pa.ChunkedArray, name: str, path: str | Path
) -> NDArray[Any]:
    """Return a column as a writable array.

    Raises
    ------
    InputError
        If the column has missing values.
    """
    if array.null_count:
        raise InputError(
            f"column '{name}': expected a value in every row, got {array.null_count} "
            f"missing ones in '{path}'; write the file again"
        )
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values if values.flags.writeable else values.copy()


def encode_strings(codes: NDArray[Any], names: tuple[str, ...]) -> pa.DictionaryArray:
    """Return strings from positions in a list of names; negative positions are null."""
    indices = pa.array(codes, mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))


def decode_event_type(column: pa.DictionaryArray) -> NDArray[np.int8]:
    """Return event type codes; null and names that are not known are -1."""
    codes = {name: code for code, name in enumerate(EVENT_TYPES)}
    names = column.dictionary.to_pylist()
    table = [codes.get(name, UNKNOWN_EVENT_TYPE) for name in names]
    lookup = np.array([*table, UNKNOWN_EVENT_TYPE], dtype=np.int8)
    positions = column.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    codes_of_rows: NDArray[np.int8] = lookup[positions]
    return codes_of_rows
