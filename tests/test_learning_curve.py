"""The command that measures where a network saturates, on a tiny data set."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner


@pytest.fixture(scope="module")
def benchmark(load_benchmark):
    return load_benchmark("learning_curve")


def test_points_see_as_many_events_whatever_they_draw_from(benchmark):
    settings = benchmark.Settings(
        "feiHadronicB0", 1.0, 200_000, 0.1, (0.8, 0.1, 0.1), 1, 1, None
    )
    for n_events in (3_000, 48_000, 200_000):
        point = benchmark.Point("subtree", n_events, 16)
        config = benchmark.make_config(point, settings)
        assert config.epochs * n_events == pytest.approx(600_000, rel=0.05)
        assert config.training_events == n_events
        assert config.settings["n_units"] == config.settings["n_hidden"] == 16
        assert list(config.skims) == ["feiHadronicB0"]


def test_cost_of_a_network_is_the_time_it_adds(benchmark):
    rates = {"tpr": 0.5, "fpr": 0.1, "retention_rate": 0.05}
    found = benchmark._add_cost(rates, 1.0, 2.0, 100.0)
    simulated = 100.0 * (0.05 * 0.5 + 0.95 * 0.1)
    assert found["free"] == pytest.approx(0.5 * 102.0 / (2.0 + simulated))
    assert found["paid"] == pytest.approx(0.5 * 102.0 / (3.0 + simulated))
    assert found["loss"] == pytest.approx(1.0 / (3.0 + simulated))


def test_curve_of_two_sizes_is_written_drawn_and_kept(
    benchmark, labelled_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(benchmark, "STEP_EVENTS", 80)
    command = [str(labelled_file), "--skim", "feiHadronicB0", "-o", str(tmp_path)]
    command += ["--events", "20,40", "--units", "4,8", "--width", "8"]
    command += ["--split", "0.5,0.25,0.25", "--failing-share", "0.9"]
    command += ["--limit", "0.95", "0.96", "--figure", str(tmp_path / "curve.png")]
    for _ in range(2):
        result = CliRunner().invoke(benchmark.command, command)
        assert result.exit_code == 0, result.output
        trained = {
            path.name: path.stat().st_mtime_ns for path in tmp_path.glob("curve/*.pt")
        }
        assert len(trained) == 3
    document = json.loads((tmp_path / "learning_curve.json").read_text())
    sizes = [(row["training_events"], row["n_units"]) for row in document["rows"]]
    assert sizes == [(20, 8), (40, 4), (40, 8)]
    assert all(row["with_cost"]["Geant4"]["loss"] > 0 for row in document["rows"])
    assert (tmp_path / "curve.png").stat().st_size > 10_000
