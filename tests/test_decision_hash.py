"""The random number of an event: a plain loop, uniformity, independence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartfilter.event_hash import hash_events, uniform
from smartfilter.events import (
    PARTICLE_COLUMNS,
    Events,
    concatenate,
    offsets_from_counts,
)

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
DECISION = int.from_bytes(b"smartflt", "big")

Identity = tuple[int, int, int]
Content = list[tuple[int, int]]


def distance_to_uniform(u: Any) -> float:
    """Kolmogorov-Smirnov distance times sqrt(n); beyond 2.3 in 5 of 100,000 samples."""
    n, ordered = len(u), np.sort(u)
    above = np.arange(1, n + 1) / n - ordered
    below = ordered - np.arange(n) / n
    return float(max(above.max(), below.max()) * np.sqrt(n))


def mix(word: int) -> int:
    """Finaliser of splitmix64 in Python's own integers."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def hash_one(seed: int, purpose: int, identity: Identity, content: Content) -> int:
    """Hash of one event: (experiment, run, event) and (pdg, mother) by particle."""
    state = 0
    for position, (pdg, mother) in enumerate(content, start=1):
        word = mix(((pdg << 32) + mother + GOLDEN) & MASK)
        state += mix(word ^ (position * GOLDEN & MASK))
    for number in (purpose, seed, *identity):
        state = mix((((state & MASK) ^ (number & MASK)) + GOLDEN) & MASK)
    return state


def make_events(contents: list[Content], **per_event: Any) -> Events:
    flat = [pair for content in contents for pair in content]
    columns = {k: np.zeros(len(flat), t) for k, t in PARTICLE_COLUMNS.items()}
    columns["pdg"] = np.array([pdg for pdg, _ in flat], dtype=np.int32)
    columns["mother_index"] = np.array([mother for _, mother in flat], dtype=np.int32)
    offsets = offsets_from_counts(np.array([len(c) for c in contents], dtype=np.int64))
    return Events.from_columns(offsets, columns, **per_event)


def make_random_events(n_events: int, seed: int = 0, mean: float = 5.0) -> Events:
    """Events with the same event numbers over and over: the content tells them apart."""
    rng = np.random.default_rng(seed)
    contents = [
        [
            (int(rng.choice([211, -211, 22, 111, 321])), int(rng.integers(-1, i + 1)))
            for i in range(rng.poisson(mean))
        ]
        for _ in range(n_events)
    ]
    return make_events(contents, event=np.arange(n_events) % 97)


def make_same_events(n_events: int, **per_event: Any) -> Events:
    return make_events([[(300553, -1), (511, 0)]] * n_events, **per_event)


CONTENTS = st.lists(
    st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-1, 2**31 - 1)), max_size=5
)
NUMBERS = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None)
@given(
    contents=st.lists(CONTENTS, max_size=6),
    seed=st.integers(-(2**63), 2**64 - 1),
    purpose=st.integers(0, 2**64 - 1),
    identity=st.tuples(NUMBERS, NUMBERS, NUMBERS),
)
def test_hash_events_equals_a_plain_loop(
    contents: list[Content], seed: int, purpose: int, identity: Identity
):
    names = ("experiment", "run", "event")
    per_event = {
        name: np.full(len(contents), value, dtype=np.int64)
        for name, value in zip(names, identity, strict=True)
    }
    result = hash_events(make_events(contents, **per_event), seed, purpose=purpose)
    assert result.dtype == np.uint64
    assert result.tolist() == [hash_one(seed, purpose, identity, c) for c in contents]


def test_uniform_is_the_upper_bits_of_the_decision_hash():
    events = make_random_events(200)
    state = hash_events(events, 12, purpose=DECISION)
    expected = [(int(word) >> 11) / 2**53 for word in state]
    assert uniform(events, 12).tolist() == expected


def test_hash_events_of_a_known_event_never_changes():
    """Decisions of older versions stay reproducible; the figure is the plain loop's."""
    content = [(300553, -1), (511, 0), (-511, 0), (22, 2)]
    events = make_events([content], experiment=[1003], run=[7], event=[42])
    word = hash_events(events, 5, purpose=DECISION)[0]
    assert word == hash_one(5, DECISION, (1003, 7, 42), content) == 0x75DEF3F769C50CCF


def test_uniform_large_and_negative_seeds_are_told_apart():
    """Seeds that need the 64th bit once went through a double and fell together."""
    seeds = [-1, -2, -3, 2**63, 2**63 + 1, 2**64 - 4]
    events = make_same_events(1)
    assert len({uniform(events, seed)[0] for seed in seeds}) == len(seeds)
    for seed in (-1, 2**63 + 1):
        word = hash_one(seed, DECISION, (0, 0, 0), [(300553, -1), (511, 0)])
        assert uniform(events, seed)[0] == (word >> 11) / 2**53


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 + 1, -1])
def test_uniform_consecutive_events_are_uniform(seed: int):
    """Events that differ in their number alone, in all ways a job counts them."""
    n = 50_000
    for name in ("event", "run", "experiment"):
        u = uniform(make_same_events(n, **{name: np.arange(n)}), seed)
        assert u.min() >= 0
        assert u.max() < 1
        assert distance_to_uniform(u) < 2.3
        cells = (16 * u).astype(int)
        pairs = np.bincount(16 * cells[:-1] + cells[1:], minlength=256)
        chi2 = np.square(pairs - (n - 1) / 256).sum() / ((n - 1) / 256)
        assert abs(chi2 - 255) < 4 * np.sqrt(2 * 255)


