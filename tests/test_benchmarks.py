"""The speed benchmarks: rivals agree, rows judge rightly, commands run on small inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from smartfilter.errors import ModelFileError, SmartFilterError, UsageError
from smartfilter.graphs import prepare
from smartfilter.io import open_events, read_scores
from smartfilter.models.layers import find_neighbours
from smartfilter.pdg import load_vocabulary
from smartfilter.scoring import Scorer

Load = Callable[[str], Any]


@pytest.fixture(scope="module")
def events(load_benchmark: Load) -> Any:
    return load_benchmark("samples").make_events(60)


@pytest.fixture(scope="module")
def event_file(load_benchmark: Load, events: Any, tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("events") / "events.root"
    result: Path = load_benchmark("samples").write_events(path, events, 150)
    return result


def run(module: Any, *arguments: str) -> Any:
    result = CliRunner().invoke(module.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_samples_file_repeats_the_events_under_new_numbers(event_file, events):
    found = open_events(event_file).read()
    np.testing.assert_array_equal(found.event, np.arange(150))
    assert found.counts.tolist() == [
        *events.counts,
        *events.counts,
        *events.counts[:30],
    ]
    np.testing.assert_array_equal(found["px"][: events.n_particles], events["px"])


def test_padded_events_are_those_of_the_preparation(load_benchmark, events):
    padded, graph = load_benchmark("padded"), prepare(events)
    words = load_vocabulary("smart_background")
    position = 0
    for batch in padded.iterate_batches(events, words, 7):
        for i in range(len(batch.x)):
            begin, end = graph.offsets[position : position + 2]
            n = end - begin
            assert int(batch.mask[i].sum()) == n
            np.testing.assert_array_equal(batch.x[i, :n], graph.x[begin:end])
            np.testing.assert_array_equal(batch.pdg[i, :n], graph.pdg[begin:end])
            mother = torch.from_numpy(graph.mother[begin:end])
            mother = torch.where(mother >= 0, mother - begin, mother)
            expected = find_neighbours(mother, torch.zeros(1), 10**6).weight
            torch.testing.assert_close(batch.adjacency[i, :n, :n], expected)
            assert not batch.adjacency[i, n:].any()
            position += 1
    assert position == len(events)


@pytest.mark.parametrize("residual", [False, True])
def test_rivals_give_the_same_logits(load_benchmark, events, tmp_path, residual):
    module = load_benchmark("network_speed")
    settings = {"n_units": 8, "residual": residual, "n_skims": 3}
    network, info = load_benchmark("samples").make_network(events, **settings)
    info = replace(info, skims=info.skims[:3])
    found = module.make_contestants(events, network, info, tmp_path)
    logits = {name: score() for name, score in found.items()}
    assert len(logits) == 5
    for values in logits.values():
        assert values.shape == (60, 3)
        torch.testing.assert_close(values, logits["ours"], atol=1e-4, rtol=0)
    logits["ours"] = logits["ours"] + 1e-3
    with pytest.raises(AssertionError, match="torch-geometric"):
        module._require_equal(logits)


def test_lab_course_chain_writes_our_logits(
    load_benchmark, events, event_file, tmp_path
):
    import pyarrow.parquet as pq

    model = load_benchmark("samples").make_model(tmp_path / "m.pt", events, n_units=8)
    chain = load_benchmark("score_speed")
    network, info = chain.load_module(model)
    chain.score_file(event_file, network, info.vocabulary, tmp_path / "lab.parquet")
    theirs = pq.read_table(tmp_path / "lab.parquet")
    scorer = Scorer(model, device="cpu")
    for ahead in (False, True):
        chain.score(event_file, scorer, tmp_path / "out.parquet", ahead=ahead)
        ours = read_scores(tmp_path / "out.parquet")
        np.testing.assert_array_equal(ours["entry"], theirs["entry"])
        for k, skim in enumerate(ours.skims):
            expected = theirs[f"logit_{k}"].to_numpy()
            np.testing.assert_allclose(ours[f"logit_{skim}"], expected, atol=1e-4)
    assert chain.read_columns(event_file) == 150


def test_quartiles_are_those_of_sorted_numbers(load_benchmark):
    found = load_benchmark("record").Quartiles.of([5.0, 1.0, 4.0, 2.0, 3.0])
    assert found == (2.0, 3.0, 4.0)
    assert str(found) == "3 (2-4)"


@pytest.mark.parametrize(
    ("of", "sense", "value", "verdict"),
    [
        ("ratio", "at least", 2.0, "met"),
        ("ratio", "at least", 2.1, "missed"),
        ("ratio", "at most", 2.0, "met"),
        ("ratio", "at most", 1.9, "missed"),
        ("measured", "at least", 100.0, "met"),
        ("measured", "at most", 99.0, "missed"),
    ],
)
def test_row_verdict_and_json(load_benchmark, of, sense, value, verdict):
    record = load_benchmark("record")
    seconds = {"ours": np.array([1.0, 1.0]), "theirs": np.array([2.0, 2.0])}
    limit = record.Limit(of, sense, value)
    row = record.compare("speed", 100, seconds, "ours", "theirs", limit)
    assert row.ratio.median == 2.0
    assert row.measured.median == 100.0
    assert row.theirs.median == 50.0
    assert row.verdict == verdict
    document = json.loads(json.dumps(row.to_json()))
    assert document["verdict"] == verdict
    assert record.Row.from_json(document) == row


def test_row_without_target_has_no_verdict(load_benchmark):
    record = load_benchmark("record")
    row = record.Row("x", "s", record.Quartiles(1.0, 1.0, 1.0))
    assert row.verdict == ""
    assert record.Row.from_json(row.to_json()) == row


def test_time_in_turn_runs_all_in_each_round_another_first(load_benchmark):
    calls: list[str] = []
    contestants = {name: lambda n=name: calls.append(n) for name in "abc"}
    seconds = load_benchmark("record").time_in_turn(contestants, 4, warm_up=2)
    assert "".join(calls) == "abcabc" + "abc" + "bca" + "cab" + "abc"
    assert {name: len(found) for name, found in seconds.items()} == dict.fromkeys(
        "abc", 4
    )


COMMANDS = {
    "preparation_speed": ("--events", "40", "--rounds", "2"),
    "network_speed": ("--events", "40", "--rounds", "2"),
    "score_speed": ("--events", "60", "--rounds", "2"),
    "event_speed": ("--events", "5", "--rounds", "1"),
    "generator_speed": ("--events", "20", "--rounds", "1"),
    "cost_figure": ("--events", "30", "--rounds", "2", "--figure", "{folder}/c.png"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_prints_and_writes_its_table(load_benchmark, tmp_path, name):
    options = [option.format(folder=tmp_path) for option in COMMANDS[name]]
    path = tmp_path / "new" / "out.json"
    output = run(load_benchmark(name), *options, "-o", str(path))
    document = json.loads(path.read_text())
    assert document["rows"]
    assert document["machine"]["cores"] >= 1
    assert document["machine"]["packages"]["torch"]
    for row in document["rows"]:
        assert row["measured"]["lower"] <= row["measured"]["median"]
        assert (row["verdict"] in ("met", "missed")) == (row["target"] is not None)
        assert row["what"].strip().split()[0] in output
    if name == "cost_figure":
        assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
        assert [len(points) for points in document["details"].values()] == [4, 6, 4]


def test_memory_rows_come_from_processes_of_their_own(load_benchmark):
    module = load_benchmark("memory_and_start")
    rows = module.measure_memory(n_events=200, few=50)
    assert rows[0].measured.median > 50.0
    assert rows[0].ratio.median == pytest.approx(
        rows[0].measured.median / rows[0].theirs.median
    )
    with pytest.raises(SmartFilterError, match="nosuchfile"):
        module.run_command("score", "nosuchfile.root")


def test_memory_of_a_run_is_not_that_of_the_process_that_measures(load_benchmark):
    """Linux hands the largest resident set on to a process that is started directly."""
    ballast = np.ones(60_000_000)  # 480 MB
    assert load_benchmark("memory_and_start").run_command("--help").megabytes < 200.0
    assert ballast[-1] == 1.0


def test_gpu_command_without_gpu_says_so(load_benchmark, monkeypatch):
    module = load_benchmark("gpu_speed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert module.SKIPPED in run(module)


def test_gpu_measurement_on_the_cpu_finds_equal_logits(load_benchmark, tmp_path):
    report = load_benchmark("gpu_speed").measure(20, 1, device="cpu")
    [found] = report.details["logits: cpu against CPU"]
    assert found == {"largest difference": 0.0, "other decisions": 0}
    assert [row["precision"] for row in report.details["reduced precision against CPU"]]
    assert len(report.rows) == 4
    assert report.rows[0].verdict in ("met", "missed")


def test_gpu_logits_that_differ_are_an_error(load_benchmark):
    module = load_benchmark("gpu_speed")
    logits = np.array([[0.5, -1.0]], dtype=np.float32)
    found = module.compare_logits(logits, logits + np.float32(5e-5))
    assert found["largest difference"] == pytest.approx(5e-5, rel=0.1)
    assert found["other decisions"] == 0
    with pytest.raises(ModelFileError, match="expected those of the CPU"):
        module.compare_logits(logits, logits + np.float32(1e-3))
    with pytest.raises(ModelFileError, match="nan"):
        module.compare_logits(logits, logits * np.float32("nan"))


def test_render_table_holds_every_row_and_verdict(load_benchmark, tmp_path):
    module = load_benchmark("run_all")
    run(load_benchmark("preparation_speed"), "--events", "20", "--rounds", "1", "-o",
        str(tmp_path / "preparation.json"))  # fmt: skip
    document = json.loads((tmp_path / "preparation.json").read_text())
    text = module.render_table(tmp_path)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(document["rows"])
    for line, row in zip(lines[2:], document["rows"], strict=True):
        assert row["what"].strip() in line
        assert line.endswith(f"| {row['verdict']} |")
    assert run(module, "--table", str(tmp_path)).strip() == text.strip()
    readme = tmp_path / "README.md"
    readme.write_text(f"head\n{module.BEGIN}\nold\n{module.END}\ntail\n")
    for _ in range(2):
        module.update_readme(readme, text)
        lines = readme.read_text().splitlines()
        assert (lines[0], lines[-1]) == ("head", "tail")
        assert "old" not in lines
        assert text in readme.read_text()
    with pytest.raises(UsageError, match="expected the marks"):
        module.update_readme(tmp_path / "preparation.json", text)
    for script, *_ in module.COMMANDS.values():
        assert (Path(module.__file__).parent / script).is_file()
