"""Which generated particles Geant4 gets, and from where.

A particle without daughters is transported from its production vertex. One that the
generator decayed is replaced by its daughters if the decay is inside the tracker; if it
is farther out (most K_L), the particle itself is transported and Geant4 decays it anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError
from smartfilter.events import StatusBit
from smartfilter.pipeline.checks import check_particles
from smartfilter.pipeline.geometry import (
    VOLUME_BACKWARD,
    VOLUME_FORWARD,
    VOLUME_RADIUS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = [
    "TRANSPORTED",
    "Primaries",
    "add_secondaries",
    "concatenate_primaries",
    "join_primaries",
    "select_primaries",
]

TRANSPORTED = frozenset(
    {11, 13, 22, 111, 130, 211, 310, 321, 2112, 2212, 3112, 3122, 3222, 3312, 3322}
    | {3334}
)
"""Absolute PDG codes of the particles handed to Geant4."""

_VECTORS = ("x", "y", "z", "prod_time", "px", "py", "pz")
_SOFTEST = 1e-6  # GeV
_GOLDEN, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, eq=False)
class Primaries:
    """Particles to transport, all events in one list.

    Parameters
    ----------
    event, row : ndarray of int64, shape (n_primaries,)
        Event, and row of the particle in the event.
    pdg : ndarray of int64, shape (n_primaries,)
    x, y, z, time : ndarray of float64, shape (n_primaries,)
        Production vertex (cm) and time (ns).
    px, py, pz : ndarray of float64, shape (n_primaries,)
        Momentum (GeV).
    seed : ndarray of uint64, shape (n_primaries,)
        Random numbers of each.
    mother : ndarray of int64, shape (n_primaries,)
        Position in the list of the particle that made it in the detector, -1 for
        those of the generator.
    """

    event: NDArray[np.int64]
    row: NDArray[np.int64]
    pdg: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    time: NDArray[np.float64]
    px: NDArray[np.float64]
    py: NDArray[np.float64]
    pz: NDArray[np.float64]
    seed: NDArray[np.uint64]
    mother: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of primaries."""
        return len(self.pdg)

    def columns(self) -> list[NDArray[Any]]:
        """Return what the particle gun needs, in its order."""
        place = [self.pdg, self.x, self.y, self.z, self.time]
        return [*place, self.px, self.py, self.pz, self.seed]

    def take(self, index: slice | NDArray[np.int64]) -> Primaries:
        """Return a part of the list, mothers unchanged."""
        return Primaries(**{name: c[index] for name, c in vars(self).items()})


def select_primaries(events: Events, seeds: NDArray[np.uint64]) -> Primaries:
    """Return the particles to transport, in the order of the events.

    Parameters
    ----------
    events : Events
    seeds : ndarray of uint64, shape (n_events,)
        One random word per event; each of its particles gets its own from it.

    Raises
    ------
    InputError
        As `check_particles` does, or if mothers form a loop.
    """
    check_particles(events, ["prod_time"])
    chosen = np.flatnonzero(_is_transported(events))
    event = events.event_index[chosen].astype(np.int64)
    row = chosen - events.offsets[event]
    columns = {name: events[name][chosen].astype(np.float64) for name in _VECTORS}
    seed = _mix_seeds(seeds[event], row)
    mother = np.full(len(row), -1, dtype=np.int64)
    time = columns.pop("prod_time")
    pdg = events["pdg"][chosen].astype(np.int64)
    return Primaries(
        event=event, row=row, pdg=pdg, time=time, seed=seed, mother=mother, **columns
    )


