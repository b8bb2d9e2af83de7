"""The working point for given times: best threshold, best sampling constants.

Labels decide where they are there. Without them calibrated scores stand in: an event
with score s counts as s of a passing and 1 - s of a failing event, so every figure is
the expectation that the calibration promises. ``docs/sampling.md`` has the formulas.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import UsageError
from smartfilter.points import (
    SamplingPoint,
    ThresholdPoint,
    Times,
    average_columns,
    evaluate_sampling,
    evaluate_threshold,
)
from smartfilter.sampling import (
    MAX_WEIGHT,
    find_joint_constants,
    find_sampling_constant,
    joint_keep_probability,
)
from smartfilter.speedup import find_best_threshold, threshold_speedup

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["WorkingPoint", "find_joint_points", "find_working_point"]

UNLIMITED = 1e9
"""Maximum weight that limits nothing: a calibrated score below 1e-16 is none."""

CURVE_FACTORS = tuple(2.0 ** (k / 4) for k in range(-8, 9))
"""Thresholds of the curve over the best one; those that keep nothing are left out."""


@dataclass(frozen=True)
class WorkingPoint:
    """The best way to use the scores of one skim.

    Parameters
    ----------
    source : str
        What decides which events pass: ``labels`` or ``calibrated scores``.
    n_events : int
    retention_rate : float
    best : ThresholdPoint
        The largest speedup by formula (A).
    held_out_speedup : float or None
        Threshold found on one half of the events, quoted on the other, mean of both
        ways: without the optimism of ``best``. With labels only.
    curve : tuple of ThresholdPoint
        Thresholds around the best one, see `CURVE_FACTORS`.
    sampling : SamplingPoint
        The constant that costs least, with the maximum weight.
    sampling_unlimited : SamplingPoint
        The same without a maximum weight.
    """

    source: str
    n_events: int
    retention_rate: float
    best: ThresholdPoint
    held_out_speedup: float | None
    curve: tuple[ThresholdPoint, ...]
    sampling: SamplingPoint
    sampling_unlimited: SamplingPoint

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def find_working_point(
    score: NDArray[Any],
    passes: NDArray[np.bool_] | None = None,
    *,
    times: Times,
    retention_rate: float | None = None,
    sample_weight: NDArray[Any] | None = None,
    max_weight: float = MAX_WEIGHT,
) -> WorkingPoint:
    """Return the best threshold and the best sampling constant of one skim.

    Parameters
    ----------
    score : ndarray of float, shape (n_events,)
        Calibrated pass probabilities, as the model gives them: threshold and constant
        are on this scale whatever the retention rate.
    passes : ndarray of bool, shape (n_events,), optional
        Labels.
    times : Times
    retention_rate : float, optional
        The skim's share of generated events, by default that of the sample; passing
        and failing events are weighted to it.
    sample_weight : ndarray of float, shape (n_events,), optional
        Generated events that each event stands for; 1 by default.
    max_weight : float
        Largest weight of a kept event.

    Raises
    ------
    UsageError
        If the retention rate is not between 0 and 1, or there is no passing or no
        failing event.
    """
    s = score.astype(np.float64)
    y = s if passes is None else passes.astype(np.float64)
    y, weight, rate = _weight_classes(y, sample_weight, retention_rate)
    rates: dict[str, Any] = {"retention_rate": rate, **times._asdict()}
    best = find_best_threshold(score, y, sample_weight=weight, **rates).threshold
    thresholds = [t for t in (best * f for f in CURVE_FACTORS) if t <= score.max()]

    def sample_up_to(ceiling: float) -> SamplingPoint:
        constant = find_sampling_constant(
            s, y, sample_weight=weight, max_weight=ceiling, **times._asdict()
        )
        return evaluate_sampling(
            joint_keep_probability(s[:, None], [constant], max_weight=ceiling),
            y,
            weight,
            times=times,
            constant=constant,
            max_weight=ceiling,
        )

    return WorkingPoint(
        source="calibrated scores" if passes is None else "labels",
        n_events=len(score),
        retention_rate=rate,
        best=evaluate_threshold(score, y, weight, threshold=best, times=times),
        held_out_speedup=(
            None if passes is None else _cross_validate(score, y, weight, rates)
        ),
        curve=tuple(
            evaluate_threshold(score, y, weight, threshold=t, times=times)
            for t in thresholds
        ),
        sampling=sample_up_to(max_weight),
        sampling_unlimited=sample_up_to(UNLIMITED),
    )


def find_joint_points(
    scores: NDArray[Any],
    passes: NDArray[np.bool_] | None = None,
    *,
    times: Times,
    importance: ArrayLike | None = None,
    sample_weight: NDArray[Any] | None = None,
    max_weight: float = MAX_WEIGHT,
) -> tuple[SamplingPoint, ...]:
    """Return what one keep probability for several skims gives each of them.

    Parameters
    ----------
    scores : ndarray of float, shape (n_events, n_skims)
    passes : ndarray of bool, shape (n_events, n_skims), optional
    times, sample_weight, max_weight
        As in `find_working_point`.
    importance : array_like of float, shape (n_skims,), optional
        As in `smartfilter.sampling.find_joint_constants`.

    Raises
    ------
    UsageError
        As `smartfilter.sampling.find_joint_constants`.
    """
    constants = find_joint_constants(
        scores,
        passes,
        importance=importance,
        sample_weight=sample_weight,
        max_weight=max_weight,
        **times._asdict(),
    )
    p = joint_keep_probability(scores, constants, max_weight=max_weight)
    y = (scores if passes is None else passes).astype(np.float64)
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    return tuple(
        evaluate_sampling(
            p, y[:, k], weight, times=times, constant=float(c), max_weight=max_weight
        )
        for k, c in enumerate(constants)
    )


def _weight_classes(
    passes: NDArray[np.float64],
    sample_weight: NDArray[Any] | None,
    retention_rate: float | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return labels and weights of the sample as if it had the retention rate.

    The passing part w y of each event is scaled with r / r0, the failing part w (1 - y)
    with (1 - r) / (1 - r0); label and weight are what these parts amount to.
    """
    weight = np.ones(len(passes)) if sample_weight is None else sample_weight
    weight = weight.astype(np.float64)
    rate = float(np.average(passes, weights=weight)) if len(passes) else 0.0
    if not 0.0 < rate < 1.0:
        raise UsageError(
            "working point: expected passing and failing events, got "
            f"{len(passes)} events of which a share of {rate:g} passes"
        )
    if retention_rate is None:
        return passes, weight, rate
    if not 0.0 < retention_rate < 1.0:
        raise UsageError(
            f"retention rate: expected a number between 0 and 1, got {retention_rate}"
        )
    passing = weight * passes * (retention_rate / rate)
    failing = weight * (1.0 - passes) * ((1.0 - retention_rate) / (1.0 - rate))
    return passing / (passing + failing), passing + failing, retention_rate


def _cross_validate(
    score: NDArray[Any],
    passes: NDArray[np.float64],
    weight: NDArray[np.float64],
    rates: dict[str, Any],
) -> float | None:
    """Return the mean speedup of thresholds found on the other half, if both can be."""
    half = np.random.default_rng(0).permutation(len(score)) % 2 == 0
    speedups = []
    for one, other in ((half, ~half), (~half, half)):
        try:
            best = find_best_threshold(
                score[one], passes[one], sample_weight=weight[one], **rates
            )
        except UsageError:
            return None
        keep = (score[other] >= best.threshold).astype(np.float64)[:, None]
        w, y = weight[other], passes[other]
        if not (w @ y > 0 and w @ (1.0 - y) > 0):
            return None
        (tpr,), _ = average_columns(keep, w * y)
        (fpr,), _ = average_columns(keep, w * (1.0 - y))
        speedups.append(float(threshold_speedup(tpr=tpr, fpr=fpr, **rates)))
    return float(np.mean(speedups))
