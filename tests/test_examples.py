"""Each example runs as a user runs it."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from smartfilter.cli import main
from smartfilter.io import open_events, read_scores
from smartfilter.scoring import Scorer
from smartfilter.training.split import SPLITS, Split

EXAMPLES = Path(__file__).parents[1] / "examples"


class Run(NamedTuple):
    """What an example printed, and the folder that it ran in."""

    lines: list[str]
    folder: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Return what runs an example of this name, once, in a folder of its own."""

    @cache
    def start(name: str) -> Run:
        folder = tmp_path_factory.mktemp(name)
        done = subprocess.run(
            [sys.executable, EXAMPLES / f"{name}.py"],
            capture_output=True,
            text=True,
            cwd=folder,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Run(done.stdout.splitlines(), folder)

    return start


@pytest.mark.parametrize("name", sorted(f.stem for f in EXAMPLES.glob("*.py")))
def test_example_runs_and_prints(name: str, run: Callable[[str], Run]):
    assert any(line.strip() for line in run(name).lines)


def test_examples_print_what_their_page_says(run: Callable[[str], Run]):
    """Whatever does not depend on training or on the version of Pythia."""
    page = (EXAMPLES / "README.md").read_text()
    for name in ("score_and_cut", "walk_through_event"):
        assert "\n".join(f"    {line}".rstrip() for line in run(name).lines[:4]) in page


def test_train_own_label_writes_a_model_that_knows_its_label(run: Callable[[str], Run]):
    """The model's test events are those that the split says, and AUC is above chance."""
    folder = run("train_own_label").folder
    events = open_events(folder / "own.parquet").read()
    passes = events.labels["KShortAndLepton"]
    assert 0.05 < passes.mean() < 0.2
    info = Scorer(folder / "own.pt", device="cpu").info
    assert info.skim_names == ("KShortAndLepton",)
    config = info.training["config"]
    test = Split(config["split_fractions"], config["split_seed"]).assign(events)
    metrics = info.training["metrics"]["KShortAndLepton"]
    is_test = test == SPLITS.index("test")
    assert metrics["n_passing"] == passes[is_test].sum()
    assert metrics["auc"] - 2 * metrics["auc_error"] > 0.5


def test_walk_through_event_counts_what_plain_loops_count(run: Callable[[str], Run]):
    lines = run("walk_through_event").lines
    text = "\n".join(lines)
    event = open_events(EXAMPLES / "events.root").read().take([163])
    far = [max(event[c][i] for c in "xyz") >= 10 for i in range(event.n_particles)]
    assert f"'kept': {far.count(False)}, 'vertex': {far.count(True)}" in text
    assert sum("(vertex)" in line for line in lines) == far.count(True)
    assert sum(" GeV" in line and "─" in line for line in lines) == event.n_particles
    numbers = re.search(r"min\(1, ([\d.]+) sqrt\(([\d.]+)\)\) = ([\d.]+)", text)
    weight = re.search(r"weight ([\d.]+)", text)
    assert numbers is not None
    assert weight is not None
    constant, score, p = map(float, numbers.groups())
    assert p == pytest.approx(min(1.0, constant * score**0.5), abs=2e-3)
    assert float(weight[1]) == pytest.approx(1 / p, rel=2e-3)


def test_readme_prints_what_make_score_ends_with(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """All lines but the speed."""
    root = EXAMPLES.parent
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit):
        main(["score", "examples/events.root", "--skim", "feiHadronicB0"])
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    readme = [line.split() for line in (root / "README.md").read_text().splitlines()]
    lines = [words for words in printed if words and words[0] != "events/s"]
    first = readme.index(lines[0])
    shown = [words for words in readme[first : first + 9] if words]
    assert shown[: len(lines)] == lines


def test_example_events_are_small_and_many():
    file = EXAMPLES / "events.root"
    assert file.stat().st_size < 1_000_000
    assert open_events(file).n_events >= 200


def test_weighted_histogram_counts_every_passing_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Bins add up; a threshold only loses events, weights of sampling exceed 1."""
    monkeypatch.chdir(tmp_path)
    script = runpy.run_path(str(EXAMPLES / "weighted_histogram.py"))
    events = script["make_sample"](300)
    passes = events.labels[script["SKIM"]]
    script["main"](300)
    assert (tmp_path / "weighted_histogram.png").stat().st_size > 10_000
    lines = capsys.readouterr().out.splitlines()
    totals = {
        name: float(line.split()[-1].split("+-")[0])
        for line in lines
        for name in ("unfiltered", "threshold", "sampled, weighted")
        if line.startswith(f"{name} ")
    }
    assert totals["unfiltered"] == passes.sum() > 0
    assert totals["threshold"] < totals["unfiltered"]
    draw = script["draw_weights"]
    weight = draw(Scorer(device="cpu"), events, "sample")
    assert totals["sampled, weighted"] == pytest.approx(weight[passes].sum(), abs=0.06)
    assert weight[weight > 0].min() >= 1


def test_htcondor_runs_a_command_on_workers_that_it_starts(tmp_path: Path):
    """Jobs are processes here: everything but HTCondor itself."""
    pytest.importorskip("dask_jobqueue")
    script = [sys.executable, str(EXAMPLES / "htcondor.py"), "--local", "--jobs", "2"]
    main = "from smartfilter.cli import main; main()"
    score = ["-c", main, "score", str(EXAMPLES / "events.root")]
    done = subprocess.run(
        [*script, "--", sys.executable, *score, "-o", "scores.parquet", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_events"] == 400
    assert len(read_scores(tmp_path / "scores.parquet")) == 400


def test_htcondor_prints_the_job_that_it_would_submit(tmp_path: Path):
    pytest.importorskip("dask_jobqueue")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "htcondor.py", "--memory", "3GB", "--hours", "5"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert "Queue" in done.stdout
    assert "+MaxRuntime = 19800" in done.stdout
    assert "distributed.cli.dask_worker tls://" in done.stdout


def test_htcondor_without_condor_submit_is_one_sentence(tmp_path: Path):
    pytest.importorskip("dask_jobqueue")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "htcondor.py", "--", "smartfilter", "score"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 2
    assert "no condor_submit here" in done.stderr
    assert "Traceback" not in done.stderr
