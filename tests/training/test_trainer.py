"""Labelled files to a model file, and the model file on labelled files."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from smartfilter.cli import main
from smartfilter.errors import InputError, UsageError
from smartfilter.io import LabelledWriter, open_events
from smartfilter.model_file import load_model
from smartfilter.sampling import official_keep_probability, optimal_keep_probability
from smartfilter.scoring import Scorer
from smartfilter.training.assessment import assess, score_labelled
from smartfilter.training.config import TrainingConfig
from smartfilter.training.split import SPLITS, Split
from smartfilter.training.trainer import train_model

CONFIG = TrainingConfig(
    settings={"n_embedding": 8, "n_units": 16, "n_layers": 2},
    skims={"toy": 42},
    epochs=2,
    batch_size=32,
    learning_rate=0.03,
)


def write(path, events):
    provenance = {"command": "toy", "seed": 0, "index": 3, "path": path.name}
    with LabelledWriter(path, ("toy",), ("sample_weight",), provenance) as writer:
        writer.write(events)
    return path


def thin_out(events, factor=4):
    """Keep one in ``factor`` failing events, with that weight."""
    failing = ~events.labels["toy"]
    keep = ~failing | (np.arange(len(events)) % factor == 0)
    weight = np.where(failing, factor, 1).astype(np.float32)
    return events.with_labels(events.labels, {"sample_weight": weight}).take(keep)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def data(folder, toy_events):
    full = [toy_events(1_500, seed=s, pass_share=0.15) for s in (0, 1)]
    return [write(folder / f"{k}.parquet", thin_out(e)) for k, e in enumerate(full)]


@pytest.fixture(scope="module")
def trained(folder, data):
    return train_model(data, folder / "toy.pt", CONFIG)


def test_train_model_file_loads_and_says_where_it_comes_from(trained, data):
    info = load_model(trained.path).info
    assert info == trained.info
    record = info.training
    assert record["files"] == ["0.parquet", "1.parquet"]
    assert record["productions"] == [{"command": "toy", "seed": 0}]
    assert sum(record["n_events"].values()) == open_events(data).n_events
    assert record["seed"] == CONFIG.seed
    assert record["config"]["epochs"] == 2
    assert record["metrics"]["toy"]["auc"] > 0.9
    assert info.skims[0].code == 42
    json.dumps(record, allow_nan=False)


def test_train_model_retention_rate_honours_sample_weights(trained, data):
    """Failing events were thinned out by 4: the true rate is near 15 %."""
    rate = trained.info.skims[0].get_calibration().retention_rate
    assert rate == pytest.approx(0.15, abs=0.02)
    unweighted = np.mean(open_events(data).read().labels["toy"])
    assert unweighted > 0.35


def test_train_model_scores_are_probabilities_of_generated_events(trained, toy_events):
    events = toy_events(3_000, seed=9, pass_share=0.15)
    scores = Scorer(trained.path, device="cpu").score(events).scores[:, 0]
    assert scores.mean() == pytest.approx(events.labels["toy"].mean(), abs=0.03)


def test_train_model_official_constants_approach_the_optimum(trained):
    constants = trained.info.skims[0].get_calibration()
    constants = replace(constants, knots=(), shifts=())
    logit = np.linspace(-40, -5, 50) / constants.slope
    p = optimal_keep_probability(
        constants.to_score(logit), constants.sampling_constant, max_weight=1e9
    )
    official = official_keep_probability(
        logit, constants.official_slope, constants.official_offset, max_weight=1e9
    )
    np.testing.assert_allclose(official, p, rtol=0.01)


def test_train_model_same_seed_gives_the_same_scores(trained, data, folder, toy_events):
    again = train_model(data, folder / "again.pt", CONFIG)
    events = toy_events(50, seed=5)
    first, second = (
        Scorer(r.path, device="cpu").score(events).scores for r in (trained, again)
    )
    np.testing.assert_array_equal(first, second)


FRESH = """
import sys
from smartfilter import Scorer, open_events
scores = Scorer(sys.argv[1], device="cpu").score(open_events(sys.argv[2]).read())
print(scores.scores[:, 0].tolist())
"""


def test_trained_model_fresh_process_gives_equal_scores(trained, data):
    command = [sys.executable, "-c", FRESH, str(trained.path), str(data[0])]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    here = Scorer(trained.path, device="cpu").score(open_events(data[0]).read())
    assert json.loads(run.stdout) == here.scores[:, 0].tolist()
    assert run.stderr == ""


def test_assess_repeats_the_metrics_of_the_training(trained, data):
    scorer = Scorer(trained.path, device="cpu")
    sample = score_labelled(data, scorer)
    n_events = trained.info.training["n_events"]
    assert len(sample) == n_events["test"]
    assert sample.n_dropped == n_events["train"] + n_events["validation"]
    got = assess(sample, scorer.info).main["toy"].to_metrics()
    for name, value in trained.info.training["metrics"]["toy"].items():
        if isinstance(value, str):
            assert got[name] == value
        else:
            assert got[name] == pytest.approx(value, rel=1e-5), name


def test_score_labelled_all_events_uses_every_event(trained, data):
    scorer = Scorer(trained.path, device="cpu")
    sample = score_labelled(data, scorer, all_events=True)
    assert len(sample) == open_events(data).n_events
    assert sample.n_dropped == 0
    assert "sample_weight" in sample.variables


def test_score_labelled_without_test_events_refused(trained, folder, toy_events):
    events = toy_events(60, seed=11)
    train = Split().assign(events) == SPLITS.index("train")
    weight = {"sample_weight": np.ones(60, np.float32)}
    seen = events.with_labels(events.labels, weight).take(train)
    path = write(folder / "seen.parquet", seen)
    with pytest.raises(InputError, match="was not trained on"):
        score_labelled([path], Scorer(trained.path, device="cpu"))


def test_score_labelled_unknown_skim_refused(trained, data):
    with pytest.raises(
        UsageError, match=r"expected one of toy in .*toy\.pt, got 'other'"
    ):
        score_labelled(data, Scorer(trained.path, device="cpu"), skims=["other"])


def test_train_model_missing_label_refused(data, folder):
    config = CONFIG.model_copy(update={"skims": {"other": None}})
    with pytest.raises(InputError, match="expected 'other'"):
        train_model(data, folder / "none.pt", config)
    assert not (folder / "none.pt").exists()


def test_train_model_configured_retention_rate_wins(data, folder):
    config = CONFIG.model_copy(update={"retention_rate": {"toy": 0.03}, "epochs": 1})
    result = train_model(data, folder / "rare.pt", config)
    assert result.info.skims[0].get_calibration().retention_rate == 0.03


def run(code, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == code


def test_train_command_minutes_end_it_and_are_recorded(data, folder, capfd):
    path = folder / "short.pt"
    arguments = ("--config", "lab_report/deepset", "--minutes", 1e-6, "--json")
    run(0, "train", data[0], "-o", path, *arguments)
    document = json.loads(capfd.readouterr().out)
    assert document["epochs"] == 1
    assert document["stopped"] == "minutes"
    record = load_model(path).info.training
    assert record["stopped"] == "minutes"
    assert record["config"]["max_minutes"] == 1e-6


def test_train_command_wrong_configuration_lists_the_shipped_ones(data, folder, capfd):
    path = folder / "wrong.pt"
    run(2, "train", data[0], "-o", path, "--config", "gnc")
    assert "lab_report/combined_gcn" in capfd.readouterr().err
    assert not path.exists()
