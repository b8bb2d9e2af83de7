"""Detected events made by hand, and candidates counted by plain enumeration."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import vector

from smartfilter.pipeline.decay_modes import MASSES, SPECIES, Window
from smartfilter.pipeline.event_shape import BEAM_MOMENTUM, CM_ENERGY
from smartfilter.pipeline.objects import CLUSTER_COLUMNS, TRACK_COLUMNS, Detected, Table

PID = {"e": "ll_e", "mu": "ll_mu", "pi": "ll_pi", "K": "ll_k", "p": "ll_p"}
MASS = {"e": 0.000511, "mu": 0.105658, "pi": 0.13957, "K": 0.493677, "p": 0.938272}


def make_table(rows, columns):
    """Return a Table of events, each a list of dicts; absent columns are zero."""
    offsets = np.cumsum([0, *(len(event) for event in rows)]).astype(np.int64)
    flat = [row for event in rows for row in event]
    return Table(
        offsets,
        {
            name: np.array([row.get(name, 0) for row in flat], dtype=dtype)
            for name, dtype in columns.items()
        },
    )


def _make_detected(tracks, clusters):
    return Detected(
        make_table(tracks, TRACK_COLUMNS), make_table(clusters, CLUSTER_COLUMNS)
    )


def _track(p, charge, kind="pi", d0=0.0, z0=0.0):
    likelihoods = {name: 0.0 if key == kind else -15.0 for key, name in PID.items()}
    return {
        **dict(zip(("px", "py", "pz"), p, strict=True)),
        "charge": charge,
        "d0": d0,
        "z0": z0,
        "n_cdc": 40,
        **likelihoods,
    }


def _photon(p, matched=-1):
    x, y, z = p
    return {
        "energy": np.sqrt(x * x + y * y + z * z),
        "theta": np.arctan2(np.hypot(x, y), z),
        "phi": np.arctan2(y, x),
        "track": matched,
    }


def random_event(rng, n_tracks, n_clusters):
    tracks = [
        _track(
            rng.normal(size=3) * 0.4,
            rng.choice([-1, 1]),
            rng.choice(["pi", "pi", "K", "mu", "e"]),
            d0=rng.normal() * (2.0 if rng.random() < 0.2 else 0.02),
            z0=rng.normal() * 0.1,
        )
        for _ in range(n_tracks)
    ]
    return tracks, [_photon(rng.normal(size=3) * 0.25) for _ in range(n_clusters)]


def _random_events(seed, n_events, n_tracks=8, n_clusters=6):
    rng = np.random.default_rng(seed)
    sizes = zip(
        rng.poisson(n_tracks, n_events), rng.poisson(n_clusters, n_events), strict=True
    )
    return [random_event(rng, *size) for size in sizes]


def _detect(events):
    return _make_detected([e[0] for e in events], [e[1] for e in events])


def _two_body(rng, parent, masses):
    """Return two daughters of a `vector` four-momentum, isotropic in its rest frame."""
    m, (a, b) = parent.mass, masses
    q = np.sqrt((m**2 - (a + b) ** 2) * (m**2 - (a - b) ** 2)) / (2 * m)
    u = rng.normal(size=3)
    u *= q / np.linalg.norm(u)
    first = vector.obj(px=u[0], py=u[1], pz=u[2], mass=a)
    second = vector.obj(px=-u[0], py=-u[1], pz=-u[2], mass=b)
    return first.boost_p4(parent), second.boost_p4(parent)


def _xyz(p):
    return np.array([p.px, p.py, p.pz])


def _beams():
    e, px, py, pz = BEAM_MOMENTUM
    return vector.obj(px=px, py=py, pz=pz, E=e)


def _perfect_event(rng, decay="D-"):
    """Return Y(4S) -> B0 anti-B0 with a B0 -> D(*)- pi+ and a B that leaves four pi."""
    signal, other = _two_body(rng, _beams(), (MASSES["B0"], MASSES["B0"]))
    tracks = []
    if decay == "D-":
        d, pion = _two_body(rng, signal, (MASSES["D+"], MASS["pi"]))
        kaon, pair = _two_body(rng, d, (MASS["K"], 0.8))
        tracks += [_track(_xyz(p), -1) for p in _two_body(rng, pair, (MASS["pi"],) * 2)]
    else:
        dstar, pion = _two_body(rng, signal, (MASSES["D*+"], MASS["pi"]))
        d, slow = _two_body(rng, dstar, (MASSES["D0"], MASS["pi"]))
        kaon, fast = _two_body(rng, d, (MASS["K"], MASS["pi"]))
        tracks += [_track(_xyz(p), -1) for p in (slow, fast)]
    tracks += [_track(_xyz(pion), 1), _track(_xyz(kaon), 1, "K")]
    for pair in _two_body(rng, other, (1.0, 1.2)):
        plus, minus = _two_body(rng, pair, (MASS["pi"],) * 2)
        tracks += [_track(_xyz(plus), 1), _track(_xyz(minus), -1)]
    return tracks, []


def _swap_charge(name):
    """Return the name of the antiparticle, by the spelling of the names alone."""
    if name in {"pi0", "K_S0", "J/psi", "B0", "B+", "gamma", "B0:pi0pi0"}:
        return name
    if name.startswith("anti-"):
        return name.removeprefix("anti-")
    if "+" in name:
        return name.replace("+", "-")
    return name.replace("-", "+") if "-" in name else f"anti-{name}"


def _brute_force(event, modes):
    """Return the number of candidates per list by plain enumeration, in the lab."""
    tracks, clusters = event
    fours: Any
    lists: dict[str, list[Any]] = {name: [] for name in SPECIES}
    for i, row in enumerate(tracks):
        p = np.array([row["px"], row["py"], row["pz"]], dtype=np.float32)
        if abs(row["d0"]) >= 0.5:
            continue
        sign = "+" if row["charge"] > 0 else "-"
        for kind, least in (("e", 0.3), ("mu", 0.6), ("pi", 0.0), ("K", 0.0)):
            if row[PID[kind]] == 0.0 and np.linalg.norm(p) > least:
                four = vector.obj(px=p[0], py=p[1], pz=p[2], mass=MASS[kind])
                lists[kind + sign].append((four, frozenset([("t", i)])))
    for (i, a), (j, b) in itertools.combinations(enumerate(clusters), 2):
        fours = [
            vector.obj(pt=c["energy"] * np.sin(c["theta"]), phi=c["phi"],
                       theta=c["theta"], mass=0.0)
            for c in (a, b)
        ]  # fmt: skip
        mass = (fours[0] + fours[1]).mass
        if 0.115 < mass < 0.152 and min(a["energy"], b["energy"]) > 0.05:
            lists["pi0"].append((constrain(a, b, fours), frozenset("cd"[k] + str(n)
                                 for k, n in ((0, i), (0, j)))))  # fmt: skip
    for name in SPECIES:
        lists[name] += combine(name, lists, modes)
    return {name: len(found) for name, found in lists.items()}


def constrain(a, b, fours):
    """Minimise the pulls of two log energies with the mass as a Lagrange condition."""
    energies = np.array([a["energy"], b["energy"]])
    variance = 0.00066**2 / energies**2 + 0.0081**2 / energies**0.5 + 0.0134**2
    target = 2 * np.log(MASSES["pi0"] / (fours[0] + fours[1]).mass)
    # Stationary point of sum d^2 / v + 2 k (d1 + d2 - target), a linear system.
    system = np.array([[1 / variance[0], 0, 1], [0, 1 / variance[1], 1], [1, 1, 0]])
    d = np.linalg.solve(system, [0, 0, target])[:2]
    return fours[0] * np.exp(d[0]) + fours[1] * np.exp(d[1])


def combine(name, lists, modes):
    found = {}
    for mode in modes:
        head, tail = mode.decay.split(" -> ")
        for flip in (False, True):
            names = [_swap_charge(n) if flip else n for n in (head, *tail.split())]
            if names[0] != name:
                continue
            pools = [list(enumerate(lists[n])) for n in names[1:]]
            for choice in itertools.product(*pools):
                objects = [used for _, (_, used) in choice]
                if len(frozenset().union(*objects)) < sum(map(len, objects)):
                    continue
                total = choice[0][1][0]
                for _, (four, _) in choice[1:]:
                    total = total + four
                if fits(total, mode):
                    key = frozenset(
                        (n, i) for n, (i, _) in zip(names[1:], choice, strict=True)
                    )
                    found[key] = (reset_mass(total, mode), frozenset().union(*objects))
    return list(found.values())


def reset_mass(total, mode):
    """Set the nominal mass at the momentum in the centre-of-mass frame."""
    cm = total.boostCM_of_p4(_beams())
    nominal = vector.obj(px=cm.px, py=cm.py, pz=cm.pz, mass=MASSES[mode.mother])
    return nominal.boost_p4(_beams())


def fits(total, mode):
    if mode.window is Window.MASS:
        return abs(total.mass - MASSES[mode.mother]) < mode.width
    cm = total.boostCM_of_p4(_beams())
    mbc2 = CM_ENERGY**2 / 4 - cm.mag2
    near = abs(cm.E - CM_ENERGY / 2) < mode.width
    return near and mbc2 > mode.mbc_min**2


def helix_through(vertex, p, charge):
    """Follow the circle back and forth in small steps to the point nearest the axis."""
    pt, phi = np.hypot(p[0], p[1]), np.arctan2(p[1], p[0])
    step = 1e-4
    turn = -charge * 0.299792458e-2 * 1.5 / pt
    best: Any = None
    for direction in (-1, 1):
        s = direction * step * (np.arange(400_000) + 0.5)
        angle = phi + turn * s
        x = vertex[0] + np.cumsum(np.cos(angle)) * direction * step
        y = vertex[1] + np.cumsum(np.sin(angle)) * direction * step
        k = np.argmin(np.hypot(x, y))
        if best is None or np.hypot(x[k], y[k]) < best[0]:
            path = s[k] + direction * step / 2
            best = np.hypot(x[k], y[k]), x[k], y[k], phi + turn * path, path
    _, x, y, angle, path = best
    d0 = x * np.sin(angle) - y * np.cos(angle)
    z0 = vertex[2] + path * p[2] / pt
    return np.array([pt * np.cos(angle), pt * np.sin(angle), p[2], charge, d0, z0])


def _v0_event(rng, mother, kinds):
    """Return tracks of a displaced two-body decay, its vertex and four-momentum."""
    flight = rng.normal(size=3)
    flight /= np.linalg.norm(flight)
    flight[2] *= 0.3
    p = flight / np.linalg.norm(flight) * 1.2
    parent = vector.obj(px=p[0], py=p[1], pz=p[2], mass=MASSES[mother])
    vertex = p / np.hypot(p[0], p[1]) * rng.uniform(2.0, 8.0)
    daughters = _two_body(rng, parent, [MASS[k] for k in kinds])
    helices = [
        helix_through(vertex, _xyz(d), charge)
        for d, charge in zip(daughters, (1, -1), strict=True)
    ]
    tracks = [
        _track(h[:3], h[3], kind, d0=h[4], z0=h[5])
        for h, kind in zip(helices, kinds, strict=True)
    ]
    return tracks, helices, vertex, daughters


@pytest.fixture(scope="session")
def make_detected():
    """Return the function that makes tables of tracks and clusters."""
    return _make_detected


@pytest.fixture(scope="session")
def track():
    """Return the function that makes the row of a track."""
    return _track


@pytest.fixture(scope="session")
def photon():
    """Return the function that makes the row of a photon's cluster."""
    return _photon


@pytest.fixture(scope="session")
def random_events():
    """Return the function that makes random events."""
    return _random_events


@pytest.fixture(scope="session")
def detect():
    """Return the function that makes tables of events of tracks and clusters."""
    return _detect


@pytest.fixture(scope="session")
def two_body():
    """Return the function that lets a particle decay into two."""
    return _two_body


@pytest.fixture(scope="session")
def xyz():
    """Return the function that takes the momentum out of a four-momentum."""
    return _xyz


@pytest.fixture(scope="session")
def beams():
    """Return the function that gives the four-momentum of the beams."""
    return _beams


@pytest.fixture(scope="session")
def perfect_event():
    """Return the function that makes an event with a B0 that is measured without error."""
    return _perfect_event


@pytest.fixture(scope="session")
def swap_charge():
    """Return the function that names antiparticles."""
    return _swap_charge


@pytest.fixture(scope="session")
def brute_force():
    """Return the function that counts candidates by enumeration."""
    return _brute_force


@pytest.fixture(scope="session")
def v0_event():
    """Return the function that makes a displaced decay into two tracks."""
    return _v0_event
