"""``smartfilter inspect`` on ONNX networks: what their two files say, or one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")


def test_inspect_onnx_says_what_its_files_say(typed, run):
    """NaN, the retention rate that no document holds, was a traceback."""
    path = typed[1]
    stored = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    code, out, _ = run("inspect", path, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["inputs"] == {
        "x": "tensor(float) [N, 8]",
        "pdg": "tensor(int32) [N]",
        "mother": "tensor(int32) [N]",
        "c": "tensor(int32) []",
    }
    assert found["outputs"] == {"output": "tensor(float) [3]"}
    assert found["skims"] == ["one", "two", "three"]
    assert found["skim_codes"] == {"one": 11, "two": 9, "three": 10}
    for name, number in found["skim_codes"].items():
        constants = stored["parameterMapping"][str(number)]
        assert found["parameters"][name] == pytest.approx(constants)
    assert found["event_types"] == {**stored["eventtypeMapping"], "unknown": -1}
    assert found["max_weight"] == stored["maxWeight"] == 98.0
    assert found["n_pdg_codes"] == len(stored["pdgMapping"])
    assert found["path"] == str(path)


def test_inspect_onnx_prints_tables(typed, run):
    code, out, _ = run("inspect", typed[1])
    assert code == 0
    for text in ("SmartBackground", "tensor(float) [N, 8]", "three", "98", "taupair 5"):
        assert text in out


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("copy.onnx", None, "cannot read {0}.onnx (No such file"),
        ("copy.json", None, "cannot read {0}.json (No such file"),
        ("copy.onnx", "nothing", "onnxruntime"),
        ("copy.onnx", "", "onnxruntime"),
        ("copy.json", "{}", "expected 'maxWeight', got none in {0}.json"),
        ("copy.json", "[", "malformed"),
    ],
)
def test_inspect_damaged_onnx_is_one_sentence(
    typed, run, tmp_path, name, text, sentence
):
    for suffix in (".onnx", ".json"):
        shutil.copy(typed[1].with_suffix(suffix), tmp_path / f"copy{suffix}")
    if text is None:
        (tmp_path / name).unlink()
    else:
        Path(tmp_path / name).write_text(text, encoding="utf-8")
    code, out, err = run("inspect", tmp_path / "copy.onnx")
    assert (code, out) == (4, "")
    assert err.startswith("Error: ONNX ")
    assert sentence.format(tmp_path / "copy") in err
    assert err.count("\n") == 1
