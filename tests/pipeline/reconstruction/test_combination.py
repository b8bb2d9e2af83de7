"""Candidates of decays against perfect events and brute force enumeration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import vector

from smartfilter.errors import UsageError
from smartfilter.pipeline.decay_modes import (
    MASSES,
    MODES,
    Mode,
    Window,
    build_mode_table,
    default_mode_table,
)
from smartfilter.pipeline.reconstruction import reconstruct

MASS = {"e": 0.000511, "mu": 0.105658, "pi": 0.13957, "K": 0.493677, "p": 0.938272}


@pytest.mark.parametrize("decay", ["D-", "D*-"])
def test_reconstruct_perfect_b0_has_mbc_of_the_b_and_no_delta_e(
    decay, detect, perfect_event
):
    rng = np.random.default_rng(11)
    result = reconstruct(detect([perfect_event(rng, decay) for _ in range(20)]))
    assert (result["n_b0"] > 0).all()
    np.testing.assert_allclose(result["b0_mbc"], MASSES["B0"], atol=3e-4)
    np.testing.assert_allclose(result["b0_delta_e"], 0.0, atol=3e-4)
    assert (result["b0_probability"] > 0.3).all()
    assert (result["n_d"] >= 1).all()
    assert (result["n_dstar"] >= (decay == "D*-")).all()


def test_reconstruct_perfect_b0_missing_a_track_is_not_found_as_good(
    detect, perfect_event
):
    rng = np.random.default_rng(12)
    tracks, clusters = perfect_event(rng)
    whole = reconstruct(detect([(tracks, clusters)]))["b0_probability"][0]
    for k in range(4):
        part = reconstruct(detect([(tracks[:k] + tracks[k + 1 :], clusters)]))
        assert part["b0_probability"][0] < 0.1 * whole


def test_reconstruct_perfect_bplus_is_not_a_good_b0(
    track, detect, two_body, xyz, beams
):
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


def test_reconstruct_counts_equal_brute_force_enumeration(
    track, photon, detect, two_body, xyz, brute_force
):
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


def test_mode_table_holds_every_conjugate_once(swap_charge):
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


def test_best_candidate_odds_are_divided_by_the_number_of_candidates(
    detect, perfect_event
):
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
