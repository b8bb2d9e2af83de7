"""Skims: cuts against a plain loop on hand-made columns, names and codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smartfilter.errors import UsageError
from smartfilter.pipeline import skims
from smartfilter.pipeline.reconstruction import (
    COUNT_COLUMNS,
    VALUE_COLUMNS,
    Reconstructed,
)
from smartfilter.pipeline.skims import SKIMS, apply_skims, get_skim

GOOD = {
    "n_tracks": 8,
    "n_clusters": 6,
    "visible_energy": 8.0,
    "r2": 0.1,
    "thrust": 0.75,
    "b0_probability": 0.5,
    "bplus_probability": 0.5,
}


def make(*changes):
    """Return one good event per dict of changed columns."""
    names = (*COUNT_COLUMNS, *VALUE_COLUMNS)
    return Reconstructed(
        {name: np.array([(GOOD | c).get(name, 0) for c in changes]) for name in names}
    )


def passes(name, *changes):
    return apply_skims(make(*changes))[name].tolist()


def test_apply_skims_returns_bool_columns_for_all_skims():
    labels = apply_skims(make({}, {}, {}))
    assert list(labels) == [skim.name for skim in SKIMS]
    assert all(v.dtype == np.bool_ and v.shape == (3,) for v in labels.values())


def test_apply_skims_no_events_is_empty():
    assert all(v.shape == (0,) for v in apply_skims(make()).values())


def test_skims_have_unique_names_and_eight_digit_codes_in_order():
    codes = [skim.code for skim in SKIMS]
    assert len({skim.name for skim in SKIMS}) == len(SKIMS)
    assert codes == sorted(set(codes))
    assert all(len(code) == 8 and code.isdigit() for code in codes)
    assert get_skim("feiHadronicB0").code == "11180100"
    assert get_skim("feiHadronicBplus").code == "11180200"


def test_get_skim_unknown_name_is_refused_with_the_known_ones():
    assert get_skim("BtoPi0Pi0").code == "19120100"
    with pytest.raises(UsageError, match=r"feiHadronicB0.*got 'nope'"):
        get_skim("nope")


@pytest.mark.parametrize(
    ("name", "column", "limit"),
    [
        ("feiHadronicB0", "b0_probability", skims.B0_PROBABILITY_MIN),
        ("feiHadronicBplus", "bplus_probability", skims.BPLUS_PROBABILITY_MIN),
    ],
)
def test_fei_skims_need_a_clean_event_and_a_good_candidate(name, column, limit):
    changes = [
        {},
        {"n_tracks": 2},
        {"n_clusters": 2},
        {"visible_energy": 4.0},
        {"r2": 0.4},
        {column: limit},
        {column: limit * 1.001},
    ]
    assert passes(name, *changes) == [True, *[False] * 5, True]


def test_fei_hadronic_is_either_of_the_two():
    low = {"b0_probability": 0.0}, {"bplus_probability": 0.0}
    assert passes("feiHadronic", {}, *low, low[0] | low[1]) == [True, True, True, False]


def test_tau_skim_equals_plain_loop():
    rng = np.random.default_rng(1)
    changes: list[dict[str, Any]] = [
        {
            "n_tracks": rng.integers(0, 9),
            "total_charge": rng.integers(-3, 4),
            "thrust": rng.uniform(0.7, 1.0),
            "visible_energy": rng.uniform(5.0, 11.0),
        }
        for _ in range(300)
    ]
    expected = [
        2 <= c["n_tracks"] <= 6
        and abs(c["total_charge"]) <= 1
        and c["thrust"] > 0.85
        and c["visible_energy"] < 10.0
        for c in changes
    ]
    assert 10 < sum(expected) < 290
    assert passes("TauGeneric", *changes) == expected


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("InclusiveLambda", "n_lambda"),
        ("CharmoniumPsi", "n_jpsi"),
        ("DstToD0Pi_D0ToHpJm", "n_dstar_hh"),
        ("BtoPi0Pi0", "n_b0_pi0pi0"),
    ],
)
def test_candidate_skims_need_a_candidate(name, column):
    assert passes(name, {column: 0}, {column: 1}, {column: 7}) == [False, True, True]


@pytest.mark.parametrize(
    ("name", "column", "limit"),
    [
        ("SLUntagged", "lepton_momentum", skims.LEPTON_MOMENTUM_MIN),
        ("BtoXgamma", "photon_energy", skims.PHOTON_ENERGY_CM_MIN),
    ],
)
def test_single_particle_skims_need_a_clean_event_and_a_fast_particle(
    name, column, limit
):
    fast = {column: limit + 0.01}
    changes = [fast, fast | {"r2": 0.4}, fast | {"n_tracks": 2}, {column: limit}, {}]
    assert passes(name, *changes) == [True, False, False, False, False]
