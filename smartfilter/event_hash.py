"""The hash of an event's identity and content, and the random number made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["DECISION", "GOLDEN", "draw_for_skims", "hash_events", "mix", "uniform"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Fractional part of the golden ratio times 2^64: what is added between words."""

# The multipliers of the splitmix64 finaliser (Steele, Lea, Flood, OOPSLA 2014,
# doi:10.1145/2660193.2660195).
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
DECISION = 0x736D617274666C74
"""Purpose of the hash behind `uniform`: ASCII "smartflt"."""


def mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the splitmix64 finaliser of each element (wraps modulo 2^64)."""
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))


def _as_uint64(values: NDArray[np.int64]) -> NDArray[np.uint64]:
    return values.astype(np.int64, copy=False).view(np.uint64)


def hash_events(events: Events, seed: int, *, purpose: int) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each event's identity and content.

    The hash covers purpose, seed, experiment, run, event number, and the PDG code and
    mother index of every generator particle in order: integers only, so it does not
    depend on batch size, order of events, device or number of workers, and it is the
    same before and after simulation where the primaries are.

    Parameters
    ----------
    events : Events
        Generator particles only (mothers 0-based within the event, -1: none).
    seed : int
        Seed of the job.
    purpose : int
        A constant that keeps uses of the hash independent of each other.

    Returns
    -------
    ndarray of uint64, shape (n_events,)
    """
    starts = np.repeat(events.offsets[:-1], events.counts)
    position = np.arange(events.n_particles, dtype=np.int64) - starts
    pdg = events["pdg"].astype(np.int64)
    mother = events["mother_index"].astype(np.int64)
    particle = mix(_as_uint64(pdg * (1 << 32) + mother) + GOLDEN)
    particle = mix(particle ^ (_as_uint64(position + 1) * GOLDEN))
    # The sum of well-mixed, position-dependent words modulo 2^64; the leading zero
    # makes the difference of the running sum right for empty events, too.
    running = np.concatenate([np.zeros(1, np.uint64), np.cumsum(particle)])
    state: NDArray[np.uint64] = (
        running[events.offsets[1:]] - running[events.offsets[:-1]]
    )
    for word in np.array([purpose % (1 << 64), seed % (1 << 64)], dtype=np.uint64):
        state = mix((state ^ word) + GOLDEN)
    for column in (events.experiment, events.run, events.event):
        state = mix((state ^ _as_uint64(column)) + GOLDEN)
    return state


def uniform(events: Events, seed: int) -> NDArray[np.float64]:
    """Return the random number of each event, uniform in [0, 1).

    The upper 53 bits of `hash_events`, as a double.

    Returns
    -------
    ndarray of float64, shape (n_events,)
    """
    return _to_unit(hash_events(events, seed, purpose=DECISION))


def draw_for_skims(
    events: Events, seed: int, columns: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """Return random numbers in [0, 1) of each event that do not depend on each other.

    Parameters
    ----------
    events : Events
    seed : int
    columns : ndarray of uint64, shape (n_skims,)
        Positions of the skims in the output of the network.

    Returns
    -------
    ndarray of float64, shape (n_events, n_skims)
    """
    state = hash_events(events, seed, purpose=DECISION)
    return _to_unit(mix(state[:, None] + (columns + np.uint64(1)) * GOLDEN))


def _to_unit(state: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the upper 53 bits as doubles in [0, 1)."""
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
