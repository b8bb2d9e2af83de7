"""Trainings that start from a model file: what is taken over, what is refused."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from smartfilter.errors import ModelFileError, UsageError
from smartfilter.model_file import load_module, read_model_info, save_model
from smartfilter.models import NETWORKS, build
from smartfilter.presets import get_preset
from smartfilter.shipped import find_shipped
from smartfilter.training.config import TrainingConfig, read_config
from smartfilter.training.dataset import make_dataset
from smartfilter.training.evaluation import area_under_curve
from smartfilter.training.fit import fit, predict
from smartfilter.training.initialise import check_start, find_outputs, initialise
from smartfilter.training.split import Split
from smartfilter.training.trainer import train_model, train_on

N_TOKENS = 562
SETTINGS = {"n_embedding": 8, "n_units": 16, "n_layers": 2}
CONFIG = TrainingConfig(
    settings=SETTINGS, epochs=2, batch_size=16, learning_rate=0.03, seed=3
)


def make_labels(events):
    """Return events with the labels "toy", as made, and "kaon", those with a kaon."""
    kaon = np.bincount(events.event_index[events["pdg"] == 321], minlength=len(events))
    return events.with_labels({"toy": events.labels["toy"], "kaon": kaon > 1})


@pytest.fixture(scope="module")
def dataset(toy_events):
    return make_dataset(
        make_labels(toy_events(800)),
        skims=("toy", "kaon"),
        preset="smart_background",
        split=Split(),
    )


@pytest.fixture(scope="module")
def base(dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "base.pt"
    train_on(dataset.select_skims(["toy"]), path, CONFIG)
    return path


def make_network(n_skims, seed=7):
    torch.manual_seed(seed)
    settings = {**SETTINGS, "n_features": 8, "n_tokens": N_TOKENS, "n_skims": n_skims}
    return build("gcn", **settings).eval(), settings


def test_find_outputs_gcn_is_the_last_layer():
    _, settings = make_network(3)
    assert find_outputs("gcn", settings) == {"head.2.weight", "head.2.bias"}


@pytest.mark.parametrize("name", NETWORKS)
def test_find_outputs_every_network_has_rows_per_skim(name):
    settings: dict[str, Any] = {"n_features": 8, "n_tokens": N_TOKENS}
    if "features" in inspect.signature(NETWORKS[name]).parameters:
        settings["features"] = [f.name for f in get_preset("published").features]
    outputs = find_outputs(name, settings)
    state = build(name, **settings, n_skims=5).state_dict()
    assert outputs
    assert {state[key].shape[0] for key in outputs} == {5}


def test_find_outputs_leaves_the_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    find_outputs("gcn", make_network(1)[1])
    torch.manual_seed(1)
    assert torch.equal(torch.rand(2), expected)


def test_initialise_known_skim_gives_the_logits_of_the_model(base, dataset):
    network, settings = make_network(2)
    fresh = network.state_dict()["head.2.weight"][0].clone()
    initialise(network, base, config=CONFIG, settings=settings, skims=("kaon", "toy"))
    source, _ = load_module(base)
    index = dataset.find("test")
    expected = predict(source, dataset, index)
    found = predict(network, dataset, index)
    np.testing.assert_allclose(found[:, 1], expected[:, 0], atol=1e-6)
    assert torch.equal(network.state_dict()["head.2.weight"][0], fresh)


def test_initialise_takes_the_constants_of_the_model(base, dataset):
    network, settings = make_network(1)
    initialise(network, base, config=CONFIG, settings=settings, skims=("kaon",))
    source, _ = load_module(base)
    expected = source.state_dict()["standardise.mean"]
    assert not torch.equal(expected, torch.zeros(8))
    assert torch.equal(network.state_dict()["standardise.mean"], expected)


def test_fit_from_a_model_that_knows_the_skim_is_good_at_once(base, dataset):
    config = CONFIG.model_copy(
        update={"initialise_from": str(base), "epochs": 1, "learning_rate": 1e-6}
    )
    toy = dataset.select_skims(["toy"])
    index = toy.find("test")

    def area(network):
        logits = predict(network, toy, index)[:, 0]
        return area_under_curve(logits, toy.passes[index, 0].numpy())[0]

    expected = area(load_module(base)[0])
    assert expected > 0.9
    assert area(fit(toy, config, n_tokens=N_TOKENS).network) == pytest.approx(
        expected, abs=1e-3
    )


def test_train_on_records_where_it_started(base, dataset, tmp_path):
    config = CONFIG.model_copy(update={"initialise_from": str(base), "epochs": 1})
    result = train_on(dataset.select_skims(["kaon"]), tmp_path / "kaon.pt", config)
    info, digest = read_model_info(base)
    assert result.info.training["started_from"] == {
        "digest": digest,
        "skims": list(info.skim_names),
        "seed": CONFIG.seed,
    }
    assert "started_from" not in info.training


def test_train_on_starts_from_a_shipped_model_by_name(dataset, tmp_path):
    """Its name ended the training in an error, after the last epoch."""
    config = read_config("gcn", initialise_from="gcn", epochs=1, skims=["kaon"])
    check_start(config)
    result = train_on(dataset.select_skims(["kaon"]), tmp_path / "kaon.pt", config)
    digest = read_model_info(find_shipped()["gcn"])[1]
    assert result.info.training["started_from"]["digest"] == digest


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"initialise_from": "gnc"}, ModelFileError, "did you mean 'gcn'"),
        ({"initialise_from": "no.pt"}, ModelFileError, "cannot read no.pt"),
        ({"initialise_from": "gcn", "network": "deepset"}, UsageError, "the network"),
        ({"initialise_from": "gcn", "split_seed": 1}, UsageError, "the split"),
    ],
)
def test_train_model_refuses_a_start_before_it_reads_data(
    tmp_path, changes, error, message
):
    config = CONFIG.model_copy(update=changes)
    with pytest.raises(error, match=message):
        train_model([tmp_path / "nothing.parquet"], tmp_path / "out.pt", config)
    assert list(tmp_path.iterdir()) == []


def test_check_start_refuses_the_same_codes_in_another_order(base, tmp_path):
    module, info = load_module(base)
    codes = tuple(reversed(info.vocabulary.codes))
    vocabulary = replace(info.vocabulary, codes=codes)
    path = tmp_path / "reversed.pt"
    save_model(path, module, replace(info, vocabulary=vocabulary))
    config = CONFIG.model_copy(update={"initialise_from": str(path)})
    with pytest.raises(UsageError, match="another one of 562 codes") as caught:
        check_start(config)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split_seed": 1}, "split"),
        ({"split_fractions": (0.6, 0.2, 0.2)}, "split"),
        ({"preset": "gatgap"}, "preset"),
        ({"network": "deepset"}, "network"),
    ],
)
def test_initialise_refuses_other_rules(base, change, message):
    network, settings = make_network(1)
    config = CONFIG.model_copy(update=change)
    with pytest.raises(UsageError, match=f"expected the {message}"):
        initialise(network, base, config=config, settings=settings, skims=("kaon",))


def test_fit_refuses_a_model_of_another_size(base, dataset):
    config = CONFIG.model_copy(
        update={
            "initialise_from": str(base),
            "settings": {**SETTINGS, "n_units": 8},
        }
    )
    with pytest.raises(UsageError, match=r"convolutions\.0\.linear\.weight \(8, 16\)"):
        fit(dataset, config, n_tokens=N_TOKENS)


def test_fit_refuses_a_file_that_is_no_model(dataset, tmp_path):
    config = CONFIG.model_copy(update={"initialise_from": str(tmp_path / "no.pt")})
    with pytest.raises(ModelFileError, match="cannot read"):
        fit(dataset, config, n_tokens=N_TOKENS)
