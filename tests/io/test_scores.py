"""Reader and writer of score files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from smartfilter.errors import InputError, UsageError
from smartfilter.events import EVENT_TYPES
from smartfilter.io import ScoreFile, ScoreWriter, read_scores, verify_scores
from smartfilter.io.scores import score_columns

SKIMS = ("feiHadronicB0", "other")
SUFFIXES = (".parquet", ".root")


def make_table(n_rows: int, file: Any, seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    table: dict[str, Any] = {
        name: (1000 * rng.random(n_rows)).astype(dtype)
        for name, dtype in score_columns(SKIMS).items()
    }
    table["event_type"] = rng.integers(-1, len(EVENT_TYPES), n_rows).astype(np.int8)
    table["keep"] = rng.random(n_rows) < 0.5
    return {**table, "file": file}


TABLES = [
    make_table(5, "a.root", 1),
    make_table(0, "never.root", 2),
    make_table(3, np.array(["c.root", "b.root:t", "c.root"]), 3),
    make_table(4, "a.root", 4),
]
FILES = ["a.root"] * 5 + ["c.root", "b.root:t", "c.root"] + ["a.root"] * 4


def write(path, block_rows: int | None = None) -> None:
    with ScoreWriter(path, SKIMS, {"seed": 7, "n_kept": 0}) as writer:
        for table in TABLES:
            writer.write(table)
        writer.close({"n_generated": np.int64(12), "n_kept": 5})


@pytest.mark.parametrize("block_rows", [1, 6, 1000])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_scores_written_file_reads_back_equal(
    tmp_path, monkeypatch, suffix, block_rows
):
    monkeypatch.setattr("smartfilter.io.scores._BLOCK_ROWS", block_rows)
    path = tmp_path / f"scores{suffix}"
    write(path)
    found = read_scores(path)
    assert len(found) == 12
    assert list(found.columns) == list(score_columns(SKIMS))
    assert found["file"].tolist() == FILES
    for name, dtype in score_columns(SKIMS).items():
        if name != "file":
            assert found[name].dtype == dtype, name
            expected = np.concatenate([table[name] for table in TABLES])
            np.testing.assert_array_equal(found[name], expected, err_msg=name)
    assert found.skims == SKIMS
    assert {"seed": 7, "n_generated": 12, "n_kept": 5}.items() <= found.metadata.items()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_scores_parquet_is_readable_with_pyarrow_alone(tmp_path):
    path = tmp_path / "scores.parquet"
    write(path)
    table = pq.read_table(path)
    assert table.column_names[:4] == ["file", "entry", "experiment", "run"]
    assert table.column("file").to_pylist() == FILES
    codes = np.concatenate([t["event_type"] for t in TABLES])
    names = [EVENT_TYPES[code] if code >= 0 else None for code in codes]
    assert table.column("event_type").to_pylist() == names
    document = json.loads(pq.ParquetFile(path).metadata.metadata[b"smartfilter"])
    assert document["n_generated"] == 12


def test_scores_root_is_readable_with_uproot_alone(tmp_path):
    path = tmp_path / "scores.root"
    write(path)
    with uproot.open(path) as file:
        document = json.loads(str(file["smartfilter"]))
        names = np.array(document["files"])[file["scores/file"].array(library="np")]
        assert names.tolist() == FILES
        kinds = file["scores"].typenames()
    assert kinds["keep"] == "bool"
    assert kinds["event_type"] == "int8_t"
    assert kinds["weight_other"] == "double"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_scores_nothing_written_reads_back_empty(tmp_path, suffix):
    path = tmp_path / f"scores{suffix}"
    with ScoreWriter(path, SKIMS):
        pass
    found = read_scores(path)
    assert len(found) == 0
    assert set(found.columns) == set(score_columns(SKIMS))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_scores_nan_is_kept(tmp_path, suffix):
    table = make_table(2, "a.root")
    table["logit_other"][0] = np.nan
    table["score_other"][:] = np.inf
    path = tmp_path / f"scores{suffix}"
    with ScoreWriter(path, SKIMS) as writer:
        writer.write(table)
    found = read_scores(path)
    np.testing.assert_array_equal(found["logit_other"], table["logit_other"])
    assert np.isinf(found["score_other"]).all()


def test_scores_wrong_columns_raise_input_error(tmp_path):
    table = make_table(2, "a.root")
    del table["keep"]
    table["extra"] = table["entry"]
    writer = ScoreWriter(tmp_path / "a.parquet", SKIMS)
    with pytest.raises(InputError, match="missing keep, unknown extra"), writer:
        writer.write(table)
    assert list(tmp_path.iterdir()) == []


def test_scores_unequal_lengths_raise_input_error(tmp_path):
    table = make_table(2, "a.root")
    table["keep"] = np.ones(3, dtype=bool)
    writer = ScoreWriter(tmp_path / "a.root", SKIMS)
    with pytest.raises(InputError, match="'keep': expected 2 rows"), writer:
        writer.write(table)
    assert list(tmp_path.iterdir()) == []


def test_scores_writer_refuses_suffix_and_existing_file(tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.parquet or \.root"):
        ScoreWriter(tmp_path / "a.csv", SKIMS)
    (tmp_path / "a.root").touch()
    with pytest.raises(UsageError, match="use --force"):
        ScoreWriter(tmp_path / "a.root", SKIMS)
    with pytest.raises(UsageError, match="existing folder"):
        ScoreWriter(tmp_path / "no" / "a.root", SKIMS)
    (tmp_path / "d.root").mkdir()
    with pytest.raises(UsageError, match="got the directory"):
        ScoreWriter(tmp_path / "d.root", SKIMS, force=True)


def test_scores_write_after_close_raises_usage_error(tmp_path):
    writer = ScoreWriter(tmp_path / "a.root", SKIMS)
    writer.close()
    with pytest.raises(UsageError, match="is closed"):
        writer.write(make_table(1, "a.root"))


def test_scores_metadata_without_json_form_leave_nothing_behind(tmp_path):
    writer = ScoreWriter(tmp_path / "a.root", SKIMS)
    with pytest.raises(UsageError, match="expected JSON values"):
        writer.close({"sum": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["missing", "text", "parquet", "root", "truncated"])
def test_scores_other_file_raises_input_error(tmp_path, make_events, kind):
    path = tmp_path / "x.parquet"
    if kind == "text":
        path.write_text("hello")
    elif kind == "parquet":
        pq.write_table(pa.table({"x": [1]}), path)
    elif kind == "root":
        with uproot.recreate(path) as file:
            file.mktree("tree", {"x": np.dtype(np.int32)})
    elif kind == "truncated":
        write(path)
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"x\.parquet"):
        read_scores(path)


def write_with_sums(path: Path, **wrong: Any) -> dict[str, Any]:
    """Write a score file with the sums of its rows, and return its metadata."""
    weight = {s: [w for t in TABLES for w in t[f"weight_{s}"]] for s in SKIMS}
    sums: dict[str, Any] = {
        "n_generated": sum(len(table["keep"]) for table in TABLES),
        "n_kept": sum(int(k) for table in TABLES for k in table["keep"]),
        "sum_weight": {s: sum(map(float, w)) for s, w in weight.items()},
        "sum_weight2": {s: sum(float(x) ** 2 for x in w) for s, w in weight.items()},
    }
    with ScoreWriter(path, SKIMS) as writer:
        for table in TABLES:
            writer.write(table)
        writer.close({**sums, **wrong})
    return sums


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_verify_scores_of_a_sound_file_returns_its_sums(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"scores{suffix}"
    expected = write_with_sums(path)
    monkeypatch.setattr("smartfilter.io.score_reader._BLOCK_ROWS", 5)
    found = verify_scores(path)
    assert found.n_generated == expected["n_generated"] == 12
    assert found.n_kept == expected["n_kept"]
    assert found.sum_weight == pytest.approx(expected["sum_weight"])
    assert found.sum_weight2 == pytest.approx(expected["sum_weight2"])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_generated", 13),
        ("n_generated", None),
        ("n_kept", True),
        ("n_kept", "7"),
        ("sum_weight", {"feiHadronicB0": 0.0, "other": 0.0}),
        ("sum_weight", 5.0),
        ("sum_weight2", {"feiHadronicB0": 1e9}),
    ],
)
def test_verify_scores_of_other_sums_is_refused(tmp_path, suffix, name, value):
    path = tmp_path / f"scores{suffix}"
    write_with_sums(path, **{name: value})
    with pytest.raises(InputError, match=rf"{name}.* the sum over the rows"):
        verify_scores(path)


def test_verify_scores_sees_one_weight_that_changed(tmp_path):
    path = tmp_path / "scores.parquet"
    sums = write_with_sums(path)
    sums["sum_weight"]["other"] *= 1 + 1e-8
    write_with_sums(tmp_path / "changed.parquet", **sums)
    verify_scores(path)
    with pytest.raises(InputError, match="sum_weight of other"):
        verify_scores(tmp_path / "changed.parquet")


def test_verify_scores_of_no_rows_is_zero(tmp_path):
    path = tmp_path / "scores.parquet"
    zero = dict.fromkeys(SKIMS, 0.0)
    with ScoreWriter(path, SKIMS) as writer:
        writer.close(
            {"n_generated": 0, "n_kept": 0, "sum_weight": zero, "sum_weight2": zero}
        )
    assert verify_scores(path).sum_weight == zero


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_score_file_in_blocks_equals_at_once(tmp_path, suffix):
    path = tmp_path / f"scores{suffix}"
    write(path)
    whole = read_scores(path)
    blocks = list(ScoreFile(path).iterate(["file", "event_type", "keep"], 5))
    assert [len(block["keep"]) for block in blocks] == [5, 5, 2]
    for name in ("file", "event_type", "keep"):
        joined = np.concatenate([block[name] for block in blocks])
        assert joined.tolist() == whole[name].tolist()