def _mix_seeds(
    seeds: NDArray[np.uint64], number: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return random words of numbered parts of what has the given random words.

    A multiplicative hash; Geant4's engine mixes them further.
    """
    word = seeds + (number + 1).astype(np.uint64) * _GOLDEN
    mixed: NDArray[np.uint64] = (word ^ (word >> np.uint64(31))) * _MIX
    return mixed ^ (mixed >> np.uint64(29))


def add_secondaries(
    primaries: Primaries, rows: NDArray[np.float64], start: int
) -> Primaries:
    """Return secondaries as a list of their own.

    Parameters
    ----------
    primaries : Primaries
        What made them.
    rows : ndarray of float64, shape (n_secondaries, 9)
        Position of the maker in ``primaries`` (sorted), PDG code, vertex (cm), time
        (ns), momentum (GeV).
    start : int
        Position of the first of ``primaries`` in the whole list.
    """
    maker = rows[:, 0].astype(np.int64)
    counts = np.bincount(maker, minlength=len(primaries))
    firsts = np.cumsum(counts) - counts
    number = np.arange(len(maker)) - firsts[maker]
    x, y, z, time, px, py, pz = (rows[:, i].copy() for i in range(2, 9))
    return Primaries(
        event=primaries.event[maker],
        row=primaries.row[maker],
        pdg=rows[:, 1].astype(np.int64),
        x=x,
        y=y,
        z=z,
        time=time,
        px=px,
        py=py,
        pz=pz,
        seed=_mix_seeds(~primaries.seed[maker], number),
        mother=maker + start,
    )


def join_primaries(
    parts: Sequence[Primaries], hits: Sequence[NDArray[np.float64]]
) -> tuple[Primaries, NDArray[np.float64]]:
    """Return generations as one list, every particle followed by its descendants.

    Parameters
    ----------
    parts : sequence of Primaries
        The generator's particles, what they made, and so on; mothers are positions in
        all parts together.
    hits : sequence of ndarray of float64, each of shape (n_hits, 4)
        Their hits; the first column is a position in all parts together.

    Returns
    -------
    Primaries
    ndarray of float64, shape (n_hits, 4)
        Hits, sorted by particle.
    """
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in vars(parts[0])
    }
    mother = columns["mother"]
    root = np.arange(len(mother))
    for i in np.flatnonzero(mother >= 0):
        root[i] = root[mother[i]]
    order = np.argsort(root, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    columns["mother"] = np.where(mother >= 0, place[mother], -1)
    rows = np.concatenate(hits)
    rows[:, 0] = place[rows[:, 0].astype(np.int64)]
    return Primaries(**columns).take(order), rows[np.argsort(rows[:, 0], kind="stable")]


def concatenate_primaries(
    parts: Sequence[tuple[Primaries, NDArray[np.float64]]],
) -> tuple[Primaries, NDArray[np.float64]]:
    """Return lists and their hits one after the other; positions count on."""
    start, lists, hits = 0, [], []
    for primaries, rows in parts:
        mother = primaries.mother
        lists.append(
            replace(primaries, mother=np.where(mother >= 0, mother + start, -1))
        )
        hits.append(rows + np.array([start, 0.0, 0.0, 0.0]))
        start += len(primaries)
    columns = {
        name: np.concatenate([getattr(part, name) for part in lists])
        for name in vars(lists[0])
    }
    return Primaries(**columns), np.concatenate(hits)


def _is_transported(events: Events) -> NDArray[np.bool_]:
    """Return which particles Geant4 gets, shape (n_particles,)."""
    mother = events["mother_index"].astype(np.int64)
    root = mother < 0
    above = np.where(root, 0, mother + np.repeat(events.offsets[:-1], events.counts))
    code = np.abs(events["pdg"])
    known = np.isin(code, list(TRANSPORTED))
    far = known & _decays_outside(events, above[~root], np.flatnonzero(~root))
    exists = _follow_down(events, root, above, ~far)
    leaf = np.ones(events.n_particles, dtype=np.bool_)
    leaf[above[~root]] = False
    momentum = np.hypot(np.hypot(events["px"], events["py"]), events["pz"])
    ignored = events["status"] & (StatusBit.VIRTUAL | StatusBit.INITIAL) != 0
    there = exists & (leaf | far) & _is_inside(events)
    chosen: NDArray[np.bool_] = there & known & ~ignored & (momentum > _SOFTEST)
    return chosen


def _is_inside(events: Events) -> NDArray[np.bool_]:
    """Return whether particles are made inside the inner face of the calorimeter."""
    inside: NDArray[np.bool_] = (
        (np.hypot(events["x"], events["y"]) < VOLUME_RADIUS)
        & (events["z"] > VOLUME_BACKWARD)
        & (events["z"] < VOLUME_FORWARD)
    )
    return inside


def _decays_outside(
    events: Events, mothers: NDArray[np.int64], daughters: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return whether particles decay beyond the tracker, shape (n_particles,)."""
    outside = np.zeros(events.n_particles, dtype=np.bool_)
    outside[mothers[~_is_inside(events)[daughters]]] = True
    return outside


def _follow_down(
    events: Events,
    root: NDArray[np.bool_],
    above: NDArray[np.int64],
    decays: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return which particles exist: roots, and daughters of those that decay."""
    reached, exists = root.copy(), root.copy()
    while True:
        further = root | reached[above] if len(root) else root
        exists = root | (exists[above] & decays[above]) if len(root) else root
        if np.array_equal(further, reached):
            break
        reached = further
    if not reached.all():
        event = events.event_index[np.flatnonzero(~reached)[0]]
        raise InputError(
            f"mothers: expected a tree, got a loop in event {event} of "
            f"{events.file or 'events'}; remove the event"
        )
    return exists
