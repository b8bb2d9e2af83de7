"""Files that are well-formed and of wrong content, made from intact ones.

Each function yields what is wrong and the file; the next one takes its place.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from smartfilter.io import open_events
from smartfilter.io.mdst import EVENT_TYPE_BRANCH, MEMBERS, PARTICLES, TREE
from smartfilter.io.output import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = [
    "wrong_json",
    "wrong_mdst",
    "wrong_npz",
    "wrong_parquet",
    "wrong_root_scores",
]

_DTYPES = ("bool", "int8", "uint16", "int64", "uint64", "float32", "float64")
Columns = dict[str, Any]


def _mdst_columns(events: Events) -> Columns:
    """Return the branches that the reader needs, as arrays."""
    counts = events.counts
    columns: Columns = {
        PARTICLES: counts.astype(np.int32),
        EVENT_TYPE_BRANCH: events.event_type,
    }
    for name in ("event", "run", "experiment", "production"):
        columns[f"EventMetaData/m_{name}"] = getattr(events, name).astype(np.int32)
    for name, member in MEMBERS.items():
        if name in events.particles:
            offset = 1 if name == "mother_index" else 0
            values = events[name] + events[name].dtype.type(offset)
            columns[f"{PARTICLES}/{PARTICLES}.{member}"] = ak.unflatten(values, counts)
    return columns


def _write_tree(path: Path, columns: Columns, tree: str = TREE) -> Path:
    types = {
        key: array.type.content if isinstance(array, ak.Array) else array.dtype
        for key, array in columns.items()
    }
    with uproot.recreate(path) as file:
        handle = file.mktree(tree, types, counter_name=lambda key: f"n_{key}")
        handle.extend(columns)
    return path


def _cast(array: Any, dtype: str) -> Any:
    with np.errstate(all="ignore"):
        if isinstance(array, ak.Array):
            flat = ak.to_numpy(ak.flatten(array, axis=1)).astype(dtype)
            return ak.unflatten(flat, ak.num(array, axis=1))
        return np.asarray(array).astype(dtype)


def _other_counts(array: ak.Array) -> Iterator[tuple[str, Any]]:
    """Yield arrays with the same particles in events of other sizes, or with others."""
    counts, flat = ak.to_numpy(ak.num(array)), ak.to_numpy(ak.flatten(array))
    moved = counts.copy()
    moved[0], moved[1] = moved[0] - 1, moved[1] + 1
    yield "a particle in the next event", ak.unflatten(flat, moved)
    moved = counts.copy()
    moved[-1] -= 1
    yield "a particle less", ak.unflatten(flat[:-1], moved)
    yield "no particle", ak.unflatten(flat[:0], np.zeros_like(counts))
    yield "one number per event", flat[: len(counts)]


def wrong_mdst(intact: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Change one branch after the other, and the tree."""
    events, path = open_events(intact).read(), folder / "wrong.root"
    columns = _mdst_columns(events)
    for name, array in columns.items():
        rest = {key: value for key, value in columns.items() if key != name}
        yield f"without {name}", _write_tree(path, rest)
        yield f"{name} renamed", _write_tree(path, {**rest, f"{name}X": array})
        for dtype in _DTYPES:
            yield (
                f"{name} of {dtype}",
                _write_tree(path, {**rest, name: _cast(array, dtype)}),
            )
        if isinstance(array, ak.Array):
            for what, other in _other_counts(array):
                yield f"{name}: {what}", _write_tree(path, {**rest, name: other})
        else:
            twice = ak.from_regular(ak.Array(np.stack([array, array], axis=1)))
            yield f"{name} twice per event", _write_tree(path, {**rest, name: twice})
    none = _mdst_columns(events.take(slice(0)))
    yield "no entries", _write_tree(path, none)
    yield "other tree", _write_tree(path, columns, "events")
    yield (
        "negative counts",
        _write_tree(path, {**columns, PARTICLES: -columns[PARTICLES]}),
    )
    huge = columns[PARTICLES] + 2**30
    yield "huge counts", _write_tree(path, {**columns, PARTICLES: huge})
    with uproot.recreate(path) as file:
        file[TREE] = np.histogram(np.arange(9))
    yield "histogram for a tree", path
    with uproot.recreate(path):
        pass
    yield "no object", path


