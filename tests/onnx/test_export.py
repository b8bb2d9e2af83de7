"""What an exported network and its document hold, and what is not exported."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from smartfilter.errors import ModelFileError, UsageError
from smartfilter.model_file import load_module
from smartfilter.model_info import SkimInfo
from smartfilter.onnx_export import export_network
from smartfilter.pdg import load_vocabulary

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


def test_exported_network_has_the_official_interface(exported):
    graph = onnx.load(str(exported)).graph
    float32, int32 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32

    def describe(value: Any) -> tuple[str, int, list[Any]]:
        tensor = value.type.tensor_type
        lengths = [d.dim_value or d.dim_param for d in tensor.shape.dim]
        return value.name, tensor.elem_type, lengths

    assert [describe(value) for value in graph.input] == [
        ("x", float32, ["N", 8]),
        ("pdg", int32, ["N"]),
        ("mother", int32, ["N"]),
        ("c", int32, []),
    ]
    assert [describe(value) for value in graph.output] == [("output", float32, [10])]


def test_exported_network_holds_no_paths_and_no_notes(exported):
    assert b"site-packages" not in exported.read_bytes()
    assert b"smartfilter/" not in exported.read_bytes()
    model = onnx.load(str(exported))
    assert model.producer_name == "smartfilter"
    assert (model.ir_version, model.opset_import[0].version) == (8, 18)


def test_export_twice_gives_the_same_bytes(exported, tmp_path):
    again = tmp_path / "again.onnx"
    export_network(*load_module(exported.stem), again)
    assert again.read_bytes() == exported.read_bytes()
    document = again.with_suffix(".json")
    assert document.read_bytes() == exported.with_suffix(".json").read_bytes()


def test_document_has_the_structure_of_the_payload(typed):
    document = json.loads(typed[1].with_suffix(".json").read_text())
    assert set(document) == {
        "pdgMapping",
        "skimcodesMapping",
        "skimnamesMapping",
        "parameterMapping",
        "eventtypeMapping",
        "maxWeight",
    }
    assert len(document["pdgMapping"]) == 562
    assert document["pdgMapping"]["0"] == 0
    assert document["pdgMapping"]["300553"] == 519
    assert document["skimcodesMapping"] == {"11": 0, "9": 1, "10": 2}
    assert document["skimnamesMapping"] == {"11": "one", "9": "two", "10": "three"}
    assert document["parameterMapping"] == {
        "11": [0.5, 0.0],
        "9": [0.5, 0.1],
        "10": [0.5, 0.2],
    }
    assert document["eventtypeMapping"] == {
        "ccbar": 0,
        "charged": 1,
        "ddbar": 2,
        "mixed": 3,
        "ssbar": 4,
        "taupair": 5,
        "uubar": 6,
    }
    assert document["maxWeight"] == 98.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "gatgap"}, "preset: expected smart_background, .*got 'gatgap'"),
        (
            {"vocabulary": load_vocabulary("published")},
            "expected token 0 for unknown codes",
        ),
    ],
)
def test_export_preparation_that_the_module_does_not_perform_refused(
    tmp_path, typed, change, message, make_info
):
    with pytest.raises(ModelFileError, match=message):
        export_network(typed[0], make_info(**change), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_export_skims_without_or_with_equal_codes_refused(tmp_path, typed, make_info):
    info, path = make_info(), tmp_path / "m.onnx"
    nameless = replace(info, skims=tuple(replace(s, code=None) for s in info.skims))
    with pytest.raises(UsageError, match="got none for one, two, three"):
        export_network(typed[0], nameless, path)
    with pytest.raises(UsageError, match="expected a different one for each"):
        export_network(typed[0], info, path, codes={"one": 9})
    for code in (2**31, -(2**31) - 1):
        with pytest.raises(UsageError, match="expected integers of 32 bits"):
            export_network(typed[0], info, path, codes={"one": code})
    with pytest.raises(UsageError, match="expected one of one, two, three, got four"):
        export_network(typed[0], info, path, codes={"four": 9})
    assert not list(tmp_path.iterdir())


def test_export_event_type_takes_its_constants(tmp_path, traced, make_info):
    path = tmp_path / "m.onnx"
    export_network(traced, make_info(), path, event_type="mixed", codes={"two": 12})
    document = json.loads(path.with_suffix(".json").read_text())
    assert document["parameterMapping"]["12"] == [0.7, 0.3]


class Untraceable(nn.Module):
    """Its result depends on values while it is traced."""

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        return x[:1, :3] if float(x.sum()) > 0 else x[:1, 3:6]


def test_export_network_that_cannot_be_traced_refused(tmp_path, make_info):
    with pytest.raises(ModelFileError, match="cannot be exported to ONNX"):
        export_network(Untraceable(), make_info(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_export_of_a_network_with_too_few_outputs_leaves_nothing(
    tmp_path, traced, make_info
):
    info = make_info()
    more = SkimInfo("four", 13, info.skims[0].calibration)
    with pytest.raises(ModelFileError, match="output: expected"):
        export_network(
            traced, replace(info, skims=(*info.skims, more)), tmp_path / "m.onnx"
        )
    assert not list(tmp_path.iterdir())


def test_export_second_file_cannot_be_moved_leaves_none(
    tmp_path, traced, monkeypatch, make_info
):
    real = os.replace

    def fail(source: Path, target: Path) -> None:
        if target.suffix == ".onnx":
            raise OSError("disk gone")
        real(source, target)

    monkeypatch.setattr(os, "replace", fail)
    old = tmp_path / "old.json"
    old.write_text("before")
    for name in ("new", "old"):
        with pytest.raises(UsageError, match="disk gone"):
            export_network(traced, make_info(), tmp_path / f"{name}.onnx", force=True)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text() == "before"
