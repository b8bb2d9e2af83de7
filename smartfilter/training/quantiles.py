"""Predicted against observed passing events in quantiles of the score."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.training.evaluation import weight_to_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Quantile", "compare_quantiles"]

N_QUANTILES = 10
TOLERANCE = 0.05
"""Relative difference that agrees whatever the statistics say."""

DEVIATIONS = 2.0
"""Standard deviations within which predicted and observed agree."""

LEAST_PASSING = 0.5
"""Passing events that a calibration without any counts as: those of Jeffreys' prior."""


@dataclass(frozen=True)
class Quantile:
    """Events between two quantiles of the score.

    Parameters
    ----------
    lowest, highest : float
        Score of the first and the last event.
    n_events : int
    predicted, observed : float
        Passing events: sums of score and of label, with sample weights.
    error : float
        Standard deviation of predicted - observed if the calibration is right.
    """

    lowest: float
    highest: float
    n_events: int
    predicted: float
    observed: float
    error: float

    @property
    def ratio(self) -> float:
        """Predicted over observed; infinite where nothing passes."""
        return self.predicted / self.observed if self.observed > 0 else float("inf")

    @property
    def agrees(self) -> bool:
        """Whether both agree within 5 % or 2 standard deviations."""
        difference = abs(self.predicted - self.observed)
        allowed = max(TOLERANCE * self.observed, DEVIATIONS * self.error)
        return bool(difference <= allowed)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers with ratio and agreement."""
        return {**asdict(self), "ratio": self.ratio, "agrees": self.agrees}


def compare_quantiles(
    score: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    sample_weight: NDArray[Any] | None = None,
    n_calibration: float | None = None,
    retention_rate: float | None = None,
    n_quantiles: int = N_QUANTILES,
) -> tuple[Quantile, ...]:
    r"""Compare the scores of events with how many of them pass.

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
        Pass probabilities.
    passes : ndarray of bool, shape (n_events,)
    sample_weight : ndarray of float, shape (n_events,), optional
        Generated events that each event stands for; 1 by default.
    n_calibration : float, optional
        Passing events that the calibration rests on; by default many.
    retention_rate : float, optional
        Weigh the events such that this share passes: for data whose own share is not
        the true one.
    n_quantiles : int
        Each holds the same number of generated events.

    Notes
    -----
    The variance of observed is :math:`\sum w^2 s (1 - s)`; that of predicted is as
    large for a calibration from as many passing events, and n / n_calibration times as
    large for one from n_calibration instead of n.
    """
    weight = np.ones(len(score)) if sample_weight is None else sample_weight
    weight = weight.astype(np.float64)
    if retention_rate is not None and passes.any() and not passes.all():
        share = weight_to_rate(passes, retention_rate, weight)
        weight = share * (weight.sum() / share.sum())
    order = np.argsort(score, kind="stable")
    s, y, w = score[order].astype(np.float64), passes[order], weight[order]
    position = (np.cumsum(w) - 0.5 * w) / max(w.sum(), 1e-300)
    starts = np.searchsorted(position, np.arange(n_quantiles + 1) / n_quantiles)
    starts[-1] = len(s)
    inflation = 1.0
    if n_calibration is not None and len(s):
        n_passing = float(np.square(w @ s) / max(np.square(w) @ s, 1e-300))
        inflation += n_passing / max(n_calibration, LEAST_PASSING)
    quantiles = []
    for begin, end in pairwise(starts.tolist()):
        if begin == end:
            continue
        rows = slice(begin, end)
        variance = np.square(w[rows]) @ (s[rows] * (1.0 - s[rows]))
        quantiles.append(
            Quantile(
                lowest=float(s[begin]),
                highest=float(s[end - 1]),
                n_events=int(end - begin),
                predicted=float(w[rows] @ s[rows]),
                observed=float(w[rows] @ y[rows]),
                error=float(np.sqrt(inflation * variance)),
            )
        )
    return tuple(quantiles)
