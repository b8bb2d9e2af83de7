"""Tests of random numbers, matter, decays and transport against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from particle import Particle

from smartfilter.pipeline import geometry, helix, random, species, storage, transport
from smartfilter.pipeline.geometry import CSI, GAS, SILICON, Physics
from smartfilter.pipeline.matter import (
    bremsstrahlung_energy,
    bremsstrahlung_rate,
    cross_matter,
    stopping_power,
)
from smartfilter.pipeline.tracks import find_perigee

VACUUM = Physics(
    scattering=False,
    energy_loss=False,
    decays=False,
    interactions=False,
    background=False,
)
MASK = 2**64 - 1


def make_stream(seed=1):
    stream = np.zeros(4, dtype=np.uint64)
    random.seed_stream(stream, np.uint64(seed))
    return stream


def make_flight(seed=1):
    flight = storage.Storage.allocate(64, n_tracks=8, n_clusters=8).flight
    random.seed_stream(flight.stream, np.uint64(seed))
    return flight


def fly(flight, physics, pdg, momentum, *, vertex=(0.0, 0.0, 0.0), **limits):
    """Return a copy of the state at the end of a flight."""
    transport.start_flight(flight, pdg, 0, *map(float, vertex), *map(float, momentum))
    flight.state[storage.LIMIT] = limits.get("limit", 1e4)
    flight.state[storage.PROPER] = limits.get("proper", math.inf)
    transport.transport(flight, physics)
    return flight.state.copy()


# -- random numbers ---------------------------------------------------------------


def test_next_word_against_integers_of_python():
    """The published algorithms (splitmix64, xoshiro256++), in plain integers."""
    state, word = [], 12345
    for _ in range(4):
        word = (word + 0x9E3779B97F4A7C15) & MASK
        z = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        state.append(z ^ (z >> 31))

    def rotate(x, k):
        return ((x << k) | (x >> (64 - k))) & MASK

    expected = []
    for _ in range(20):
        expected.append((rotate((state[0] + state[3]) & MASK, 23) + state[0]) & MASK)
        t = (state[1] << 17) & MASK
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= t
        state[3] = rotate(state[3], 45)
    stream = make_stream(12345)
    assert [int(random.next_word(stream)) for _ in range(20)] == expected


def test_uniform_and_normal_have_the_right_moments():
    stream, n = make_stream(), 40_000
    u = np.array([random.uniform(stream) for _ in range(n)])
    assert u.min() >= 0
    assert u.max() < 1
    assert u.mean() == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / n))
    assert u.var() == pytest.approx(1 / 12, rel=0.03)
    pairs = np.array([random.normal_pair(stream) for _ in range(n)])
    assert np.abs(pairs.mean(axis=0)).max() < 5 / math.sqrt(n)
    assert np.cov(pairs.T) == pytest.approx(np.eye(2), abs=0.03)
    assert (pairs**4).mean() == pytest.approx(3, rel=0.06)


def test_exponential_and_poisson_have_the_right_moments():
    stream, n = make_stream(2), 40_000
    x = np.array([random.exponential(stream) for _ in range(n)])
    k = np.array([random.poisson(stream, 2.5) for _ in range(n)])
    assert x.mean() == pytest.approx(1, rel=0.03)
    assert x.var() == pytest.approx(1, rel=0.08)
    assert k.mean() == pytest.approx(2.5, rel=0.02)
    assert k.var() == pytest.approx(2.5, rel=0.04)
    assert random.poisson(stream, 0.0) == 0


# -- species and decays -----------------------------------------------------------


@pytest.mark.parametrize(
    "pdg", [11, 13, 22, 111, 211, 321, 2212, 2112, 130, 310, 3122, 3112, 3222, 3312]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_describe_agrees_with_the_particle_package(pdg, sign):
    known = Particle.from_pdgid(pdg)
    if sign < 0 and known.is_self_conjugate:
        sign = 1
    kind, charge, mass, c_tau = species.describe(sign * pdg)
    assert kind != species.INVISIBLE
    assert charge == sign * known.charge
    assert known.mass is not None
    assert mass == pytest.approx(known.mass / 1000, abs=2e-5)
    if pdg in {211, 321, 13}:
        assert known.ctau is not None
        assert c_tau == pytest.approx(known.ctau / 10, rel=2e-3)


@pytest.mark.parametrize("pdg", [12, 14, 16, -12, 0, 511, 1000010020, 99999999])
def test_describe_of_neutrinos_and_unknown_codes_is_invisible(pdg):
    assert species.describe(pdg)[0] == species.INVISIBLE


def test_split_two_conserves_momentum_and_has_the_right_mass():
    stream = make_stream(3)
    m, m1, m2 = 0.493677, 0.13957, 0.134977
    p = (0.3, -0.4, 1.1)
    total = math.hypot(*p, m)
    a = np.array([species.split_two(stream, *p, m, m1, m2) for _ in range(3000)])
    first, second = a[:, :3], a[:, 3:]
    assert first + second == pytest.approx(np.tile(p, (3000, 1)), abs=1e-12)
    energy = np.sqrt((first**2).sum(1) + m1**2) + np.sqrt((second**2).sum(1) + m2**2)
    assert energy == pytest.approx(np.full(3000, total), rel=1e-9)
    e1 = (m * m + m1 * m1 - m2 * m2) / (2 * m)  # energy in the rest frame
    mean = np.sqrt((first**2).sum(1) + m1**2).mean()
    assert mean == pytest.approx(total / m * e1, rel=0.01)


def test_split_three_conserves_energy_and_momentum():
    stream = make_stream(4)
    m, parts = 0.493677, (0.13957, 0.13957, 0.13957)
    p = (0.3, -0.4, 1.1)
    a = np.array([species.split_three(stream, *p, m, *parts) for _ in range(500)])
    a = a.reshape(-1, 3, 3)
    energy = np.sqrt((a**2).sum(2) + np.square(parts)).sum(1)
    assert a.sum(1) == pytest.approx(np.tile(p, (500, 1)), abs=1e-12)
    assert energy == pytest.approx(np.full(500, math.hypot(*p, m)), rel=1e-9)


# -- matter -----------------------------------------------------------------------


STERNHEIMER = {
    2.329: (0.14921, 3.2546, 0.2015, 2.8716),
    4.510: (0.25381, 2.6657, 0.0395, 3.3353),
    7.03e-4: (0.1676, 3.0, 1.6, 4.0),
}


def bethe(mass, p, za, excitation, density):
    """PDG eqs. 34.5 and 34.7 in MeV, written out again."""
    me, m, p = 0.51099895, mass * 1e3, p * 1e3
    gamma = math.hypot(1, p / m)
    beta = p / m / gamma
    t_max = 2 * me * (beta * gamma) ** 2 / (1 + 2 * gamma * me / m + (me / m) ** 2)
    i = excitation * 1e-6
    plasma = 28.816e-6 * math.sqrt(density * za)
    a, k, x0, x1 = STERNHEIMER[density]
    x = math.log10(beta * gamma)
    delta = 2 * math.log(plasma / i) + 2 * math.log(beta * gamma) - 1
    delta = max(0.0, delta + a * max(x1 - x, 0.0) ** k) if x > x0 else 0.0
    bracket = 0.5 * math.log(2 * me * (beta * gamma) ** 2 * t_max / i**2)
    return 0.307075 * za / beta**2 * (bracket - beta**2 - delta / 2) / 1e3


@pytest.mark.parametrize("p", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("mass", [0.13957, 0.93827])
def test_stopping_power_against_the_formula(p, mass):
    for material in (SILICON, GAS, CSI):
        expected = bethe(
            mass, p, material.electrons, material.excitation * 1e9, material.density
        )
        assert stopping_power(mass, p, material) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("material", "minimum"), [(SILICON, 1.664e-3), (CSI, 1.243e-3)]
)
def test_stopping_power_has_the_tabulated_minimum(material, minimum):
    """Minimum ionisation of the PDG tables."""
    lowest = min(stopping_power(0.105658, p, material) for p in np.linspace(0.2, 1, 50))
    assert lowest == pytest.approx(minimum, rel=0.003)


@pytest.mark.parametrize(
    ("material", "p", "expected"),
    [
        (SILICON, 0.1527, 1.965e-3),
        (SILICON, 0.5964, 1.703e-3),
        (SILICON, 2.103, 1.922e-3),
        (CSI, 0.1527, 1.432e-3),
        (CSI, 0.5964, 1.292e-3),
        (CSI, 2.103, 1.505e-3),
    ],
)
def test_stopping_power_of_muons_agrees_with_published_tables(material, p, expected):
    """Ionisation of the muon tables of Groom, Mokhov, Striganov (2001), as computed by
    PUMAS with Sternheimer's density effect."""
    assert stopping_power(0.105658, p, material) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("cuts", [1, 10])
