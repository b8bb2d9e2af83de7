"""Where the history of a training comes from."""

from __future__ import annotations

import pytest

from smartfilter.training.history import COLUMNS, find_history

ROW = {"epoch": 0.0, "train_loss": 0.5, "validation_loss": 0.4, "validation_auc": 0.8}


def test_find_history_recorded_in_the_model_wins(tmp_path):
    (tmp_path / "model.csv").write_text("a,b\n1,2\n")
    assert find_history(tmp_path / "model.pt", {"history": [ROW]}) == [ROW]


def test_find_history_of_the_file_beside_the_model(tmp_path):
    text = ",".join([*COLUMNS, "seconds"]) + "\n0,0.5,0.4,0.8,3.5\n1,0.4,0.3,0.9,7\n"
    (tmp_path / "model.csv").write_text(text)
    rows = find_history(tmp_path / "model.pt", {})
    assert rows[0] == {**ROW, "seconds": 3.5}
    assert len(rows) == 2


@pytest.mark.parametrize(
    "content", [b"epoch,train_loss\n0,0.5\n", b"epoch\nx\n", b"", b"\xff\xfe\x00"]
)
def test_find_history_of_another_file_is_none(tmp_path, content):
    (tmp_path / "model.csv").write_bytes(content)
    assert find_history(tmp_path / "model.pt", {}) == []
    assert find_history(tmp_path / "other.pt", {}) == []
