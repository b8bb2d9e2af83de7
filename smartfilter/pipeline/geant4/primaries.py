"""Which generated particles Geant4 gets, and from where.

A particle without daughters is transported from its production vertex. One that the
generator decayed is replaced by its daughters if the decay is inside the tracker; if it
is farther out (most K_L), the particle itself is transported and Geant4 decays it anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError
from smartfilter.events import StatusBit
from smartfilter.pipeline.geometry import (
    VOLUME_BACKWARD,
    VOLUME_FORWARD,
    VOLUME_RADIUS,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["TRANSPORTED", "Primaries", "select_primaries"]

TRANSPORTED = frozenset(
    {11, 13, 22, 111, 130, 211, 310, 321, 2112, 2212, 3112, 3122, 3222, 3312, 3322}
    | {3334}
)
"""Absolute PDG codes of the particles handed to Geant4."""

_FINITE = ("x", "y", "z", "prod_time", "px", "py", "pz")
_SOFTEST = 1e-6  # GeV
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


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

    def __len__(self) -> int:
        """Return the number of primaries."""
        return len(self.pdg)

    def columns(self) -> list[NDArray[Any]]:
        """Return what the particle gun needs, in its order."""
        place = [self.pdg, self.x, self.y, self.z, self.time]
        return [*place, self.px, self.py, self.pz, self.seed]

    def take(self, index: slice) -> Primaries:
        """Return a part of the list."""
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
        If a momentum or vertex is not finite, a mother is out of range, or mothers
        form a loop.
    """
    _check_columns(events)
    chosen = np.flatnonzero(_is_transported(events))
    event = events.event_index[chosen].astype(np.int64)
    row = chosen - events.offsets[event]
    columns = {name: events[name][chosen].astype(np.float64) for name in _FINITE}
    seed = seeds[event] + (row + 1).astype(np.uint64) * _GOLDEN
    seed = (seed ^ (seed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    time = columns.pop("prod_time")
    pdg = events["pdg"][chosen].astype(np.int64)
    return Primaries(event=event, row=row, pdg=pdg, time=time, seed=seed, **columns)


def _check_columns(events: Events) -> None:
    """Refuse numbers that are not finite and mothers that are not there."""
    where = events.file or "events"
    for name in _FINITE:
        bad = np.flatnonzero(~np.isfinite(events[name]))
        if len(bad):
            raise InputError(
                f"column '{name}': expected finite numbers, got "
                f"{events[name][bad[0]]} in {where}, event "
                f"{events.event_index[bad[0]]} ({len(bad)} rows); remove the event"
            )
    mother = events["mother_index"]
    sizes = np.repeat(events.counts, events.counts)
    bad = np.flatnonzero((mother < -1) | (mother >= sizes))
    if len(bad):
        raise InputError(
            f"mother_index: expected -1 or a row of the event, got {mother[bad[0]]} "
            f"in {where}, event {events.event_index[bad[0]]}; remove the event"
        )


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
    momentum = np.sqrt(sum(events[name].astype(np.float64) ** 2 for name in _FINITE[4:]))
    ignored = events["status"] & (StatusBit.VIRTUAL | StatusBit.INITIAL) != 0
    inside = _is_inside(events)
    return exists & (leaf | far) & known & ~ignored & inside & (momentum > _SOFTEST)


def _is_inside(events: Events) -> NDArray[np.bool_]:
    """Return whether particles are made inside the inner face of the calorimeter."""
    inside: NDArray[np.bool_] = np.hypot(events["x"], events["y"]) < VOLUME_RADIUS
    return inside & (events["z"] > VOLUME_BACKWARD) & (events["z"] < VOLUME_FORWARD)


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
