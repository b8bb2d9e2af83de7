"""What matter does to charged particles: energy loss, scattering, radiation.

Every process is additive in the thickness, so that results do not depend on how a path
is cut into steps: means hold to second order in the energy lost, variances add up. Areal densities in g/cm^2, energies and momenta in GeV (c = 1).
References: the review "Passage of Particles Through Matter" of the Particle Data
Group, Phys. Rev. D 110 (2024) 030001, section 34, called PDG below.
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import TYPE_CHECKING

from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.random import normal_pair, uniform
from smartfilter.pipeline.storage import UX, UY, UZ

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from smartfilter.pipeline.geometry import Material

__all__ = [
    "bremsstrahlung_energy",
    "bremsstrahlung_rate",
    "cross_matter",
    "deflect",
    "ionisation_loss",
    "scattering_angle",
    "stopping_power",
]

_BETHE = 0.307075e-3  # K of PDG eq. 34.5, GeV cm^2/mol
_M_E = 0.51099895e-3
_PLASMA = 28.816e-9  # plasma energy / sqrt(density Z/A), GeV
_TWO_LN_10 = 2.0 * log(10.0)
_LARGEST_BRACKET = 20.0  # of Bethe's formula, at our energies in any material
_LARGEST_SHARE = 0.2  # of the kinetic energy, lost in one piece of a layer
_THIN = 0.001  # share of the kinetic energy below which a layer is one piece


@inner_kernel
def _largest_transfer(mass: float, gamma: float) -> float:
    """Return the largest energy given to one electron (PDG eq. 34.4)."""
    ratio = _M_E / mass
    return (
        2.0 * _M_E * (gamma * gamma - 1.0) / (1.0 + 2.0 * gamma * ratio + ratio * ratio)
    )


@inner_kernel
def _density_effect(beta_gamma2: float, material: Material) -> float:
    """Return delta / 2 (PDG eqs. 34.6 and 34.7), without that of slow particles in Si."""
    a, k, x0, x1 = material.sternheimer
    x = log(beta_gamma2) / _TWO_LN_10
    if x < x0:
        return 0.0
    plasma2 = _PLASMA * _PLASMA * material.density * material.electrons
    ratio = plasma2 * beta_gamma2 / (material.excitation * material.excitation)
    delta = log(ratio) - 1.0
    if x < x1:
        delta += a * (x1 - x) ** k
    return max(0.5 * delta, 0.0)


@kernel
def stopping_power(mass: float, p: float, material: Material) -> float:
    """Return the mean energy loss per areal density (GeV cm^2/g).

    Bethe's formula, PDG eq. 34.5, without shell corrections. It is used for electrons,
    too, where it is good to about 10 %.
    """
    beta_gamma2 = p * p / (mass * mass)
    gamma2 = 1.0 + beta_gamma2
    beta2 = beta_gamma2 / gamma2
    largest = _largest_transfer(mass, sqrt(gamma2))
    ratio = 2.0 * _M_E * beta_gamma2 * largest / material.excitation**2
    bracket = 0.5 * log(ratio) - beta2 - _density_effect(beta_gamma2, material)
    return _BETHE * material.electrons / beta2 * max(bracket, 0.5)


@kernel
def ionisation_loss(
    stream: NDArray[np.uint64], mass: float, p: float, areal: float, material: Material
) -> float:
    """Return the energy lost by ionisation (GeV) in a layer so thin that p stays.

    The mean is `stopping_power`. Knock-on electrons above the cut of the material are a
    Poisson process with the spectrum of PDG eq. 34.8. The many small losses have the
    mean of the restricted formula (PDG eq. 34.10) and fluctuate with the variance that
    belongs to them (uniformly distributed, for speed: sums of them are Gaussian). So mean
    and variance are additive over steps. A small step may gain energy; cutting that off
    would bias the mean.
    """
    energy2 = p * p + mass * mass
    energy = sqrt(energy2)
    beta2, beta_gamma2 = p * p / energy2, p * p / (mass * mass)
    largest = _largest_transfer(mass, energy / mass)
    cut = min(material.cut, largest)
    share = cut / largest
    ratio = 2.0 * _M_E * beta_gamma2 * cut / material.excitation**2
    bracket = 0.5 * (log(ratio) - beta2 * (1.0 + share))
    bracket = max(bracket - _density_effect(beta_gamma2, material), 0.5)
    strength = 0.5 * _BETHE * material.electrons * areal / beta2
    variance = strength * cut * (1.0 - 0.5 * beta2 * share)
    loss = 2.0 * strength * bracket
    loss += sqrt(3.0 * variance) * (2.0 * uniform(stream) - 1.0)
    number = strength * (1.0 - share) / cut
    product = 1.0 - uniform(stream)
    if product > 1.0 - number:  # exp(-number) is never below 1 - number
        limit = exp(-number)
        while product > limit:
            loss += _knock_on_energy(stream, cut, largest, beta2)
            product *= uniform(stream)
    return loss


@kernel
def cross_matter(
    stream: NDArray[np.uint64],
    mass: float,
    p: float,
    areal: float,
    material: Material,
    straggling: bool,
) -> float:
    """Return the momentum behind a layer of any thickness; 0 if the particle stops.

    The layer is cut into pieces that take at most a fifth of the kinetic energy, and
    the loss in a piece is that of the momentum expected in its middle: the mean
    is right to 1 % and to second order in the pieces. A thin layer (a bound on the loss says so) is
    taken at once. Without ``straggling`` the loss is the mean.
    """
    while areal > 0.0 and p > 0.0:
        energy = sqrt(p * p + mass * mass)
        kinetic = p * p / (energy + mass)
        bound = (
            _LARGEST_BRACKET * _BETHE * material.electrons * energy * energy / (p * p)
        )
        if straggling and areal * bound < _THIN * kinetic:
            loss = ionisation_loss(stream, mass, p, areal, material)
            return _momentum_after(mass, energy - loss)
        power = stopping_power(mass, p, material)
        piece = min(areal, _LARGEST_SHARE * kinetic / power)
        middle = energy - 0.5 * piece * power
        p_middle = sqrt(middle * middle - mass * mass)
        if straggling:
            loss = ionisation_loss(stream, mass, p_middle, piece, material)
        else:
            loss = piece * stopping_power(mass, p_middle, material)
        p = _momentum_after(mass, energy - loss)
        areal -= piece
    return p


@inner_kernel
def _knock_on_energy(
    stream: NDArray[np.uint64], cut: float, largest: float, beta2: float
) -> float:
    """Return an energy from 1/T^2, or 0 with the probability beta^2 T / T_max."""
    transfer = cut / (1.0 - uniform(stream) * (1.0 - cut / largest))
    return transfer if uniform(stream) * largest > beta2 * transfer else 0.0


@inner_kernel
def _momentum_after(mass: float, energy: float) -> float:
    """Return the momentum at this energy; 0 below half an MeV of kinetic energy."""
    if energy < mass + 0.5e-3:
        return 0.0
    return sqrt(energy * energy - mass * mass)


@kernel
def scattering_angle(mass: float, p: float, thickness: float, total: float) -> float:
    """Return the width of the projected scattering angle (rad).

    Highland's formula, PDG eq. 34.16, for ``thickness`` radiation lengths of a layer of
    ``total``: the logarithm is that of the layer, so that the variance is additive.
    """
    energy = sqrt(p * p + mass * mass)
    correction = max(1.0 + 0.038 * log(total * energy * energy / (p * p)), 0.0)
    return 0.0136 * energy / (p * p) * sqrt(thickness) * correction


@kernel
def deflect(
    stream: NDArray[np.uint64], state: NDArray[np.float64], width: float
) -> None:
    """Turn a direction, in place, by a Gaussian angle in each of two planes.

    Parameters
    ----------
    stream : ndarray of uint64, shape (4,)
    state : ndarray of float64, shape (>= 6,)
        A position and a direction, as in `Flight`.
    width : float
        Width of both angles (rad).
    """
    first, second = normal_pair(stream)
    first *= width
    second *= width
    ux, uy, uz = state[UX], state[UY], state[UZ]
    transverse = sqrt(ux * ux + uy * uy)
    cosine, sine = 1.0, 0.0
    if transverse > 1e-9:
        cosine, sine = ux / transverse, uy / transverse
    ux += -sine * first - cosine * uz * second
    uy += cosine * first - sine * uz * second
    uz += transverse * second
    scale = 1.0 / sqrt(ux * ux + uy * uy + uz * uz)
    state[UX], state[UY], state[UZ] = ux * scale, uy * scale, uz * scale


@kernel
def bremsstrahlung_rate(energy: float, cut: float) -> float:
    """Return the number of photons above ``cut`` per radiation length.

    The complete-screening spectrum dN/dk = (4/3 - 4/3 y + y^2) / k, y = k / E, PDG
    eq. 34.29.
    """
    if energy <= cut:
        return 0.0
    y = cut / energy
    return -4.0 / 3.0 * (log(y) + 1.0 - y) + 0.5 * (1.0 - y * y)


@kernel
def bremsstrahlung_energy(
    stream: NDArray[np.uint64], energy: float, cut: float
) -> float:
    """Return the energy of one photon above ``cut`` of that spectrum."""
    logarithm = log(energy / cut)
    while True:
        y = cut / energy * exp(logarithm * uniform(stream))
        if uniform(stream) * 4.0 / 3.0 <= 4.0 / 3.0 * (1.0 - y) + y * y:
            return y * energy
