"""Scored events on which ways to sample are compared: drawn, or of labelled files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Sample", "draw_sample", "leave_out_poor", "score_sample"]

SYNTHETIC = {
    "feiHadronicB0": 0.05,
    "feiSLB0": 0.1,
    "BtoPi0Pi0": 0.01,
    "InclusiveLambda": 0.03,
}
"""Skims of the drawn scores and their retention rates: illustrative."""


class Sample(NamedTuple):
    """Scored events; shape (n_events, n_skims), weight (n_events,)."""

    skims: tuple[str, ...]
    logits: Floats
    scores: Floats
    passes: Floats
    weight: Floats
    shipped: tuple[tuple[float, float], ...] | None

    def take(self, rows: NDArray[Any]) -> Sample:
        """Return some of the events."""
        return self._replace(
            logits=self.logits[rows],
            scores=self.scores[rows],
            passes=self.passes[rows],
            weight=self.weight[rows],
        )


def draw_sample(n_events: int, correlation: float, seed: int) -> Sample:
    """Draw calibrated scores of correlated skims, and labels from them."""
    rng = np.random.default_rng(seed)
    rates = np.array(list(SYNTHETIC.values()))
    shared = rng.normal(size=(n_events, 1))
    own = rng.normal(size=(n_events, len(rates)))
    z = 2.0 * (np.sqrt(correlation) * shared + np.sqrt(1.0 - correlation) * own)
    low, high = np.full(len(rates), -40.0), np.full(len(rates), 40.0)
    for _ in range(60):
        shift = 0.5 * (low + high)
        above = np.mean(1.0 / (1.0 + np.exp(-z - shift)), axis=0) > rates
        low, high = np.where(above, low, shift), np.where(above, shift, high)
    logits = z + 0.5 * (low + high)
    scores = 1.0 / (1.0 + np.exp(-logits))
    passes = (rng.random(scores.shape) < scores).astype(np.float64)
    return Sample(
        tuple(SYNTHETIC), logits, scores, passes, np.ones(n_events), shipped=None
    )


def score_sample(
    files: Sequence[str], model: str | None, skims: Sequence[str], all_events: bool
) -> Sample:
    """Score labelled events that the model was not trained on."""
    from smartfilter.bulk import resolve_event_type
    from smartfilter.io import open_events
    from smartfilter.scoring import Scorer
    from smartfilter.training.labels import read_sample_weight, require_labels
    from smartfilter.training.split import Split

    scorer = Scorer(model)
    names = tuple(skims) or scorer.info.skim_names
    columns = [scorer.info.skim_names.index(name) for name in names]
    split = (
        None
        if all_events
        else Split.from_training(scorer.info.training, str(scorer.path))
    )
    parts = []
    for chunk in open_events(files):
        require_labels(chunk, names)
        unseen = chunk if split is None else split.drop_used(chunk)[0]
        events, _ = resolve_event_type(unseen, None)
        found = scorer.score(events)
        use = found.scorable
        labels = np.stack([events.labels[name] for name in names], axis=1)
        parts.append(
            (
                found.logits[use][:, columns],
                found.scores[use][:, columns],
                labels[use],
                read_sample_weight(events)[use],
            )
        )
    logits, scores, passes, weight = (
        np.concatenate(p).astype(np.float64) for p in zip(*parts, strict=True)
    )
    constants = [scorer.info.skims[column].get_calibration() for column in columns]
    shipped = tuple((c.official_slope, c.official_offset) for c in constants)
    return Sample(names, logits, scores, passes, weight, shipped)


def leave_out_poor(
    sample: Sample, half: NDArray[np.bool_]
) -> tuple[Sample, dict[str, int]]:
    """Leave out skims that no event of one half passes, or that none fails.

    Parameters
    ----------
    sample : Sample
    half : ndarray of bool, shape (n_events,)
        Constants are fitted on either half.

    Returns
    -------
    tuple of Sample and dict
        The other skims, and the number of passing events of those left out.

    Raises
    ------
    InputError
        If no skim is left.
    """
    parts = sample.passes[half], sample.passes[~half]
    good = np.all([p.any(axis=0) & ~p.all(axis=0) for p in parts], axis=0)
    columns = np.flatnonzero(good)
    n_passing = sample.passes.sum(axis=0).astype(int).tolist()
    left_out = {
        name: n
        for name, n, keep in zip(sample.skims, n_passing, good, strict=True)
        if not keep
    }
    if not len(columns):
        raise InputError(
            f"skims: expected passing and failing events in both halves of "
            f"{len(sample.weight)} events, got too few for each of "
            f"{', '.join(sample.skims)}; add data"
        )
    shipped = sample.shipped
    rest = sample._replace(
        skims=tuple(sample.skims[k] for k in columns),
        logits=sample.logits[:, columns],
        scores=sample.scores[:, columns],
        passes=sample.passes[:, columns],
        shipped=None if shipped is None else tuple(shipped[k] for k in columns),
    )
    return rest, left_out
