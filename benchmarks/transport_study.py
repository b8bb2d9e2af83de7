"""Single particles in the mock detector, simulated with different steps.

Without anything random: compared with a closed form or with the finest step. Lengths in
cm, energies and momenta in GeV.
"""

from __future__ import annotations

from math import hypot, log, log10, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.pipeline import geometry as g
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.geometry import CSI, Physics
from smartfilter.pipeline.helix import CURVATURE
from smartfilter.pipeline.kernels import kernel
from smartfilter.pipeline.matter import cross_matter
from smartfilter.pipeline.particles import MAX_PATH
from smartfilter.pipeline.random import seed_stream
from smartfilter.pipeline.species import CHARGED_MASSES
from smartfilter.pipeline.storage import FATE, LIMIT, MOMENTUM, Flight, Storage
from smartfilter.pipeline.transport import EXITED, start_flight, transport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from smartfilter.pipeline.geometry import Material

__all__ = [
    "FREE",
    "MASSES",
    "Series",
    "bethe_power",
    "fit_order",
    "fly",
    "follow_helix",
    "make_gun",
    "slow_continuously",
    "study_crystals",
    "study_energy_loss",
    "study_helix",
    "take_generated",
]

FREE = Physics(
    scattering=False,
    energy_loss=False,
    straggling=False,
    decays=False,
    interactions=False,
    background=False,
)
"""A field and nothing else."""

_CODES = (11, -13, 211, -321, 2212)
MASSES = dict(zip((11, 13, 211, 321, 2212), CHARGED_MASSES, strict=True))


class Series(NamedTuple):
    """One quantity against the step.

    Parameters
    ----------
    name, unit : str
    values : list of float
        Per step; deviations where ``order`` is a number.
    errors : list of float, optional
        Statistical errors of random quantities.
    expected : float, optional
        Closed form.
    order : float, optional
        Fitted order of convergence of a deviation.
    """

    name: str
    unit: str
    values: list[float]
    errors: list[float] | None = None
    expected: float | None = None
    order: float | None = None


@kernel
def _fly_all(
    flight: Flight,
    physics: Physics,
    pdg: NDArray[np.int64],
    momenta: NDArray[np.float64],
    limit: float,
    seed: int,
    ends: NDArray[np.float64],
) -> None:
    """Fly particles from the origin; note position, direction, momentum and fate."""
    seed_stream(flight.stream, np.uint64(seed))
    for i in range(len(pdg)):
        px, py, pz = momenta[i, 0], momenta[i, 1], momenta[i, 2]
        start_flight(flight, pdg[i], 0, 0.0, 0.0, 0.0, px, py, pz)
        flight.state[LIMIT] = limit
        transport(flight, physics)
        for j in range(MOMENTUM + 1):
            ends[i, j] = flight.state[j]
        ends[i, MOMENTUM + 1] = flight.identity[FATE]


@kernel
def _slow_down(
    stream: NDArray[np.uint64], mass: float, p: float, depth: float, step: float
) -> float:
    """Return the momentum behind a depth of crystal, by mean losses in steps."""
    passed = 0.0
    while passed < depth and p > 0.0:
        path = min(step, depth - passed)
        p = cross_matter(stream, mass, p, path * CSI.density, CSI, False)
        passed += path
    return p


def fly(
    pdg: NDArray[np.int64],
    momenta: NDArray[np.float64],
    physics: Physics,
    *,
    limit: float = MAX_PATH,
    seed: int = 1,
) -> NDArray[np.float64]:
    """Return the ends of flights from the origin, shape (n, 8).

    Position, direction, momentum, and how the flight ended.
    """
    flight = Storage.allocate(8, n_tracks=1, n_clusters=1).flight
    ends = np.empty((len(pdg), MOMENTUM + 2))
    _fly_all(flight, physics, pdg, momenta, limit, seed, ends)
    return ends


