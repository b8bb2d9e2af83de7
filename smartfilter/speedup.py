r"""Every speedup and effective-sample-size formula, with uncertainties; NumPy only.

Symbols, per generated event: ``t_g``, ``t_n``, ``t_s`` are the times (any one unit) for
generation, filter, and simulation + reconstruction + skim; ``retention_rate`` r is the
skim's share of generated events; ``tpr`` f1 and ``fpr`` f0 are the shares of passing and
of failing events that the filter keeps. A speedup is the cost without the filter over
the cost with it at equal yield (threshold) or equal effective sample size (sampling):
above 1 is better.

Letters: (A) is the correct formula, (A2) drops its assumption that kept and dropped
events cost the same, (B) is the published one, (B') is the published derivation with
its own substitutions carried out, (C) is for importance sampling. ``docs/speedup.md``
derives them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "BestThreshold",
    "ThresholdCurve",
    "effective_sample_size",
    "find_best_threshold",
    "printed_formula",
    "propagate",
    "sampling_speedup",
    "speedup_limit",
    "speedup_with_costs",
    "substituted_formula",
    "threshold_curve",
    "threshold_speedup",
]

Floats = Any
"""A float, or a float64 array; every formula broadcasts."""


def _rates(**rates: ArrayLike) -> list[NDArray[np.float64]]:
    """Return the values as arrays, refusing anything outside [0, 1]."""
    arrays = []
    for name, value in rates.items():
        array = np.asarray(value, dtype=np.float64)
        if not np.all((array >= 0) & (array <= 1)):
            raise UsageError(f"{name}: expected a number from 0 to 1, got {array}")
        arrays.append(array)
    return arrays


def _times(**times: ArrayLike) -> list[NDArray[np.float64]]:
    """Return the values as arrays, refusing negative and non-finite ones."""
    arrays = []
    for name, value in times.items():
        array = np.asarray(value, dtype=np.float64)
        if not np.all(np.isfinite(array) & (array >= 0)):
            raise UsageError(f"{name}: expected a time >= 0, got {array}")
        arrays.append(array)
    return arrays


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return numerator / denominator, NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(denominator > 0, np.divide(numerator, denominator), np.nan)
    return value[()]


def threshold_speedup(
    *,
    tpr: ArrayLike,
    fpr: ArrayLike,
    retention_rate: ArrayLike,
    t_g: ArrayLike,
    t_s: ArrayLike,
    t_n: ArrayLike = 0.0,
) -> Floats:
    r"""Return the speedup of a threshold, formula (A).

    .. math:: \frac{f_1 (t_g + t_s)}{t_g + t_n + t_s (r f_1 + (1 - r) f_0)}

    Raises
    ------
    UsageError
        If a rate is outside [0, 1] or a time is negative or not finite.
    """
    f1, f0, r = _rates(tpr=tpr, fpr=fpr, retention_rate=retention_rate)
    g, s, n = _times(t_g=t_g, t_s=t_s, t_n=t_n)
    return _ratio(f1 * (g + s), g + n + s * (r * f1 + (1 - r) * f0))


def speedup_with_costs(
    *,
    tpr: ArrayLike,
    t_g: ArrayLike,
    mean_t_s: ArrayLike,
    mean_kept_t_s: ArrayLike,
    t_n: ArrayLike = 0.0,
) -> Floats:
    r"""Return the speedup of a threshold when kept events cost more, formula (A2).

    .. math:: \frac{f_1 (t_g + E[t_s])}{t_g + t_n + E[\mathrm{keep}\; t_s]}

    Parameters
    ----------
    tpr, t_g, t_n : float or ndarray
        As in `threshold_speedup`.
    mean_t_s : float or ndarray
        Mean of t_s over all generated events.
    mean_kept_t_s : float or ndarray
        Mean over all generated events of t_s where kept, 0 where dropped.
    """
    (f1,) = _rates(tpr=tpr)
    g, n, s, kept = _times(
        t_g=t_g, t_n=t_n, mean_t_s=mean_t_s, mean_kept_t_s=mean_kept_t_s
    )
    return _ratio(f1 * (g + s), g + n + kept)


def printed_formula(
    *,
    tpr: ArrayLike,
    fpr: ArrayLike,
    retention_rate: ArrayLike,
    t_g: ArrayLike,
    t_s: ArrayLike,
) -> Floats:
    r"""Return formula (B) as the lab report prints it, which is wrong.

    .. math:: \frac{f_1 (t_g + t_s)}{t_g + t_s (f_1 + f_0 (1 - r) / r)}

    It gives 1 for a perfect filter. Kept because it is published; see `threshold_speedup`.
    """
    f1, f0, r = _rates(tpr=tpr, fpr=fpr, retention_rate=retention_rate)
    g, s = _times(t_g=t_g, t_s=t_s)
    return _ratio(f1 * (g + s), g + s * (f1 + f0 * _ratio(1 - r, r)))


def substituted_formula(
    *,
    tpr: ArrayLike,
    fpr: ArrayLike,
    retention_rate: ArrayLike,
    t_g: ArrayLike,
    t_s: ArrayLike,
) -> Floats:
    r"""Return formula (B'): the derivation of (B) with its substitutions carried out.

    .. math:: \frac{f_1 (t_g + t_s)}{r t_g + f_1 t_s (r + f_0 (1 - r))}

    It rests on r X = f1 X' instead of r X = r f1 X', and for a perfect filter exceeds
    what any filter can reach.
    """
    f1, f0, r = _rates(tpr=tpr, fpr=fpr, retention_rate=retention_rate)
    g, s = _times(t_g=t_g, t_s=t_s)
    return _ratio(f1 * (g + s), r * g + f1 * s * (r + f0 * (1 - r)))


def speedup_limit(
    *,
    retention_rate: ArrayLike,
    t_g: ArrayLike,
    t_s: ArrayLike,
    t_n: ArrayLike = 0.0,
) -> Floats:
    """Return the speedup of a perfect filter: formula (A) with f1 = 1 and f0 = 0."""
    return threshold_speedup(
        tpr=1.0, fpr=0.0, retention_rate=retention_rate, t_g=t_g, t_s=t_s, t_n=t_n
    )


def sampling_speedup(
    *,
    retention_rate: ArrayLike,
    mean_pass_over_p: ArrayLike,
    mean_keep_probability: ArrayLike,
    t_g: ArrayLike,
    t_s: ArrayLike,
    t_n: ArrayLike = 0.0,
    mean_kept_t_s: ArrayLike | None = None,
) -> Floats:
    r"""Return the speedup of importance sampling at equal effective size, formula (C).

    .. math:: \frac{r (t_g + t_s)}{E[y/p]\, (t_g + t_n + t_s E[p])}

    Parameters
    ----------
    retention_rate, t_g, t_s, t_n : float or ndarray
        As in `threshold_speedup`.
    mean_pass_over_p : float or ndarray
        E[y / p], the mean over generated events of pass label over keep probability.
    mean_keep_probability : float or ndarray
        E[p].
    mean_kept_t_s : float or ndarray, optional
        E[p t_s] measured per event, where kept events cost more; t_s E[p] by default.

    Raises
    ------
    UsageError
        As `threshold_speedup`, or if ``mean_pass_over_p`` is negative or NaN.
    """
    r, p = _rates(
        retention_rate=retention_rate, mean_keep_probability=mean_keep_probability
    )
    g, s, n = _times(t_g=t_g, t_s=t_s, t_n=t_n)
    kept = s * p if mean_kept_t_s is None else _times(mean_kept_t_s=mean_kept_t_s)[0]
    ratio = np.asarray(mean_pass_over_p, dtype=np.float64)
    if not np.all(ratio >= 0):
        raise UsageError(f"mean_pass_over_p: expected numbers >= 0, got {ratio}")
    return _ratio(r * (g + s), ratio * (g + n + kept))


def effective_sample_size(weight: ArrayLike) -> float:
    r"""Return Kish's effective sample size, :math:`(\sum w)^2 / \sum w^2`, in events.

    Parameters
    ----------
    weight : array_like of float, shape (n_events,)
        Weights, dimensionless, finite and >= 0. The result is 0 for no event.

    Raises
    ------
    UsageError
        If a weight is negative or not finite; names the first such event.

    Notes
    -----
    L. Kish, Survey Sampling (Wiley, 1965), section 11.7.
    """
    w = np.asarray(weight, dtype=np.float64)
    bad = ~(np.isfinite(w) & (w >= 0))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise UsageError(
            f"weight: expected finite numbers >= 0, got {w[first]} at event {first}"
        )
    if not np.any(w > 0):
        return 0.0
    w = w / w.max()  # the squares of any weights are numbers then
    return float(np.sum(w)) ** 2 / float(np.sum(w * w))


class BestThreshold(NamedTuple):
    """A threshold and what formula (A) says of it."""

    threshold: float
    speedup: float
    tpr: float
    fpr: float


class ThresholdCurve(NamedTuple):
    """Every threshold that tells the events apart, falling; each of shape (n,)."""

    threshold: NDArray[Any]
    tpr: NDArray[np.float64]
    fpr: NDArray[np.float64]


def threshold_curve(
    score: NDArray[Any],
    passes: NDArray[Any],
    *,
    sample_weight: NDArray[Any] | None = None,
) -> ThresholdCurve:
    """Return tpr and fpr of every threshold.

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
        Larger is more likely to pass; an event is kept if score >= threshold.
    passes : ndarray of bool or float, shape (n_events,)
        Labels, or pass probabilities in their place: an event with probability s then
        counts as s of a passing and 1 - s of a failing event.
    sample_weight : ndarray of float, shape (n_events,), optional
        Generated events that each event stands for; 1 by default.

    Raises
    ------
    UsageError
        If there is no passing or no failing event.
    """
    y = np.asarray(passes, dtype=np.float64)
    weight = np.ones(len(score)) if sample_weight is None else sample_weight
    if not np.any(weight * y > 0) or not np.any(weight * (1 - y) > 0):
        raise UsageError("best threshold: expected passing and failing events, got one")
    order = np.argsort(-score, kind="stable")
    f1 = np.cumsum((weight * y)[order])
    f0 = np.cumsum((weight * (1.0 - y))[order])
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    return ThresholdCurve(
        score[order][last_of_tie],
        np.minimum((f1 / f1[-1])[last_of_tie], 1.0),
        np.minimum((f0 / f0[-1])[last_of_tie], 1.0),
    )


def find_best_threshold(
    score: NDArray[Any],
    passes: NDArray[Any],
    *,
    retention_rate: float,
    t_g: float,
    t_s: float,
    t_n: float = 0.0,
    sample_weight: NDArray[Any] | None = None,
) -> BestThreshold:
    """Return the threshold with the largest speedup by formula (A) on these events.

    The maximum over a sample is optimistic for that sample: choose on one, quote on
    another.

    Parameters
    ----------
    score, passes, sample_weight
        As in `threshold_curve`.
    retention_rate, t_g, t_s, t_n : float
        As in `threshold_speedup`.

    Raises
    ------
    UsageError
        If there is no passing or no failing event, or all times are 0.
    """
    curve = threshold_curve(score, passes, sample_weight=sample_weight)
    speedup = threshold_speedup(
        tpr=curve.tpr,
        fpr=curve.fpr,
        retention_rate=retention_rate,
        t_g=t_g,
        t_s=t_s,
        t_n=t_n,
    )
    if np.isnan(speedup).all():
        raise UsageError("best threshold: expected times, got 0 for all of them")
    best = int(np.nanargmax(speedup))
    return BestThreshold(
        float(curve.threshold[best]),
        float(speedup[best]),
        float(curve.tpr[best]),
        float(curve.fpr[best]),
    )


def propagate(
    formula: Callable[..., Floats],
    values: Mapping[str, float],
    covariance: NDArray[np.float64] | Mapping[str, float],
) -> tuple[float, float]:
    """Return the value of a formula and its standard error, to first order.

    Parameters
    ----------
    formula : callable
        Takes the values as keywords.
    values : mapping of str to float
        Central values.
    covariance : mapping of str to float, or ndarray, shape (n_values, n_values)
        Independent standard errors by name (absent: 0), or the full covariance in
        the order of ``values``.

    Returns
    -------
    tuple of float
        Value and standard error; derivatives are central differences.
    """
    names = list(values)
    if isinstance(covariance, np.ndarray):
        matrix = covariance
    else:
        matrix = np.diag([covariance.get(name, 0.0) ** 2 for name in names])
    error = np.sqrt(np.diag(matrix))
    gradient = np.zeros(len(names))
    for i, name in enumerate(names):
        if error[i] > 0:
            gradient[i] = _differentiate(formula, values, name, 1e-3 * float(error[i]))
    variance = float(gradient @ matrix @ gradient)
    return float(formula(**values)), float(np.sqrt(max(variance, 0.0)))


def _differentiate(
    formula: Callable[..., Floats], values: Mapping[str, float], name: str, step: float
) -> float:
    """Return the derivative by central differences, one-sided at a border."""
    points = []
    step = max(step, 1e-8 * abs(values[name]))
    for value in (values[name] - step, values[name] + step):
        try:
            points.append((value, float(formula(**{**values, name: value}))))
        except UsageError:
            points.append((values[name], float(formula(**values))))
    (low, f_low), (high, f_high) = points
    return (f_high - f_low) / (high - low)
