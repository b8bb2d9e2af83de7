"""Files that Geant4 opens, computed here instead of downloaded.

Geant4 reads nuclear and atomic data from files that are not part of its Python package.
Three of them decide whether it starts at all, and simple formulas stand in for them:

- the list of excited nuclear states is empty;
- bremsstrahlung is the screened Bethe-Heitler cross section (Butcher, Messel, Nucl.
  Phys. 20 (1960) 15; in the notation of EGS4: Nelson, Hirayama, Rogers, SLAC-265,
  section 2.7), scaled as Geant4 expects it;
- inelastic scattering of neutrons below 20 MeV has the geometric cross section.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["bremsstrahlung_table", "inelastic_cross_section", "write_data_files"]

ATOMIC_WEIGHTS = {
    1: 1.008,
    2: 4.003,
    4: 9.012,
    6: 12.011,
    7: 14.007,
    8: 15.999,
    13: 26.982,
    14: 28.085,
    53: 126.90,
    55: 132.91,
}
"""Atomic number -> weight of the elements of the detector (PDG, Atomic properties)."""

_ALPHA, _ELECTRON_MASS = 1.0 / 137.036, 0.510999  # MeV
_RADIUS_SQUARED = 79.4078  # classical electron radius squared, mb
_NUCLEON_RADIUS = 1.21  # fm: inelastic cross section pi (r0 A^(1/3))^2
_HEAVIEST = 92  # Geant4 opens the files of all elements, used or not
_LOWEST_NEUTRON, _HIGHEST_NEUTRON = 1.0, 20.0  # MeV

_FOLDERS = {
    "G4ENSDFSTATEDATA": "states",
    "G4LEDATA": "electromagnetic",
    "G4PARTICLEXSDATA": "particles",
    "G4LEVELGAMMADATA": "levels",
    "G4SAIDXSDATA": "empty",
    "G4ABLADATA": "empty",
    "G4INCLDATA": "empty",
    "G4RADIOACTIVEDATA": "empty",
    "G4NEUTRONHPDATA": "empty",
    "G4PIIDATA": "empty",
    "G4REALSURFACEDATA": "empty",
    "G4CHANNELINGDATA": "empty",
}


def _photon_fractions() -> NDArray[np.float64]:
    """Return photon energies over electron kinetic energies of the table."""
    middle = np.arange(0.05, 0.951, 0.05)
    return np.concatenate([[0.0, 0.01, 0.025], middle, [0.97, 0.99, 0.999, 1.0]])


def bremsstrahlung_table(
    z: int, kinetic: NDArray[np.float64], fraction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return beta^2 / Z^2 k dsigma/dk of bremsstrahlung.

    Below a few MeV, where the Born approximation turns negative, a falling line of our
    choice is the lower bound.

    Parameters
    ----------
    z : int
        Atomic number.
    kinetic : ndarray of float64, shape (n,)
        Kinetic energies of the electron (MeV).
    fraction : ndarray of float64, shape (m,)
        Photon energies over kinetic energies.

    Returns
    -------
    ndarray of float64, shape (n, m)
        In mb.
    """
    kinetic = kinetic[:, None]
    energy = kinetic + _ELECTRON_MASS
    photon = np.minimum(fraction, 0.9999) * kinetic
    ratio = (energy - photon) / energy
    delta = 136.0 * z ** (-1 / 3) * photon * _ELECTRON_MASS / (energy * energy * ratio)
    high = 21.12 - 4.184 * np.log(delta + 0.952)
    first = np.where(delta <= 1.0, 20.867 - 3.242 * delta + 0.625 * delta**2, high)
    second = np.where(delta <= 1.0, 20.209 - 1.930 * delta - 0.086 * delta**2, high)
    square = (_ALPHA * z) ** 2
    coulomb = square * (
        1.0 / (1.0 + square) + 0.20206 - 0.0369 * square + 0.0083 * square**2
    )
    triplet = np.log(1194.0 * z ** (-2 / 3)) / (
        np.log(184.15 * z ** (-1 / 3)) - coulomb
    )
    shift = 4.0 / 3.0 * np.log(z) + np.where(energy > 50.0, 4.0 * coulomb, 0.0)
    born = (1.0 + ratio**2) * (first - shift) - 2.0 / 3.0 * ratio * (second - shift)
    bounded = np.maximum(born, 3.0 - 2.1 * fraction)
    beta_squared = kinetic * (kinetic + 2.0 * _ELECTRON_MASS) / energy**2
    table: NDArray[np.float64] = (
        _ALPHA * _RADIUS_SQUARED * (1.0 + triplet / z) * beta_squared * bounded
    )
    return table


def inelastic_cross_section(weight: float) -> float:
    """Return the geometric inelastic cross section of neutrons on a nucleus (mm^2)."""
    if weight < 2.0:
        return 1e-30
    femtometre = 1e-12  # mm
    return float(np.pi * (_NUCLEON_RADIUS * weight ** (1 / 3) * femtometre) ** 2)


def _format(values: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def _write_bremsstrahlung(folder: Path) -> None:
    """Write the tables of all elements, in the layout of the Seltzer-Berger files."""
    fraction, kinetic = _photon_fractions(), np.geomspace(1e-3, 1e4, 57)
    header = [f"0 {len(fraction)} {len(kinetic)}"]
    header += [_format(fraction), _format(np.log(kinetic))]
    folder.mkdir(parents=True)
    for z in ATOMIC_WEIGHTS:
        rows = [_format(row) for row in bremsstrahlung_table(z, kinetic, fraction)]
        (folder / f"br{z}").write_text(
            "\n".join([*header, *rows]) + "\n", encoding="utf-8"
        )


def _write_neutrons(folder: Path) -> None:
    """Write one table of two points per element: range, size, energy and value."""
    folder.mkdir(parents=True)
    for z in range(1, _HEAVIEST + 1):
        value = inelastic_cross_section(ATOMIC_WEIGHTS.get(z, 2.5 * z))
        lines = [f"{_LOWEST_NEUTRON} {_HIGHEST_NEUTRON} 2", "2"]
        lines += [f"{e} {value:.6g}" for e in (_LOWEST_NEUTRON, _HIGHEST_NEUTRON)]
        (folder / f"inel{z}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_data_files(folder: Path) -> dict[str, str]:
    """Write all files below a folder; return the environment that points at them.

    ``GEANT4_DATA_DIR`` is part of it: without it the Python package offers to download
    the real files when it is imported, and in some environments does so unasked.
    """
    for name in set(_FOLDERS.values()):
        (folder / name).mkdir()
    (folder / "states" / "ENSDFSTATE.dat").touch()
    _write_bremsstrahlung(folder / "electromagnetic" / "brem_SB")
    _write_neutrons(folder / "particles" / "neutron")
    paths = {name: str(folder / part) for name, part in _FOLDERS.items()}
    return {"GEANT4_DATA_DIR": str(folder), **paths}