def _write_table(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def _cast_arrow(column: Any) -> Iterator[Any]:
    for dtype in (pa.int8(), pa.float64(), pa.string(), pa.bool_(), pa.null()):
        yield pa.nulls(len(column), dtype), f"null {dtype}"
        if not pa.types.is_null(dtype):
            values = [{"string": "x", "bool": True}.get(str(dtype), 1)] * len(column)
            yield pa.array(values, dtype), str(dtype)


def wrong_parquet(intact: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Change one column after the other, and the JSON document."""
    path = folder / "wrong.parquet"
    table, stored = pq.read_table(intact), pq.read_metadata(intact).metadata or {}
    for number, name in enumerate(table.column_names):
        yield f"without {name}", _write_table(path, table.drop_columns([name]))
        renamed = [f"{n}X" if n == name else n for n in table.column_names]
        yield f"{name} renamed", _write_table(path, table.rename_columns(renamed))
        for column, dtype in _cast_arrow(table.column(name)):
            other = table.set_column(number, name, column)
            yield f"{name} of {dtype}", _write_table(path, other)
    yield "no rows", _write_table(path, table.slice(0, 0))
    for what, document in _wrong_documents(stored.get(METADATA_KEY.encode(), b"{}")):
        other = table.replace_schema_metadata({METADATA_KEY: document})
        yield what, _write_table(path, other)
    yield "no document", _write_table(path, table.replace_schema_metadata({}))


def _wrong_documents(text: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield JSON documents of which one entry is missing or of another kind."""
    document: Mapping[str, Any] = json.loads(text)
    values: tuple[Any, ...] = (None, 0, -1.5, "x", [], {}, [1], {"x": 1}, [[]], 1e999)
    for key in document:
        rest = {k: v for k, v in document.items() if k != key}
        yield f"document without {key}", json.dumps(rest).encode()
        for value in values:
            text_of = json.dumps({**rest, key: value})
            yield f"document with {key} = {value!r}", text_of.encode()
    for other in (b"", b"null", b"[]", b"3", b"{", b"\xff\xfe", b"[" * 100_000):
        yield f"document {other[:8]!r}", other


def wrong_json(intact: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Change one entry of a document after the other; an ONNX file beside it stays."""
    path = folder / "wrong.json"
    if intact.with_suffix(".onnx").exists():
        shutil.copyfile(intact.with_suffix(".onnx"), path.with_suffix(".onnx"))
    for what, document in _wrong_documents(intact.read_bytes()):
        path.write_bytes(document)
        yield what, path


def wrong_npz(intact: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Change one array after the other."""
    path = folder / "wrong.npz"
    with np.load(intact) as file:
        arrays = {name: file[name] for name in file.files}
    for name, array in arrays.items():
        rest = {key: value for key, value in arrays.items() if key != name}
        changes = {
            "renamed": {f"{name}X": array},
            "missing": {},
            "shorter": {name: array[:-1]},
            "empty": {name: array[:0]},
            "flat": {name: array.ravel()},
            "one number": {name: np.float32(3.0)},
            "of text": {name: np.full(array.shape, "x")},
            "not a number": {name: np.full(array.shape, np.nan, np.float32)},
            "huge": {name: np.full(array.shape, 1e30)},
            "of objects": {name: np.full(array.shape, None)},
            "halves": {name: array + 0.5},
            "negative": {name: -1 - array},
        }
        for what, change in changes.items():
            np.savez(path, **rest, **change)
            yield f"{name}: {what}", path
    np.savez(path)
    yield "no array", path


def wrong_root_scores(intact: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Change one branch after the other, and the JSON document."""
    path = folder / "wrong.root"
    with uproot.open(intact) as file:
        columns: dict[str, NDArray[Any]] = file["scores"].arrays(library="np")
        document = str(file[METADATA_KEY])

    def write(other: Mapping[str, Any], text: str) -> Path:
        with uproot.recreate(path) as file:
            file.mktree("scores", {k: v.dtype for k, v in other.items()}).extend(other)
            file[METADATA_KEY] = text
        return path

    for name, column in columns.items():
        rest = {key: value for key, value in columns.items() if key != name}
        yield f"without {name}", write(rest, document)
        for dtype in _DTYPES:
            yield (
                f"{name} of {dtype}",
                write({**rest, name: column.astype(dtype)}, document),
            )
    for value in (-1, 2, 2**31 - 1):
        file_column = np.full_like(columns["file"], value)
        yield f"file {value}", write({**columns, "file": file_column}, document)
    for what, other in _wrong_documents(document.encode()):
        yield what, write(columns, other.decode(errors="replace"))
