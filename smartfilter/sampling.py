"""Keep probabilities of importance sampling, and the constant that costs least."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MAX_WEIGHT",
    "find_sampling_constant",
    "official_keep_probability",
    "optimal_keep_probability",
]

MAX_WEIGHT = 100.0
"""Largest weight of a kept event (basf2 ``SmartBkgPayloadCreation.py``)."""


def optimal_keep_probability(
    score: NDArray[Any], constant: float, *, max_weight: float = MAX_WEIGHT
) -> NDArray[np.float64]:
    r"""Return the keep probability that costs least at equal effective sample size.

    .. math:: p = \min(1, \max(c \sqrt{s}, 1 / w_\mathrm{max}))

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
        Calibrated pass probability.
    constant : float
        c, from `find_sampling_constant`.
    max_weight : float
        Largest weight of a kept event.

    Returns
    -------
    ndarray of float64, shape (n_events,)

    Notes
    -----
    Minimises E[s/p] (t_g + t_n + t_s E[p]) over p(x), pointwise: the derivative with
    respect to p(x) vanishes where p^2 is proportional to s; ``docs/speedup.md``.
    """
    p = constant * np.sqrt(score.astype(np.float64, copy=False))
    return np.clip(p, 1.0 / max_weight, 1.0)


def official_keep_probability(
    logit: NDArray[Any], slope: float, offset: float, *, max_weight: float = MAX_WEIGHT
) -> NDArray[np.float64]:
    """Return the clipped exponential exp(a (logit - b)) in [1 / max_weight, 1].

    Source: basf2 ``skim/modules/src/SmartBackgroundModule.cc``.

    Parameters
    ----------
    logit : ndarray of float, shape (n_events,)
        Raw network output.
    slope, offset : float
        a and b of the skim.
    max_weight : float
        Largest weight of a kept event.

    Returns
    -------
    ndarray of float64, shape (n_events,)
    """
    exponent = slope * (logit.astype(np.float64, copy=False) - offset)
    return np.exp(np.clip(exponent, -np.log(max_weight), 0.0))


def find_sampling_constant(
    score: NDArray[Any],
    *,
    t_g: float,
    t_s: float,
    t_n: float = 0.0,
    max_weight: float = MAX_WEIGHT,
    sample_weight: NDArray[Any] | None = None,
) -> float:
    """Return the c of `optimal_keep_probability` that costs least on these events.

    A search in one dimension for the minimum of E[s/p] (t_g + t_n + t_s E[p]). At the
    optimum c^2 = (t_g + t_n + t_s E[p]) / (t_s E[s/p]), up to the maximum weight; see
    ``docs/speedup.md``.

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
        Calibrated pass probabilities of generated events.
    t_g, t_s, t_n : float
        Seconds per event (only ratios matter).
    max_weight : float
        Largest weight of a kept event.
    sample_weight : ndarray of float, shape (n_events,), optional
        Generated events that each event stands for; 1 by default.

    Raises
    ------
    UsageError
        If no score is positive.
    """
    if not np.any(score > 0):
        raise UsageError("sampling constant: expected positive scores, got none")
    weight = np.ones(len(score)) if sample_weight is None else sample_weight
    share = weight / weight.sum()
    s = score.astype(np.float64)

    def cost(log_c: float) -> float:
        p = optimal_keep_probability(s, float(np.exp(log_c)), max_weight=max_weight)
        return float(share @ (s / p)) * (t_g + t_n + t_s * float(share @ p))

    root = np.sqrt(s[s > 0])
    grid = np.linspace(np.log(1.0 / max_weight), np.log(1.0 / root.min()), 65)
    costs = [cost(x) for x in grid]
    best = int(np.argmin(costs))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return float(np.exp(_golden_section(cost, low, high)))


def _golden_section(
    cost: Any, low: float, high: float, tolerance: float = 1e-6
) -> float:
    """Return the minimum of a function with one valley between low and high."""
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    f_left, f_right = cost(left), cost(right)
    while high - low > tolerance:
        if f_left <= f_right:
            high, right, f_right = right, left, f_left
            left = high - ratio * (high - low)
            f_left = cost(left)
        else:
            low, left, f_left = left, right, f_right
            right = low + ratio * (high - low)
            f_right = cost(right)
    return float((low + high) / 2.0)
