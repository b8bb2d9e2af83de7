"""Electromagnetic cascade in a block of CsI(Tl) crystals, particle by particle.

Lengths in cm, energies in GeV. The particle enters at the origin along +z; crystals are
5.5 cm wide and 30 cm (16.1 radiation lengths) deep, and the block is 9 x 9 crystals.
Energies of electrons and positrons include their rest mass, so that what is deposited
and what leaks out add up to the incoming energy. Approximations: electrons lose
energy at the constant rate critical energy / radiation length (Rossi, High-Energy
Particles, approximation B), pair production shares the energy uniformly and along the
photon, photons below 0.5 MeV and electrons below 2 MeV are absorbed on the spot, and
radiation below 2 MeV is part of the constant loss.
"""

from __future__ import annotations

from math import cos, exp, log, pi, sin, sqrt
from typing import TYPE_CHECKING

import numpy as np

from smartfilter.pipeline.geometry import CALORIMETER_DEPTH, CSI
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.matter import (
    bremsstrahlung_energy,
    bremsstrahlung_rate,
)
from smartfilter.pipeline.random import exponential, uniform
from smartfilter.pipeline.storage import UX, UY, UZ, Block, X, Y, Z

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CRYSTAL_WIDTH",
    "N_CRYSTALS",
    "compton_attenuation",
    "pair_attenuation",
    "simulate_shower",
]

CRYSTAL_WIDTH = 5.5
N_CRYSTALS = 9

# Layout of a particle of the shower: position, direction, energy, charged (1) or not.
_ENERGY, _CHARGED, _N_COLUMNS = 6, 7, 8

_M_E = 0.51099895e-3
_RADIATION_LENGTH = CSI.radiation_length / CSI.density
_CRITICAL_ENERGY = 0.01117  # PDG, Atomic and Nuclear Properties, CsI, electrons
_ELECTRON_CUT, _PHOTON_CUT = 2.0e-3, 0.5e-3
_LOSS = (_CRITICAL_ENERGY + 4.0 / 3.0 * _ELECTRON_CUT) / _RADIATION_LENGTH
# Classical electron radius squared (cm^2) times electrons per cm^3.
_ELECTRON_RADIUS_SQUARED = 2.8179403e-13**2
_THOMSON = _ELECTRON_RADIUS_SQUARED * 6.02214076e23 * CSI.electrons * CSI.density
_CHARGE = 54.0  # Z of Cs and I: 55 and 53
_SCREENED = 28.0 / 9.0 * log(183.0 * _CHARGE ** (-1.0 / 3.0)) - 2.0 / 27.0


@kernel
def compton_attenuation(energy: float) -> float:
    """Return the Compton interactions of a photon per cm of CsI.

    Klein and Nishina's total cross section (Z. Phys. 52 (1929) 853).
    """
    k = energy / _M_E
    logarithm = log(1.0 + 2.0 * k)
    first = (1.0 + k) / (k * k) * (2.0 * (1.0 + k) / (1.0 + 2.0 * k) - logarithm / k)
    second = logarithm / (2.0 * k) - (1.0 + 3.0 * k) / (1.0 + 2.0 * k) ** 2
    return 2.0 * pi * _THOMSON * (first + second)


@kernel
def pair_attenuation(energy: float) -> float:
    """Return the pair conversions of a photon per cm of CsI.

    7/9 per radiation length with complete screening (PDG eq. 34.31), below that
    in the ratio 28/9 ln(2 k) - 218/27 to its screened limit (Heitler, The Quantum Theory
    of Radiation, section 26), k = E / m_e.
    """
    k = energy / _M_E
    if k <= 7.0:
        return 0.0
    free = 28.0 / 9.0 * log(2.0 * k) - 218.0 / 27.0
    return 7.0 / 9.0 / _RADIATION_LENGTH * min(free / _SCREENED, 1.0)


@inner_kernel
def _deposit(block: Block, energy: float, x: float, y: float, z: float) -> bool:
    """Add energy to the crystal at a point; return whether there is one."""
    i = x / CRYSTAL_WIDTH + 0.5 * N_CRYSTALS
    j = y / CRYSTAL_WIDTH + 0.5 * N_CRYSTALS
    inside = 0.0 <= i < N_CRYSTALS and 0.0 <= j < N_CRYSTALS
    if not inside or z < 0.0 or z > CALORIMETER_DEPTH:
        return False
    block.crystals[int(i), int(j)] += energy
    return True