def test_cross_matter_mean_and_variance_do_not_depend_on_the_cutting(cuts):
    """One layer or ten: Bethe's mean, and the variance xi T_max (1 - beta^2 / 2)."""
    stream, n, areal, p0 = make_stream(5), 10_000, 0.15, 1.0
    mass = 0.93827
    losses = np.empty(n)
    for i in range(n):
        p = p0
        for _ in range(cuts):
            p = cross_matter(stream, mass, p, areal / cuts, SILICON, True)
        losses[i] = math.hypot(p0, mass) - math.hypot(p, mass)
    assert losses.mean() == pytest.approx(
        areal * stopping_power(mass, p0, SILICON), rel=0.02
    )
    gamma = math.hypot(p0, mass) / mass
    beta2 = 1 - 1 / gamma**2
    t_max = 1.022e-3 * (gamma**2 - 1) / (1 + 2 * gamma * 0.000511 / mass)
    variance = 0.5 * 0.307075e-3 * 0.49848 * areal / beta2 * t_max * (1 - beta2 / 2)
    assert losses.var() == pytest.approx(variance, rel=0.15)


def test_cross_matter_stops_a_slow_particle():
    assert cross_matter(make_stream(), 0.93827, 0.1, 1.0, SILICON, True) == 0.0


def test_bremsstrahlung_against_the_integral_of_the_spectrum():
    energy, cut = 1.0, 0.01
    k = np.geomspace(cut, energy, 20_001)
    y = k / energy
    spectrum = (4 / 3 - 4 / 3 * y + y * y) / k
    assert bremsstrahlung_rate(energy, cut) == pytest.approx(
        np.trapezoid(spectrum, k), rel=1e-6
    )
    stream = make_stream(6)
    drawn = [bremsstrahlung_energy(stream, energy, cut) for _ in range(20_000)]
    mean = np.trapezoid(spectrum * k, k) / np.trapezoid(spectrum, k)
    assert np.mean(drawn) == pytest.approx(mean, rel=0.03)
    assert bremsstrahlung_rate(cut, cut) == 0.0


