"""Figures of merit on labelled events: AUC, speedups, calibration.

All take sample weights: the number of generated events that an event stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError, UsageError
from smartfilter.points import Times, evaluate_sampling, evaluate_threshold
from smartfilter.sampling import MAX_WEIGHT, optimal_keep_probability
from smartfilter.speedup import find_best_threshold
from smartfilter.training.auc import area_under_curve, find_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.model_info import Calibration

__all__ = [
    "Evaluation",
    "Reliability",
    "area_under_curve",
    "balance_score",
    "calibration_curve",
    "evaluate",
    "find_rate",
    "weight_to_rate",
]

N_BINS = 20
"""Bins of the calibration curve."""


def _weights(weight: NDArray[Any] | None, n_events: int) -> NDArray[np.float64]:
    return np.ones(n_events) if weight is None else weight.astype(np.float64)


def weight_to_rate(
    passes: NDArray[np.bool_],
    retention_rate: float,
    sample_weight: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Return weights with mean 1 under which the share of passing events is the rate.

    Within either class they follow the sample weights.

    Raises
    ------
    UsageError
        If the rate is not in (0, 1), or there is no passing or no failing event.
    """
    if not 0 < retention_rate < 1:
        raise UsageError(
            f"retention rate: expected a number between 0 and 1, got {retention_rate}"
        )
    if not passes.any() or passes.all():
        raise UsageError("retention rate: expected passing and failing events, got one")
    weight = _weights(sample_weight, len(passes))
    passing = retention_rate / weight[passes].sum()
    failing = (1.0 - retention_rate) / weight[~passes].sum()
    share: NDArray[np.float64] = weight * np.where(passes, passing, failing)
    return len(passes) * share


@dataclass(frozen=True)
class Reliability:
    """Scores against pass rates in bins with the same number of generated events.

    Parameters
    ----------
    score, rate, error : list of float
        Mean score, share of passing events and its standard error per bin.
    calibration_error : float
        Mean of |score - rate| over the bins, weighted with the events in them: the
        expected calibration error (Guo et al., ICML 2017, arXiv:1706.04599).
    """

    score: list[float]
    rate: list[float]
    error: list[float]
    calibration_error: float


