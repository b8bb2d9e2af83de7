"""ONNX networks and documents of another origin, also wrong and damaged ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartfilter.decision import DecisionSettings
from smartfilter.errors import InputError, ModelFileError
from smartfilter.model_file import load_module, read_model_info
from smartfilter.scoring import Scorer

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


def make_foreign(
    path: Path,
    *,
    inputs: dict[str, Any] | None = None,
    outputs: tuple[str, ...] = ("output",),
    scale: float = 1.0,
    n_outputs: int = 2,
    document: dict[str, Any] | None = None,
) -> Path:
    """Write a network of another origin: output k is (k + 1) (n_nodes + 10 c) scale."""
    float32, int32 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
    kinds = {
        "x": (float32, ["N", 8]),
        "pdg": (int32, ["N"]),
        "mother": (int32, ["N"]),
        "c": (int32, []),
        **(inputs or {}),
    }
    node = onnx.helper.make_node
    factors = [scale * (k + 1) for k in range(n_outputs)]
    constants = [
        onnx.numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in {"ten": 10.0, "factors": factors}.items()
    ]
    graph = onnx.helper.make_graph(
        [
            node("Size", ["pdg"], ["size"]),
            node("Cast", ["size"], ["n"], to=float32),
            node("Cast", ["c"], ["type"], to=float32),
            node("Mul", ["type", "ten"], ["shift"]),
            node("Add", ["n", "shift"], ["sum"]),
            *(node("Mul", ["factors", "sum"], [name]) for name in outputs),
        ],
        "foreign",
        [onnx.helper.make_tensor_value_info(k, *kind) for k, kind in kinds.items()],
        [
            onnx.helper.make_tensor_value_info(name, float32, [n_outputs])
            for name in outputs
        ],
        constants,
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    path.write_bytes(model.SerializeToString())
    text = json.dumps(DOCUMENT if document is None else document)
    path.with_suffix(".json").write_text(text)
    return path


DOCUMENT = {
    "pdgMapping": {"0": 0, "-11": 1, "11": 2, "22": 3},
    "skimcodesMapping": {"14120300": 1, "11180500": 0},
    "skimnamesMapping": {
        "11180500": "feiHadronic",
        "14120300": "BtoD0h_Kspi0",
        "10601300": "NotAnOutput",
    },
    "parameterMapping": {"11180500": [0.46, 1.392], "14120300": [0.5, 2.0]},
    "eventtypeMapping": {"charged": 7, "mixed": 4, "uubar": 0},
    "maxWeight": 50.0,
}


def test_foreign_network_is_scored_with_its_own_document(tmp_path, example):
    scorer = Scorer(make_foreign(tmp_path / "f.onnx"), device="cpu")
    assert scorer.info.skim_names == ("feiHadronic", "BtoD0h_Kspi0")
    assert [skim.code for skim in scorer.info.skims] == [11180500, 14120300]
    assert scorer.info.vocabulary.encode(np.array([11, 211, 22])).tolist() == [2, 0, 3]
    events = example.take(np.arange(4)).with_event_type("mixed")
    scores = scorer.score(events)
    total = scores.n_nodes + 10 * 4
    np.testing.assert_array_equal(scores.logits, np.stack([total, 2 * total], axis=1))
    np.testing.assert_allclose(scores.scores, 1 / (1 + np.exp(-scores.logits)))


def test_foreign_network_official_mode_takes_a_b_and_weight_of_the_document(tmp_path):
    info = Scorer(make_foreign(tmp_path / "f.onnx"), device="cpu").info
    settings = DecisionSettings.from_model(info, mode="official")
    assert settings.max_weight == 50.0
    assert [(s.slope, s.offset) for s in settings.skims] == [(0.46, 1.392), (0.5, 2.0)]


def test_foreign_network_keeps_for_certain_from_the_offset_on(tmp_path):
    info = Scorer(make_foreign(tmp_path / "f.onnx"), device="cpu").info
    constants = info.skims[0].get_calibration()
    score = 1 / (1 + np.exp(-1.392))
    assert constants.threshold == pytest.approx(score)
    assert constants.sampling_constant * np.sqrt(score) == pytest.approx(1.0)
    assert np.isnan(constants.retention_rate)


@pytest.mark.parametrize(("kind", "found"), [("ccbar", "ccbar"), (None, "unknown")])
def test_foreign_network_event_type_it_does_not_know_refused(
    tmp_path, example, kind, found
):
    scorer = Scorer(make_foreign(tmp_path / "f.onnx"), device="cpu")
    events = example.take([0])
    events = events.with_event_type_codes(np.array([-1], dtype=np.int8))
    if kind:
        events = events.with_event_type(kind)
    with pytest.raises(InputError, match=f"charged, mixed, uubar for .*got {found}"):
        scorer.score(events)


INT64, DOUBLE = 7, 11
WRONG_NETWORKS: dict[str, tuple[dict[str, Any], str]] = {
    "missing-input": ({"inputs": {"more": (1, ["N"])}}, "inputs: expected x, pdg"),
    "mother-int64": ({"inputs": {"mother": (INT64, ["N"])}}, "input mother: expected"),
    "x-double": ({"inputs": {"x": (DOUBLE, ["N", 8])}}, "input x: expected"),
    "nine-features": ({"inputs": {"x": (1, ["N", 9])}}, "input x: expected"),
    "fixed-size": ({"inputs": {"pdg": (6, [60])}}, "input pdg: expected"),
    "batched": ({"inputs": {"pdg": (6, ["B", "N"])}}, "input pdg: expected"),
    "type-vector": ({"inputs": {"c": (6, ["N"])}}, "input c: expected"),
    "two-outputs": ({"outputs": ("output", "b")}, "expected one named output"),
    "other-output": ({"outputs": ("logits",)}, "expected one named output"),
    "more-outputs": ({"n_outputs": 3}, "output: expected"),
    "nan": ({"scale": float("nan")}, "expected 2 finite logits"),
    "infinite": ({"scale": float("inf")}, "expected 2 finite logits"),
}


@pytest.mark.parametrize(
    ("change", "message"), WRONG_NETWORKS.values(), ids=WRONG_NETWORKS
)
def test_foreign_network_of_wrong_interface_refused(tmp_path, change, message):
    path = make_foreign(tmp_path / "f.onnx", **change)
    with pytest.raises(ModelFileError, match=message) as caught:
        Scorer(path, device="cpu")
    assert "f.onnx" in str(caught.value)


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in DOCUMENT.items() if name != key}


WRONG_DOCUMENTS: dict[str, tuple[Any, str]] = {
    **{f"no-{key}": (without(key), f"expected '{key}'") for key in DOCUMENT},
    "no-name": ({**DOCUMENT, "skimnamesMapping": {}}, "expected '11180500'"),
    "no-parameters": ({**DOCUMENT, "parameterMapping": {}}, "expected '11180500'"),
    "one-parameter": (
        {**DOCUMENT, "parameterMapping": {"11180500": [1.0], "14120300": [1, 2]}},
        "malformed",
    ),
    "parameter-nan": (
        {**DOCUMENT, "parameterMapping": {"11180500": [1, None], "14120300": [1, 2]}},
        "malformed",
    ),
    "skim-positions": (
        {**DOCUMENT, "skimcodesMapping": {"11180500": 0, "14120300": 5}},
        "positions of the skims are not 0 to 1",
    ),
    "no-skims": ({**DOCUMENT, "skimcodesMapping": {}}, "positions of the skims"),
    "same-name": (
        {**DOCUMENT, "skimnamesMapping": {"11180500": "a", "14120300": "a"}},
        "share a name",
    ),
    "token-gap": ({**DOCUMENT, "pdgMapping": {"0": 0, "11": 2}}, "tokens are not"),
    "code-is-a-word": ({**DOCUMENT, "pdgMapping": {"pi": 0}}, "malformed"),
    "no-known-type": ({**DOCUMENT, "eventtypeMapping": {"signal": 0}}, "has none of"),
    "weight-below-one": ({**DOCUMENT, "maxWeight": 0.5}, "maxWeight 0.5"),
    "weight-nan": ({**DOCUMENT, "maxWeight": float("nan")}, "maxWeight nan"),
    "list": ([1, 2], "malformed"),
}


@pytest.mark.parametrize(
    ("document", "message"), WRONG_DOCUMENTS.values(), ids=WRONG_DOCUMENTS
)
def test_foreign_network_wrong_document_refused(tmp_path, document, message):
    path = make_foreign(tmp_path / "f.onnx", document=document)
    with pytest.raises(ModelFileError, match=message) as caught:
        Scorer(path, device="cpu")
    assert "f.json" in str(caught.value)


def test_onnx_document_missing_or_no_json_refused(tmp_path):
    path = make_foreign(tmp_path / "f.onnx")
    document = path.with_suffix(".json")
    document.write_bytes(b"\xff{")
    with pytest.raises(ModelFileError, match="malformed"):
        Scorer(path, device="cpu")
    document.unlink()
    with pytest.raises(ModelFileError, match=r"needs its \.json beside it"):
        Scorer(path, device="cpu")


@pytest.mark.parametrize("size", [0, 100, 100_000])
def test_onnx_file_truncated_refused(exported, tmp_path, size):
    path = tmp_path / "cut.onnx"
    path.write_bytes(exported.read_bytes()[:size])
    path.with_suffix(".json").write_text(exported.with_suffix(".json").read_text())
    with pytest.raises(ModelFileError, match=r"cut\.onnx"):
        Scorer(path, device="cpu")


@pytest.mark.parametrize("read", [load_module, read_model_info])
def test_onnx_network_where_a_model_file_is_needed_refused(exported, read):
    with pytest.raises(ModelFileError, match="the model that it was exported from"):
        read(exported)


def test_onnx_network_failing_on_an_event_stops(tmp_path, example):
    path = make_foreign(tmp_path / "f.onnx", scale=2e36)
    scorer = Scorer(path, device="cpu")
    with pytest.raises(ModelFileError, match="expected finite logits"):
        scorer.score(example.take([0, 1]).with_event_type("charged"))
