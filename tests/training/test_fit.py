"""Fitting on toys: balance, learning, repetition, history."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from smartfilter.errors import DeviceError, InputError, UsageError
from smartfilter.training.config import TrainingConfig, list_configs, read_config
from smartfilter.training.dataset import make_dataset
from smartfilter.training.evaluation import area_under_curve
from smartfilter.training.fit import fit, predict
from smartfilter.training.split import Split
from smartfilter.training.streams import EpochStream, FixedStream, balance

SMALL = {"n_embedding": 8, "n_units": 16, "n_layers": 2}
N_TOKENS = 562


def make_config(**changes):
    options = {"settings": SMALL, "epochs": 2, "batch_size": 16, "learning_rate": 0.03}
    return TrainingConfig(**{**options, **changes})


@pytest.fixture(scope="module")
def dataset(toy_events):
    return make_dataset(
        toy_events(600), skims=("toy",), preset="smart_background", split=Split()
    )


@pytest.fixture(scope="module")
def result(dataset):
    return fit(dataset, make_config(), n_tokens=N_TOKENS)


def test_fit_two_epochs_learn_the_code_that_decides(dataset, result):
    index = dataset.find("test")
    logits = predict(result.network, dataset, index)
    auc, _ = area_under_curve(logits[:, 0], dataset.passes[index, 0].numpy())
    assert auc > 0.9


def test_fit_same_seed_repeats_to_the_bit(dataset, result):
    again = fit(dataset, make_config(), n_tokens=N_TOKENS)
    for name, value in result.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


def test_fit_other_seed_gives_another_network(dataset, result):
    other = fit(dataset, make_config(seed=1), n_tokens=N_TOKENS)
    weights = [r.network.state_dict()["head.0.weight"] for r in (other, result)]
    assert not torch.equal(*weights)


def test_fit_leaves_global_random_state_and_threads_alone(dataset):
    torch.manual_seed(5)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    fit(dataset, make_config(epochs=1), n_tokens=N_TOKENS)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_fit_standardises_with_training_nodes(dataset, result):
    x = dataset.gather(dataset.find("train")).x.double().numpy()
    layer = result.network.standardise
    np.testing.assert_allclose(layer.mean, x.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(layer.deviation, x.std(axis=0), rtol=1e-6)


def test_fit_keeps_the_best_epoch(dataset):
    result = fit(dataset, make_config(epochs=5, schedule="plateau"), n_tokens=N_TOKENS)
    index = dataset.find("validation")
    logits = torch.from_numpy(predict(result.network, dataset, index))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, dataset.passes[index].float(), balance(dataset, index)
    )
    best = result.history[result.best_epoch]
    assert float(loss) == pytest.approx(best["validation_loss"], rel=1e-4)


def test_fit_writes_history(dataset, tmp_path):
    file = tmp_path / "history.csv"
    result = fit(dataset, make_config(), n_tokens=N_TOKENS, history_file=file)
    with file.open() as stream:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
    assert rows == result.history
    assert [row["epoch"] for row in rows] == [0.0, 1.0]


def test_fit_stops_early_when_nothing_improves(dataset):
    config = make_config(epochs=30, learning_rate=3.0, stop_patience=2)
    result = fit(dataset, config, n_tokens=N_TOKENS)
    assert len(result.history) < 30


def test_fit_minutes_spent_stop_behind_the_epoch(dataset):
    config = make_config(epochs=30, max_minutes=1e-6)
    result = fit(dataset, config, n_tokens=N_TOKENS)
    assert len(result.history) == 1
    assert result.stopped == "minutes"


def test_fit_says_why_it_ended(dataset, result):
    assert result.stopped == "epochs"
    config = make_config(epochs=30, stop_patience=1, stop_min_delta=10.0)
    result = fit(dataset, config, n_tokens=N_TOKENS)
    assert result.stopped == "validation"
    assert len(result.history) == 2


def test_fit_plateau_settings_lower_the_rate_down_to_its_limit(dataset):
    config = make_config(
        epochs=4,
        schedule="plateau",
        plateau_factor=0.1,
        plateau_patience=0,
        plateau_threshold=0.99,
        min_learning_rate=1e-3,
    )
    rates = [
        row["learning_rate"] for row in fit(dataset, config, n_tokens=N_TOKENS).history
    ]
    assert rates == pytest.approx([0.03, 0.003, 0.001, 0.001])


def test_fit_constant_schedule_keeps_the_rate(dataset):
    history = fit(dataset, make_config(schedule="constant"), n_tokens=N_TOKENS).history
    assert [row["learning_rate"] for row in history] == [0.03, 0.03]


def test_fit_effective_sample_size_loss_beats_keeping_everything(dataset):
    config = make_config(
        loss="effective_sample_size", retention_rate={"toy": 0.05}, epochs=4
    )
    result = fit(dataset, config, n_tokens=N_TOKENS)
    assert result.history[result.best_epoch]["validation_loss"] < 0.7


def test_fit_names_the_features_for_networks_that_choose(dataset):
    settings = {"without": ["px", "py", "pz"], "standardise": True}
    config = make_config(network="deepset", settings=settings, epochs=1)
    result = fit(dataset, config, n_tokens=N_TOKENS)
    assert result.settings["features"][4:] == ["energy", "px", "py", "pz"]
    x = dataset.gather(dataset.find("train")).x[:, :5].double().numpy()
    mean = result.network.state_dict()["standardise.mean"]
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=1e-6)


def collect(dataset, **changes):
    """Return the events that two epochs draw, and their mean weight per class."""
    stream = EpochStream(dataset, make_config(**changes))
    seen = []
    for stream.epoch in range(2):
        seen += [(inputs.x, passes, weight) for inputs, passes, weight in stream]
    x, passes, weight = (torch.cat(c) for c in zip(*seen, strict=True))
    return {tuple(row) for row in x.tolist()}, passes[:, 0] > 0.5, weight[:, 0]


def test_epoch_stream_training_events_are_balanced_and_the_same_for_all_seeds(dataset):
    nodes, passes, weight = collect(dataset, training_events=100, batch_size=7)
    assert len(passes) == 200
    assert passes.sum() == 100
    assert weight[passes].sum() == pytest.approx(float(weight[~passes].sum()))
    assert weight.mean() == pytest.approx(1.0)
    others = collect(dataset, training_events=100, seed=8, settings={})
    assert others[0] == nodes
    assert collect(dataset, training_events=100, split_seed=1)[0] != nodes


def test_epoch_stream_more_training_events_than_there_are_takes_the_rarer_class(
    dataset,
):
    index = dataset.find("train")
    n_passing = int(dataset.passes[index].sum())
    assert n_passing < len(index) / 2
    _, passes, _ = collect(dataset, training_events=10_000)
    assert len(passes) == 4 * n_passing
    assert passes.sum() == 2 * n_passing


def test_fixed_stream_training_events_leave_validation_alone(dataset):
    plain, limited = (
        FixedStream(dataset, make_config(training_events=n)) for n in (None, 20)
    )
    sizes = [sum(len(p) for _, p, _ in stream) for stream in (plain, limited)]
    assert sizes[0] == sizes[1] > 20


def test_fit_prints_nothing(dataset, capfd):
    fit(dataset, make_config(epochs=1), n_tokens=N_TOKENS)
    assert capfd.readouterr() == ("", "")


def test_fit_progress_goes_to_stderr(dataset, capfd):
    fit(dataset, make_config(epochs=1), n_tokens=N_TOKENS, progress=True)
    assert capfd.readouterr().out == ""


def test_fit_unknown_network_setting_or_device_refused(dataset):
    with pytest.raises(UsageError, match="network: expected one of"):
        fit(dataset, make_config(network="none"), n_tokens=N_TOKENS)
    with pytest.raises(UsageError, match="n_unit"):
        fit(dataset, make_config(settings={"n_unit": 3}), n_tokens=N_TOKENS)
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError):
            fit(dataset, make_config(device="cuda"), n_tokens=N_TOKENS)


def test_fit_split_without_passing_events_refused(toy_events):
    events = toy_events(30).with_labels({"toy": np.zeros(30, dtype=bool)})
    dataset = make_dataset(
        events, skims=("toy",), preset="smart_background", split=Split()
    )
    with pytest.raises(InputError, match="got only failing ones"):
        fit(dataset, make_config(), n_tokens=N_TOKENS)


def test_balance_classes_count_the_same_and_follow_sample_weights(toy_events):
    events = toy_events(200, pass_share=0.1)
    sample_weight = np.where(np.arange(200) % 3 == 0, 8.0, 1.0).astype(np.float32)
    dataset = make_dataset(
        events.with_labels(events.labels, {"sample_weight": sample_weight}),
        skims=("toy",),
        preset="smart_background",
        split=Split(),
    )
    weight = balance(dataset, torch.arange(200))[:, 0].numpy()
    passing = events.labels["toy"]
    assert weight[passing].sum() == pytest.approx(100, rel=1e-5)
    assert weight[~passing].sum() == pytest.approx(100, rel=1e-5)
    ratio = weight[~passing] / sample_weight[~passing]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


def test_read_config_shipped_and_changed():
    assert "gcn" in list_configs()
    config = read_config("gcn", epochs=3)
    assert config.epochs == 3
    assert config.settings["n_layers"] == 3


def test_read_config_folders_are_part_of_the_name():
    names = list_configs()
    assert {"lab_report/combined_gcn", "ablations/no_x_y"} < set(names)
    assert names.index("gcn") < names.index("ablations/no_x_y")
    assert read_config("ablations/no_x_y").settings["without"] == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: 0", "epochs: Input should be greater"),
        ("epoch: 3", "there is no such key; did you mean 'epochs'"),
        ("schedule: linear", "schedule"),
        ("- 1", "keys and values"),
        ("a: [", "not YAML"),
    ],
)
def test_read_config_wrong_file_refused(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_config(path)


def test_read_config_missing_file_names_shipped_ones(tmp_path):
    with pytest.raises(UsageError, match="one of gatgap"):
        read_config(tmp_path / "none.yaml")


class PowerCut(Exception):
    pass


RANDOM = {
    "network": "deepset",
    "settings": {"n_embedding": 4, "normalise": True, "dropout": 0.3},
    "loss": "effective_sample_size",
    "schedule": "constant",
}
"""Dropout, running means and a loss of a whole batch."""


@pytest.mark.parametrize(
    "changes",
    [{"schedule": "cosine"}, {"schedule": "plateau"}, RANDOM],
    ids=["cosine", "plateau", "random"],
)
def test_fit_resumed_equals_fit_without_interruption(
    dataset, tmp_path, monkeypatch, changes
):
    config = make_config(epochs=4, plateau_patience=0, **changes)
    whole = fit(dataset, config, n_tokens=N_TOKENS)
    checkpoint = tmp_path / "toy.ckpt"
    plain = EpochStream.__iter__

    def iterate(self):
        if self.epoch == 2:
            raise PowerCut
        yield from plain(self)

    with monkeypatch.context() as patch:
        patch.setattr(EpochStream, "__iter__", iterate)
        with pytest.raises(PowerCut):
            fit(dataset, config, n_tokens=N_TOKENS, checkpoint=checkpoint)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.ckpt"]
    again = fit(dataset, config, n_tokens=N_TOKENS, checkpoint=checkpoint, resume=True)
    assert len(again.history) == 4
    for one, two in zip(whole.history, again.history, strict=True):
        assert {**one, "seconds": 0.0} == {**two, "seconds": 0.0}
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


def test_fit_resume_with_another_configuration_or_file_refused(dataset, tmp_path):
    checkpoint = tmp_path / "toy.ckpt"
    options = {"n_tokens": N_TOKENS, "checkpoint": checkpoint}
    fit(dataset, make_config(epochs=1), **options)
    with pytest.raises(UsageError, match="same configuration and data"):
        fit(dataset, make_config(epochs=2), resume=True, **options)
    checkpoint.write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="something else"):
        fit(dataset, make_config(epochs=1), resume=True, **options)


def test_fit_resume_without_checkpoint_starts(dataset, result, tmp_path):
    options = {"n_tokens": N_TOKENS, "checkpoint": tmp_path / "new.ckpt"}
    again = fit(dataset, make_config(), resume=True, **options)
    assert again.history[-1]["train_loss"] == result.history[-1]["train_loss"]


def test_fit_larger_budget_goes_on_from_the_smaller_one(dataset, tmp_path):
    checkpoint = tmp_path / "budget.ckpt"
    options = {"n_tokens": N_TOKENS, "checkpoint": checkpoint}
    short = fit(dataset, make_config(epochs=3, max_minutes=1e-6), **options)
    assert len(short.history) == 1
    longer = fit(dataset, make_config(epochs=3), resume=True, **options)
    expected = fit(dataset, make_config(epochs=3), n_tokens=N_TOKENS)
    assert [row["validation_loss"] for row in longer.history] == [
        row["validation_loss"] for row in expected.history
    ]
    for name, value in expected.network.state_dict().items():
        assert torch.equal(value, longer.network.state_dict()[name]), name