# -- transport --------------------------------------------------------------------


@pytest.mark.parametrize("path", [0.01, 1.0, 40.0, 300.0])
@pytest.mark.parametrize("curvature", [0.0045, -0.03, 0.0])
def test_advance_against_the_closed_helix(path, curvature):
    dip = 0.3
    state = np.array([1.0, 2.0, 3.0, math.cos(dip), 0.0, math.sin(dip)])
    start = state.copy()
    helix.advance(state, path, curvature)
    turn = -curvature * path
    if curvature:
        radius = math.cos(dip) / -curvature
        offset = radius * math.sin(turn), radius * (1 - math.cos(turn))
    else:
        offset = path * math.cos(dip), 0.0
    assert state[0] == pytest.approx(start[0] + offset[0], abs=1e-7)
    assert state[1] == pytest.approx(start[1] + offset[1], abs=1e-7)
    assert state[2] == pytest.approx(3 + path * math.sin(dip))
    assert state[3] == pytest.approx(math.cos(dip) * math.cos(turn), abs=1e-9)
    assert state[4] == pytest.approx(math.cos(dip) * math.sin(turn), abs=1e-9)


@pytest.mark.parametrize("step", [1.0, 0.25, 0.05])
@pytest.mark.parametrize("pdg", [211, -211])
def test_transport_in_vacuum_follows_the_helix_to_the_calorimeter(step, pdg):
    flight, pt, pz = make_flight(), 0.6, 0.2
    end = fly(flight, VACUUM._replace(step=step), pdg, (pt, 0, pz))
    assert flight.identity[storage.FATE] == transport.EXITED
    radius = pt / (0.00299792458 * 1.5)
    half_turn = math.asin(125.0 / (2 * radius))
    azimuth = -half_turn if pdg > 0 else half_turn
    assert math.hypot(end[0], end[1]) == pytest.approx(125.0, abs=0.01)
    assert math.atan2(end[1], end[0]) == pytest.approx(azimuth, abs=1e-4)
    assert end[2] == pytest.approx(pz / pt * 2 * radius * half_turn, abs=0.02)
    assert end[storage.MOMENTUM] == pytest.approx(math.hypot(pt, pz))


def test_transport_of_a_forward_particle_ends_at_the_endcap():
    flight = make_flight()
    end = fly(flight, VACUUM, 13, (0.3, 0, 1.5))
    assert flight.identity[storage.FATE] == transport.EXITED
    assert end[2] == pytest.approx(geometry.VOLUME_FORWARD, abs=1e-6)


def test_transport_stops_at_the_path_limit():
    flight = make_flight()
    end = fly(flight, VACUUM, 211, (0.1, 0, 0.0), limit=50.0)
    assert flight.identity[storage.FATE] == transport.ARRIVED
    assert end[storage.PATH] == pytest.approx(50.0)


def test_transport_decays_after_the_proper_path():
    flight = make_flight()
    end = fly(flight, VACUUM, 211, (1.0, 0, 0.0), proper=10.0)
    assert flight.identity[storage.FATE] == transport.DECAYED
    assert end[storage.PATH] == pytest.approx(10.0 / 0.13957, rel=1e-3)


def radial_layers():
    """Return radiation lengths and g/cm^2 met at normal incidence, before the quartz."""
    gas = (111.1 - 16.8) / (48.6 / 7.03e-4)
    return (
        [0.0079, 0.0021, 0.0021, *[0.007] * 4, 0.0029],
        [0.30, 0.046, 0.046, *[0.153] * 4, 0.1],
        gas,
    )


