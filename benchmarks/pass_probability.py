"""How well could anybody predict? Estimates of the limit from repeated simulation.

An event passes with a probability p that only the detector's randomness makes different
from 0 or 1; the best possible score is p itself. M repeats of the simulation give counts
k of passes, and three estimates of what p would do:

- *shrunk*: the posterior mean of p under a beta distribution of p in each bin of a good
  network's score (fitted to the counts). It is a score like any other: what it reaches
  on an independent simulation is a lower bound of the limit.
- *extrapolated*: the same with M / 2 and M repeats, linear in 1 / M, at 1 / M = 0.
- *modelled*: the limit itself, as the fitted beta distributions have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln
from scipy.stats import beta as beta_distribution

from smartfilter.speedup import threshold_speedup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Merit", "Repeats", "estimate_limits", "rate_score"]

N_BINS = 24
"""Bins of the network's score, equally filled when both classes count half."""

N_GRID = 4_000
"""Points of p, dense where p is small."""


class Repeats(NamedTuple):
    """Events that were simulated several times; arrays of shape (n_events,).

    ``score`` of a network; ``passes``: label of a simulation that is not among the
    counted ones; ``counts`` (n_events, n_repeats), bool: labels of those; ``weight``:
    generated events that each event stands for.
    """

    score: NDArray[np.float64]
    passes: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    weight: NDArray[np.float64]

    def take(self, index: NDArray[np.int64]) -> Repeats:
        """Return these events."""
        return Repeats(
            self.score[index],
            self.passes[index],
            self.counts[index],
            self.weight[index],
        )


class Merit(NamedTuple):
    """Area under the ROC curve and largest speedup by (A)."""

    auc: float
    speedup: float


def _speed_up(
    tpr: NDArray[np.float64], fpr: NDArray[np.float64], rate: float, cost: float
) -> NDArray[np.float64]:
    """Return (A) with t_n = 0 and t_s = ``cost`` t_g, same shape."""
    f1, f0 = np.minimum(tpr, 1.0), np.minimum(fpr, 1.0)  # sums of shares round up
    return np.asarray(
        threshold_speedup(
            tpr=f1, fpr=f0, retention_rate=rate, t_g=1.0, t_n=0.0, t_s=cost
        )
    )


def rate_score(sample: Repeats, score: NDArray[np.float64], cost: float) -> Merit:
    """Return the merit of a score on the independent simulation.

    The threshold is chosen on every other event and used on the rest, both ways round.
    """
    halves = [_Curve.trace(sample, score, slice(first, None, 2)) for first in (0, 1)]
    rate = float(sample.weight @ sample.passes / sample.weight.sum())
    speedups = []
    for chosen_on, used_on in (halves, halves[::-1]):
        gain = _speed_up(chosen_on.tpr, chosen_on.fpr, rate, cost)
        threshold = chosen_on.threshold[int(np.argmax(gain))]
        tpr, fpr = used_on.read(threshold)
        speedups.append(float(_speed_up(tpr, fpr, rate, cost)))
    whole = _Curve.trace(sample, score, slice(None))
    return Merit(whole.area(), float(np.mean(speedups)))


