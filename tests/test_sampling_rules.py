"""The benchmark of sampling rules: what it prints follows from its own events."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from smartfilter.io import LabelledWriter, open_events

SKIM = "feiHadronicB0"


@pytest.fixture(scope="module")
def rules(project_root: Path) -> Any:
    """Return the benchmark as a module."""
    path = project_root / "benchmarks" / "sampling_rules.py"
    specification = importlib.util.spec_from_file_location("sampling_rules", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules[specification.name]


def test_sampling_rules_of_drawn_scores_put_one_probability_first(rules, tmp_path):
    output = tmp_path / "new" / "rules.json"
    arguments = ["--n-events", "6000", "--bootstrap", "20", "-o", str(output)]
    result = CliRunner().invoke(rules.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    document = json.loads(output.read_text())
    found = {k: v["speedup"]["value"] for k, v in document["rules"].items()}
    assert found["one probability, joint constants"] > found[rules.REFERENCE] + 0.2
    assert found[rules.REFERENCE] > found["official draws, fitted"]
    assert all(item["not_worse"] for item in document["one_skim"].values())
    assert "official draws, as shipped" not in found


def test_sampling_rules_speedups_are_formula_c_by_counting(rules):
    rng = np.random.default_rng(1)
    sample = rules.draw_sample(500, 0.5, 3)
    p = rules.Probabilities(rng.uniform(0.1, 1, (500, 4)), rng.uniform(0.1, 1, 500))
    costs = rules.Costs(50.0, 0.5, 100.0)
    found = rules.speedups(np.ones(500) @ rules.summarise(sample, p), costs)
    for k in range(4):
        passing = sample.passes[:, k] == 1
        n_eff = passing.sum() ** 2 / (1 / p.weight[passing, k]).sum()
        with_filter = (500 * 1.5 + 50 * p.simulated.sum()) / n_eff
        assert found[k] == pytest.approx(500 * 51 / passing.sum() / with_filter)


def test_sampling_rules_on_labelled_events_use_the_model(rules, tmp_path, count_model):
    example = Path(__file__).parents[1] / "examples" / "events.root"
    events = open_events(example).read()
    passes = events.counts > np.quantile(events.counts, 0.8)
    passes ^= np.random.default_rng(0).random(len(events)) < 0.02
    path = tmp_path / "labelled.parquet"
    with LabelledWriter(path, [SKIM]) as writer:
        writer.write(events.with_labels({SKIM: passes}))
    arguments = [str(path), "--model", str(count_model), "--all-events"]
    result = CliRunner().invoke(
        rules.command, [*arguments, "--bootstrap", "20"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert f"{len(events)} events, labelled events" in result.output
    assert "official draws, as shipped" in result.output
