"""What a threshold or a sampling constant keeps and costs, with errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.sampling import MAX_WEIGHT
from smartfilter.speedup import propagate, sampling_speedup, threshold_speedup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "SamplingPoint",
    "ThresholdPoint",
    "Times",
    "average_columns",
    "evaluate_sampling",
    "evaluate_threshold",
]


class Times(NamedTuple):
    """Time per event of generation, simulation + reconstruction + skim, and filter.

    In any one unit; keywords of the formulas with ``_asdict()``.
    """

    t_g: float
    t_s: float
    t_n: float = 0.0


@dataclass(frozen=True)
class ThresholdPoint:
    """A threshold and what it costs and keeps; errors are at fixed retention rate.

    Parameters
    ----------
    threshold : float
        Keep if score >= threshold.
    tpr, tpr_error, fpr, fpr_error : float
        f1 and f0 with their binomial errors.
    keep_fraction : float
        Share of generated events that is simulated.
    speedup, speedup_error : float
        Formula (A).
    """

    threshold: float
    tpr: float
    tpr_error: float
    fpr: float
    fpr_error: float
    keep_fraction: float
    speedup: float
    speedup_error: float


@dataclass(frozen=True)
class SamplingPoint:
    """A sampling constant and what it costs and keeps.

    Parameters
    ----------
    constant : float
        c (one skim) or c_k (several) of `joint_keep_probability`.
    max_weight : float
        Largest weight of a kept event.
    mean_keep_probability : float
        E[p], the share of generated events that is simulated.
    share_at_max_weight : float
        Share of generated events with p = 1 / max_weight.
    n_eff_per_event : float
        Effective number of passing events per generated event, r^2 / E[y/p].
    n_eff_per_passing_event : float
        The same per passing generated event, r / E[y/p]: at most 1.
    speedup, speedup_error : float
        Formula (C); the error is at fixed retention rate.
    """

    constant: float
    max_weight: float
    mean_keep_probability: float
    share_at_max_weight: float
    n_eff_per_event: float
    n_eff_per_passing_event: float
    speedup: float
    speedup_error: float


def evaluate_threshold(
    score: NDArray[Any],
    passes: NDArray[Any],
    weight: NDArray[Any],
    *,
    threshold: float,
    times: Times,
) -> ThresholdPoint:
    """Return what a threshold keeps and costs.

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
    passes : ndarray of bool or float, shape (n_events,)
        Labels, or pass probabilities in their place.
    weight : ndarray of float, shape (n_events,)
        Generated events that each event stands for.
    threshold : float
    times : Times
    """
    keep = (score >= threshold).astype(np.float64)[:, None]
    (tpr,), var1 = average_columns(keep, weight * passes)
    (fpr,), var0 = average_columns(keep, weight * (1.0 - passes))
    errors = {"tpr": float(np.sqrt(var1[0, 0])), "fpr": float(np.sqrt(var0[0, 0]))}
    rate = float(np.average(passes, weights=weight))
    values = {"tpr": tpr, "fpr": fpr, "retention_rate": rate, **times._asdict()}
    speedup, error = propagate(threshold_speedup, values, errors)
    return ThresholdPoint(
        threshold=float(threshold),
        tpr=tpr,
        tpr_error=errors["tpr"],
        fpr=fpr,
        fpr_error=errors["fpr"],
        keep_fraction=rate * tpr + (1.0 - rate) * fpr,
        speedup=speedup,
        speedup_error=error,
    )


def evaluate_sampling(
    p: NDArray[np.float64],
    passes: NDArray[Any],
    weight: NDArray[Any],
    *,
    times: Times,
    constant: float,
    max_weight: float = MAX_WEIGHT,
) -> SamplingPoint:
    """Return what keep probabilities give one skim, and cost.

    Parameters
    ----------
    p : ndarray of float64, shape (n_events,)
        Keep probabilities, > 0.
    passes, weight, times
        As in `evaluate_threshold`.
    constant, max_weight : float
        What made p; copied into the result.
    """
    rate = float(np.average(passes, weights=weight))
    (inverse, kept_1), var1 = average_columns(
        np.stack([1.0 / p, p], axis=1), weight * passes
    )
    (kept_0,), var0 = average_columns(p[:, None], weight * (1.0 - passes))
    covariance = np.zeros((3, 3))
    covariance[:2, :2], covariance[2, 2] = var1, var0[0, 0]

    def formula(inverse: float, kept_1: float, kept_0: float) -> Any:
        return sampling_speedup(
            retention_rate=rate,
            mean_pass_over_p=rate * inverse,
            mean_keep_probability=rate * kept_1 + (1.0 - rate) * kept_0,
            **times._asdict(),
        )

    values = {"inverse": inverse, "kept_1": kept_1, "kept_0": kept_0}
    speedup, error = propagate(formula, values, covariance)
    at_limit = p <= (1.0 + 1e-9) / max_weight
    return SamplingPoint(
        constant=constant,
        max_weight=max_weight,
        mean_keep_probability=rate * kept_1 + (1.0 - rate) * kept_0,
        share_at_max_weight=float(np.average(at_limit, weights=weight)),
        n_eff_per_event=rate / inverse,
        n_eff_per_passing_event=1.0 / inverse,
        speedup=speedup,
        speedup_error=error,
    )


def average_columns(
    values: NDArray[np.float64], mass: NDArray[Any]
) -> tuple[list[float], NDArray[np.float64]]:
    """Return weighted means of columns, and their covariance, (n_columns, n_columns)."""
    share = mass / mass.sum()
    mean = np.einsum("i,ij", share, values)
    pull = share[:, None] * (values - mean)
    upper = values.max(axis=0)
    return [float(m) for m in np.minimum(mean, upper)], np.einsum("ij,ik", pull, pull)
