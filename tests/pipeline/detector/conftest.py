"""Events made by hand for the mock detector."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts

RNG = np.random.default_rng(20)


def _make_events(
    pdg, momenta, *, counts=None, mothers=None, vertices=None, status=None
):
    """Return events of these particles, one particle each unless counts are given."""
    n = len(pdg)
    columns = {
        name: np.zeros(n, dtype=dtype) for name, dtype in PARTICLE_COLUMNS.items()
    }
    columns["pdg"][:] = pdg
    columns["mother_index"][:] = -1 if mothers is None else mothers
    columns["status"][:] = 0 if status is None else status
    for axis, name in enumerate(("px", "py", "pz")):
        columns[name][:] = np.asarray(momenta, dtype=float).reshape(n, 3)[:, axis]
    if vertices is not None:
        for axis, name in enumerate(("x", "y", "z")):
            columns[name][:] = np.asarray(vertices, dtype=float)[:, axis]
    counts = np.ones(n, dtype=int) if counts is None else np.asarray(counts)
    ids = np.arange(len(counts))
    return Events.from_columns(offsets_from_counts(counts), columns, event=ids)


def _shoot(pdg, p, n, *, angles=(50.0, 120.0)):
    """Return events of one particle in a random direction, and the directions."""
    theta = np.radians(RNG.uniform(angles[0], angles[1], n))
    phi = RNG.uniform(-np.pi, np.pi, n)
    u = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)],
        axis=1,
    )
    return _make_events(np.full(n, pdg), p * u), theta, phi


def _make_busy_events(n):
    """Return events of 0 to 9 random particles; the first and the last are empty."""
    counts = RNG.integers(0, 10, n)
    counts[[0, -1]] = 0
    total = counts.sum()
    kinds = [211, -211, 321, -321, 11, -13, 2212, 22, 22, 22, 130, 2112, 12, 310]
    pdg = RNG.choice(kinds, total)
    return _make_events(pdg, RNG.normal(0, 0.5, (total, 3)), counts=counts)


def _make_ks_events(n, flight):
    """Return K_S -> pi pi at rest in the x direction, decaying at x = flight (cm)."""
    p, m, pion = 0.8, 0.4976, 0.13957
    q = math.sqrt(m * m / 4 - pion**2)
    phi = RNG.uniform(-np.pi, np.pi, n)
    cosine = RNG.uniform(-1, 1, n)
    sine = np.sqrt(1 - cosine**2)
    rest = q * np.stack([cosine, sine * np.cos(phi), sine * np.sin(phi)], axis=1)
    energy, gamma = math.hypot(p, m), math.hypot(p, m) / m
    boosted = rest.copy()
    boosted[:, 0] = gamma * rest[:, 0] + p / 2
    other = -rest
    other[:, 0] = -gamma * rest[:, 0] + p / 2
    assert (np.hypot.reduce(boosted, axis=1) < energy).all()
    momenta = np.stack([np.tile([p, 0, 0], (n, 1)), boosted, other], axis=1)
    vertices = np.tile([[0, 0, 0], [flight, 0, 0], [flight, 0, 0]], (n, 1))
    return _make_events(
        np.tile([310, 211, -211], n),
        momenta.reshape(-1, 3),
        counts=np.full(n, 3),
        mothers=np.tile([-1, 0, 0], n),
        vertices=vertices,
    )


@pytest.fixture(scope="session")
def make_events():
    """Return the function that makes events of given particles."""
    return _make_events


@pytest.fixture(scope="session")
def shoot():
    """Return the function that makes events of one particle in a random direction."""
    return _shoot


@pytest.fixture(scope="session")
def make_busy_events():
    """Return the function that makes events of random particles."""
    return _make_busy_events


@pytest.fixture(scope="session")
def make_ks_events():
    """Return the function that makes decays of a K_S at a given place."""
    return _make_ks_events
