"""Decisions are found by event identity, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartfilter.errors import InputError
from smartfilter.io import ScoreWriter
from smartfilter.score_lookup import ScoreLookup

IDS = ("experiment", "run", "production", "event")


def write(path: Path, identity: Any, **changes: Any) -> None:
    """Write a score file whose weight is the row number plus one."""
    identity = np.asarray(identity, dtype=np.int64).reshape(-1, 4)
    n = len(identity)
    columns: dict[str, Any] = {
        "file": "gen.root",
        "entry": np.arange(n),
        **dict(zip(IDS, identity.T, strict=True)),
        "n_particles": np.ones(n),
        "event_type": np.full(n, -1),
        "keep": np.ones(n, bool),
        "logit_A": np.zeros(n),
        "score_A": np.zeros(n),
        "keep_probability_A": np.ones(n),
        "weight_A": np.arange(n) + 1.0,
    }
    with ScoreWriter(path, ["A"], {"mode": "threshold"}) as writer:
        writer.write({**columns, **changes})


def test_every_event_of_a_random_order_is_found(tmp_path: Path):
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid([0, 1003], [-1, 1, 7], [0, 2], range(9)), -1)
    identity = rng.permutation(grid.reshape(-1, 4))
    write(tmp_path / "s.parquet", identity)
    lookup = ScoreLookup(tmp_path / "s.parquet")
    assert [lookup.find(row.tolist()) for row in identity] == list(range(len(identity)))
    assert lookup.weight[:, 0].tolist() == [k + 1.0 for k in range(len(identity))]


@pytest.mark.parametrize(
    "identity",
    [(1, 1, 0, 5), (0, 2, 0, 5), (0, 1, 1, 5), (0, 1, 0, 4), (0, 1, 0, 2**40)],
)
def test_other_identity_is_not_found(identity: tuple[int, ...], tmp_path: Path):
    """Each number on its own tells events apart."""
    write(tmp_path / "s.parquet", [(0, 1, 0, 5), (0, 1, 0, 6), (2, 0, 0, 0)])
    assert ScoreLookup(tmp_path / "s.parquet").find(identity) is None


def test_large_numbers_are_exact(tmp_path: Path):
    """Event numbers have 32 bits; no two are taken for one."""
    rows = [(1003, 2**31 - 1, 2**31 - 1, 2**32 - 1), (1003, 2**31 - 1, 0, 2**32 - 2)]
    write(tmp_path / "s.parquet", rows)
    lookup = ScoreLookup(tmp_path / "s.parquet")
    assert [lookup.find(row) for row in rows] == [0, 1]


def test_empty_file_finds_nothing(tmp_path: Path):
    write(tmp_path / "s.parquet", [])
    lookup = ScoreLookup(tmp_path / "s.parquet")
    assert len(lookup) == 0
    assert lookup.find((0, 0, 0, 0)) is None


def test_event_twice_names_both_places(tmp_path: Path):
    rows = [(0, 1, 0, 5), (0, 1, 0, 6), (0, 1, 0, 5)]
    write(tmp_path / "s.parquet", rows, file=np.array(["a.root", "a.root", "b.root"]))
    with pytest.raises(InputError) as error:
        ScoreLookup(tmp_path / "s.parquet")
    message = str(error.value)
    assert "got 0 / 1 / 0 / 5 (experiment / run / production / event)" in message
    assert "entry 0 of a.root and entry 2 of b.root" in message


def test_same_event_of_two_productions_is_no_duplicate(tmp_path: Path):
    write(tmp_path / "s.parquet", [(0, 1, 0, 5), (0, 1, 3, 5)])
    lookup = ScoreLookup(tmp_path / "s.parquet")
    assert (lookup.find((0, 1, 3, 5)), lookup.find((0, 1, 0, 5))) == (1, 0)


def test_file_of_another_kind_is_refused(tmp_path: Path):
    (tmp_path / "s.parquet").write_text("no scores")
    with pytest.raises(InputError, match="expected a score file"):
        ScoreLookup(tmp_path / "s.parquet")
