"""Toy events whose label depends on a PDG code."""

from __future__ import annotations

import numpy as np
import pytest

from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts

SIGNAL = 421


def make_toy_events(n_events, *, seed=0, pass_share=0.4, max_particles=12):
    """Return random trees; those that pass "toy" contain a D0 in most cases."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(2, max_particles + 1, n_events)
    offsets = offsets_from_counts(counts)
    n = int(offsets[-1])
    position = np.arange(n) - np.repeat(offsets[:-1], counts)
    columns = {
        name: rng.normal(size=n).astype(np.float32)
        for name, dtype in PARTICLE_COLUMNS.items()
        if dtype == np.float32
    }
    passes = rng.random(n_events) < pass_share
    pdg = rng.choice([211, -211, 22, 111, 321], n)
    pdg[offsets[:-1]] = 300553
    has_signal = np.where(rng.random(n_events) < 0.98, passes, ~passes)
    pdg[offsets[:-1][has_signal] + 1] = SIGNAL
    columns |= {
        "pdg": pdg.astype(np.int32),
        "mother_index": np.where(position == 0, -1, position * rng.random(n)).astype(
            np.int32
        ),
        "array_index": position.astype(np.int32),
        "status": np.ones(n, dtype=np.uint16),
    }
    number = np.arange(n_events) + 1_000_000 * seed
    events = Events.from_columns(offsets, columns, event=number)
    return events.with_labels({"toy": passes})


@pytest.fixture(scope="session")
def toy_events():
    """Return the maker of toy events."""
    return make_toy_events
