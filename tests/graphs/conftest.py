"""Events given by their trees, and a plain walk over the rules of preparation."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts
from smartfilter.graphs import PRESETS, GraphBatch, Reason, prepare
from smartfilter.pdg import load_vocabulary

PRIMARY, INITIAL, VIRTUAL = 1, 1 | 32, 1 | 16
QUARK, GLUON, PION, PHOTON, UPSILON = 2, 21, 211, 22, 300553

Particle = dict[str, Any]


def _make_events(*lists: list[Particle], **per_event: Any) -> Events:
    """Events of particles given as dicts; what is not given is 0, the mother -1."""
    flat = [
        {"pdg": PION, "status": PRIMARY, "mother_index": -1, "array_index": i, **p}
        for particles in lists
        for i, p in enumerate(particles)
    ]
    columns: dict[str, Any] = {
        name: np.array([p.get(name, 0) for p in flat], dtype=dtype)
        for name, dtype in PARTICLE_COLUMNS.items()
    }
    counts = np.array([len(particles) for particles in lists], dtype=np.int64)
    return Events.from_columns(offsets_from_counts(counts), columns, **per_event)


def _chain(*mothers: int, **columns: Any) -> list[Particle]:
    """Return one event, given its mothers and any further columns as lists."""
    return [
        {"mother_index": m, **{name: values[i] for name, values in columns.items()}}
        for i, m in enumerate(mothers)
    ]


class Expected:
    """What the walk over one event gives: local node arrays, or a reason."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.x: list[list[np.float32]] = []
        self.mother: list[int] = []
        self.reason = Reason.SCORABLE


def walk_smart_background(event: dict[str, Any]) -> Expected:
    """The loop of basf2's SmartBackgroundModule over one event's list."""
    out = Expected()
    node: dict[int, int] = {}
    qg: dict[int, int] = {}
    for i in range(len(event["pdg"])):
        mother = event["mother_index"][i]
        m = 0 if mother == -1 else int(mother)
        pdg = int(event["pdg"][i])
        is_initial = bool(event["status"][i] & 32)
        x, y, z = (event[name][i] for name in "xyz")
        if is_initial or x >= 10 or y >= 10 or z >= 10:
            continue
        if pdg == 21 or abs(pdg) <= 5:
            qg[i] = m
            continue
        k = len(out.rows)
        node[i] = k
        out.rows.append(i)
        time = event["prod_time"][i]
        if k == 0:
            t0, x0, y0, z0 = time, x, y, z
        rest = [event[name][i] for name in ("energy", "px", "py", "pz")]
        out.x.append([time - t0, x - x0, y - y0, z - z0, *rest])
        while m > 0 and m in qg:
            m = qg[m]
        out.mother.append(node.get(m, -1))
    return out


def is_generated_inside(event: dict[str, Any], i: int) -> bool:
    """Neither virtual, initial nor a radiated photon, and within 10 cm."""
    dropped = event["status"][i] & (16 | 32 | 64 | 128)
    return not dropped and all(abs(event[name][i]) < 10 for name in "xyz")


def walk_gatgap(event: dict[str, Any]) -> Expected:
    """The newest rules of basf2's legacy filter, over one event's list."""
    out = Expected()
    out.rows = [i for i in range(len(event["pdg"])) if is_generated_inside(event, i)]
    position = {i: k for k, i in enumerate(out.rows)}
    for i, k in position.items():
        mother = int(event["mother_index"][i])
        ancestor = i
        while event["mother_index"][ancestor] != -1:
            ancestor = int(event["mother_index"][ancestor])
        time = event["prod_time"][i] - event["prod_time"][ancestor]
        names = ("energy", "x", "y", "z", "px", "py", "pz")
        out.x.append([time, *(event[name][i] for name in names)])
        if mother == -1 or event["status"][mother] & 16:
            out.mother.append(k)
        else:
            out.mother.append(position.get(mother, -1))
    return out


