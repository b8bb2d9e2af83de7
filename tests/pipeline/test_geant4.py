"""Tests of the Geant4 detector: physics of single particles, processes, primaries."""

from __future__ import annotations

import os
import signal
import tempfile
from importlib.util import find_spec

import numpy as np
import pytest

for package in ("geant4_pybind", "numba", "pythia8mc"):
    # Never imported here: that would ask for Geant4's data files.
    if find_spec(package) is None:
        pytest.skip(f"package {package} is not installed", allow_module_level=True)

from smartfilter.errors import (
    InputError,
    MissingPackageError,
    SmartFilterError,
    UsageError,
)
from smartfilter.events import PARTICLE_COLUMNS, Events, StatusBit, offsets_from_counts
from smartfilter.pipeline.geant4 import (
    Geant4Detector,
    detector,
    workers,
)
from smartfilter.pipeline.geant4.primaries import (
    select_primaries,
)
from smartfilter.pipeline.geant4.workers import simulate
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.objects import CLUSTER_COLUMNS, TRACK_COLUMNS


def make_events(pdg, momenta, *, counts=None, mothers=None, vertices=None, status=None):
    """Return events of these particles, one each unless counts are given."""
    n = len(pdg)
    columns = {name: np.zeros(n, kind) for name, kind in PARTICLE_COLUMNS.items()}
    columns["pdg"][:] = pdg
    columns["mother_index"][:] = -1 if mothers is None else mothers
    columns["status"][:] = 0 if status is None else status
    for name, column in zip(
        "xyz", np.transpose(vertices or [(0, 0, 0)] * n), strict=True
    ):
        columns[name][:] = column
    for name, column in zip(("px", "py", "pz"), np.transpose(momenta), strict=True):
        columns[name][:] = column
    counts = np.ones(n, dtype=int) if counts is None else np.asarray(counts)
    ids = np.arange(len(counts))
    return Events.from_columns(offsets_from_counts(counts), columns, event=ids)


def shoot(pdg, p, n, *, angles=(50.0, 110.0)):
    """Return events of one particle each, and their directions."""
    rng = np.random.default_rng(abs(pdg))
    theta, phi = (
        np.radians(rng.uniform(angles[0], angles[1], n)),
        rng.uniform(-np.pi, np.pi, n),
    )
    u = np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)
    return make_events(np.full(n, pdg), p * np.transpose(u)), theta, phi


def find_best(table, column):
    """Return the row with the largest value in each event that has rows."""
    bounds = zip(table.offsets[:-1], table.offsets[1:], strict=True)
    return np.array([a + np.argmax(table[column][a:b]) for a, b in bounds if b > a])


def assert_equal(first, second):
    for name in ("tracks", "clusters"):
        a, b = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(a.offsets, b.offsets)
        for column in a.columns:
            np.testing.assert_array_equal(a[column], b[column])


@pytest.fixture(scope="module")
def quiet():
    """Return a detector without machine background."""
    with Geant4Detector(background=False) as detector:
        yield detector


@pytest.fixture(scope="module")
def mixed():
    return Generator("mixed", seed=1).generate(5)


# -- single particles -----------------------------------------------------------------


def test_simulate_photons_of_1_gev_give_one_cluster_in_their_direction(quiet):
    events, theta, phi = shoot(22, 1.0, 30)
    clusters = quiet.simulate(events).clusters
    counts = np.diff(clusters.offsets)
    assert np.mean(counts == 1) > 0.8
    assert counts.min() == 1
    best = find_best(clusters, "energy")
    energy = clusters["energy"][best]
    assert np.median(energy) == pytest.approx(1.0, abs=0.03)
    assert np.mean(np.abs(energy - 1.0) < 0.1) > 0.8
    assert np.median(np.abs(clusters["theta"][best] - theta)) < 0.02
    turn = np.angle(np.exp(1j * (clusters["phi"][best] - phi)))
    assert np.median(np.abs(turn)) < 0.02
    assert (clusters["track"] == -1).all()
    assert (clusters["array_index"] == 0).all()


