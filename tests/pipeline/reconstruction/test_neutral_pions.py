"""Neutral pions against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from smartfilter.pipeline.candidates import CAPACITY, Overflow, make_store
from smartfilter.pipeline.decay_modes import MASSES, SPECIES, default_mode_table
from smartfilter.pipeline.event_shape import TO_CM
from smartfilter.pipeline.final_states import fill_neutral_pions, fill_photons
from smartfilter.pipeline.reconstruction import reconstruct


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


def test_pi0_matched_or_soft_clusters_are_left_out(make_detected, photon):
    direction = np.array([[0.0, 0.0, 1.0], [0.0, np.sin(0.3), np.cos(0.3)]])
    good = [photon(0.45 * d) for d in direction]
    matched = [good[0], photon(0.45 * direction[1], matched=0)]
    soft = [photon(0.04 * direction[0]), photon(5.0 * direction[1])]
    result = reconstruct(make_detected([[], [], []], [good, matched, soft]))
    assert result["n_pi0"].tolist() == [1, 0, 0]


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
