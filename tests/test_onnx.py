"""ONNX networks: against TorchScript on prepared events, foreign and damaged files."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from smartfilter.decision import DecisionSettings, decide
from smartfilter.errors import InputError, ModelFileError, UsageError
from smartfilter.event_type import infer_event_type
from smartfilter.events import EVENT_TYPES, Events, concatenate
from smartfilter.graphs import PRESETS, prepare
from smartfilter.io import open_events
from smartfilter.model_file import load_module
from smartfilter.model_info import DEFAULT, Calibration, ModelInfo, SkimInfo
from smartfilter.models import build
from smartfilter.onnx_export import export_network
from smartfilter.pdg import load_vocabulary
from smartfilter.scoring import Scorer

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

TOLERANCE = 1e-4
MDST = ("mdst-v04-00-03.root", "mdst-v06-00-00.root", "mdst-v09-00-00.root")


class TypedNetwork(nn.Module):
    """Three logits that also depend on the event type."""

    def __init__(self, n_tokens: int) -> None:
        super().__init__()
        self.gcn = build("gcn", n_features=8, n_tokens=n_tokens, n_skims=3, count=True)
        self.types = nn.Embedding(len(EVENT_TYPES) + 1, 3)

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        logits: Tensor = self.gcn(x, pdg, mother, offsets, event_type)
        shift: Tensor = self.types(event_type + 1)
        return logits + shift


def make_info(**changes: Any) -> ModelInfo:
    preset = PRESETS["smart_background"]
    constants = Calibration(1.0, -1.0, 0.05, 0.4, 1.2, 0.5, 0.3)
    skims = tuple(
        SkimInfo(
            name,
            code,
            {
                DEFAULT: replace(constants, official_offset=0.1 * k),
                "mixed": replace(constants, official_slope=0.7),
            },
            max_weight=100.0 - k,
        )
        for k, (name, code) in enumerate({"one": 11, "two": 9, "three": 10}.items())
    )
    info = ModelInfo(
        preset=preset.name,
        features=tuple((f.name, f.unit) for f in preset.features),
        vocabulary=load_vocabulary(preset.vocabulary),
        skims=skims,
        network="typed",
        settings={},
        n_parameters=0,
    )
    return replace(info, **changes)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> tuple[TypedNetwork, Path]:
    """Return a network for three skims and all event types, and its ONNX file."""
    torch.manual_seed(4)
    info = make_info()
    network = TypedNetwork(info.vocabulary.n_tokens).eval()
    path: Path = tmp_path_factory.mktemp("typed") / "typed.onnx"
    export_network(network, info, path)
    return network, path


@pytest.fixture
def traced(
    typed: tuple[TypedNetwork, Path], monkeypatch: pytest.MonkeyPatch
) -> nn.Module:
    """Return the network of `typed`, which needs not be traced again (four seconds)."""
    data = typed[1].read_bytes()
    monkeypatch.setattr("smartfilter.onnx_export._to_onnx", lambda *_: data)
    return typed[0]


@pytest.fixture(scope="module", params=["gcn", "subtree"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a shipped model as ONNX; the stem is its name."""
    path: Path = tmp_path_factory.mktemp("shipped") / f"{request.param}.onnx"
    export_network(*load_module(request.param), path)
    return path


@pytest.fixture(scope="module")
def example(project_root: Path) -> Events:
    return with_types(open_events(project_root / "examples" / "events.root").read())


def with_types(events: Events) -> Events:
    return events.with_event_type_codes(infer_event_type(events))


