"""Graph preparation against a plain walk over the rules, particle by particle."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartfilter.errors import UsageError
from smartfilter.events import (
    EVENT_TYPES,
    PARTICLE_COLUMNS,
    Events,
    StatusBit,
    concatenate,
    offsets_from_counts,
)
from smartfilter.graphs import (
    PRESETS,
    Dropped,
    GraphBatch,
    Reason,
    find_dropped,
    get_preset,
    prepare,
)
from smartfilter.io import open_events
from smartfilter.pdg import Vocabulary, load_vocabulary

REAL_FILES = (
    "mdst-v04-00-03",
    "mdst-v06-00-00",
    "mdst-v09-00-00",
    "analysis-tests-mdst",
    "analysis-tests-pgun-roe-mdst",
    "analysis-tests-udst-v04-02-04",
)
EXPECTED_FILES = ("analysis-tests-mdst", "mdst-v06-00-00", "mdst-v09-00-00")
PRIMARY, INITIAL, VIRTUAL = 1, 1 | 32, 1 | 16
QUARK, GLUON, PION, PHOTON, UPSILON = 2, 21, 211, 22, 300553

Particle = dict[str, Any]


def make_events(*lists: list[Particle], **per_event: Any) -> Events:
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


def chain(*mothers: int, **columns: Any) -> list[Particle]:
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


def walk_gatgap(event: dict[str, Any]) -> Expected:
    """The newest rules of basf2's legacy filter, over one event's list."""
    out = Expected()
    position: dict[int, int] = {}
    for i in range(len(event["pdg"])):
        dropped = event["status"][i] & (16 | 32 | 64 | 128)
        if not dropped and all(abs(event[name][i]) < 10 for name in "xyz"):
            position[i] = len(out.rows)
            out.rows.append(i)
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
    position: dict[int, int] = {}
    for i in range(len(event["pdg"])):
        dropped = event["status"][i] & (16 | 32 | 64 | 128)
        if not dropped and all(abs(event[name][i]) < 10 for name in "xyz"):
            position[i] = len(out.rows)
            out.rows.append(i)
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


def assert_equals_walk(events: Events, preset: str) -> GraphBatch:
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


def assert_same_graph(left: GraphBatch, right: GraphBatch) -> None:
    for field in fields(GraphBatch):
        a, b = getattr(left, field.name), getattr(right, field.name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def get_local_mothers(graph: GraphBatch) -> list[int]:
    """Mothers of a batch of one event."""
    assert len(graph) == 1
    return [int(mother) for mother in graph.mother]


# ---------------------------------------------------------------- random events

FLOATS = st.floats(-30, 30, width=32)
PARTICLES = st.fixed_dictionaries(
    {
        "pdg": st.sampled_from(
            [UPSILON, 511, -521, PION, PHOTON, 111, QUARK, -3, 5, -5, 6, 0, GLUON, 987]
        ),
        "status": st.sampled_from(
            [PRIMARY] * 6 + [INITIAL, VIRTUAL, 1 | 64, 1 | 128, 1 | 256, 1 | 16 | 32]
        ),
        "up": st.integers(-1, 3),
        "prod_time": FLOATS,
        "x": st.sampled_from([0.0, 0.125, -9.5, 10.0, -50.0, 20.0]),
        "y": st.sampled_from([0.0, 0.25, 1.5]),
        "z": st.sampled_from([0.0, 9.875, -0.5]),
        "energy": FLOATS,
        "pz": FLOATS,
    }
)


@st.composite
def event_lists(draw: st.DrawFn) -> list[Particle]:
    """Trees in which, rarely, mothers follow, form loops or lie outside."""
    particles = draw(st.lists(PARTICLES, max_size=9))
    odd = draw(st.integers(0, 5))
    for i, particle in enumerate(particles):
        up = particle.pop("up")
        particle["mother_index"] = -1 if up < 0 else max(i - 1 - up, -1)
        if odd == 0:
            particle["mother_index"] = draw(st.integers(-1, len(particles) - 1))
        elif odd == 1 and draw(st.integers(0, 9)) == 0:
            particle["mother_index"] = draw(st.sampled_from([-2, len(particles), 99]))
        elif odd == 2 and draw(st.integers(0, 9)) == 0:
            particle["energy"] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return particles


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=100, deadline=None)
@given(lists=st.lists(event_lists(), max_size=5))
def test_prepare_random_trees_equal_walk(preset: str, lists: list[list[Particle]]):
    assert_equals_walk(make_events(*lists), preset)


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=40, deadline=None)
@given(lists=st.lists(event_lists(), min_size=1, max_size=5))
def test_prepare_batch_equals_batches_of_one(preset: str, lists: list[list[Particle]]):
    whole = prepare(make_events(*lists), preset)
    node, row = 0, 0
    for i, particles in enumerate(lists):
        one = prepare(make_events(particles), preset)
        part = slice(node, node + len(one.x))
        assert whole.offsets[i : i + 2].tolist() == [part.start, part.stop]
        assert whole.reason[i] == one.reason[0]
        np.testing.assert_array_equal(whole.x[part], one.x)
        np.testing.assert_array_equal(whole.pdg[part], one.pdg)
        np.testing.assert_array_equal(whole.row[part], one.row + row)
        shifted = np.where(one.mother >= 0, one.mother + node, -1)
        np.testing.assert_array_equal(whole.mother[part], shifted)
        node, row = part.stop, row + len(particles)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [1, 7, 20])
@settings(max_examples=25, deadline=None)
@given(lists=st.lists(event_lists(), max_size=9))
def test_prepare_in_blocks_equals_prepare_at_once(
    size: int, preset: str, lists: list[list[Particle]]
):
    events = make_events(*lists)
    whole = prepare(events, preset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smartfilter.graphs.BLOCK_PARTICLES", size)
        assert_same_graph(prepare(events, preset), whole)


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_permuted_particles_permutes_nodes_alone(preset: str):
    """Mothers stay before daughters, and the first particle stays first."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        n = int(rng.integers(2, 40))
        mothers = [-1] + [int(rng.integers(0, i)) for i in range(1, n)]
        pdg = rng.choice([PION, 511, 22, QUARK, GLUON, 111], n)
        pdg[0] = UPSILON
        columns = {
            name: rng.normal(0, 4, n).astype(np.float32)
            for name in ("x", "y", "z", "prod_time", "energy", "px")
        }
        columns["x"][0] = columns["y"][0] = columns["z"][0] = 0
        waiting, order = list(range(1, n)), [0]
        while waiting:
            ready = [i for i in waiting if mothers[i] in order]
            order.append(int(rng.choice(ready)))
            waiting.remove(order[-1])
        new = {old: i for i, old in enumerate(order)}
        moved = [-1 if mothers[i] < 0 else new[mothers[i]] for i in order]
        before = prepare(make_events(chain(*mothers, pdg=pdg, **columns)), preset)
        shuffled = {name: column[order] for name, column in columns.items()}
        after = prepare(make_events(chain(*moved, pdg=pdg[order], **shuffled)), preset)
        # The old row of each node of the shuffled event, and where it was a node.
        old = np.array(order)[after.row]
        where = np.searchsorted(before.row, old)
        assert sorted(old.tolist()) == before.row.tolist()
        np.testing.assert_array_equal(after.x, before.x[where])
        np.testing.assert_array_equal(after.pdg, before.pdg[where])
        expected = [
            -1 if m < 0 else int(np.flatnonzero(where == m)[0])
            for m in before.mother[where]
        ]
        assert after.mother.tolist() == expected


