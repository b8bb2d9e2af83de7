"""Predicted against observed passing events in quantiles of the score."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import MissingPackageError
from smartfilter.training.evaluation import weight_to_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Quantile", "compare_quantiles"]

N_QUANTILES = 10
TOLERANCE = 0.05
"""Relative difference that agrees whatever the statistics say."""

DEVIATIONS = 2.0
"""Standard deviations within which predicted and observed agree."""

_RARE = math.erfc(DEVIATIONS / math.sqrt(2.0))

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
    probability : float
        Of a difference at least as large, by the distribution of the counts, which is
        not normal where they are small.
    chance : float
        Probability that the quantile disagrees although the calibration is right.
    """

    lowest: float
    highest: float
    n_events: int
    predicted: float
    observed: float
    error: float
    probability: float = 0.0
    chance: float = 0.0

    @property
    def ratio(self) -> float:
        """Predicted over observed; infinite where nothing passes."""
        return self.predicted / self.observed if self.observed > 0 else float("inf")

    @property
    def agrees(self) -> bool:
        """Whether both agree within 5 % or 2 standard deviations.

        For small counts that is a probability of at least that of 2 deviations.
        """
        return bool(_agree(self.predicted, self.observed, self.error, self.probability))

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers with agreement and ratio, None where nothing passes."""
        ratio = self.ratio if self.observed > 0 else None
        return {**asdict(self), "ratio": ratio, "agrees": self.agrees}


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
    large for one from n_calibration instead of n. Probabilities are those of the
    binomial, Poisson or negative binomial distribution with this mean and variance.
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
        predicted, observed = float(w[rows] @ s[rows]), float(w[rows] @ y[rows])
        variance = float(np.square(w[rows]) @ (s[rows] * (1.0 - s[rows])))
        unit = float(np.square(w[rows]) @ s[rows]) / max(predicted, 1e-300)
        error = math.sqrt(inflation * variance)
        counts = _Counts(predicted / unit, error / unit) if unit > 0 else None
        quantiles.append(
            Quantile(
                lowest=float(s[begin]),
                highest=float(s[end - 1]),
                n_events=int(end - begin),
                predicted=predicted,
                observed=observed,
                error=error,
                probability=float(counts.judge(observed / unit)) if counts else 1.0,
                chance=counts.find_chance() if counts else 0.0,
            )
        )
    return tuple(quantiles)


def _agree(predicted: Any, observed: Any, error: float, probability: Any) -> Any:
    """Return whether both agree within 5 % or 2 standard deviations; broadcasts."""
    allowed = np.maximum(TOLERANCE * observed, DEVIATIONS * error)
    return (np.abs(predicted - observed) <= allowed) | (probability >= _RARE)


class _Counts:
    """Counts with a mean and a standard deviation.

    Binomial, Poisson or negative binomial where the variance is below, at or above the
    mean (Panjer, ASTIN Bulletin 12 (1981) 22).
    """

    _WIDEST = 12.0

    def __init__(self, mean: float, deviation: float) -> None:
        try:
            from scipy.stats import (  # type: ignore[import-untyped]
                binom,
                nbinom,
                poisson,
            )
        except ImportError as error:
            raise MissingPackageError("scikit-learn", "train") from error

        self.mean, self.deviation = mean, deviation
        excess = deviation**2 - mean
        if abs(excess) <= 1e-6 * mean:
            self._law = poisson(mean)
        elif excess > 0:
            self._law = nbinom(mean**2 / excess, mean / deviation**2)
        else:
            n = max(math.ceil(mean), round(-(mean**2) / excess))
            self._law = binom(n, mean / n)

    def judge(self, count: Any) -> Any:
        """Return the probability of a count as far from the mean: twice the smaller tail.

        Counts between two integers get the larger of the probabilities of both.
        """
        below = self._law.cdf(np.floor(count))
        above = self._law.sf(np.ceil(count) - 1.0)
        return np.minimum(1.0, 2.0 * np.minimum(below, above))

    def find_chance(self) -> float:
        """Return the probability of all counts that disagree with the mean."""
        reach = self._WIDEST * self.deviation + self._WIDEST
        lowest = max(0, math.floor(self.mean - reach))
        counts = np.arange(lowest, math.ceil(self.mean + reach) + 1)
        agree = _agree(self.mean, counts, self.deviation, self.judge(counts))
        return float(np.sum(self._law.pmf(counts)[~agree]))