@inner_kernel
def _push(
    block: Block,
    n: int,
    now: NDArray[np.float64],
    u: tuple[float, float, float],
    energy: float,
    charged: float,
) -> int:
    """Put a particle at the place of another on the list; return the new length.

    With 4096 particles waiting (which no shower of this detector reaches) its energy is
    absorbed on the spot.
    """
    if n == len(block.shower):
        _deposit(block, energy, now[X], now[Y], now[Z])
        return n
    item = block.shower[n]
    item[X], item[Y], item[Z] = now[X], now[Y], now[Z]
    item[UX], item[UY], item[UZ] = u
    item[_ENERGY], item[_CHARGED] = energy, charged
    return n + 1


@inner_kernel
def _compton_energy(stream: NDArray[np.uint64], energy: float) -> float:
    """Return the energy of a Compton photon.

    Klein-Nishina's spectrum by composition and rejection (Butcher and Messel, Nucl.
    Phys. 20 (1960) 15).
    """
    k = energy / _M_E
    smallest = 1.0 / (1.0 + 2.0 * k)
    square = smallest * smallest
    log_weight, square_weight = -log(smallest), 0.5 * (1.0 - square)
    while True:
        if uniform(stream) * (log_weight + square_weight) < log_weight:
            ratio = smallest ** uniform(stream)
        else:
            ratio = sqrt(square + (1.0 - square) * uniform(stream))
        t = (1.0 - ratio) / (k * ratio)
        if uniform(stream) < 1.0 - ratio * t * (2.0 - t) / (1.0 + ratio * ratio):
            return float(ratio * energy)


@inner_kernel
def _turn(
    now: NDArray[np.float64], cosine: float, phi: float
) -> tuple[float, float, float]:
    """Return a direction turned by a polar angle, in the azimuth phi about itself."""
    ux, uy, uz = now[UX], now[UY], now[UZ]
    sine = sqrt(max(1.0 - cosine * cosine, 0.0))
    a, b = sine * cos(phi), sine * sin(phi)
    transverse = sqrt(ux * ux + uy * uy)
    c, s = 1.0, 0.0
    if transverse > 1e-9:
        c, s = ux / transverse, uy / transverse
    return (
        ux * cosine - s * a - c * uz * b,
        uy * cosine + c * a - s * uz * b,
        uz * cosine + transverse * b,
    )


@inner_kernel
def _track_photon(
    block: Block, stream: NDArray[np.uint64], now: NDArray[np.float64], n: int
) -> int:
    """Follow a photon to its interaction; return the length of the list."""
    energy = now[_ENERGY]
    pair = pair_attenuation(energy)
    total = pair + compton_attenuation(energy)
    path = exponential(stream) / total
    for i in range(3):
        now[X + i] += path * now[UX + i]
    if not _deposit(block, 0.0, now[X], now[Y], now[Z]):
        return n
    u = now[UX], now[UY], now[UZ]
    if uniform(stream) * total < pair:
        first = uniform(stream) * energy
        n = _push(block, n, now, u, first, 1.0)
        return _push(block, n, now, u, energy - first, 1.0)
    scattered = _compton_energy(stream, energy)
    phi = 2.0 * pi * uniform(stream)
    cosine = 1.0 - _M_E * (1.0 / scattered - 1.0 / energy)
    p2 = energy * energy + scattered * scattered - 2.0 * energy * scattered * cosine
    recoil = (energy - scattered * cosine) / sqrt(max(p2, 1e-30))
    away = _turn(now, min(recoil, 1.0), phi + pi)
    n = _push(block, n, now, away, energy - scattered, 1.0)
    return _push(block, n, now, _turn(now, cosine, phi), scattered, 0.0)


