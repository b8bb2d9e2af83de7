"""Each example runs as a user runs it."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from smartfilter.io import open_events, read_scores
from smartfilter.scoring import Scorer

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize(
    "script", sorted(EXAMPLES.glob("*.py")), ids=lambda script: script.name
)
def test_example_runs_and_prints(script: Path, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


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
