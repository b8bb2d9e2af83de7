"""Networks against torch-geometric, dense algebra and each other."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.nn import GCNConv

from smartfilter.errors import UsageError
from smartfilter.models import NETWORKS, build, count_parameters
from smartfilter.models.constants import set_constants
from smartfilter.models.layers import (
    GraphConvolution,
    Standardise,
    find_neighbours,
    mean_pool,
    propagate,
    set_standardisation,
)

N_FEATURES, N_TOKENS = 8, 30
FEATURES = ["prod_time", "x", "y", "z", "energy", "px", "py", "pz"]
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gcn": ("gcn", {}),
    "gcn-residual-count": ("gcn", {"residual": True, "count": True}),
    "gcn-compress": ("gcn", {"compress": True}),
    "gcn-one-layer-two-skims": ("gcn", {"n_layers": 1, "n_skims": 2}),
    "deepset": ("deepset", {}),
    "combined": ("deepset", {"n_embedding": 8, "standardise": True}),
    "combined-gcn": ("deepset", {"n_embedding": 8, "layers": "DS_3_GCN_13"}),
    "optimal": (
        "deepset",
        {
            "features": FEATURES,
            "n_embedding": 25,
            "layers": ["gcn", "gcn", "gcn", "linear"],
            "cylindrical": True,
            "normalise": True,
            "negative_slope": 0.01,
            "dropout": 0.179,
            "n_skims": 2,
        },
    ),
    "ablation": ("deepset", {"features": FEATURES, "without": ["x", "y"]}),
    "flat-mlp": ("flat_mlp", {"n_skims": 2}),
    "flat-mlp-mask": ("flat_mlp", {"mask": True, "standardise": True}),
    "fully-connected": (
        "flat_mlp",
        {"n_common": 12, "mother": True, "n_units": 16, "n_layers": 4},
    ),
    "transformer": ("transformer", {}),
    "transformer-skims": (
        "transformer",
        {
            "n_skims": 3,
            "norm_first": True,
            "standardise": True,
            "compress": True,
            "n_convolutions": 1,
            "n_event_type": 4,
            "n_head_units": 16,
        },
    ),
    "reference-gcn": ("reference_gcn", {"n_units": 32}),
    "common-graph-net": ("common_graph_net", {"n_common": 12, "n_units": 16}),
    "gatgap": ("gatgap", {"n_layers": 3}),
}
ORDERED = {"flat-mlp", "flat-mlp-mask", "fully-connected", "common-graph-net"}
"""Networks that see the order of the particles."""
WITHOUT_MOTHERS = {
    *("deepset", "combined", "ablation", "flat-mlp", "flat-mlp-mask", "transformer"),
}


def make_forest(counts, seed=0):
    """Return a random batch: several roots, self-mothers, isolated nodes."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    mother = []
    for begin, count in zip(offsets[:-1], counts, strict=True):
        for row in range(count):
            kind = rng.random()
            if row == 0 or kind < 0.1:
                mother.append(-1)
            elif kind < 0.2:
                mother.append(begin + row)
            else:
                mother.append(begin + rng.integers(row))
    n_nodes = int(offsets[-1])
    return {
        "x": torch.from_numpy(rng.normal(size=(n_nodes, N_FEATURES))).float(),
        "pdg": torch.from_numpy(rng.integers(0, N_TOKENS, n_nodes).astype(np.int32)),
        "mother": torch.tensor(mother, dtype=torch.int64),
        "offsets": torch.from_numpy(offsets),
        "event_type": torch.full((len(counts),), -1),
    }


def make_network(variant, seed=0):
    name, settings = VARIANTS[variant]
    torch.manual_seed(seed)
    settings = {"n_features": N_FEATURES, "n_tokens": N_TOKENS, **settings}
    network = build(name, **settings)
    x = 2.0 + 3.0 * torch.randn(100, N_FEATURES)
    set_constants(network, x, torch.randint(N_TOKENS, (100,)))
    randomise_slopes_and_statistics(network)
    return network.eval()


def randomise_slopes_and_statistics(network):
    """Give every slope and running statistic a value that it could have learnt."""
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        with torch.no_grad():
            if name.endswith(("slope", "running_mean", "norm.weight", "norm.bias")):
                value.copy_(torch.randn_like(value))
            elif name.endswith("running_var"):
                value.copy_(0.5 + torch.rand_like(value))


