"""Benchmark commands that read a result: a wrong file is one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smartfilter.errors import InputError

COMMANDS = {
    "flow_figure": ("-o", "out.png"),
    "network_figure": ("-o", "out.png"),
    "network_table": (),
}
TEXTS = ("", "no JSON", "[1, 2]", "{}", '{"networks": [{"name": 3}]}', "\x00\xff")


@pytest.fixture(scope="module")
def result_files(load_benchmark: Any) -> Any:
    return load_benchmark("result_files")


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "3", "[" * 5000])
def test_load_result_refuses_what_is_no_object(
    result_files: Any, tmp_path: Path, text: str
):
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"^result: expected .*result\.json"):
        result_files.load_result(path)
    with pytest.raises(InputError, match="Is a directory"):
        result_files.load_result(tmp_path)


def test_expect_result_passes_our_own_errors_on(result_files: Any):
    with (
        pytest.raises(InputError, match=r"^mine$"),
        result_files.expect_result("x.py", Path("a")),
    ):
        raise InputError("mine")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("text", TEXTS)
def test_command_answers_a_wrong_result_with_a_sentence(
    load_benchmark: Any,
    capsys: Any,
    tmp_path: Path,
    monkeypatch: Any,
    name: str,
    text: str,
):
    module = load_benchmark(name)
    monkeypatch.chdir(tmp_path)
    Path("result.json").write_text(text, encoding="latin-1")
    with pytest.raises(SystemExit) as stop:
        module.run(module.command, ["result.json", *COMMANDS[name]])
    assert stop.value.code == 3
    error = capsys.readouterr().err
    assert error.startswith("Error: result: expected ")
    assert "'result.json'" in error
    assert error.count("\n") == 1
    assert not Path("out.png").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_script_ends_with_the_exit_code_of_the_command_line(
    project_root: Path, tmp_path: Path, name: str
):
    wrong = tmp_path / "result.json"
    wrong.write_text(json.dumps({"schema_version": 1}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", wrong, *COMMANDS[name]],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
