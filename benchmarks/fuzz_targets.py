"""What `fuzz.py` damages: one row of `TARGETS` per kind of file.

A row says how to make intact files, which wrong files can be made besides damaging
bytes, which command reads them and with which exit code it refuses them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from smartfilter.io import LabelledWriter, MdstWriter, ScoreWriter, open_events
from smartfilter.io.mdst import EVENT_TYPE_BRANCH, MEMBERS, PARTICLES, TREE
from smartfilter.io.output import METADATA_KEY
from smartfilter.io.scores import score_columns
from smartfilter.model_file import default_model_path, load_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["TARGETS", "Target", "Workplace"]

_EXAMPLE = Path(__file__).parents[1] / "examples" / "events.root"
_REAL_FILES = Path(__file__).parents[2] / "shared" / "data" / "mdst"
_N_EVENTS = 25
_SKIM = "feiHadronicB0"


@dataclass(frozen=True)
class Workplace:
    """Where files are made.

    Parameters
    ----------
    folder : Path
        Scratch folder.
    events : Events
        A few events to write.
    """

    folder: Path
    events: Events

    @classmethod
    def make(cls, folder: Path) -> Workplace:
        """Take the first of the example events."""
        return cls(folder, open_events(_EXAMPLE).read().take(slice(_N_EVENTS)))

    def path(self, name: str) -> Path:
        """Return a path in the folder."""
        return self.folder / name


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Parameters
    ----------
    name : str
    intact : callable
        Makes files that are as they should be.
    command : tuple of str
        Arguments of smartfilter; ``FILE`` stands for the file, ``BESIDE`` for the one
        that belongs to it, ``EVENTS`` for one of events, ``OUTPUT`` for a score file
        that the command writes.
    wrong : callable, optional
        Yields names and files that are well-formed but of wrong content.
    refusals : tuple of int
        Exit codes of a refusal.
    beside : str
        Suffix of the file of the same name that belongs to it.
    """

    name: str
    intact: Callable[[Workplace], list[Path]]
    command: tuple[str, ...]
    wrong: Callable[[Workplace], Iterator[tuple[str, Path]]] | None = None
    refusals: tuple[int, ...] = (3,)
    beside: str = ""


def _write_mdst(place: Workplace) -> list[Path]:
    path = place.path("mdst.root")
    with MdstWriter(path, force=True) as writer:
        writer.write(place.events)
    real = sorted(_REAL_FILES.glob("mdst-v*.root")) if _REAL_FILES.is_dir() else []
    return [path, *real]


def _write_labelled(place: Workplace) -> list[Path]:
    path = place.path("labelled.parquet")
    n = len(place.events)
    labels = {_SKIM: np.arange(n) % 7 == 0, "other": np.arange(n) % 3 == 0}
    variables = {"sample_weight": np.ones(n, dtype=np.float32)}
    with LabelledWriter(path, list(labels), list(variables), force=True) as writer:
        writer.write(place.events.with_labels(labels, variables))
    return [path]


def _write_scores(place: Workplace, suffix: str) -> list[Path]:
    path = place.path(f"scores{suffix}")
    n, rng = 100, np.random.default_rng(5)
    table: dict[str, Any] = {
        name: rng.random(n).astype(dtype) for name, dtype in score_columns([_SKIM]).items()
    }
    table["file"] = np.array(["a.root", "b.root"])[np.arange(n) % 2]
    metadata = {"n_generated": n, "mode": "threshold", "seed": 0}
    with ScoreWriter(path, [_SKIM], metadata, force=True) as writer:
        writer.write(table)
    return [path]


def _write_model(place: Workplace) -> list[Path]:
    path = place.path("model.pt")
    path.write_bytes(default_model_path().read_bytes())
    return [path]


def _export_onnx(place: Workplace) -> Path:
    from smartfilter.onnx_export import export_network

    path = place.path("network.onnx")
    if not path.exists():
        export_network(*load_module(default_model_path()), path)
    return path


def _write_onnx(place: Workplace) -> list[Path]:
    return [_export_onnx(place)]


def _write_onnx_json(place: Workplace) -> list[Path]:
    return [_export_onnx(place).with_suffix(".json")]


def _write_working_point(place: Workplace) -> list[Path]:
    from smartfilter.model_file import read_model_info
    from smartfilter.working_point_file import SavedWorkingPoint, WorkingPointWriter

    names = read_model_info(default_model_path())[0].skim_names
    path = place.path("point.json")
    constants = dict.fromkeys(names, 1.5)
    with WorkingPointWriter(path, force=True) as writer:
        writer.write(SavedWorkingPoint(dict.fromkeys(names, 0.1), constants, 100.0), {})
    return [path]


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


