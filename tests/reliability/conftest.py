"""Commands in this process, and events that are easy to spoil."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smartfilter.io import open_events
from smartfilter.scoring import Scorer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def some_events(example):
    """Return thirty of the example events."""
    return open_events(example).read().take(slice(30))


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    """Return the scorer of the shipped model."""
    return Scorer(device="cpu")