def prepare_like_basf2(
    events: Events, i: int, tokens: dict[str, int]
) -> dict[str, Any]:
    """Walk the particles of an event as the official module does, one by one."""
    first, last = events.offsets[i], events.offsets[i + 1]
    rows: list[list[np.float32]] = []
    pdgs: list[int] = []
    mothers: list[int] = []
    node_of: dict[int, int] = {}
    parton_mother: dict[int, int] = {}
    origin: list[np.float32] = []
    for k in range(last - first):
        particle = {
            name: column[first + k] for name, column in events.particles.items()
        }
        index = int(particle["mother_index"])
        mother = max(index, 0)
        if int(particle["status"]) & 32:
            continue
        if particle["x"] >= 10 or particle["y"] >= 10 or particle["z"] >= 10:
            continue
        pdg = int(particle["pdg"])
        if pdg == 21 or abs(pdg) <= 5:
            parton_mother[k] = mother
            continue
        node_of[k] = len(rows)
        place = [particle[name] for name in ("prod_time", "x", "y", "z")]
        if not rows:
            origin = place
        momentum = [particle[name] for name in ("energy", "px", "py", "pz")]
        rows.append([a - b for a, b in zip(place, origin, strict=True)] + momentum)
        pdgs.append(tokens.get(str(pdg), 0))
        while mother > 0 and mother in parton_mother:
            mother = parton_mother[mother]
        mothers.append(node_of.get(mother, -1))
    return {
        "x": np.array(rows, dtype=np.float32).reshape(-1, 8),
        "pdg": np.array(pdgs, dtype=np.int32),
        "mother": np.array(mothers, dtype=np.int32),
        "c": np.array(events.event_type[i], dtype=np.int32),
    }


def run_like_basf2(path: Path, events: Events) -> np.ndarray[Any, Any]:
    """Return the logits that the official module would get; NaN without particles."""
    tokens = json.loads(path.with_suffix(".json").read_text())["pdgMapping"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    n_skims = session.get_outputs()[0].shape[0]
    logits = np.full((len(events), n_skims), np.nan, dtype=np.float32)
    for i in range(len(events)):
        feeds = prepare_like_basf2(events, i, tokens)
        if len(feeds["x"]):
            logits[i] = session.run(["output"], feeds)[0]
    return logits


def assert_same_logits(path: Path, events: Events, rtol: float = 0.0) -> int:
    """Compare with TorchScript, and return the number of events."""
    scores = Scorer(path.stem, device="cpu").score(events)
    logits = run_like_basf2(path, events)
    np.testing.assert_allclose(
        logits[scores.scorable],
        scores.logits[scores.scorable],
        rtol=rtol,
        atol=TOLERANCE,
    )
    return int(scores.scorable.sum())


def test_exported_network_repeats_torchscript_on_example_and_generated_events(
    exported, example
):
    pytest.importorskip("pythia8mc")
    from smartfilter.pipeline.generator import Generator

    generated = [
        Generator(kind, seed=7, decay_table="pythia").generate(n)
        for kind, n in (("charged", 300), ("ccbar", 300), ("taupair", 100))
    ]
    n_events = sum(assert_same_logits(exported, e) for e in (example, *generated))
    assert n_events >= 1000


@pytest.mark.parametrize("name", MDST)
def test_exported_network_repeats_torchscript_on_real_events(
    exported, shared_data, name
):
    events = open_events(shared_data / "mdst" / name).read()
    assert assert_same_logits(exported, with_types(events)) > 0


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


def test_scorer_with_exported_model_gives_same_logits_and_decisions(exported, example):
    original = Scorer(exported.stem, device="cpu")
    other = Scorer(exported, device="cpu")
    assert other.info.skim_names == original.info.skim_names
    assert other.info.vocabulary == original.info.vocabulary
    expected, found = original.score(example), other.score(example)
    np.testing.assert_array_equal(found.reason, expected.reason)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=TOLERANCE)
    both = [
        decide(
            example,
            logits=scores.logits,
            scores=scores.scores,
            scorable=scores.scorable,
            settings=DecisionSettings.from_model(scorer.info, mode="official", seed=3),
        )
        for scorer, scores in ((original, expected), (other, found))
    ]
    assert 0 < both[0].keep.sum() < len(example)
    np.testing.assert_array_equal(both[1].keep, both[0].keep)
    np.testing.assert_allclose(both[1].weight, both[0].weight, rtol=1e-4)


def test_scorer_passes_the_event_type_and_all_skims(typed, example):
    network, path = typed
    events = example.take(np.arange(40))
    kinds = (np.arange(40) % 8 - 1).astype(np.int8)
    events = events.with_event_type_codes(kinds)
    graph = prepare(events)
    columns = (graph.x, graph.pdg, graph.mother, graph.offsets, graph.event_type)
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(c) for c in columns)).numpy()
    found = Scorer(path, device="cpu").score(events).logits
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    same = events.with_event_type("mixed")
    assert not np.allclose(Scorer(path, device="cpu").score(same).logits, found)


