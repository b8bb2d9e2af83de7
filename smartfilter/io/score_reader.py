"""Reader of score files, at once or in blocks; see `smartfilter.io.scores`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smartfilter.documents import parse_json
from smartfilter.errors import InputError
from smartfilter.io.formats import reading
from smartfilter.io.output import METADATA_KEY
from smartfilter.io.parquet import (
    check_columns,
    decode_event_type,
    open_parquet,
    to_numpy,
)
from smartfilter.io.root_file import open_root
from smartfilter.io.scores import KIND, TREE, score_columns, score_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["ScoreFile", "ScoreSums", "ScoreTable", "read_scores", "verify_scores"]

_BLOCK_ROWS = 200_000
_TOLERANCE = 1e-9
"""Relative difference of two sums of the same numbers in another order; rounding gives
at most the number of terms times 2^-53."""


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


class ScoreFile:
    """A score file that is read in blocks, so that memory does not grow with it.

    Parameters
    ----------
    path : str or Path
        Written by ``smartfilter score`` (Parquet or ROOT).

    Raises
    ------
    InputError
        If there is no such file, or it is damaged or not a score file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"score file: no such file: '{path}'; check the path")
        with reading(path):
            with self.path.open("rb") as file:
                head = file.read(4)
            self._is_root = head == b"root"
            if head not in (b"PAR1", b"root"):
                raise InputError(
                    f"file '{path}': expected a score file (.parquet or .root), "
                    f"got a file that begins with {head!r}; name another file"
                )
            self.metadata: dict[str, Any]
            self.metadata, self.n_rows = (
                self._open_root() if self._is_root else self._open_parquet()
            )
            self.skims = tuple(_list_skims(self.metadata, self.path))

    def _open_parquet(self) -> tuple[dict[str, Any], int]:
        file, document = open_parquet(self.path, KIND)
        with file:
            dtypes = score_columns(_list_skims(document, self.path))
            check_columns(file, score_types(dtypes), self.path)
            return document, int(file.metadata.num_rows)

    def _open_root(self) -> tuple[dict[str, Any], int]:
        with open_root(self.path) as file:
            names = file.keys(cycle=False)
            stored = str(file[METADATA_KEY]) if METADATA_KEY in names else "{}"
            document: dict[str, Any] = parse_json(stored)
            if document.get("kind") != KIND or TREE not in names:
                raise InputError(
                    f"file '{self.path}': expected a {KIND} file of smartfilter, got a "
                    f"ROOT file with {', '.join(names) or 'nothing'}; name another file"
                )
            return document, int(file[TREE].num_entries)

    def iterate(
        self, columns: Sequence[str] | None = None, block_rows: int | None = None
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the columns of consecutive rows, as in `ScoreTable`.

        Parameters
        ----------
        columns : sequence of str, optional
            By default all of `smartfilter.io.scores.score_columns`.
        block_rows : int, optional
            Most rows at once; 200,000 by default.

        Raises
        ------
        InputError
            If the file is damaged or has missing values.
        """
        dtypes = score_columns(self.skims)
        chosen = {name: dtypes[name] for name in columns or dtypes}
        blocks = (self._iterate_root if self._is_root else self._iterate_parquet)(
            chosen, block_rows or _BLOCK_ROWS
        )
        while True:
            with reading(self.path):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def _iterate_parquet(
        self, dtypes: Mapping[str, np.dtype[Any]], block_rows: int
    ) -> Iterator[dict[str, NDArray[Any]]]:
        with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(
                block_rows, columns=list(dtypes), use_threads=False
            ):
                yield {name: self._decode(batch.column(name), name) for name in dtypes}

    def _decode(self, column: pa.Array, name: str) -> NDArray[Any]:
        if name == "file":
            index = to_numpy(column.indices, name, self.path)
            return _names_of(index, column.dictionary.to_pylist())
        if name == "event_type":
            return decode_event_type(column)
        return to_numpy(column, name, self.path)

    def _iterate_root(
        self, dtypes: Mapping[str, np.dtype[Any]], block_rows: int
    ) -> Iterator[dict[str, NDArray[Any]]]:
        with open_root(self.path) as file:
            tree = file[TREE]
            for start in range(0, self.n_rows, block_rows):
                stop = min(start + block_rows, self.n_rows)
                block = {
                    name: _read_branch(tree[name], dtype, self.path, start, stop)
                    for name, dtype in dtypes.items()
                }
                if "file" in block:
                    block["file"] = _names_of(block["file"], self.metadata["files"])
                yield block

    def read(self) -> ScoreTable:
        """Return the whole content.

        Raises
        ------
        InputError
            As `iterate`.
        """
        dtypes = {**score_columns(self.skims), "file": np.dtype(object)}
        blocks = list(self.iterate())
        columns = {
            name: np.concatenate([np.empty(0, dtype), *(b[name] for b in blocks)])
            for name, dtype in dtypes.items()
        }
        return ScoreTable(columns, self.metadata)


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


def _read_branch(
    branch: Any, dtype: np.dtype[Any], path: Path, start: int, stop: int
) -> NDArray[Any]:
    found = branch.array(entry_start=start, entry_stop=stop, library="np")
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
    return ScoreFile(path).read()


@dataclass(frozen=True)
class ScoreSums:
    """What the rows of a score file add up to.

    Parameters
    ----------
    n_generated, n_kept : int
    sum_weight, sum_weight2 : dict of str to float
        Sums of weights and of their squares, by skim.
    """

    n_generated: int
    n_kept: int
    sum_weight: dict[str, float]
    sum_weight2: dict[str, float]


def verify_scores(
    path: str | Path, *, advance: Callable[[int], None] | None = None
) -> ScoreSums:
    """Compare the numbers in a score file's metadata with its rows.

    Numbers of events have to be equal, sums of weights up to rounding (1e-9).

    Parameters
    ----------
    path : str or Path
    advance : callable, optional
        Told the number of rows read since its last call.

    Returns
    -------
    ScoreSums
        Of the rows.

    Raises
    ------
    InputError
        If the file cannot be read, or a number is missing or another.
    """
    file = ScoreFile(path)
    n_rows = n_kept = 0
    weights: dict[str, list[float]] = {skim: [] for skim in file.skims}
    squares: dict[str, list[float]] = {skim: [] for skim in file.skims}
    for block in file.iterate(["keep", *(f"weight_{skim}" for skim in file.skims)]):
        n_rows += len(block["keep"])
        n_kept += int(block["keep"].sum())
        for skim in file.skims:
            weight = block[f"weight_{skim}"]
            weights[skim].append(float(weight.sum()))
            squares[skim].append(float(np.square(weight).sum()))
        if advance is not None:
            advance(len(block["keep"]))
    sums = ScoreSums(
        n_rows,
        n_kept,
        {skim: math.fsum(parts) for skim, parts in weights.items()},
        {skim: math.fsum(parts) for skim, parts in squares.items()},
    )
    _compare(file, "n_generated", file.metadata.get("n_generated"), n_rows)
    _compare(file, "n_kept", file.metadata.get("n_kept"), n_kept)
    for name, found in (
        ("sum_weight", sums.sum_weight),
        ("sum_weight2", sums.sum_weight2),
    ):
        stored = file.metadata.get(name)
        for skim, value in found.items():
            said = stored.get(skim) if isinstance(stored, dict) else None
            _compare(file, f"{name} of {skim}", said, value)
    return sums


def _compare(file: ScoreFile, name: str, said: Any, found: float) -> None:
    """Refuse a number of the metadata that is not that of the rows."""
    tolerance = 0.0 if isinstance(found, int) else _TOLERANCE
    if (
        isinstance(said, bool)
        or not isinstance(said, int | float)
        or not math.isclose(said, found, rel_tol=tolerance, abs_tol=tolerance)
    ):
        raise InputError(
            f"{name}: expected {found}, the sum over the rows, got {said} in the metadata "
            f"of '{file.path}'; rows were lost or changed: score the events again"
        )
