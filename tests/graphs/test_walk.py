"""Graph preparation against a plain walk over the rules, particle by particle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartfilter.graphs import PRESETS, prepare
from smartfilter.io import open_events

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
def test_prepare_random_trees_equal_walk(
    preset: str, lists: list[list[Particle]], make_events: Any, assert_equals_walk: Any
):
    assert_equals_walk(make_events(*lists), preset)


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=40, deadline=None)
@given(lists=st.lists(event_lists(), min_size=1, max_size=5))
def test_prepare_batch_equals_batches_of_one(
    preset: str, lists: list[list[Particle]], make_events: Any
):
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
    size: int,
    preset: str,
    lists: list[list[Particle]],
    make_events: Any,
    assert_same_graph: Any,
):
    events = make_events(*lists)
    whole = prepare(events, preset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smartfilter.graphs.BLOCK_PARTICLES", size)
        assert_same_graph(prepare(events, preset), whole)


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_permuted_particles_permutes_nodes_alone(
    preset: str, make_events: Any, chain: Any
):
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


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", REAL_FILES)
def test_prepare_real_file_equals_walk(
    shared_data, name: str, preset: str, assert_equals_walk: Any
):
    events = open_events(shared_data / "mdst" / f"{name}.root").read()
    graph = assert_equals_walk(events, preset)
    assert graph.scorable.all()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("event_type", ["mixed", "ccbar", "taupair"])
def test_prepare_generated_events_equal_walk(
    event_type: str, preset: str, assert_equals_walk: Any
):
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
