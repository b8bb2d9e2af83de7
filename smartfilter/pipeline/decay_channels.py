"""Decay channels of Pythia 8: what they hold and how Pythia is told."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from particle import PDGID, InvalidParticle, Particle, ParticleNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "EXTRA_PARTICLES",
    "DecayChannel",
    "NewParticle",
    "ParticleDecays",
    "apply_decay_table",
    "conjugate",
]

BOTH, PARTICLE, ANTIPARTICLE = 1, 2, 3
"""Pythia's ``onMode``: who decays this way."""

RANDOM_FLAVOUR = 82

MASS_MARGIN = 1e-3
"""GeV above a threshold: twice Pythia's ``ParticleDecays:mSafety``."""


class NewParticle(NamedTuple):
    """A particle that neither Pythia nor the package particle know by its name."""

    pdg: int
    mass: float
    width: float


# PDG 2024: D_0(2550), D_1*(2600), chi_c1(3872); GeV. D'_1 = D_1(2430) is Pythia's.
EXTRA_PARTICLES: Mapping[str, NewParticle] = {
    "D'_1+": NewParticle(20413, 2.412, 0.314),
    "D(2S)0": NewParticle(100421, 2.549, 0.165),
    "D(2S)+": NewParticle(100411, 2.549, 0.165),
    "D*(2S)0": NewParticle(100423, 2.627, 0.141),
    "D*(2S)+": NewParticle(100413, 2.627, 0.141),
    "X_1(3872)": NewParticle(9120443, 3.87164, 0.00119),
}


class DecayChannel(NamedTuple):
    """One channel as Pythia wants it.

    Parameters
    ----------
    on_mode : int
        1: particle and antiparticle, 2: particle, 3: antiparticle.
    branching_fraction : float
    matrix_element : int
        Pythia's ``meMode``.
    products : tuple of int
        PDG codes, for the particle (conjugated by Pythia for the antiparticle).
    treatment : str
        ``exact``, ``approximate`` or ``phase_space``.
    """

    on_mode: int
    branching_fraction: float
    matrix_element: int
    products: tuple[int, ...]
    treatment: str


@dataclass(frozen=True)
class ParticleDecays:
    """All channels of one particle.

    Parameters
    ----------
    pdg : int
        Positive.
    name : str
        EvtGen's.
    channels : tuple of DecayChannel
        Channels of the particle and of its antiparticle.
    inherited : float
        Branching fraction of lines that name Pythia without products: shared among
        Pythia's own channels.
    unmapped : float
        Branching fraction of the particle that Pythia cannot be told.
    """

    pdg: int
    name: str
    channels: tuple[DecayChannel, ...]
    inherited: float
    unmapped: float


@cache
def conjugate(pdg: int) -> int:
    """Return the code of the antiparticle, the same for a self-conjugate one."""
    if abs(pdg) <= 9 or abs(pdg) == RANDOM_FLAVOUR:
        return -pdg
    try:
        return int(Particle.from_pdgid(pdg).invert().pdgid)
    except (ParticleNotFound, InvalidParticle):
        baryon, first, second = (abs(pdg) // d % 10 for d in (1000, 100, 10))
        return pdg if first == second and not baryon else -pdg


def _define_particle(particle_data: Any, decays: ParticleDecays) -> None:
    """Add a particle that Pythia does not know."""
    extra = EXTRA_PARTICLES.get(decays.name)
    if extra is not None:
        mass, width = extra.mass, extra.width
    else:
        entry = Particle.from_pdgid(decays.pdg)
        mass, width = (entry.mass or 0.0) / 1000, (entry.width or 0.0) / 1000
    identity = PDGID(decays.pdg)
    charge = int(identity.three_charge or 0)
    spin = int(identity.j_spin or 1)
    low, high = max(mass - 3 * width, 0.0), mass + 3 * width
    names = [decays.name]
    if conjugate(decays.pdg) == -decays.pdg:
        names.append(f"anti-{decays.name}")
    particle_data.addParticle(
        decays.pdg, *names, spin, charge, 0, mass, width, low, high, 0.0
    )


def apply_decay_table(pythia: Any, table: Sequence[ParticleDecays]) -> None:
    """Replace Pythia's channels by those of a table; call before ``init``.

    Parameters
    ----------
    pythia : pythia8mc.Pythia
    table : sequence of ParticleDecays
    """
    particle_data = pythia.particleData
    for decays in table:
        if not particle_data.isParticle(decays.pdg):
            _define_particle(particle_data, decays)
    for decays in table:
        entry = particle_data.findParticle(decays.pdg)
        own = _scale_own_channels(entry, decays.inherited)
        entry.clearChannels()
        for channel in (*decays.channels, *own):
            entry.addChannel(*channel[:3], *channel.products)
    _raise_minimum_masses(particle_data, table)


def _raise_minimum_masses(particle_data: Any, table: Sequence[ParticleDecays]) -> None:
    """Cut resonances where most of their channels are closed.

    Pythia draws a channel without regard to the mass and leaves the particle
    undecayed after ten closed ones.
    """
    data = particle_data

    def lightest(pdg: int) -> float:
        return float(data.mMin(pdg) if data.mWidth(pdg) > 0 else data.m0(pdg))

    wide = [d for d in table if data.mWidth(d.pdg) > 0 and d.channels]
    for decays in sorted(wide, key=lambda d: float(data.m0(d.pdg))):
        masses = np.array([sum(map(lightest, c.products)) for c in decays.channels])
        order = np.argsort(masses)
        opened = np.cumsum([decays.channels[k].branching_fraction for k in order])
        half = int(np.searchsorted(opened, opened[-1] / 2))
        threshold = float(masses[order[half]]) + MASS_MARGIN
        if data.mMin(decays.pdg) < threshold < data.m0(decays.pdg):
            data.mMin(decays.pdg, threshold)


def _scale_own_channels(entry: Any, fraction: float) -> list[DecayChannel]:
    """Return Pythia's own channels with this sum, none for zero."""
    if fraction == 0:
        return []
    channels = [entry.channel(i) for i in range(entry.sizeChannels())]
    scale = fraction / sum(channel.bRatio() for channel in channels)
    return [
        DecayChannel(
            channel.onMode(),
            channel.bRatio() * scale,
            channel.meMode(),
            tuple(channel.product(k) for k in range(channel.multiplicity())),
            "exact",
        )
        for channel in channels
    ]
