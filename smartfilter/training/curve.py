"""Log-odds corrected by maximum likelihood: a straight line, and a curve on top."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.errors import MissingPackageError
from smartfilter.speedup import effective_sample_size
from smartfilter.training.evaluation import weight_to_rate

try:
    from scipy.optimize import minimize  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingPackageError("scikit-learn", "train") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Cells", "expit", "fill_cells", "fit_calibration", "fit_curve"]

_single_thread = partial(threadpool_limits, limits=1)
"""Threads that wait for each other cost far more than these small matrices."""

EVENTS_PER_KNOT = 15
"""Passing events per knot of the curve, at least."""

MAX_KNOTS = 12
"""Most knots between the ends."""

END_SHARE = 0.002
"""Share of the events outside of the first and of the last knot. Passing events with
the lowest scores get the largest weights when sampling, so the curve goes that far."""

ROUGHNESS = 0.3
"""Standard deviation of the prior on the step of the shift from knot to knot: 0.3 in
the log-odds is 35 % in the odds, more than the curves seen need between two knots; per
unit of z where knots are farther apart."""

STEEPEST_FALL = 0.95
"""Most that the shift may fall, per unit of z: scores ascend with the logit."""

N_CELLS = 4096
"""Events with nearly the same z are added up before the curve is fitted."""


def expit(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-z)) without overflow, same shape."""
    small = np.exp(-np.abs(z))
    result: NDArray[np.float64] = np.where(z >= 0, 1.0, small) / (1.0 + small)
    return result


class Cells(NamedTuple):
    """Events with nearly the same z: mean z and sums of the weights of either class."""

    z: NDArray[np.float64]
    passing: NDArray[np.float64]
    failing: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """Sum of the weights."""
        return self.passing + self.failing


def fill_cells(
    z: NDArray[np.float64], passes: NDArray[np.bool_], weight: NDArray[np.float64]
) -> Cells:
    """Cells hold the same weight when both classes are counted half."""
    order = np.argsort(z, kind="stable")
    z, passes, weight = z[order], passes[order], weight[order]
    passing, failing = weight * passes, weight * ~passes
    share = _halve(passing, failing)
    cell = np.minimum(np.cumsum(share) * N_CELLS, N_CELLS - 1).astype(np.int64)
    cell = np.unique(cell, return_inverse=True)[1]
    total = np.bincount(cell, weights=weight)
    return Cells(
        np.bincount(cell, weights=weight * z) / total,
        np.bincount(cell, weights=passing).astype(np.float64),
        np.bincount(cell, weights=failing).astype(np.float64),
    )