# ------------------------------------------------------------------- real files


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", REAL_FILES)
def test_prepare_real_file_equals_walk(shared_data, name: str, preset: str):
    events = open_events(shared_data / "mdst" / f"{name}.root").read()
    graph = assert_equals_walk(events, preset)
    assert graph.scorable.all()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("event_type", ["mixed", "ccbar", "taupair"])
def test_prepare_generated_events_equal_walk(event_type: str, preset: str):
    generator = pytest.importorskip("smartfilter.pipeline.generator")
    events = generator.Generator(event_type, seed=11).generate(40)
    assert len(assert_equals_walk(events, preset).x) > 0


@pytest.mark.parametrize("name", EXPECTED_FILES)
def test_prepare_gatgap_equals_the_output_of_basf2(shared_data, name: str):
    events = open_events(shared_data / "mdst" / f"{name}.root").read()
    graph = prepare(events, "gatgap")
    expected = np.load(shared_data / "expected" / f"{name}.npz")
    counts = expected["counts"]
    np.testing.assert_array_equal(np.diff(graph.offsets), counts)
    np.testing.assert_array_equal(
        events["array_index"][graph.row], expected["arrayIndex"]
    )
    np.testing.assert_array_equal(events["pdg"][graph.row], expected["PDG"])
    np.testing.assert_array_equal(graph.pdg, expected["token"])
    mother = expected["motherIndex"].astype(np.int64)
    start = np.repeat(graph.offsets[:-1], counts)
    np.testing.assert_array_equal(
        graph.mother, np.where(mother >= 0, mother + start, -1)
    )
    features = expected["features"]
    np.testing.assert_array_equal(graph.x[:, 0], features[:, 0].astype(np.float32))
    np.testing.assert_allclose(graph.x, features, rtol=0, atol=1e-5)