@pytest.mark.parametrize("angles", [(15.0, 30.0), (133.0, 150.0)])
def test_simulate_photons_into_endcaps_keep_energy_and_direction(quiet, angles):
    events, theta, phi = shoot(22, 0.5, 20, angles=angles)
    clusters = quiet.simulate(events).clusters
    best = find_best(clusters, "energy")
    assert len(best) >= 18
    seen = np.diff(clusters.offsets) > 0
    assert np.median(clusters["energy"][best]) == pytest.approx(0.5, abs=0.03)
    assert np.median(np.abs(clusters["theta"][best] - theta[seen])) < 0.02
    turn = np.angle(np.exp(1j * (clusters["phi"][best] - phi[seen])))
    assert np.median(np.abs(turn)) < 0.04


@pytest.mark.parametrize(
    ("pdg", "charge", "column"),
    [(13, -1, "ll_mu"), (-211, -1, "ll_pi"), (211, 1, "ll_pi"), (-11, 1, "ll_e")],
)
def test_simulate_charged_particles_give_one_track_with_hits(
    quiet, pdg, charge, column
):
    events, _, _ = shoot(pdg, 1.0, 20)
    found = quiet.simulate(events)
    tracks = found.tracks
    assert len(tracks["charge"]) >= 17
    assert np.diff(tracks.offsets).max() <= 2
    assert np.mean(tracks["charge"] == charge) > 0.9
    momentum = np.sqrt(sum(tracks[k].astype(float) ** 2 for k in ("px", "py", "pz")))
    assert np.median(momentum) == pytest.approx(1.0, abs=0.01)
    assert np.median(np.abs(tracks["d0"])) < 0.02
    assert np.median(tracks["n_vxd"]) >= 5
    assert np.median(tracks["n_cdc"]) >= 50
    names = ["ll_e", "ll_mu", "ll_pi", "ll_k", "ll_p"]
    likelihoods = np.stack([tracks[k] for k in names], axis=1)
    assert np.mean(likelihoods.argmax(axis=1) == names.index(column)) > 0.5
    assert (found.clusters["track"] >= 0).sum() >= 15


def test_simulate_muons_leave_little_energy_electrons_all(quiet):
    medians = []
    for pdg in (13, 11):
        clusters = quiet.simulate(shoot(pdg, 1.0, 20)[0]).clusters
        medians.append(np.median(clusters["energy"][find_best(clusters, "energy")]))
    # 30 cm of CsI: 5.6 MeV/cm (PDG) for a minimum-ionising particle.
    assert medians[0] == pytest.approx(0.19, abs=0.05)
    assert medians[1] == pytest.approx(1.0, abs=0.06)


def test_simulate_photons_that_convert_give_tracks_of_both_charges(quiet):
    events, _, _ = shoot(22, 0.8, 150)
    tracks = quiet.simulate(events).tracks
    assert 2 <= len(tracks["charge"]) <= 40  # 3 % of a radiation length, 7/9 of it
    assert set(tracks["charge"].tolist()) == {-1, 1}
    momentum = np.sqrt(sum(tracks[k].astype(float) ** 2 for k in ("px", "py", "pz")))
    assert momentum.max() < 0.9


def test_simulate_kaons_that_decay_leave_daughters(quiet):
    # c tau beta gamma = 3 m: some decay in the 1 m of the tracker.
    events, _, _ = shoot(321, 0.4, 60)
    tracks = quiet.simulate(events).tracks
    assert (tracks["array_index"] == 0).all()
    assert tracks["n_cdc"].min() < 40 < np.median(tracks["n_cdc"])


