"""Random quantities of single particles, simulated with different steps.

Means and widths with their errors, and a closed form where there is one. Lengths in cm,
energies and momenta in GeV.
"""

from __future__ import annotations

from math import hypot, log, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from transport_study import FREE, MASSES, Series, fly, slow_continuously

from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts
from smartfilter.pipeline import geometry as g
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.geometry import GAS, SILICON, Physics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["study_fluctuations", "study_photons"]

_WALL_PATH = 111.0  # from the axis to the last layer of the chamber


def study_fluctuations(steps: Sequence[float], n: int, seed: int) -> list[Series]:
    """Compare widths of scattering and moments of energy loss with closed forms.

    Kaons of 0.6 GeV fly to the end of the chamber along x, without field.
    """
    p, mass = 0.6, MASSES[321]
    scatter = FREE._replace(field=0.0, scattering=True)
    straggle = FREE._replace(field=0.0, energy_loss=True, straggling=True)
    angles, places, losses = [], [], []
    for k, h in enumerate(steps):
        m = int(np.clip(n * h / 0.1, n // 5, n))
        pdg, momenta = np.full(m, 321), np.tile([p, 0.0, 0.0], (m, 1))
        where = {"limit": _WALL_PATH, "seed": seed + k}
        end = fly(pdg, momenta, scatter._replace(step=h), **where)
        angles.append((end[:, 4:6] / end[:, 3:4]).ravel())
        places.append(end[:, 1:3].ravel())
        end = fly(pdg, momenta, straggle._replace(step=h), **where)
        losses.append(hypot(p, mass) - np.hypot(end[:, 6], mass))
    angle, place = _expected_scattering(mass, p)
    loss, spread = _expected_loss(mass, p)
    return [
        _random_series("width of scattering angle", "rad", angles, np.std, angle),
        _random_series("width of displacement", "cm", places, np.std, place),
        _random_series("mean energy loss", "GeV", losses, np.mean, loss),
        _random_series("width of energy loss", "GeV", losses, np.std, spread),
    ]


def _expected_scattering(mass: float, p: float) -> tuple[float, float]:
    """Return Highland's width of angle and displacement at the end of the chamber."""
    beta = p / hypot(p, mass)
    length = _WALL_PATH - g.CYLINDER_RADIUS[g.CHAMBER_WALL]
    rate = GAS.density / GAS.radiation_length
    total = (g.CHAMBER_OUTER - g.CHAMBER_INNER) * rate

    def variance(thickness: float, layer: float) -> float:
        correction = 1.0 + 0.038 * log(layer / beta**2)
        return (0.0136 / (beta * p) * correction) ** 2 * thickness

    gas = variance(rate * length, total)
    angle, place = gas, gas * length**2 / 3.0
    for radius, x0 in zip(
        g.CYLINDER_RADIUS[: g.CHAMBER_WALL + 1], g.CYLINDER_RADIATION, strict=False
    ):
        angle += variance(x0, x0)
        place += variance(x0, x0) * (_WALL_PATH - radius) ** 2
    return sqrt(angle), sqrt(place)


def _expected_loss(mass: float, p: float) -> tuple[float, float]:
    """Return mean and width of the energy loss up to the end of the chamber.

    The variance of a layer is xi T_max (1 - beta^2 / 2) (PDG section 34.2.9).
    """
    length = _WALL_PATH - g.CYLINDER_RADIUS[g.CHAMBER_WALL]
    layers = [(a, SILICON) for a in g.CYLINDER_AREAL[: g.CHAMBER_WALL + 1]]
    start, variance = hypot(p, mass), 0.0
    for areal, material in [*layers, (length * GAS.density, GAS)]:
        gamma = hypot(p, mass) / mass
        beta2, electron = 1.0 - 1.0 / gamma**2, 0.51099895e-3
        ratio = electron / mass
        largest = 2.0 * electron * (gamma**2 - 1.0)
        largest /= 1.0 + 2.0 * gamma * ratio + ratio**2
        strength = 0.5 * 0.307075e-3 * material.electrons * areal / beta2
        variance += strength * largest * (1.0 - 0.5 * beta2)
        p = slow_continuously(mass, p, areal, material)
    return start - hypot(p, mass), sqrt(variance)


def study_photons(
    steps: Sequence[float],
    n: int,
    seed: int,
    energies: Sequence[float] = (0.1, 0.5, 2.0),
) -> list[Series]:
    """Compare mean and width of the clusters of photons that do not convert."""
    physics = Physics(background=False, interactions=False)
    series = []
    for energy in energies:
        events, samples = _make_photons(energy, n, seed), []
        for k, h in enumerate(steps):
            detector = Detector(step=h, seed=seed + k, physics=physics)
            found = detector.simulate(events).clusters
            ratio = np.zeros(n)
            row = np.repeat(np.arange(n), np.diff(found.offsets))
            np.add.at(ratio, row, found["energy"] / energy)
            samples.append(ratio[ratio > 0.0])
        title = f"photon of {energy} GeV: "
        series += [
            _random_series(f"{title}mean", "E/E_true", samples, np.mean),
            _random_series(f"{title}half 68 % width", "E/E_true", samples, _width),
        ]
    return series


def _make_photons(energy: float, n: int, seed: int) -> Events:
    """Return events of one photon in the barrel."""
    rng = np.random.default_rng([seed, 2])
    columns = {name: np.zeros(n, dtype) for name, dtype in PARTICLE_COLUMNS.items()}
    cosine, phi = rng.uniform(-0.5, 0.7, n), rng.uniform(-np.pi, np.pi, n)
    sine = np.sqrt(1.0 - cosine**2)
    columns["pdg"][:], columns["mother_index"][:] = 22, -1
    columns["px"][:] = energy * sine * np.cos(phi)
    columns["py"][:] = energy * sine * np.sin(phi)
    columns["pz"][:] = energy * cosine
    return Events.from_columns(
        offsets_from_counts(np.ones(n, dtype=int)), columns, event=np.arange(n)
    )


def _width(values: NDArray[np.float64]) -> float:
    low, high = np.quantile(values, [0.16, 0.84])
    return float(high - low) / 2.0


def _random_series(
    name: str,
    unit: str,
    samples: Sequence[NDArray[np.float64]],
    statistic: Callable[..., Any],
    expected: float | None = None,
) -> Series:
    """Return a statistic of samples, one per step, with errors from a bootstrap."""
    rng = np.random.default_rng(3)
    values, errors = [], []
    for sample in samples:
        replicas = [statistic(rng.choice(sample, len(sample))) for _ in range(100)]
        values.append(float(statistic(sample)))
        errors.append(float(np.std(replicas, ddof=1)))
    return Series(name, unit, values, errors, expected)
