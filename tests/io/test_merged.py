"""Joined score files: nothing lost, nothing counted twice, nothing mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartfilter.errors import InputError, UsageError
from smartfilter.io import ScoreWriter, merge_scores, merged, read_scores, verify_scores
from smartfilter.io.scores import score_columns

SKIMS = ("A", "B")


def write(
    path: Path,
    n_rows: int,
    *,
    first: int = 0,
    file: str | None = None,
    run: int = 1,
    **metadata: Any,
) -> Path:
    """Write a score file of events that are numbered from ``first``."""
    rng = np.random.default_rng(first + 1)
    table: dict[str, Any] = {
        name: rng.random(n_rows).astype(dtype)
        for name, dtype in score_columns(SKIMS).items()
    }
    numbers = np.arange(first, first + n_rows)
    table |= {"entry": numbers, "event": numbers, "run": np.full(n_rows, run)}
    table |= {"keep": rng.random(n_rows) < 0.5, "file": file or f"{path.stem}.root"}
    sums = {s: float(table[f"weight_{s}"].sum()) for s in SKIMS}
    squares = {s: float((table[f"weight_{s}"] ** 2).sum()) for s in SKIMS}
    with ScoreWriter(path, SKIMS) as writer:
        writer.write(table)
        writer.close(
            {
                "n_generated": n_rows,
                "n_kept": int(table["keep"].sum()),
                "n_unscorable": 1,
                "event_types": {"mixed": n_rows},
                "sum_weight": sums,
                "sum_weight2": squares,
                "mode": "sample",
                "model_digest": "abc",
                "seed": first,
                "thresholds": {s: {"mixed": 0.1} for s in SKIMS},
                **metadata,
            }
        )
    return path


def test_merge_scores_joins_rows_and_adds_sums(tmp_path):
    paths = [
        write(tmp_path / "a.parquet", 5),
        write(tmp_path / "b.root", 0, first=5),
        write(tmp_path / "c.parquet", 7, first=9),
    ]
    metadata = merge_scores(paths, tmp_path / "all.parquet")
    found = read_scores(tmp_path / "all.parquet")
    tables = [read_scores(path) for path in paths]
    for name in found.columns:
        expected = [value for table in tables for value in table[name].tolist()]
        assert found[name].tolist() == expected, name
    assert metadata["n_generated"] == found.metadata["n_generated"] == len(found) == 12
    assert found.metadata["n_unscorable"] == 3
    assert found.metadata["event_types"] == {"mixed": 12}
    assert found.metadata["seed"] == [0, 5, 9]
    assert found.metadata["mode"] == "sample"
    sums = verify_scores(tmp_path / "all.parquet")
    for skim in SKIMS:
        expected = sum(table.metadata["sum_weight2"][skim] for table in tables)
        assert sums.sum_weight2[skim] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "threshold"),
        ("model_digest", "def"),
        ("max_weight", 7),
        ("thresholds", {"A": {"mixed": 0.2}}),
        ("n_generated", 6),
    ],
)
def test_merge_scores_of_other_settings_is_refused(tmp_path, name, value):
    paths = [
        write(tmp_path / "a.parquet", 5),
        write(tmp_path / "b.parquet", 5, first=5, **{name: value}),
    ]
    with pytest.raises(InputError, match=r"b\.parquet"):
        merge_scores(paths, tmp_path / "all.parquet")
    assert not (tmp_path / "all.parquet").exists()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("rows_per_pass", [1, 4, 1000])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": "a.root", "run": 2}, r"a\.root / 4 \(file / entry\)"),
        ({}, r"0 / 1 / 0 / 4 \(experiment / run / production / event\)"),
    ],
)
def test_merge_scores_of_an_event_in_two_files_is_refused(
    tmp_path, monkeypatch, options, message, rows_per_pass
):
    monkeypatch.setattr(merged, "_ROWS_PER_PASS", rows_per_pass)
    write(tmp_path / "a.parquet", 5)
    write(tmp_path / "b.parquet", 5, first=4, **options)
    with pytest.raises(InputError, match=f"{message}.*leave one of them out") as error:
        merge_scores(sorted(tmp_path.iterdir()), tmp_path / "all.parquet")
    assert ("keep them apart" in str(error.value)) == (not options)


@pytest.mark.parametrize("rows_per_pass", [1, 1000])
def test_merge_scores_with_equal_hashes_compares_the_rows(
    tmp_path, monkeypatch, rows_per_pass
):
    """Every hash is the same: files without a common event are still joined."""
    monkeypatch.setattr(merged, "_ROWS_PER_PASS", rows_per_pass)
    monkeypatch.setattr(merged, "mix", np.zeros_like)
    paths = [
        write(tmp_path / "a.parquet", 5),
        write(tmp_path / "b.parquet", 5, first=5),
    ]
    merge_scores(paths, tmp_path / "all.root")
    assert read_scores(tmp_path / "all.root")["event"].tolist() == list(range(10))
    write(tmp_path / "c.parquet", 1, first=9, run=1)
    with pytest.raises(InputError, match="each in one file only"):
        merge_scores([*paths, tmp_path / "c.parquet"], tmp_path / "d.root")


def test_merge_scores_allows_what_one_file_repeats(tmp_path):
    """Two files of one job may number their events alike; that job has counted them."""
    write(tmp_path / "a.parquet", 5)
    write(tmp_path / "b.parquet", 5, first=5)
    table = dict(read_scores(tmp_path / "a.parquet").columns)
    table["event"] = np.zeros(5, dtype=np.int64)
    document = dict(read_scores(tmp_path / "a.parquet").metadata)
    with ScoreWriter(tmp_path / "a.parquet", SKIMS, force=True) as writer:
        writer.write(table)
        writer.close(document)
    merge_scores(sorted(tmp_path.iterdir()), tmp_path / "all.parquet")
    assert len(read_scores(tmp_path / "all.parquet")) == 10


def test_merge_scores_of_merged_files_is_that_of_all(tmp_path):
    paths = [write(tmp_path / f"{k}.parquet", 3, first=10 * k) for k in range(4)]
    halves = [tmp_path / "ab.parquet", tmp_path / "cd.root"]
    for half, pair in zip(halves, (paths[:2], paths[2:]), strict=True):
        merge_scores(pair, half)
    twice = merge_scores(halves, tmp_path / "twice.parquet")
    once = merge_scores(paths, tmp_path / "once.parquet")
    assert twice["seed"] == once["seed"] == [0, 10, 20, 30]
    for name in ("n_generated", "n_kept", "event_types", "version", "thresholds"):
        assert twice[name] == once[name]
    rows = [read_scores(tmp_path / f"{n}.parquet")["event"] for n in ("once", "twice")]
    assert rows[0].tolist() == rows[1].tolist()


def test_merge_scores_into_an_existing_file_needs_force(tmp_path):
    path = write(tmp_path / "a.parquet", 5)
    output = tmp_path / "all.parquet"
    output.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        merge_scores([path], output)
    assert output.read_text() == "mine"
    merge_scores([path], output, force=True)
    assert len(read_scores(output)) == 5


def test_merge_scores_of_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one"):
        merge_scores([], tmp_path / "all.parquet")
