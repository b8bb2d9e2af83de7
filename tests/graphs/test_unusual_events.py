"""Graph preparation of events out of the norm."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from smartfilter.events import EVENT_TYPES, StatusBit, concatenate
from smartfilter.graphs import PRESETS, Reason, prepare
from smartfilter.pdg import Vocabulary

PRIMARY, INITIAL, VIRTUAL = 1, 1 | 32, 1 | 16
QUARK, GLUON, PION, PHOTON, UPSILON = 2, 21, 211, 22, 300553


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_no_events_gives_empty_arrays(preset: str, make_events: Any):
    graph = prepare(make_events(), preset)
    assert len(graph) == 0
    assert graph.x.shape == (0, 8)
    assert graph.offsets.tolist() == [0]
    assert graph.scorable.shape == (0,)


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_empty_events_have_no_node(preset: str, make_events: Any, chain: Any):
    graph = prepare(make_events([], chain(-1), [], chain(-1, 0), [], []), preset)
    assert graph.offsets.tolist() == [0, 0, 1, 1, 3, 3, 3]
    assert graph.scorable.tolist() == [False, True, False, True, False, False]
    assert graph.reason[~graph.scorable].tolist() == [Reason.NO_NODE] * 4
    none = preset == "published"
    assert graph.mother.tolist() == ([-1, -1, 1] if none else [0, 1, 1])


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_one_particle_is_its_own_mother_or_has_none(
    preset: str, make_events: Any, chain: Any, get_local_mothers: Any
):
    graph = prepare(make_events(chain(-1, pdg=[UPSILON])), preset)
    assert get_local_mothers(graph) == [-1 if preset == "published" else 0]
    assert graph.scorable.tolist() == [True]


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_all_dropped_gives_no_node(preset: str, make_events: Any, chain: Any):
    events = make_events(chain(-1, -1, status=[INITIAL] * 2), chain(-1, x=[30.0]))
    graph = prepare(events, preset)
    assert graph.reason.tolist() == [Reason.NO_NODE] * 2
    assert len(graph.x) == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_gives_documented_types(preset: str, make_events: Any, chain: Any):
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
    preset: str,
    name: str,
    value: float,
    make_events: Any,
    chain: Any,
    assert_equals_walk: Any,
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


def test_prepare_non_finite_dropped_particle_does_no_harm(make_events, chain):
    columns = {"status": [INITIAL, PRIMARY], "energy": [np.nan, 1.0]}
    graph = prepare(make_events(chain(-1, -1, **columns)))
    assert graph.scorable.tolist() == [True]


def test_gatgap_non_finite_time_of_a_dropped_ancestor_empties_the_event(
    make_events, chain
):
    columns = {"status": [INITIAL, PRIMARY], "prod_time": [np.nan, 1.0]}
    graph = prepare(make_events(chain(-1, 0, **columns)), "gatgap")
    assert graph.reason.tolist() == [Reason.NON_FINITE]


def test_smart_background_overflowing_difference_empties_the_event(make_events, chain):
    events = make_events(chain(-1, 0, prod_time=[-3e38, 3e38]))
    assert prepare(events).reason.tolist() == [Reason.NON_FINITE]


LOOPS = [(0,), (-1, 1), (1, 0), (-1, 2, 3, 1), (2, 0, 1), (-1, 0, 3, 2, 2, 4)]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("mothers", LOOPS, ids=str)
def test_prepare_mother_loop_empties_its_event_alone(
    preset: str,
    mothers: tuple[int, ...],
    make_events: Any,
    chain: Any,
    assert_equals_walk: Any,
):
    good = chain(-1, 2, 0)
    graph = assert_equals_walk(make_events(good, chain(*mothers), good), preset)
    assert graph.reason.tolist() == [0, Reason.MOTHER_LOOP, 0]


@pytest.mark.parametrize("preset", PRESETS)
def test_prepare_long_backward_chain_is_not_a_loop(
    preset: str, make_events: Any, chain: Any
):
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
    preset: str,
    mother: int,
    place: int,
    make_events: Any,
    chain: Any,
    assert_equals_walk: Any,
):
    good, bad = chain(-1, 0), chain(-1, mother)
    lists = [good, good]
    lists.insert(place, bad)
    graph = assert_equals_walk(make_events(*lists), preset)
    expected = [0, 0]
    expected.insert(place, Reason.MOTHER_OUT_OF_RANGE)
    assert graph.reason.tolist() == expected


def test_prepare_mother_out_of_range_goes_before_a_loop(make_events, chain):
    graph = prepare(make_events(chain(0, -2), chain(5, 2, 1)))
    assert graph.reason.tolist() == [Reason.MOTHER_OUT_OF_RANGE] * 2


def test_prepare_unknown_pdg_has_the_token_for_unknown(make_events, chain):
    events = make_events(chain(-1, 0, pdg=[UPSILON, 123456]))
    assert prepare(events).pdg[1] == 0
    assert prepare(events, "gatgap").pdg[1] == 540


def test_prepare_uses_the_vocabulary_it_is_given(make_events, chain):
    events = make_events(chain(-1, 0, pdg=[UPSILON, PION]))
    words = Vocabulary((PION, 5), unknown=2)
    assert prepare(events, vocabulary=words).pdg.tolist() == [2, 0]


def test_prepare_thousands_of_particles_are_scored(
    make_events, chain, get_local_mothers
):
    graph = prepare(make_events(chain(-1, *range(5000))))
    assert graph.scorable.all()
    assert get_local_mothers(graph) == [0, *range(5000)]


def test_prepare_does_not_change_its_input(make_events, chain):
    events = make_events(chain(-1, 0, 9), chain(1, 0), chain(-1, energy=[np.nan]))
    before = {name: column.copy() for name, column in events.particles.items()}
    prepare(events)
    prepare(events, "gatgap")
    for name, column in events.particles.items():
        np.testing.assert_array_equal(column, before[name])


def test_prepare_joined_events_equal_joined_batches(make_events, chain):
    first = make_events(chain(-1, 0), [], event=[1, 2])
    second = make_events(chain(-1, -1, 1), event=[1])
    graph = prepare(concatenate([first, second]))
    assert graph.offsets.tolist() == [0, 2, 2, 5]
    assert graph.mother.tolist() == [0, 0, 2, 2, 3]


def test_prepare_ignores_further_status_bits(make_events, chain, assert_same_graph):
    extra = StatusBit.LEFT_DETECTOR | StatusBit.STOPPED_IN_DETECTOR
    plain = make_events(chain(-1, 0))
    marked = make_events(chain(-1, 0, status=[1 | extra, 3]))
    for preset in PRESETS:
        assert_same_graph(prepare(plain, preset), prepare(marked, preset))
