"""The transfer study: what its subsets hold, and that it goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from smartfilter.errors import InputError, UsageError
from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts
from smartfilter.io import LabelledWriter
from smartfilter.training.config import TrainingConfig, read_config
from smartfilter.training.dataset import make_dataset
from smartfilter.training.split import Split
from smartfilter.training.trainer import train_on

SETTINGS = {"n_embedding": 4, "n_units": 8, "n_layers": 1}


@pytest.fixture(scope="module")
def study(load_benchmark: Any) -> Any:
    return load_benchmark("transfer")


def make_events(n_events: int) -> Events:
    """Return chains; "common" asks for a kaon, "rare" for a kaon behind a D0."""
    rng = np.random.default_rng(0)
    counts = rng.integers(2, 6, n_events)
    offsets = offsets_from_counts(counts)
    n = int(offsets[-1])
    position = np.arange(n) - np.repeat(offsets[:-1], counts)
    columns: dict[str, Any] = {
        name: rng.normal(size=n).astype(np.float32)
        for name, dtype in PARTICLE_COLUMNS.items()
        if dtype == np.float32
    }
    pdg = rng.choice([211, 22, 321, 421], n)
    columns |= {
        "pdg": pdg.astype(np.int32),
        "mother_index": (position - 1).astype(np.int32),
        "array_index": position.astype(np.int32),
        "status": np.ones(n, dtype=np.uint16),
    }
    events = Events.from_columns(offsets, columns, event=np.arange(n_events))
    kaon, charm = (
        np.bincount(events.event_index[pdg == code], minlength=n_events) > 0
        for code in (321, 421)
    )
    labels = {"common": kaon, "rare": kaon & charm & (rng.random(n_events) < 0.3)}
    return events.with_labels(labels)


@pytest.fixture(scope="module")
def events() -> Events:
    return make_events(1500)


@pytest.fixture(scope="module")
def rare(events: Events) -> Any:
    return make_dataset(
        events, skims=("rare",), preset="smart_background", split=Split()
    )


def count_passing(dataset: Any, name: str) -> int:
    return int(dataset.passes[dataset.find(name), 0].sum())


def test_limit_passing_keeps_the_number_asked_for_and_all_test_events(study, rare):
    small = study.limit_passing(rare, 40, seed=1)
    assert count_passing(small, "train") + count_passing(small, "validation") == 40
    assert torch.equal(small.find("test"), rare.find("test"))
    shares = [len(small.find(n)) / len(rare.find(n)) for n in ("train", "validation")]
    passing = sum(count_passing(rare, n) for n in ("train", "validation"))
    assert shares == pytest.approx([40 / passing] * 2, rel=0.5)


def test_limit_passing_smaller_sets_lie_in_larger_ones(study, rare):
    small, large = (study.limit_passing(rare, n, seed=1) for n in (20, 60))
    for name in ("train", "validation"):
        assert set(small.find(name).tolist()) < set(large.find(name).tolist())
    other = study.limit_passing(rare, 20, seed=2)
    assert not torch.equal(other.find("train"), small.find("train"))


def test_limit_passing_more_than_there_are_refused(study, rare):
    with pytest.raises(InputError, match="'rare', got"):
        study.limit_passing(rare, 5000, seed=0)


def test_choose_test_has_all_passing_and_some_failing(study, rare):
    index = study.choose_test(rare, 25)
    passes = rare.passes[index, 0]
    assert int(passes.sum()) == count_passing(rare, "test")
    assert int((~passes).sum()) == 25
    assert set(index.tolist()) <= set(rare.find("test").tolist())


def test_rate_perfect_score_reaches_the_limit_of_a(study):
    passes = np.arange(400) % 10 < 2
    found = study.rate(passes.astype(np.float32), passes, 0.01)
    assert found["auc"] == 1.0
    assert found["speedup"] == pytest.approx(101 / (1 + 100 * 0.01))


def test_base_that_knows_the_skim_is_refused(study, events, tmp_path):
    dataset = make_dataset(
        events, skims=("common", "rare"), preset="smart_background", split=Split()
    )
    path = tmp_path / "base.pt"
    config = TrainingConfig(settings=SETTINGS, epochs=1)
    train_on(dataset, path, config)
    with pytest.raises(UsageError, match="does not know 'rare'"):
        study.train_base(dataset, "rare", path, config)


def test_command_learning_curve_and_resume(study, events, tmp_path, monkeypatch):
    data = tmp_path / "toy.parquet"
    with LabelledWriter(data, tuple(events.labels), (), {}) as writer:
        writer.write(events)
    config = tmp_path / "small.yaml"
    options = {"settings": SETTINGS, "epochs": 2, "learning_rate": 0.02}
    config.write_text(yaml.safe_dump(options))
    output = tmp_path / "out"
    arguments = [str(data), "--skim", "rare", "--config", str(config)]
    arguments += ["--passing", "8", "--passing", "30", "--seeds", "2"]
    arguments += ["--epochs", "2", "-o", str(output)]
    arguments += ["--figure", str(tmp_path / "curve.png")]
    runner = CliRunner()
    first = runner.invoke(study.command, arguments, catch_exceptions=False)
    assert first.exit_code == 0
    document = json.loads((output / "transfer.json").read_text())
    assert [(r["size"], r["start"], r["seed"]) for r in document["runs"]] == [
        (size, start, seed)
        for size in (8, 30)
        for seed in (0, 1)
        for start in ("scratch", "base")
    ]
    assert [r["n_passing"] for r in document["runs"]] == [8] * 4 + [30] * 4
    assert len(document["summary"]) == 4
    best = document["summary"][-1]
    runs = [r for r in document["runs"] if r["size"] == 30 and r["start"] == "base"]
    assert best["auc"] == pytest.approx(np.mean([r["auc"] for r in runs]))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(study, "run_one", lambda *_: pytest.fail("trained again"))
    again = runner.invoke(study.command, arguments, catch_exceptions=False)
    assert again.exit_code == 0
    assert json.loads((output / "transfer.json").read_text()) == document


def test_shipped_configuration_of_the_base_is_a_subtree_network(study):
    config = read_config(str(Path(study.__file__).with_suffix(".yaml")))
    assert config.network == "subtree"
    assert config.split_fractions == (0.4, 0.1, 0.5)
