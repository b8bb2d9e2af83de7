r"""Logits to pass probabilities, per skim and event type, from held-out events.

Three steps. The prior is put back with weights under which the share of passing events
is the true retention rate (`smartfilter.training.evaluation.weight_to_rate`). A logistic
regression on the logit gives z = slope * logit + intercept. A curve, linear between
knots in z, adds what is not linear. What can be fitted depends on the number of passing
events (effective, where they have weights):

=================  ====================================================================
passing events     constants
=================  ====================================================================
>= `CURVE_EVENTS`  logistic regression and curve
fewer              those of the skim for all event types, with a shift of z under which
                   the mean score is the retention rate
none at all        the same with the rate (0 + 1/2) / (n + 1) of n generated events:
                   the mean of the rate under Jeffreys' prior
=================  ====================================================================
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.errors import MissingPackageError
from smartfilter.model_info import Calibration
from smartfilter.sampling import find_sampling_constant
from smartfilter.speedup import (
    effective_sample_size,
    find_best_threshold,
    threshold_speedup,
)
from smartfilter.training.evaluation import weight_to_rate

try:
    from scipy.optimize import brentq, minimize  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingPackageError("scikit-learn", "train") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CURVE_EVENTS",
    "EVENTS_PER_KNOT",
    "MAX_KNOTS",
    "calibrate",
    "estimate_rate",
    "fit_calibration",
    "fit_curve",
    "shift_calibration",
]

_single_thread = partial(threadpool_limits, limits=1)
"""Threads that wait for each other cost far more than these small matrices."""

CURVE_EVENTS = 30
"""Passing events from which logistic regression and curve are fitted."""

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

THRESHOLD_EVENTS = 1000
"""Passing events from which the best threshold is found with their labels; with fewer
it is the best one if the scores are true, which fluctuates less."""

N_CELLS = 4096
"""Events with nearly the same z are added up before the curve is fitted."""


def estimate_rate(passing: float, generated: float) -> float:
    """Return the retention rate: the share, or (0 + 1/2) / (n + 1) if nothing passes.

    Parameters
    ----------
    passing, generated : float
        Sums of weights.

    Notes
    -----
    The mean of Jeffreys' posterior Beta(1/2, n + 1/2) of a binomial rate.
    """
    if 0 < passing < generated:
        return passing / generated
    return (passing + 0.5) / (generated + 1.0)


def calibrate(
    logit: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    retention_rate: float,
    simulation_cost: float,
    max_weight: float,
    sample_weight: NDArray[Any] | None = None,
    overall: Calibration | None = None,
) -> Calibration:
    """Return the constants of one skim, from validation events.

    Parameters
    ----------
    logit : ndarray of float, shape (n_events,)
    passes : ndarray of bool, shape (n_events,)
    retention_rate : float
    simulation_cost : float
        t_s / t_g.
    max_weight : float
    sample_weight : ndarray of float, shape (n_events,), optional
    overall : Calibration, optional
        Of the skim for all event types; taken over but for a shift where too few of
        these events pass. Without it the shape is that of the logit itself.

    Notes
    -----
    a and b of the official keep probability exp(a (logit - b)) are those of
    c sqrt(score) at small scores, where sigmoid is exp, with the linear part of the
    calibration.
    """
    weight = np.ones(len(logit)) if sample_weight is None else sample_weight
    n_passing = effective_sample_size(weight[passes])
    constants = None
    if n_passing >= CURVE_EVENTS and not passes.all():
        constants = _fit(logit, passes, weight, retention_rate)
        weight = weight_to_rate(passes, retention_rate, weight)
    if constants is None:
        shape = overall or Calibration(1.0, 0.0, retention_rate, 0.5, 1.0, 0.5, 0.0)
        constants = shift_calibration(
            shape, logit, retention_rate=retention_rate, sample_weight=weight
        )
    score = constants.to_score(logit)
    times = {"t_g": 1.0, "t_s": simulation_cost}
    cells = _fill_cells(score.astype(np.float64), passes, weight)
    sampling_constant = find_sampling_constant(
        cells.z, max_weight=max_weight, sample_weight=cells.total, **times
    )
    if n_passing < THRESHOLD_EVENTS:
        threshold = _expect_best_threshold(score, weight, **times)
    else:
        threshold = find_best_threshold(
            score, passes, retention_rate=retention_rate, sample_weight=weight, **times
        ).threshold
    offset = 2.0 * float(np.log(sampling_constant)) + constants.intercept
    return replace(
        constants,
        retention_rate=retention_rate,
        threshold=threshold,
        sampling_constant=sampling_constant,
        official_slope=0.5 * constants.slope,
        official_offset=-offset / constants.slope,
        n_passing=n_passing,
    )


def _fit(
    logit: NDArray[Any],
    passes: NDArray[np.bool_],
    weight: NDArray[Any],
    retention_rate: float,
) -> Calibration | None:
    """Return slope, intercept and curve; None if the logit says nothing."""
    slope, intercept = fit_calibration(
        logit, passes, retention_rate=retention_rate, sample_weight=weight
    )
    if slope <= 0:
        return None
    z = slope * logit.astype(np.float64) + intercept
    knots, shifts = fit_curve(
        z, passes, retention_rate=retention_rate, sample_weight=weight
    )
    return Calibration(
        slope=slope,
        intercept=intercept,
        retention_rate=retention_rate,
        threshold=0.5,
        sampling_constant=1.0,
        official_slope=0.5 * slope,
        official_offset=0.0,
        knots=knots,
        shifts=shifts,
    )


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
    cells = _fill_cells(logit.astype(np.float64), passes, weight)
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
    cells: _Cells, z: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Return the sum over the cells, and its derivatives with respect to z."""
    value = cells.passing @ np.logaddexp(0.0, -z) + cells.failing @ np.logaddexp(0.0, z)
    return float(value), (cells.passing + cells.failing) * _expit(z) - cells.passing


