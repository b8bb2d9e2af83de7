"""Keep probabilities of importance sampling, and the constants that cost least.

``docs/sampling.md`` derives every formula here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MAX_WEIGHT",
    "estimate_joint_constants",
    "find_joint_constants",
    "find_sampling_constant",
    "fit_official_constants",
    "joint_keep_probability",
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
    respect to p(x) vanishes where p^2 is proportional to s; ``docs/sampling.md``.
    """
    p = constant * np.sqrt(score.astype(np.float64, copy=False))
    return np.clip(p, 1.0 / max_weight, 1.0)


def joint_keep_probability(
    scores: NDArray[Any],
    constants: ArrayLike,
    *,
    max_weight: float = MAX_WEIGHT,
) -> NDArray[np.float64]:
    r"""Return the one keep probability that serves several skims.

    .. math:: p = \min(1, \max(\sqrt{\tfrac1K \sum_k c_k^2 s_k}, 1 / w_\mathrm{max}))

    It is c sqrt(sum_k a_k s_k) with importances a_k and c_k = c sqrt(K a_k), and for
    one skim, or K equal ones, `optimal_keep_probability`.

    Parameters
    ----------
    scores : ndarray of float, shape (n_events, n_skims)
        Calibrated pass probabilities.
    constants : array_like of float, shape (n_skims,)
        c_k, from `find_joint_constants` or `estimate_joint_constants`.
    max_weight : float
        Largest weight of a kept event.

    Returns
    -------
    ndarray of float64, shape (n_events,)

    Notes
    -----
    Minimises sum_k a_k E[s_k/p] (t_g + t_n + t_s E[p]) over p(x), pointwise;
    ``docs/sampling.md``.
    """
    squares = np.square(np.asarray(constants, dtype=np.float64))
    total = np.einsum("ij,j", scores.astype(np.float64), squares / len(squares))
    p: NDArray[np.float64] = np.clip(np.sqrt(total), 1.0 / max_weight, 1.0)
    return p


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
    passes: NDArray[Any] | None = None,
    /,
    *,
    t_g: float,
    t_s: float,
    t_n: float = 0.0,
    max_weight: float = MAX_WEIGHT,
    sample_weight: NDArray[Any] | None = None,
) -> float:
    """Return the c of `optimal_keep_probability` that costs least on these events.

    A search in one dimension for the minimum of E[y/p] (t_g + t_n + t_s E[p]). At the
    optimum c^2 = (t_g + t_n + t_s E[p]) / (t_s E[s/p]), up to the maximum weight; see
    ``docs/sampling.md``.

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
        Calibrated pass probabilities of generated events.
    passes : ndarray of bool or float, shape (n_events,), optional
        y: labels; by default the scores stand for them, E[y | x] = s.
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
    s = score.astype(np.float64)
    cost = _CostPerEffectiveEvent(
        s if passes is None else passes, sample_weight, t_g + t_n, t_s
    )

    def evaluate(log_c: float) -> float:
        p = optimal_keep_probability(s, float(np.exp(log_c)), max_weight=max_weight)
        return cost(p)

    root = np.sqrt(s[s > 0])
    nothing, everything = 1.0 / (max_weight * root.max()), 1.0 / root.min()
    return float(np.exp(_minimise(evaluate, np.log(nothing), np.log(everything))))


def find_joint_constants(
    scores: NDArray[Any],
    passes: NDArray[Any] | None = None,
    /,
    *,
    t_g: float,
    t_s: float,
    t_n: float = 0.0,
    importance: ArrayLike | None = None,
    max_weight: float = MAX_WEIGHT,
    sample_weight: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Return the c_k of `joint_keep_probability` that cost least on these events.

    With a_k = importance_k / r_k this is the rule that minimises the mean over the skims
    (weighted with their importances) of 1 / speedup_k, formula (C); one search in one
    dimension, for the common factor.

    Parameters
    ----------
    scores : ndarray of float, shape (n_events, n_skims)
        Calibrated pass probabilities of generated events.
    passes : ndarray of bool or float, shape (n_events, n_skims), optional
        Labels; by default the scores stand for them.
    t_g, t_s, t_n, max_weight, sample_weight
        As in `find_sampling_constant`.
    importance : array_like of float, shape (n_skims,), optional
        How much each skim matters; 1 by default. Only ratios count.

    Returns
    -------
    ndarray of float64, shape (n_skims,)

    Raises
    ------
    UsageError
        If an importance is not a number > 0, or a skim has no passing event.
    """
    n_skims = scores.shape[1]
    chosen = np.ones(n_skims) if importance is None else np.asarray(importance, float)
    if chosen.shape != (n_skims,) or not np.all(np.isfinite(chosen) & (chosen > 0)):
        raise UsageError(
            f"importance: expected {n_skims} numbers > 0, got {chosen.tolist()}"
        )
    y = (scores if passes is None else passes).astype(np.float64)
    rate = np.average(y, axis=0, weights=sample_weight)
    if not np.all(rate > 0):
        raise UsageError("sampling constant: expected passing events of every skim")
    a = chosen / rate
    constant = find_sampling_constant(
        scores.astype(np.float64) @ a,
        y @ a,
        t_g=t_g,
        t_s=t_s,
        t_n=t_n,
        max_weight=max_weight,
        sample_weight=sample_weight,
    )
    constants: NDArray[np.float64] = constant * np.sqrt(n_skims * a)
    return constants