@pytest.mark.parametrize("step", [1.0, 0.25, 0.05])
def test_transport_scatters_by_highland_at_any_step(step):
    """The sum of the layers' variances; sqrt(2/n) / 2 is the error of the width."""
    physics = VACUUM._replace(step=step, field=0.0, scattering=True)
    flight, p, mass, n = make_flight(7), 1.0, 0.13957, 2000
    dips = [
        math.asin(fly(flight, physics, 211, (p, 0, 0), limit=111.0)[storage.UZ])
        for _ in range(n)
    ]
    layers, _, _ = radial_layers()
    beta = p / math.hypot(p, mass)
    gas = (111.0 - 16.0) / (48.6 / 7.03e-4)
    pieces = [(t, t) for t in layers] + [(gas, (111.1 - 16.8) / (48.6 / 7.03e-4))]
    variance = sum(
        (0.0136 / (beta * p)) ** 2 * t * (1 + 0.038 * math.log(total / beta**2)) ** 2
        for t, total in pieces
    )
    assert np.std(dips) == pytest.approx(math.sqrt(variance), rel=5 / math.sqrt(2 * n))
    assert abs(np.mean(dips)) < 5 * math.sqrt(variance / n)


@pytest.mark.parametrize("step", [1.0, 0.25, 0.05])
def test_transport_loses_the_mean_energy_of_bethe_at_any_step(step):
    physics = VACUUM._replace(step=step, field=0.0, energy_loss=True)
    flight, p, mass, n = make_flight(8), 0.6, 0.493677, 1500
    ends = [
        fly(flight, physics, 321, (p, 0, 0), limit=111.0)[storage.MOMENTUM]
        for _ in range(n)
    ]
    _, layers, _ = radial_layers()
    silicon = bethe(mass, p, 0.49848, 173.0, 2.329) * sum(layers)
    gas = bethe(mass, p, 0.5870, 45.0, 7.03e-4) * 7.03e-4 * (111.0 - 16.0)
    losses = math.hypot(p, mass) - np.hypot(ends, mass)
    error = losses.std() / math.sqrt(n)
    assert losses.mean() == pytest.approx(silicon + gas, abs=5 * error + 2e-5)
    assert error < 0.03 * (silicon + gas)


def test_transport_counts_the_same_hits_at_any_step():
    """98 % of 6 vertex layers and 95 % of 56 chamber layers for a stiff track."""
    for step in (1.0, 0.25, 0.05):
        flight, hits = make_flight(9), []
        for i in range(400):
            phi = 0.01 * i
            momentum = (math.cos(phi), math.sin(phi), 0.1)
            fly(flight, VACUUM._replace(step=step), 13, momentum)
            hits.append(flight.identity[[storage.N_VERTEX, storage.N_CHAMBER]])
        vertex, chamber = np.mean(hits, axis=0)
        assert vertex == pytest.approx(6 * 0.98, abs=0.07)
        assert chamber == pytest.approx(56 * 0.95, abs=0.35)


def test_transport_of_a_curling_track_counts_hits_once():
    """Radius 22.2 cm: out to 44.5 cm, 16 layers of the chamber."""
    flight = make_flight(10)
    fly(flight, VACUUM, 211, (0.1, 0, 0.001), limit=400.0)
    assert 11 <= flight.identity[storage.N_CHAMBER] <= 17
    assert flight.identity[storage.N_VERTEX] <= 6


@pytest.mark.parametrize("charge", [1, -1])
@pytest.mark.parametrize("point", [(0.0, 0.0, 0.0), (3.0, -5.0, 2.0), (-0.3, 0.1, 1.0)])
def test_find_perigee_against_a_scan_along_the_helix(charge, point):
    x, y, z = point
    bend = 0.00299792458 * 1.5 * charge
    d0, z0, px, py = find_perigee(x, y, z, 0.2, 0.35, -0.15, bend)
    p = math.hypot(0.2, 0.35, -0.15)
    states = np.tile([x, y, z, 0.2 / p, 0.35 / p, -0.15 / p], (4001, 1))
    for state, path in zip(states, np.linspace(-40, 40, 4001), strict=True):
        helix.advance(state, path, bend / p)
    closest = states[np.argmin(np.hypot(states[:, 0], states[:, 1]))]
    angular = closest[0] * closest[4] - closest[1] * closest[3]
    distance = math.hypot(closest[0], closest[1])
    assert d0 == pytest.approx(math.copysign(distance, angular), abs=2e-3)
    assert z0 == pytest.approx(closest[2], abs=2e-2)
    assert math.atan2(py, px) == pytest.approx(
        math.atan2(closest[4], closest[3]), abs=2e-3
    )
    assert math.hypot(px, py) == pytest.approx(math.hypot(0.2, 0.35))