def test_scorer_events_without_nodes_are_nan(exported, example):
    events = example.take(np.arange(3))
    events["status"][events.offsets[1] : events.offsets[3]] |= 32
    scores = Scorer(exported, device="cpu").score(events)
    assert scores.scorable.tolist() == [True, False, False]
    assert np.isnan(scores.logits[:, 0]).tolist() == [False, True, True]
    assert len(Scorer(exported, device="cpu").score(events.take([])).logits) == 0


def test_scorer_one_particle_same_logits(exported, example):
    rows = example.offsets[:5]
    columns = {name: column[rows] for name, column in example.particles.items()}
    columns["mother_index"] = np.full(5, -1, dtype=np.int32)
    events = Events.from_columns(np.arange(6), columns, event=np.arange(5))
    assert assert_same_logits(exported, events) > 0


def test_scorer_far_larger_event_same_logits(exported, example):
    rows = slice(0, example.offsets[100])
    columns = {name: column[rows].copy() for name, column in example.particles.items()}
    n = int(example.offsets[100])
    columns["mother_index"] = (np.arange(n) // 3).astype(np.int32) - 1
    events = Events.from_columns(np.array([0, n]), columns, event=np.zeros(1))
    assert n > 3000
    rtol = {"gcn": 0.0, "subtree": 4e-6}[exported.stem]  # logits of some thousand
    assert assert_same_logits(exported, events.with_event_type("mixed"), rtol) == 1


def test_onnx_scorer_pickled_reads_the_files_again(exported, example):
    scorer = Scorer(exported, device="cpu")
    again = Scorer(pickle.loads(pickle.dumps(scorer.model)), device="cpu")
    assert again.digest == scorer.digest
    events = example.take([0, 1])
    np.testing.assert_array_equal(
        again.score(events).logits, scorer.score(events).logits
    )


def test_digest_covers_network_and_document(exported, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(exported.read_bytes())
    document = json.loads(exported.with_suffix(".json").read_text())
    digests = []
    for weight in (100.0, 50.0):
        text = json.dumps({**document, "maxWeight": weight})
        path.with_suffix(".json").write_text(text)
        digests.append(Scorer(path, device="cpu").digest)
    assert digests[0] != digests[1]


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


def test_onnx_network_failing_on_an_event_stops(tmp_path, example):
    path = make_foreign(tmp_path / "f.onnx", scale=2e36)
    scorer = Scorer(path, device="cpu")
    with pytest.raises(ModelFileError, match="expected finite logits"):
        scorer.score(example.take([0, 1]).with_event_type("charged"))


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
    tmp_path, typed, change, message
):
    with pytest.raises(ModelFileError, match=message):
        export_network(typed[0], make_info(**change), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_export_skims_without_or_with_equal_codes_refused(tmp_path, typed):
    info, path = make_info(), tmp_path / "m.onnx"
    nameless = replace(info, skims=tuple(replace(s, code=None) for s in info.skims))
    with pytest.raises(UsageError, match="got none for one, two, three"):
        export_network(typed[0], nameless, path)
    with pytest.raises(UsageError, match="expected a different one for each"):
        export_network(typed[0], info, path, codes={"one": 9})
    with pytest.raises(UsageError, match="expected one of one, two, three, got four"):
        export_network(typed[0], info, path, codes={"four": 9})
    assert not list(tmp_path.iterdir())


def test_export_event_type_takes_its_constants(tmp_path, traced):
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


def test_export_network_that_cannot_be_traced_refused(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be exported to ONNX"):
        export_network(Untraceable(), make_info(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_export_of_a_network_with_too_few_outputs_leaves_nothing(tmp_path, traced):
    info = make_info()
    more = SkimInfo("four", 13, info.skims[0].calibration)
    with pytest.raises(ModelFileError, match="output: expected"):
        export_network(
            traced, replace(info, skims=(*info.skims, more)), tmp_path / "m.onnx"
        )
    assert not list(tmp_path.iterdir())


def test_export_second_file_cannot_be_moved_leaves_none(tmp_path, traced, monkeypatch):
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


def test_concatenated_chunks_score_like_single_events(exported, example):
    scorer = Scorer(exported, device="cpu")
    parts = [example.take([i]) for i in (3, 1, 2)]
    together = scorer.score(concatenate(parts)).logits
    alone = np.concatenate([scorer.score(part).logits for part in parts])
    np.testing.assert_array_equal(together, alone)
