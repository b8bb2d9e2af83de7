"""Parts of the Geant4 detector: secondaries, hits, showers, cross sections."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

for package in ("geant4_pybind", "numba", "pythia8mc"):
    # Never imported here: that would ask for Geant4's data files.
    if find_spec(package) is None:
        pytest.skip(f"package {package} is not installed", allow_module_level=True)

from smartfilter.pipeline.geant4 import (
    clustering,
)
from smartfilter.pipeline.geant4.clustering import Showers, find_showers
from smartfilter.pipeline.geant4.data_files import (
    bremsstrahlung_table,
    inelastic_cross_section,
    write_data_files,
)
from smartfilter.pipeline.geant4.hits import count_layers
from smartfilter.pipeline.geant4.layout import GRIDS, N_CELLS
from smartfilter.pipeline.geant4.primaries import (
    Primaries,
    add_secondaries,
    join_primaries,
)
from smartfilter.pipeline.random import seed_stream


def make_primaries(pdg, mother, seed=0):
    n = len(pdg)
    zero, number = np.zeros(n), np.arange(n)
    columns = dict.fromkeys(("x", "y", "z", "time", "px", "py", "pz"), zero)
    return Primaries(
        event=number,
        row=number,
        pdg=np.array(pdg),
        seed=np.full(n, seed, dtype=np.uint64),
        mother=np.array(mother),
        **columns,
    )


def test_join_primaries_puts_descendants_behind_their_ancestor():
    first = make_primaries([22, 321], [-1, -1])
    second = make_primaries([13, 11, -11], [1, 0, 0])
    third = make_primaries([-11], [2])
    hits = [np.array([[0, 2, 7, 0.1], [5, 1, 3, 0.2]]), np.array([[2, 0, 1, 0.3]])]
    joined, rows = join_primaries([first, second, third], hits)
    assert joined.pdg.tolist() == [22, 11, -11, 321, 13, -11]
    assert joined.mother.tolist() == [-1, 0, 0, -1, 3, 4]
    assert rows[:, 0].tolist() == [0, 4, 5]
    assert rows[:, 3].tolist() == [0.1, 0.3, 0.2]


def test_add_secondaries_belong_to_their_maker_with_seeds_of_their_own():
    makers = make_primaries([22, 321], [-1, -1], seed=5)
    rows = np.array([[1, 13, 1, 2, 3, 4, 5, 6, 7], [1, 22, 0, 0, 0, 0, 0, 0, 1]])
    added = add_secondaries(makers, rows.astype(float), 10)
    assert added.mother.tolist() == [11, 11]
    assert added.row.tolist() == [1, 1]
    assert (added.x[0], added.time[0], added.pz[0]) == (1.0, 4.0, 7.0)
    assert len({5, *added.seed.tolist()}) == 3


# -- hits and showers -------------------------------------------------------------------


def test_count_layers_agrees_with_a_plain_loop():
    rng = np.random.default_rng(4)
    cells = {(rng.integers(5), rng.integers(4), rng.integers(6)) for _ in range(60)}
    hits = np.array([(*cell, 0.1) for cell in sorted(cells)], dtype=float)
    layers = count_layers(hits, 6)
    for i in range(6):
        mine = [h for h in hits if h[0] == i]
        chamber = [int(h[2]) for h in mine if h[1] == 1]
        assert layers.n_vertex[i] == sum(h[1] == 0 for h in mine)
        assert layers.n_chamber[i] == len(chamber)
        assert layers.last_layer[i] == max(chamber, default=-1)


def find(cells, energies, primaries=None):
    showers = Showers.allocate(16, 2)
    stream = np.zeros(4, dtype=np.uint64)
    seed_stream(stream, np.uint64(7))
    owners = np.zeros(len(cells)) if primaries is None else primaries
    n = find_showers(
        showers,
        stream,
        np.asarray(cells, dtype=np.int64),
        np.asarray(energies, dtype=float),
        np.asarray(owners, dtype=np.int64),
        2,
    )
    assert not showers.total.any()
    return showers.values[:n], showers.share[:n]


def test_find_showers_two_maxima_share_what_lies_between():
    first = GRIDS[0].n_columns * 20
    columns = [10, 11, 12, 13, 14, 15, 16]
    energies = [0.10, 0.50, 0.10, 0.01, 0.05, 0.30, 0.05]
    values, share = find([first + c for c in columns], energies, [0, 0, 0, 0, 1, 1, 1])
    assert len(values) == 2
    np.testing.assert_allclose(share, [[0.71, 0], [0, 0.40]], atol=1e-9)
    assert values[:, 1].tolist() == [4.0, 3.0]


def test_find_showers_across_the_seam_in_azimuth_is_one():
    n = GRIDS[0].n_columns
    values, _ = find([20 * n, 21 * n - 1], [0.5, 0.4])
    assert len(values) == 1
    assert abs(np.arctan2(values[0, 3], values[0, 2])) < np.pi / n
    assert np.linalg.norm(values[0, 2:]) == pytest.approx(1.0)


@pytest.mark.parametrize(("cells", "energies"), [([], []), ([0, 5], [1e-4, 2e-3])])
def test_find_showers_too_little_energy_gives_none(cells, energies):
    assert len(find(cells, energies)[0]) == 0


def test_grids_number_cells_without_gaps():
    ends = [grid.first + grid.n_rows * grid.n_columns for grid in GRIDS]
    assert [grid.first for grid in GRIDS] == [0, *ends[:-1]]
    assert ends[-1] == N_CELLS
    for cell in (0, *[e - 1 for e in ends], *ends[:-1]):
        part = sum(cell >= end for end in ends)
        assert clustering._find_part.py_func(cell) == part  # type: ignore[attr-defined]


# -- data files -------------------------------------------------------------------------


@pytest.mark.parametrize(("z", "weight", "x0"), [(13, 26.98, 24.01), (55, 132.9, 8.31)])
def test_bremsstrahlung_energy_loss_is_that_of_the_radiation_length(z, weight, x0):
    fraction = np.linspace(0.0, 1.0, 2001)
    table = bremsstrahlung_table(z, np.array([1e4]), fraction)[0]
    # dE/dx / E = N_A / A Z^2 / beta^2 times the integral; X0 (PDG) in g/cm^2.
    loss = 6.022e23 / weight * z**2 * np.trapezoid(table, fraction) * 1e-27
    assert loss * x0 == pytest.approx(1.0, abs=0.06)


def test_inelastic_cross_section_gives_the_interaction_length_of_csi():
    # PDG: 171.5 g/cm^2; Cs and I are almost equal.
    area = inelastic_cross_section(130.0) * 1e-2  # cm^2
    assert 130.0 / (6.022e23 * area) == pytest.approx(171.5, rel=0.2)


def test_write_data_files_points_at_them(tmp_path: Path):
    environment = write_data_files(tmp_path)
    assert all(Path(folder).is_dir() for folder in environment.values())
    assert (Path(environment["G4ENSDFSTATEDATA"]) / "ENSDFSTATE.dat").exists()
    table = (Path(environment["G4LEDATA"]) / "brem_SB" / "br55").read_text().split()
    n_fractions, n_energies = int(table[1]), int(table[2])
    assert len(table) == 3 + n_fractions + n_energies + n_fractions * n_energies