def calibration_curve(
    score: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    sample_weight: NDArray[Any] | None = None,
    n_bins: int = N_BINS,
) -> Reliability:
    """Return how well the scores are probabilities."""
    weight = _weights(sample_weight, len(score))
    order = np.argsort(score, kind="stable")
    position = np.empty(len(score))
    position[order] = (np.cumsum(weight[order]) - 0.5 * weight[order]) / weight.sum()
    row = np.minimum((position * n_bins).astype(np.int64), n_bins - 1)

    def add_up(values: NDArray[Any]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.bincount(
            row, weights=values, minlength=n_bins
        ).astype(np.float64)
        return sums

    total, squares = add_up(weight), add_up(np.square(weight))
    used = total > 0
    total, squares = total[used], squares[used]
    mean = add_up(weight * score)[used] / total
    rate = add_up(weight * passes)[used] / total
    error = np.sqrt(rate * (1.0 - rate) * squares) / total
    distance = float(np.average(np.abs(mean - rate), weights=total))
    return Reliability(mean.tolist(), rate.tolist(), error.tolist(), distance)


@dataclass(frozen=True)
class Evaluation:
    """Figures of merit of one skim.

    Parameters
    ----------
    n_passing, n_failing : int
        Events.
    retention_rate : float
        Of the model; of the events if the model does not say.
    auc, auc_error, auc_low, auc_high : float
        Area under the ROC curve, standard error and 95 % confidence interval.
    loss, accuracy : float
        At equal numbers of passing and failing events, as the field publishes them: mean
        binary cross-entropy of the score brought to that prior, and share of events on
        the right side of 1/2.
    threshold, tpr, fpr, keep_fraction, speedup, speedup_error : float
        The working point, which other events chose, and formula (A) there.
    best_threshold, best_threshold_balanced, max_speedup : float
        The largest speedup on these very events, as published: optimistic. Balanced: the
        same threshold on the score brought to equal numbers.
    sampling_constant : float
        Of the model.
    sampling_speedup, sampling_speedup_error : float
        Formula (C) with it.
    sampling_n_eff_share : float
        Effective number of passing events kept per passing event generated.
    calibration_error : float
        See `Reliability`.
    reliability : Reliability
    """

    n_passing: int
    n_failing: int
    retention_rate: float
    auc: float
    auc_error: float
    auc_low: float
    auc_high: float
    loss: float
    accuracy: float
    threshold: float
    tpr: float
    fpr: float
    keep_fraction: float
    speedup: float
    speedup_error: float
    best_threshold: float
    best_threshold_balanced: float
    max_speedup: float
    sampling_constant: float
    sampling_speedup: float
    sampling_speedup_error: float
    sampling_n_eff_share: float
    calibration_error: float
    reliability: Reliability

    def to_metrics(self) -> dict[str, float]:
        """Return the numbers without the curves."""
        return {k: v for k, v in vars(self).items() if isinstance(v, (int, float))}


def evaluate(
    score: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    calibration: Calibration,
    sample_weight: NDArray[Any] | None = None,
    threshold: float | None = None,
    simulation_cost: float = 100.0,
    filter_cost: float = 0.0,
    max_weight: float = MAX_WEIGHT,
) -> Evaluation:
    """Return the figures of merit of one skim.

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
        Calibrated pass probabilities.
    passes : ndarray of bool, shape (n_events,)
    calibration : Calibration
        Gives retention rate, threshold and sampling constant.
    sample_weight : ndarray of float, shape (n_events,), optional
        Generated events that each event stands for; 1 by default.
    threshold : float, optional
        The working point; by default that of the calibration.
    simulation_cost, filter_cost : float
        t_s / t_g and t_n / t_g.
    max_weight : float
        Largest weight when sampling.

    Raises
    ------
    InputError
        If there are no passing or no failing events.
    """
    if not passes.any() or passes.all():
        raise InputError(
            f"labels: expected passing and failing events, got {int(passes.sum())} "
            f"passing ones of {len(passes)}"
        )
    times = Times(t_g=1.0, t_s=simulation_cost, t_n=filter_cost)
    rate = find_rate(passes, calibration, sample_weight)
    weight = weight_to_rate(passes, rate, sample_weight)
    auc, auc_error = area_under_curve(score, passes, sample_weight=weight)
    auc_low, auc_high = find_interval(auc, auc_error)
    best = find_best_threshold(
        score, passes, retention_rate=rate, sample_weight=weight, **times._asdict()
    )
    point = evaluate_threshold(
        score,
        passes,
        weight,
        threshold=calibration.threshold if threshold is None else threshold,
        times=times,
    )
    sampling = evaluate_sampling(
        optimal_keep_probability(
            score, calibration.sampling_constant, max_weight=max_weight
        ),
        passes,
        weight,
        times=times,
        constant=calibration.sampling_constant,
        max_weight=max_weight,
    )
    loss, accuracy = _evaluate_balanced(score, passes, weight, rate)
    reliability = calibration_curve(score, passes, sample_weight=weight)
    return Evaluation(
        n_passing=int(passes.sum()),
        n_failing=int((~passes).sum()),
        retention_rate=rate,
        auc=auc,
        auc_error=auc_error,
        auc_low=auc_low,
        auc_high=auc_high,
        loss=loss,
        accuracy=accuracy,
        threshold=point.threshold,
        tpr=point.tpr,
        fpr=point.fpr,
        keep_fraction=point.keep_fraction,
        speedup=point.speedup,
        speedup_error=point.speedup_error,
        best_threshold=best.threshold,
        best_threshold_balanced=float(balance_score(np.array(best.threshold), rate)),
        max_speedup=best.speedup,
        sampling_constant=calibration.sampling_constant,
        sampling_speedup=sampling.speedup,
        sampling_speedup_error=sampling.speedup_error,
        sampling_n_eff_share=sampling.n_eff_per_passing_event,
        calibration_error=reliability.calibration_error,
        reliability=reliability,
    )


def find_rate(
    passes: NDArray[np.bool_],
    calibration: Calibration,
    sample_weight: NDArray[Any] | None = None,
) -> float:
    """Return the retention rate of a calibration, or that of the events if it has none."""
    if np.isfinite(calibration.retention_rate):
        return calibration.retention_rate
    return float(np.average(passes, weights=sample_weight))


def balance_score(score: NDArray[Any], retention_rate: float) -> NDArray[np.float64]:
    """Return the pass probability if as many events passed as failed, same shape.

    Parameters
    ----------
    score : ndarray of float
        Pass probability at the retention rate.
    retention_rate : float
        r; the odds are multiplied with (1 - r) / r (Bayes' theorem).
    """
    passing = score.astype(np.float64) * (1.0 - retention_rate)
    failing = (1.0 - score.astype(np.float64)) * retention_rate
    balanced: NDArray[np.float64] = passing / (passing + failing)
    return balanced


def _evaluate_balanced(
    score: NDArray[Any],
    passes: NDArray[np.bool_],
    weight: NDArray[np.float64],
    rate: float,
) -> tuple[float, float]:
    """Return loss and accuracy at equal numbers of passing and failing events."""
    probability = balance_score(score, rate)
    right = np.where(passes, probability, 1.0 - probability)
    loss = -np.log(np.maximum(right, np.finfo(np.float64).tiny))
    means = [
        (np.average(loss[c], weights=weight[c]), _share(score[c] >= rate, weight[c]))
        for c in (passes, ~passes)
    ]
    (loss_1, tpr), (loss_0, fpr) = means
    return float(0.5 * (loss_1 + loss_0)), 0.5 * (tpr + 1.0 - fpr)


def _share(kept: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    return float(np.average(kept, weights=weight))
