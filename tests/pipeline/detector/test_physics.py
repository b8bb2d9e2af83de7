"""Physics of the mock detector on events made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.geometry import Physics

QUIET = Physics(background=False)


def momentum(table):
    return np.sqrt(table["px"] ** 2.0 + table["py"] ** 2.0 + table["pz"] ** 2.0)


@pytest.mark.parametrize("step", [1.0, 0.1])
def test_simulate_muon_tracks_are_found_and_measured_well(step, shoot):
    events, theta, _ = shoot(13, 1.0, 600)
    tracks = Detector(step=step, physics=QUIET).simulate(events).tracks
    n = len(tracks["px"])
    assert 0.94 < n / 600 < 1.02
    ratio = momentum(tracks)
    assert np.median(ratio) == pytest.approx(1, abs=1e-3)
    low, high = np.quantile(ratio, [0.16, 0.84])
    assert 0.002 < (high - low) / 2 < 0.006
    assert (tracks["charge"] == -1).mean() > 0.99
    row = np.repeat(np.arange(600), np.diff(tracks.offsets))
    measured = np.arctan2(np.hypot(tracks["px"], tracks["py"]), tracks["pz"])
    assert np.median(np.abs(measured - theta[row])) < 2e-3
    assert np.median(np.abs(tracks["d0"])) < 0.003
    assert np.median(np.abs(tracks["z0"])) < 0.005


def test_simulate_particles_outside_the_acceptance_are_not_tracks(shoot):
    for angles in ((3.0, 15.0), (153.0, 177.0)):
        events, _, _ = shoot(13, 1.0, 100, angles=angles)
        tracks = Detector(physics=QUIET).simulate(events).tracks
        assert tracks.offsets[-1] == 0


@pytest.mark.parametrize("energy", [0.1, 0.5, 2.0])
def test_simulate_photon_clusters_have_energy_and_direction(energy, shoot):
    events, theta, phi = shoot(22, energy, 600)
    physics = QUIET._replace(interactions=False)
    clusters = Detector(physics=physics).simulate(events).clusters
    row = np.repeat(np.arange(600), np.diff(clusters.offsets))
    assert 0.97 < len(row) / 600 <= 1.0
    assert (clusters["track"] == -1).all()
    ratio = clusters["energy"] / energy
    assert np.median(ratio) == pytest.approx(1, abs=0.04)
    low, high = np.quantile(ratio, [0.16, 0.84])
    assert 0.012 < (high - low) / 2 < 0.08
    assert np.std(clusters["theta"] - theta[row]) < 0.02
    turn = np.angle(np.exp(1j * (clusters["phi"] - phi[row])))
    assert np.std(turn) < 0.02


def test_simulate_photons_convert_in_matter(shoot):
    """Beam pipe to quartz at 90 degrees: 25.3 % of a radiation length."""
    events, _, _ = shoot(22, 1.0, 3000, angles=(85, 95))
    clusters = Detector(physics=QUIET).simulate(events)
    tracks = clusters.tracks
    found = np.unique(np.repeat(np.arange(3000), np.diff(tracks.offsets)))
    inner = 0.0079 + 2 * 0.0021 + 4 * 0.007 + 0.0029
    expected = 1 - math.exp(-7 / 9 * inner)
    assert len(found) / 3000 == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize("pdg", [11, 211, 13, 321, 130, 2112, 22])
def test_simulate_clusters_have_at_most_the_incoming_energy(pdg, shoot):
    """Within the resolution of the measurement (4 standard deviations of 5 %)."""
    events, _, _ = shoot(pdg, 1.0, 300)
    clusters = Detector(physics=QUIET).simulate(events).clusters
    sums = np.add.reduceat(
        np.append(clusters["energy"], 0.0), clusters.offsets[:-1]
    ) * (np.diff(clusters.offsets) > 0)
    mass = {11: 0.0005, 211: 0.13957, 13: 0.10566, 321: 0.49368, 130: 0.49761}
    incoming = math.hypot(1.0, mass.get(pdg, 0.0))
    if pdg == 2112:
        incoming = math.hypot(1.0, 0.93957) - 0.93957
    assert sums.max() < 1.2 * incoming
    assert sums.max() > 0.15


def test_simulate_muons_leave_minimum_ionisation(shoot):
    """30 cm of CsI at 5.6 MeV/cm, more with the relativistic rise and slanted paths."""
    events, _, _ = shoot(13, 1.0, 400, angles=(80, 100))
    clusters = Detector(physics=QUIET).simulate(events).clusters
    assert np.median(clusters["energy"]) == pytest.approx(0.175, abs=0.02)
    assert (clusters["track"] == 0).mean() > 0.95


@pytest.mark.parametrize(
    ("pdg", "c_tau", "mass"), [(211, 780.4, 0.1396), (321, 371.1, 0.4937)]
)
def test_simulate_decays_in_flight_follow_the_exponential(pdg, c_tau, mass, shoot):
    """Undecayed particles at 90 degrees reach 112 cm, seen as full-length tracks."""
    n, p = 3000, 0.7
    events, _, _ = shoot(pdg, p, n, angles=(88, 92))
    physics = QUIET._replace(interactions=False, energy_loss=False)
    with_decays = Detector(physics=physics).simulate(events).tracks
    without = Detector(physics=physics._replace(decays=False)).simulate(events).tracks
    full = [(t["n_cdc"] >= 45).sum() for t in (with_decays, without)]
    radius = p / (0.00299792458 * 1.5)
    arcs = [2 * radius * math.asin(r / (2 * radius)) for r in (95.0, 111.0)]
    survival = [math.exp(-s * mass / (p * c_tau)) for s in arcs]
    assert survival[1] - 0.03 < full[0] / full[1] < survival[0] + 0.03


def test_simulate_kaons_lose_more_energy_than_the_correction_for_pions_restores(shoot):
    events, _, _ = shoot(321, 0.4, 300)
    tracks = Detector(physics=QUIET._replace(decays=False)).simulate(events).tracks
    pions, _, _ = shoot(211, 0.4, 300)
    reference = Detector(physics=QUIET._replace(decays=False)).simulate(pions).tracks
    assert np.median(momentum(reference)) == pytest.approx(0.4, abs=0.001)
    assert 0.38 < np.median(momentum(tracks)) < 0.398


def test_simulate_daughters_of_a_ks_have_large_impact_parameters(make_ks_events):
    """d0 = x sin(phi0) for a straight line from (x, 0), and signed by charge."""
    tracks = Detector(physics=QUIET).simulate(make_ks_events(300, 5.0)).tracks
    prompt = Detector(physics=QUIET).simulate(make_ks_events(300, 0.0)).tracks
    assert len(tracks["d0"]) > 400
    assert np.median(np.abs(tracks["d0"])) > 20 * np.median(np.abs(prompt["d0"]))
    phi0 = np.arctan2(tracks["py"], tracks["px"])
    radius = np.hypot(tracks["px"], tracks["py"]) / (0.00299792458 * 1.5)
    straight = 5.0 * np.sin(phi0)
    stiff = radius > 60
    bend = 25.0 / (2 * radius[stiff])
    assert (np.abs(tracks["d0"][stiff] - straight[stiff]) < bend + 0.1).mean() > 0.97


@pytest.mark.parametrize("x", [200.0, 1000.0])
def test_simulate_daughters_born_behind_the_detector_leave_nothing(x, make_ks_events):
    """A K_L that decays there; it may have left a cluster itself."""
    n = 300
    events = make_ks_events(n, x)
    pdg = events["pdg"].copy()
    pdg[::3] = 130
    events.particles["pdg"][:] = pdg
    detected = Detector(physics=QUIET).simulate(events)
    assert detected.tracks.offsets[-1] == 0
    assert (detected.clusters["array_index"] == 0).all()
    first = np.diff(detected.clusters.offsets) > 0
    interacting = 1 - math.exp(-30 / 38.04)
    assert first.mean() == pytest.approx(interacting, abs=0.12)


def test_simulate_daughters_exist_only_without_an_interaction_of_their_mother(
    make_ks_events,
):
    """K_L -> pi pi in the crystals: either a cluster of the K_L or of its daughters."""
    events = make_ks_events(400, 135.0)
    events.particles["pdg"][::3] = 130
    clusters = Detector(physics=QUIET).simulate(events).clusters
    row = np.repeat(np.arange(400), np.diff(clusters.offsets))
    of_mother = np.unique(row[clusters["array_index"] == 0])
    of_daughters = np.unique(row[clusters["array_index"] > 0])
    assert not set(of_mother) & set(of_daughters)
    assert len(of_mother) / 400 == pytest.approx(1 - math.exp(-10 / 38.04), abs=0.08)
    assert len(of_daughters) > 200


def test_simulate_charged_hyperon_is_replaced_by_its_daughters(make_events):
    n = 200
    events = make_events(
        np.tile([3112, -211, 2112], n),
        np.tile([[1.0, 0, 0], [0.25, 0.1, 0.05], [0.75, -0.1, -0.05]], (n, 1)),
        counts=np.full(n, 3),
        mothers=np.tile([-1, 0, 0], n),
        vertices=np.tile([[0, 0, 0], [4.0, 0, 0], [4.0, 0, 0]], (n, 1)),
    )
    tracks = Detector(physics=QUIET).simulate(events).tracks
    assert set(tracks["array_index"]) == {1}
    assert len(tracks["px"]) > 0.85 * n


def test_simulate_order_of_rows_does_not_matter_for_the_replay(make_events):
    """Daughters before their mothers: the same tree."""
    events = make_events(
        [211, -211, 310],
        [[0.4, 0.2, 0], [0.4, -0.2, 0], [0.8, 0, 0]],
        counts=[3],
        mothers=[2, 2, -1],
        vertices=[[5, 0, 0], [5, 0, 0], [0, 0, 0]],
    )
    found = set()
    for repeat in range(5):
        tracks = Detector(physics=QUIET, repeat=repeat).simulate(events).tracks
        found |= set(tracks["array_index"])
    assert found == {0, 1}


def test_simulate_close_photons_merge_and_distant_ones_do_not(make_events):
    n = 200
    for angle, expected in ((0.03, 1.0), (0.3, 2.0)):
        pair = [[1.0, 0, 0], [math.cos(angle), math.sin(angle), 0]]
        events = make_events([22] * 2 * n, pair * n, counts=np.full(n, 2))
        physics = QUIET._replace(interactions=False)
        clusters = Detector(physics=physics).simulate(events).clusters
        assert clusters.offsets[-1] / n == pytest.approx(expected, abs=0.05)
        total = clusters["energy"].sum() / n
        assert total == pytest.approx(2.0, abs=0.08)


def test_simulate_identifies_kaons_and_leptons(shoot):
    """Efficiencies near 90 % at a few per cent of misidentified pions, 1 to 2 GeV."""
    names = ("ll_e", "ll_mu", "ll_pi", "ll_k", "ll_p")
    share = {}
    for pdg in (11, 13, 211, 321, 2212):
        events, _, _ = shoot(pdg, 1.5, 500, angles=(40, 120))
        tracks = Detector(physics=QUIET).simulate(events).tracks
        ll = np.stack([tracks[name] for name in names]).astype(float)
        weight = np.exp(ll - ll.max(axis=0))
        share[pdg] = weight / weight.sum(axis=0)
        spread = ll.std(axis=1)
        assert (spread > 0.1).all()

    def fraction(pdg, hypothesis, cut):
        return (share[pdg][hypothesis] > cut).mean()

    assert fraction(321, 3, 0.5) > 0.82
    assert fraction(211, 3, 0.5) < 0.08
    assert fraction(2212, 4, 0.5) > 0.85
    assert fraction(11, 0, 0.9) > 0.75
    assert fraction(211, 0, 0.9) < 0.02
    assert fraction(13, 1, 0.9) > 0.65
    assert fraction(211, 1, 0.9) < 0.08


def test_simulate_results_converge_with_the_step(shoot):
    """Mean track momentum, hits and cluster energy at 1 cm, 0.25 cm and 0.5 mm."""
    n = 500
    kaons, _, _ = shoot(321, 0.6, n)
    photons, _, _ = shoot(22, 0.5, n)
    found = []
    for step in (1.0, 0.25, 0.05):
        detector = Detector(step=step, seed=int(100 * step), physics=QUIET)
        tracks = detector.simulate(kaons).tracks
        clusters = detector.simulate(photons).clusters
        full = tracks["n_cdc"] > 40
        found.append(
            (
                np.median(momentum(tracks)[full]),
                tracks["n_cdc"][full].mean(),
                full.sum() / n,
                np.median(clusters["energy"]),
            )
        )
    for other in found[1:]:
        assert found[0][0] == pytest.approx(other[0], rel=2e-3)
        assert found[0][1] == pytest.approx(other[1], rel=0.02)
        assert found[0][2] == pytest.approx(other[2], abs=0.12)
        assert found[0][3] == pytest.approx(other[3], rel=0.012)


def test_simulate_generated_events_look_like_belle_ii():
    """About ten tracks, twelve neutral clusters and half of the energy seen."""
    pytest.importorskip("pythia8mc")
    from smartfilter.pipeline.generator import Generator

    n = 300
    detected = Detector().simulate(Generator("mixed", seed=1).generate(n))
    tracks, clusters = detected.tracks, detected.clusters
    assert 9.0 < tracks.offsets[-1] / n < 12.5
    neutral = clusters["track"] < 0
    assert 9.0 < (neutral & (clusters["energy"] > 0.05)).sum() / n < 13.0
    assert 3.5 < clusters["energy"].sum() / n < 6.0
    assert -0.05 < tracks["charge"].mean() < 0.05