def estimate_joint_constants(
    constants: ArrayLike, retention_rates: ArrayLike
) -> NDArray[np.float64]:
    r"""Return c_k of `joint_keep_probability` from what is known of each skim alone.

    .. math:: c_k' = g / \sqrt{r_k}, \quad \ln g = \tfrac1K \sum_k \ln(c_k \sqrt{r_k})

    The importances are those of `find_joint_constants`, 1 / r_k; the common factor, which
    would need the joint distribution of the scores, is the geometric mean of the single
    ones. For one skim it is exact.

    Parameters
    ----------
    constants : array_like of float, shape (n_skims,)
        Of `find_sampling_constant`.
    retention_rates : array_like of float, shape (n_skims,)

    Returns
    -------
    ndarray of float64, shape (n_skims,)

    Raises
    ------
    UsageError
        If a constant or a rate is not a number > 0.
    """
    c = np.asarray(constants, dtype=np.float64)
    rate = np.asarray(retention_rates, dtype=np.float64)
    for name, values in (("sampling constant", c), ("retention rate", rate)):
        if not np.all(np.isfinite(values) & (values > 0)):
            raise UsageError(f"{name}: expected numbers > 0, got {values.tolist()}")
    if len(c) == 1:
        return c
    common = np.exp(np.mean(np.log(c * np.sqrt(rate))))
    joint: NDArray[np.float64] = common / np.sqrt(rate)
    return joint


def fit_official_constants(
    logit: NDArray[Any],
    passes: NDArray[Any],
    *,
    t_g: float,
    t_s: float,
    t_n: float = 0.0,
    max_weight: float = MAX_WEIGHT,
    sample_weight: NDArray[Any] | None = None,
) -> tuple[float, float]:
    """Return the (a, b) of `official_keep_probability` that cost least.

    The minimum of E[y/p] (t_g + t_n + t_s E[p]) over both: what the closed form has to
    be compared with. Events are merged into at most 2,000 groups of neighbouring logits.

    Parameters
    ----------
    logit : ndarray of float, shape (n_events,)
        Raw network output.
    passes : ndarray of bool or float, shape (n_events,)
        Labels, or calibrated pass probabilities in their place.
    t_g, t_s, t_n, max_weight, sample_weight
        As in `find_sampling_constant`.

    Returns
    -------
    tuple of float
        Slope a > 0 and offset b.

    Raises
    ------
    UsageError
        If no event passes or all logits are the same.
    """
    z, y, weight = _merge_neighbours(logit, passes, sample_weight)
    if not np.any(y > 0) or z[0] == z[-1]:
        raise UsageError(
            "official constants: expected passing events and different logits, got "
            f"{len(logit)} events with mean label {float(np.mean(passes)):g}"
        )
    cost = _CostPerEffectiveEvent(y, weight, t_g + t_n, t_s)

    def find_offset(log_a: float) -> tuple[float, float]:
        a = float(np.exp(log_a))

        def evaluate(b: float) -> float:
            return cost(official_keep_probability(z, a, b, max_weight=max_weight))

        b = _minimise(evaluate, z[0], z[-1] + np.log(max_weight) / a)
        return b, evaluate(b)

    center = -np.log(np.sqrt(np.average(np.square(z - z.mean()))))
    log_a = _minimise(lambda x: find_offset(x)[1], center - 4, center + 4, n_grid=17)
    return float(np.exp(log_a)), find_offset(log_a)[0]


class _CostPerEffectiveEvent:
    """E[y/p] (t_before + t_s E[p]) on a sample, as a function of p."""

    def __init__(
        self,
        y: NDArray[Any],
        sample_weight: NDArray[Any] | None,
        t_before: float,
        t_s: float,
    ) -> None:
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        self._share = weight.astype(np.float64) / float(np.sum(weight))
        self._passing = self._share * y
        self._t_before, self._t_s = t_before, t_s

    def __call__(self, p: NDArray[np.float64]) -> float:
        # einsum: threads of a BLAS that wait for busy cores are ten times slower.
        used = self._t_before + self._t_s * float(np.einsum("i,i", self._share, p))
        return float(np.einsum("i,i", self._passing, 1.0 / p)) * used


def _merge_neighbours(
    logit: NDArray[Any],
    passes: NDArray[Any],
    sample_weight: NDArray[Any] | None,
    n_groups: int = 2000,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean logit, share of passing events and weight of groups, ascending."""
    weight = np.ones(len(logit)) if sample_weight is None else sample_weight
    order = np.argsort(logit, kind="stable")
    z, y, w = (np.asarray(v, np.float64)[order] for v in (logit, passes, weight))
    starts = np.unique(np.linspace(0, len(z), n_groups, endpoint=False).astype(int))
    total = np.add.reduceat(w, starts)
    return (
        np.add.reduceat(w * z, starts) / total,
        np.add.reduceat(w * y, starts) / total,
        total,
    )


def _minimise(
    cost: Callable[[float], float], low: float, high: float, n_grid: int = 65
) -> float:
    """Return where a function is smallest: the best of a grid, then golden section."""
    grid = np.linspace(low, high, n_grid)
    costs = [cost(float(x)) for x in grid]
    best = int(np.argmin(costs))
    return _golden_section(
        cost, grid[max(best - 1, 0)], grid[min(best + 1, n_grid - 1)]
    )


def _golden_section(
    cost: Callable[[float], float], low: float, high: float, tolerance: float = 1e-6
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
