"""Shape, reproducibility and errors of the mock detector, and its small parts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smartfilter.errors import InputError, UsageError
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.geometry import Physics, hits_calorimeter
from smartfilter.pipeline.identification import cherenkov_angle
from smartfilter.pipeline.objects import CLUSTER_COLUMNS, TRACK_COLUMNS

QUIET = Physics(background=False)
RNG = np.random.default_rng(20)


def assert_equal(first, second):
    for name in ("tracks", "clusters"):
        a, b = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(a.offsets, b.offsets)
        for column in a.columns:
            np.testing.assert_array_equal(a[column], b[column])


def test_simulate_columns_are_those_of_the_contract(make_busy_events):
    detected = Detector().simulate(make_busy_events(40))
    for table, columns in (
        (detected.tracks, TRACK_COLUMNS),
        (detected.clusters, CLUSTER_COLUMNS),
    ):
        assert len(table) == 40
        assert {name: c.dtype for name, c in table.columns.items()} == dict(columns)
        assert {len(c) for c in table.columns.values()} == {table.offsets[-1]}
        assert all(np.isfinite(c).all() for c in table.columns.values())
    assert set(np.unique(detected.tracks["charge"])) <= {-1, 1}
    assert (detected.clusters["energy"] > 0.02).all()


def test_simulate_no_events_gives_empty_tables(make_events):
    detected = Detector().simulate(make_events([], np.empty((0, 3)), counts=[]))
    assert len(detected.tracks) == len(detected.clusters) == 0
    assert detected.tracks.offsets.tolist() == [0]
    assert len(detected.tracks["px"]) == 0


def test_simulate_empty_events_have_background_only(make_events):
    events = make_events([], np.empty((0, 3)), counts=np.zeros(300, dtype=int))
    quiet = Detector(physics=QUIET).simulate(events)
    assert quiet.tracks.offsets[-1] == quiet.clusters.offsets[-1] == 0
    noisy = Detector().simulate(events)
    assert (noisy.clusters["array_index"] == -1).all()
    assert 1.0 < noisy.clusters.offsets[-1] / 300 < 3.0
    assert 0 < noisy.tracks.offsets[-1] < 45


@pytest.mark.parametrize("pdg", [12, -14, 16, 1000010020, 99999999, 0, 310, 3122])
def test_simulate_neutrinos_and_unknown_particles_leave_nothing(pdg, shoot):
    events, _, _ = shoot(pdg, 1.0, 50)
    detected = Detector(physics=QUIET).simulate(events)
    assert detected.tracks.offsets[-1] == detected.clusters.offsets[-1] == 0


def test_simulate_one_particle_is_found_with_its_row(make_events):
    events = make_events([12, 12, 13], np.tile([0.6, 0.5, 0.2], (3, 1)), counts=[3])
    detected = Detector(physics=QUIET).simulate(events)
    assert detected.tracks["array_index"].tolist() == [2]
    assert detected.tracks["charge"].tolist() == [-1]
    assert detected.clusters["track"].tolist() == [0]


def test_simulate_virtual_particles_are_not_simulated(make_events):
    events = make_events([13], [[1, 0, 0]], status=[16])
    assert Detector(physics=QUIET).simulate(events).tracks.offsets[-1] == 0


def test_simulate_particle_at_rest_leaves_nothing(make_events):
    detected = Detector(physics=QUIET).simulate(make_events([211], [[0, 0, 0]]))
    assert detected.tracks.offsets[-1] == detected.clusters.offsets[-1] == 0


def test_simulate_many_particles_needs_more_memory_and_gets_it(make_events, shoot):
    """5,000 muons in one event: every list has to grow, several times."""
    n = 5000
    events, _, _ = shoot(13, 1.0, n)
    crowd = make_events(
        [13] * n, np.stack([events[k] for k in ("px", "py", "pz")], 1), counts=[n]
    )
    detected = Detector(physics=QUIET).simulate(crowd)
    assert 0.95 < detected.tracks.offsets[-1] / n < 1.02
    assert len(np.unique(detected.tracks["array_index"])) > 0.95 * n


def test_simulate_does_not_depend_on_batch_order_or_workers(make_busy_events):
    events = make_busy_events(60)
    whole = Detector(seed=3).simulate(events)
    assert_equal(whole, Detector(seed=3, workers=3).simulate(events))
    order = RNG.permutation(60)
    shuffled = Detector(seed=3).simulate(events.take(order))
    for name in ("tracks", "clusters"):
        a, b = getattr(whole, name), getattr(shuffled, name)
        for position, event in enumerate(order):
            first = slice(*a.offsets[event : event + 2])
            second = slice(*b.offsets[position : position + 2])
            for column in a.columns:
                np.testing.assert_array_equal(a[column][first], b[column][second])
    for event in range(0, 60, 13):
        one = Detector(seed=3).simulate(events.take([event]))
        rows = slice(*whole.tracks.offsets[event : event + 2])
        np.testing.assert_array_equal(one.tracks["px"], whole.tracks["px"][rows])


@pytest.mark.parametrize("change", [{"seed": 1}, {"repeat": 1}])
def test_simulate_another_seed_or_repeat_gives_another_result(change, shoot):
    events, _, _ = shoot(13, 1.0, 50)
    first = Detector(physics=QUIET).simulate(events).tracks["px"]
    second = Detector(physics=QUIET, **change).simulate(events).tracks["px"]
    assert not set(first) & set(second)


@pytest.mark.parametrize("arguments", [{"step": 0}, {"step": math.nan}, {"workers": 0}])
def test_detector_wrong_arguments_raise(arguments):
    with pytest.raises(UsageError, match="expected"):
        Detector(**arguments)


@pytest.mark.parametrize("name", ["px", "py", "pz", "x", "y", "z"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_simulate_number_that_is_not_finite_raises(name, value, make_events):
    events = make_events([211] * 3, np.ones((3, 3)), counts=[1, 2])
    events.particles[name][2] = value
    with pytest.raises(InputError, match=f"'{name}': .* entry 1, particle 1 "):
        Detector().simulate(events)


@pytest.mark.parametrize("pdg", [11, 22, 13, 211, 130, 2112])
@pytest.mark.parametrize("momentum", [1e3, -1e20, 3e38])
def test_simulate_absurd_momentum_raises(pdg, momentum, make_events):
    """A shower of 1e20 GeV never ended."""
    events = make_events([12, 12, pdg], [[1, 0, 0], [0, 0, 1], [0, momentum, 0]])
    with pytest.raises(InputError) as caught:
        Detector().simulate(events)
    assert str(caught.value) == (
        "column 'py': expected a number between -1000 and 1000 GeV, got "
        f"{np.float32(momentum)} in events, entry 2, particle 0 (1 in all); "
        "remove the event"
    )


@pytest.mark.parametrize("pdg", [11, 22, 13, 211, 130, 2112, 12])
def test_simulate_largest_momentum_ends(pdg, make_events):
    events = make_events([pdg], [[999.0, -999.0, 999.0]])
    detected = Detector(physics=QUIET).simulate(events)
    assert len(detected.tracks) == 1


@pytest.mark.parametrize("mothers", [[-2, -1], [1, -1]])
def test_simulate_mother_out_of_range_raises(mothers, make_events):
    events = make_events([211, 211], np.ones((2, 3)), mothers=mothers)
    with pytest.raises(InputError, match="mother_index"):
        Detector().simulate(events)


@pytest.mark.parametrize("mothers", [[0], [1, 0], [1, 2, 0]])
def test_simulate_loop_of_mothers_raises(mothers, make_events):
    n = len(mothers)
    events = make_events(
        [13, *[211] * n],
        np.ones((n + 1, 3)),
        mothers=[-1, *mothers],
        counts=[1, n],
    )
    with pytest.raises(InputError, match="loop in event 1"):
        Detector(physics=QUIET).simulate(events)


def test_cherenkov_angle_has_a_threshold():
    assert cherenkov_angle(0.13957, 0.3) == 0.0
    assert cherenkov_angle(0.13957, 50.0) == pytest.approx(
        math.acos(1 / 1.05), abs=1e-3
    )


def test_hits_calorimeter_has_gaps_and_edges():
    degrees = [10, 20, 31.8, 60, 129.5, 140, 160]
    expected = [False, True, False, True, False, True, False]
    assert [hits_calorimeter(math.radians(d)) for d in degrees] == expected