def take_event(batch, i):
    begin, end = batch["offsets"][i], batch["offsets"][i + 1]
    mother = batch["mother"][begin:end]
    return {
        "x": batch["x"][begin:end],
        "pdg": batch["pdg"][begin:end],
        "mother": torch.where(mother >= 0, mother - begin, mother),
        "offsets": torch.tensor([0, end - begin]),
        "event_type": batch["event_type"][i : i + 1],
    }


def dense_adjacency(mother):
    a = np.eye(len(mother))
    for row, m in enumerate(mother.tolist()):
        if m >= 0:
            a[row, m] = a[m, row] = 1.0
    scale = 1.0 / np.sqrt(a.sum(axis=1))
    return scale[:, None] * a * scale


def edge_index(mother):
    rows = torch.arange(len(mother))
    child = rows[(mother >= 0) & (mother != rows)]
    pairs = torch.stack([mother[child], child])
    return torch.cat([pairs, pairs.flip(0)], dim=1)


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


COUNTS = {
    "mixed": [7, 1, 0, 25, 3, 0],
    "one-particle": [1],
    "one-event": [40],
    "first-empty": [0, 5],
    "many-nodes": [100, 0, 80],
}


SPARSE, DENSE = 0, 10_000
"""Arguments of find_neighbours that choose how the adjacency is held."""


@pytest.mark.parametrize("form", [SPARSE, DENSE])
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
def test_propagate_random_forest_equals_dense_product(counts, form):
    batch = make_forest(counts)
    neighbours = find_neighbours(batch["mother"], batch["x"], form)
    got = propagate(batch["x"], neighbours)
    expected = dense_adjacency(batch["mother"]) @ batch["x"].double().numpy()
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)


def test_find_neighbours_self_mother_gives_one_loop_only():
    neighbours = find_neighbours(torch.tensor([0, 0, -1]), torch.zeros(1), SPARSE)
    assert neighbours.node.tolist() == [0, 1, 1, 0, 2]
    assert neighbours.start.tolist() == [0, 2, 4]
    np.testing.assert_allclose(neighbours.weight, [0.5, 0.5, 0.5, 0.5, 1.0])