def walk_published(event: dict[str, Any]) -> Expected:
    """The layout of the public data sets: nothing is relative, no mother is -1."""
    out = Expected()
    out.rows = [i for i in range(len(event["pdg"])) if is_generated_inside(event, i)]
    position = {i: k for k, i in enumerate(out.rows)}
    names = ("prod_time", "energy", "x", "y", "z", "px", "py", "pz")
    for i in position:
        out.x.append([event[name][i] for name in names])
        out.mother.append(position.get(int(event["mother_index"][i]), -1))
    return out


WALKS = {
    "smart_background": walk_smart_background,
    "gatgap": walk_gatgap,
    "published": walk_published,
}


def find_bad_mother(mother_index: Any) -> Reason:
    """Climb from each particle, remembering where one has been."""
    n = len(mother_index)
    if any(m < -1 or m >= n for m in mother_index):
        return Reason.MOTHER_OUT_OF_RANGE
    for i in range(n):
        seen, at = set(), i
        while at != -1:
            if at in seen:
                return Reason.MOTHER_LOOP
            seen.add(at)
            at = int(mother_index[at])
    return Reason.SCORABLE


def walk(events: Events, i: int, preset: str) -> Expected:
    part = slice(events.offsets[i], events.offsets[i + 1])
    event = {name: column[part] for name, column in events.particles.items()}
    reason = find_bad_mother(event["mother_index"])
    if reason:
        out = Expected()
        out.reason = reason
        return out
    with np.errstate(invalid="ignore", over="ignore"):
        out = WALKS[preset](event)
    if not out.rows:
        out.reason = Reason.NO_NODE
    elif not np.isfinite(out.x).all():
        out = Expected()
        out.reason = Reason.NON_FINITE
    return out


def _assert_equals_walk(events: Events, preset: str) -> GraphBatch:
    graph = prepare(events, preset)
    words = load_vocabulary(PRESETS[preset].vocabulary)
    token = {code: k for k, code in enumerate(words.codes)}
    assert len(graph) == len(events)
    assert graph.offsets[0] == 0
    assert graph.offsets[-1] == len(graph.x) == len(graph.mother) == len(graph.row)
    for i in range(len(events)):
        expected = walk(events, i, preset)
        begin, end = graph.offsets[i : i + 2]
        assert graph.reason[i] == expected.reason
        assert (graph.row[begin:end] - events.offsets[i]).tolist() == expected.rows
        local = [m - begin if m >= 0 else -1 for m in graph.mother[begin:end]]
        assert local == expected.mother
        x = np.array(expected.x, dtype=np.float32).reshape(-1, 8)
        np.testing.assert_array_equal(graph.x[begin:end], x)
        codes = events["pdg"][graph.row[begin:end]].tolist()
        assert graph.pdg[begin:end].tolist() == [
            token.get(code, words.unknown) for code in codes
        ]
    return graph


def _assert_same_graph(left: GraphBatch, right: GraphBatch) -> None:
    for field in fields(GraphBatch):
        a, b = getattr(left, field.name), getattr(right, field.name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def _get_local_mothers(graph: GraphBatch) -> list[int]:
    """Mothers of a batch of one event."""
    assert len(graph) == 1
    return [int(mother) for mother in graph.mother]


@pytest.fixture(scope="session")
def make_events():
    """Return the function that makes events of particles given as dicts."""
    return _make_events


@pytest.fixture(scope="session")
def chain():
    """Return the function that makes an event of mothers and columns."""
    return _chain


@pytest.fixture(scope="session")
def get_local_mothers():
    """Return the function that lists the mothers of a batch of one event."""
    return _get_local_mothers


@pytest.fixture(scope="session")
def assert_equals_walk():
    """Return the function that compares a batch with the walk."""
    return _assert_equals_walk


@pytest.fixture(scope="session")
def assert_same_graph():
    """Return the function that compares batches."""
    return _assert_same_graph
