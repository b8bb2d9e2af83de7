"""What the presets keep, drop and count from, case by case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from smartfilter.errors import UsageError
from smartfilter.events import PARTICLE_COLUMNS
from smartfilter.graphs import (
    PRESETS,
    Dropped,
    Reason,
    find_dropped,
    get_preset,
    prepare,
)
from smartfilter.pdg import load_vocabulary

PRIMARY, INITIAL, VIRTUAL = 1, 1 | 32, 1 | 16
QUARK, GLUON, PION, PHOTON, UPSILON = 2, 21, 211, 22, 300553


def test_smart_background_first_particle_is_mother_of_itself_and_of_the_motherless(
    make_events, chain, get_local_mothers
):
    graph = prepare(make_events(chain(-1, 0, -1, 2)))
    assert get_local_mothers(graph) == [0, 0, 0, 2]


def test_smart_background_initial_beams_first_leave_the_motherless_without_mother(
    make_events, chain, get_local_mothers
):
    status = [INITIAL, INITIAL, PRIMARY, PRIMARY, PRIMARY]
    events = make_events(chain(-1, -1, -1, 2, 2, status=status))
    assert get_local_mothers(prepare(events)) == [-1, 0, 0]
    assert find_dropped(events).tolist() == [Dropped.INITIAL] * 2 + [Dropped.KEPT] * 3


def test_smart_background_quark_chain_is_climbed_to_the_next_hadron(
    make_events, chain, get_local_mothers
):
    pdg = [23, QUARK, -QUARK, GLUON, PION, 111, PHOTON]
    events = make_events(chain(-1, 0, 0, 1, 3, 2, 5, pdg=pdg))
    graph = prepare(events)
    assert graph.row.tolist() == [0, 4, 5, 6]
    assert get_local_mothers(graph) == [0, 0, 0, 2]


def test_smart_background_quark_at_entry_zero_gives_no_mother(
    make_events, chain, get_local_mothers
):
    events = make_events(chain(-1, 0, 0, 2, pdg=[QUARK, GLUON, PION, PHOTON]))
    assert get_local_mothers(prepare(events)) == [-1, 0]


def test_smart_background_motherless_quark_stands_for_entry_zero(
    make_events, chain, get_local_mothers
):
    events = make_events(chain(-1, -1, 1, pdg=[UPSILON, QUARK, PION]))
    assert get_local_mothers(prepare(events)) == [0, 0]


@pytest.mark.parametrize("pdg", [QUARK, -5, 0, GLUON])
def test_smart_background_drops_partons_and_code_zero(
    pdg: int, make_events: Any, chain: Any
):
    events = make_events(chain(-1, 0, pdg=[UPSILON, pdg]))
    assert find_dropped(events).tolist() == [Dropped.KEPT, Dropped.QUARK_OR_GLUON]


@pytest.mark.parametrize("pdg", [6, -6, -21, 22, 2101])
def test_smart_background_keeps_other_codes(pdg: int, make_events: Any, chain: Any):
    assert find_dropped(make_events(chain(-1, pdg=[pdg]))).tolist() == [Dropped.KEPT]


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_smart_background_vertex_cut_has_one_side(
    axis: str, make_events: Any, chain: Any, get_local_mothers: Any
):
    inside = np.nextafter(np.float32(10), np.float32(0))
    position = {axis: [0.0, -50.0, inside, 10.0, 1e30, 0.0]}
    events = make_events(chain(-1, 0, 0, 0, 0, 3, **position))
    graph = prepare(events)
    assert graph.row.tolist() == [0, 1, 2, 5]
    assert get_local_mothers(graph) == [0, 0, 0, -1]


def test_smart_background_a_quark_beyond_the_cut_is_not_climbed(
    make_events, chain, get_local_mothers
):
    pdg, x = [UPSILON, QUARK, PION], [0.0, 11.0, 0.0]
    events = make_events(chain(-1, 0, 1, pdg=pdg, x=x))
    assert get_local_mothers(prepare(events)) == [0, -1]
    assert find_dropped(events)[1] == Dropped.VERTEX


def test_smart_background_keeps_virtual_and_radiative_particles(
    make_events, chain, get_local_mothers
):
    status = [VIRTUAL, 1 | 64, 1 | 128, 1 | 256]
    graph = prepare(make_events(chain(-1, 0, 0, 0, status=status)))
    assert get_local_mothers(graph) == [0, 0, 0, 0]


def test_smart_background_mother_further_down_is_not_known_yet(
    make_events, chain, get_local_mothers
):
    pdg = [UPSILON, PION, PION, QUARK, PION]
    # 1 -> 2 follows; 2 -> 3 follows and is a quark; 4 -> 3 -> 0.
    graph = prepare(make_events(chain(-1, 2, 3, 0, 3, pdg=pdg)))
    assert graph.reason.tolist() == [Reason.SCORABLE]
    assert get_local_mothers(graph) == [0, -1, -1, 0]


def test_smart_background_quark_whose_mother_is_further_down_gives_no_mother(
    make_events, chain, get_local_mothers
):
    pdg = [UPSILON, QUARK, PION, 511]
    graph = prepare(make_events(chain(-1, 3, 1, 0, pdg=pdg)))
    assert get_local_mothers(graph) == [0, -1, 0]


def test_smart_background_counts_time_and_vertex_from_the_first_node(
    make_events, chain
):
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


def test_gatgap_virtual_mother_counts_as_none_and_a_removed_one_is_lost(
    make_events, chain, get_local_mothers
):
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


def test_gatgap_vertex_cut_has_two_sides(make_events, chain):
    events = make_events(chain(-1, -1, -1, -1, y=[9.5, 10.0, -9.5, -10.0]))
    assert prepare(events, "gatgap").row.tolist() == [0, 2]


def test_gatgap_keeps_quarks_and_points_the_motherless_to_themselves(
    make_events, chain, get_local_mothers
):
    graph = prepare(make_events(chain(-1, 0, -1, pdg=[QUARK, GLUON, 11])), "gatgap")
    assert get_local_mothers(graph) == [0, 0, 2]


def test_gatgap_counts_time_from_each_ancestor_through_dropped_particles(
    make_events, chain, get_local_mothers
):
    columns: dict[str, Any] = {
        "prod_time": [1.0, 2.5, 4.0, -8.0, -7.0],
        "x": [0.0, 99.0, 0.5, 0.0, 0.0],
        "status": [INITIAL, PRIMARY, PRIMARY, PRIMARY, PRIMARY],
    }
    graph = prepare(make_events(chain(-1, 0, 1, -1, 3, **columns)), "gatgap")
    assert graph.x[:, 0].tolist() == [3.0, 0.0, 1.0]
    assert graph.x[:, 2].tolist() == [0.5, 0.0, 0.0]
    assert get_local_mothers(graph) == [-1, 1, 1]


def test_find_dropped_agrees_with_the_nodes_of_scorable_events(make_events, chain):
    rng = np.random.default_rng(5)
    status = rng.choice([PRIMARY, INITIAL, VIRTUAL, 1 | 64], 200)
    pdg = rng.choice([PION, QUARK, GLUON, 22], 200)
    events = make_events(chain(*[-1] * 200, status=status, pdg=pdg))
    for preset in PRESETS:
        kept = np.flatnonzero(find_dropped(events, preset) == Dropped.KEPT)
        np.testing.assert_array_equal(prepare(events, preset).row, kept)


def test_find_dropped_beams_count_before_the_vertex_and_the_vertex_before_partons(
    make_events, chain
):
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


def test_prepare_takes_a_preset_of_ones_own(make_events, chain):
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


def test_prepare_unknown_preset_is_refused(make_events):
    with pytest.raises(UsageError, match="expected one of smart_background, gatgap"):
        prepare(make_events(), "smartbackground")
