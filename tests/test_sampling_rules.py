"""The benchmark of sampling rules: what it prints follows from its own events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from smartfilter.errors import InputError
from smartfilter.io import LabelledWriter, open_events

SKIM = "feiHadronicB0"


@pytest.fixture(scope="module")
def rules(load_benchmark) -> Any:
    """Return the benchmark as a module."""
    return load_benchmark("sampling_rules")


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


def test_sampling_rules_speedups_are_formula_c_by_counting(load_benchmark):
    rng = np.random.default_rng(1)
    comparison = load_benchmark("sampling_comparison")
    sample = load_benchmark("sampling_events").draw_sample(500, 0.5, 3)
    weight, simulated = rng.uniform(0.1, 1, (500, 4)), rng.uniform(0.1, 1, 500)
    p = comparison.Probabilities(weight, simulated)
    costs = comparison.Costs(50.0, 0.5, 100.0)
    found = comparison.speedups(np.ones(500) @ comparison.summarise(sample, p), costs)
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


def test_sampling_rules_leave_out_skims_that_one_half_cannot_fit(load_benchmark):
    events = load_benchmark("sampling_events")
    passes = np.zeros((6, 5))
    passes[:, 0] = [1, 0, 0, 1, 0, 0]  # in both halves
    passes[3:, 1] = [1, 1, 0]  # in the second half alone
    passes[:, 3] = 1
    passes[:, 4] = [1, 1, 0, 1, 1, 0]
    values = np.arange(30.0).reshape(6, 5)
    shipped = tuple((float(k), 0.0) for k in range(5))
    sample = events.Sample(
        tuple("abcde"), values, values / 30, passes, np.ones(6), shipped
    )
    rest, left_out = events.leave_out_poor(sample, np.arange(6) < 3)
    assert rest.skims == ("a", "e")
    assert left_out == {"b": 2, "c": 0, "d": 6}
    np.testing.assert_array_equal(rest.passes, passes[:, [0, 4]])
    np.testing.assert_array_equal(rest.logits, values[:, [0, 4]])
    assert rest.shipped == (shipped[0], shipped[4])
    poor = sample._replace(passes=np.zeros((6, 5)))
    with pytest.raises(InputError, match="too few for each of a, b, c, d, e"):
        events.leave_out_poor(poor, np.arange(6) < 3)


def test_sampling_rules_say_which_skim_nobody_passes(
    rules, load_benchmark, monkeypatch
):
    sample = load_benchmark("sampling_events").draw_sample(4000, 0.5, 3)
    sample.passes[:, sample.skims.index("BtoPi0Pi0")] = 0
    monkeypatch.setattr(rules, "draw_sample", lambda *_: sample)
    arguments = ["--bootstrap", "20"]
    result = CliRunner().invoke(rules.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "BtoPi0Pi0: left out, 0 of 4,000 events pass" in result.stderr
    assert "InclusiveLambda " in result.stdout
    assert "BtoPi0Pi0" not in result.stdout
