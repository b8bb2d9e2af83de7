"""The standalone steering file runs as a user runs it."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner


def run_steering(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "steering" / "standalone.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def read_calls(output: str) -> dict[str, int]:
    """Calls of event() by module, from the table of statistics."""
    rows = [line.split() for line in output.splitlines() if " | " in line]
    return {row[0]: int(row[2]) for row in rows if row[0] != "Name"}


def test_standalone_runs_and_prints_statistics(project_root: Path, count_model: Path):
    run = run_steering(project_root, "-n", "40", "--model", str(count_model))
    assert run.returncode == 0, run.stderr
    calls = read_calls(run.stdout)
    assert calls["GeneratorModule"] == 41
    assert calls["SmartFilter"] == 40
    kept = calls["DetectorModule"]
    assert 0 < kept < 40
    assert kept == calls["ReconstructionModule"] == calls["SkimModule"]
    assert f"of {kept} simulated events pass feiHadronicB0" in run.stdout
    assert "random seed is set to '1'" in run.stderr
    assert "SmartFilter: 40 generated" in run.stderr


def test_standalone_in_debug_mode_simulates_everything(
    project_root: Path, count_model: Path
):
    main = runpy.run_path(str(project_root / "steering" / "standalone.py"))["main"]
    arguments = ["-n", "15", "--model", str(count_model), "--mode", "debug"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert read_calls(result.stdout)["DetectorModule"] == 15
    assert "of 15 generated ones" in result.stdout


def test_standalone_wrong_skim_fails_before_the_first_event(
    project_root: Path, count_model: Path
):
    run = run_steering(
        project_root, "--skim", "feiHadronicBO", "--model", str(count_model)
    )
    assert run.returncode != 0
    assert "did you mean 'feiHadronicB0'" in run.stderr
    assert "not be started" in run.stderr