def make_gun(n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return codes and momenta of e, mu, pi, K and p over the acceptance.

    0.2 to 3 GeV, flat in ln p and in cos theta of the tracker.
    """
    rng = np.random.default_rng([seed, 1])
    low, high = np.cos(g.TRACKER_ANGLES[1]), np.cos(g.TRACKER_ANGLES[0])
    cosine, phi = rng.uniform(low, high, n), rng.uniform(-np.pi, np.pi, n)
    p, sine = np.exp(rng.uniform(np.log(0.2), np.log(3.0), n)), np.sqrt(1 - cosine**2)
    direction = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=1)
    return np.resize(np.array(_CODES), n), p[:, None] * direction


def take_generated(
    event_type: str, n: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return codes and momenta of charged particles of generated events.

    Those that the generator leaves stable, above 0.1 GeV, moved to the origin.
    """
    events = Generator(event_type, seed=seed).generate(max(n // 4, 1))
    momenta = np.stack([events[k] for k in ("px", "py", "pz")], axis=1).astype(float)
    charged = np.isin(np.abs(events["pdg"]), np.abs(_CODES))
    rows = charged & (np.hypot.reduce(momenta, axis=1) > 0.1)
    return events["pdg"][rows][:n].astype(np.int64), momenta[rows][:n]


def follow_helix(
    pdg: NDArray[np.int64], momenta: NDArray[np.float64], field: float
) -> NDArray[np.float64]:
    """Return where helices from the origin leave the tracker, shape (n, 3), written out.

    At the cylinder or the planes of the calorimeter, or after `MAX_PATH`.
    """
    px, py, pz = momenta.T
    sign = np.where(np.isin(pdg, (11, 13)) | (pdg < -20), -1.0, 1.0)
    sign = np.where(np.isin(pdg, (-11, -13)), 1.0, sign)
    pt, phi = np.hypot(px, py), np.arctan2(py, px)
    radius, slope = pt / (CURVATURE * field), pz / pt
    half = np.minimum(g.VOLUME_RADIUS / (2.0 * radius), 1.0)
    arc = np.where(half < 1.0, 2.0 * radius * np.arcsin(half), np.inf)
    plane = np.where(slope > 0.0, g.VOLUME_FORWARD, g.VOLUME_BACKWARD)
    arc = np.minimum(arc, plane / slope)
    arc = np.minimum(arc, MAX_PATH / np.hypot(1.0, slope))
    end = phi - sign * arc / radius
    x = sign * radius * (np.sin(phi) - np.sin(end))
    y = sign * radius * (np.cos(end) - np.cos(phi))
    return np.stack([x, y, arc * slope], axis=1)


def fit_order(steps: Sequence[float], deviations: Sequence[float]) -> float | None:
    """Return the slope of ln(deviation) in ln(step), None where it is all rounding.

    Steps close to the finest one, with which deviations may have been taken, are left
    out.
    """
    h, d = np.asarray(steps, float), np.asarray(deviations, float)
    used = (h >= 4.0 * h.min()) & (h <= 1.0) & (d > 1e-11)
    if used.sum() < 3:
        return None
    return float(np.polyfit(np.log(h[used]), np.log(d[used]), 1)[0])


def study_helix(steps: Sequence[float], n: int, seed: int) -> list[Series]:
    """Compare end points in a field alone with the closed helix."""
    pdg, momenta = make_gun(n, seed)
    truth = follow_helix(pdg, momenta, FREE.field)
    far = [
        np.hypot.reduce(fly(pdg, momenta, FREE._replace(step=h))[:, :3] - truth, axis=1)
        for h in steps
    ]
    rms, largest = [_rms(d) for d in far], [float(d.max()) for d in far]
    return [
        Series("end point, rms", "cm", rms, order=fit_order(steps, rms)),
        Series("end point, largest", "cm", largest, order=fit_order(steps, largest)),
    ]


def study_energy_loss(
    steps: Sequence[float], particles: tuple[NDArray[Any], NDArray[Any]]
) -> list[Series]:
    """Compare flights with mean losses to those with the finest step.

    Among particles that reach the calorimeter with both; "another end" is the share of
    those that do so with one step alone.
    """
    physics = FREE._replace(energy_loss=True)
    ends = [fly(*particles, physics._replace(step=h)) for h in steps]
    fine = ends[int(np.argmin(steps))]
    moved, turned, slowed, lost = [], [], [], []
    for end in ends:
        both = (end[:, 7] == EXITED) & (fine[:, 7] == EXITED)
        lost.append(float(((end[:, 7] == EXITED) != (fine[:, 7] == EXITED)).mean()))
        change = end[both] - fine[both]
        moved.append(_rms(np.hypot.reduce(change[:, :3], axis=1)))
        turned.append(_rms(np.hypot.reduce(change[:, 3:6], axis=1)))
        slowed.append(_rms(change[:, 6]))
    return [
        Series("entry point, rms", "cm", moved, order=fit_order(steps, moved)),
        Series("direction, rms", "rad", turned, order=fit_order(steps, turned)),
        Series("momentum, rms", "GeV", slowed, order=fit_order(steps, slowed)),
        Series("another end", "share", lost),
    ]


def bethe_power(mass: float, p: float, material: Material) -> float:
    """Return Bethe's mean loss (GeV cm^2/g), PDG eqs. 34.4 to 34.7, written out again."""
    electron, gamma = 0.51099895e-3, hypot(1.0, p / mass)
    beta2, bg2 = (p / mass / gamma) ** 2, (p / mass) ** 2
    ratio = electron / mass
    largest = 2.0 * electron * bg2 / (1.0 + 2.0 * gamma * ratio + ratio**2)
    plasma = 28.816e-9 * sqrt(material.density * material.electrons)
    a, k, x0, x1 = material.sternheimer
    x, delta = log10(p / mass), 0.0
    if x > x0:
        delta = 2.0 * log(plasma / material.excitation) + log(bg2) - 1.0
        delta = max(delta + a * max(x1 - x, 0.0) ** k, 0.0)
    bracket = 0.5 * log(2.0 * electron * bg2 * largest / material.excitation**2)
    bracket -= beta2 + 0.5 * delta
    return 0.307075e-3 * material.electrons / beta2 * bracket


def slow_continuously(mass: float, p: float, areal: float, material: Material) -> float:
    """Return the momentum behind a layer, by Runge and Kutta's method (2000 steps)."""

    def power(kinetic: float) -> float:
        return bethe_power(mass, sqrt(kinetic * (kinetic + 2.0 * mass)), material)

    kinetic, h = hypot(p, mass) - mass, areal / 2000
    for _ in range(2000):
        first = power(kinetic)
        second = power(kinetic - 0.5 * h * first)
        third = power(kinetic - 0.5 * h * second)
        fourth = power(kinetic - h * third)
        kinetic -= h / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)
    return sqrt(kinetic * (kinetic + 2.0 * mass))


def study_crystals(steps: Sequence[float]) -> list[Series]:
    """Compare the mean loss in crystals with the integral of Bethe's formula."""
    stream, series = np.zeros(4, dtype=np.uint64), []
    cases = (("mu", 13, 0.3), ("pi", 211, 0.4), ("K", 321, 0.8), ("p", 2212, 1.1))
    for name, pdg, p in cases:
        mass, depth = MASSES[pdg], 20.0
        loss = hypot(p, mass) - hypot(
            slow_continuously(mass, p, depth * CSI.density, CSI), mass
        )
        off = []
        for h in steps:
            end = _slow_down(stream, mass, p, depth, h)
            off.append(abs((hypot(p, mass) - hypot(end, mass)) / loss - 1.0))
        title = f"loss of {name} of {p} GeV in {depth:.0f} cm CsI"
        series.append(Series(title, "relative", off, order=fit_order(steps, off)))
    return series


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else 0.0
