"""ONNX networks against TorchScript, on events prepared as the official module does."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smartfilter.decision import DecisionSettings, decide
from smartfilter.events import Events, concatenate
from smartfilter.graphs import prepare
from smartfilter.io import open_events
from smartfilter.scoring import Scorer

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

TOLERANCE = 1e-4
MDST = ("mdst-v04-00-03.root", "mdst-v06-00-00.root", "mdst-v09-00-00.root")


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
    exported, shared_data, name, with_types
):
    events = open_events(shared_data / "mdst" / name).read()
    assert assert_same_logits(exported, with_types(events)) > 0


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


def test_concatenated_chunks_score_like_single_events(exported, example):
    scorer = Scorer(exported, device="cpu")
    parts = [example.take([i]) for i in (3, 1, 2)]
    together = scorer.score(concatenate(parts)).logits
    alone = np.concatenate([scorer.score(part).logits for part in parts])
    np.testing.assert_array_equal(together, alone)
