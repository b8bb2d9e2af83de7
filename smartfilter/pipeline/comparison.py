"""Predicted and measured speedup from what happened to each event."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter import speedup
from smartfilter.pipeline.chain import STAGES
from smartfilter.pipeline.working_points import SIMULATION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from smartfilter.pipeline.chain import ChainRun
    from smartfilter.pipeline.working_points import WorkingPoint

__all__ = ["Estimate", "divide_speedups", "measure_speedup", "predict"]

N_REPLICAS = 400
"""Replicas of the bootstrap: 4 % accuracy of each error."""

_REPLICAS_AT_ONCE = 50


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


def predict(observed: ChainRun, point: WorkingPoint, clock: str) -> dict[str, Estimate]:
    """Return times (s), rates and the formulas' speedups from one sample.

    Parameters
    ----------
    observed : ChainRun
        Everything was simulated, with the filter looking on.
    point : WorkingPoint
    clock : str
        One of `smartfilter.pipeline.chain.CLOCKS`.

    Returns
    -------
    dict of str to Estimate
        ``t_g``, ``t_n``, ``t_s``, ``retention_rate``, ``tpr``, ``fpr``,
        ``keep_fraction``, ``predicted_speedup`` (A, or C with sampling),
        ``predicted_with_costs`` (A2, or C with the measured cost of kept events),
        ``excess_without_costs`` (the first over the second, minus one); with a
        threshold also ``printed_formula`` (B) and ``substituted_formula`` (B').
    """
    y = observed.passes.astype(np.float64)
    p = point.get_keep_probability(observed)
    t_s = observed.seconds(SIMULATION, clock)
    columns = {
        "y": y,
        "p": p,
        "y p": y * p,
        "y / p": np.divide(y, p, out=np.zeros(len(y)), where=p > 0),
        "t_g": observed.seconds(("generation",), clock),
        "t_n": observed.seconds(("filter",), clock),
        "t_s": t_s,
        "p t_s": p * t_s,
    }
    if point.mode == "threshold":
        return _estimate(columns, _apply_threshold_formulas)
    return _estimate(columns, _apply_sampling_formulas)


def _rates_and_times(mean: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    y, p, y_p = mean["y"], mean["p"], mean["y p"]
    return {
        "t_g": mean["t_g"],
        "t_n": mean["t_n"],
        "t_s": mean["t_s"],
        "retention_rate": y,
        "tpr": np.clip(y_p / y, 0.0, 1.0),
        "fpr": np.clip((p - y_p) / (1 - y), 0.0, 1.0),
        "keep_fraction": p,
    }


def _apply_threshold_formulas(
    mean: Mapping[str, NDArray[Any]],
) -> dict[str, NDArray[Any]]:
    known = _rates_and_times(mean)
    rates = {name: known[name] for name in ("tpr", "fpr", "retention_rate")}
    times = {name: known[name] for name in ("t_g", "t_s")}
    equal = speedup.threshold_speedup(**rates, **times, t_n=known["t_n"])
    busier = speedup.speedup_with_costs(
        tpr=known["tpr"],
        t_g=known["t_g"],
        t_n=known["t_n"],
        mean_t_s=known["t_s"],
        mean_kept_t_s=mean["p t_s"],
    )
    return {
        **known,
        **_name_predictions(equal, busier),
        "printed_formula": speedup.printed_formula(**rates, **times),
        "substituted_formula": speedup.substituted_formula(**rates, **times),
    }


def _apply_sampling_formulas(
    mean: Mapping[str, NDArray[Any]],
) -> dict[str, NDArray[Any]]:
    known = _rates_and_times(mean)
    settings = {
        "retention_rate": known["retention_rate"],
        "mean_pass_over_p": mean["y / p"],
        "mean_keep_probability": mean["p"],
        "t_g": known["t_g"],
        "t_s": known["t_s"],
        "t_n": known["t_n"],
    }
    equal = speedup.sampling_speedup(**settings)
    busier = speedup.sampling_speedup(**settings, mean_kept_t_s=mean["p t_s"])
    return {**known, **_name_predictions(equal, busier)}


def _name_predictions(
    equal: NDArray[Any], busier: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Name what equal and what busier kept events lead to."""
    return {
        "predicted_speedup": equal,
        "predicted_with_costs": busier,
        "excess_without_costs": equal / busier - 1.0,
    }


def measure_speedup(unfiltered: ChainRun, filtered: ChainRun, clock: str) -> Estimate:
    """Return the measured speedup of two runs over the same events."""
    columns = {
        "y": unfiltered.passes.astype(np.float64),
        "without": unfiltered.seconds(STAGES, clock),
        **_collect_costs(filtered, clock, ""),
    }

    def divide(mean: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        cost = mean["without"] / mean["y"]
        return {"speedup": cost * _count_per_cost(mean, "")}

    return _estimate(columns, divide)["speedup"]


def divide_speedups(
    first: ChainRun, second: ChainRun, clock: str, group_size: int
) -> Estimate:
    """Return the ratio of the speedups that two runs over the same events measure.

    The error is a jackknife over groups of consecutive events that ran together: the
    events are the same, and what remains is the speed of the machine, which drifts
    slowly. It is NaN for less than two groups.
    """
    starts = np.arange(0, len(first), group_size)
    sums = {
        name: np.add.reduceat(column, starts)
        for prefix, run in (("first ", first), ("second ", second))
        for name, column in _collect_costs(run, clock, prefix).items()
    }

    def divide(total: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: NDArray[Any] = _count_per_cost(total, "first ") / _count_per_cost(
                total, "second "
            )
        return ratio

    n_groups = len(starts)
    value = divide({name: column.sum(keepdims=True) for name, column in sums.items()})
    if n_groups < 2:
        return Estimate(float(value[0]), float("nan"))
    without = divide({name: column.sum() - column for name, column in sums.items()})
    error = np.sqrt((n_groups - 1) * np.var(without))
    return Estimate(float(value[0]), float(error))


def _collect_costs(
    filtered: ChainRun, clock: str, prefix: str
) -> dict[str, NDArray[np.float64]]:
    w = filtered.weight * filtered.passes
    cost = filtered.seconds(STAGES, clock)
    return {f"{prefix}cost": cost, f"{prefix}w": w, f"{prefix}w2": w * w}


def _count_per_cost(mean: Mapping[str, NDArray[Any]], prefix: str) -> NDArray[Any]:
    """Return the effective number of passing events per second."""
    squares = mean[f"{prefix}w2"]
    effective = np.square(mean[f"{prefix}w"]) / np.where(squares > 0, squares, 1.0)
    count: NDArray[Any] = effective / mean[f"{prefix}cost"]
    return count


@lru_cache(maxsize=2)
def _draw_counts(n_rows: int) -> NDArray[np.uint8]:
    """Return how often each replica holds each row, shape (N_REPLICAS, n_rows).

    The same for all estimates, so that those on the same events share their replicas.
    """
    rng = np.random.default_rng(0)
    counts = np.empty((N_REPLICAS, n_rows), dtype=np.uint8)
    for row in counts:
        row[:] = np.bincount(rng.integers(n_rows, size=n_rows), minlength=n_rows)
    return counts


def _estimate(
    columns: Mapping[str, NDArray[np.float64]],
    formulas: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]],
) -> dict[str, Estimate]:
    """Return functions of the columns' means, with errors from a bootstrap over rows.

    Replicas without a passing or without a failing event are left out; so are, for
    each function, those in which it is not defined.
    """
    table = np.stack(list(columns.values()), axis=1)
    counts = _draw_counts(len(table))
    means = [table.mean(axis=0, keepdims=True)]
    for first in range(0, N_REPLICAS, _REPLICAS_AT_ONCE):
        some = counts[first : first + _REPLICAS_AT_ONCE].astype(np.float64)
        means.append(some @ table / len(table))
    all_means = np.concatenate(means)
    share = all_means[:, list(columns).index("y")]
    usable = (share > 0) & (share < 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = formulas(dict(zip(columns, all_means[usable].T, strict=True)))
    return {name: _summarise(value) for name, value in values.items()}


def _summarise(values: NDArray[Any]) -> Estimate:
    """Return the first value with the standard deviation of the others."""
    replicas = values[1:][np.isfinite(values[1:])]
    error = float(np.std(replicas, ddof=1)) if len(replicas) > 1 else float("nan")
    return Estimate(float(values[0]), error)
