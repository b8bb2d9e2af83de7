"""The standalone steering files run as a user runs them."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from smartfilter.cli import cli
from smartfilter.io import MdstWriter, open_events, read_scores
from smartfilter.pipeline.generator import Generator
from smartfilter.training.dataset import load_dataset
from smartfilter.training.split import Split

PYTHIA = ("--decay-table", "pythia")


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
    run = run_steering(project_root, *PYTHIA, "-n", "40", "--model", str(count_model))
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
    arguments = [*PYTHIA, "-n", "15", "--model", str(count_model), "--mode", "debug"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert read_calls(result.stdout)["DetectorModule"] == 15
    assert "of 15 generated ones" in result.stdout


def test_standalone_wrong_skim_fails_before_the_first_event(
    project_root: Path, count_model: Path
):
    run = run_steering(
        project_root, *PYTHIA, "--skim", "feiHadronicBO", "--model", str(count_model)
    )
    assert run.returncode == 2
    assert "did you mean 'feiHadronicB0'" in run.stderr
    assert run.stderr.endswith(
        "Error: 1 ERROR(S) occurred! The processing of events will not be started.\n"
    )
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("standalone", "--mode", "sampel"),
        ("standalone", "--step", "0"),
        ("standalone", "--events", "0"),
        ("standalone_training_data", "--events", "-5"),
        ("standalone_training_data", "--step", "-1"),
        ("standalone_two_passes", "--step", "0"),
    ],
)
def test_standalone_wrong_option_is_a_usage_error(
    project_root: Path, name: str, option: str, value: str
):
    main = runpy.run_path(str(project_root / "steering" / f"{name}.py"))["main"]
    result = CliRunner().invoke(main, [option, value])
    assert result.exit_code == 2
    assert "Invalid value for" in result.output
    assert option in result.output


def run_main(root: Path, name: str, *arguments: str) -> str:
    """Run a steering file's command in this process and return its output."""
    main = runpy.run_path(str(root / "steering" / name))["main"]
    result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_two_passes_simulate_what_the_first_one_keeps(
    project_root: Path, count_model: Path, tmp_path: Path
):
    generator = Generator("mixed", seed=3, decay_table="pythia")
    with MdstWriter(tmp_path / "gen.root") as writer:
        writer.write(generator.generate(50))
    gen, flags = str(tmp_path / "gen.root"), str(tmp_path / "flags.parquet")
    options = ["--model", str(count_model), "--mode", "sample", "--device", "cpu"]
    result = CliRunner().invoke(cli, ["score", gen, "-o", flags, *options])
    assert result.exit_code == 0, result.output
    table = read_scores(flags)
    output = run_main(project_root, "standalone_two_passes.py", gen, "--scores", flags)
    calls = read_calls(output)
    assert calls["SmartFilter"] == 50
    assert 0 < calls["DetectorModule"] == table["keep"].sum() < 50
    assert "of 50 generated ones" in output


def test_training_data_can_be_trained_on(project_root: Path, tmp_path: Path):
    output = tmp_path / "train.parquet"
    text = run_main(
        project_root,
        "standalone_training_data.py",
        *PYTHIA,
        "-n",
        "40",
        "-o",
        str(output),
    )
    assert f"40 events in {output}" in text
    events = open_events(output).read()
    assert len(events) == 40
    assert set(events.labels) == {"feiHadronicB0"}
    dataset = load_dataset([output], skims=(), preset="smart_background", split=Split())
    assert len(dataset) == 40


def test_every_standalone_steering_file_is_run_here(project_root: Path):
    files = {file.name for file in (project_root / "steering").glob("standalone*.py")}
    assert {
        name for name in files if f'"{name}"' in Path(__file__).read_text()
    } == files
