"""What `fuzz.py` damages: one row of `TARGETS` per kind of file.

A row says how to make intact files, which wrong files can be made besides damaging
bytes, which command reads them and with which exit code it refuses them.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
from fuzz_contents import (
    wrong_json,
    wrong_mdst,
    wrong_npz,
    wrong_parquet,
    wrong_root_scores,
)

from smartfilter.io import LabelledWriter, MdstWriter, ScoreWriter, open_events
from smartfilter.io.scores import score_columns
from smartfilter.model_file import default_model_path, load_module
from smartfilter.pdg import load_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["TARGETS", "Target", "Workplace"]

_EXAMPLE = Path(__file__).parents[1] / "examples" / "events.root"
_REAL_FILES = Path(__file__).parents[2] / "shared" / "data" / "mdst"
_N_EVENTS = 25
_SKIM = "feiHadronicB0"
_FEATURES = {
    "prod_time": "prodTime",
    "energy": "energy",
    "x": "x",
    "y": "y",
    "z": "z",
    "px": "px",
    "py": "py",
    "pz": "pz",
}
"""Our features and their names in the public data sets, in their order."""


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
        From an intact file and a folder to names and files of wrong content.
    refusals : tuple of int
        Exit codes of a refusal.
    beside : str
        Suffix of the file of the same name that belongs to it.
    talk : str
        Regular expression of lines that its library prints, come what may.
    needs : tuple of str
        Packages and modules without which it is left out.
    """

    name: str
    intact: Callable[[Workplace], list[Path]]
    command: tuple[str, ...]
    wrong: Callable[[Path, Path], Iterator[tuple[str, Path]]] | None = None
    refusals: tuple[int, ...] = (3,)
    beside: str = ""
    talk: str = ""
    needs: tuple[str, ...] = ()


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
        name: rng.random(n).astype(dtype)
        for name, dtype in score_columns([_SKIM]).items()
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
    from smartfilter.working_point_file import (
        SavedWorkingPoint,
        TypeWorkingPoint,
        WorkingPointWriter,
    )

    names = read_model_info(default_model_path())[0].skim_names
    path = place.path("point.json")
    numbers = TypeWorkingPoint(dict.fromkeys(names, 0.1), dict.fromkeys(names, 1.5))
    point = SavedWorkingPoint(*numbers, 100.0, by_event_type={"charged": numbers})
    with WorkingPointWriter(path, force=True) as writer:
        writer.write(point, {})
    return [path]


def _jagged(values: NDArray[Any], events: Events) -> Any:
    return ak.unflatten(values, events.counts)


def _write_data_set(
    place: Workplace, names: Mapping[str, str], label: str
) -> list[Path]:
    """Write a public data set's Parquet file; ``names`` are theirs by ours."""
    events, path = place.events, place.path(f"{label}.parquet")
    columns = {theirs: _jagged(events[ours], events) for ours, theirs in names.items()}
    labels = np.arange(len(events)) % 2 == 0
    content = {"particles": ak.zip(columns), "label": labels}
    if "PDG" in columns:
        content["evtNum"] = np.arange(len(events), dtype=np.int32)
    ak.to_parquet(ak.zip(content, depth_limit=1), path)
    return [path]


def _write_smartbkg(place: Workplace) -> list[Path]:
    own = {"pdg": "pdg", "array_index": "index", "mother_index": "mother_index"}
    return _write_data_set(place, {**own, **_FEATURES}, "smartbkg")


def _write_basf2_training(place: Workplace) -> list[Path]:
    own = {"pdg": "PDG", "array_index": "arrayIndex", "mother_index": "motherIndex"}
    return _write_data_set(place, {**own, **_FEATURES}, "basf2")


