"""The whole measurement, as a function and as a command."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from smartfilter import speedup
from smartfilter.cli import cli
from smartfilter.errors import UsageError
from smartfilter.pipeline.chain import STAGES
from smartfilter.pipeline.measurement import THRESHOLD_FACTORS, measure
from smartfilter.pipeline.results import Measurement, PointResult
from smartfilter.pipeline.working_points import WorkingPoint


@pytest.fixture(scope="module")
def measurement(count_model: Path) -> Measurement:
    return measure(
        "mixed",
        300,
        skim="feiHadronicB0",
        model=count_model,
        step=1.0,
        decay_table="pythia",
        modes=("threshold", "sample"),
        thresholds=(0.1, 0.0, 0.3),
        events_per_round=150,
    )


def get_point(measurement: Measurement, blocks: bool, **wanted: Any) -> PointResult:
    (found,) = (
        point
        for point in measurement.points
        if point.blocks == blocks
        and all(getattr(point.point, k) == v for k, v in wanted.items())
    )
    return found


def test_measure_gives_sane_numbers(measurement: Measurement):
    assert len(measurement.points) == 10
    for result in measurement.points:
        quantities = result.quantities
        for name in ("t_g", "t_n", "t_s"):
            assert quantities[name].value > 0
        assert 0 < quantities["retention_rate"].value < 0.3
        assert quantities["measured_speedup"].value > 0
        assert quantities["measured_speedup"].error > 0
    for blocks in (True, False):
        everything = get_point(measurement, blocks, threshold=0.0)
        assert everything.quantities["tpr"].value == 1.0
        assert everything.quantities["fpr"].value == 1.0
        assert everything.replayed
        main = get_point(measurement, blocks, threshold=0.1)
        assert not main.replayed
        harder = get_point(measurement, blocks, threshold=0.3)
        assert harder.quantities["keep_fraction"].value < (
            main.quantities["keep_fraction"].value
        )
    assert measurement.points[0] is get_point(measurement, True, threshold=0.1)
    assert measurement.precision > 0


def test_measure_runs_sampling_once_and_replays_its_cheapest_constant(
    measurement: Measurement,
):
    model = [
        get_point(measurement, b, mode="sample", constant=1.2) for b in (True, False)
    ]
    assert [point.replayed for point in model] == [False, True]
    sampling = [p for p in measurement.points if p.point.mode == "sample"]
    cheapest = [p for p in sampling if p.point.constant != 1.2]
    assert len(cheapest) == 2
    assert all(point.replayed for point in cheapest)


def test_measure_of_a_filter_that_keeps_all_is_below_one(measurement: Measurement):
    everything = get_point(measurement, False, threshold=0.0).quantities
    assert everything["predicted_speedup"].value < 1
    assert everything["measured_speedup"].value < 1
    assert everything["excess_without_costs"].value == pytest.approx(0.0, abs=1e-9)


def test_measure_formulas_are_consistent_with_its_rates(measurement: Measurement):
    for result in measurement.points:
        value = {name: q.value for name, q in result.quantities.items()}
        rates = {name: value[name] for name in ("tpr", "fpr", "retention_rate")}
        times = {name: value[name] for name in ("t_g", "t_s")}
        if result.point.mode != "threshold":
            assert "printed_formula" not in value
            continue
        assert value["predicted_speedup"] == pytest.approx(
            speedup.threshold_speedup(**rates, **times, t_n=value["t_n"])
        )
        assert value["printed_formula"] == pytest.approx(
            speedup.printed_formula(**rates, **times)
        )
        assert value["substituted_formula"] == pytest.approx(
            speedup.substituted_formula(**rates, **times)
        )


def test_measure_document_has_the_promised_keys(measurement: Measurement):
    document = json.loads(json.dumps(measurement.to_document(), allow_nan=False))
    promised = {
        "t_g",
        "t_n",
        "t_s",
        "retention_rate",
        "tpr",
        "fpr",
        "measured_speedup",
        "measured_speedup_error",
        "predicted_speedup",
        "predicted_speedup_error",
        "pull",
        "comparison",
        "comparison_error",
        "pull_predicted_with_costs",
    }
    wrong = {"printed_formula", "substituted_formula", "pull_printed_formula"}
    assert promised | wrong <= set(document)
    for point in document["points"]:
        assert promised <= set(point)
        assert (wrong <= set(point)) == (point["mode"] == "threshold")
        assert ("replay_ratio" in point) == (not point["replayed"])
        both = {point["measured_speedup_cpu"], point["measured_speedup_wall"]}
        assert point["measured_speedup"] in both
    assert document["event_type"] == "mixed"
    assert document["times"]["wall"]["t_n_events"] > 0
    assert set(document["stages"]) == set(STAGES)
    assert document["stages"]["filter"]["cpu_without"] == 0.0
    assert document["stages"]["detector"]["wall_with"] > 0
    without = sum(row["cpu_without_per_passing"] for row in document["stages"].values())
    with_it = sum(row["cpu_with_per_passing"] for row in document["stages"].values())
    assert without / with_it == pytest.approx(document["measured_speedup_cpu"])
    for curve in document["curves"]:
        assert len(curve["threshold"]) == len(curve["predicted_with_costs_error"])


def test_measure_default_points_follow_the_model(count_model: Path):
    steps: dict[str, tuple[int | None, list[int]]] = {}

    def begin(task: str, total: int | None, unit: str = "events") -> Any:
        steps[task] = (total, [])
        return steps[task][1].append

    result = measure(
        "mixed",
        200,
        skim="feiHadronicB0",
        model=count_model,
        modes=("official", "threshold"),
        ways=("events",),
        step=1.0,
        decay_table="pythia",
        clock="wall",
        begin=begin,
    )
    assert list(steps) == ["measure", "points", "curves"]
    assert [total for total, _ in steps.values()] == [200, 6, 25]
    assert all(sum(done) == total for total, done in steps.values())
    official, *others = result.points
    assert official.point == WorkingPoint("official", slope=0.5, offset=0.0)
    assert not official.replayed
    assert [p.point.threshold for p in others] == pytest.approx(
        [0.1 * factor for factor in THRESHOLD_FACTORS]
    )
    assert [p.replayed for p in others] == [False] + [True] * 4
    assert result.to_document()["filter_in_blocks"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_events": 0}, "number of events"),
        ({"modes": ["debug"]}, "got 'debug'"),
        ({"modes": []}, "mode: .* got none"),
        ({"modes": ["sample"], "thresholds": [0.1]}, "thresholds"),
        ({"ways": ["threads"]}, "way to call"),
        ({"clock": "sun"}, "clock"),
        ({"detector": "cloud chamber"}, "detector: expected one of mock, geant4"),
        ({"workers": 0}, "workers"),
        ({"events_per_round": 0}, "events_per_round"),
        ({"skim": "TauLFV"}, "skim: expected one of"),
        ({"n_events": 1}, "events that pass"),
    ],
)
def test_measure_senseless_setting_refused(
    change: dict[str, Any], message: str, count_model: Path
):
    settings = {
        "n_events": 10,
        "skim": "feiHadronicB0",
        "step": 1.0,
        "decay_table": "pythia",
        **change,
    }
    n_events = settings.pop("n_events")
    with pytest.raises(UsageError, match=message):
        measure("mixed", n_events, model=count_model, **settings)


def test_measure_command_prints_tables_and_writes_files(
    count_model: Path, tmp_path: Path
):
    arguments = ["measure", "-n", "250", "--step", "1", "--decay-table", "pythia"]
    arguments += ["--model", str(count_model), "--output", str(tmp_path), "--blocks"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    for word in ("t_g", "CPU time", "wall clock", "reconstruction", "(A2)", "replayed"):
        assert word in done.stdout
    document = json.loads((tmp_path / "measure.json").read_text())
    assert document["schema_version"] == 1
    assert document["command_line"] == shlex.join(["smartfilter", *arguments])
    assert {"smartfilter", "python", "torch", "pythia8mc"} <= set(document["versions"])
    assert {"cpu", "cores", "load"} <= set(document["machine"])
    assert len(document["points"]) == len(THRESHOLD_FACTORS) + 2
    for name in ("measure", "costs"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    again = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert isinstance(again.exception, UsageError)
    assert "use --force" in str(again.exception)