def test_find_neighbours_full_matrix_has_one_loop_per_node():
    weight = find_neighbours(torch.tensor([0, 0, -1]), torch.zeros(1)).weight
    expected = [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    torch.testing.assert_close(weight, torch.tensor(expected))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("counts", [[9, 0, 1, 30], [90, 0, 1, 60]], ids=str)
def test_convolution_without_bias_equals_torch_geometric(counts, seed):
    batch = make_forest(counts, seed)
    ours, theirs = GraphConvolution(N_FEATURES, 16), GCNConv(N_FEATURES, 16)
    with torch.no_grad():
        ours.linear.weight.copy_(theirs.lin.weight)
        ours.linear.bias.zero_()
        got = ours(batch["x"], find_neighbours(batch["mother"], batch["x"]))
        expected = theirs(batch["x"], edge_index(batch["mother"])) - theirs.bias
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_convolution_with_bias_propagates_the_bias():
    """Our bias is inside the product: torch-geometric's result plus (row sum) b."""
    batch = make_forest([9, 0, 1, 30])
    ours, theirs = GraphConvolution(N_FEATURES, 16), GCNConv(N_FEATURES, 16, bias=False)
    rows = torch.from_numpy(dense_adjacency(batch["mother"]).sum(axis=1)).float()
    with torch.no_grad():
        theirs.lin.weight.copy_(ours.linear.weight)
        got = ours(batch["x"], find_neighbours(batch["mother"], batch["x"]))
        expected = theirs(batch["x"], edge_index(batch["mother"]))
        expected += rows[:, None] * ours.linear.bias
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_convolution_residual_adds_linear_map_of_the_node():
    batch = make_forest([12])
    layer = GraphConvolution(N_FEATURES, 5, residual=True)
    neighbours = find_neighbours(batch["mother"], batch["x"])
    assert layer.skip is not None
    expected = propagate(layer.linear(batch["x"]), neighbours) + layer.skip(batch["x"])
    torch.testing.assert_close(layer(batch["x"], neighbours), expected)


@pytest.mark.parametrize("form", [SPARSE, DENSE])
def test_propagate_gradient_equals_finite_differences(form):
    batch = make_forest([6, 0, 4])
    x = batch["x"].double().requires_grad_()
    neighbours = find_neighbours(batch["mother"], x, form)
    assert torch.autograd.gradcheck(lambda v: propagate(v, neighbours), (x,))


def test_mean_pool_empty_events_are_zero():
    x = torch.arange(8.0).reshape(4, 2)
    pooled = mean_pool(x, torch.tensor([0, 0, 3, 3, 4, 4]))
    expected = [[0, 0], [2, 3], [0, 0], [6, 7], [0, 0]]
    torch.testing.assert_close(pooled, torch.tensor(expected, dtype=torch.float32))


def test_standardise_constant_feature_stays_finite():
    layer = Standardise(2)
    set_standardisation(layer, torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    got = layer(torch.tensor([[3.0, 5.0], [2.0, 6.0]]))
    torch.testing.assert_close(got, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))


def test_standardise_compress_equals_numpy_and_tames_outliers():
    rng = np.random.default_rng(0)
    x = np.where(rng.random((500, 2)) < 0.01, 1e4, rng.normal(size=(500, 2)))
    x[::7, 0] = 0.0
    x[:, 1] = 0.0
    layer = Standardise(2, compress=True)
    set_standardisation(layer, torch.from_numpy(x).float())
    scale = np.quantile(np.abs(x[x[:, 0] != 0, 0]), 0.5, method="lower")
    y = np.arcsinh(x[:, 0] / scale)
    got = layer(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(got[:, 0], (y - y.mean()) / y.std(), atol=1e-4)
    np.testing.assert_array_equal(got[:, 1], 0.0)
    assert np.abs(got).max() < 10.0


def test_standardise_scripted_large_batch_equals_asinh_in_double():
    layer = Standardise(3, compress=True)
    set_standardisation(layer, torch.randn(500, 3) * torch.tensor([1e-3, 1.0, 50.0]))
    size = torch.logspace(-12, 37, 3000).reshape(-1, 3)
    x = torch.cat([size, -size, torch.zeros(1, 3)])
    expected = copy.deepcopy(layer).double()(x.double())
    found = torch.jit.script(layer)(x)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-6)
    assert torch.isfinite(torch.jit.script(layer)(3e38 * torch.ones(500, 3))).all()


def test_network_batch_equals_events_one_by_one(variant):
    network = make_network(variant)
    batch = make_forest([5, 0, 1, 33, 12, 0, 120, 140], seed=4)
    batch["event_type"] = torch.arange(8) - 1
    with torch.inference_mode():
        together = network(**batch)
        alone = torch.cat([network(**take_event(batch, i)) for i in range(8)])
    assert together.shape == (8, VARIANTS[variant][1].get("n_skims", 1))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_network_scripted_equals_eager_exactly(variant):
    network = make_network(variant)
    scripted = torch.jit.script(network)
    with torch.inference_mode():
        for counts in ([5, 0, 17], [1], [0], [40] * 3, [110, 3], [3], [129]):
            batch = make_forest(counts, seed=sum(counts))
            assert torch.equal(network(**batch), scripted(**batch))


def test_network_permuted_particles_same_logit_unless_ordered(variant):
    network = make_network(variant)
    batch = make_forest([25], seed=2)
    order = torch.randperm(25)
    position = torch.argsort(order)
    mother = batch["mother"]
    moved = torch.where(mother >= 0, position[mother.clamp(min=0)], mother)
    shuffled = {
        **batch,
        "x": batch["x"][order],
        "pdg": batch["pdg"][order],
        "mother": moved[order],
    }
    got, expected = network(**shuffled), network(**batch)
    if variant in ORDERED:
        assert not torch.equal(got, expected)
    else:
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("counts", [[], [0], [0, 0, 0]])
def test_network_without_nodes_is_finite(variant, counts):
    logits = make_network(variant)(**make_forest(counts))
    assert logits.shape[0] == len(counts)
    assert torch.isfinite(logits).all()


def test_network_mother_link_matters_where_it_is_seen(variant):
    network, batch = make_network(variant), make_forest([10], seed=1)
    cut = {**batch, "mother": torch.full((10,), -1)}
    assert torch.equal(network(**batch), network(**cut)) == (variant in WITHOUT_MOTHERS)


def test_network_training_mode_gives_finite_gradients(variant):
    network = make_network(variant).train()
    for counts in ([5, 0, 1, 110], [1], [0]):
        network.zero_grad()
        network(**make_forest(counts)).sum().backward()
        for name, p in network.named_parameters():
            assert p.grad is None or torch.isfinite(p.grad).all(), name


@pytest.mark.parametrize("counts", [[6, 11], [100, 80]], ids=str)
def test_gcn_whole_forward_equals_dense_computation(counts):
    network = make_network("gcn")
    batch = make_forest(counts, seed=3)
    state = {k: v.double().numpy() for k, v in network.state_dict().items()}
    x = (batch["x"].double().numpy() - state["standardise.mean"]) / state[
        "standardise.deviation"
    ]
    h = np.concatenate([x, state["embedding.weight"][batch["pdg"].numpy()]], axis=1)
    adjacency = dense_adjacency(batch["mother"])
    for k in range(3):
        weight, bias = (
            state[f"convolutions.{k}.linear.{name}"] for name in ("weight", "bias")
        )
        h = np.maximum(adjacency @ (h @ weight.T + bias), 0.0)
    first = counts[0]
    pooled = np.stack([h[:first].mean(axis=0), h[first:].mean(axis=0)])
    hidden = np.maximum(pooled @ state["head.0.weight"].T + state["head.0.bias"], 0.0)
    expected = hidden @ state["head.2.weight"].T + state["head.2.bias"]
    got = network(**batch).detach().numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_network_single_precision_equals_double_to_1e_4(variant):
    """Batches and single events, the sparse and the full matrix, scripted."""
    network = make_network(variant)
    batch = make_forest([40, 0, 1, 75, 130, 20], seed=8)
    double = copy.deepcopy(network).double()
    expected = double(**{**batch, "x": batch["x"].double()}).detach()
    fast = torch.jit.freeze(torch.jit.script(network))
    with torch.inference_mode():
        together = fast(**batch)
        alone = torch.cat([fast(**take_event(batch, i)) for i in range(6)])
    for logits in (together, alone):
        torch.testing.assert_close(logits.double(), expected, atol=1e-4, rtol=0)


def test_count_parameters_gcn_equals_formula():
    network = build("gcn", n_features=8, n_tokens=562, n_embedding=16, n_units=64)
    layers = (24 + 1) * 64 + 2 * (64 + 1) * 64 + (64 + 1) * 64 + 65
    assert count_parameters(network) == 562 * 16 + layers


def test_build_unknown_network_or_setting_refused():
    with pytest.raises(UsageError, match="expected one of gcn"):
        build("gnc")
    with pytest.raises(UsageError, match="n_unit"):
        build("gcn", n_features=8, n_tokens=3, n_unit=5)
    with pytest.raises(UsageError, match="missing n_tokens"):
        build("gcn", n_features=8)
    elsewhere = {"subtree"}  # tests/test_subtree.py
    assert {name for name, _ in VARIANTS.values()} == set(NETWORKS) - elsewhere


def test_gcn_event_type_without_training_is_an_unknown_one():
    torch.manual_seed(0)
    network = build("gcn", n_features=8, n_tokens=6, n_skims=2, n_event_type=3)
    x, pdg = torch.randn(6, 8), torch.zeros(6, dtype=torch.int32)
    mother, offsets = torch.tensor([-1, 0, -1, 0, -1, 4]), torch.tensor([0, 2, 4, 6])
    mother[3] = 2

    def run(codes):
        return network(x, pdg, mother, offsets, torch.tensor(codes)).detach()

    unknown = run([-1, -1, -1])
    assert torch.equal(run([0, 3, 6]), unknown)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    loss = network(x, pdg, mother, offsets, torch.tensor([3, -1, 3]))[:, 0].sum()
    loss.backward()
    optimizer.step()
    unknown = run([-1, -1, -1])
    assert torch.equal(run([0, -1, 6]), unknown)  # types without training events
    assert not torch.allclose(run([3, 3, 3]), unknown)
    weight = network.state_dict()["event_type.embedding.weight"]
    assert torch.equal(weight[0], torch.zeros(3))
