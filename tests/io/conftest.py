"""Small synthetic events for the tests of readers and writers."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts

PDG_CODES = (11, -11, 22, 211, -211, 321, 521, 300553)


def _make_events(
    counts: list[int],
    *,
    seed: int = 1,
    primary_share: float = 1.0,
    labels: tuple[str, ...] = (),
    variables: tuple[str, ...] = (),
) -> Events:
    """Return events of these sizes; each particle's mother precedes it or is none."""
    rng = np.random.default_rng(seed)
    offsets = offsets_from_counts(np.array(counts, dtype=np.int64))
    n_particles, n_events = int(offsets[-1]), len(counts)
    particles = {
        name: rng.normal(size=n_particles).astype(dtype)
        for name, dtype in PARTICLE_COLUMNS.items()
    }
    particles["pdg"] = rng.choice(PDG_CODES, n_particles).astype(np.int32)
    particles["status"] = (rng.random(n_particles) < primary_share).astype(np.uint16)
    mothers = [
        int(rng.integers(-1, row)) if row else -1
        for count in counts
        for row in range(count)
    ]
    particles["mother_index"] = np.array(mothers, dtype=np.int32)
    rows = [row for count in counts for row in range(count)]
    particles["array_index"] = np.array(rows, dtype=np.int32)
    return Events.from_columns(
        offsets,
        particles,
        experiment=np.full(n_events, 1003),
        run=rng.integers(0, 100, n_events),
        production=rng.integers(0, 100, n_events),
        event=rng.integers(0, 2**32, n_events),
        event_type=rng.integers(-1, 7, n_events).astype(np.int8),
        labels={name: rng.random(n_events) < 0.3 for name in labels},
        variables={
            name: rng.normal(size=n_events).astype(np.float32) for name in variables
        },
        file="memory",
    )


def _assert_same_events(found: Events, expected: Events) -> None:
    """Compare everything but ``file`` and ``entry``, dtypes included."""
    assert np.array_equal(found.offsets, expected.offsets)
    for group in ("particles", "labels", "variables"):
        left, right = getattr(found, group), getattr(expected, group)
        assert set(left) == set(right)
        for name in right:
            assert left[name].dtype == right[name].dtype, name
            np.testing.assert_array_equal(left[name], right[name], err_msg=name)
    for name in ("experiment", "run", "production", "event", "event_type"):
        left, right = getattr(found, name), getattr(expected, name)
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)


@pytest.fixture(scope="session")
def make_events():
    """Return the function that makes events of given sizes."""
    return _make_events


@pytest.fixture(scope="session")
def assert_same_events():
    """Return the function that compares events."""
    return _assert_same_events


@pytest.fixture(scope="session")
def layouts():
    """Return the module that writes files in the layouts of the public data sets."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    yield importlib.import_module("published_files")
    sys.path.remove(folder)


@pytest.fixture(scope="session")
def tokens(layouts):
    """Return PDG code -> token of the published vocabulary, read from its file."""
    return layouts.read_tokens()


@pytest.fixture(scope="session")
def data_set(layouts):
    """Return events of all sizes and their labels."""
    return layouts.make_data_set([5, 0, 1, 12, 100, 7, 3])
