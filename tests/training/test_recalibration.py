"""New constants for the same network."""

from __future__ import annotations

import json

import numpy as np
import pytest

from smartfilter.cli import main
from smartfilter.errors import InputError
from smartfilter.io import LabelledWriter
from smartfilter.model_file import read_model_info
from smartfilter.scoring import Scorer
from smartfilter.training.config import TrainingConfig
from smartfilter.training.recalibration import recalibrate
from smartfilter.training.trainer import train_model

CONFIG = TrainingConfig(
    settings={"n_embedding": 4, "n_units": 8, "n_layers": 1},
    epochs=1,
    batch_size=64,
    learning_rate=0.03,
    split_fractions=(0.4, 0.4, 0.2),
)


def write(path, *samples):
    with LabelledWriter(path, ("toy",), (), {}) as writer:
        for events in samples:
            writer.write(events)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("calibrate")


@pytest.fixture(scope="module")
def data(folder, toy_events):
    return write(
        folder / "toy.parquet",
        toy_events(1_500, seed=1, pass_share=0.2).with_event_type("mixed"),
        toy_events(1_500, seed=2, pass_share=0.1).with_event_type("charged"),
    )


@pytest.fixture(scope="module")
def trained(folder, data):
    return train_model([data], folder / "toy.pt", CONFIG)


def test_recalibrate_with_the_training_data_changes_nothing(folder, data, trained):
    result = recalibrate(trained.path, [data], folder / "same.pt")
    assert result.n_events == trained.info.training["n_events"]["validation"]
    old, new = (info.skims[0].calibration for info in (trained.info, result.info))
    assert set(old) == set(new) == {"default", "mixed", "charged"}
    grid = np.linspace(-6, 6, 50).astype(np.float32)
    for name, constants in old.items():
        assert new[name].retention_rate == constants.retention_rate
        np.testing.assert_allclose(
            new[name].to_score(grid), constants.to_score(grid), rtol=1e-3
        )
        assert new[name].threshold == pytest.approx(constants.threshold, rel=1e-3)
    first, second = (
        info.training["metrics"]["toy"]["auc"] for info in (trained.info, result.info)
    )
    assert first == pytest.approx(second)


def test_recalibrate_keeps_the_network_and_moves_the_rate(
    folder, toy_events, data, trained
):
    rare = toy_events(4_000, seed=3, pass_share=0.05).with_event_type("mixed")
    other = write(folder / "rare.parquet", rare)
    result = recalibrate(trained.path, [other], folder / "rare.pt", all_events=True)
    before, after = Scorer(trained.path), Scorer(result.path)
    scores = after.score(rare)
    np.testing.assert_array_equal(before.score(rare).logits, scores.logits)
    rate = rare.labels["toy"].mean()
    assert before.score(rare).scores.mean() > 1.2 * rate
    assert scores.scores.mean() == pytest.approx(rate, rel=0.1)
    assert result.info.skims[0].calibration["mixed"].retention_rate == rate
    record = result.info.training["calibration"]
    assert record["all_events"]
    assert record["files"] == ["rare.parquet"]
    assert result.info.training["split"] == trained.info.training["split"]
    assert result.assessment.agreement.p_value > 0.001


def test_recalibrate_takes_the_rates_that_the_model_records(folder, data):
    rates = {"toy": {"mixed": 0.03, "default": 0.02}}
    config = CONFIG.model_copy(update={"retention_rate": rates})
    trained = train_model([data], folder / "rates.pt", config)
    result = recalibrate(trained.path, [data], folder / "rates_again.pt")
    for info in (trained.info, result.info):
        found = info.skims[0].calibration
        assert found["mixed"].retention_rate == 0.03
        assert found["default"].retention_rate == 0.02
        assert found["charged"].retention_rate == pytest.approx(0.1, abs=0.03)


def test_recalibrate_without_events_refused(folder, toy_events, trained):
    few = write(folder / "few.parquet", toy_events(1, seed=4).with_event_type("mixed"))
    with pytest.raises(InputError, match="expected some"):
        recalibrate(trained.path, [few], folder / "none.pt")
    assert not (folder / "none.pt").exists()


def test_calibrate_command_writes_a_model(capsys, folder, data, trained):
    output = folder / "command.pt"
    arguments = ["--json", "calibrate", str(trained.path), str(data), "-o", str(output)]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code
    document = json.loads(capsys.readouterr().out)
    assert document["digest"] == read_model_info(output)[1]
    assert document["agreement"]["n_quantiles"] == 20
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "use --force" in capsys.readouterr().err
