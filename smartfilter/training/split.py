"""Training, validation and test events: a pure function of the event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError, ModelFileError, UsageError
from smartfilter.event_hash import hash_events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["SPLITS", "Split"]

SPLITS = ("train", "validation", "test")
"""Names of the parts; the position is the code."""

_PURPOSE = 0x73706C6974206576
"""Purpose of the hash: ASCII "split ev"; decisions use another one."""


@dataclass(frozen=True)
class Split:
    """Assigns events to training, validation and test by their hash.

    The same event is in the same part in every file, order and session; two copies of
    an event never end up in different parts.

    Parameters
    ----------
    fractions : tuple of float
        Shares of training, validation and test; their sum is 1.
    seed : int
        Seed of `smartfilter.event_hash.hash_events`.

    Raises
    ------
    UsageError
        If the shares are not three numbers >= 0 with the sum 1.
    """

    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the shares."""
        ok = len(self.fractions) == len(SPLITS) and min(self.fractions) >= 0
        if not ok or abs(sum(self.fractions) - 1.0) > 1e-9:
            raise UsageError(
                "split fractions: expected three numbers >= 0 with the sum 1, "
                f"got {self.fractions}"
            )

    def assign(self, events: Events) -> NDArray[np.int8]:
        """Return the part of each event as a position in `SPLITS`, (n_events,)."""
        state = hash_events(events, self.seed, purpose=_PURPOSE)
        u = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
        edges = np.cumsum(self.fractions)[:-1]
        return np.searchsorted(edges, u, side="right").astype(np.int8)

    def require_test(self, events: Events) -> None:
        """Refuse events that took part in training or validation.

        Raises
        ------
        InputError
            If there is one; names the first.
        """
        used = np.flatnonzero(self.assign(events) != SPLITS.index("test"))
        if len(used):
            raise InputError(
                f"test events: expected none of the training or validation split, got "
                f"{len(used)} of {len(events)} in {events.file or 'events'}, the first "
                f"at entry {events.entry[used[0]]}; drop them before evaluation"
            )

    def drop_used(self, events: Events) -> tuple[Events, int]:
        """Return the test events, and how many others were dropped."""
        test = self.assign(events) == SPLITS.index("test")
        return events.take(test), int((~test).sum())

    def to_dict(self) -> dict[str, Any]:
        """Return what a model file records."""
        return {"fractions": list(self.fractions), "seed": self.seed}

    @classmethod
    def from_training(cls, training: Mapping[str, Any], where: str) -> Split:
        """Return the split that a model file records.

        Parameters
        ----------
        training : mapping
            `smartfilter.model_info.ModelInfo.training`.
        where : str
            Named in errors.

        Raises
        ------
        ModelFileError
            If there is none.
        """
        try:
            record = training["split"]
            first, second, third = record["fractions"]
            return cls((first, second, third), int(record["seed"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"split: expected fractions and seed in the training record of {where}, "
                "got none; its test events are not known: give it files that it was not "
                "trained on, with --all-events"
            ) from error