def shift_calibration(
    calibration: Calibration,
    logit: NDArray[Any],
    *,
    retention_rate: float,
    sample_weight: NDArray[Any] | None = None,
) -> Calibration:
    """Return a calibration whose mean score on these events is the retention rate.

    Log-odds are shifted by one number; threshold and other constants stay as they are.

    Parameters
    ----------
    calibration : Calibration
    logit : ndarray of float, shape (n_events,)
    retention_rate : float
        Between 0 and 1.
    sample_weight : ndarray of float, shape (n_events,), optional
    """
    weight = np.ones(len(logit)) if sample_weight is None else sample_weight
    z = calibration.slope * logit.astype(np.float64) + calibration.intercept
    if calibration.knots:
        z = z + np.interp(z, calibration.knots, calibration.shifts)

    def excess(shift: float) -> float:
        mean = np.average(_expit(z + shift), weights=weight)
        return float(np.log(mean) - np.log(retention_rate))

    goal = float(np.log(retention_rate) - np.log1p(-retention_rate))
    shift = float(brentq(excess, goal - z.max() - 1e-6, goal - z.min() + 1e-6))
    return replace(
        calibration,
        intercept=calibration.intercept + shift,
        knots=tuple(knot + shift for knot in calibration.knots),
    )


def _expit(z: NDArray[np.float64]) -> NDArray[np.float64]:
    small = np.exp(-np.abs(z))
    result: NDArray[np.float64] = np.where(z >= 0, 1.0, small) / (1.0 + small)
    return result


class _Cells(NamedTuple):
    """Events with nearly the same z: mean z and sums of the weights of either class."""

    z: NDArray[np.float64]
    passing: NDArray[np.float64]
    failing: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """Sum of the weights."""
        return self.passing + self.failing


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
    cells = _fill_cells(z, passes, weight)
    n_knots = int(np.clip(n_passing // EVENTS_PER_KNOT, 2, MAX_KNOTS))
    knots = _place_knots(cells, n_knots)
    if len(knots) < 2:
        return (), ()
    shifts = _maximise_likelihood(cells, knots)
    return tuple(knots.tolist()), tuple(shifts.tolist())


def _fill_cells(
    z: NDArray[np.float64], passes: NDArray[np.bool_], weight: NDArray[np.float64]
) -> _Cells:
    """Cells hold the same weight when both classes are counted half."""
    order = np.argsort(z, kind="stable")
    z, passes, weight = z[order], passes[order], weight[order]
    passing, failing = weight * passes, weight * ~passes
    share = _halve(passing, failing)
    cell = np.minimum(np.cumsum(share) * N_CELLS, N_CELLS - 1).astype(np.int64)
    cell = np.unique(cell, return_inverse=True)[1]
    total = np.bincount(cell, weights=weight)
    return _Cells(
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


def _place_knots(cells: _Cells, n_knots: int) -> NDArray[np.float64]:
    """Return quantiles of the cells, both classes counted half, all different."""
    share = _halve(cells.passing, cells.failing)
    position = np.cumsum(share) - 0.5 * share
    inner = (np.arange(n_knots) + 0.5) / n_knots
    wanted = np.concatenate([[END_SHARE], inner, [1.0 - END_SHARE]])
    knots: NDArray[np.float64] = np.interp(wanted, position, cells.z)
    apart: NDArray[np.float64] = knots[np.append(True, np.diff(knots) > 1e-6)]
    return apart


def _maximise_likelihood(
    cells: _Cells, knots: NDArray[np.float64]
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


def _expect_best_threshold(
    score: NDArray[np.float32], weight: NDArray[Any], *, t_g: float, t_s: float
) -> float:
    """Return the threshold with the largest speedup (A) if the scores are true.

    An event counts as passing with its score.
    """
    order = np.argsort(-score, kind="stable")
    s, w = score[order].astype(np.float64), weight[order]
    passing, failing = np.cumsum(w * s), np.cumsum(w * (1.0 - s))
    speedup = threshold_speedup(
        tpr=np.clip(passing / passing[-1], 0.0, 1.0),
        fpr=np.clip(failing / failing[-1], 0.0, 1.0),
        retention_rate=float(passing[-1] / (passing[-1] + failing[-1])),
        t_g=t_g,
        t_s=t_s,
    )
    last_of_tie = np.append(np.diff(s) != 0, True)
    best = np.argmax(np.where(last_of_tie, speedup, -np.inf))
    return float(s[best])
