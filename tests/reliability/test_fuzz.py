"""A short run of the fuzzer; ``SMARTFILTER_FUZZ_MINUTES`` makes it longer."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

MINUTES = float(os.environ.get("SMARTFILTER_FUZZ_MINUTES", "1.5"))


@pytest.mark.slow
def test_damaged_files_are_read_or_refused(project_root, tmp_path):
    output = tmp_path / "fuzz.json"
    done = subprocess.run(
        [
            sys.executable,
            str(project_root / "benchmarks" / "fuzz.py"),
            f"--minutes={MINUTES}",
            "--seed=1",
            f"--output={output}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert output.exists(), done.stderr
    document = json.loads(output.read_text())
    assert document["failed"] == 0, done.stderr
    assert done.returncode == 0, done.stderr
    for name, target in document["targets"].items():
        assert target["files"] > 10, name
        assert target["refused"] > 0, name
    assert document["targets"]["model file"]["other"] == 0


def test_fuzzer_notices_a_traceback(project_root, tmp_path):
    """A reader that lets an exception through is a failure of the run."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import fuzz_child, smartfilter.cli\n"
        "def fail(arguments): raise KeyError('x')\n"
        "smartfilter.cli.main = fail\n"
        "print(fuzz_child.run_command([], None, [3])['outcome'])\n"
        "def leave(arguments):\n"
        "    print('Error: a', 'noise', sep='\\n', file=sys.stderr); sys.exit(3)\n"
        "smartfilter.cli.main = leave\n"
        "print(fuzz_child.run_command([], None, [3])['outcome'])\n"
        "def other(arguments): print('Error: a', file=sys.stderr); sys.exit(1)\n"
        "smartfilter.cli.main = other\n"
        "print(fuzz_child.run_command([], None, [3])['outcome'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(project_root / "benchmarks")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:3] == ["traceback", "noise", "exit code 1"]
