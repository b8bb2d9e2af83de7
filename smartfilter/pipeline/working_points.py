"""Working points, and what a run of the chain would be at another one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import UsageError
from smartfilter.sampling import (
    MAX_WEIGHT,
    joint_keep_probability,
    official_keep_probability,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.decision import DecisionSettings
    from smartfilter.pipeline.chain import ChainRun

__all__ = ["FIRST_STAGES", "SIMULATION", "WorkingPoint", "correct_times", "replay"]

FIRST_STAGES = ("generation", "filter")
"""Stages that all events go through."""

SIMULATION = ("detector", "reconstruction", "skim")
"""Stages that t_s is the time of."""


@dataclass(frozen=True)
class WorkingPoint:
    """How the filter decides on the score of one skim.

    Parameters
    ----------
    mode : str
        ``threshold``, ``sample`` or ``official``.
    threshold : float, optional
        Of mode ``threshold``.
    constant : float, optional
        c of mode ``sample``.
    slope, offset : float, optional
        a and b of mode ``official``.
    max_weight : float
    """

    mode: str
    threshold: float | None = None
    constant: float | None = None
    slope: float | None = None
    offset: float | None = None
    max_weight: float = MAX_WEIGHT

    @classmethod
    def from_settings(cls, settings: DecisionSettings) -> WorkingPoint:
        """Return the working point of the first skim."""
        skim, mode = settings.skims[0], settings.mode
        if mode == "threshold":
            return cls(mode, threshold=skim.threshold)
        if mode == "sample":
            return cls(mode, constant=skim.constant, max_weight=settings.max_weight)
        return cls(
            mode,
            slope=skim.slope,
            offset=skim.offset,
            max_weight=settings.max_weight,
        )

    def get_keep_probability(self, scored: ChainRun) -> NDArray[np.float64]:
        """Return the probability of each event to be kept, 1 without a score."""
        if self.threshold is not None:
            p = (scored.score >= self.threshold).astype(np.float64)
        elif self.constant is not None:
            p = joint_keep_probability(
                scored.score[:, None], [self.constant], max_weight=self.max_weight
            )
        elif self.slope is not None and self.offset is not None:
            p = official_keep_probability(
                scored.logit, self.slope, self.offset, max_weight=self.max_weight
            )
        else:
            raise UsageError(
                f"working point: expected the constants of mode '{self.mode}', got none"
            )
        p[np.isnan(scored.score)] = 1.0
        return p


def replay(
    unfiltered: ChainRun, filtered: ChainRun, point: WorkingPoint, *, same: bool
) -> ChainRun:
    """Return what a run with the filter gives, from the times of the run without it.

    Parameters
    ----------
    unfiltered : ChainRun
        The chain without the filter.
    filtered : ChainRun
        The same events with the filter at any working point: what it said, and the
        times of generation and filter.
    point : WorkingPoint
    same : bool
        Whether ``filtered`` ran at this point: then its own decisions count; they are
        needed with mode ``official``, whose draws are not recorded.
    """
    p = point.get_keep_probability(filtered)
    if same:
        weight = filtered.weight
    elif point.mode == "threshold":
        weight = p
    elif point.mode == "sample":
        weight = np.where(unfiltered.draw < p, 1.0 / p, 0.0)
    else:
        raise UsageError(
            f"replay: expected a run with mode '{point.mode}', got another"
        )
    keep = weight > 0
    times = dict(correct_times(filtered, keep).times)
    for stage in SIMULATION:
        times[stage] = unfiltered.times[stage] * keep[:, None]
    return replace(
        filtered,
        times=times,
        passes=unfiltered.passes & keep,
        keep_probability=p,
        weight=weight,
    )


def correct_times(filtered: ChainRun, keep: NDArray[Any]) -> ChainRun:
    """Return the run with the times of its first stages where other events are kept.

    Behind a simulated event, which leaves its own data in the processor's caches,
    generation and filter are slower than behind one that was skipped: the filter by a
    factor of two, one event at a time. The differences are taken from the run itself.

    Parameters
    ----------
    filtered : ChainRun
        The filter at work.
    keep : ndarray of bool or float64, shape (n_events,)
        Whether, or how probably, each event is kept instead.
    """
    ran = _shift(filtered.weight > 0)
    if ran.all() or not ran.any():
        return filtered
    change = (_shift(keep) - ran)[:, None]
    times = dict(filtered.times)
    for stage in FIRST_STAGES:
        behind, ahead = times[stage][ran > 0], times[stage][ran == 0]
        times[stage] = times[stage] + change * (behind.mean(0) - ahead.mean(0))
    return replace(filtered, times=times)


def _shift(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the value of the event before each one, 0 before the first."""
    return np.concatenate([np.zeros(1), values[:-1].astype(np.float64)])[: len(values)]