def test_uniform_consecutive_seeds_are_uniform_and_independent():
    events = make_same_events(1, event=[3])
    u = np.array([uniform(events, seed)[0] for seed in range(5000)])
    assert distance_to_uniform(u) < 2.3
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / np.sqrt(len(u))


def test_uniform_repeated_event_numbers_with_other_content_are_uniform():
    u = uniform(make_random_events(10_000, mean=12.0), 0)
    assert len(np.unique(u)) > 9_990
    assert distance_to_uniform(u) < 2.3


def test_hash_events_each_bit_is_set_half_of_the_time():
    n = 20_000
    words = hash_events(make_same_events(n, event=np.arange(n)), 0, purpose=DECISION)
    bits = np.unpackbits(words.view(np.uint8).reshape(n, 8), axis=1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(n)


@pytest.mark.parametrize(
    "change",
    [
        {"experiment": np.array([1])},
        {"run": np.array([1])},
        {"event": np.array([1])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_hash_events_depends_on_each_part_of_the_identity(change: dict[str, Any]):
    events = make_same_events(1)
    before = hash_events(events, 0, purpose=1)
    after = hash_events(replace(events, **change), 0, purpose=1)
    assert before[0] != after[0]


def test_hash_events_depends_on_every_code_mother_and_position():
    base = [(300553, -1), (511, 0), (-511, 0)]
    others = [
        [(300553, -1), (-511, 0), (511, 0)],
        [(300553, -1), (511, 0), (-511, 1)],
        [(300553, -1), (511, -1), (-511, 0)],
        [(300553, -1), (521, 0), (-511, 0)],
        [(300553, -1), (511, 0)],
        [*base, (0, 0)],
        [(0, 0), *base],
        [],
    ]
    words = hash_events(make_events([base, *others]), 0, purpose=1)
    assert len(np.unique(words)) == len(words)


def test_hash_events_purpose_and_seed_give_unrelated_streams():
    n = 20_000
    events = make_same_events(n, event=np.arange(n))
    words = hash_events(events, 0, purpose=DECISION + 1) >> np.uint64(11)
    streams = (uniform(events, 0), uniform(events, 1), words.astype(float))
    correlation = np.corrcoef(np.stack(streams)) - np.eye(3)
    assert np.abs(correlation).max() < 4 / np.sqrt(n)


def test_hash_events_ignores_what_simulation_or_the_file_may_change():
    events = make_random_events(50)
    rng = np.random.default_rng(1)
    changed = dict(events.particles)
    for name in set(changed) - {"pdg", "mother_index"}:
        size = events.n_particles
        changed[name] = rng.integers(0, 9, size).astype(PARTICLE_COLUMNS[name])
    other = replace(
        events,
        particles=changed,
        entry=events.entry + 7,
        production=events.production + 1,
        event_type=np.zeros(50, np.int8),
        file="other.root",
    )
    np.testing.assert_array_equal(uniform(events, 3), uniform(other, 3))


@pytest.mark.parametrize("size", [1, 7, 64])
def test_uniform_does_not_depend_on_the_size_of_batches(size: int):
    events = make_random_events(100)
    parts = [uniform(events.take(slice(i, i + size)), 9) for i in range(0, 100, size)]
    np.testing.assert_array_equal(np.concatenate(parts), uniform(events, 9))


def test_uniform_does_not_depend_on_the_order_of_events():
    events = make_random_events(100)
    order = np.random.default_rng(0).permutation(100)
    np.testing.assert_array_equal(
        uniform(events.take(order), 9), uniform(events, 9)[order]
    )


def test_uniform_empty_events_anywhere_do_not_disturb_the_others():
    full = make_random_events(20, mean=3.0)
    empty = make_events([[], []], event=[5, 6])
    joined = concatenate([empty, full, empty])
    expected = [uniform(part, 4) for part in (empty, full, empty)]
    np.testing.assert_array_equal(uniform(joined, 4), np.concatenate(expected))
    assert uniform(empty, 4)[0] != uniform(empty, 4)[1]


def test_uniform_no_events_gives_no_numbers():
    assert uniform(make_events([]), 0).shape == (0,)


def test_uniform_is_independent_of_the_content_that_labels_follow():
    """Draws of events with many particles look like those of events with few."""
    events = make_random_events(10_000, seed=4)
    u, many = uniform(events, 0), events.counts > 5
    assert distance_to_uniform(u[many]) < 2.3
    assert distance_to_uniform(u[~many]) < 2.3
    assert abs(np.corrcoef(u, events.counts)[0, 1]) < 4 / np.sqrt(len(u))