def test_simulate_nothing_visible_gives_nothing(quiet):
    momenta = [(0.5, 0.2, 0.1)] * 4
    events = make_events([12, -14, 16, 999999], momenta, counts=[0, 3, 1, 0])
    found = quiet.simulate(events)
    assert len(found.tracks) == len(found.clusters) == 4
    for table, columns in (
        (found.tracks, TRACK_COLUMNS),
        (found.clusters, CLUSTER_COLUMNS),
    ):
        assert table.offsets.tolist() == [0] * 5
        assert {k: table[k].dtype for k in table.columns} == dict(columns)
    assert len(quiet.simulate(events.take([])).tracks) == 0


# -- reproducible -----------------------------------------------------------------------


def test_simulate_again_permuted_and_in_two_processes_is_identical(mixed):
    with Geant4Detector(seed=3) as one, Geant4Detector(seed=3, workers=2) as two:
        whole = one.simulate(mixed)
        assert len(whole.tracks["px"]) > 20
        assert len(whole.clusters["energy"]) > 40
        assert_equal(whole, one.simulate(mixed))
        assert_equal(whole, two.simulate(mixed))
        assert len(two.pids) == 2
        order = np.array([3, 0, 4, 2, 1])
        permuted = one.simulate(mixed.take(order))
        for place, event in enumerate(order):
            for name in ("tracks", "clusters"):
                a, b = getattr(permuted, name), getattr(whole, name)
                mine = slice(*a.offsets[place : place + 2])
                other = slice(*b.offsets[event : event + 2])
                for column in a.columns:
                    np.testing.assert_array_equal(a[column][mine], b[column][other])


def test_simulate_in_small_requests_is_identical(mixed, monkeypatch):
    with Geant4Detector(seed=3, workers=2) as two:
        whole = two.simulate(mixed)
        monkeypatch.setattr(detector, "_EVENTS_PER_REQUEST", 1)
        seen = []

        def count_requests(workers, requests):
            seen.append(len(requests))
            return simulate(workers, requests)

        monkeypatch.setattr(detector, "simulate", count_requests)
        assert_equal(whole, two.simulate(mixed))
        assert seen == [5]
        # More processes than particles.
        one, _, _ = shoot(22, 1.0, 1)
        assert len(two.simulate(one).tracks) == 1
        assert seen == [5, 1]


def test_simulate_other_repeat_differs(quiet):
    events, _, _ = shoot(22, 1.0, 4)
    quiet.repeat = 1
    try:
        repeated = quiet.simulate(events)
    finally:
        quiet.repeat = 0
    first = quiet.simulate(events)
    assert set(first.clusters["energy"]) != set(repeated.clusters["energy"])


# -- processes --------------------------------------------------------------------------


