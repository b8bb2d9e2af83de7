"""Score files: what ``smartfilter score`` found and decided, one row per event.

Columns: ``file``, ``entry``, ``experiment``, ``run``, ``production``, ``event``,
``n_particles``, ``event_type``, ``keep``, and for each skim ``logit_<skim>``,
``score_<skim>``, ``keep_probability_<skim>``, ``weight_<skim>``. The JSON document under
the key ``smartfilter`` has ``kind`` (``scores``), ``schema_version``, ``skims``, ``files``
and what the caller adds: numbers of events, sums of weights, seed, mode, model.

The suffix decides the format. In Parquet ``file`` and ``event_type`` are strings. ROOT
files hold the tree ``scores``; as strings are costly there, ``file`` is an int32 position
in the list ``files`` of the JSON document (a TObjString), and ``event_type`` an int8
position in `EVENT_TYPES` (-1 unknown). `read_scores` returns the same for both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from smartfilter.errors import InputError, UsageError
from smartfilter.events import EVENT_TYPES
from smartfilter.io.formats import reading
from smartfilter.io.output import METADATA_KEY, OutputFile, dump_metadata
from smartfilter.io.parquet import (
    EVENT_TYPE,
    check_columns,
    decode_event_type,
    encode_strings,
    open_parquet,
    to_numpy,
)
from smartfilter.io.root_file import open_root

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["ScoreTable", "ScoreWriter", "read_scores", "score_columns"]

KIND = "scores"
SCHEMA_VERSION = 1
TREE = "scores"
_BLOCK_ROWS = 200_000
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


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The content of a score file.

    Parameters
    ----------
    columns : mapping of str to ndarray, each of shape (n_events,)
        See `score_columns`; ``file`` holds strings (dtype object), ``event_type``
        int8 positions in `EVENT_TYPES`.
    metadata : mapping
        The JSON document of the file.
    """

    columns: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, Any]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.columns["entry"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column, shape (n_events,)."""
        return self.columns[name]

    @property
    def skims(self) -> tuple[str, ...]:
        """Names of the skims that were scored."""
        return tuple(self.metadata["skims"])


class _Backend(Protocol):
    """One file format of a score file."""

    def write(
        self, columns: Mapping[str, NDArray[Any]], files: tuple[str, ...]
    ) -> None: ...

    def finish(self, document: str) -> None: ...

    def abandon(self) -> None: ...


class _ParquetBackend:
    def __init__(self, path: Path, dtypes: Mapping[str, np.dtype[Any]]) -> None:
        self._schema = pa.schema(list(_parquet_types(dtypes).items()))
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


def _parquet_types(dtypes: Mapping[str, np.dtype[Any]]) -> dict[str, pa.DataType]:
    special = {"file": _FILE, "event_type": EVENT_TYPE}
    return {
        name: special.get(name, pa.from_numpy_dtype(dtype))
        for name, dtype in dtypes.items()
    }


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
        suffix = Path(path).suffix.lower()
        if suffix not in _BACKENDS:
            raise UsageError(
                f"output: expected a name that ends in {' or '.join(_BACKENDS)}, "
                f"got '{path}'"
            )
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
            columns = {
                name: np.concatenate([block[name] for block in blocks])
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


def _names_of(index: NDArray[Any], files: Sequence[str]) -> NDArray[Any]:
    if len(index) and not 0 <= index.min() <= index.max() < len(files):
        raise InputError(
            f"column 'file': expected 0 to {len(files) - 1}, got {index.min()} to "
            f"{index.max()}; the file is damaged: write it again"
        )
    names: NDArray[Any] = np.array(files, dtype=object)[index]
    return names


def _list_skims(document: Mapping[str, Any], path: Path) -> list[str]:
    skims = document.get("skims")
    if not isinstance(skims, list) or not skims:
        raise InputError(
            f"score file '{path}': expected a list of skims, got {skims!r}; "
            f"write it again"
        )
    return list(map(str, skims))


def _read_parquet(path: Path) -> ScoreTable:
    file, document = open_parquet(path, KIND)
    with file:
        dtypes = score_columns(_list_skims(document, path))
        check_columns(file, _parquet_types(dtypes), path)
        table = file.read(columns=list(dtypes), use_threads=False).combine_chunks()
    columns: dict[str, NDArray[Any]] = {}
    for name in dtypes:
        column = table.column(name)
        if name in ("file", "event_type"):
            column = column.unify_dictionaries().combine_chunks()
        if name == "file":
            index = to_numpy(column.indices, name, path)
            columns[name] = _names_of(index, column.dictionary.to_pylist())
        elif name == "event_type":
            columns[name] = decode_event_type(column)
        else:
            columns[name] = to_numpy(column, name, path)
    return ScoreTable(columns, document)


def _read_root(path: Path) -> ScoreTable:
    with open_root(path) as file:
        names = file.keys(cycle=False)
        stored = str(file[METADATA_KEY]) if METADATA_KEY in names else "{}"
        document = json.loads(stored)
        if document.get("kind") != KIND or TREE not in names:
            raise InputError(
                f"file '{path}': expected a {KIND} file of smartfilter, got a ROOT file "
                f"with {', '.join(names) or 'nothing'}; name another file"
            )
        tree = file[TREE]
        columns = {
            name: _read_branch(tree[name], dtype, path)
            for name, dtype in score_columns(_list_skims(document, path)).items()
        }
    columns["file"] = _names_of(columns["file"], document["files"])
    return ScoreTable(columns, document)


def _read_branch(branch: Any, dtype: np.dtype[Any], path: Path) -> NDArray[Any]:
    found = branch.array(library="np")
    if found.dtype != dtype:
        raise InputError(
            f"column '{branch.name}': expected {dtype}, got {found.dtype} in '{path}'; "
            f"write the file again with this version"
        )
    values: NDArray[Any] = found
    return values


def read_scores(path: str | Path) -> ScoreTable:
    """Read a score file.

    Raises
    ------
    InputError
        If there is no such file, or it is damaged or not a score file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"score file: no such file: '{path}'; check the path")
    with reading(path):
        with path.open("rb") as file:
            head = file.read(4)
        if head == b"PAR1":
            return _read_parquet(path)
        if head == b"root":
            return _read_root(path)
    raise InputError(
        f"file '{path}': expected a score file (.parquet or .root), "
        f"got a file that begins with {head!r}; name another file"
    )
