"""Auxiliary targets: ranks by counting, their loss, and what is left of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smartfilter.errors import InputError, UsageError
from smartfilter.io import LabelledWriter
from smartfilter.model_file import load_module
from smartfilter.models import build, count_parameters
from smartfilter.scoring import Scorer
from smartfilter.training.auxiliary import AuxiliaryLoss, RankScale, strip_outputs
from smartfilter.training.config import TrainingConfig
from smartfilter.training.dataset import load_dataset, make_dataset
from smartfilter.training.fit import fit, predict
from smartfilter.training.split import Split
from smartfilter.training.streams import EpochStream, FixedStream
from smartfilter.training.trainer import train_model

N_TOKENS = 562
SETTINGS = {"n_embedding": 8, "n_units": 16, "n_layers": 2}
NAMES = ("n_kaons", "energy")
CONFIG = TrainingConfig(
    settings=SETTINGS,
    epochs=2,
    batch_size=32,
    learning_rate=0.03,
    auxiliary=NAMES,
    auxiliary_weight=0.5,
)


def add_variables(events):
    """Count kaons; sum energies, NaN for every seventh event."""
    n = len(events)
    kaons = np.bincount(events.event_index[events["pdg"] == 321], minlength=n)
    energy = np.bincount(events.event_index, weights=events["energy"], minlength=n)
    energy[::7] = np.nan
    columns = {"n_kaons": kaons.astype(np.float32), "energy": energy.astype(np.float32)}
    return events.with_labels(events.labels, columns)


@pytest.fixture(scope="module")
def events(toy_events):
    return add_variables(toy_events(900))


@pytest.fixture(scope="module")
def dataset(events):
    return make_dataset(
        events,
        skims=("toy",),
        preset="smart_background",
        split=Split(),
        variables=NAMES,
    )


@pytest.fixture(scope="module")
def result(dataset):
    return fit(dataset, CONFIG, n_tokens=N_TOKENS)


def test_rank_scale_equals_counting():
    rng = np.random.default_rng(0)
    reference = np.stack([rng.poisson(2.0, 300), rng.normal(size=300)], axis=1)
    reference[::11, 1] = np.nan
    values = np.concatenate([reference[:40], [[-1.0, np.nan], [99.0, 99.0]]])
    scale = RankScale.measure(torch.from_numpy(reference))
    found = scale(torch.from_numpy(values)).numpy()
    filled, wanted = (np.where(np.isnan(v), -np.inf, v) for v in (reference, values))
    for column in range(2):
        for row in range(len(values)):
            v = wanted[row, column]
            below = np.sum(filled[:, column] < v)
            equal = np.sum(filled[:, column] == v)
            rank = (below + 0.5 * equal) / 300
            expected = (rank - 0.5) * np.sqrt(12.0)
            assert found[row, column] == pytest.approx(expected, abs=1e-6)


def test_rank_scale_of_different_values_has_mean_zero_and_deviation_one():
    values = torch.exp(5.0 * torch.randn(2000, 1, dtype=torch.float64))
    targets = RankScale.measure(values)(values).double()
    assert float(targets.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(targets.std(correction=0)) == pytest.approx(1.0, abs=1e-5)


def test_auxiliary_loss_by_hand():
    logits = torch.tensor([[0.5, 1.0, -1.0], [2.0, 0.0, 3.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 3.0]])
    weight = torch.tensor([[1.0], [3.0]])

    def skims(z, y, w):
        assert z.shape == y.shape == w.shape == (2, 1)
        return (w * (z - y) ** 2).sum()

    loss = AuxiliaryLoss(skims, 1, 0.1)
    plain = 1.0 * 0.25 + 3.0 * 4.0
    assert float(loss(logits, targets, weight)) == pytest.approx(plain + 0.1 * 6.0 / 4)
    alone = loss(logits[:, :1], targets[:, :1], weight)
    assert float(alone) == pytest.approx(plain)


def test_strip_outputs_gives_the_first_logits(dataset):
    settings = {**SETTINGS, "n_features": 8, "n_tokens": N_TOKENS, "n_skims": 5}
    network = build("gcn", **settings).eval()
    stripped, smaller = strip_outputs(network, "gcn", settings, 2)
    index = torch.arange(20)
    np.testing.assert_allclose(
        predict(stripped.eval(), dataset, index),
        predict(network, dataset, index)[:, :2],
        atol=1e-6,
    )
    assert smaller["n_skims"] == 2
    assert count_parameters(stripped) < count_parameters(network)


def test_dataset_keeps_variables_of_the_same_events(events, dataset):
    expected = np.stack([events.variables[name] for name in NAMES], axis=1)
    assert dataset.n_unscorable == 0
    np.testing.assert_array_equal(dataset.variables.numpy(), expected)


def test_epoch_stream_adds_targets_to_training_alone(dataset):
    _, targets, weight = next(iter(EpochStream(dataset, CONFIG)))
    assert targets.shape == (32, 3)
    assert weight.shape == (32, 1)
    assert torch.isfinite(targets).all()
    assert next(iter(FixedStream(dataset, CONFIG)))[1].shape[1] == 1


def test_epoch_stream_target_rises_with_the_variable(dataset):
    stream = EpochStream(dataset, CONFIG)
    index = dataset.find("train")[:200]
    target = stream._read_targets(index)[:, 1].numpy()
    count = dataset.variables[index, 0].numpy()
    order = np.argsort(count, kind="stable")
    assert (np.diff(target[order]) >= 0).all()
    assert len(np.unique(target)) == len(np.unique(count))


def test_fit_saves_no_auxiliary_output(dataset, result):
    assert result.settings["n_skims"] == 1
    logits = predict(result.network, dataset, dataset.find("test"))
    assert logits.shape[1] == 1
    assert result.history[-1]["validation_auc"] > 0.9


def test_fit_weight_of_the_auxiliary_targets_matters(dataset, result):
    config = CONFIG.model_copy(update={"auxiliary_weight": 1e-9})
    other = fit(dataset, config, n_tokens=N_TOKENS).network.state_dict()
    state = result.network.state_dict()
    assert not torch.equal(state["head.0.weight"], other["head.0.weight"])


def test_train_model_with_auxiliary_targets_scores(events, tmp_path):
    data = tmp_path / "toy.parquet"
    with LabelledWriter(data, ("toy",), NAMES, {}) as writer:
        writer.write(events)
    path = tmp_path / "toy.pt"
    train_model([data], path, CONFIG)
    assert Scorer(path, device="cpu").score(events).scores.shape == (len(events), 1)
    _, info = load_module(path)
    assert info.settings["n_skims"] == 1
    assert info.training["config"]["auxiliary"] == list(NAMES)


def test_load_dataset_without_the_variable_refused(events, tmp_path):
    data = tmp_path / "toy.parquet"
    with LabelledWriter(data, ("toy",), ("energy",), {}) as writer:
        writer.write(events)
    with pytest.raises(InputError, match=r"expected n_kaons .* got energy"):
        load_dataset(
            [data],
            skims=("toy",),
            preset="smart_background",
            split=Split(),
            variables=NAMES,
        )


def test_fit_data_set_without_the_variables_refused(events):
    plain = make_dataset(
        events, skims=("toy",), preset="smart_background", split=Split()
    )
    with pytest.raises(UsageError, match="n_kaons, energy, got 0"):
        fit(plain, CONFIG, n_tokens=N_TOKENS)