def test_simulate_after_a_process_died_says_so_and_recovers(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    events, _, _ = shoot(13, 1.0, 1)
    with Geant4Detector(background=False) as fragile:
        before = fragile.simulate(events)
        (pid,) = fragile.pids
        assert len(list(tmp_path.iterdir())) == 1
        os.kill(pid, signal.SIGABRT)
        with pytest.raises(SmartFilterError, match=r"Geant4 process: .* signal 6"):
            fragile.simulate(events)
        assert fragile.pids == ()
        assert list(tmp_path.iterdir()) == []
        assert_equal(before, fragile.simulate(events))
    assert list(tmp_path.iterdir()) == []


def test_simulate_with_a_hung_process_ends_it_and_names_the_events():
    events, _, _ = shoot(13, 1.0, 4)
    with Geant4Detector(background=False, workers=2) as fragile:
        fragile.simulate(events)
        first, second = fragile.pids
        os.kill(second, signal.SIGSTOP)
        fragile.timeout, fragile.timeout_per_event = 0.3, 0.1
        with pytest.raises(
            SmartFilterError,
            match=r"none within 0\.5 s and was ended in entry 2 \(experiment 0, run 0, "
            r"event 2\) to entry 3 .* allow more time",
        ):
            fragile.simulate(events)
        for pid in (first, second):
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        assert fragile.pids == ()


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Return a function that puts a program in the place of the worker's."""

    def replace(program: str) -> None:
        (tmp_path / "pretended_worker.py").write_text(program)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(workers, "_MODULE", "pretended_worker")

    return replace


def test_simulate_with_a_process_that_ends_at_once_says_so(pretend):
    pretend("raise SystemExit(7)")
    with (
        Geant4Detector() as fragile,
        pytest.raises(SmartFilterError, match=r"returned 7 in entry 0 .* to entry 1"),
    ):
        fragile.simulate(shoot(13, 1.0, 2)[0])


def test_simulate_with_a_process_that_never_reads_is_ended(pretend, monkeypatch):
    """A request that does not fit into the pipe must not wait for ever."""
    pretend("import time; time.sleep(600)")
    monkeypatch.setattr(detector, "_EVENTS_PER_REQUEST", 10**6)
    events, _, _ = shoot(22, 1.0, 50_000)
    with (
        Geant4Detector(timeout=0.5, timeout_per_event=1e-6) as fragile,
        pytest.raises(SmartFilterError, match=r"none within 0\.55 s"),
    ):
        fragile.simulate(events)


@pytest.mark.parametrize("name", ["timeout", "timeout_per_event"])
@pytest.mark.parametrize("seconds", [0.0, -1.0, np.nan, np.inf])
def test_detector_impossible_timeout_is_refused(name, seconds):
    with pytest.raises(UsageError, match=f"{name}: expected positive seconds"):
        Geant4Detector(**{name: seconds})


def test_detector_wrong_use_is_refused(monkeypatch):
    with pytest.raises(UsageError, match="workers: expected at least 1, got 0"):
        Geant4Detector(workers=0)
    monkeypatch.setattr(detector, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"smartfilter\[geant4\]"):
        Geant4Detector()


# -- primaries --------------------------------------------------------------------------


def select(events):
    chosen = select_primaries(events, np.arange(len(events), dtype=np.uint64))
    return list(zip(chosen.event.tolist(), chosen.row.tolist(), strict=True)), chosen


def test_select_primaries_takes_what_is_left_after_the_decays():
    # B0 -> K_S pi0; K_S -> pi+ pi-; a neutrino and a virtual photon; then an empty event
    events = make_events(
        [511, 310, 22, 211, -211, 12, 22, 13],
        [(0.1, 0.2, 0.3)] * 8,
        counts=[7, 0, 1, 0],
        mothers=[-1, 0, 0, 1, 1, 0, -1, -1],
        vertices=[(0, 0, 0), (0, 0, 0), (0, 0, 0), (5, 0, 0), (5, 0, 0)]
        + [(0, 0, 0)] * 3,
        status=[0, 0, 0, 0, 0, 0, int(StatusBit.VIRTUAL), 0],
    )
    rows, chosen = select(events)
    assert rows == [(0, 2), (0, 3), (0, 4), (2, 0)]
    assert chosen.x.tolist() == [0.0, 5.0, 5.0, 0.0]
    assert len(set(chosen.seed.tolist())) == 4


def test_select_primaries_keeps_a_particle_that_decays_outside():
    events = make_events(
        [130, 211, -211, 22],
        [(1.0, 0.0, 0.0)] * 4,
        counts=[4],
        mothers=[-1, 0, 0, 1],
        vertices=[(0, 0, 0), (900, 0, 0), (900, 0, 0), (900, 0, 0)],
    )
    assert select(events)[0] == [(0, 0)]


@pytest.mark.parametrize(
    ("mothers", "px", "message"),
    [
        ([1, 0], 0.1, "mothers: expected a tree, got a loop in event 0"),
        (
            [-1, 5],
            0.1,
            "column 'mother_index': expected -1 or a row of the event, got 5",
        ),
        ([-1, 0], np.nan, "column 'px': expected a number between -1000 and 1000 GeV"),
        ([-1, 0], 1e20, "column 'px': expected a number between -1000 and 1000 GeV"),
    ],
)
def test_select_primaries_broken_events_are_refused(mothers, px, message):
    events = make_events([211, 22], [(px, 0, 0)] * 2, counts=[2], mothers=mothers)
    with pytest.raises(InputError, match=message):
        select(events)
