"""Running standardisation against NumPy, and inside the subtree network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smartfilter.models import build
from smartfilter.models.scaling import RunningStandardise


def test_running_standardise_first_batches_average_equally():
    rng = np.random.default_rng(0)
    batches = [rng.normal(3.0, 2.0, (50, 2)) for _ in range(10)]
    layer = RunningStandardise(2).train()
    for batch in batches:
        layer(torch.from_numpy(batch).float())
    together = np.concatenate(batches)
    layer.eval()
    x = torch.from_numpy(together[:7]).float()
    expected = (together[:7] - together.mean(axis=0)) / together.std(axis=0)
    np.testing.assert_allclose(layer(x).numpy(), expected, atol=1e-4)


def test_running_standardise_forgets_old_batches():
    layer = RunningStandardise(1).train()
    for _ in range(200):
        layer(torch.full((4, 1), 5.0))
    for _ in range(2000):
        layer(torch.full((4, 1), -3.0))
    assert float(layer.mean) == pytest.approx(-3.0, abs=1e-3)


def test_running_standardise_scoring_changes_nothing():
    layer = RunningStandardise(3).eval()
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    x = torch.randn(20, 3)
    torch.testing.assert_close(layer(x), x)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


def test_running_standardise_constant_feature_and_outliers_stay_bounded():
    layer = RunningStandardise(2).train()
    x = torch.randn(1000, 2)
    x[:, 0] = 7.0
    layer(x)
    found = layer.eval()(torch.tensor([[7.0, 1e6], [7.5, -1e6]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 8.0], [0.5, -8.0]]))


def test_running_standardise_empty_batch_and_one_row_are_finite():
    layer = RunningStandardise(2).train()
    assert layer(torch.zeros(0, 2)).shape == (0, 2)
    assert float(layer.n_batches) == 0
    assert torch.isfinite(layer(torch.ones(1, 2))).all()


def make_network():
    torch.manual_seed(0)
    return build(
        "subtree", n_features=8, n_tokens=562, n_skims=2, standardise=True, n_units=16
    )


def make_batch(counts):
    rng = np.random.default_rng(1)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    n = int(offsets[-1])
    mother = np.arange(n) - 1
    mother[offsets[:-1][np.array(counts) > 0]] = -1
    return (
        torch.from_numpy(rng.normal(size=(n, 8)).astype(np.float32)),
        torch.from_numpy(rng.integers(0, 562, n).astype(np.int32)),
        torch.from_numpy(mother.astype(np.int64)),
        torch.from_numpy(offsets.astype(np.int64)),
        torch.full((len(counts),), -1),
    )


def test_subtree_standardised_scripted_equals_eager_and_one_by_one():
    network = make_network().train()
    for k in range(5):
        network(*make_batch([5 + k, 3, 9]))
    network.eval()
    x, pdg, mother, offsets, kind = make_batch([4, 0, 1, 8])
    with torch.inference_mode():
        together = network(x, pdg, mother, offsets, kind)
        assert torch.equal(
            torch.jit.script(network)(x, pdg, mother, offsets, kind), together
        )
        for i in range(4):
            a, b = int(offsets[i]), int(offsets[i + 1])
            own = torch.where(mother[a:b] >= 0, mother[a:b] - a, mother[a:b])
            alone = network(
                x[a:b], pdg[a:b], own, torch.tensor([0, b - a]), kind[i : i + 1]
            )
            torch.testing.assert_close(alone[0], together[i], atol=1e-4, rtol=0)


def test_subtree_learns_its_constants_in_training_alone():
    network = make_network()
    batch = make_batch([6, 6])
    network.eval()(*batch)
    assert float(network.state_dict()["scale_node.n_batches"]) == 0
    network.train()(*batch)
    assert float(network.state_dict()["scale_event.n_batches"]) == 1
