from __future__ import annotations

import math
import sys
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from particle import PDGID

from smartfilter.errors import InputError, MissingPackageError, UsageError
from smartfilter.event_type import infer_event_type
from smartfilter.events import EVENT_TYPES, Events, StatusBit
from smartfilter.graphs import prepare
from smartfilter.pipeline.beams import CROSSING_HALF_ANGLE, ENERGY

pytest.importorskip("pythia8mc")
pytest.importorskip("numba")

from smartfilter.pipeline.generator import Generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_EVENTS = 1500
B_TYPES = ("mixed", "charged")
CONTINUUM = tuple(name for name in EVENT_TYPES if name not in B_TYPES)
STABLE_CODES = {11, 12, 13, 14, 16, 22, 211, 321, 2112, 2212}


@cache
def sample(event_type: str) -> Events:
    return Generator(event_type, seed=20).generate(
        N_EVENTS if event_type in B_TYPES else 300
    )


@cache
def mother_row(event_type: str) -> NDArray[np.int64]:
    events = sample(event_type)
    starts = np.repeat(events.offsets[:-1], events.counts)
    mother = events["mother_index"].astype(np.int64)
    return np.where(mother >= 0, mother + starts, -1)


def is_parton(pdg: NDArray[np.int64]) -> NDArray[np.bool_]:
    code = np.abs(pdg)
    diquark = (code > 1000) & (code < 10000) & ((code // 10) % 10 == 0)
    return np.asarray((code <= 9) | (code == 21) | diquark)


def daughters_of(rows: NDArray[np.int64], event_type: str) -> NDArray[np.int64]:
    """First daughter of each row, -1 without."""
    mother = mother_row(event_type)
    first = np.full(len(mother), -1)
    child = np.flatnonzero(mother >= 0)[::-1]
    first[mother[child]] = child
    return first[rows]


def proper_lengths(pdg: int) -> NDArray[np.float64]:
    """c times the proper decay time of each such particle, cm."""
    lengths = []
    for event_type in B_TYPES:
        events = sample(event_type)
        rows = np.flatnonzero(np.abs(events["pdg"]) == pdg)
        child = daughters_of(rows, event_type)
        step = sum(
            np.square(events[c][child].astype(float) - events[c][rows]) for c in "xyz"
        )
        momentum = sum(
            np.square(events[c][rows].astype(float)) for c in ("px", "py", "pz")
        )
        lengths.append(np.sqrt(step / momentum) * events["mass"][rows])
    return np.concatenate(lengths)


def per_b(codes: tuple[int, ...], *, below_b: bool = False) -> tuple[float, float]:
    """Mean number per B meson, and its statistical error."""
    counts = []
    for event_type in B_TYPES:
        events = sample(event_type)
        chosen = np.isin(np.abs(events["pdg"]), codes)
        if below_b:
            mother = mother_row(event_type)
            code = np.abs(events["pdg"])
            chosen &= (mother >= 0) & np.isin(code[mother], (511, 521))
        counts.append(np.bincount(events.event_index[chosen], minlength=len(events)))
    joined = np.concatenate(counts) / 2
    return float(joined.mean()), float(joined.std() / math.sqrt(len(joined)))


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_generate_each_type_gives_a_valid_breadth_first_tree(event_type: str) -> None:
    events = sample(event_type)
    assert set(np.unique(events.event_type)) == {EVENT_TYPES.index(event_type)}
    for k in range(0, len(events), 50):
        part = slice(events.offsets[k], events.offsets[k + 1])
        mother = events["mother_index"][part].tolist()
        assert events["array_index"][part].tolist() == list(range(len(mother)))
        assert all(m < i for i, m in enumerate(mother))
        # Breadth first: mothers in order, so that sisters are contiguous.
        below = [m for m in mother if m >= 0]
        assert below == sorted(below)
        n_roots = mother.count(-1)
        assert mother[:n_roots] == [-1] * n_roots


@pytest.mark.parametrize("event_type", B_TYPES)
def test_generate_b_events_have_the_upsilon_as_only_root(event_type: str) -> None:
    events = sample(event_type)
    roots = np.flatnonzero(events["mother_index"] == -1)
    np.testing.assert_array_equal(roots, events.offsets[:-1])
    assert set(events["pdg"][roots]) == {300553}
    b_rows = np.flatnonzero(events["mother_index"] == 0)
    flavour = {"mixed": 511, "charged": 521}[event_type]
    assert set(np.abs(events["pdg"][b_rows])) == {flavour}
    assert len(b_rows) == 2 * len(events)
    assert not is_parton(events["pdg"]).any()


@pytest.mark.parametrize("event_type", CONTINUUM)
def test_generate_continuum_has_beams_and_virtual_photon_as_roots(
    event_type: str,
) -> None:
    events = sample(event_type)
    roots = np.flatnonzero(events["mother_index"] == -1)
    assert events["pdg"][roots].reshape(-1, 3).tolist() == [[11, -11, 23]] * len(events)
    assert events["status"][roots].reshape(-1, 3).tolist() == [[35, 35, 17]] * len(
        events
    )
    pair = np.flatnonzero((events["mother_index"] == 2) & (events["pdg"] != 22))
    code = {"ddbar": 1, "uubar": 2, "ssbar": 3, "ccbar": 4, "taupair": 15}[event_type]
    assert set(np.abs(events["pdg"][pair])) == {code}
    assert len(pair) == 2 * len(events)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_generate_conserves_charge_energy_and_momentum_at_each_decay(
    event_type: str,
) -> None:
    events = sample(event_type)
    mother = mother_row(event_type)
    has_mother = mother >= 0
    # Strings hang on one of their partons: no balance there. Photons from the initial
    # state hang on an electron that carries the energy before radiation.
    n_daughters = np.bincount(mother[has_mother], minlength=events.n_particles)
    initial = (events["status"] & StatusBit.INITIAL) != 0
    decays = (n_daughters > 0) & ~is_parton(events["pdg"]) & ~initial
    codes, inverse = np.unique(events["pdg"], return_inverse=True)
    charge = np.array([PDGID(c).charge for c in codes], dtype=float)[inverse]
    columns = {
        name: events[name].astype(float) for name in ("energy", "px", "py", "pz")
    }
    for name, column in {**columns, "charge": charge}.items():
        total = np.bincount(
            mother[has_mother], column[has_mother], minlength=events.n_particles
        )
        assert np.abs(total - column)[decays].max() < 5e-6, name


@pytest.mark.parametrize("event_type", CONTINUUM)
def test_generate_continuum_balances_beams_against_photon_and_radiation(
    event_type: str,
) -> None:
    events = sample(event_type)
    isr = (events["status"] & StatusBit.ISR_PHOTON) != 0
    initial = (events["status"] & StatusBit.INITIAL) != 0
    virtual = (events["status"] & StatusBit.VIRTUAL) != 0
    assert set(events["pdg"][isr]) == {22}
    assert set(events["mother_index"][isr]) == {0}
    for name in ("energy", "px", "py", "pz"):
        sign = initial.astype(float) - virtual - isr
        balance = np.bincount(events.event_index, sign * events[name])
        assert np.abs(balance).max() < 1e-4


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_generate_leaves_only_the_stable_particles_of_evtgen(event_type: str) -> None:
    events = sample(event_type)
    stable = (events["status"] & StatusBit.STABLE_IN_GENERATOR) != 0
    has_daughters = np.zeros(events.n_particles, dtype=bool)
    mother = mother_row(event_type)
    has_daughters[mother[mother >= 0]] = True
    initial = (events["status"] & StatusBit.INITIAL) != 0
    assert set(np.abs(events["pdg"][stable])) <= STABLE_CODES
    assert not (stable & has_daughters & ~initial).any()
    ends = ~has_daughters & ~is_parton(events["pdg"])
    assert stable[ends].all()
    assert (events["status"] & StatusBit.PRIMARY).all()


def test_generate_neutral_kaon_is_listed_before_its_mass_eigenstate() -> None:
    events, mother = sample("mixed"), mother_row("mixed")
    code = np.abs(events["pdg"])
    rows = np.flatnonzero(code == 311)
    child = daughters_of(rows, "mixed")
    assert set(code[child]) == {130, 310}
    for name in ("x", "y", "z", "prod_time", "energy", "px"):
        np.testing.assert_array_equal(events[name][child], events[name][rows])
    assert np.bincount(mother[mother >= 0])[rows].tolist() == [1] * len(rows)


def test_generate_upsilon_kinematics_match_the_beams() -> None:
    events = Generator("mixed", seed=1, smear_beams=False).generate(20)
    total = sum(ENERGY)
    px = total * math.sin(CROSSING_HALF_ANGLE)
    pz = (ENERGY[0] - ENERGY[1]) * math.cos(CROSSING_HALF_ANGLE)
    root = events.offsets[:-1]
    np.testing.assert_allclose(events["energy"][root], total, atol=1e-5)
    np.testing.assert_allclose(events["px"][root], px, atol=1e-5)
    np.testing.assert_allclose(events["pz"][root], pz, atol=1e-5)
    np.testing.assert_allclose(events["mass"][root], 10.5796, atol=1e-4)
    for name in ("x", "y", "z", "prod_time"):
        assert not events[name][root].any()


def test_generate_smeared_beams_have_published_widths() -> None:
    events = sample("mixed")
    root = events.offsets[:-1]
    # Quadratic sum of both energy spreads; 42 nm vertically from two 59 nm bunches.
    expected = {"energy": math.hypot(5.13e-3, 2.375e-3), "y": 59e-7 / math.sqrt(2)}
    for name, width in expected.items():
        assert events[name][root].std() == pytest.approx(width, rel=0.08)
    assert 120e-4 < events["z"][root].std() < 180e-4


def test_generate_b_direction_follows_sine_squared() -> None:
    """In the centre of mass, about the electron: <cos^2> = 1/5."""
    events = Generator("charged", seed=3, smear_beams=False, radiation=False).generate(
        1500
    )
    p4 = np.stack(
        [events[c].astype(float) for c in ("energy", "px", "py", "pz")], axis=1
    )
    total = p4[events.offsets[:-1]][0]
    b = p4[events["pdg"] == 521]
    electron = ENERGY[0] * np.array(
        [1, math.sin(CROSSING_HALF_ANGLE), 0, math.cos(CROSSING_HALF_ANGLE)]
    )
    metric = np.array([1, -1, -1, -1])
    mass2 = total @ (metric * total)
    # cos of the angle in the rest frame of `total`, from invariants.
    energy = (b @ (metric * total)) / math.sqrt(mass2)
    e_energy = electron @ (metric * total) / math.sqrt(mass2)
    momentum = np.sqrt(np.square(energy) - 5.27941**2)
    cosine = (energy * e_energy - b @ (metric * electron)) / (momentum * e_energy)
    spread = math.sqrt((3 / 35 - 1 / 25) / len(b))
    assert np.square(cosine).mean() == pytest.approx(0.2, abs=4 * spread)
    assert cosine.mean() == pytest.approx(0, abs=4 * math.sqrt(0.2 / len(b)))


def test_generate_mixed_pairs_have_equal_flavour_as_often_as_measured() -> None:
    """chi_d = 0.1858 +- 0.0011 (PDG 2024) for a coherent pair."""
    events = sample("mixed")
    pairs = events["pdg"][events["mother_index"] == 0].reshape(-1, 2)
    share = (pairs[:, 0] == pairs[:, 1]).mean()
    assert share == pytest.approx(0.1858, abs=4 * math.sqrt(0.15 / len(pairs)))


@pytest.mark.parametrize("event_type", B_TYPES)
def test_generate_semileptonic_b_decays_agree_with_the_flavour(event_type: str) -> None:
    """b -> c l- anti-nu: an anti-B (listed flavour at decay) gives a negative lepton."""
    events, mother = sample(event_type), mother_row(event_type)
    lepton = np.isin(np.abs(events["pdg"]), (11, 13)) & (mother >= 0)
    pdg = events["pdg"]
    lepton[lepton] = np.isin(np.abs(pdg[mother[lepton]]), (511, 521))
    rows = np.flatnonzero(lepton)
    # Dileptons (B -> K l l) have both signs below one mother.
    single = np.bincount(mother[rows])[mother[rows]] == 1
    rows = rows[single]
    assert len(rows) > 100
    np.testing.assert_array_equal(np.sign(pdg[rows]), -np.sign(pdg[mother[rows]]))


@pytest.mark.parametrize(
    ("pdg", "length"),
    [(310, 2.6844), (3122, 7.89), (130, 1534.0), (511, 0.04548), (521, 0.04911)],
)
def test_generate_decay_lengths_are_exponential(pdg: int, length: float) -> None:
    """c tau of PDG 2024 in cm; mean and median of an exponential."""
    lengths = proper_lengths(pdg)
    error = length / math.sqrt(len(lengths))
    assert lengths.mean() == pytest.approx(length, abs=4 * error)
    median = length * math.log(2)
    assert np.median(lengths) == pytest.approx(median, abs=4 * error)


def test_generate_daughters_are_made_where_and_when_the_mother_decays() -> None:
    """A straight flight at the mother's velocity: step = c t p / E."""
    events = sample("charged")
    rows = np.flatnonzero(np.abs(events["pdg"]) == 310)
    child = daughters_of(rows, "charged")
    elapsed = events["prod_time"][child].astype(float) - events["prod_time"][rows]
    for position, momentum in (("x", "px"), ("y", "py"), ("z", "pz")):
        step = events[position][child].astype(float) - events[position][rows]
        flight = 29.9792458 * elapsed * events[momentum][rows] / events["energy"][rows]
        np.testing.assert_allclose(step, flight, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("codes", "below_b", "literature", "tolerance"),
    [
        # PDG 2024, admixture of B+ and B0; tolerance: relative, for DECAY_BELLE2.DEC.
        ((11,), True, 0.1084, 0.08),
        ((13,), True, 0.1084, 0.08),
        ((443,), False, 0.01094, 0.35),
        ((421,), False, 0.624, 0.25),
        ((413,), False, 0.225, 0.40),
        ((310,), False, 0.32, 0.30),
        ((321,), False, 0.789, 0.15),
        ((333,), False, 0.0343, 0.15),
        ((221,), False, 0.176, 0.15),
        ((111,), False, 2.35, 0.20),
        ((3122,), False, 0.040, 0.30),
        ((2212,), False, 0.080, 0.35),
    ],
)
def test_generate_inclusive_rates_are_near_the_measured_ones(
    codes: tuple[int, ...], below_b: bool, literature: float, tolerance: float
) -> None:
    rate, error = per_b(codes, below_b=below_b)
    assert rate == pytest.approx(literature, abs=3 * error + tolerance * literature)


def test_generate_charged_multiplicity_is_near_the_measured_one() -> None:
    """10.71 +0.21 -0.15 tracks per Y(4S) (CLEO, Phys. Rev. D 61, 072002)."""
    counts = []
    for event_type in B_TYPES:
        events = sample(event_type)
        charged = np.isin(np.abs(events["pdg"]), (11, 13, 211, 321, 2212))
        charged &= np.hypot(events["x"], events["y"]) < 50
        counts.append(np.bincount(events.event_index[charged], minlength=len(events)))
    assert np.concatenate(counts).mean() == pytest.approx(10.71, abs=0.8)


def test_generate_decays_radiate_photons_with_the_photos_bit() -> None:
    """basf2 test files: 38 photons above 1 MeV in 130 events."""
    events = sample("mixed")
    photos = (events["status"] & StatusBit.PHOTOS_PHOTON) != 0
    assert set(events["pdg"][photos]) == {22}
    hard = (photos & (events["energy"] > 1e-3)).sum() / len(events)
    assert hard == pytest.approx(38 / 130, abs=4 * math.sqrt(38) / 130)
    silent = Generator("mixed", seed=20, radiation=False).generate(100)
    assert not (silent["status"] & StatusBit.PHOTOS_PHOTON).any()


def test_generate_quarks_radiate_photons_with_the_fsr_bit() -> None:
    events = Generator("uubar", seed=2).generate(1000)
    fsr = (events["status"] & StatusBit.FSR_PHOTON) != 0
    assert fsr.any()
    mother = np.repeat(events.offsets[:-1], events.counts) + events["mother_index"]
    assert is_parton(events["pdg"][mother[fsr]]).all()


@pytest.mark.parametrize("event_type", ["mixed", "uubar"])
def test_generate_split_calls_give_the_same_events(event_type: str) -> None:
    whole = Generator(event_type, seed=8).generate(100)
    generator = Generator(event_type, seed=8)
    parts = [generator.generate(n) for n in (30, 0, 70)]
    assert [len(part) for part in parts] == [30, 0, 70]
    for name in whole.particles:
        joined = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(whole[name], joined)
    joined = np.concatenate([part.event for part in parts])
    np.testing.assert_array_equal(whole.event, joined)


def test_generate_long_run_gives_the_same_events_as_short_ones() -> None:
    """Across the boundary of internal batches and blocks."""
    whole = Generator("charged", seed=4, radiation=False).generate(2100)
    generator = Generator("charged", seed=4, radiation=False)
    parts = [generator.generate(n) for n in (1023, 2, 1075)]
    joined = np.concatenate([part["energy"] for part in parts])
    np.testing.assert_array_equal(whole["energy"], joined)


def test_generate_other_seed_or_type_gives_other_events() -> None:
    runs = [
        Generator(name, seed=seed, smear_beams=False).generate(20)
        for name, seed in (("mixed", 1), ("mixed", 2), ("charged", 1))
    ]
    energies = [run["energy"][run["mother_index"] == 0] for run in runs]
    assert not np.array_equal(energies[0], energies[1])
    assert not np.array_equal(energies[0], energies[2])


def test_generate_sets_the_event_identity() -> None:
    generator = Generator("uubar", seed=1, experiment=1003, run=7, first_event=50)
    events = generator.generate(3)
    assert events.experiment.tolist() == [1003] * 3
    assert events.run.tolist() == [7] * 3
    assert events.event.tolist() == [50, 51, 52]
    assert events.entry.tolist() == [0, 1, 2]
    following = generator.generate(1)
    assert (following.event.tolist(), following.entry.tolist()) == ([53], [3])
    assert generator.event_type == "uubar"


@pytest.mark.parametrize("preset", ["smart_background", "gatgap"])
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_generate_events_can_all_be_scored(event_type: str, preset: str) -> None:
    assert prepare(sample(event_type), preset).scorable.all()


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_generate_event_type_can_be_inferred(event_type: str) -> None:
    events = sample(event_type)
    np.testing.assert_array_equal(infer_event_type(events), events.event_type)


def test_generate_no_events_gives_empty_columns() -> None:
    events = Generator("uubar", seed=1).generate(0)
    assert len(events) == 0
    assert events.n_particles == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"event_type": "bbbar", "seed": 1}, InputError),
        ({"event_type": "mixed", "seed": -1}, UsageError),
        ({"event_type": "mixed", "seed": 1, "decay_table": "none"}, UsageError),
    ],
)
def test_generator_wrong_argument_is_refused(
    arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Generator(**arguments)  # type: ignore[arg-type]


def test_generate_negative_number_is_refused() -> None:
    with pytest.raises(UsageError):
        Generator("uubar", seed=1).generate(-1)


def test_generator_without_pythia_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    monkeypatch.delitem(sys.modules, "smartfilter.pipeline.pythia", raising=False)
    with pytest.raises(MissingPackageError, match=r"smartfilter\[pipeline\]"):
        Generator("mixed", seed=1)
