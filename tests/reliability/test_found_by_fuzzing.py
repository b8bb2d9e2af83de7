"""One test for each way to fail that damaged files have shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from smartfilter.errors import InputError, ModelFileError
from smartfilter.io import MdstWriter, ScoreWriter, open_events, read_scores
from smartfilter.io.mdst import MEMBERS, PARTICLES
from smartfilter.io.output import METADATA_KEY
from smartfilter.io.scores import score_columns
from smartfilter.model_file import default_model_path, load_model
from smartfilter.rates import read_rates
from smartfilter.working_point_file import (
    SavedWorkingPoint,
    WorkingPointWriter,
    read_working_point,
)

SKIM = "feiHadronicB0"


def write_mdst(path: Path, events: Any, **changes: Any) -> Path:
    """Write the branches that the reader needs; changes are flat columns."""
    counts = events.counts
    columns: dict[str, Any] = {PARTICLES: counts.astype(np.int32)}
    for name in ("event", "run", "experiment", "production"):
        columns[f"EventMetaData/m_{name}"] = getattr(events, name).astype(np.int32)
    for name, member in MEMBERS.items():
        if name in events.particles:
            values = changes.get(name, events[name])
            if name == "mother_index":
                values = values + 1
            columns[f"{PARTICLES}/{PARTICLES}.{member}"] = ak.unflatten(values, counts)
    types = {
        key: array.type.content if isinstance(array, ak.Array) else array.dtype
        for key, array in columns.items()
    }
    with uproot.recreate(path) as file:
        file.mktree("tree", types, counter_name=lambda key: f"n_{key}").extend(columns)
    return path


def test_reader_wider_integers_that_fit_are_read(tmp_path, some_events):
    wide = some_events["pdg"].astype(np.int64)
    path = write_mdst(tmp_path / "a.root", some_events, pdg=wide)
    found = open_events(path).read()["pdg"]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, some_events["pdg"])


@pytest.mark.parametrize("name", ["pdg", "mother_index"])
def test_reader_integers_that_would_wrap_are_refused(tmp_path, some_events, name):
    """2^32 more would come out as the same 32-bit number."""
    wide = some_events[name].astype(np.int64)
    wide[7] += 1 << 32
    path = write_mdst(tmp_path / "a.root", some_events, **{name: wide})
    with pytest.raises(InputError, match=rf"{MEMBERS[name]}.*that int32 holds"):
        open_events(path).read()


@pytest.mark.parametrize(
    ("name", "dtype"), [("pdg", np.uint32), ("px", np.bool_), ("status", np.int32)]
)
def test_reader_numbers_of_another_kind_are_refused(tmp_path, some_events, name, dtype):
    values = some_events[name].astype(dtype)
    path = write_mdst(tmp_path / "a.root", some_events, **{name: values})
    with pytest.raises(InputError, match=rf"{MEMBERS[name]}.*expected a jagged array"):
        open_events(path)


def test_reader_double_beyond_float_becomes_infinite_without_warning(
    tmp_path, some_events
):
    values = some_events["energy"].astype(np.float64)
    values[3] = 1e300
    path = write_mdst(tmp_path / "a.root", some_events, energy=values)
    assert np.isinf(open_events(path).read()["energy"][3])


def test_reader_file_shorter_than_its_header_is_refused(tmp_path, some_events):
    """The events are at the front: without the check they would be read."""
    path = tmp_path / "a.root"
    with MdstWriter(path) as writer:
        writer.write(some_events)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=rf"{len(content)} bytes as its header says"):
        open_events(path)


def write_scores(path: Path, skims: Any = (SKIM,), **changes: Any) -> Path:
    """Write a score file with other columns or another list of skims."""
    n = 6
    table: dict[str, Any] = {
        name: np.zeros(n, dtype=dtype) for name, dtype in score_columns([SKIM]).items()
    }
    with ScoreWriter(path, [SKIM], {"n_generated": n}) as writer:
        writer.write({**table, "file": "a.root"})
    with uproot.open({str(path): None}) as file:
        columns = file["scores"].arrays(library="np") | changes
        document = json.loads(str(file[METADATA_KEY])) | {"skims": skims}
    with uproot.recreate(path) as file:
        types = {name: column.dtype for name, column in columns.items()}
        file.mktree("scores", types).extend(columns)
        file[METADATA_KEY] = json.dumps(document)
    return path


def test_scores_root_with_other_types_is_refused(tmp_path):
    path = write_scores(tmp_path / "s.root", entry=np.arange(6, dtype=np.float64))
    with pytest.raises(InputError, match="column 'entry': expected int64, got float64"):
        read_scores(path)


@pytest.mark.parametrize("position", [-1, 1, 2**31 - 1])
def test_scores_root_with_a_file_that_is_not_listed_is_refused(tmp_path, position):
    """Position -1 would name the last file of the list."""
    column = np.full(6, position, dtype=np.int32)
    with pytest.raises(InputError, match="column 'file': expected 0 to 0"):
        read_scores(write_scores(tmp_path / "s.root", file=column))


@pytest.mark.parametrize("skims", [[], {}, None, "x"])
def test_scores_without_a_list_of_skims_are_refused(tmp_path, skims):
    with pytest.raises(InputError, match="expected a list of skims"):
        read_scores(write_scores(tmp_path / "s.root", skims))


@pytest.mark.parametrize("value", [-1e300, 1.5, np.nan])
def test_rates_of_a_probability_that_is_none_are_refused(tmp_path, value):
    column = np.full(6, 0.5)
    column[2] = value
    path = write_scores(tmp_path / "s.root", **{f"keep_probability_{SKIM}": column})
    with pytest.raises(InputError, match=f"keep_probability_{SKIM}"):
        read_rates(path, SKIM)


def test_scores_of_a_file_whose_name_is_no_text_are_written(tmp_path):
    table: dict[str, Any] = {
        name: np.zeros(2, dtype=dtype) for name, dtype in score_columns([SKIM]).items()
    }
    for suffix in (".parquet", ".root"):
        path = tmp_path / f"s{suffix}"
        with ScoreWriter(path, [SKIM]) as writer:
            writer.write({**table, "file": "events-\udcff.root"})
        assert set(read_scores(path)["file"]) == {r"events-\udcff.root"}


@pytest.mark.parametrize("n_removed", [2, 64, 512])
def test_load_model_with_a_block_missing_is_refused(tmp_path, n_removed):
    """The directory at the end then points before the beginning of the file."""
    content = default_model_path().read_bytes()
    path = tmp_path / "model.pt"
    path.write_bytes(content[n_removed:])
    with pytest.raises(ModelFileError, match=r"model\.pt"):
        load_model(path)
    middle = len(content) // 2
    path.write_bytes(content[:middle] + content[middle + n_removed :])
    with pytest.raises(ModelFileError, match=r"model\.pt"):
        load_model(path)


def put(name: str, value: Any) -> Any:
    return lambda document: document.update({name: value})


WRONG_POINTS = {
    "other-thresholds": put("thresholds", {"x": 0.1}),
    "no-skims": lambda d: d.update(thresholds={}, constants={}),
    "not-finite": put("constants", {SKIM: float("inf")}),
    "weight-below-one": put("max_weight", 0.5),
    "digest-no-text": put("model_digest", 3),
    "numbers-as-text": put("thresholds", {SKIM: "high"}),
}


@pytest.mark.parametrize("change", WRONG_POINTS.values(), ids=WRONG_POINTS)
def test_working_point_whose_parts_do_not_fit_is_refused(tmp_path, change):
    path = tmp_path / "point.json"
    with WorkingPointWriter(path) as writer:
        writer.write(SavedWorkingPoint({SKIM: 0.1}, {SKIM: 1.5}, 100.0), {})
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="working point"):
        read_working_point(path)


def test_working_point_nested_without_end_is_refused(tmp_path):
    path = tmp_path / "point.json"
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="working point"):
        read_working_point(path)


@pytest.mark.parametrize("name", ["X_train_0", "X_test_0", "X_test_1"])
def test_npz_set_without_one_of_its_arrays_is_refused(tmp_path, name):
    """Without the check the other set alone would be read."""
    arrays: dict[str, Any] = {
        f"{kind}_{part}{number}": values
        for part in ("train", "test")
        for kind, number, values in (
            ("X", "_0", np.ones((3, 4, 9), dtype=np.float32)),
            ("X", "_1", np.full((3, 4), -1.0)),
            ("y", "", np.array([0, 1, 0])),
        )
    }
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    assert open_events(path).n_events == 6
    del arrays[name]
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=name):
        open_events(path)
