"""Predicted and measured speedup from what happened to each event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter import speedup
from smartfilter.pipeline.chain import STAGES, ChainRun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

__all__ = ["Estimate", "measure_speedup", "predict", "replay"]

N_REPLICAS = 400
"""Replicas of the bootstrap: 4 % accuracy of each error."""

_SIMULATION = ("detector", "reconstruction", "skim")


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


def replay(
    unfiltered: ChainRun, filtered: ChainRun, threshold: float | None
) -> ChainRun:
    """Return what a run with the filter gives, from the times of the run without it.

    Parameters
    ----------
    unfiltered : ChainRun
        The chain without the filter.
    filtered : ChainRun
        The same events with the filter at any working point: its scores, and with
        sampling its draws, say which events are kept.
    threshold : float or None
        None with sampling.
    """
    if threshold is None:
        keep, weight = filtered.weight > 0, filtered.weight
    else:
        keep = _reaches(filtered, threshold)
        weight = keep.astype(np.float64)
    times = dict(filtered.times)
    for stage in _SIMULATION:
        times[stage] = unfiltered.times[stage] * keep[:, None]
    return ChainRun(
        times,
        unfiltered.passes & keep,
        filtered.score,
        filtered.keep_probability,
        weight,
    )


def _reaches(run_: ChainRun, threshold: float) -> NDArray[np.bool_]:
    """Return which events a threshold keeps; those without a score among them."""
    return (run_.score >= threshold) | np.isnan(run_.score)


def predict(
    observed: ChainRun, mode: str, threshold: float | None, clock: str
) -> dict[str, Estimate]:
    """Return times (s), rates and the formulas' speedups from one sample.

    Parameters
    ----------
    observed : ChainRun
        Everything was simulated, with the filter looking on.
    mode : str
    threshold : float or None
        None with sampling: then the keep probabilities of the run count.
    clock : str
        One of `CLOCKS`.
    """
    y = observed.passes.astype(np.float64)
    p = observed.keep_probability
    if threshold is not None:
        p = _reaches(observed, threshold).astype(np.float64)
    t_s = observed.seconds(_SIMULATION, clock)
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
    if mode == "threshold":
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
    return {
        **known,
        "predicted_speedup": speedup.threshold_speedup(
            **rates, **times, t_n=known["t_n"]
        ),
        "predicted_with_costs": speedup.speedup_with_costs(
            tpr=known["tpr"],
            t_g=known["t_g"],
            t_n=known["t_n"],
            mean_t_s=known["t_s"],
            mean_kept_t_s=mean["p t_s"],
        ),
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
    return {
        **known,
        "predicted_speedup": speedup.sampling_speedup(**settings),
        "predicted_with_costs": speedup.sampling_speedup(
            **settings, mean_kept_t_s=mean["p t_s"]
        ),
    }


def measure_speedup(unfiltered: ChainRun, filtered: ChainRun, clock: str) -> Estimate:
    """Return the measured speedup of two runs over the same events."""
    w = filtered.weight * filtered.passes
    columns = {
        "y": unfiltered.passes.astype(np.float64),
        "without": unfiltered.seconds(STAGES, clock),
        "with": filtered.seconds(STAGES, clock),
        "w": w,
        "w2": w * w,
    }
    return _estimate(columns, _divide_costs)["measured_speedup"]


def _divide_costs(mean: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return cost per (effective) passing event without over that with the filter."""
    squares = np.where(mean["w2"] > 0, mean["w2"], 1.0)
    effective = np.square(mean["w"]) / squares
    ratio = mean["without"] / mean["y"] * effective / mean["with"]
    return {"measured_speedup": ratio}


def _estimate(
    columns: Mapping[str, NDArray[np.float64]],
    formulas: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]],
) -> dict[str, Estimate]:
    """Return functions of the columns' means, with errors from a bootstrap over rows.

    Replicas without a passing or without a failing event are left out.
    """
    table = np.stack(list(columns.values()), axis=1)
    n_rows = len(table)
    rng = np.random.default_rng(0)
    means = np.empty((N_REPLICAS + 1, table.shape[1]))
    means[0] = table.mean(axis=0)
    for i in range(1, N_REPLICAS + 1):
        counts = np.bincount(rng.integers(n_rows, size=n_rows), minlength=n_rows)
        means[i] = counts @ table / n_rows
    share = means[:, list(columns).index("y")]
    means = means[(share > 0) & (share < 1)]
    values = formulas(dict(zip(columns, means.T, strict=True)))
    return {
        name: Estimate(float(value[0]), float(np.std(value[1:], ddof=1)))
        for name, value in values.items()
    }
