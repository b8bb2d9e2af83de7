from __future__ import annotations

import math
import sys
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from particle import PDGID

from smartfilter.errors import MissingPackageError
from smartfilter.events import Events

pythia8mc = pytest.importorskip("pythia8mc")
decaylanguage = pytest.importorskip("decaylanguage")
pytest.importorskip("numba")

from smartfilter.pipeline.decay_channels import ParticleDecays, apply_decay_table
from smartfilter.pipeline.decay_table import (
    load_belle2_table,
    summarise_decay_table,
)
from smartfilter.pipeline.generator import Generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_EVENTS = 1500


@cache
def decays_of(pdg: int) -> ParticleDecays:
    return next(d for d in load_belle2_table() if d.pdg == pdg)


@cache
def sample(event_type: str) -> Events:
    return Generator(event_type, seed=6, decay_table="belle2").generate(N_EVENTS)


def listed_sum(name: str) -> float:
    """Sum of the branching fractions of a block, read from the text of the file."""
    text = (resources.files(decaylanguage.data) / "DECAY_BELLE2.DEC").read_text()
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    start = lines.index(["Decay", name])
    total = 0.0
    for words in lines[start + 1 :]:
        if words == ["Enddecay"]:
            break
        if words and words[0][0].isdigit():
            total += float(words[0])
    return total


def daughter_sets(event_type: str, pdg: int) -> list[tuple[int, ...]]:
    """Sorted daughters of each such particle without radiated photons, plain loop."""
    events = sample(event_type)
    found = []
    for begin, end in pairwise(events.offsets.tolist()):
        codes = events["pdg"][begin:end].tolist()
        mothers = events["mother_index"][begin:end].tolist()
        photos = (events["status"][begin:end] & 256).tolist()
        below: dict[int, list[int]] = {i: [] for i, c in enumerate(codes) if c == pdg}
        for code, mother, radiated in zip(codes, mothers, photos, strict=True):
            if mother in below and not radiated:
                below[mother].append(code)
        found += [tuple(sorted(codes)) for codes in below.values()]
    return found


@pytest.mark.parametrize(
    ("pdg", "name", "conjugate"),
    [
        (511, "B0", "anti-B0"),
        (521, "B+", "B-"),
        (421, "D0", "anti-D0"),
        (443, "J/psi", None),
        (4132, "Xi_c0", None),
        (111, "pi0", None),
    ],
)
def test_table_fractions_add_up_to_those_of_the_file(
    pdg: int, name: str, conjugate: str | None
) -> None:
    decays = decays_of(pdg)
    own = sum(c.branching_fraction for c in decays.channels if c.on_mode != 3)
    total = own + decays.inherited + decays.unmapped
    assert total == pytest.approx(listed_sum(name), abs=1e-9)
    if conjugate is not None:
        other = sum(c.branching_fraction for c in decays.channels if c.on_mode != 2)
        assert other == pytest.approx(listed_sum(conjugate), abs=1e-4)


def test_table_channels_conserve_charge() -> None:
    known = pythia8mc.Pythia("", False).particleData
    for decays in load_belle2_table():
        for channel in decays.channels:
            charges = [
                known.chargeType(code)
                if known.isParticle(code)
                else PDGID(code).three_charge
                for code in channel.products
                if abs(code) != 82
            ]
            assert sum(charges) == PDGID(decays.pdg).three_charge, channel


def test_table_lists_each_particle_once_and_no_lepton_or_other_b() -> None:
    codes = [decays.pdg for decays in load_belle2_table()]
    assert len(codes) == len(set(codes))
    assert min(codes) > 100
    assert [c for c in codes if PDGID(c).has_bottom] == [511, 521]


def test_summary_shares_are_complete_and_little_is_lost() -> None:
    rows = summarise_decay_table(load_belle2_table())
    assert len(rows) == len(load_belle2_table())
    for row in rows:
        shares = (row.exact, row.approximate, row.phase_space, row.unmapped)
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0
        # Worst: one J/psi channel with nine products.
        assert row.unmapped < 0.01
    b_zero = next(row for row in rows if row.pdg == 511)
    # Semileptonic: 10.33 % for e and mu each, 2.5 % for tau, b -> u, b -> s gamma.
    assert 0.2 < b_zero.approximate < 0.25
    assert b_zero.unmapped < 1e-4


