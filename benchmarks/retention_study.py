"""Skims and event variables of the same events, simulated with different steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.simulation import label
from smartfilter.pipeline.skims import SKIMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["VARIABLES", "compare", "simulate"]

VARIABLES = (
    "n_tracks",
    "n_clusters",
    "n_pi0",
    "n_k_short",
    "n_d",
    "visible_energy",
    "r2",
)
"""Event variables whose means are compared: steadier than the share of rare skims."""

_CHUNK = 500


def simulate(
    event_type: str,
    n_events: Mapping[float, int],
    *,
    seed: int,
    workers: int,
    advance: Callable[[int], None],
) -> dict[str, dict[float, NDArray[np.float64]]]:
    """Return labels (0, 1) and variables of the first events, by name and step.

    Parameters
    ----------
    event_type : str
    n_events : mapping of float to int
        Events per step (cm): each takes the first ones of the same sample.
    seed : int
        Seed of generator and detector.
    workers : int
        Threads of the detector.
    advance : callable
        Told the events simulated since its last call.
    """
    generator = Generator(event_type, seed=seed)
    detectors = {s: Detector(step=s, seed=seed, workers=workers) for s in n_events}
    names = [skim.name for skim in SKIMS] + list(VARIABLES)
    parts: dict[str, dict[float, list[Any]]] = {
        name: {step: [] for step in n_events} for name in names
    }
    for start in range(0, max(n_events.values()), _CHUNK):
        events = generator.generate(min(_CHUNK, max(n_events.values()) - start))
        for step, n in n_events.items():
            rows = np.arange(min(len(events), max(n - start, 0)))
            if not len(rows):
                continue
            done = label(events.take(rows), detector=detectors[step])
            columns = {**done.variables, **done.labels}
            for name in names:
                parts[name][step].append(np.asarray(columns[name], dtype=np.float64))
            advance(len(rows))
    return {
        name: {step: np.concatenate(rows) for step, rows in by_step.items()}
        for name, by_step in parts.items()
    }


def compare(
    values: Mapping[float, NDArray[np.float64]], reference: float
) -> dict[str, Any]:
    """Return means per step, paired differences to one step, and chi2 of no dependence.

    Parameters
    ----------
    values : mapping of float to ndarray, shape (n_events of the step,)
        A number per event; row i belongs to the same event for every step.
    reference : float
        The step that the others are compared with, on the events that both have.

    Returns
    -------
    dict
        ``points`` (step, n_events, mean and its error, ``difference`` to the reference and
        its error from the variance of the paired difference, ``pull``), ``chi2`` of all
        differences with their covariance, ``dof`` and ``p_value``.
    """
    steps = list(values)
    others = [step for step in steps if step != reference]
    base = values[reference]
    pairs = {s: values[s][: len(base)] - base[: len(values[s])] for s in others}
    points = []
    for step in steps:
        y = values[step]
        point: dict[str, Any] = {
            "step": step,
            "n_events": len(y),
            "mean": float(y.mean()),
            "mean_error": _error(y),
        }
        if step != reference:
            d = pairs[step]
            point |= {"difference": float(d.mean()), "difference_error": _error(d)}
            point["pull"] = (
                float(d.mean() / _error(d)) if _error(d) > 0.0 else float("nan")
            )
        points.append(point)
    chi2, dof = _chi2([pairs[step] for step in others])
    p_value = (
        float(torch.special.gammaincc(torch.tensor(dof / 2), torch.tensor(chi2 / 2)))
        if dof
        else float("nan")
    )
    return {"points": points, "chi2": chi2, "dof": dof, "p_value": p_value}


def _error(y: NDArray[np.float64]) -> float:
    """Return the standard error of a mean."""
    return float(y.std(ddof=1) / np.sqrt(len(y))) if len(y) > 1 else float("nan")


def _chi2(pairs: Sequence[NDArray[np.float64]]) -> tuple[float, int]:
    """Return chi2 of mean differences and its degrees of freedom.

    Means over the first n and the first m >= n events have the covariance c / m, c
    that of single events. Directions without variance (a skim that nothing passes) do
    not count.
    """
    if not pairs:
        return 0.0, 0
    mean = np.array([d.mean() for d in pairs])
    covariance = np.zeros((len(pairs), len(pairs)))
    for i, a in enumerate(pairs):
        for j, b in enumerate(pairs):
            n = min(len(a), len(b))
            if n > 1:
                single = np.cov(a[:n], b[:n])[0, 1]
                covariance[i, j] = single / max(len(a), len(b))
    eigenvalues, vectors = np.linalg.eigh(covariance)
    kept = eigenvalues > 1e-9 * max(eigenvalues.max(), 1e-300)
    projected = vectors.T @ mean
    chi2 = float(np.sum(projected[kept] ** 2 / eigenvalues[kept]))
    return chi2, int(kept.sum())
