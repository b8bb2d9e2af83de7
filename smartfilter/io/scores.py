"""Score files: what ``smartfilter score`` found and decided, one row per event.

Columns: ``file``, ``entry``, ``experiment``, ``run``, ``production``, ``event``,
``n_particles``, ``event_type``, ``keep``, and for each skim ``logit_<skim>``,
``score_<skim>``, ``keep_probability_<skim>``, ``weight_<skim>``. The JSON document under
the key ``smartfilter`` has ``kind`` (``scores``), ``schema_version``, ``skims``, ``files``
and what the caller adds: numbers of events, sums of weights, seed, mode, model.

The suffix decides the format. In Parquet ``file`` and ``event_type`` are strings. ROOT
files hold the tree ``scores``; as strings are costly there, ``file`` is an int32 position
in the list ``files`` of the JSON document (a TObjString), and ``event_type`` an int8
position in `EVENT_TYPES` (-1 unknown). `smartfilter.io.score_reader` reads both.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from smartfilter.errors import InputError, UsageError
from smartfilter.events import EVENT_TYPES
from smartfilter.io.output import METADATA_KEY, OutputFile, dump_metadata
from smartfilter.io.parquet import (
    EVENT_TYPE,
    encode_strings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "KIND",
    "TREE",
    "ScoreWriter",
    "check_suffix",
    "score_columns",
    "score_types",
]

KIND = "scores"
"""What the JSON document of a score file calls it."""

SCHEMA_VERSION = 1
TREE = "scores"
"""Name of the tree in ROOT files."""

_BLOCK_ROWS = 50_000
"""Rows that wait for a row group; with ten skims they and their compression take 20 MB."""
_FILE = pa.dictionary(pa.int32(), pa.string())
_EVENT_COLUMNS: dict[str, np.dtype[Any]] = {
    "file": np.dtype(np.int32),
    "entry": np.dtype(np.int64),
    "experiment": np.dtype(np.int64),
    "run": np.dtype(np.int64),
    "production": np.dtype(np.int64),
    "event": np.dtype(np.int64),
    "n_particles": np.dtype(np.int64),
    "event_type": np.dtype(np.int8),
    "keep": np.dtype(np.bool_),
}
_SKIM_COLUMNS: dict[str, np.dtype[Any]] = {
    "logit": np.dtype(np.float32),
    "score": np.dtype(np.float32),
    "keep_probability": np.dtype(np.float64),
    "weight": np.dtype(np.float64),
}


def score_columns(skims: Sequence[str]) -> dict[str, np.dtype[Any]]:
    """Return the columns of a score file and their dtypes, in order.

    ``file`` is listed with the dtype of its position in the list of files.
    """
    per_skim = {
        f"{name}_{skim}": dtype
        for skim in skims
        for name, dtype in _SKIM_COLUMNS.items()
    }
    return {**_EVENT_COLUMNS, **per_skim}


class _Backend(Protocol):
    """One file format of a score file."""

    def write(
        self, columns: Mapping[str, NDArray[Any]], files: tuple[str, ...]
    ) -> None: ...

    def finish(self, document: str) -> None: ...

    def abandon(self) -> None: ...


class _ParquetBackend:
    def __init__(self, path: Path, dtypes: Mapping[str, np.dtype[Any]]) -> None:
        self._schema = pa.schema(list(score_types(dtypes).items()))
        self._writer = pq.ParquetWriter(
            path, self._schema, compression="zstd", write_page_checksum=True
        )

    def write(
        self, columns: Mapping[str, NDArray[Any]], files: tuple[str, ...]
    ) -> None:
        names = {"file": files, "event_type": EVENT_TYPES}
        arrays = [
            encode_strings(column, names[name]) if name in names else pa.array(column)
            for name, column in columns.items()
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def finish(self, document: str) -> None:
        self._writer.add_key_value_metadata({METADATA_KEY: document})
        self._writer.close()

    def abandon(self) -> None:
        self._writer.close()


class _RootBackend:
    def __init__(self, path: Path, dtypes: Mapping[str, np.dtype[Any]]) -> None:
        self._file = uproot.recreate(path, compression=uproot.LZ4(1))
        self._tree = self._file.mktree(TREE, dict(dtypes))

    def write(
        self,
        columns: Mapping[str, NDArray[Any]],
        files: tuple[str, ...],  # noqa: ARG002  they are in the JSON document
    ) -> None:
        self._tree.extend(dict(columns))

    def finish(self, document: str) -> None:
        self._file[METADATA_KEY] = document
        self._file.close()

    def abandon(self) -> None:
        self._file.close()


_BACKENDS: dict[str, type[_ParquetBackend | _RootBackend]] = {
    ".parquet": _ParquetBackend,
    ".root": _RootBackend,
}


def score_types(dtypes: Mapping[str, np.dtype[Any]]) -> dict[str, pa.DataType]:
    """Return the types in Parquet of the columns of `score_columns`."""
    special = {"file": _FILE, "event_type": EVENT_TYPE}
    return {
        name: special.get(name, pa.from_numpy_dtype(dtype))
        for name, dtype in dtypes.items()
    }


def check_suffix(path: str | Path) -> str:
    """Return the suffix of a score file, in lower case.

    Raises
    ------
    UsageError
        If it is none of those that are known.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _BACKENDS:
        raise UsageError(
            f"output: expected a name that ends in {' or '.join(_BACKENDS)}, got '{path}'"
        )
    return suffix


