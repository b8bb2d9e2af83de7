"""Tests of the electromagnetic cascade."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smartfilter.pipeline import random
from smartfilter.pipeline.geometry import CSI
from smartfilter.pipeline.shower import (
    compton_attenuation,
    pair_attenuation,
    simulate_shower,
)
from smartfilter.pipeline.storage import Storage

RADIATION_LENGTH = CSI.radiation_length / CSI.density
ELECTRON = 0.51099895e-3


def shower_energies(energy, *, step=1.0, charged=False, n=300, seed=1, offset=0.0):
    """Return energies in the crystals, shape (n, 9, 9)."""
    storage = Storage.allocate(8, n_tracks=1, n_clusters=1)
    stream = storage.flight.stream
    random.seed_stream(stream, np.uint64(seed))
    out = np.empty((n, 9, 9))
    for i in range(n):
        block = storage.block
        simulate_shower(block, stream, energy, charged, step, offset, offset)
        out[i] = block.crystals
    return out


@pytest.mark.parametrize("energy", [0.5e-3, 5e-3, 0.1, 2.0])
def test_compton_attenuation_against_the_integral_of_klein_nishina(energy):
    cosine = np.linspace(-1, 1, 200_001)
    cosine = 1 - (1 - cosine) ** 4 / 8  # dense in the forward direction
    ratio = 1 / (1 + energy / ELECTRON * (1 - cosine))
    differential = 0.5 * ratio**2 * (ratio + 1 / ratio - 1 + cosine**2)
    per_electron = 2 * math.pi * abs(np.trapezoid(differential, cosine))
    radius_squared = (2.8179403e-13) ** 2
    density = 6.02214076e23 * 0.41569 * 4.51
    assert compton_attenuation(energy) == pytest.approx(
        per_electron * radius_squared * density, rel=1e-4
    )


def test_pair_attenuation_rises_from_threshold_to_seven_ninths():
    energies = np.geomspace(1e-3, 10, 200)
    values = np.array([pair_attenuation(e) for e in energies])
    assert values[0] == 0
    assert (values >= 0).all()
    assert (np.diff(values) >= 0).all()
    assert values[-1] * RADIATION_LENGTH == pytest.approx(7 / 9)


@pytest.mark.parametrize("charged", [True, False])
@pytest.mark.parametrize("energy", [0.02, 0.3, 5.0])
def test_simulate_shower_deposits_at_most_the_incoming_energy(energy, charged):
    deposits = shower_energies(energy, charged=charged, n=100)
    assert (deposits >= 0).all()
    assert (deposits.sum(axis=(1, 2)) <= energy * (1 + 1e-9)).all()


@pytest.mark.parametrize("energy", [1e-3, 1.9e-3])
def test_simulate_shower_of_a_soft_electron_deposits_everything(energy):
    deposits = shower_energies(energy, charged=True, n=5)
    assert deposits[:, 4, 4] == pytest.approx(np.full(5, energy))


def leakage_behind(energy, depth=30.0 / RADIATION_LENGTH):
    """Return what Longo and Sestili's profile leaves behind (PDG eqs. 34.36, 34.37)."""
    t = np.linspace(1e-6, 60, 60_001)
    slope = 0.5
    shape = 1 + slope * (math.log(energy / 0.01117) + 0.5)
    profile = (slope * t) ** (shape - 1) * np.exp(-slope * t)
    return profile[t > depth].sum() / profile.sum()


@pytest.mark.parametrize(
    ("energy", "n"), [(0.1, 1000), (0.5, 500), (2.0, 200), (6.0, 80)]
)
def test_simulate_shower_leaks_as_the_longitudinal_profile_says(energy, n):
    """To 3 %: back-scattering and the sides of the block come on top."""
    part = shower_energies(energy, n=n).sum(axis=(1, 2)).mean() / energy
    assert 0.9 < part < 1
    assert part == pytest.approx(1 - leakage_behind(energy), abs=0.03)


def test_simulate_shower_resolution_improves_with_energy():
    widths = []
    for energy, n in ((0.1, 800), (0.4, 400), (1.6, 200)):
        total = shower_energies(energy, n=n)[:, 2:7, 2:7].sum(axis=(1, 2)) / energy
        low, high = np.quantile(total, [0.16, 0.84])
        widths.append((high - low) / 2)
    assert widths[0] > widths[2]
    assert 0.01 < widths[2] < 0.04
    assert widths[0] < 0.09


def test_simulate_shower_is_narrow():
    """A block of crystals is wider than three Moliere radii (3.53 cm) each way."""
    deposits = shower_energies(1.0, n=200).mean(axis=0)
    central = deposits[3:6, 3:6].sum()
    assert central / deposits.sum() > 0.9
    assert deposits[4, 4] / deposits.sum() > 0.6
    assert deposits == pytest.approx(deposits.T, abs=0.01)


def test_simulate_shower_offset_moves_the_energy():
    deposits = shower_energies(1.0, n=100, offset=5.5).mean(axis=0)
    assert np.unravel_index(deposits.argmax(), deposits.shape) == (5, 5)


@pytest.mark.parametrize("step", [0.25, 0.05])
def test_simulate_shower_energy_does_not_depend_on_the_step(step):
    n = 400
    coarse = shower_energies(0.5, n=n, seed=2)[:, 2:7, 2:7].sum(axis=(1, 2))
    fine = shower_energies(0.5, n=n, seed=3, step=step)[:, 2:7, 2:7].sum(axis=(1, 2))
    error = math.hypot(coarse.std(), fine.std()) / math.sqrt(n)
    assert coarse.mean() == pytest.approx(fine.mean(), abs=4 * error)
    assert error < 0.005 * fine.mean()


def test_simulate_shower_is_as_wide_at_a_coarse_step():
    """Soft electrons turn by large angles: 1 cm against 0.1 cm, 50 MeV."""
    n, centre = 8000, []
    for step, seed in ((1.0, 4), (0.1, 5)):
        part = shower_energies(0.05, n=n, seed=seed, step=step)[:, 4, 4] / 0.05
        centre.append((part.mean(), part.std() / math.sqrt(n)))
    (coarse, first), (fine, second) = centre
    assert coarse == pytest.approx(fine, abs=4 * math.hypot(first, second))
    assert math.hypot(first, second) < 0.0035
