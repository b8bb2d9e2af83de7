"""What training asks of labelled events: labels, the events each stands for, totals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from smartfilter.errors import InputError
from smartfilter.events import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["SAMPLE_WEIGHT", "Totals", "read_sample_weight", "require_labels"]

SAMPLE_WEIGHT = "sample_weight"
"""Event-level variable: generated events that an event stands for."""


def require_labels(events: Events, skims: Sequence[str]) -> None:
    """Refuse events without the labels of these skims.

    Raises
    ------
    InputError
        If a label is missing.
    """
    for name in skims:
        if name not in events.labels:
            raise InputError(
                f"label: expected '{name}' in {events.file or 'events'}, "
                f"got {', '.join(events.labels) or 'none'}; run smartfilter simulate"
            )


def read_sample_weight(events: Events) -> NDArray[np.float32]:
    """Return the generated events that each event stands for, 1 where not given.

    Raises
    ------
    InputError
        If a weight is not a number > 0.
    """
    weight = events.variables.get(SAMPLE_WEIGHT, np.ones(len(events), np.float32))
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight > 0)))
    if len(bad):
        raise InputError(
            f"{SAMPLE_WEIGHT}: expected numbers > 0, got {weight[bad[0]]} in "
            f"{events.file or 'events'}, entry {events.entry[bad[0]]}"
        )
    return weight.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums of the weights of all events, also of those that are not in memory.

    Parameters
    ----------
    events : ndarray of float64, shape (n_event_types + 1,)
        In the order of `smartfilter.events.EVENT_TYPES`; unknown at the end.
    passing : ndarray of float64, shape (n_event_types + 1, n_skims)
    """

    events: NDArray[np.float64]
    passing: NDArray[np.float64]

    def __add__(self, other: Totals) -> Totals:
        """Return the sums of both."""
        return Totals(self.events + other.events, self.passing + other.passing)

    @classmethod
    def count(cls, events: Events, skims: Sequence[str]) -> Totals:
        """Return the sums of labelled events."""
        weight = read_sample_weight(events).astype(np.float64)
        code = np.where(events.event_type < 0, len(EVENT_TYPES), events.event_type)

        def add_up(values: NDArray[np.float64]) -> NDArray[np.float64]:
            sums = np.bincount(code, weights=values, minlength=len(EVENT_TYPES) + 1)
            return sums.astype(np.float64)

        passing = [add_up(weight * events.labels[name]) for name in skims]
        return cls(add_up(weight), np.stack(passing, axis=1))