# ------------------------------------------------- smart_background, case by case


def test_smart_background_first_particle_is_mother_of_itself_and_of_the_motherless():
    graph = prepare(make_events(chain(-1, 0, -1, 2)))
    assert get_local_mothers(graph) == [0, 0, 0, 2]


def test_smart_background_initial_beams_first_leave_the_motherless_without_mother():
    status = [INITIAL, INITIAL, PRIMARY, PRIMARY, PRIMARY]
    events = make_events(chain(-1, -1, -1, 2, 2, status=status))
    assert get_local_mothers(prepare(events)) == [-1, 0, 0]
    assert find_dropped(events).tolist() == [Dropped.INITIAL] * 2 + [Dropped.KEPT] * 3


def test_smart_background_quark_chain_is_climbed_to_the_next_hadron():
    pdg = [23, QUARK, -QUARK, GLUON, PION, 111, PHOTON]
    events = make_events(chain(-1, 0, 0, 1, 3, 2, 5, pdg=pdg))
    graph = prepare(events)
    assert graph.row.tolist() == [0, 4, 5, 6]
    assert get_local_mothers(graph) == [0, 0, 0, 2]


def test_smart_background_quark_at_entry_zero_gives_no_mother():
    events = make_events(chain(-1, 0, 0, 2, pdg=[QUARK, GLUON, PION, PHOTON]))
    assert get_local_mothers(prepare(events)) == [-1, 0]


def test_smart_background_motherless_quark_stands_for_entry_zero():
    events = make_events(chain(-1, -1, 1, pdg=[UPSILON, QUARK, PION]))
    assert get_local_mothers(prepare(events)) == [0, 0]


@pytest.mark.parametrize("pdg", [QUARK, -5, 0, GLUON])
def test_smart_background_drops_partons_and_code_zero(pdg: int):
    events = make_events(chain(-1, 0, pdg=[UPSILON, pdg]))
    assert find_dropped(events).tolist() == [Dropped.KEPT, Dropped.QUARK_OR_GLUON]


@pytest.mark.parametrize("pdg", [6, -6, -21, 22, 2101])
def test_smart_background_keeps_other_codes(pdg: int):
    assert find_dropped(make_events(chain(-1, pdg=[pdg]))).tolist() == [Dropped.KEPT]


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_smart_background_vertex_cut_has_one_side(axis: str):
    inside = np.nextafter(np.float32(10), np.float32(0))
    position = {axis: [0.0, -50.0, inside, 10.0, 1e30, 0.0]}
    events = make_events(chain(-1, 0, 0, 0, 0, 3, **position))
    graph = prepare(events)
    assert graph.row.tolist() == [0, 1, 2, 5]
    assert get_local_mothers(graph) == [0, 0, 0, -1]


def test_smart_background_a_quark_beyond_the_cut_is_not_climbed():
    pdg, x = [UPSILON, QUARK, PION], [0.0, 11.0, 0.0]
    events = make_events(chain(-1, 0, 1, pdg=pdg, x=x))
    assert get_local_mothers(prepare(events)) == [0, -1]
    assert find_dropped(events)[1] == Dropped.VERTEX


def test_smart_background_keeps_virtual_and_radiative_particles():
    status = [VIRTUAL, 1 | 64, 1 | 128, 1 | 256]
    graph = prepare(make_events(chain(-1, 0, 0, 0, status=status)))
    assert get_local_mothers(graph) == [0, 0, 0, 0]


