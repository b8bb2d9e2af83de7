"""Each example runs as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from smartfilter.io import open_events

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