def _wrong_mdst(place: Workplace) -> Iterator[tuple[str, Path]]:
    columns, path = _mdst_columns(place.events), place.path("wrong.root")
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
    none = _mdst_columns(place.events.take(slice(0)))
    yield "no entries", _write_tree(path, none)
    yield "other tree", _write_tree(path, columns, "events")
    yield "negative counts", _write_tree(path, {**columns, PARTICLES: -columns[PARTICLES]})
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


def _wrong_parquet(
    place: Workplace, write: Callable[[Workplace], list[Path]]
) -> Iterator[tuple[str, Path]]:
    """Change one column after the other, and the JSON document."""
    table, path = pq.read_table(write(place)[0]), place.path("wrong.parquet")
    for number, name in enumerate(table.column_names):
        yield f"without {name}", _write_table(path, table.drop_columns([name]))
        renamed = [f"{n}X" if n == name else n for n in table.column_names]
        yield f"{name} renamed", _write_table(path, table.rename_columns(renamed))
        for column, dtype in _cast_arrow(table.column(name)):
            other = table.set_column(number, name, column)
            yield f"{name} of {dtype}", _write_table(path, other)
    yield "no rows", _write_table(path, table.slice(0, 0))
    for what, document in _wrong_documents(table.schema.metadata[METADATA_KEY.encode()]):
        other = table.replace_schema_metadata({METADATA_KEY: document})
        yield what, _write_table(path, other)
    yield "no document", _write_table(path, table.replace_schema_metadata({}))


def _wrong_labelled(place: Workplace) -> Iterator[tuple[str, Path]]:
    return _wrong_parquet(place, _write_labelled)


def _wrong_parquet_scores(place: Workplace) -> Iterator[tuple[str, Path]]:
    return _wrong_parquet(place, lambda p: _write_scores(p, ".parquet"))


def _wrong_documents(text: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield JSON documents of which one entry is missing or of another kind."""
    import json

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


def _wrong_json(
    place: Workplace, write: Callable[[Workplace], list[Path]]
) -> Iterator[tuple[str, Path]]:
    intact, path = write(place)[0], place.path("wrong.json")
    if intact.with_suffix(".onnx").exists():
        shutil.copyfile(intact.with_suffix(".onnx"), path.with_suffix(".onnx"))
    for what, document in _wrong_documents(intact.read_bytes()):
        path.write_bytes(document)
        yield what, path


def _wrong_onnx_json(place: Workplace) -> Iterator[tuple[str, Path]]:
    return _wrong_json(place, _write_onnx_json)


def _wrong_working_point(place: Workplace) -> Iterator[tuple[str, Path]]:
    return _wrong_json(place, _write_working_point)


def _wrong_root_scores(place: Workplace) -> Iterator[tuple[str, Path]]:
    path, intact = place.path("wrong.root"), _write_scores(place, ".root")[0]
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
            yield f"{name} of {dtype}", write({**rest, name: column.astype(dtype)}, document)
    for value in (-1, 2, 2**31 - 1):
        file_column = np.full_like(columns["file"], value)
        yield f"file {value}", write({**columns, "file": file_column}, document)
    for what, other in _wrong_documents(document.encode()):
        yield what, write(columns, other.decode(errors="replace"))


_SCORE = ("--json", "score", "FILE", "-o", "OUTPUT")
_RATES = ("--json", "speedup", "FILE", "--skim", _SKIM)
_ONNX = ("--json", "score", "EVENTS", "--event-type", "mixed", "-o", "OUTPUT", "--model")

TARGETS: tuple[Target, ...] = (
    Target("mdst ROOT", _write_mdst, _SCORE, _wrong_mdst),
    Target("labelled Parquet", _write_labelled, _SCORE, _wrong_labelled),
    Target(
        "scores Parquet",
        lambda place: _write_scores(place, ".parquet"),
        _RATES,
        _wrong_parquet_scores,
    ),
    Target(
        "scores ROOT", lambda place: _write_scores(place, ".root"), _RATES, _wrong_root_scores
    ),
    Target("model file", _write_model, ("--json", "inspect", "FILE"), refusals=(4,)),
    Target("ONNX network", _write_onnx, (*_ONNX, "FILE"), refusals=(4,), beside=".json"),
    Target(
        "ONNX document",
        _write_onnx_json,
        (*_ONNX, "BESIDE"),
        _wrong_onnx_json,
        refusals=(4,),
        beside=".onnx",
    ),
    Target(
        "working point",
        _write_working_point,
        ("--json", "score", "EVENTS", "-o", "OUTPUT", "--working-point", "FILE"),
        _wrong_working_point,
        refusals=(2, 3),  # 2: of another model or of other skims
    ),
)
"""Kinds of files that are damaged."""
