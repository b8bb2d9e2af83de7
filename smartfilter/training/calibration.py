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
                   the mean score is the retention rate, and a share of the score spread
                   over all events: the few that pass may be of another kind
none at all        the same with the rate (0 + 1/2) / (n + 1) of n generated events:
                   the mean of the rate under Jeffreys' prior
=================  ====================================================================
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import MissingPackageError
from smartfilter.model_info import Calibration
from smartfilter.points import Times
from smartfilter.sampling import find_sampling_constant
from smartfilter.speedup import effective_sample_size, find_best_threshold
from smartfilter.training.curve import (
    expit,
    fill_cells,
    fit_calibration,
    fit_curve,
)
from smartfilter.training.evaluation import weight_to_rate

try:
    from scipy.optimize import brentq  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingPackageError("scikit-learn", "train") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CURVE_EVENTS",
    "calibrate",
    "choose_threshold",
    "estimate_rate",
    "shift_calibration",
]

CURVE_EVENTS = 30
"""Passing events from which logistic regression and curve are fitted."""

SPREAD_KNOTS = 48
SPREAD_MARGIN = 3.0
"""Knots of a spread calibration, and how far they go beyond the events in z."""

LEAST_RISE = 1e-6
"""Least rise of the log-odds with z, so that scores ascend in spite of rounding."""

THRESHOLD_EVENTS = 1000
"""Passing events from which the best threshold is found with their labels; with fewer
it is the best one if the scores are true, which fluctuates less."""


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
        if overall is not None and n_passing < CURVE_EVENTS:
            constants = _spread(constants, logit, weight, retention_rate, n_passing)
    score = constants.to_score(logit)
    times = Times(t_g=1.0, t_s=simulation_cost)
    cells = fill_cells(score.astype(np.float64), passes, weight)
    sampling_constant = find_sampling_constant(
        cells.z, max_weight=max_weight, sample_weight=cells.total, **times._asdict()
    )
    threshold = choose_threshold(
        score,
        passes,
        retention_rate=retention_rate,
        times=times,
        sample_weight=weight,
    )
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
        mean = np.average(expit(z + shift), weights=weight)
        return float(np.log(mean) - np.log(retention_rate))

    goal = float(np.log(retention_rate) - np.log1p(-retention_rate))
    shift = float(brentq(excess, goal - z.max() - 1e-6, goal - z.min() + 1e-6))
    return replace(
        calibration,
        intercept=calibration.intercept + shift,
        knots=tuple(knot + shift for knot in calibration.knots),
    )


def _spread(
    calibration: Calibration,
    logit: NDArray[Any],
    weight: NDArray[Any],
    retention_rate: float,
    n_passing: float,
) -> Calibration:
    """Return the calibration with a share of the score spread over all events.

    The score becomes (1 - e) s + e r. The share e of the passing events to which the
    shape of other event types does not apply is the mean of Jeffreys' posterior if none
    of n did: (0 + 1/2) / (n + 1).
    """
    share = estimate_rate(0.0, n_passing)
    z = calibration.slope * logit.astype(np.float64) + calibration.intercept
    grid = np.linspace(z.min() - SPREAD_MARGIN, z.max() + SPREAD_MARGIN, SPREAD_KNOTS)
    grid = np.union1d(grid, calibration.knots)
    grid = grid[np.append(True, np.diff(grid) > LEAST_RISE)]
    shifted = grid
    if calibration.knots:
        shifted = grid + np.interp(grid, calibration.knots, calibration.shifts)
    score = (1.0 - share) * expit(shifted) + share * retention_rate
    log_odds = np.log(score) - np.log1p(-score)
    log_odds += LEAST_RISE * (grid - grid[0])
    bent = replace(
        calibration,
        knots=tuple(grid.tolist()),
        shifts=tuple((log_odds - grid).tolist()),
    )
    return shift_calibration(
        bent, logit, retention_rate=retention_rate, sample_weight=weight
    )


def choose_threshold(
    score: NDArray[Any],
    passes: NDArray[np.bool_],
    *,
    retention_rate: float,
    times: Times,
    sample_weight: NDArray[Any] | None = None,
) -> float:
    """Return the threshold with the largest speedup (A) on validation events.

    With fewer than `THRESHOLD_EVENTS` passing events it is the largest if the scores are
    true: an event counts as passing with its score.

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
        Calibrated pass probabilities.
    passes : ndarray of bool, shape (n_events,)
    retention_rate : float
    times : Times
    sample_weight : ndarray of float, shape (n_events,), optional
    """
    weight = np.ones(len(score)) if sample_weight is None else sample_weight
    if effective_sample_size(weight[passes]) < THRESHOLD_EVENTS:
        rate = float(np.average(score.astype(np.float64), weights=weight))
        best = find_best_threshold(
            score, score, retention_rate=rate, sample_weight=weight, **times._asdict()
        )
    else:
        share = weight_to_rate(passes, retention_rate, weight)
        best = find_best_threshold(
            score,
            passes,
            retention_rate=retention_rate,
            sample_weight=share,
            **times._asdict(),
        )
    return best.threshold