def _halve(
    passing: NDArray[np.float64], failing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return shares with the sum 1 in which each class that there is counts the same."""
    share = sum(c / c.sum() for c in (passing, failing) if c.sum() > 0)
    return np.asarray(share / np.sum(share))


def fit_calibration(
    logit: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    retention_rate: float,
    sample_weight: NDArray[Any] | None = None,
) -> tuple[float, float]:
    """Return slope and intercept of the calibration at the true retention rate.

    sigmoid(slope * logit + intercept) is then the pass probability of a generated
    event: logistic regression (Platt, Advances in Large Margin Classifiers, 1999) with
    weights that put the prior back.

    Parameters
    ----------
    logit : ndarray of float, shape (n_events,)
    passes : ndarray of bool, shape (n_events,)
    retention_rate : float
    sample_weight : ndarray of float, shape (n_events,), optional

    Raises
    ------
    UsageError
        As `smartfilter.training.evaluation.weight_to_rate`.
    """
    weight = weight_to_rate(passes, retention_rate, sample_weight)
    weight /= weight[passes].sum()
    cells = fill_cells(logit.astype(np.float64), passes, weight)
    total = cells.passing + cells.failing
    centre = float(np.average(cells.z, weights=total))
    width = float(np.sqrt(np.average(np.square(cells.z - centre), weights=total)))
    if width == 0:
        return 0.0, float(np.log(retention_rate) - np.log1p(-retention_rate))
    x = (cells.z - centre) / width

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, slope = _cross_entropy(cells, line[0] * x + line[1])
        return value, np.array([slope @ x, slope.sum()])

    start = np.array([1.0, np.log(retention_rate) - np.log1p(-retention_rate)])
    with _single_thread():
        fit = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-9})
    line = fit.x
    return float(line[0] / width), float(line[1] - line[0] * centre / width)


def _cross_entropy(
    cells: Cells, z: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Return the sum over the cells, and its derivatives with respect to z."""
    value = cells.passing @ np.logaddexp(0.0, -z) + cells.failing @ np.logaddexp(0.0, z)
    return float(value), (cells.passing + cells.failing) * expit(z) - cells.passing


def fit_curve(
    z: NDArray[np.float64],
    passes: NDArray[np.bool_],
    *,
    retention_rate: float,
    sample_weight: NDArray[Any] | None = None,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return knots and shifts of a `Calibration`, by maximum likelihood.

    The knots are quantiles of the events with both classes counted half, among them two
    near the ends. The shifts
    maximise the likelihood at the retention rate times a prior that couples neighbours
    (`ROUGHNESS`), such that scores ascend. The mean score is the retention rate.

    Parameters
    ----------
    z : ndarray of float64, shape (n_events,)
        Log-odds to be corrected.
    passes : ndarray of bool, shape (n_events,)
        At least one event of each kind.
    retention_rate : float
    sample_weight : ndarray of float, shape (n_events,), optional
    """
    weight = weight_to_rate(passes, retention_rate, sample_weight)
    n_passing = effective_sample_size(weight[passes])
    weight *= n_passing / weight[passes].sum()
    cells = fill_cells(z, passes, weight)
    n_knots = int(np.clip(n_passing // EVENTS_PER_KNOT, 2, MAX_KNOTS))
    knots = _place_knots(cells, n_knots)
    if len(knots) < 2:
        return (), ()
    shifts = _maximise_likelihood(cells, knots)
    return tuple(knots.tolist()), tuple(shifts.tolist())


def _place_knots(cells: Cells, n_knots: int) -> NDArray[np.float64]:
    """Return quantiles of the cells, both classes counted half, all different."""
    share = _halve(cells.passing, cells.failing)
    position = np.cumsum(share) - 0.5 * share
    inner = (np.arange(n_knots) + 0.5) / n_knots
    wanted = np.concatenate([[END_SHARE], inner, [1.0 - END_SHARE]])
    knots: NDArray[np.float64] = np.interp(wanted, position, cells.z)
    apart: NDArray[np.float64] = knots[np.append(True, np.diff(knots) > 1e-6)]
    return apart


def _maximise_likelihood(
    cells: Cells, knots: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the shift at each knot: the first one and the steps from there are free."""
    width = np.diff(knots)
    place = np.clip(np.interp(cells.z, knots, np.arange(len(knots))), 0, len(knots) - 1)
    left = np.minimum(place.astype(np.int64), len(knots) - 2)
    right_share = place - left
    n_events = float(np.sum(cells.passing))
    spread = ROUGHNESS * np.maximum(width, 1.0)

    def loss(steps: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        shifts = np.cumsum(steps)
        z = (
            cells.z
            + shifts[left] * (1.0 - right_share)
            + shifts[left + 1] * right_share
        )
        value, slope = _cross_entropy(cells, z)
        by_shift = np.bincount(
            left, weights=slope * (1.0 - right_share), minlength=len(knots)
        ) + np.bincount(left + 1, weights=slope * right_share, minlength=len(knots))
        by_step = np.cumsum(by_shift[::-1])[::-1]
        value += 0.5 * float(np.sum(np.square(steps[1:] / spread)))
        by_step[1:] += steps[1:] / np.square(spread)
        return value / n_events, by_step / n_events

    bounds = [(None, None), *((-STEEPEST_FALL * w, None) for w in width)]
    with _single_thread():
        fit = minimize(
            loss,
            np.zeros(len(knots)),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-8},
        )
    shifts: NDArray[np.float64] = np.cumsum(fit.x)
    return shifts
