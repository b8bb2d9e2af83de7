"""What a detector asks of generated events before it simulates any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from smartfilter.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["MAX_MOMENTUM", "check_particles"]

MAX_MOMENTUM = 1000.0
"""Components of momenta are smaller, GeV: a shower takes time in proportion."""

_MOMENTA = ("px", "py", "pz")
_PLACES = ("x", "y", "z")


def check_particles(events: Events, extra_columns: Sequence[str] = ()) -> None:
    """Refuse numbers that are not finite, absurd momenta and mothers that are not there.

    Parameters
    ----------
    events : Events
    extra_columns : sequence of str
        Have to be finite as well as momenta and production vertices.

    Raises
    ------
    InputError
        If there is one; names file, entry and row of the first.
    """
    for name in _MOMENTA:
        good = np.abs(events[name]) < MAX_MOMENTUM  # NaN is not
        if not good.all():
            rule = f"a number between -{MAX_MOMENTUM:g} and {MAX_MOMENTUM:g} GeV"
            _refuse(events, name, good, rule)
    for name in (*_PLACES, *extra_columns):
        good = np.isfinite(events[name])
        if not good.all():
            _refuse(events, name, good, "a finite number")
    mother = events["mother_index"]
    good = (mother >= -1) & (mother < np.repeat(events.counts, events.counts))
    if not good.all():
        _refuse(events, "mother_index", good, "-1 or a row of the event")


def _refuse(events: Events, name: str, good: NDArray[np.bool_], rule: str) -> NoReturn:
    bad = np.flatnonzero(~good)
    event = int(np.searchsorted(events.offsets, bad[0], side="right")) - 1
    raise InputError(
        f"column '{name}': expected {rule}, got {events[name][bad[0]]} in "
        f"{events.file or 'events'}, entry {events.entry[event]}, particle "
        f"{bad[0] - events.offsets[event]} ({len(bad)} in all); remove the event"
    )
