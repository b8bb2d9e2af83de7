"""Reconstruction against closed forms, brute force enumeration and perfect events."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import vector

from smartfilter.errors import InputError, UsageError
from smartfilter.pipeline.candidates import CAPACITY, Overflow, make_store
from smartfilter.pipeline.decay_modes import (
    MASSES,
    MODES,
    SPECIES,
    Mode,
    Window,
    build_mode_table,
    default_mode_table,
)
from smartfilter.pipeline.event_shape import BEAM_MOMENTUM, CM_ENERGY, TO_CM
from smartfilter.pipeline.final_states import fill_neutral_pions, fill_photons
from smartfilter.pipeline.objects import (
    CLUSTER_COLUMNS,
    TRACK_COLUMNS,
    Detected,
    Table,
)
from smartfilter.pipeline.reconstruction import (
    COUNT_COLUMNS,
    VALUE_COLUMNS,
    event_variables,
    reconstruct,
)
from smartfilter.pipeline.vertices import cross

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


def make_detected(tracks, clusters):
    return Detected(
        make_table(tracks, TRACK_COLUMNS), make_table(clusters, CLUSTER_COLUMNS)
    )


def track(p, charge, kind="pi", d0=0.0, z0=0.0):
    likelihoods = {name: 0.0 if key == kind else -15.0 for key, name in PID.items()}
    return {
        **dict(zip(("px", "py", "pz"), p, strict=True)),
        "charge": charge,
        "d0": d0,
        "z0": z0,
        "n_cdc": 40,
        **likelihoods,
    }


def photon(p, matched=-1):
    x, y, z = p
    return {
        "energy": np.sqrt(x * x + y * y + z * z),
        "theta": np.arctan2(np.hypot(x, y), z),
        "phi": np.arctan2(y, x),
        "track": matched,
    }


def random_event(rng, n_tracks, n_clusters):
    tracks = [
        track(
            rng.normal(size=3) * 0.4,
            rng.choice([-1, 1]),
            rng.choice(["pi", "pi", "K", "mu", "e"]),
            d0=rng.normal() * (2.0 if rng.random() < 0.2 else 0.02),
            z0=rng.normal() * 0.1,
        )
        for _ in range(n_tracks)
    ]
    return tracks, [photon(rng.normal(size=3) * 0.25) for _ in range(n_clusters)]


def random_events(seed, n_events, n_tracks=8, n_clusters=6):
    rng = np.random.default_rng(seed)
    sizes = zip(
        rng.poisson(n_tracks, n_events), rng.poisson(n_clusters, n_events), strict=True
    )
    return [random_event(rng, *size) for size in sizes]


def detect(events):
    return make_detected([e[0] for e in events], [e[1] for e in events])


def two_body(rng, parent, masses):
    """Return two daughters of a `vector` four-momentum, isotropic in its rest frame."""
    m, (a, b) = parent.mass, masses
    q = np.sqrt((m**2 - (a + b) ** 2) * (m**2 - (a - b) ** 2)) / (2 * m)
    u = rng.normal(size=3)
    u *= q / np.linalg.norm(u)
    first = vector.obj(px=u[0], py=u[1], pz=u[2], mass=a)
    second = vector.obj(px=-u[0], py=-u[1], pz=-u[2], mass=b)
    return first.boost_p4(parent), second.boost_p4(parent)


def xyz(p):
    return np.array([p.px, p.py, p.pz])


def beams():
    e, px, py, pz = BEAM_MOMENTUM
    return vector.obj(px=px, py=py, pz=pz, E=e)


def perfect_event(rng, decay="D-"):
    """Return Y(4S) -> B0 anti-B0 with a B0 -> D(*)- pi+ and a B that leaves four pi."""
    signal, other = two_body(rng, beams(), (MASSES["B0"], MASSES["B0"]))
    tracks = []
    if decay == "D-":
        d, pion = two_body(rng, signal, (MASSES["D+"], MASS["pi"]))
        kaon, pair = two_body(rng, d, (MASS["K"], 0.8))
        tracks += [track(xyz(p), -1) for p in two_body(rng, pair, (MASS["pi"],) * 2)]
    else:
        dstar, pion = two_body(rng, signal, (MASSES["D*+"], MASS["pi"]))
        d, slow = two_body(rng, dstar, (MASSES["D0"], MASS["pi"]))
        kaon, fast = two_body(rng, d, (MASS["K"], MASS["pi"]))
        tracks += [track(xyz(p), -1) for p in (slow, fast)]
    tracks += [track(xyz(pion), 1), track(xyz(kaon), 1, "K")]
    for pair in two_body(rng, other, (1.0, 1.2)):
        plus, minus = two_body(rng, pair, (MASS["pi"],) * 2)
        tracks += [track(xyz(plus), 1), track(xyz(minus), -1)]
    return tracks, []


# --- combination ------------------------------------------------------------------


@pytest.mark.parametrize("decay", ["D-", "D*-"])
def test_reconstruct_perfect_b0_has_mbc_of_the_b_and_no_delta_e(decay):
    rng = np.random.default_rng(11)
    result = reconstruct(detect([perfect_event(rng, decay) for _ in range(20)]))
    assert (result["n_b0"] > 0).all()
    np.testing.assert_allclose(result["b0_mbc"], MASSES["B0"], atol=3e-4)
    np.testing.assert_allclose(result["b0_delta_e"], 0.0, atol=3e-4)
    assert (result["b0_probability"] > 0.3).all()
    assert (result["n_d"] >= 1).all()
    assert (result["n_dstar"] >= (decay == "D*-")).all()


def test_reconstruct_perfect_b0_missing_a_track_is_not_found_as_good():
    rng = np.random.default_rng(12)
    tracks, clusters = perfect_event(rng)
    whole = reconstruct(detect([(tracks, clusters)]))["b0_probability"][0]
    for k in range(4):
        part = reconstruct(detect([(tracks[:k] + tracks[k + 1 :], clusters)]))
        assert part["b0_probability"][0] < 0.1 * whole


def test_reconstruct_perfect_bplus_is_not_a_good_b0():
    rng = np.random.default_rng(13)
    signal, _ = two_body(rng, beams(), (MASSES["B+"], MASSES["B+"]))
    d, pion = two_body(rng, signal, (MASSES["D0"], MASS["pi"]))
    kaon, other = two_body(rng, d, (MASS["K"], MASS["pi"]))
    tracks = [
        track(xyz(pion), 1),
        track(xyz(kaon), 1, "K"),
        track(xyz(other), -1),
    ]
    result = reconstruct(detect([(tracks, [])]))
    assert result["b0_probability"][0] == 0.0
    assert np.isnan(result["b0_mbc"][0])
    assert result["bplus_probability"][0] > 0.3
    assert result["bplus_mbc"][0] == pytest.approx(MASSES["B+"], abs=3e-4)


def swap_charge(name):
    """Return the name of the antiparticle, by the spelling of the names alone."""
    if name in {"pi0", "K_S0", "J/psi", "B0", "B+", "gamma", "B0:pi0pi0"}:
        return name
    if name.startswith("anti-"):
        return name.removeprefix("anti-")
    if "+" in name:
        return name.replace("+", "-")
    return name.replace("-", "+") if "-" in name else f"anti-{name}"


def brute_force(event, modes):
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
            names = [swap_charge(n) if flip else n for n in (head, *tail.split())]
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
    cm = total.boostCM_of_p4(beams())
    nominal = vector.obj(px=cm.px, py=cm.py, pz=cm.pz, mass=MASSES[mode.mother])
    return nominal.boost_p4(beams())


def fits(total, mode):
    if mode.window is Window.MASS:
        return abs(total.mass - MASSES[mode.mother]) < mode.width
    cm = total.boostCM_of_p4(beams())
    mbc2 = CM_ENERGY**2 / 4 - cm.mag2
    near = abs(cm.E - CM_ENERGY / 2) < mode.width
    return near and mbc2 > mode.mbc_min**2


WIDE = [
    replace(m, width=0.4 if m.window is Window.MASS else 2.5, mbc_min=3.5)
    for m in (
        Mode("J/psi -> mu+ mu-", 0.06, 1.0, 0.01),
        Mode("D0 -> K- pi+", 0.04, 0.1, 0.01),
        Mode("D0 -> K- pi+ pi0", 0.14, 0.1, 0.01),
        Mode("D0 -> K- pi+ pi+ pi-", 0.08, 0.1, 0.01),
        Mode("D+ -> K- pi+ pi+", 0.09, 0.1, 0.01),
        Mode("D*+ -> D0 pi+", 0.68, 0.1, 0.01),
        Mode("B0 -> D- pi+", 0.003, 0.2, 0.02, Window.BEAM),
        Mode("B0 -> anti-D0 pi+ pi-", 0.001, 0.2, 0.02, Window.BEAM),
        Mode("B0 -> D*- pi+ pi+ pi-", 0.007, 0.2, 0.02, Window.BEAM),
        Mode("B+ -> anti-D0 pi+ pi0", 0.013, 0.2, 0.02, Window.BEAM),
        Mode("B+ -> J/psi K+", 0.001, 0.2, 0.02, Window.BEAM),
        Mode("B0:pi0pi0 -> pi0 pi0", 1e-6, 0.2, 0.02, Window.BEAM, mbc_min=1.0),
    )
]


def test_reconstruct_counts_equal_brute_force_enumeration():
    rng = np.random.default_rng(21)
    events = []
    for _ in range(10):
        kinds = ["pi"] * 4 + ["K"] * 2 + ["mu"]
        tracks = [track(rng.normal(size=3) * 0.7, rng.choice([-1, 1]), kind) for kind in kinds]  # fmt: skip
        clusters = []
        for _ in range(2):
            parent = rng.normal(size=3) * 0.4
            pion = vector.obj(px=parent[0], py=parent[1], pz=parent[2], mass=0.134977)
            clusters += [photon(xyz(p)) for p in two_body(rng, pion, (0.0, 0.0))]
        events.append((tracks, clusters))
    result = reconstruct(detect(events), modes=build_mode_table(WIDE))
    total = dict.fromkeys(("n_pi0", "n_d", "n_dstar", "n_b0", "n_bplus"), 0)
    for i, event in enumerate(events):
        count = brute_force(event, WIDE)
        expected = {
            "n_pi0": count["pi0"],
            "n_jpsi": count["J/psi"],
            "n_d": sum(count[n] for n in ("D0", "anti-D0", "D+", "D-")),
            "n_dstar": count["D*+"] + count["D*-"],
            "n_b0": count["B0"],
            "n_bplus": count["B+"],
            "n_b0_pi0pi0": count["B0:pi0pi0"],
        }
        assert {name: result[name][i] for name in expected} == expected
        for name in total:
            total[name] += expected[name]
    assert min(total.values()) >= 10, total


def test_mode_table_holds_every_conjugate_once():
    table = default_mode_table()
    rows = {
        (m, *sorted(d))
        for m, d in zip(table.mother, table.daughters.tolist(), strict=True)
    }
    assert len(rows) == len(table.mother)
    own = [
        mode.decay
        for mode in MODES
        if swap_charge(mode.mother) == mode.mother
        and sorted(map(swap_charge, mode.daughters)) == sorted(mode.daughters)
    ]
    assert "B0 -> J/psi K_S0" in own
    assert len(table.mother) == 2 * len(MODES) - len(own)


@pytest.mark.parametrize(
    "decay",
    ["D0 -> K- rho+", "D0 -> K-", "K+ -> pi+ pi0", "D0 -> K- pi+ pi+ pi- pi0 pi0"],
)
def test_mode_table_of_impossible_mode_is_refused(decay):
    with pytest.raises(UsageError, match="expected"):
        build_mode_table([Mode(decay, 0.1, 0.1, 0.1)])


# --- neutral pions ----------------------------------------------------------------


def fill_pi0(clusters):
    rows = np.array([[c["energy"], c["theta"], c["phi"], -1.0] for c in clusters])
    store = make_store(default_mode_table())
    fill_photons(store, TO_CM, rows, np.arange(len(rows)), len(rows))
    fill_neutral_pions(store)
    first = SPECIES.index("pi0") * CAPACITY
    n = store.size[SPECIES.index("pi0")]
    return store.value[first : first + n, 0], store.four[first : first + n]


def test_pi0_of_two_photons_has_closed_form_mass():
    energies, opening = (0.5, 0.3), 0.35
    clusters = [
        {"energy": energies[0], "theta": 1.0, "phi": 0.4},
        {"energy": energies[1], "theta": 1.0 + opening, "phi": 0.4},
    ]
    mass, four = fill_pi0(clusters)
    expected = 2 * np.sqrt(energies[0] * energies[1]) * np.sin(opening / 2)
    assert mass == pytest.approx([expected])
    assert four[0, 0] ** 2 - four[0, 1:] @ four[0, 1:] == pytest.approx(
        MASSES["pi0"] ** 2
    )


def test_pi0_of_equal_photons_has_closed_form_constrained_energy():
    opening = 0.3
    clusters = [
        {"energy": 0.46, "theta": 1.5 + sign * opening / 2, "phi": -2.0}
        for sign in (-1, 1)
    ]
    _, four = fill_pi0(clusters)
    lab = np.linalg.inv(TO_CM) @ four[0]
    # Two photons of equal energy E at the opening angle a have m = 2 E sin(a / 2).
    assert lab[0] == pytest.approx(MASSES["pi0"] / np.sin(opening / 2))


def test_pi0_matched_or_soft_clusters_are_left_out():
    direction = np.array([[0.0, 0.0, 1.0], [0.0, np.sin(0.3), np.cos(0.3)]])
    good = [photon(0.45 * d) for d in direction]
    matched = [good[0], photon(0.45 * direction[1], matched=0)]
    soft = [photon(0.04 * direction[0]), photon(5.0 * direction[1])]
    result = reconstruct(make_detected([[], [], []], [good, matched, soft]))
    assert result["n_pi0"].tolist() == [1, 0, 0]


# --- vertices ---------------------------------------------------------------------


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


def v0_event(rng, mother, kinds):
    """Return tracks of a displaced two-body decay, its vertex and four-momentum."""
    flight = rng.normal(size=3)
    flight /= np.linalg.norm(flight)
    flight[2] *= 0.3
    p = flight / np.linalg.norm(flight) * 1.2
    parent = vector.obj(px=p[0], py=p[1], pz=p[2], mass=MASSES[mother])
    vertex = p / np.hypot(p[0], p[1]) * rng.uniform(2.0, 8.0)
    daughters = two_body(rng, parent, [MASS[k] for k in kinds])
    helices = [
        helix_through(vertex, xyz(d), charge)
        for d, charge in zip(daughters, (1, -1), strict=True)
    ]
    tracks = [
        track(h[:3], h[3], kind, d0=h[4], z0=h[5])
        for h, kind in zip(helices, kinds, strict=True)
    ]
    return tracks, helices, vertex, daughters


def test_cross_of_two_helices_finds_vertex_and_momenta():
    rng = np.random.default_rng(31)
    for _ in range(8):
        _, helices, vertex, daughters = v0_event(rng, "K_S0", ("pi", "pi"))
        out = np.empty(8)
        assert cross(helices[0], helices[1], out)
        np.testing.assert_allclose(out[:3], vertex, atol=5e-3)
        assert out[3] < 5e-3
        expected = [daughters[0].px, daughters[0].py, daughters[1].px, daughters[1].py]
        np.testing.assert_allclose(out[4:], expected, atol=1e-3)


@pytest.mark.parametrize("gap", [0.1, 2.0])
@pytest.mark.parametrize("inside", [False, True])
def test_cross_of_circles_that_miss_needs_a_small_gap(gap, inside):
    # Both circles have their centre on the y axis; charge +1 turns towards -y at phi=0.
    pt = 0.2
    radius = pt / (0.299792458e-2 * 1.5)
    first = np.array([pt, 0.0, 0.1, 1.0, 0.0, 0.0])
    if inside:
        second = np.array([pt / 2, 0.0, 0.1, 1.0, gap, 0.0])
        middle = -gap / 2
    else:
        second = np.array([pt, 0.0, 0.1, -1.0, -gap, 0.0])
        middle = gap / 2
    out = np.empty(8)
    assert radius > 10 * gap
    assert cross(first, second, out) is (gap < 0.5)
    if gap < 0.5:
        np.testing.assert_allclose(out[:2], [0.0, middle], atol=1e-9)


def test_reconstruct_displaced_pairs_are_k_short_and_lambda():
    rng = np.random.default_rng(32)
    kaons = [v0_event(rng, "K_S0", ("pi", "pi"))[0] for _ in range(8)]
    lambdas = [v0_event(rng, "Lambda0", ("p", "pi"))[0] for _ in range(8)]
    result = reconstruct(make_detected(kaons + lambdas, [[]] * 16))
    assert result["n_k_short"].tolist() == [1] * 8 + [0] * 8
    assert result["n_lambda"].tolist() == [0] * 8 + [1] * 8


# --- event level ------------------------------------------------------------------


def test_reconstruct_missing_momentum_equals_vector_package():
    events = random_events(41, 20)
    result = reconstruct(detect(events))
    for i, (tracks, clusters) in enumerate(events):
        seen = vector.obj(px=0.0, py=0.0, pz=0.0, E=0.0)
        n_tracks = n_clusters = 0
        for row in tracks:
            good = abs(row["d0"]) < 0.5 and np.hypot(row["px"], row["py"]) > 0.1
            if good:
                n_tracks += 1
                seen += vector.obj(
                    px=row["px"], py=row["py"], pz=row["pz"], mass=MASS["pi"]
                )
        for row in clusters:
            if row["energy"] > 0.1:
                n_clusters += 1
                pt = row["energy"] * np.sin(row["theta"])
                seen += vector.obj(pt=pt, phi=row["phi"], theta=row["theta"], mass=0.0)
        cm = seen.boostCM_of_p4(beams())
        missing = beams() - seen
        assert (result["n_tracks"][i], result["n_clusters"][i]) == (
            n_tracks,
            n_clusters,
        )
        assert result["visible_energy"][i] == pytest.approx(cm.E, abs=1e-5)
        assert result["missing_energy"][i] == pytest.approx(CM_ENERGY - cm.E, abs=1e-5)
        assert result["missing_mass2"][i] == pytest.approx(missing.mass2, abs=1e-4)


def assert_same(first, second):
    for name in (*COUNT_COLUMNS, *VALUE_COLUMNS):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-9, atol=1e-9)


def test_reconstruct_permuted_objects_gives_the_same():
    rng = np.random.default_rng(51)
    events = random_events(52, 30, n_tracks=12, n_clusters=14)
    shuffled = [
        (
            [t[k] for k in rng.permutation(len(t))],
            [c[k] for k in rng.permutation(len(c))],
        )
        for t, c in events
    ]
    assert_same(reconstruct(detect(events)), reconstruct(detect(shuffled)))


def test_reconstruct_block_equals_events_one_by_one():
    events = [([], []), *random_events(53, 12), ([], [])]
    whole = reconstruct(detect(events))
    for i, event in enumerate(events):
        one = reconstruct(detect([event]))
        for name in (*COUNT_COLUMNS, *VALUE_COLUMNS):
            np.testing.assert_array_equal(one[name], whole[name][i : i + 1])


def test_reconstruct_no_events_and_empty_events_are_empty():
    assert len(reconstruct(detect([]))) == 0
    empty = reconstruct(detect([([], [])] * 2))
    for name in ("n_tracks", "n_clusters", "n_b0", "overflow", "b0_probability", "r2"):
        assert empty[name].tolist() == [0, 0]
    assert empty["b0_mode"].tolist() == [-1, -1]
    assert np.isnan(empty["b0_mbc"]).all()
    assert empty["missing_energy"] == pytest.approx([CM_ENERGY] * 2)


def test_reconstruct_one_track_is_counted():
    one = reconstruct(detect([([track([0.5, 0.0, 0.2], -1)], [])]))
    assert (one["n_tracks"][0], one["total_charge"][0]) == (1, -1)
    assert one["thrust"][0] == pytest.approx(1.0)


@pytest.mark.parametrize("column", ["px", "d0", "ll_k"])
def test_reconstruct_not_a_number_is_refused_with_its_event(column):
    events = random_events(54, 3, n_tracks=5)
    events[2][0][1][column] = np.nan
    with pytest.raises(InputError, match=r"track rows: expected finite.*event 2"):
        reconstruct(detect(events))


@pytest.mark.parametrize(
    ("n_tracks", "n_clusters", "bits"),
    [(62, 0, 0), (63, 0, Overflow.TRACKS), (0, 62, 0), (0, 63, Overflow.PHOTONS)],
)
def test_reconstruct_more_objects_than_bits_is_flagged(
    n_tracks, n_clusters, bits, caplog
):
    rng = np.random.default_rng(61)
    tracks = [track(rng.normal(size=3), 1, "mu") for _ in range(n_tracks)]
    clusters = [photon([0.06, 0.0, 0.06])] * n_clusters
    result = reconstruct(detect([(tracks, clusters)]))
    assert result["overflow"][0] == bits
    assert ("overflow" in caplog.text) is bool(bits)


def test_reconstruct_full_list_is_flagged_and_keeps_the_best():
    """Candidates are built from the most energetic photons first: the good pair of
    soft photons comes last and must push out a worse one."""
    rng = np.random.default_rng(62)
    angle = 2 * np.arcsin(MASSES["pi0"] / 2 / 0.16)
    clusters = [
        {
            "energy": 0.2 + 0.001 * rng.random(),
            "theta": 1.0 + k,
            "phi": 0.0,
            "track": -1,
        }
        for k in [0.0] * 30 + [0.62] * 30
    ]
    clusters += [
        {"energy": 0.16, "theta": 2.6 + k * angle / 2, "phi": 1.0, "track": -1}
        for k in (-1, 1)
    ]
    rows = np.array([[c["energy"], c["theta"], c["phi"], -1.0] for c in clusters])
    order = np.argsort(-rows[:, 0], kind="stable")
    store = make_store(default_mode_table())
    fill_photons(store, TO_CM, rows, order, len(rows))
    fill_neutral_pions(store)
    pi0 = SPECIES.index("pi0")
    assert store.found[pi0] > CAPACITY == store.size[pi0]
    assert store.overflow[0] == Overflow.CANDIDATES
    quality = store.quality[pi0 * CAPACITY : (pi0 + 1) * CAPACITY]
    assert quality.max() == pytest.approx(0.0, abs=1e-9)


def test_reconstruct_inconsistent_tables_are_refused():
    good = detect([([], []), ([], [])])
    with pytest.raises(InputError, match="expected 2 events"):
        reconstruct(Detected(good.tracks, detect([([], [])]).clusters))
    columns = {k: v for k, v in good.tracks.columns.items() if k != "ll_k"}
    with pytest.raises(InputError, match="missing ll_k"):
        reconstruct(Detected(Table(good.tracks.offsets, columns), good.clusters))


def test_event_variables_are_all_columns_as_float32():
    result = reconstruct(detect(random_events(71, 5)))
    variables = event_variables(result)
    assert set(variables) == {*COUNT_COLUMNS, *VALUE_COLUMNS}
    assert all(v.dtype == np.float32 and v.shape == (5,) for v in variables.values())
    np.testing.assert_allclose(variables["r2"], result["r2"], rtol=1e-6)


def test_fastest_lepton_and_photon_equal_a_plain_loop():
    events = [([], []), *random_events(72, 20)]
    result = reconstruct(detect(events))
    for i, (tracks, clusters) in enumerate(events):
        momenta = [0.0]
        for row in tracks:
            p = np.array([row["px"], row["py"], row["pz"]])
            for kind, least in (("e", 0.3), ("mu", 0.6)):
                if row[PID[kind]] == 0.0 and abs(row["d0"]) < 0.5:
                    four = vector.obj(px=p[0], py=p[1], pz=p[2], mass=MASS[kind])
                    if np.linalg.norm(p) > least:
                        momenta.append(four.boostCM_of_p4(beams()).mag)
        energies = [0.0]
        for row in clusters:
            four = vector.obj(
                pt=row["energy"] * np.sin(row["theta"]),
                phi=row["phi"],
                theta=row["theta"],
                mass=0.0,
            )
            if row["energy"] > 0.05:
                energies.append(four.boostCM_of_p4(beams()).E)
        assert result["lepton_momentum"][i] == pytest.approx(max(momenta), abs=1e-5)
        assert result["photon_energy"][i] == pytest.approx(max(energies), abs=1e-5)


def test_best_candidate_odds_are_divided_by_the_number_of_candidates():
    """A second, bad pion adds candidates of the same mode and no better one."""
    tracks, clusters = perfect_event(np.random.default_rng(73))
    mode = build_mode_table(
        [m for m in MODES if m.decay in ("D+ -> K- pi+ pi+", "B0 -> D- pi+")]
    )
    bad = dict(tracks[2])
    bad["px"] *= 1.01
    bad["ll_k"] = -1.0
    both = reconstruct(
        detect([(tracks, clusters), ([*tracks, bad], clusters)]), modes=mode
    )
    p, n = both["b0_probability"], both["n_b0"]
    odds = p / (1.0 - p)
    assert n[0] >= 1
    assert n[1] > n[0]
    assert odds[1] == pytest.approx(odds[0] * n[0] / n[1], rel=1e-6)
