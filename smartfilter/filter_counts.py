"""What becomes of events in the SmartFilter module, counted, and its line in the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smartfilter.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DIFFERENT", "FAILURE", "FIRST_LOOK", "MISSING", "FilterCounts", "Outcome"]

FIRST_LOOK = 1000
"""Events after which a job in which none could be scored is stopped."""

MISSING = "not in the score file"
DIFFERENT = "with another number of particles in the score file"
"""Troubles of a look-up, see `Outcome`."""

FAILURE = "failure"
"""Trouble of network or device."""


@dataclass(frozen=True)
class Outcome:
    """What happens to one event; sequences are per skim.

    ``trouble`` says why an event is kept without a score.
    """

    keep: bool
    weight: Sequence[float]
    score: Sequence[float]
    trouble: str = ""


@dataclass
class FilterCounts:
    """What the module saw and decided.

    Parameters
    ----------
    n_generated, n_kept : int
        Events that came in, and those that the decision keeps.
    n_unscorable : int
        Events without a score: kept with weight 1.
    n_failed, n_missing : int
        Those of them for which network or device failed, and those that a score file
        does not have, or with another number of particles.
    inferred : dict of str to int
        Events whose type was inferred from the record, by type.
    sum_weight : dict of str to float
        Sum of the weights of kept events, by skim.
    """

    n_generated: int = 0
    n_kept: int = 0
    n_unscorable: int = 0
    n_failed: int = 0
    n_missing: int = 0
    inferred: dict[str, int] = field(default_factory=dict)
    sum_weight: dict[str, float] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count an event."""
        self.n_generated += 1
        self.n_kept += int(outcome.keep)
        self.n_unscorable += int(bool(outcome.trouble))

    def require_scores(self, trouble: str) -> None:
        """Refuse to go on if none of the first events could be scored.

        Parameters
        ----------
        trouble : str
            That of the last event.

        Raises
        ------
        InputError
            After exactly `FIRST_LOOK` events without a score.
        """
        if not self.n_generated == self.n_unscorable == FIRST_LOOK:
            return
        hint = (
            "is it the score file of these events?"
            if trouble in (MISSING, DIFFERENT)
            else "is the module right behind the generator?"
        )
        raise InputError(
            f"SmartFilter: none of the first {FIRST_LOOK} events can be scored "
            f"(last: {trouble}); {hint}"
        )

    def describe(self) -> str:
        """Return one line for the log."""
        share = 100.0 * self.n_kept / self.n_generated if self.n_generated else 0.0
        text = (
            f"SmartFilter: {self.n_generated} generated, {self.n_kept} kept "
            f"({share:.2f} %), {self.n_unscorable} unscorable"
        )
        if self.n_failed:
            text += f" ({self.n_failed} because the network failed)"
        if self.n_missing:
            text += f" ({self.n_missing} not in the score file)"
        for skim, total in self.sum_weight.items():
            mean = total / self.n_kept if self.n_kept else 0.0
            text += f"; mean weight {skim}: {mean:.4g}"
        if self.inferred:
            types = ", ".join(f"{name} {n}" for name, n in self.inferred.items())
            text += f"; event type inferred from the record: {types}"
        return text