@inner_kernel
def _scatter(
    stream: NDArray[np.uint64], now: NDArray[np.float64], variance: float
) -> None:
    """Turn a direction by multiple scattering, in place, however strong it is.

    ``variance`` is that of the projected angle. The cosine has the mean exp(-variance)
    of diffusion on the sphere (Lewis, Phys. Rev. 78 (1950) 526) and the density
    exp(kappa cos), which is the Gaussian for small angles (Fisher, Proc. R. Soc. A 217
    (1953) 295; kappa from the mean after Banerjee et al., J. Mach. Learn. Res. 6
    (2005) 1345).
    """
    mean = exp(-variance)
    kappa = mean * (3.0 - mean * mean) / (1.0 - mean * mean)
    u, cosine = uniform(stream), 0.0
    if kappa > 1e-6:
        cosine = 1.0 + log(1.0 - u * (1.0 - exp(-2.0 * kappa))) / kappa
    else:
        cosine = 1.0 - 2.0 * u
    cosine = min(max(cosine, -1.0), 1.0)
    now[UX], now[UY], now[UZ] = _turn(now, cosine, 2.0 * pi * uniform(stream))


@inner_kernel
def _track_electron(
    block: Block,
    stream: NDArray[np.uint64],
    now: NDArray[np.float64],
    n: int,
    longest: float,
) -> int:
    """Step an electron to its end; return the length of the list.

    Each step ends at a photon, after ``longest``, or with the energy. The rate of
    photons at the start of a step is an upper bound for it; thinning makes it exact.
    The direction changes in the middle, where the energy is left. With the
    constant loss, the variance of the angle over a step from E to E' is exactly
    (13.6 MeV)^2 / (E E') times its radiation lengths.
    """
    energy = now[_ENERGY]
    while energy > _ELECTRON_CUT:
        rate = bremsstrahlung_rate(energy, _ELECTRON_CUT) / _RADIATION_LENGTH
        path = min(longest, (energy - 0.9 * _ELECTRON_CUT) / _LOSS)
        to_photon = exponential(stream) / rate
        radiates = to_photon < path
        path = min(path, to_photon)
        half, after = 0.5 * path, energy - _LOSS * path
        for i in range(3):
            now[X + i] += half * now[UX + i]
        if not _deposit(block, _LOSS * path, now[X], now[Y], now[Z]):
            return n
        thickness = path / _RADIATION_LENGTH
        _scatter(stream, now, 0.0136 * 0.0136 / (energy * after) * thickness)
        for i in range(3):
            now[X + i] += half * now[UX + i]
        energy = after
        if radiates:
            left = bremsstrahlung_rate(energy, _ELECTRON_CUT) / _RADIATION_LENGTH
            if uniform(stream) * rate < left:
                photon = bremsstrahlung_energy(stream, energy, _ELECTRON_CUT)
                u = now[UX], now[UY], now[UZ]
                n = _push(block, n, now, u, photon, 0.0)
                energy -= photon
    _deposit(block, energy, now[X], now[Y], now[Z])
    return n


@kernel
def simulate_shower(
    block: Block,
    stream: NDArray[np.uint64],
    energy: float,
    charged: bool,
    step: float,
    x: float,
    y: float,
) -> None:
    """Let one photon or electron shower; the energies are in ``block.crystals``.

    Parameters
    ----------
    block : Block
    stream : ndarray of uint64, shape (4,)
    energy : float
        Energy at the face of the crystals (GeV).
    charged : bool
        Electron or positron, else photon.
    step : float
        Longest step of electrons (cm).
    x, y : float
        Where the central crystal is hit, relative to its centre (cm).
    """
    for i in range(N_CRYSTALS):
        for j in range(N_CRYSTALS):
            block.crystals[i, j] = 0.0
    now = np.zeros(_N_COLUMNS)
    now[X], now[Y] = x, y
    n = _push(block, 0, now, (0.0, 0.0, 1.0), energy, 1.0 if charged else 0.0)
    while n > 0:
        n -= 1
        for i in range(_N_COLUMNS):
            now[i] = block.shower[n, i]
        if now[_CHARGED] == 1.0:
            n = _track_electron(block, stream, now, n, step)
        elif now[_ENERGY] > _PHOTON_CUT:
            n = _track_photon(block, stream, now, n)
        else:
            _deposit(block, now[_ENERGY], now[X], now[Y], now[Z])