class ScoreWriter(OutputFile):
    """Writes a score file; see the module's text.

    Parameters
    ----------
    path : str or Path
        Where the file will be, ending in ``.parquet`` or ``.root``; written to a
        temporary name and moved when complete.
    skims : sequence of str
        Names of the skims that are scored.
    metadata : mapping, optional
        Entries of the JSON document that are known at the start.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    UsageError
        If the suffix is another, the file exists and ``force`` is false, or the folder
        does not exist.
    """

    def __init__(
        self,
        path: str | Path,
        skims: Sequence[str],
        metadata: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
    ) -> None:
        suffix = check_suffix(path)
        super().__init__(path, force=force)
        self._skims = tuple(skims)
        self._dtypes = score_columns(self._skims)
        self._metadata = dict(metadata or {})
        self._files: dict[str, int] = {}
        self._blocks: list[dict[str, NDArray[Any]]] = []
        self._n_waiting = 0
        self._backend: _Backend = _BACKENDS[suffix](self._temporary, self._dtypes)

    def write(self, table: Mapping[str, Any]) -> None:
        """Append rows.

        Parameters
        ----------
        table : mapping of str to ndarray, each of shape (n_events,)
            The columns of `score_columns`. ``file`` is one string for all rows or an
            array of strings; ``event_type`` holds codes.

        Raises
        ------
        InputError
            If columns are missing, unknown or of unequal length.
        """
        self._check_open()
        if set(table) != set(self._dtypes):
            missing = sorted(set(self._dtypes) - set(table))
            unknown = sorted(set(table) - set(self._dtypes))
            raise InputError(
                f"score columns: missing {', '.join(missing) or 'none'}, "
                f"unknown {', '.join(unknown) or 'none'}"
            )
        n_rows = len(table["entry"])
        block = {
            name: np.asarray(table[name], dtype=dtype)
            for name, dtype in self._dtypes.items()
            if name != "file"
        }
        block = {"file": self._file_index(table["file"], n_rows), **block}
        for name, column in block.items():
            if column.shape != (n_rows,):
                raise InputError(
                    f"score column '{name}': expected {n_rows} rows, "
                    f"got shape {column.shape}"
                )
        self._blocks.append(block)
        self._n_waiting += n_rows
        if self._n_waiting >= _BLOCK_ROWS:
            self._flush()

    def _file_index(self, file: Any, n_rows: int) -> NDArray[np.int32]:
        """Return positions in the list of files, which grows by what is new."""
        if isinstance(file, str):
            position = self._files.setdefault(_as_text(file), len(self._files))
            return np.full(n_rows, position, dtype=np.int32)
        names, inverse = np.unique(np.asarray(file, dtype=str), return_inverse=True)
        positions = [
            self._files.setdefault(_as_text(str(name)), len(self._files))
            for name in names
        ]
        return np.array(positions, dtype=np.int32)[inverse]

    def _flush(self) -> None:
        blocks, self._blocks = self._blocks, []
        n_rows, self._n_waiting = self._n_waiting, 0
        if n_rows:
            columns = {  # taken out one by one: 10 MB less at once
                name: np.concatenate([block.pop(name) for block in blocks])
                for name in self._dtypes
            }
            self._backend.write(columns, tuple(self._files))

    def close(self, metadata: Mapping[str, Any] | None = None) -> None:
        """Complete the file and move it to its name.

        Parameters
        ----------
        metadata : mapping, optional
            Entries of the JSON document that are known at the end.
        """
        self._metadata.update(metadata or {})
        super().close()

    def _finish(self) -> None:
        self._flush()
        document = {
            **self._metadata,
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "skims": self._skims,
            "files": list(self._files),
        }
        self._backend.finish(dump_metadata(document))

    def _abandon(self) -> None:
        self._backend.abandon()


def _as_text(name: str) -> str:
    r"""Return a file name with what is no text in it as ``\udcff``, as Python shows it."""
    return name.encode("utf-8", "backslashreplace").decode()
