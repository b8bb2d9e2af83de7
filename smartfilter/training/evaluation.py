"""Figures of merit on labelled events: AUC, speedups, calibration.

All take sample weights: the number of generated events that an event stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError, MissingPackageError, UsageError
from smartfilter.sampling import MAX_WEIGHT, optimal_keep_probability
from smartfilter.speedup import (
    effective_sample_size,
    find_best_threshold,
    propagate,
    sampling_speedup,
    threshold_speedup,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.model_info import Calibration

__all__ = [
    "Evaluation",
    "Reliability",
    "area_under_curve",
    "calibration_curve",
    "evaluate",
    "roc_points",
    "weight_to_rate",
]

N_BINS = 20
"""Bins of the calibration curve."""


def area_under_curve(
    score: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    sample_weight: NDArray[Any] | None = None,
) -> tuple[float, float]:
    """Return the area under the ROC curve and its standard error.

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
    passes : ndarray of bool, shape (n_events,)
    sample_weight : ndarray of float, shape (n_events,), optional
        1 by default.

    Raises
    ------
    UsageError
        If there is no passing or no failing event.

    Notes
    -----
    The error is that of DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988) 837: each
    event's placement among the events of the other class, here with weights.
    """
    passes = np.asarray(passes, dtype=bool)
    if not passes.any() or passes.all():
        raise UsageError("AUC: expected passing and failing events, got one kind")
    weight = _weights(sample_weight, len(score))
    s1, w1 = score[passes], weight[passes]
    s0, w0 = score[~passes], weight[~passes]
    placement_1 = _share_below(s1, s0, w0)
    placement_0 = 1.0 - _share_below(s0, s1, w1)
    auc = float(np.average(placement_1, weights=w1))
    variance = sum(
        float(np.sum(np.square(w * (placement - auc)))) / float(np.sum(w)) ** 2
        for w, placement in ((w1, placement_1), (w0, placement_0))
    )
    return auc, float(np.sqrt(variance))


def _weights(weight: NDArray[Any] | None, n_events: int) -> NDArray[np.float64]:
    return np.ones(n_events) if weight is None else weight.astype(np.float64)


def _share_below(
    values: NDArray[Any], others: NDArray[Any], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weighted share of others below each value, ties counted half."""
    order = np.argsort(others, kind="stable")
    ranked = others[order]
    running = np.concatenate([[0.0], np.cumsum(weight[order])])
    below = running[np.searchsorted(ranked, values, side="left")]
    up_to = running[np.searchsorted(ranked, values, side="right")]
    result: NDArray[np.float64] = 0.5 * (below + up_to) / running[-1]
    return result


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


def roc_points(
    score: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    sample_weight: NDArray[Any] | None = None,
    n_points: int = 500,
) -> dict[str, list[float]]:
    """Return fpr, tpr and threshold along the ROC curve, at most n_points of them."""
    try:
        from sklearn.metrics import roc_curve
    except ImportError as error:
        raise MissingPackageError("scikit-learn", "train") from error

    fpr, tpr, threshold = roc_curve(passes, score, sample_weight=sample_weight)
    threshold[0] = 1.0  # scikit-learn's infinity: keep nothing
    wanted = np.linspace(0.0, tpr[-1] + fpr[-1], n_points)
    rows = np.unique(np.searchsorted(tpr + fpr, wanted).clip(max=len(fpr) - 1))
    return {
        "fpr": fpr[rows].tolist(),
        "tpr": tpr[rows].tolist(),
        "threshold": threshold[rows].tolist(),
    }


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
    auc, auc_error : float
    accuracy : float
        At equal numbers of passing and failing events, best Bayes threshold: the score
        equals the retention rate.
    threshold, tpr, fpr, speedup, speedup_error : float
        The model's working point and formula (A) there.
    best_threshold, max_speedup : float
        The largest speedup on these very events: optimistic.
    sampling_speedup : float
        Formula (C) with the model's sampling constant.
    calibration_error : float
        See `Reliability`.
    roc : dict of lists
        See `roc_points`.
    reliability : Reliability
    """

    n_passing: int
    n_failing: int
    retention_rate: float
    auc: float
    auc_error: float
    accuracy: float
    threshold: float
    tpr: float
    fpr: float
    speedup: float
    speedup_error: float
    best_threshold: float
    max_speedup: float
    sampling_speedup: float
    calibration_error: float
    roc: dict[str, list[float]]
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
    rate = calibration.retention_rate
    times = {"t_g": 1.0, "t_s": simulation_cost, "t_n": filter_cost}
    weight = weight_to_rate(passes, rate, sample_weight)
    auc, auc_error = area_under_curve(score, passes, sample_weight=weight)
    best = find_best_threshold(
        score, passes, retention_rate=rate, sample_weight=weight, **times
    )
    tpr, tpr_error, fpr, fpr_error = _rates_at(
        score >= calibration.threshold, passes, weight
    )
    speedup, speedup_error = propagate(
        threshold_speedup,
        {"tpr": tpr, "fpr": fpr, "retention_rate": rate, **times},
        {"tpr": tpr_error, "fpr": fpr_error},
    )
    balanced = _rates_at(score >= rate, passes, weight)
    p = optimal_keep_probability(
        score, calibration.sampling_constant, max_weight=max_weight
    )
    reliability = calibration_curve(score, passes, sample_weight=weight)
    return Evaluation(
        n_passing=int(passes.sum()),
        n_failing=int((~passes).sum()),
        retention_rate=rate,
        auc=auc,
        auc_error=auc_error,
        accuracy=0.5 * (balanced[0] + 1.0 - balanced[2]),
        threshold=calibration.threshold,
        tpr=tpr,
        fpr=fpr,
        speedup=speedup,
        speedup_error=speedup_error,
        best_threshold=best.threshold,
        max_speedup=best.speedup,
        sampling_speedup=float(
            sampling_speedup(
                retention_rate=rate,
                mean_pass_over_p=np.average(passes / p, weights=weight),
                mean_keep_probability=np.average(p, weights=weight),
                **times,
            )
        ),
        calibration_error=reliability.calibration_error,
        roc=roc_points(score, passes, sample_weight=weight),
        reliability=reliability,
    )


def _rates_at(
    kept: NDArray[np.bool_], passes: NDArray[np.bool_], weight: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """Return tpr and fpr, each with its binomial error."""
    values: list[float] = []
    for chosen in (passes, ~passes):
        w = weight[chosen]
        share = float(np.clip(np.average(kept[chosen], weights=w), 0.0, 1.0))
        values += [share, np.sqrt(share * (1.0 - share) / effective_sample_size(w))]
    tpr, tpr_error, fpr, fpr_error = values
    return tpr, tpr_error, fpr, fpr_error