class _Curve(NamedTuple):
    """ROC curve at falling thresholds, ties taken together."""

    threshold: NDArray[np.float64]
    tpr: NDArray[np.float64]
    fpr: NDArray[np.float64]

    @classmethod
    def trace(cls, sample: Repeats, score: NDArray[np.float64], part: slice) -> _Curve:
        s, y, w = score[part], sample.passes[part], sample.weight[part]
        order = np.argsort(-s, kind="stable")
        s, y, w = s[order], y[order], w[order]
        last = np.append(np.diff(s) != 0, True)
        passing, failing = np.cumsum(w * y), np.cumsum(w * ~y)
        return cls(
            s[last], (passing / passing[-1])[last], (failing / failing[-1])[last]
        )

    def read(self, threshold: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        kept = int(np.searchsorted(-self.threshold, -threshold, side="right"))
        if kept == 0:
            return np.zeros(()), np.zeros(())
        return np.asarray(self.tpr[kept - 1]), np.asarray(self.fpr[kept - 1])

    def area(self) -> float:
        tpr = np.concatenate([[0.0], self.tpr])
        fpr = np.concatenate([[0.0], self.fpr])
        return float(np.sum(np.diff(fpr) * 0.5 * (tpr[1:] + tpr[:-1])))


def estimate_limits(sample: Repeats, cost: float) -> dict[str, Merit]:
    """Return ``network``, ``mean``, ``shrunk``, ``extrapolated`` and ``modelled``.

    ``mean`` is the plain mean of the counts, which is biased low: most events that
    pass rarely never did.
    """
    n_repeats = sample.counts.shape[1]
    bins = _assign_bins(sample)
    half = sample.counts[:, : n_repeats // 2]
    fits = fit_bins(sample, bins, sample.counts)
    shrunk = rate_score(sample, shrink(fits, bins, sample.counts), cost)
    coarse = rate_score(sample, shrink(fit_bins(sample, bins, half), bins, half), cost)
    return {
        "network": rate_score(sample, sample.score, cost),
        "mean": rate_score(sample, sample.counts.mean(axis=1), cost),
        "shrunk": shrunk,
        "extrapolated": Merit(
            *(2.0 * a - b for a, b in zip(shrunk, coarse, strict=True))
        ),
        "modelled": model_limit(sample, bins, fits, cost),
    }


def _assign_bins(sample: Repeats) -> NDArray[np.int64]:
    """Return the bin of each event's score."""
    order = np.argsort(sample.score, kind="stable")
    passing = sample.weight * sample.passes
    failing = sample.weight * ~sample.passes
    share = (passing / passing.sum() + failing / failing.sum())[order]
    position = np.cumsum(share) / share.sum()
    bins = np.empty(len(order), dtype=np.int64)
    bins[order] = np.minimum(position * N_BINS, N_BINS - 1).astype(np.int64)
    return np.unique(bins, return_inverse=True)[1]


def fit_bins(
    sample: Repeats, bins: NDArray[np.int64], counts: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return alpha and beta of the beta distribution of p in each bin, (n_bins, 2).

    Maximum likelihood of the beta-binomial distribution, events with their weights.
    """
    k, m = counts.sum(axis=1), counts.shape[1]
    fits = np.empty((int(bins.max()) + 1, 2))
    for b in range(len(fits)):
        inside = bins == b
        total = np.bincount(k[inside], weights=sample.weight[inside], minlength=m + 1)
        fits[b] = _fit_beta(total / total.sum(), m)
    return fits


def _fit_beta(share: NDArray[np.float64], m: int) -> NDArray[np.float64]:
    """Return alpha and beta that make shares of k = 0 ... m most likely."""
    k = np.arange(m + 1)
    mean = float(np.clip(share @ k / m, 1e-6, 1.0 - 1e-6))

    def loss(free: NDArray[np.float64]) -> float:
        a, b = np.exp(free)
        return float(-share @ (betaln(k + a, m - k + b) - betaln(a, b)))

    starts = [np.log([size * mean, size * (1.0 - mean)]) for size in (0.5, 3.0, 30.0)]
    bounds = [(-16.0, 9.0)] * 2
    found = [minimize(loss, s, method="L-BFGS-B", bounds=bounds) for s in starts]
    return np.asarray(np.exp(min(found, key=lambda f: float(f.fun)).x))


def shrink(
    fits: NDArray[np.float64], bins: NDArray[np.int64], counts: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the posterior mean of p of each event."""
    a, b = fits[bins].T
    result: NDArray[np.float64] = (counts.sum(axis=1) + a) / (counts.shape[1] + a + b)
    return result


def model_limit(
    sample: Repeats,
    bins: NDArray[np.int64],
    fits: NDArray[np.float64],
    cost: float,
) -> Merit:
    """Return the merit of p itself under the fitted distribution of p."""
    edges = np.concatenate([[0.0], np.logspace(-9, 0, N_GRID)])
    filled = np.bincount(bins, weights=sample.weight)
    share = filled / filled.sum()
    cumulative = np.zeros(len(edges))
    first = np.zeros(len(edges))
    for part, (a, b) in zip(share, fits, strict=True):
        cumulative += part * beta_distribution.cdf(edges, a, b)
        first += part * a / (a + b) * beta_distribution.cdf(edges, a + 1.0, b)
    passing = np.diff(first)[::-1]
    failing = (np.diff(cumulative) - np.diff(first))[::-1]
    rate = float(passing.sum())
    tpr = np.concatenate([[0.0], np.cumsum(passing) / rate])
    fpr = np.concatenate([[0.0], np.cumsum(failing) / failing.sum()])
    area = float(np.sum(np.diff(fpr) * 0.5 * (tpr[1:] + tpr[:-1])))
    return Merit(area, float(_speed_up(tpr, fpr, rate, cost).max()))
