"""Commands in this process, and events that are easy to spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from smartfilter.cli import main
from smartfilter.io import open_events
from smartfilter.scoring import Scorer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command and returns exit code, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        code = stop.value.code
        assert isinstance(code, int)
        return code, out, err

    return call


@pytest.fixture(scope="session")
def example(project_root: Path) -> Path:
    """Return the example file of generated events."""
    return project_root / "examples" / "events.root"


@pytest.fixture(scope="session")
def some_events(example):
    """Return thirty of the example events."""
    return open_events(example).read().take(slice(30))


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    """Return the scorer of the shipped model."""
    return Scorer(device="cpu")
