"""The command that compares networks, on a tiny data set."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from smartfilter.errors import UsageError
from smartfilter.scoring import Scorer
from smartfilter.training.config import list_configs

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SKIM = "feiHadronicB0"


@pytest.fixture(scope="module")
def benchmark(load_benchmark):
    return load_benchmark("network_comparison")


def invoke(benchmark, labelled_file, output, *more):
    arguments = [str(labelled_file), "-o", str(output), "--split", "0.5,0.25,0.25"]
    arguments += ["--epochs", "2", "--training-events", "60", "--failing-share", "0.9"]
    return CliRunner().invoke(benchmark.command, [*arguments, *more])


@pytest.fixture(scope="module")
def compared(benchmark, labelled_file, tmp_path_factory):
    output = tmp_path_factory.mktemp("networks")
    names = ("--only", "lab_report/deepset", "--only", "ablations/no_x")
    result = invoke(benchmark, labelled_file, output, *names, "--seeds", "3,4")
    assert result.exit_code == 0, result.output
    return output, json.loads((output / "comparison.json").read_text()), result.output


def test_comparison_headline_networks_take_all_seeds(compared):
    _, document, _ = compared
    seeds = {entry["name"]: entry["seeds"] for entry in document["networks"]}
    assert seeds == {"lab_report/deepset": [3, 4], "ablations/no_x": [3]}
    order = [entry["auc"] for entry in document["networks"]]
    assert order == sorted(order, reverse=True)


def test_comparison_averages_the_runs_and_keeps_their_history(compared):
    _, document, output = compared
    entry = next(e for e in document["networks"] if len(e["runs"]) == 2)
    auc = [run["metrics"]["auc"] for run in entry["runs"]]
    assert entry["auc"] == pytest.approx(np.mean(auc))
    assert entry["auc_spread"] == pytest.approx(np.std(auc, ddof=1))
    for run in entry["runs"]:
        assert len(run["history"]) == run["epochs"] == 2
        assert run["stopped"] == "epochs"
        assert (
            run["metrics"]["n_failing"]
            == run["n_events"]["test"] - (run["metrics"]["n_passing"])
        )
    assert entry["events_per_second"] > 0
    assert f"{entry['auc']:.4f} ±" in output
    json.dumps(document, allow_nan=False)


def test_comparison_networks_see_the_same_events(compared):
    _, document, _ = compared
    runs = [run for entry in document["networks"] for run in entry["runs"]]
    assert len({json.dumps(run["n_events"]) for run in runs}) == 1
    assert {run["config"]["training_events"] for run in runs} == {60}
    assert {run["config"]["preset"] for run in runs} == {"smart_background"}
    data = document["data"]
    assert data["n_generated"] == 400
    assert data["n_events"]["train"] < 400 * 0.5
    assert data["retention_rate"] == pytest.approx(0.3, abs=0.08)


def test_comparison_again_trains_only_what_is_missing(
    benchmark, labelled_file, compared, monkeypatch
):
    output, before, _ = compared
    trained = []
    plain = benchmark.train_run

    def train(run, *arguments):
        trained.append((run.name, run.seed))
        return plain(run, *arguments)

    monkeypatch.setattr(benchmark, "train_run", train)
    (output / "runs" / "ablations--no_x-seed3.json").unlink()
    names = ("--only", "lab_report/deepset", "--only", "ablations/no_x")
    result = invoke(benchmark, labelled_file, output, *names, "--seeds", "3,4")
    assert result.exit_code == 0, result.output
    assert trained == [("ablations/no_x", 3)]
    after = json.loads((output / "comparison.json").read_text())
    found = [{e["name"]: e["auc"] for e in d["networks"]} for d in (before, after)]
    assert found[0] == found[1]


def test_comparison_other_data_in_the_folder_refused(
    benchmark, labelled_file, compared
):
    result = invoke(benchmark, labelled_file, compared[0], "--max-events", "300")
    assert result.exit_code == 1
    assert "name another folder" in result.output


def test_comparison_data_that_cannot_be_learnt_are_reported(
    benchmark, labelled_file, tmp_path
):
    more = ("--max-events", "8", "--only", "lab_report/deepset", "--seeds", "1")
    result = invoke(benchmark, labelled_file, tmp_path, *more)
    assert result.exit_code == 1
    assert "lab_report/deepset, seed 1: labels of" in result.output
    assert "Traceback" not in result.output


def test_list_runs_trains_everything_but_what_is_left_out(benchmark):
    runs = benchmark.list_runs((), (1, 2))
    assert {run.name for run in runs} == set(list_configs()) - set(benchmark.LEFT_OUT)
    first = [run.name for run in runs[: len(benchmark.HEADLINE)]]
    assert set(first) == set(benchmark.HEADLINE)
    assert {run.name for run in runs if run.seed == 2} == set(benchmark.HEADLINE)
    with pytest.raises(UsageError, match="got 'none'"):
        benchmark.list_runs(("none",), (1,))
    assert set(benchmark.PUBLISHED_AUC) <= set(list_configs())


def test_measured_block_gives_the_scores_of_the_events(
    benchmark, labelled_file, compared
):
    runs = importlib.import_module("comparison_runs")
    output, document, _ = compared
    settings = document["settings"]
    dataset = runs.load_data(
        output, runs.Settings(**{**settings, "split": tuple(settings["split"])})
    )
    index = dataset.find("test")
    model = output / "runs" / "lab_report--deepset-seed3.pt"
    scorer = Scorer(model, device="cpu")
    got = scorer.score_graph(runs._take_block(index, dataset))
    with torch.inference_mode():
        expected = torch.cat(
            [scorer.model(*dataset.gather(part)) for part in torch.split(index, 7)]
        )
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)


def test_comparison_without_training_compares_what_is_finished(
    benchmark, labelled_file, compared
):
    output, before, _ = compared
    result = invoke(benchmark, labelled_file, output, "--no-training", "--seeds", "3,4")
    assert result.exit_code == 0, result.output
    after = json.loads((output / "comparison.json").read_text())
    assert [e["name"] for e in after["networks"]] == [
        e["name"] for e in before["networks"]
    ]


def test_network_table_holds_every_network_and_the_limit(compared, tmp_path):
    _, document, _ = compared
    table = importlib.import_module("network_table")
    base = {**document["networks"][0], "name": table.REMOVAL_BASE}
    document = {**document, "networks": [base, *document["networks"]]}
    comparison, page = tmp_path / "comparison.json", tmp_path / "page.md"
    comparison.write_text(json.dumps(document))
    page.write_text("before\n" + "\n".join(table.MARKS) + "\nafter\n")
    for _ in range(2):
        done = CliRunner().invoke(table.command, [str(comparison), "--into", str(page)])
        assert done.exit_code == 0, done.output
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    rows = [row for row in rows if row.count("|") == 12]
    assert len(rows) == len(document["networks"])
    assert f"{base['auc']:.4f} ±" in rows[0]
    oracle = json.loads((BENCHMARKS / "results" / "oracle.json").read_text())
    limit = next(iter(oracle["models"].values()))["extrapolated"]
    assert f"extrapolated | {limit['auc']:.3f} ±" in text
    done = CliRunner().invoke(table.command, [str(comparison), "--short"])
    assert f"| `{base['name']}` | {base['auc']:.3f} |" in done.output
    assert f"limit of any network | {limit['auc']:.3f}" in done.output
    ablation = next(
        e for e in document["networks"] if e["name"].startswith("ablations/")
    )
    difference = (
        ablation["runs"][0]["metrics"]["auc"] - base["runs"][0]["metrics"]["auc"]
    )
    assert f"| x | {ablation['auc']:.4f} | {difference:+.4f} |" in text


def test_network_table_takes_seeds_and_removal_from_the_repeated_one(
    compared, tmp_path
):
    _, document, _ = compared
    table = importlib.import_module("network_table")
    once = tmp_path / "once.json"
    repeated = tmp_path / "repeated.json"
    single = [e for e in document["networks"] if len(e["runs"]) == 1]
    once.write_text(json.dumps({**document, "networks": single}))
    repeated.write_text(json.dumps(document))
    alone = CliRunner().invoke(table.command, [str(once)])
    assert alone.exit_code == 0, alone.output
    assert "Seeds, after" not in alone.output
    both = CliRunner().invoke(table.command, [str(once), "--repeated", str(repeated)])
    entry = next(e for e in document["networks"] if len(e["runs"]) == 2)
    first, second = (run["metrics"]["auc"] for run in entry["runs"])
    assert (
        f"| `lab_report/deepset` | {first:.4f}, {second:.4f} | "
        f"{(first + second) / 2:.4f} | {abs(first - second) / np.sqrt(2):.4f} |"
    ) in both.output
    assert both.output.startswith(alone.output.rstrip())


def test_network_table_without_marks_is_an_error(tmp_path):
    table = importlib.import_module("network_table")
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(UsageError, match="expected the marks"):
        table.insert_text(page, "text")
    assert page.read_text() == "nothing"
