"""Every shipped configuration trains and gives a model file that scores."""

from __future__ import annotations

import numpy as np
import pytest

from smartfilter.errors import UsageError
from smartfilter.model_file import load_module
from smartfilter.models import NETWORKS
from smartfilter.scoring import Scorer
from smartfilter.training.config import list_configs, read_config
from smartfilter.training.dataset import make_dataset
from smartfilter.training.split import Split
from smartfilter.training.trainer import train_on


@pytest.fixture(scope="module")
def events(toy_events):
    return toy_events(60, max_particles=6)


@pytest.fixture(scope="module")
def datasets(events):
    split = Split((0.4, 0.3, 0.3))
    return {
        preset: make_dataset(events, skims=("toy",), preset=preset, split=split)
        for preset in {read_config(name).preset for name in list_configs()}
    }


@pytest.mark.parametrize("name", list_configs())
def test_shipped_configuration_trains_and_scores(name, datasets, events, tmp_path):
    config = read_config(
        name,
        skims={"toy": None},
        epochs=1,
        batch_size=16,
        split_fractions=(0.4, 0.3, 0.3),
        auxiliary=(),
        loss_weight={},
    )
    path = tmp_path / "model.pt"
    result = train_on(datasets[config.preset], path, config)
    assert result.info.training["stopped"] == "epochs"
    assert result.info.training["config"]["loss"] == config.loss
    scores = Scorer(path, device="cpu").score(events.take(slice(5)))
    assert np.isfinite(scores.scores).all()
    module, _ = load_module(path)
    assert type(module) is NETWORKS[config.network]


def test_retention_rate_of_unknown_event_type_is_refused():
    with pytest.raises(UsageError, match="did you mean 'mixed'"):
        read_config("gcn", retention_rate={"feiHadronicB0": {"mixd": 0.05}})


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 5.0, {"mixed": 0.0}])
def test_retention_rate_that_is_none_is_refused(rate):
    with pytest.raises(UsageError, match="toy: expected between 0 and 1, got"):
        read_config("gcn", retention_rate={"toy": rate})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loss_weight", {"toy": 0.0}),
        ("loss_weight", {"toy": float("nan")}),
        ("learning_rate", float("inf")),
        ("seed", -1),
        ("simulation_cost", float("nan")),
    ],
)
def test_number_that_is_none_is_refused(field, value):
    with pytest.raises(UsageError, match=rf"{field}.*got"):
        read_config("gcn", **{field: value})


def test_retention_rates_of_known_event_types_are_taken():
    rates = {"feiHadronicB0": {"mixed": 0.05, "default": 0.04}, "feiHadronic": 0.1}
    assert read_config("gcn", retention_rate=rates).retention_rate == rates


@pytest.mark.parametrize("field", ["retention_rate", "loss_weight"])
def test_number_of_unknown_skim_is_refused_before_the_training(
    datasets, tmp_path, monkeypatch, field
):
    monkeypatch.setattr("smartfilter.training.trainer.fit", None)
    config = read_config("gcn", **{field: {"toi": 0.05}})
    with pytest.raises(UsageError, match="did you mean 'toy'"):
        train_on(datasets[config.preset], tmp_path / "m.pt", config)
