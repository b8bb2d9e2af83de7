"""Networks against plain loops over particles and torch's own layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import GATConv

from smartfilter.errors import UsageError
from smartfilter.graphs import PRESETS
from smartfilter.model_info import DEFAULT, Calibration, ModelInfo, SkimInfo
from smartfilter.models import build, count_parameters
from smartfilter.models.constants import set_constants
from smartfilter.models.deepset import parse_layers
from smartfilter.models.gatgap import GraphAttention
from smartfilter.models.layers import find_neighbours
from smartfilter.models.segments import find_rows
from smartfilter.models.transformer import EncoderLayer, Transformer, find_groups
from smartfilter.onnx_export import export_network
from smartfilter.pdg import load_vocabulary
from smartfilter.training.config import read_config

NAMES = ("prod_time", "energy", "x", "y", "z", "px", "py", "pz")
SMALL = {"n_features": 8, "n_tokens": 12}


def make_events(counts, seed=0):
    """Return a batch and its events as (x, pdg, mother within the event)."""
    rng = np.random.default_rng(seed)
    events = []
    for n in counts:
        mother = np.array([rng.integers(-1, k + 1) for k in range(n)], dtype=np.int64)
        events.append((rng.normal(size=(n, 8)), rng.integers(0, 12, n), mother))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    mothers = [
        np.where(m >= 0, m + b, -1)
        for (_, _, m), b in zip(events, offsets[:-1], strict=True)
    ]
    batch = {
        "x": torch.from_numpy(np.concatenate([e[0] for e in events])).float(),
        "pdg": torch.from_numpy(np.concatenate([e[1] for e in events]).astype("i4")),
        "mother": torch.from_numpy(np.concatenate(mothers)),
        "offsets": torch.from_numpy(offsets),
        "event_type": torch.full((len(counts),), -1),
    }
    return batch, events


def make_network(name, seed=0, **settings):
    torch.manual_seed(seed)
    network = build(name, **SMALL, **settings)
    set_constants(network, torch.randn(50, 8), torch.randint(12, (50,)))
    for key, value in [*network.named_parameters(), *network.named_buffers()]:
        with torch.no_grad():
            if key.endswith(("slope", "running_mean", "norm.weight", "norm.bias")):
                value.copy_(0.5 * torch.randn_like(value))
            elif key.endswith("running_var"):
                value.copy_(0.5 + torch.rand_like(value))
    return network.eval()


class Weights:
    """The parameters of a network as NumPy functions."""

    def __init__(self, network):
        self.state = {k: v.double().numpy() for k, v in network.state_dict().items()}

    def linear(self, name, h):
        h = h @ self.state[f"{name}.weight"].T
        return h + self.state.get(f"{name}.bias", 0.0)

    def normalise(self, name, h):
        s = self.state
        scale = s[f"{name}.weight"] / np.sqrt(s[f"{name}.running_var"] + 1e-5)
        return (h - s[f"{name}.running_mean"]) * scale + s[f"{name}.bias"]


def relu(h):
    return np.maximum(h, 0.0)


def leaky(h, slope=0.01):
    return np.where(h > 0, h, slope * h)


def kipf_welling(mother):
    """Return D^-1/2 A D^-1/2 with a self-loop for every node."""
    a = np.eye(len(mother))
    for k, m in enumerate(mother):
        if m >= 0:
            a[k, m] = a[m, k] = 1.0
    scale = 1.0 / np.sqrt(a.sum(axis=1))
    return scale[:, None] * a * scale


def published_adjacency(mother, n_slots, *, normalise):
    """Return the adjacency as published: no self-loop where the mother is -1."""
    a = np.zeros((n_slots, n_slots))
    for k, m in enumerate(mother[:n_slots]):
        if m >= 0:
            a[k, k] = 1.0
            if m < n_slots:
                a[k, m] = a[m, k] = 1.0
    if normalise:
        degree = a.sum(axis=1)
        scale = np.where(degree > 0, degree, 1.0) ** -0.5
        a = scale[:, None] * a * scale
    return a


def check(network, expected, counts=(6, 0, 1, 17, 104)):
    """Compare logits of a batch with a function of (x, pdg, mother) of one event."""
    batch, events = make_events(counts)
    with torch.inference_mode():
        got = network(**batch).numpy()
    want = np.stack([expected(*event) for event in events])
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layers", ["DS_1_GCN_", "DS_2_GCN_1", "DS_2_GCN_2", "DS_3_GCN_13"]
)
@pytest.mark.parametrize("n_embedding", [0, 5])
def test_deepset_equals_plain_loop(layers, n_embedding):
    network = make_network("deepset", layers=layers, n_embedding=n_embedding)
    w, kinds = Weights(network), parse_layers(layers)

    def expected(x, pdg, mother):
        columns = [x, w.state["embedding.weight"][pdg]] if n_embedding else [x]
        h = np.concatenate(columns, axis=1)
        for k, kind in enumerate(kinds):
            h = w.linear(f"layers.{k}.linear", h)
            h = relu(kipf_welling(mother) @ h if kind == "gcn" else h)
        pooled = h.mean(axis=0) if len(h) else np.zeros(32)
        return w.linear("head.4", relu(w.linear("head.0", pooled)))

    check(network, expected)


def test_optimal_model_equals_plain_loop():
    settings = read_config("lab_report/optimal").settings
    network = make_network("deepset", features=NAMES, **settings)
    w = Weights(network)

    def expected(x, pdg, mother):
        t, e, vx, vy, vz, px, py, pz = x.T
        features = [np.hypot(vx, vy), vz, np.hypot(px, py), pz, t, e]
        embedding = w.state["embedding.weight"][pdg]
        h = np.concatenate([np.stack(features, axis=1), embedding], axis=1)
        for k, graph in enumerate([True, True, True, False]):
            h = w.normalise(f"layers.{k}.norm.norm", h)
            h = w.linear(f"layers.{k}.linear", h)
            h = leaky(kipf_welling(mother) @ h if graph else h)
        pooled = h.mean(axis=0) if len(h) else np.zeros(32)
        pooled = leaky(w.normalise("head.1.norm", w.linear("head.0", pooled)))
        return w.linear("head.4", pooled)

    check(network, expected)


def test_reference_gcn_equals_padded_loop():
    network = make_network("reference_gcn", n_units=16)
    w = Weights(network)

    def expected(x, pdg, mother):
        h = np.zeros((100, 16))
        x, pdg = x[:100], pdg[:100]
        h[: len(x), :8] = w.state["embedding.weight"][pdg]
        h[: len(x), 8:] = x
        h[len(x) :, :8] = w.state["embedding.weight"][0]
        a = published_adjacency(mother, 100, normalise=True)
        for k in range(3):
            h = relu(w.linear(f"particle_layers.{k}", h))
        for k in range(3):
            h = relu(a @ w.linear(f"graph_layers.{k}", h))
        pooled = h.mean(axis=0)
        for k in range(3):
            pooled = relu(w.linear(f"event_layers.{k}", pooled))
        return w.linear("output", pooled)

    check(network, expected)


def one_hot(network, pdg):
    column = network.codes.column.numpy()
    vectors = np.zeros((len(pdg), network.codes.n_common))
    for k, token in enumerate(pdg):
        if column[token] < network.codes.n_common:
            vectors[k, column[token]] = 1.0
    return vectors


def test_common_graph_net_equals_padded_loop():
    network = make_network("common_graph_net", n_common=4, n_units=6)
    w = Weights(network)

    def activate(name, h):
        h = w.normalise(f"{name}.norm.norm", relu(h))
        return np.where(h > 0, h, w.state[f"{name}.slope"] * h)

    def expected(x, pdg, mother):
        x, pdg = x[:100], pdg[:100]
        h = np.zeros((100, 12))
        h[: len(x)] = np.concatenate([x, one_hot(network, pdg)], axis=1)
        a = published_adjacency(mother, 100, normalise=False)
        for k in range(3):
            h = relu(w.linear(f"particle_layers.{k}.linear", h))
        for k in range(3):
            h = activate(f"graph_norms.{k}", a @ w.linear(f"graph_layers.{k}", h))
        pooled = h.mean(axis=0, keepdims=True)
        for k in range(7):
            pooled = activate(f"event_norms.{k}", w.linear(f"event_layers.{k}", pooled))
        return w.linear("output", pooled)[0]

    check(network, expected)


def test_common_graph_net_training_statistics_count_empty_slots():
    """Of 2 x 100 slots 9 are filled; the others are 0 in front of the normalisation."""
    network = make_network("common_graph_net", n_common=4, n_units=6, dropout=0.0)
    w = Weights(network)
    batch, events = make_events((4, 5))
    total = np.zeros(6)
    for x, pdg, mother in events:
        h = np.concatenate([x, one_hot(network, pdg)], axis=1)
        for k in range(3):
            h = relu(w.linear(f"particle_layers.{k}.linear", h))
        a = published_adjacency(mother, len(x), normalise=False)
        total += relu(a @ w.linear("graph_layers.0", h)).sum(axis=0)
    network.train()(**batch)
    got = network.state_dict()["graph_norms.0.norm.norm.running_mean"].numpy()
    before = w.state["graph_norms.0.norm.norm.running_mean"]
    np.testing.assert_allclose(got, 0.9 * before + 0.1 * total / 200, rtol=1e-4)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_flat_mlp_equals_padded_loop(mask, full):
    more = {"n_common": 4, "mother": True} if full else {}
    network = make_network("flat_mlp", mask=mask, n_units=7, **more)
    w = Weights(network)

    def expected(x, pdg, mother):
        slots = []
        for k in range(100):
            there = k < len(x)
            slots += list(x[k] if there else np.zeros(8))
            if full:
                slots += list(one_hot(network, pdg[k : k + 1])[0] if there else [0] * 4)
            slots += [float(there)] * mask
            if full:
                slots.append(mother[k] if there else -1.0)
        h = np.array(slots)
        for k in range(2):
            h = relu(w.linear(f"layers.{k}", h))
        return w.linear("output", h)

    check(network, expected)


def test_gatgap_equals_plain_loop():
    network = make_network("gatgap", n_units=4, n_heads=2, n_layers=2, n_embedding=3)
    w = Weights(network)

    def attend(name, h, mother):
        z = w.linear(f"{name}.linear", h).reshape(len(h), 2, 4)
        source, target = w.state[f"{name}.source"], w.state[f"{name}.target"]
        linked = kipf_welling(mother) > 0
        out = np.zeros_like(z)
        for i in range(len(h)):
            for head in range(2):
                near = np.flatnonzero(linked[i])
                e = leaky(z[near, head] @ source[head] + z[i, head] @ target[head], 0.2)
                share = np.exp(e) / np.exp(e).sum()
                out[i, head] = share @ z[near, head]
        return out.reshape(len(h), 8) + w.state[f"{name}.bias"]

    def expected(x, pdg, mother):
        h = np.concatenate([w.state["embedding.weight"][pdg], x], axis=1)
        state = np.zeros(0)
        for k in range(2):
            h = leaky(attend(f"layers.{k}.attention", h, mother))
            gate = np.exp(w.linear(f"layers.{k}.gate", h)[:, 0])
            pooled = gate @ h / gate.sum() if len(h) else np.zeros(8)
            both = np.concatenate([state, pooled])
            state = leaky(w.linear(f"layers.{k}.linear", both))
        return w.linear("output", state)

    check(network, expected, counts=(6, 0, 1, 17))


def test_graph_attention_equals_torch_geometric():
    batch, _ = make_events((9, 0, 1, 30))
    ours, theirs = GraphAttention(8, 5, 3), GATConv(8, 5, heads=3, add_self_loops=True)
    mother, rows = batch["mother"], torch.arange(40)
    child = rows[(mother >= 0) & (mother != rows)]
    pairs = torch.stack([mother[child], child])
    neighbours = find_neighbours(mother, batch["x"], dense_nodes=-1)
    with torch.no_grad():
        ours.linear.weight.copy_(theirs.lin.weight)
        ours.source.copy_(theirs.att_src[0])
        ours.target.copy_(theirs.att_dst[0])
        ours.bias.copy_(theirs.bias.normal_())
        got = ours(batch["x"], neighbours, find_rows(neighbours, 40))
        expected = theirs(batch["x"], torch.cat([pairs, pairs.flip(0)], dim=1))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def make_encoder(norm_first):
    torch.manual_seed(1)
    theirs = nn.TransformerEncoderLayer(
        16, 4, 24, dropout=0.0, batch_first=True, norm_first=norm_first
    )
    ours = EncoderLayer(16, 4, 24, norm_first=norm_first)
    pairs = {
        "queries.weight": theirs.self_attn.in_proj_weight,
        "queries.bias": theirs.self_attn.in_proj_bias,
        "joined.weight": theirs.self_attn.out_proj.weight,
        "joined.bias": theirs.self_attn.out_proj.bias,
    }
    pairs |= {
        f"{mine}.{kind}": getattr(getattr(theirs, its), kind)
        for mine, its in (
            ("inner", "linear1"),
            ("outer", "linear2"),
            ("norm_1", "norm1"),
            ("norm_2", "norm2"),
        )
        for kind in ("weight", "bias")
    }
    ours.load_state_dict(pairs)
    return ours.eval(), theirs.eval()


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layer_equals_torch_with_padding_mask(norm_first):
    ours, theirs = make_encoder(norm_first)
    counts = [3, 0, 9, 1, *range(1, 41)]  # more than one group
    batch, _ = make_events(counts)
    x = torch.randn(sum(counts), 16)
    with torch.no_grad():
        got = torch.split(ours(x, find_groups(batch["offsets"])), counts)
        padded = nn.utils.rnn.pad_sequence(list(torch.split(x, counts)), True)
        empty = torch.arange(40) >= torch.tensor(counts)[:, None]
        empty[1, 0] = False  # torch gives NaN where nothing is left to attend to
        expected = theirs(padded, src_key_padding_mask=empty)
    for k, n in enumerate(counts):
        torch.testing.assert_close(got[k], expected[k, :n], atol=1e-5, rtol=1e-5)


def test_encoder_layer_gradient_equals_torch():
    ours, theirs = make_encoder(False)
    x = torch.randn(5, 16, requires_grad=True)
    groups = find_groups(torch.tensor([0, 0, 2, 5]))
    (ours(x, groups) ** 3).sum().backward()
    got, x.grad = x.grad, None
    parts = [theirs(x[None, :2]), theirs(x[None, 2:])]
    (torch.cat(parts, dim=1) ** 3).sum().backward()
    torch.testing.assert_close(got, x.grad, atol=1e-4, rtol=1e-4)


def test_transformer_event_type_matters_once_it_is_trained():
    network = make_network("transformer", n_event_type=3, n_skims=2)
    assert isinstance(network, Transformer)
    assert network.event_type is not None
    batch, _ = make_events((4, 4))
    mixed = {**batch, "event_type": torch.tensor([3, 3])}
    with torch.no_grad():
        assert torch.equal(network(**batch), network(**mixed))
        network.event_type.embedding.weight[4] = 1.0
        assert not torch.allclose(network(**batch), network(**mixed))


U, E = 32, 541 * 8  # units; the embedding of the published table has 4328 parameters


def test_transformer_heads_that_do_not_share_evenly_refused():
    with pytest.raises(UsageError, match="multiple of 3 heads"):
        build("transformer", **SMALL, n_units=16, n_heads=3)


def test_transformer_exports_with_the_interface_of_the_official_module(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    vocabulary = load_vocabulary("smart_background")
    settings = {**read_config("transformer").settings, "n_layers": 1}
    shape = {"n_features": 8, "n_tokens": vocabulary.n_tokens, "n_skims": 2}
    network = build("transformer", **shape, **settings).eval()
    assert isinstance(network, Transformer)
    assert network.event_type is not None
    nn.init.normal_(network.event_type.embedding.weight)
    constants = Calibration(1.0, -1.0, 0.05, 0.4, 1.2, 0.5, 0.3)
    info = ModelInfo(
        preset="smart_background",
        features=tuple(PRESETS["smart_background"].features),
        vocabulary=vocabulary,
        skims=tuple(SkimInfo(n, k, {DEFAULT: constants}) for k, n in enumerate("ab")),
        network="transformer",
        settings={},
        n_parameters=count_parameters(network),
    )
    export = export_network(network, info, tmp_path / "network.onnx")
    assert export.largest_difference < 1e-5