def _write_npz(place: Workplace) -> list[Path]:
    """Write the layout of pd4ml: features and token padded to 100 particles."""
    events, path = place.events, place.path("data.npz")
    x = np.zeros((len(events), 100, 9), dtype=np.float32)
    mother = np.full((len(events), 100), -1, dtype=np.float32)
    tokens = load_vocabulary("published").encode(events["pdg"])
    for i, (first, last) in enumerate(pairwise(events.offsets)):
        n = min(last - first, 100)
        rows = slice(first, first + n)
        x[i, :n, :8] = np.stack([events[name][rows] for name in _FEATURES], axis=1)
        x[i, :n, 8] = tokens[rows]
        mother[i, :n] = np.minimum(events["mother_index"][rows], n - 1)
    half, labels = len(events) // 2, np.arange(len(events)) % 2
    arrays = {}
    for name, part in (("train", slice(half)), ("test", slice(half, None))):
        arrays |= {f"X_{name}_0": x[part], f"X_{name}_1": mother[part]}
        arrays[f"y_{name}"] = labels[part]
    np.savez(path, **arrays)
    return [path]


def _write_hepmc(place: Workplace) -> list[Path]:
    """Write chains of decays with pyhepmc, and as gzip."""
    import pyhepmc

    path, events = place.path("events.hepmc"), place.events
    with pyhepmc.open(str(path), "w", format="HepMC3") as file:
        for number in range(len(events)):
            event = events.take([number])
            record = pyhepmc.GenEvent(pyhepmc.Units.GEV, pyhepmc.Units.CM)
            record.event_number = number
            mother = None
            for row in range(event.n_particles):
                four = [
                    float(event[name][row]) for name in ("px", "py", "pz", "energy")
                ]
                vertex = pyhepmc.GenVertex(
                    [float(event[name][row]) for name in ("x", "y", "z", "prod_time")]
                )
                status = 1 if row == event.n_particles - 1 else 2
                pdg = int(event["pdg"][row])
                particle = pyhepmc.GenParticle(four, pdg, status)
                if mother is not None:
                    vertex.add_particle_in(mother)
                    vertex.add_particle_out(particle)
                    record.add_vertex(vertex)
                mother = particle
            file.write(record)
    zipped = place.path("events.hepmc.gz")
    zipped.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    return [path, zipped]


_SCORE = ("--json", "score", "FILE", "-o", "OUTPUT")
_RATES = ("--json", "speedup", "FILE", "--skim", _SKIM)
_ONNX = (
    "--json",
    "score",
    "EVENTS",
    "--event-type",
    "mixed",
    "-o",
    "OUTPUT",
    "--model",
)

_ALL: tuple[Target, ...] = (
    Target("mdst ROOT", _write_mdst, _SCORE, wrong_mdst),
    Target("labelled Parquet", _write_labelled, _SCORE, wrong_parquet),
    Target(
        "SmartBKG Parquet",
        _write_smartbkg,
        _SCORE,
        wrong_parquet,
        needs=("smartfilter.io.smartbkg",),
    ),
    Target(
        "basf2 training Parquet",
        _write_basf2_training,
        _SCORE,
        wrong_parquet,
        needs=("smartfilter.io.basf2_training",),
    ),
    Target("npz", _write_npz, _SCORE, wrong_npz, needs=("smartfilter.io.pd4ml",)),
    Target(
        "HepMC",
        _write_hepmc,
        _SCORE,
        talk=r"\d+ +vs +\d+ expected",
        needs=("smartfilter.io.hepmc", "pyhepmc"),
    ),
    Target(
        "scores Parquet",
        lambda place: _write_scores(place, ".parquet"),
        _RATES,
        wrong_parquet,
    ),
    Target(
        "scores ROOT",
        lambda place: _write_scores(place, ".root"),
        _RATES,
        wrong_root_scores,
    ),
    Target("model file", _write_model, ("--json", "inspect", "FILE"), refusals=(4,)),
    Target(
        "ONNX network", _write_onnx, (*_ONNX, "FILE"), refusals=(4,), beside=".json"
    ),
    Target(
        "ONNX document",
        _write_onnx_json,
        (*_ONNX, "BESIDE"),
        wrong_json,
        refusals=(4,),
        beside=".onnx",
    ),
    Target(
        "working point",
        _write_working_point,
        ("--json", "score", "EVENTS", "-o", "OUTPUT", "--working-point", "FILE"),
        wrong_json,
        refusals=(2, 3),  # 2: of another model or of other skims
    ),
)

TARGETS = tuple(t for t in _ALL if all(find_spec(name) for name in t.needs))
"""Kinds of files that are damaged."""