def test_table_orders_leptons_as_pythia_expects() -> None:
    """Neutrino first for b (and s), charged lepton first for charm."""
    for pdg, first in ((511, {12, 14, 16}), (421, {11, 13})):
        weak = [c for c in decays_of(pdg).channels if c.matrix_element == 22]
        assert weak
        assert {abs(c.products[0]) for c in weak} <= first
    dalitz = [c for c in decays_of(111).channels if c.matrix_element == 11]
    assert [c.products[0] for c in dalitz] == [22]


def test_apply_defines_particles_that_pythia_lacks() -> None:
    pythia = pythia8mc.Pythia("", False)
    data = pythia.particleData
    assert not data.isParticle(3124)
    apply_decay_table(pythia, load_belle2_table())
    assert data.m0(3124) == pytest.approx(1.519, abs=0.003)
    assert data.hasAnti(3124)
    assert data.chargeType(104122) == 3
    # D_0(2550)+ and chi_c1(3872) from our own list.
    assert data.m0(100411) == pytest.approx(2.549, abs=0.001)
    assert not data.hasAnti(9120443)


def test_apply_nothing_leaves_pythia_alone() -> None:
    pythia = pythia8mc.Pythia("", False)
    before = pythia.particleData.findParticle(511).sizeChannels()
    apply_decay_table(pythia, ())
    assert pythia.particleData.findParticle(511).sizeChannels() == before


@pytest.mark.parametrize(
    ("event_type", "pdg", "daughters", "fraction"),
    [
        # Fractions as printed in the file.
        ("mixed", 413, (211, 421), 0.677),
        ("mixed", -413, (-411, 111), 0.307),
        ("charged", 423, (111, 421), 0.647),
        ("mixed", 310, (-211, 211), 0.691321852),
        ("charged", 111, (22, 22), 0.988228297),
        ("mixed", 411, (-321, 211, 211), None),
        ("mixed", 511, (-413, -11, 12), 0.0511),
        ("charged", -521, (-12, 11, 423), None),
    ],
)
def test_generated_decays_have_the_fractions_of_the_table(
    event_type: str, pdg: int, daughters: tuple[int, ...], fraction: float | None
) -> None:
    wanted = tuple(sorted(daughters))
    expected = listed_fraction(pdg, wanted) if fraction is None else fraction
    found = daughter_sets(event_type, pdg)
    share = found.count(wanted) / len(found)
    error = math.sqrt(expected * (1 - expected) / len(found))
    assert share == pytest.approx(expected, abs=4.5 * error)


def listed_fraction(pdg: int, daughters: tuple[int, ...]) -> float:
    """Sum of the channels of a particle (or antiparticle) with these daughters."""
    sign = 1 if pdg > 0 else -1
    neutral = {111, 22}
    wanted = tuple(sorted(d if d in neutral else sign * d for d in daughters))
    return sum(
        c.branching_fraction
        for c in decays_of(abs(pdg)).channels
        if tuple(sorted(c.products)) == wanted
        and c.on_mode in (1, 2 if sign > 0 else 3)
    )


@pytest.mark.parametrize("event_type", ["mixed", "charged"])
def test_generated_decays_conserve_momentum_and_charge(event_type: str) -> None:
    events = sample(event_type)
    starts = np.repeat(events.offsets[:-1], events.counts)
    has_mother = events["mother_index"] >= 0
    mother = (events["mother_index"] + starts)[has_mother]
    decayed = np.bincount(mother, minlength=events.n_particles) > 0
    columns: dict[str, NDArray[np.float64]] = {
        name: events[name].astype(float) for name in ("energy", "px", "py", "pz")
    }
    codes, inverse = np.unique(events["pdg"], return_inverse=True)
    charges = np.array([PDGID(c).charge for c in codes], dtype=float)
    columns["charge"] = charges[inverse]
    for name, column in columns.items():
        total = np.bincount(mother, column[has_mother], minlength=events.n_particles)
        assert np.abs(total - column)[decayed].max() < 5e-6, name


@pytest.mark.parametrize("event_type", ["mixed", "charged"])
def test_generated_decays_leave_only_stable_particles(event_type: str) -> None:
    events = sample(event_type)
    stable = (events["status"] & 2) != 0
    expected = {11, 12, 13, 14, 16, 22, 211, 321, 2112, 2212}
    assert set(np.abs(events["pdg"][stable])) == expected


def test_load_without_decaylanguage_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "decaylanguage", None)
    load_belle2_table.cache_clear()
    with pytest.raises(MissingPackageError, match=r"smartfilter\[pipeline\]"):
        load_belle2_table()
