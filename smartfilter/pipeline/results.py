"""What a measurement of the speedup found, and its JSON document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.pipeline.comparison import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smartfilter.pipeline.working_points import WorkingPoint

__all__ = ["WRONG_FORMULAS", "Measurement", "PointResult"]

WRONG_FORMULAS = ("substituted_formula", "printed_formula")
"""(B') and (B)."""


@dataclass(frozen=True)
class PointResult:
    """Prediction and measurement of one working point.

    Parameters
    ----------
    point : WorkingPoint
    blocks : bool
        Whether the filter scores whole blocks, instead of one event at a time.
    replayed : bool
        Whether the measurement follows from the times of the run without the filter and
        those of the filter at another point, instead of a run of its own.
    quantities : mapping of str to Estimate
        Times (s), rates and speedups by name; see `Measurement.to_document`.
    """

    point: WorkingPoint
    blocks: bool
    replayed: bool
    quantities: Mapping[str, Estimate]

    def pull(self, name: str = "predicted_speedup") -> float:
        """Return (measured - predicted) / error of the difference."""
        measured, predicted = self.quantities["measured_speedup"], self.quantities[name]
        error = np.hypot(measured.error, predicted.error)
        difference = measured.value - predicted.value
        return float(difference / error) if error > 0 else float("nan")

    @property
    def comparison(self) -> Estimate:
        """Measured over predicted speedup, kept events busier: 1 if (A2) is right.

        The samples are independent, so that the relative errors add in quadrature.
        """
        measured = self.quantities["measured_speedup"]
        predicted = self.quantities["predicted_with_costs"]
        if not (measured.value > 0 and predicted.value > 0):
            return Estimate(float("nan"), float("nan"))
        ratio = measured.value / predicted.value
        relative = np.hypot(
            measured.error / measured.value, predicted.error / predicted.value
        )
        return Estimate(ratio, float(ratio * relative))

    def to_document(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary; what is not defined is None."""
        document: dict[str, Any] = {
            "mode": self.point.mode,
            "threshold": self.point.threshold,
            "sampling_constant": self.point.constant,
            "filter_in_blocks": self.blocks,
            "replayed": self.replayed,
        }
        named = {**self.quantities, "comparison": self.comparison}
        for name, (value, error) in named.items():
            document[name] = _finite(value)
            document[f"{name}_error"] = _finite(error)
        document["pull"] = _finite(self.pull())
        for name in ("predicted_with_costs", *WRONG_FORMULAS):
            if name in self.quantities:
                document[f"pull_{name}"] = _finite(self.pull(name))
        if "replay_ratio" in self.quantities:
            ratio, error = self.quantities["replay_ratio"]
            pull = (ratio - 1.0) / error if error > 0 else float("nan")
            document["replay_pull"] = _finite(pull)
        return document


@dataclass(frozen=True)
class Measurement:
    """Result of `smartfilter.pipeline.measurement.measure`.

    Parameters
    ----------
    settings : mapping
        What was run: event type, skim, model, numbers of events, step, seed, clock.
    times : mapping of str to mapping of str to Estimate
        ``t_g``, ``t_s`` and, for each way to call the filter, ``t_n_blocks`` and
        ``t_n_events`` (s), by clock.
    stages : mapping of str to mapping of str to float
        Seconds of each stage without and with the filter, on both clocks: per event
        that reaches it, and per (effective) event that passes the skim.
    points : tuple of PointResult
        The first one is the main one.
    curves : tuple of mapping
        Predictions over the threshold, one for each way to call the filter.
    """

    settings: Mapping[str, Any]
    times: Mapping[str, Mapping[str, Estimate]]
    stages: Mapping[str, Mapping[str, float]]
    points: tuple[PointResult, ...]
    curves: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def precision(self) -> float:
        """The largest relative error of measured over predicted speedup.

        Infinite if some point has none, for want of passing events.
        """
        errors = [p.comparison.error / p.comparison.value for p in self.points]
        return float(np.nan_to_num(errors, nan=np.inf).max())

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document of ``smartfilter measure``, schema version aside.

        Quantities of the main point stand at the top and, as of every other point, in
        ``points``; each has its ``_error``. From the first sample: ``t_g``, ``t_n``,
        ``t_s`` (s), ``retention_rate``, ``tpr``, ``fpr``, ``keep_fraction``,
        ``predicted_speedup`` (formula A, or C with sampling), ``predicted_with_costs``
        (A2, or C with the measured cost of kept events), ``excess_without_costs`` (the
        first over the second, minus one), ``printed_formula`` (B),
        ``substituted_formula`` (B'). From the second: ``measured_speedup``, and on each
        clock ``measured_speedup_cpu`` and ``_wall``. From both: ``comparison``,
        measured over ``predicted_with_costs``, and ``pull``, ``pull_*``: the
        difference from each formula in units of its error. Where the point ran:
        ``replay_ratio``, replayed over measured speedup, and ``replay_pull``.
        ``precision`` is the largest relative error of ``comparison``.
        """
        points = [point.to_document() for point in self.points]
        times = {
            clock: {
                key: _finite(number)
                for name, (value, error) in row.items()
                for key, number in ((name, value), (f"{name}_error", error))
            }
            for clock, row in self.times.items()
        }
        return {
            **self.settings,
            "precision": _finite(self.precision),
            **points[0],
            "times": times,
            "stages": {name: dict(row) for name, row in self.stages.items()},
            "points": points,
            "curves": [_clean(curve) for curve in self.curves],
        }


def _clean(curve: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [_finite(v) for v in values] if isinstance(values, list) else values
        for name, values in curve.items()
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
