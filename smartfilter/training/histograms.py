"""Histograms of event-level variables of several samples, as numbers for a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.training.bias import compare_shares

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["fill_histograms"]

N_BINS = 24
TAIL = 0.005
"""Share of the events beyond either end; they are in the outer bins."""

REACH = 5.0
"""Both ends are at most that many standard deviations (of a normal distribution with the
same central 68 %) from the median."""


def fill_histograms(
    values: NDArray[Any],
    samples: Mapping[str, NDArray[np.float64]],
    *,
    sample_weight: NDArray[Any] | None = None,
) -> dict[str, Any]:
    """Return the shape of a variable in all events and in samples of them.

    Parameters
    ----------
    values : ndarray of float, shape (n_events,)
        NaN is left out.
    samples : mapping of str to ndarray of float64, shape (n_events,)
        Name -> weight of each event, 0 if not in the sample. Empty ones are left out.
    sample_weight : ndarray of float, shape (n_events,), optional

    Returns
    -------
    dict
        ``edges``, shape (n_bins + 1,), with one bin per integer for small integers;
        ``all``: ``share`` and ``error`` per bin; ``samples``: name -> ``share``,
        ``error`` (from sums of squared weights), ``ratio`` to all events and
        ``ratio_error`` (with their covariance; null where no event is).
    """
    weight = np.ones(len(values)) if sample_weight is None else sample_weight
    use = ~np.isnan(values)
    v, weight = values[use].astype(np.float64), weight[use].astype(np.float64)
    edges = _place_edges(v)
    row = np.searchsorted(edges, v, side="right") - 1
    row = row.clip(0, len(edges) - 2)
    shapes = {}
    everything = _shape(row, weight, len(edges) - 1)
    total = np.array(everything["share"])
    for name, sample in samples.items():
        kept = weight * sample[use]
        if not kept.any():
            continue
        difference, deviation = compare_shares(row, weight, kept)
        difference, deviation = (
            np.append(column, np.zeros(len(total) - len(column)))
            for column in (difference, deviation)
        )
        filled = total > 0
        scale = np.where(filled, total, 1.0)
        shapes[name] = {
            **_shape(row, kept, len(edges) - 1),
            "ratio": _or_none(1.0 + difference / scale, filled),
            "ratio_error": _or_none(deviation / scale, filled),
        }
    return {"edges": edges.tolist(), "all": everything, "samples": shapes}


def _place_edges(v: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(v):
        return np.array([0.0, 1.0])
    levels = [TAIL, 0.16, 0.5, 0.84, 1.0 - TAIL]
    lowest, left, middle, right, highest = np.quantile(v, levels)
    low, high = lowest, highest
    if right > left:
        low = max(lowest, middle - REACH * 0.5 * (right - left))
        high = min(highest, middle + REACH * 0.5 * (right - left))
    if np.all(v == np.rint(v)):
        low, high = np.floor(low), np.ceil(high)
        step = max(1.0, np.ceil((high - low + 1.0) / N_BINS))
        return np.arange(low - 0.5, high + 0.5 + step, step)
    if low == high:
        return np.array([low - 0.5, high + 0.5])
    return np.linspace(low, high, N_BINS + 1)


def _shape(
    row: NDArray[np.int64], weight: NDArray[np.float64], n_bins: int
) -> dict[str, list[float]]:
    total = max(float(weight.sum()), 1e-300)
    share = np.bincount(row, weights=weight, minlength=n_bins) / total
    squares = np.bincount(row, weights=np.square(weight), minlength=n_bins)
    return {
        "share": share.tolist(),
        "error": (np.sqrt(squares) / total).tolist(),
    }


def _or_none(values: NDArray[np.float64], use: NDArray[np.bool_]) -> list[float | None]:
    return [float(v) if ok else None for v, ok in zip(values, use, strict=True)]
