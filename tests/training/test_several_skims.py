"""Several skims and event types in one training, from files to scores."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from smartfilter.cli import main
from smartfilter.errors import InputError
from smartfilter.events import concatenate, encode_event_type
from smartfilter.io import LabelledWriter, open_events
from smartfilter.model_file import read_model_info
from smartfilter.scoring import Scorer
from smartfilter.training.assessment import assess, score_labelled
from smartfilter.training.config import TrainingConfig, read_config
from smartfilter.training.trainer import train_model

CONFIG = TrainingConfig(
    settings={"n_embedding": 8, "n_units": 16, "n_layers": 2, "n_event_type": 4},
    epochs=3,
    batch_size=32,
    learning_rate=0.03,
    class_balance=0.5,
    failing_share=0.8,
)
KAON = 321


def label(events, event_type):
    """ "toy" as made, none in ccbar; "kaon" for events with a K+; "never" for none."""
    is_kaon = events["pdg"] == KAON
    kaon = np.bincount(events.event_index[is_kaon], minlength=len(events)) > 2
    toy = events.labels["toy"] if event_type != "ccbar" else np.zeros(len(kaon), bool)
    never = np.zeros(len(kaon), dtype=bool)
    labels = {"toy": toy, "kaon": kaon, "never": never}
    return events.with_labels(labels).with_event_type(event_type)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def data(folder, toy_events):
    paths = []
    for seed, name in enumerate(("mixed", "ccbar")):
        share = 0.2 if name == "mixed" else 0.0
        events = label(toy_events(1_500, seed=seed, pass_share=share), name)
        paths.append(folder / f"{name}.parquet")
        with LabelledWriter(paths[-1], tuple(events.labels), (), {}) as writer:
            writer.write(events)
    return paths


@pytest.fixture(scope="module")
def trained(folder, data):
    return train_model(data, folder / "toy.pt", CONFIG)


def test_train_model_leaves_out_a_skim_that_nothing_passes(trained, data, caplog):
    assert trained.info.skim_names == ("toy", "kaon")
    named = CONFIG.model_copy(update={"skims": {"toy": None, "never": None}})
    with pytest.raises(InputError, match=r"'never': .* got 0 passing"):
        train_model(data, trained.path.with_name("no.pt"), named)
    short = CONFIG.model_copy(update={"epochs": 1})
    with caplog.at_level(logging.WARNING):
        train_model(data, trained.path.with_name("short.pt"), short)
    assert "'never' left out" in caplog.text


def test_train_model_outputs_follow_the_order_of_the_configuration(data, folder):
    config = CONFIG.model_copy(update={"skims": {"kaon": 7, "toy": None}})
    result = train_model(data, folder / "order.pt", config)
    assert result.info.skim_names == ("kaon", "toy")
    assert result.info.skims[0].code == 7
    for r in result.assessment.results:
        if r.event_type == "mixed":
            assert r.to_metrics()["auc"] > 0.85


def test_train_model_both_skims_are_learned(trained):
    main_results = trained.assessment.main
    assert main_results["toy"].event_type == "mixed"
    assert main_results["toy"].to_metrics()["auc"] > 0.9
    assert main_results["kaon"].to_metrics()["auc"] > 0.85


def test_train_model_retention_rates_are_those_of_all_events(trained, data):
    """Counted over the files, in spite of the failing events that were thinned out."""
    for skim in trained.info.skims:
        events = open_events(data).read()
        for name in ("mixed", "ccbar"):
            rows = events.event_type == encode_event_type(name)
            rate = events.labels[skim.name][rows].mean()
            got = skim.get_calibration(name).retention_rate
            assert got == pytest.approx(rate or 0.5 / (rows.sum() + 1))
        overall = events.labels[skim.name].mean()
        assert skim.get_calibration().retention_rate == pytest.approx(overall)


def test_train_model_type_without_passing_events_scores_its_rate(trained, toy_events):
    events = label(toy_events(3_000, seed=7, pass_share=0.0), "ccbar")
    scores = Scorer(trained.path, device="cpu").score(events).scores[:, 0]
    rate = 0.5 / 1_501
    assert scores.astype(float).mean() == pytest.approx(rate, rel=0.5)
    calibration = trained.info.skims[0].get_calibration("ccbar")
    assert calibration.n_passing == 0


def test_train_model_unknown_type_takes_the_overall_calibration(trained, toy_events):
    parts = [
        label(toy_events(3_000, seed=8, pass_share=0.2), "mixed"),
        label(toy_events(3_000, seed=9, pass_share=0.0), "ccbar"),
    ]
    events = concatenate(parts)
    unknown = events.with_event_type_codes(np.full(len(events), -1, dtype=np.int8))
    scores = Scorer(trained.path, device="cpu").score(unknown).scores
    for k, name in enumerate(("toy", "kaon")):
        rate = events.labels[name].mean()
        assert scores[:, k].mean() == pytest.approx(rate, abs=0.03)
    untrained = events.with_event_type("taupair")
    again = Scorer(trained.path, device="cpu").score(untrained).scores
    np.testing.assert_array_equal(again, scores)


def test_assess_repeats_every_result_of_the_training(trained, data):
    scorer = Scorer(trained.path, device="cpu")
    sample = score_labelled(data, scorer)
    results = assess(sample, scorer.info).results
    assert [(r.skim, r.event_type) for r in results] == [
        ("toy", "ccbar"),
        ("toy", "mixed"),
        ("kaon", "ccbar"),
        ("kaon", "mixed"),
    ]
    for one, two in zip(results, trained.assessment.results, strict=True):
        assert one.n_passing == two.n_passing
        for a, b in zip(one.quantiles, two.quantiles, strict=True):
            assert a.predicted == pytest.approx(b.predicted, rel=1e-3, abs=1e-6)
    assert results[0].evaluation is None
    assert sum(q.observed for q in results[0].quantiles) == 0


def test_train_model_single_configured_rate_is_not_that_of_each_type(data, folder):
    config = CONFIG.model_copy(
        update={"retention_rate": {"toy": {"mixed": 0.04}, "kaon": 0.02}, "epochs": 1}
    )
    toy, kaon = train_model(data, folder / "rate.pt", config).info.skims
    assert toy.get_calibration("mixed").retention_rate == 0.04
    assert kaon.get_calibration().retention_rate == 0.02
    assert kaon.get_calibration("mixed").retention_rate > 0.03


def run(capfd, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0
    return capfd.readouterr().out


def test_train_and_evaluate_commands(data, folder, capfd):
    settings = folder / "c.yaml"
    settings.write_text(json.dumps(CONFIG.model_dump(mode="json")))
    output = folder / "command.pt"
    options = ["--config", str(settings), "--skim", "toy", "--skim", "kaon", "--json"]
    out = run(capfd, "train", *data, "-o", output, *options)
    assert set(json.loads(out)["metrics"]) == {"toy", "kaon"}
    assert not output.with_suffix(".ckpt").exists()
    assert read_model_info(output)[0].skim_names == ("toy", "kaon")
    document = json.loads(run(capfd, "evaluate", output, *data, "--json"))
    keys = ("accuracy", "max_speedup", "best_threshold", "sampling_speedup")
    assert document["skim"] == "toy"
    assert document["event_type"] == "mixed"
    assert all(document[key] > 0 for key in keys)
    assert document["auc"] > 0.9
    assert document["calibration_error"] >= 0
    assert len(document["results"]) == 4
    assert all(len(r["quantiles"]) == 10 for r in document["results"])
    assert "quantiles of the score differ" in run(capfd, "evaluate", output, *data)


@pytest.mark.parametrize("skims", ["[a, b]", "{a: null, b: null}"])
def test_read_config_skims_are_a_list_or_a_mapping(tmp_path, skims):
    path = tmp_path / "c.yaml"
    path.write_text(f"skims: {skims}")
    assert list(read_config(path).skims) == ["a", "b"]


def test_read_config_shipped_single_skim():
    assert list(read_config("gcn-single").skims) == ["feiHadronicB0"]
    assert read_config("gcn").skims == {}