def test_smart_background_mother_further_down_is_not_known_yet():
    pdg = [UPSILON, PION, PION, QUARK, PION]
    # 1 -> 2 follows; 2 -> 3 follows and is a quark; 4 -> 3 -> 0.
    graph = prepare(make_events(chain(-1, 2, 3, 0, 3, pdg=pdg)))
    assert graph.reason.tolist() == [Reason.SCORABLE]
    assert get_local_mothers(graph) == [0, -1, -1, 0]


def test_smart_background_quark_whose_mother_is_further_down_gives_no_mother():
    pdg = [UPSILON, QUARK, PION, 511]
    graph = prepare(make_events(chain(-1, 3, 1, 0, pdg=pdg)))
    assert get_local_mothers(graph) == [0, -1, 0]


def test_smart_background_counts_time_and_vertex_from_the_first_node():
    columns: dict[str, Any] = {
        "status": [INITIAL, PRIMARY, PRIMARY],
        "prod_time": [100.0, -3.1, 2.7],
        "x": [7.0, 0.1, 0.3],
        "y": [7.0, 0.2, -0.3],
        "z": [7.0, 0.3, 0.7],
        "energy": [7.0, 4.0, 2.0],
        "px": [0.0, 1.0, -1.0],
    }
    graph = prepare(make_events(chain(-1, -1, 1, **columns)))
    f = np.float32
    moved = [f(2.7) - f(-3.1), f(0.3) - f(0.1), f(-0.3) - f(0.2), f(0.7) - f(0.3)]
    expected = [[0, 0, 0, 0, 4, 1, 0, 0], [*moved, 2, -1, 0, 0]]
    np.testing.assert_array_equal(graph.x, np.array(expected, dtype=np.float32))


# ------------------------------------------------------------- gatgap, case by case


def test_gatgap_virtual_mother_counts_as_none_and_a_removed_one_is_lost():
    status = [VIRTUAL, PRIMARY, INITIAL, PRIMARY, 1 | 64, PRIMARY, 1 | 256]
    events = make_events(chain(-1, 0, -1, 2, 1, 4, 1, status=status))
    graph = prepare(events, "gatgap")
    assert graph.row.tolist() == [1, 3, 5, 6]
    assert get_local_mothers(graph) == [0, -1, -1, 0]
    assert find_dropped(events, "gatgap").tolist() == [
        Dropped.VIRTUAL,
        Dropped.KEPT,
        Dropped.INITIAL,
        Dropped.KEPT,
        Dropped.RADIATIVE,
        Dropped.KEPT,
        Dropped.KEPT,
    ]


def test_gatgap_vertex_cut_has_two_sides():
    events = make_events(chain(-1, -1, -1, -1, y=[9.5, 10.0, -9.5, -10.0]))
    assert prepare(events, "gatgap").row.tolist() == [0, 2]


def test_gatgap_keeps_quarks_and_points_the_motherless_to_themselves():
    graph = prepare(make_events(chain(-1, 0, -1, pdg=[QUARK, GLUON, 11])), "gatgap")
    assert get_local_mothers(graph) == [0, 0, 2]


def test_gatgap_counts_time_from_each_ancestor_through_dropped_particles():
    columns: dict[str, Any] = {
        "prod_time": [1.0, 2.5, 4.0, -8.0, -7.0],
        "x": [0.0, 99.0, 0.5, 0.0, 0.0],
        "status": [INITIAL, PRIMARY, PRIMARY, PRIMARY, PRIMARY],
    }
    graph = prepare(make_events(chain(-1, 0, 1, -1, 3, **columns)), "gatgap")
    assert graph.x[:, 0].tolist() == [3.0, 0.0, 1.0]
    assert graph.x[:, 2].tolist() == [0.5, 0.0, 0.0]
    assert get_local_mothers(graph) == [-1, 1, 1]


