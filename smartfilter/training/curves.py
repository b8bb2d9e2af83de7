"""What the figures of one skim show: points along curves and histograms, as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.points import Times, evaluate_threshold
from smartfilter.sampling import MAX_WEIGHT, optimal_keep_probability
from smartfilter.speedup import speedup_limit, threshold_curve
from smartfilter.training.evaluation import (
    calibration_curve,
    find_rate,
    weight_to_rate,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.model_info import Calibration

__all__ = ["make_curves", "roc_points", "speedup_points", "weight_histogram"]

N_ROC_POINTS = 300
N_THRESHOLDS = 60
N_WEIGHT_BINS = 40


def make_curves(
    score: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    calibration: Calibration,
    times: Times,
    sample_weight: NDArray[Any] | None = None,
    max_weight: float = MAX_WEIGHT,
) -> dict[str, Any]:
    """Return the points of all curves of one skim.

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
        Calibrated pass probabilities.
    passes : ndarray of bool, shape (n_events,)
        Some true and some false.
    calibration : Calibration
    times : Times
    sample_weight : ndarray of float, shape (n_events,), optional
    max_weight : float

    Returns
    -------
    dict
        ``roc``, ``calibration``, ``speedup`` and ``weights``; JSON values.
    """
    rate = find_rate(passes, calibration, sample_weight)
    weight = weight_to_rate(passes, rate, sample_weight)
    curve = calibration_curve(score, passes, sample_weight=weight)
    p = optimal_keep_probability(
        score, calibration.sampling_constant, max_weight=max_weight
    )
    return {
        "roc": roc_points(score, passes, sample_weight=weight),
        "calibration": {
            "score": curve.score,
            "rate": curve.rate,
            "error": curve.error,
        },
        "speedup": speedup_points(score, passes, weight, times=times),
        "weights": weight_histogram(p, passes, weight),
    }


def roc_points(
    score: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    sample_weight: NDArray[Any] | None = None,
    n_points: int = N_ROC_POINTS,
) -> dict[str, list[float]]:
    """Return fpr, tpr and threshold along the ROC curve, at most n_points of them.

    Half of the points are even along the curve, the others even in ln(fpr).

    Raises
    ------
    UsageError
        As `smartfilter.speedup.threshold_curve`.
    """
    curve = threshold_curve(score, passes, sample_weight=sample_weight)
    fpr, tpr = np.append(0.0, curve.fpr), np.append(0.0, curve.tpr)
    threshold = np.append(1.0, curve.threshold)
    even = np.searchsorted(tpr + fpr, np.linspace(0.0, 2.0, n_points // 2))
    lowest = fpr[fpr > 0].min()
    steep = np.searchsorted(
        fpr, np.geomspace(lowest, 1.0, n_points - n_points // 2 - 2)
    )
    ends = [0, len(fpr) - 1]
    rows = np.unique(np.concatenate([even, steep, ends]).clip(max=len(fpr) - 1))
    return {
        "fpr": fpr[rows].tolist(),
        "tpr": tpr[rows].tolist(),
        "threshold": threshold[rows].tolist(),
    }


def speedup_points(
    score: NDArray[Any],
    passes: NDArray[np.bool_],
    weight: NDArray[np.float64],
    *,
    times: Times,
    n_points: int = N_THRESHOLDS,
) -> dict[str, Any]:
    """Return formula (A) and its standard error against the threshold.

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
    passes : ndarray of bool, shape (n_events,)
    weight : ndarray of float64, shape (n_events,)
        Puts the retention rate.
    times : Times
    n_points : int
        Thresholds, even in their logarithm, from the score that 1 % of the passing
        events are below to the one that 1 % are above.
    """
    passing = np.sort(score[passes].astype(np.float64))
    low, high = np.quantile(passing, [0.01, 0.99])
    thresholds = np.geomspace(max(low, 1e-12), max(high, 2e-12), n_points)
    points = [
        evaluate_threshold(score, passes, weight, threshold=float(t), times=times)
        for t in thresholds
    ]
    rate = float(np.average(passes, weights=weight))
    return {
        "threshold": [point.threshold for point in points],
        "speedup": [point.speedup for point in points],
        "error": [point.speedup_error for point in points],
        "limit": float(speedup_limit(retention_rate=rate, **times._asdict())),
    }


def weight_histogram(
    p: NDArray[np.float64],
    passes: NDArray[np.bool_],
    weight: NDArray[np.float64],
    *,
    n_bins: int = N_WEIGHT_BINS,
) -> dict[str, Any]:
    r"""Return how often sampling gives which weight: expectations, no draw.

    Parameters
    ----------
    p : ndarray of float64, shape (n_events,)
        Keep probabilities; the weight of a kept event is 1 / p.
    passes : ndarray of bool, shape (n_events,)
    weight : ndarray of float64, shape (n_events,)
        Generated events that each event stands for.
    n_bins : int
        Even in the logarithm of the weight.

    Returns
    -------
    dict
        ``edges``; ``passing`` and ``failing``: shares of the kept events per bin, with
        the sum 1 altogether; ``n_eff_share``: effective number of kept passing events
        over their number, :math:`(\sum w y)^2 / \sum (w y / p) / \sum w y p`.
    """
    inverse = 1.0 / p
    edges = np.geomspace(1.0, max(float(inverse.max()), 1.1) * (1 + 1e-9), n_bins + 1)
    row = np.clip(np.searchsorted(edges, inverse, side="right") - 1, 0, n_bins - 1)
    kept = weight * p
    shares = [
        np.bincount(row[c], weights=kept[c], minlength=n_bins) / kept.sum()
        for c in (passes, ~passes)
    ]
    passing = weight[passes]
    effective = passing.sum() ** 2 / np.sum(passing * inverse[passes])
    return {
        "edges": edges.tolist(),
        "passing": shares[0].tolist(),
        "failing": shares[1].tolist(),
        "n_eff_share": float(effective / kept[passes].sum()),
    }
