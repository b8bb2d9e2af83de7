"""What our Parquet files share: the JSON document, and checks that name the file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smartfilter.errors import InputError
from smartfilter.events import EVENT_TYPES, UNKNOWN_EVENT_TYPE
from smartfilter.io.output import METADATA_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "EVENT_TYPE",
    "check_columns",
    "decode_event_type",
    "encode_strings",
    "open_parquet",
    "to_numpy",
]

EVENT_TYPE = pa.dictionary(pa.int8(), pa.string())
"""Type of the column ``event_type``; null is unknown."""


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
    file = pq.ParquetFile(path, page_checksum_verification=True)
    stored = (file.metadata.metadata or {}).get(METADATA_KEY.encode())
    document = json.loads(stored) if stored else {}
    if not isinstance(document, dict) or document.get("kind") != kind:
        file.close()
        names = ", ".join(file.schema_arrow.names[:6])
        raise InputError(
            f"file '{path}': expected a {kind} file of smartfilter, got another "
            f"Parquet file with columns {names}, ...; name another file"
        )
    return file, document


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