# ------------------------------------------------------------ events out of the norm


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_no_events_gives_empty_arrays(preset: str):
    graph = prepare(make_events(), preset)
    assert len(graph) == 0
    assert graph.x.shape == (0, 8)
    assert graph.offsets.tolist() == [0]
    assert graph.scorable.shape == (0,)


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_empty_events_have_no_node(preset: str):
    graph = prepare(make_events([], chain(-1), [], chain(-1, 0), [], []), preset)
    assert graph.offsets.tolist() == [0, 0, 1, 1, 3, 3, 3]
    assert graph.scorable.tolist() == [False, True, False, True, False, False]
    assert graph.reason[~graph.scorable].tolist() == [Reason.NO_NODE] * 4
    none = preset == "published"
    assert graph.mother.tolist() == ([-1, -1, 1] if none else [0, 1, 1])


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_one_particle_is_its_own_mother_or_has_none(preset: str):
    graph = prepare(make_events(chain(-1, pdg=[UPSILON])), preset)
    assert get_local_mothers(graph) == [-1 if preset == "published" else 0]
    assert graph.scorable.tolist() == [True]


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_all_dropped_gives_no_node(preset: str):
    events = make_events(chain(-1, -1, status=[INITIAL] * 2), chain(-1, x=[30.0]))
    graph = prepare(events, preset)
    assert graph.reason.tolist() == [Reason.NO_NODE] * 2
    assert len(graph.x) == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_gives_documented_types(preset: str):
    events = make_events(chain(-1, 0), chain(-1)).with_event_type_codes(
        np.array([EVENT_TYPES.index("mixed"), -1], dtype=np.int8)
    )
    graph = prepare(events, preset)
    expected = {
        "x": np.float32,
        "pdg": np.int32,
        "mother": np.int64,
        "offsets": np.int64,
        "event_type": np.int64,
        "reason": np.int8,
        "row": np.int64,
    }
    assert {f.name: getattr(graph, f.name).dtype for f in fields(graph)} == expected
    assert graph.event_type.tolist() == [3, -1]
    assert graph.x.flags.c_contiguous


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["prod_time", "x", "energy", "py"])
@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_prepare_non_finite_feature_empties_its_event_alone(
    preset: str, name: str, value: float
):
    good = chain(-1, 0, 1, energy=[3.0, 2.0, 1.0])
    bad = [dict(particle) for particle in good]
    bad[1][name] = value
    events = make_events(good, bad, good)
    graph = assert_equals_walk(events, preset)
    cut = name == "x" and (value > 0 or preset != "smart_background")
    assert graph.reason[1] == (Reason.SCORABLE if cut else Reason.NON_FINITE)
    assert np.isfinite(graph.x).all()
    assert graph.scorable[[0, 2]].all()


def test_prepare_non_finite_dropped_particle_does_no_harm():
    columns = {"status": [INITIAL, PRIMARY], "energy": [np.nan, 1.0]}
    graph = prepare(make_events(chain(-1, -1, **columns)))
    assert graph.scorable.tolist() == [True]


def test_gatgap_non_finite_time_of_a_dropped_ancestor_empties_the_event():
    columns = {"status": [INITIAL, PRIMARY], "prod_time": [np.nan, 1.0]}
    graph = prepare(make_events(chain(-1, 0, **columns)), "gatgap")
    assert graph.reason.tolist() == [Reason.NON_FINITE]


def test_smart_background_overflowing_difference_empties_the_event():
    events = make_events(chain(-1, 0, prod_time=[-3e38, 3e38]))
    assert prepare(events).reason.tolist() == [Reason.NON_FINITE]


