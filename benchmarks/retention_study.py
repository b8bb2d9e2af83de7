"""Skims and event variables of the same events, simulated with different steps."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import smartfilter
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.simulation import label
from smartfilter.pipeline.skims import SKIMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from smartfilter.events import Events

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
_NAMES = (*(skim.name for skim in SKIMS), *VARIABLES)


def simulate(
    event_type: str,
    n_events: Mapping[float, int],
    *,
    seed: int,
    workers: int,
    minutes: float,
    parts: Path,
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
    minutes : float
        Time after which no further events are begun.
    parts : Path
        Folder for what is done: a run that was stopped goes on from there, as long as
        the program is the same.
    advance : callable
        Told the events simulated since its last call.
    """
    generator, start = Generator(event_type, seed=seed), monotonic()
    detectors = {s: Detector(step=s, seed=seed, workers=workers) for s in n_events}
    prefix = f"{event_type}-{seed}-{_digest_program()}"
    done: dict[float, list[NDArray[np.float64]]] = {step: [] for step in n_events}
    for first in range(0, max(n_events.values()), _CHUNK):
        if first > 0 and monotonic() - start > 60.0 * minutes:
            break
        events = generator.generate(min(_CHUNK, max(n_events.values()) - first))
        for step, n in n_events.items():
            wanted = events.take(np.arange(min(len(events), max(n - first, 0))))
            if len(wanted):
                path = parts / f"{prefix}-{step:g}-{first}-{len(wanted)}.npy"
                done[step].append(_simulate_part(wanted, detectors[step], path))
                advance(len(wanted))
    return {
        name: {step: np.concatenate(rows)[:, i] for step, rows in done.items()}
        for i, name in enumerate(_NAMES)
    }


def _simulate_part(
    events: Events, detector: Detector, path: Path
) -> NDArray[np.float64]:
    """Return what is kept of some events, shape (n, number of names), from a file if any.

    The file is written to a temporary name and moved.
    """
    if path.exists():
        return np.asarray(np.load(path), dtype=np.float64)
    labelled = label(events, detector=detector)
    columns = {**labelled.variables, **labelled.labels}
    table = np.stack([np.asarray(columns[k], dtype=np.float64) for k in _NAMES], axis=1)
    temporary = path.with_suffix(".part.npy")
    np.save(temporary, table)
    temporary.replace(path)
    return table


def _digest_program() -> str:
    """Return a short digest of the sources that results depend on."""
    digest = sha256()
    for path in sorted(
        Path(smartfilter.__file__).parent.joinpath("pipeline").glob("*.py")
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


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
