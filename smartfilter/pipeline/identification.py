"""Log-likelihoods of the charged hypotheses, from simulated measurements.

Every measurement is Gaussian: the particle produces a value about its own expectation,
and each hypothesis is charged with -1/2 (value - expectation)^2 / width^2 - ln(width).
Widths are ours, chosen for a performance like that of Belle II (Physics Book,
arXiv:1808.10567, sections 3.5 to 3.8 and 5.5). Some measurements go wrong: they are
drawn from another particle's expectation or are missing.

- Ionisation in the chamber and in the silicon: relative width `_IONISATION`.
- Flight time to the quartz bars of the barrel, standing for the whole time-of-propagation
  measurement.
- Cherenkov angle in the forward aerogel; below threshold the angle is 0.
- Calorimeter energy over momentum: electrons against the rest.
- Range in the outer detector: muons against hadrons.
"""

from __future__ import annotations

from math import acos, atan2, hypot, log, sqrt
from typing import TYPE_CHECKING

from smartfilter.pipeline.geometry import GAS, SILICON, Material
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.matter import stopping_power
from smartfilter.pipeline.random import normal, uniform
from smartfilter.pipeline.species import CHARGED_MASSES, ELECTRON, LIGHT_SPEED, MUON
from smartfilter.pipeline.storage import (
    FATE,
    FIRST,
    KIND,
    MASS,
    N_CHAMBER,
    N_VERTEX,
    PATH,
    Flight,
    X,
    Y,
    Z,
)
from smartfilter.pipeline.transport import EXITED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["cherenkov_angle", "identify"]

_LL = 8  # first log-likelihood in a row of tracks
_IONISATION, _SILICON_IONISATION = 0.065, 0.16
_TIME = 0.045  # ns
_AEROGEL_INDEX, _ANGLE = 1.05, 0.0075  # rad
_RANGE = 0.37
_MISSING, _WRONG = 0.03, 0.03


@kernel
def cherenkov_angle(mass: float, p: float) -> float:
    """Return the Cherenkov angle in aerogel (rad), 0 below threshold."""
    inverse = sqrt(1.0 + mass * mass / (p * p)) / _AEROGEL_INDEX
    return acos(inverse) if inverse < 1.0 else 0.0


@inner_kernel
def _compare(
    track: NDArray[np.float64], hypothesis: int, residual: float, width: float
) -> None:
    """Add one measurement to a log-likelihood."""
    track[_LL + hypothesis] -= 0.5 * (residual / width) ** 2 + log(width)


@inner_kernel
def _pick_source(flight: Flight) -> float:
    """Return the mass that a measurement sees: now and then that of another particle."""
    stream = flight.stream
    if uniform(stream) < _WRONG:
        return CHARGED_MASSES[int(5.0 * uniform(stream))]
    return float(flight.state[MASS])


@inner_kernel
def _add_ionisation(
    flight: Flight,
    track: NDArray[np.float64],
    p: float,
    material: Material,
    width: float,
) -> None:
    """Add a measurement of the energy loss, with a relative width."""
    truth = stopping_power(flight.state[MASS], flight.state[FIRST + 6], material)
    value = 1.0 + width * normal(flight.stream)
    for hypothesis in range(5):
        expected = stopping_power(CHARGED_MASSES[hypothesis], p, material) / truth
        _compare(track, hypothesis, value - expected, width * expected)


@inner_kernel
def _add_time(flight: Flight, track: NDArray[np.float64], p: float) -> None:
    """Add the flight time to the barrel."""
    time = flight.state[PATH] / LIGHT_SPEED
    ratio = _pick_source(flight) / flight.state[FIRST + 6]
    value = time * sqrt(1.0 + ratio * ratio) + _TIME * normal(flight.stream)
    for hypothesis in range(5):
        ratio = CHARGED_MASSES[hypothesis] / p
        residual = value - time * sqrt(1.0 + ratio * ratio)
        _compare(track, hypothesis, residual, _TIME)


@inner_kernel
def _add_angle(flight: Flight, track: NDArray[np.float64], p: float) -> None:
    """Add the Cherenkov angle in the forward endcap."""
    truth = cherenkov_angle(_pick_source(flight), flight.state[FIRST + 6])
    value = truth + _ANGLE * normal(flight.stream)
    for hypothesis in range(5):
        expected = cherenkov_angle(CHARGED_MASSES[hypothesis], p)
        _compare(track, hypothesis, value - expected, _ANGLE)


@inner_kernel
def _add_calorimeter(track: NDArray[np.float64], energy: float, p: float) -> None:
    """Add the energy of the matched cluster over the momentum."""
    ratio, ionisation = min(energy / p, 1.0), 0.2 / p
    for hypothesis in range(5):
        centre, width = min(ionisation + 0.15, 0.8), 0.2 + 0.05 / p
        if hypothesis == ELECTRON:
            centre, width = 0.97, 0.09 + 0.02 / p
        elif hypothesis == MUON:
            centre, width = min(ionisation, 0.8), 0.05 + 0.05 / p
        _compare(track, hypothesis, ratio - centre, width)


@inner_kernel
def _add_range(flight: Flight, track: NDArray[np.float64], p: float) -> None:
    """Add the depth in the outer detector: 1 for muons, 0 for absorbed hadrons."""
    stream = flight.stream
    through = (flight.identity[KIND] == MUON) != (uniform(stream) < _WRONG)
    width = _RANGE * (1.0 + 0.3 / p)
    value = (1.0 if through else 0.0) + width * normal(stream)
    for hypothesis in range(5):
        expected = 1.0 if hypothesis == MUON else 0.0
        _compare(track, hypothesis, value - expected, width)


@kernel
def identify(flight: Flight, track: NDArray[np.float64], energy: float) -> None:
    """Fill the log-likelihoods of a track.

    Parameters
    ----------
    flight : Flight
        That of the true particle.
    track : ndarray of float64, shape (14,)
        Row of tracks, changed in place.
    energy : float
        Energy of the particle's cluster (GeV), 0 if there is none.
    """
    state, identity, stream = flight.state, flight.identity, flight.stream
    p = sqrt(track[0] ** 2 + track[1] ** 2 + track[2] ** 2)
    if identity[N_CHAMBER] >= 8:
        width = _IONISATION * sqrt(40.0 / identity[N_CHAMBER])
        _add_ionisation(flight, track, p, GAS, width)
    if identity[N_VERTEX] >= 3:
        _add_ionisation(flight, track, p, SILICON, _SILICON_IONISATION)
    if identity[FATE] != EXITED:
        return
    radius = hypot(state[X], state[Y])
    if uniform(stream) > _MISSING:
        if radius > 110.0:
            _add_time(flight, track, p)
        elif state[Z] > 160.0:
            _add_angle(flight, track, p)
    if energy > 0.0:
        _add_calorimeter(track, energy, p)
    if p > 0.6 and 0.4 < atan2(radius, state[Z]) < 2.6:
        _add_range(flight, track, p)
