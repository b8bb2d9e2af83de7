"""The area under the ROC curve: errors, confidence intervals, several models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Areas", "area_under_curve", "compare_areas", "find_interval"]

DEVIATIONS_95 = 1.959963984540054
"""Standard deviations of a normal distribution that hold 95 % of it."""


class Areas(NamedTuple):
    """Areas of several scores of the same events.

    Parameters
    ----------
    auc : ndarray of float64, shape (n_models,)
    covariance : ndarray of float64, shape (n_models, n_models)
    """

    auc: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def subtract(self, one: int, other: int) -> tuple[float, float]:
        """Return the difference of two areas and its standard error.

        The error is smaller than that of independent events, as both models saw the same.
        """
        direction = np.zeros(len(self.auc))
        direction[one] += 1.0
        direction[other] -= 1.0
        variance = float(direction @ self.covariance @ direction)
        return float(direction @ self.auc), float(np.sqrt(max(variance, 0.0)))


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
    The error is that of `compare_areas`.
    """
    areas = compare_areas(score[:, None], passes, sample_weight=sample_weight)
    return float(areas.auc[0]), float(np.sqrt(areas.covariance[0, 0]))


def compare_areas(
    scores: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    sample_weight: NDArray[Any] | None = None,
) -> Areas:
    """Return the areas of several scores of the same events, with their covariance.

    Parameters
    ----------
    scores : ndarray of float, shape (n_events, n_models)
    passes : ndarray of bool, shape (n_events,)
    sample_weight : ndarray of float, shape (n_events,), optional
        1 by default.

    Raises
    ------
    UsageError
        If there is no passing or no failing event.

    Notes
    -----
    DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988) 837: each event's placement
    among the events of the other class, here with weights and with n in place of n - 1.
    """
    passes = np.asarray(passes, dtype=bool)
    if not passes.any() or passes.all():
        raise UsageError("AUC: expected passing and failing events, got one kind")
    weight = np.ones(len(passes)) if sample_weight is None else sample_weight
    weight = weight.astype(np.float64)
    w1, w0 = weight[passes], weight[~passes]
    placed = [
        (
            _share_below(score[passes], score[~passes], w0),
            1.0 - _share_below(score[~passes], score[passes], w1),
        )
        for score in scores.T
    ]
    auc = np.array([np.average(one, weights=w1) for one, _ in placed])
    covariance = np.zeros((len(auc), len(auc)))
    for k, w in enumerate((w1, w0)):
        pull = w[:, None] * (np.stack([p[k] for p in placed], axis=1) - auc)
        covariance += np.einsum("ij,ik", pull, pull) / w.sum() ** 2
    return Areas(auc, covariance)


def find_interval(auc: float, error: float) -> tuple[float, float]:
    """Return the 95 % confidence interval of an area.

    Parameters
    ----------
    auc, error : float
        Of `area_under_curve`.

    Notes
    -----
    Symmetric in ln(A / (1 - A)), so that it stays within 0 and 1: Pepe, The Statistical
    Evaluation of Medical Tests for Classification and Prediction (Oxford, 2003),
    section 5.2.
    """
    if not 0.0 < auc < 1.0:
        return auc, auc
    centre = np.log(auc) - np.log1p(-auc)
    half = DEVIATIONS_95 * error / (auc * (1.0 - auc))
    low, high = 1.0 / (1.0 + np.exp(-(centre + half * np.array([-1.0, 1.0]))))
    return float(low), float(high)


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
