"""One event as a decay tree that a person can read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text
    from rich.tree import Tree

    from smartfilter.events import Events

__all__ = [
    "DISPLACED",
    "DecayParticle",
    "build_decay_tree",
    "list_decay_particles",
    "particle_charge",
    "particle_latex",
    "particle_name",
]

DISPLACED = 0.1
"""Distance of a production vertex from the beam axis from which on it is shown, cm."""


@dataclass(frozen=True)
class DecayParticle:
    """One particle of an event and its place in the decay tree.

    Parameters
    ----------
    index : int
        0-based row within the event.
    pdg : int
    energy : float
        GeV.
    radius : float
        Distance of the production vertex from the beam axis, cm.
    mother : int
        Row within the event, -1 for none; never part of a loop.
    daughters : tuple of int
        Rows within the event, ascending.
    note : str
        Why preparation drops it; empty if it is kept.
    """

    index: int
    pdg: int
    energy: float
    radius: float
    mother: int
    daughters: tuple[int, ...]
    note: str


@lru_cache(maxsize=4096)
def _find_particle(pdg: int) -> Any:
    """Return the entry of the particle table, None for a code that has none."""
    from particle import InvalidParticle, Particle, ParticleNotFound

    try:
        return Particle.from_pdgid(pdg)
    except (InvalidParticle, ParticleNotFound):
        return None


def particle_name(pdg: int) -> str:
    """Return the name of a particle, or its PDG code as text where it has none."""
    particle = _find_particle(pdg)
    return str(pdg) if particle is None else str(particle.name)


def particle_latex(pdg: int) -> str:
    """Return the name in LaTeX's mathematics, without dollars, or the PDG code."""
    particle = _find_particle(pdg)
    return str(pdg) if particle is None else str(particle.latex_name)


def particle_charge(pdg: int) -> float:
    """Return the charge in units of e; 0 where it is not known."""
    particle = _find_particle(pdg)
    return 0.0 if particle is None else float(particle.charge or 0.0)


def list_decay_particles(
    events: Events, position: int, notes: Sequence[str]
) -> list[DecayParticle]:
    """Return the particles of one event with mothers and daughters, in their order.

    Parameters
    ----------
    events : Events
    position : int
        0-based position of the event in ``events``.
    notes : sequence of str, length n_particles of the event
        What to say of each particle; an empty note means that it is kept.

    Returns
    -------
    list of DecayParticle
        One per row. In a loop of mothers the particle where the loop is entered first
        has none; neither has one whose mother is outside the event.
    """
    rows = np.arange(events.offsets[position], events.offsets[position + 1])
    mothers = _break_loops(events["mother_index"][rows].tolist())
    daughters: list[list[int]] = [[] for _ in rows]
    for i, mother in enumerate(mothers):
        if mother >= 0:
            daughters[mother].append(i)
    radius = np.hypot(events["x"][rows], events["y"][rows])
    return [
        DecayParticle(
            index=i,
            pdg=int(events["pdg"][row]),
            energy=float(events["energy"][row]),
            radius=float(radius[i]),
            mother=mothers[i],
            daughters=tuple(daughters[i]),
            note=notes[i],
        )
        for i, row in enumerate(rows)
    ]


def _break_loops(mothers: Sequence[int]) -> list[int]:
    """Return mothers that lead to -1 from everywhere."""
    count = len(mothers)
    result = [m if 0 <= m < count else -1 for m in mothers]
    settled = [False] * count
    for i in range(count):
        path, j = [], i
        on_path: set[int] = set()
        while j >= 0 and not settled[j] and j not in on_path:
            path.append(j)
            on_path.add(j)
            j = result[j]
        if j in on_path:
            result[j] = -1
        for k in path:
            settled[k] = True
    return result


def build_decay_tree(
    events: Events, position: int, *, notes: Sequence[str], title: str
) -> Tree:
    """Return one event as a tree of names, energies and notes for the terminal.

    Parameters
    ----------
    events, position, notes
        As `list_decay_particles`.
    title : str
        First line.

    Returns
    -------
    rich.tree.Tree
        A particle is dim if it carries a note.
    """
    from rich.text import Text
    from rich.tree import Tree

    particles = list_decay_particles(events, position, notes)
    tree = Tree(Text(title))
    waiting = [(p, tree) for p in reversed(particles) if p.mother < 0]
    while waiting:
        particle, parent = waiting.pop()
        branch = parent.add(_describe(particle))
        waiting += [(particles[d], branch) for d in reversed(particle.daughters)]
    return tree


def _describe(particle: DecayParticle) -> Text:
    from rich.text import Text

    text = Text(f"{particle_name(particle.pdg)}  {particle.energy:.3f} GeV")
    if particle.radius > DISPLACED:
        text.append(f"  at r = {particle.radius:.1f} cm")
    if particle.note:
        text.append(f"  ({particle.note})")
        text.stylize("dim")
    return text