LOOPS = [(0,), (-1, 1), (1, 0), (-1, 2, 3, 1), (2, 0, 1), (-1, 0, 3, 2, 2, 4)]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("mothers", LOOPS, ids=str)
def test_prepare_mother_loop_empties_its_event_alone(
    preset: str, mothers: tuple[int, ...]
):
    good = chain(-1, 2, 0)
    graph = assert_equals_walk(make_events(good, chain(*mothers), good), preset)
    assert graph.reason.tolist() == [0, Reason.MOTHER_LOOP, 0]


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_long_backward_chain_is_not_a_loop(preset: str):
    """Every mother is the next entry: the deepest that pointer jumping can meet."""
    for n in (2, 3, 4, 7, 8, 9, 257):
        straight = [*range(1, n), -1]
        closed = [*range(1, n), 0]
        reasons = [
            prepare(make_events(chain(*c)), preset).reason[0]
            for c in (straight, closed)
        ]
        assert reasons == [Reason.SCORABLE, Reason.MOTHER_LOOP]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("mother", [-2, 2, 3, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_prepare_mother_out_of_range_empties_its_event_alone(
    preset: str, mother: int, place: int
):
    good, bad = chain(-1, 0), chain(-1, mother)
    lists = [good, good]
    lists.insert(place, bad)
    graph = assert_equals_walk(make_events(*lists), preset)
    expected = [0, 0]
    expected.insert(place, Reason.MOTHER_OUT_OF_RANGE)
    assert graph.reason.tolist() == expected


def test_prepare_mother_out_of_range_goes_before_a_loop():
    graph = prepare(make_events(chain(0, -2), chain(5, 2, 1)))
    assert graph.reason.tolist() == [Reason.MOTHER_OUT_OF_RANGE] * 2


def test_prepare_unknown_pdg_has_the_token_for_unknown():
    events = make_events(chain(-1, 0, pdg=[UPSILON, 123456]))
    assert prepare(events).pdg[1] == 0
    assert prepare(events, "gatgap").pdg[1] == 540


def test_prepare_uses_the_vocabulary_it_is_given():
    events = make_events(chain(-1, 0, pdg=[UPSILON, PION]))
    words = Vocabulary((PION, 5), unknown=2)
    assert prepare(events, vocabulary=words).pdg.tolist() == [2, 0]


def test_prepare_thousands_of_particles_are_scored():
    graph = prepare(make_events(chain(-1, *range(5000))))
    assert graph.scorable.all()
    assert get_local_mothers(graph) == [0, *range(5000)]


def test_prepare_does_not_change_its_input():
    events = make_events(chain(-1, 0, 9), chain(1, 0), chain(-1, energy=[np.nan]))
    before = {name: column.copy() for name, column in events.particles.items()}
    prepare(events)
    prepare(events, "gatgap")
    for name, column in events.particles.items():
        np.testing.assert_array_equal(column, before[name])


def test_prepare_joined_events_equal_joined_batches():
    first = make_events(chain(-1, 0), [], event=[1, 2])
    second = make_events(chain(-1, -1, 1), event=[1])
    graph = prepare(concatenate([first, second]))
    assert graph.offsets.tolist() == [0, 2, 2, 5]
    assert graph.mother.tolist() == [0, 0, 2, 2, 3]


def test_find_dropped_agrees_with_the_nodes_of_scorable_events():
    rng = np.random.default_rng(5)
    status = rng.choice([PRIMARY, INITIAL, VIRTUAL, 1 | 64], 200)
    pdg = rng.choice([PION, QUARK, GLUON, 22], 200)
    events = make_events(chain(*[-1] * 200, status=status, pdg=pdg))
    for preset in PRESETS:
        kept = np.flatnonzero(find_dropped(events, preset) == Dropped.KEPT)
        np.testing.assert_array_equal(prepare(events, preset).row, kept)


def test_find_dropped_beams_count_before_the_vertex_and_the_vertex_before_partons():
    columns: dict[str, Any] = {
        "status": [INITIAL, PRIMARY, PRIMARY],
        "x": [50.0, 50.0, 0.0],
        "pdg": [QUARK] * 3,
    }
    assert find_dropped(make_events(chain(-1, -1, -1, **columns))).tolist() == [
        Dropped.INITIAL,
        Dropped.VERTEX,
        Dropped.QUARK_OR_GLUON,
    ]


def test_prepare_ignores_further_status_bits():
    extra = StatusBit.LEFT_DETECTOR | StatusBit.STOPPED_IN_DETECTOR
    plain = make_events(chain(-1, 0))
    marked = make_events(chain(-1, 0, status=[1 | extra, 3]))
    for preset in PRESETS:
        assert_same_graph(prepare(plain, preset), prepare(marked, preset))


def test_prepare_takes_a_preset_of_ones_own():
    preset = replace(get_preset("gatgap"), name="mine", relative=frozenset())
    events = make_events(chain(-1, 0, prod_time=[2.0, 5.0]))
    assert prepare(events, preset).x[:, 0].tolist() == [2.0, 5.0]


def test_presets_name_columns_of_events_and_a_known_vocabulary():
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert {feature.name for feature in preset.features} <= set(PARTICLE_COLUMNS)
        assert load_vocabulary(preset.vocabulary).n_tokens > 500
    order = [feature.name for feature in PRESETS["smart_background"].features]
    assert order == ["prod_time", "x", "y", "z", "energy", "px", "py", "pz"]
    for name in ("gatgap", "published"):
        order = [feature.name for feature in PRESETS[name].features]
        assert order == ["prod_time", "energy", "x", "y", "z", "px", "py", "pz"]


def test_prepare_unknown_preset_is_refused():
    with pytest.raises(UsageError, match="expected one of smart_background, gatgap"):
        prepare(make_events(), "smartbackground")
