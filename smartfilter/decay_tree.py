"""One event as a decay tree that a person can read."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.tree import Tree

    from smartfilter.events import Events

__all__ = ["build_decay_tree", "particle_name"]


@lru_cache(maxsize=4096)
def particle_name(pdg: int) -> str:
    """Return the name of a particle, or its PDG code as text where it has none."""
    from particle import Particle, ParticleNotFound

    try:
        return str(Particle.from_pdgid(pdg).name)
    except ParticleNotFound:
        return str(pdg)


def build_decay_tree(
    events: Events, position: int, *, notes: Sequence[str], title: str
) -> Tree:
    """Return one event as a tree of names, energies and notes.

    Parameters
    ----------
    events : Events
    position : int
        0-based position of the event in ``events``.
    notes : sequence of str, length n_particles of the event
        What to say of each particle; an empty note means that it is kept.
    title : str
        First line.

    Returns
    -------
    rich.tree.Tree
        A particle is dim if it carries a note. Particles in a mother loop hang on the
        first line like those without a mother.
    """
    from rich.markup import escape
    from rich.tree import Tree

    rows = np.arange(events.offsets[position], events.offsets[position + 1])
    mothers = events["mother_index"][rows]
    tree = Tree(title)
    branches: dict[int, Tree] = {}

    def describe(i: int) -> str:
        row = rows[i]
        text = (
            f"{particle_name(int(events['pdg'][row]))}  {events['energy'][row]:.3f} GeV"
        )
        radius = float(np.hypot(events["x"][row], events["y"][row]))
        if radius > 0.1:
            text += f"  at r = {radius:.1f} cm"
        note = notes[i]
        return f"[dim]{escape(text)}  ({note})[/dim]" if note else escape(text)

    def attach(i: int, path: frozenset[int]) -> Tree:
        if i not in branches:
            mother = int(mothers[i])
            has_mother = 0 <= mother < len(rows) and mother not in path
            parent = attach(mother, path | {mother}) if has_mother else tree
            branches[i] = parent.add(describe(i))
        return branches[i]

    for i in range(len(rows)):
        attach(i, frozenset({i}))
    return tree
