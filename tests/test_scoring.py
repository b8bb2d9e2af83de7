"""Scoring: batches, calibration, devices, events that cannot be scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from smartfilter.errors import DeviceError, ModelFileError, UsageError
from smartfilter.events import (
    EVENT_TYPES,
    PARTICLE_COLUMNS,
    Events,
    encode_event_type,
    offsets_from_counts,
)
from smartfilter.graphs import Reason, get_preset, prepare
from smartfilter.io import open_events
from smartfilter.model_file import (
    load_model,
    load_module,
    save_model,
)
from smartfilter.model_info import DEFAULT, Calibration, ModelInfo, SkimInfo, sigmoid
from smartfilter.models import build, count_parameters
from smartfilter.pdg import load_vocabulary
from smartfilter.scoring import Calibrator, Scorer, find_batch_end, resolve_device

PRESET = get_preset("smart_background")
WORDS = load_vocabulary(PRESET.vocabulary)
COUNTS = [12, 1, 0, 45, 7, 30, 2, 0]


def make_events(counts, seed=0):
    rng = np.random.default_rng(seed)
    offsets = offsets_from_counts(np.asarray(counts, dtype=np.int64))
    n = int(offsets[-1])
    position = np.arange(n) - np.repeat(offsets[:-1], counts)
    columns = {
        name: rng.normal(size=n).astype(np.float32)
        for name, dtype in PARTICLE_COLUMNS.items()
        if dtype == np.float32
    }
    columns |= {
        "pdg": rng.choice([211, -211, 22, 111, 421, 300553], n).astype(np.int32),
        "mother_index": (position * rng.random(n)).astype(np.int32)
        - (position == 0).astype(np.int32),
        "array_index": position.astype(np.int32),
        "status": np.ones(n, dtype=np.uint16),
    }
    return Events.from_columns(offsets, columns, event=np.arange(len(counts)))


def make_constants(slope, intercept):
    return Calibration(slope, intercept, 0.05, 0.1, 1.5, 0.5, 0.0)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build(
        "gcn", n_features=8, n_tokens=WORDS.n_tokens, n_skims=2, n_units=16
    ).eval()


@pytest.fixture(scope="module")
def model_path(tmp_path_factory, network):
    first = {DEFAULT: make_constants(2.0, -1.0), "mixed": make_constants(0.5, 3.0)}
    info = ModelInfo(
        preset=PRESET.name,
        features=tuple((f.name, f.unit) for f in PRESET.features),
        vocabulary=WORDS,
        skims=(
            SkimInfo("one", 1, first),
            SkimInfo("two", None, {DEFAULT: make_constants(1.0, 0.0)}),
        ),
        network="gcn",
        settings={},
        n_parameters=count_parameters(network),
    )
    path = tmp_path_factory.mktemp("model") / "two.pt"
    save_model(path, network, info)
    return path


@pytest.fixture
def scorer(model_path):
    return Scorer(model_path, device="cpu")


def test_score_equals_network_on_prepared_events(scorer, network):
    events = make_events(COUNTS)
    graph = prepare(events, PRESET)
    columns = (graph.x, graph.pdg, graph.mother, graph.offsets, graph.event_type)
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(c) for c in columns)).numpy()
    scores = scorer.score(events)
    filled = np.array(COUNTS) > 0
    np.testing.assert_array_equal(scores.scorable, filled)
    np.testing.assert_allclose(scores.logits[filled], expected[filled], atol=1e-5)
    assert scores.logits.dtype == scores.scores.dtype == np.float32
    np.testing.assert_array_equal(scores.n_nodes, COUNTS)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_score_any_batch_size_same_logits(scorer, model_path, batch_size):
    events = make_events(COUNTS * 5)
    batched = Scorer(model_path, device="cpu", batch_size=batch_size).score(events)
    np.testing.assert_allclose(
        batched.logits, scorer.score(events).logits, atol=1e-5, equal_nan=True
    )


def test_score_few_nodes_per_batch_same_logits(scorer, model_path, monkeypatch):
    monkeypatch.setattr("smartfilter.scoring.NODES_PER_BATCH", {"cpu": 20})
    events = make_events(COUNTS * 3)
    small = Scorer(model_path, device="cpu").score(events)
    np.testing.assert_allclose(
        small.logits, scorer.score(events).logits, atol=1e-5, equal_nan=True
    )


def test_score_event_alone_same_logits(scorer):
    events = make_events(COUNTS)
    together = scorer.score(events)
    for i in range(len(events)):
        alone = scorer.score(events.take([i]))
        np.testing.assert_allclose(
            alone.logits[0], together.logits[i], atol=1e-5, equal_nan=True
        )
        assert alone.reason[0] == together.reason[i]


def test_score_unscorable_event_is_nan_and_says_why(scorer):
    events = make_events([3, 4, 5])
    events["px"][5] = np.nan
    scores = scorer.score(events)
    assert scores.scorable.tolist() == [True, False, True]
    assert scores.reason.tolist() == [0, Reason.NON_FINITE, 0]
    assert np.isnan(scores.logits[1]).all()
    assert np.isnan(scores.scores[1]).all()
    assert np.isfinite(scores.scores[[0, 2]]).all()
    others = scorer.score(events.take([0, 2]))
    np.testing.assert_allclose(scores.logits[[0, 2]], others.logits, atol=1e-5)


@pytest.mark.parametrize("size", [1e21, 1e30, 3e38])
def test_score_absurd_event_leaves_its_neighbours_alone(scorer, size):
    network = scorer.model.network

    def spread(x, *others):
        """Overflow as products with a matrix of the whole batch do: inf * 0 is NaN."""
        return network(x, *others) + 0 * (x * x).sum()

    scorer.model = replace(scorer.model, network=spread)
    events = make_events([3, 4, 5, 6])
    expected = scorer.score(events.take([0, 2, 3])).logits
    events["energy"][4] = events["px"][5] = size
    scores = scorer.score(events)
    assert scores.reason.tolist() == [0, Reason.NON_FINITE, 0, 0]
    np.testing.assert_allclose(scores.logits[[0, 2, 3]], expected, atol=1e-5)


@pytest.mark.parametrize("model", ["gcn", "subtree"])
@pytest.mark.parametrize("size", [1e10, 1e30, 3e38])
def test_score_absurd_event_in_a_batch_as_alone(model, size):
    events = make_events([3, 4, 5, 6])
    events["px"][4] = events["energy"][5] = size
    scorer = Scorer(model, device="cpu")
    together = scorer.score(events)
    for i in range(4):
        alone = scorer.score(events.take([i]))
        assert alone.reason[0] == together.reason[i]
        np.testing.assert_allclose(alone.logits[0], together.logits[i], rtol=1e-4)


def test_score_no_event_gives_empty_arrays(scorer):
    scores = scorer.score(make_events([]))
    assert scores.logits.shape == scores.scores.shape == (0, 2)
    assert len(scores) == 0


def test_score_event_without_particles_at_the_end(scorer):
    scores = scorer.score(make_events([4, 0]))
    assert scores.scorable.tolist() == [True, False]
    assert scores.reason[1] == Reason.NO_NODE


def test_score_unknown_pdg_code_is_scored(scorer):
    events = make_events([5])
    events["pdg"][:] = 123456789
    assert np.isfinite(scorer.score(events).scores).all()


def test_score_calibration_depends_on_event_type(scorer):
    events = make_events([6, 6, 6])
    codes = [encode_event_type("mixed"), encode_event_type("uubar"), -1]
    scores = scorer.score(events.with_event_type_codes(np.array(codes, dtype=np.int8)))
    logit = scores.logits.astype(np.float64)
    z = np.stack(
        [
            np.array([0.5, 2.0, 2.0]) * logit[:, 0] + np.array([3.0, -1.0, -1.0]),
            logit[:, 1],
        ],
        axis=1,
    )
    np.testing.assert_allclose(scores.scores, 1.0 / (1.0 + np.exp(-z)), rtol=1e-6)


def test_calibrator_agrees_with_the_calibration_itself(scorer):
    logits = np.array([[-30.0, 4.0], [0.0, -2.0]], dtype=np.float32)
    got = Calibrator(scorer.info)(logits, np.array([-1, -1]))
    for k, skim in enumerate(scorer.info.skims):
        expected = skim.get_calibration().to_score(logits[:, k])
        np.testing.assert_array_equal(got[:, k], expected)


def test_calibrator_with_curves_agrees_with_the_calibrations(scorer):
    bent = replace(make_constants(1.5, 0.2), knots=(-2.0, 1.0), shifts=(0.5, -0.5))
    first, second = scorer.info.skims
    skims = (first, replace(second, calibration={**second.calibration, "ccbar": bent}))
    info = replace(scorer.info, skims=skims)
    codes = np.array([encode_event_type("ccbar"), -1, encode_event_type("mixed")] * 4)
    logits = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32) * 3
    logits[5] = np.nan
    got = Calibrator(info)(logits, codes)
    names = ["ccbar", DEFAULT, "mixed"] * 4
    for i, name in enumerate(names):
        for k, skim in enumerate(skims):
            expected = skim.get_calibration(name).to_score(logits[i : i + 1, k])[0]
            np.testing.assert_array_equal(got[i, k], expected)


def test_sigmoid_large_arguments_neither_overflow_nor_vanish():
    z = np.array([-800.0, -40.0, 0.0, 800.0])
    expected = [0.0, np.exp(-40.0), 0.5, 1.0]
    np.testing.assert_allclose(sigmoid(z), expected, rtol=1e-6)


def test_find_batch_end_covers_every_event_once():
    rng = np.random.default_rng(1)
    offsets = offsets_from_counts(rng.integers(0, 9, 200) * rng.integers(0, 2, 200))
    for max_nodes, max_events in ((1, None), (10, None), (10, 3), (10**6, 7)):
        first, ends = 0, []
        while first < 200:
            end = find_batch_end(offsets, first, max_nodes, max_events)
            assert end > first
            fits = offsets[end] - offsets[first] <= max_nodes
            assert fits or end == first + 1
            assert max_events is None or end - first <= max_events
            ends.append(end)
            first = end
        assert ends[-1] == 200


def test_scorer_takes_a_loaded_model(model_path, scorer):
    model = load_model(model_path)
    again = Scorer(model, device="cpu")
    assert again.model is model
    events = make_events([5, 9])
    np.testing.assert_array_equal(
        again.score(events).logits, scorer.score(events).logits
    )
    assert again.digest == scorer.digest
    assert again.path == model_path


def test_scorer_restores_the_number_of_threads(scorer):
    before = torch.get_num_threads()
    scorer.score(make_events([3]))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("option", [{"batch_size": 0}, {"threads": 0}])
def test_scorer_senseless_setting_refused(model_path, option):
    with pytest.raises(UsageError, match="expected at least 1, got 0"):
        Scorer(model_path, device="cpu", **option)


def test_scorer_missing_model_refused(tmp_path):
    with pytest.raises(ModelFileError, match="cannot read"):
        Scorer(tmp_path / "none.pt", device="cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "meta", "mps"])
def test_resolve_device_unknown_name_refused(name):
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        resolve_device(name)


def test_resolve_device_without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert resolve_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:0"):
        with pytest.raises(DeviceError, match="expected a CUDA device"):
            resolve_device(name)


def test_resolve_device_with_one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(DeviceError, match="got 1 of them"):
        resolve_device("cuda:1")


def limit_memory(scorer, max_nodes, error):
    """Make the network fail for batches with more nodes; record batch sizes."""
    network, sizes = scorer.model.network, []

    def run(x, *others):
        if len(x) > max_nodes:
            raise error
        sizes.append(len(x))
        return network(x, *others)

    scorer.model = replace(scorer.model, network=run)
    return sizes


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("The following operation failed\nCUDA out of memory. Tried 2 GiB"),
    ],
)
def test_score_out_of_memory_halves_the_batch(scorer, error, caplog):
    events = make_events([8] * 60)
    expected = scorer.score(events).logits
    sizes = limit_memory(scorer, 100, error)
    np.testing.assert_allclose(scorer.score(events).logits, expected, atol=1e-5)
    assert sum(sizes) == 480
    assert max(sizes) <= 100
    assert len(sizes) < 10
    assert "halving" in caplog.text


def test_score_event_larger_than_memory_is_a_device_error(scorer):
    limit_memory(scorer, 3, torch.cuda.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(DeviceError, match="an event of 8 particles"):
        scorer.score(make_events([2, 8]))


def test_score_failing_network_stops_with_the_reason(scorer):
    limit_memory(scorer, 3, RuntimeError("index out of range in self"))
    with pytest.raises(ModelFileError, match="index out of range"):
        scorer.score(make_events([8]))


def test_score_large_event_is_scored(scorer):
    assert np.isfinite(scorer.score(make_events([20_000])).scores).all()


def test_calibrator_knows_every_event_type(scorer):
    types = np.arange(-1, len(EVENT_TYPES))
    scores = Calibrator(scorer.info)(np.zeros((len(types), 2), np.float32), types)
    mixed = types == encode_event_type("mixed")
    expected = sigmoid(np.where(mixed, 3.0, -1.0))
    np.testing.assert_array_equal(scores[:, 0], expected)


@pytest.fixture(scope="module", params=["gcn", "subtree"])
def reference(project_root, request):
    """A shipped model, the example events, and their logits in double precision."""
    events = open_events(project_root / "examples" / "events.root").read()
    module, info = load_module(request.param)
    graph = prepare(events, info.preset, info.vocabulary)
    columns = (graph.x, graph.pdg, graph.mother, graph.offsets, graph.event_type)
    x, *others = (torch.from_numpy(column) for column in columns)
    with torch.inference_mode():
        logits = module.double()(x.double(), *others).numpy()
    return request.param, events, logits


@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_score_shipped_model_equals_double_precision_to_1e_4(
    reference, batch_size, tmp_path
):
    """As shipped, and as this version of the network would save it."""
    model, events, expected = reference
    again = tmp_path / "again.pt"
    save_model(again, *load_module(model))
    for path in (model, again):
        found = Scorer(path, device="cpu", batch_size=batch_size).score(events)
        np.testing.assert_allclose(found.logits, expected, rtol=0, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_score_on_gpu_equals_cpu(model_path, scorer):
    events = make_events(COUNTS * 20)
    gpu = Scorer(model_path, device="cuda").score(events)
    cpu = scorer.score(events)
    np.testing.assert_allclose(gpu.logits, cpu.logits, atol=1e-4, equal_nan=True)
