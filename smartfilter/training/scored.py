"""Score labelled files with one or several models, in one pass over the files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smartfilter.errors import InputError, UsageError, describe_unknown
from smartfilter.io import open_events
from smartfilter.training.labels import read_sample_weight, require_labels
from smartfilter.training.split import SPLITS, Split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.scoring import Scorer

__all__ = ["ModelSamples", "ScoredSample", "score_labelled", "score_models"]


@dataclass(frozen=True, eq=False)
class ScoredSample:
    """Labelled events with their scores.

    Parameters
    ----------
    skims : tuple of str
    scores : ndarray of float32, shape (n_events, n_skims)
    passes : ndarray of bool, shape (n_events, n_skims)
    weight : ndarray of float32, shape (n_events,)
        Generated events that each event stands for.
    event_type : ndarray of int8, shape (n_events,)
    variables : mapping of str to ndarray of float32, shape (n_events,)
        Event-level variables that all files have.
    n_dropped : int
        Events left out because they took part in training or validation.
    n_unscorable : int
        Events left out because they cannot be scored.
    """

    skims: tuple[str, ...]
    scores: NDArray[np.float32]
    passes: NDArray[np.bool_]
    weight: NDArray[np.float32]
    event_type: NDArray[np.int8]
    variables: Mapping[str, NDArray[np.float32]]
    n_dropped: int
    n_unscorable: int

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.weight)


class ModelSamples(NamedTuple):
    """Events scored by one model.

    Parameters
    ----------
    test : ScoredSample
        Events that none of the models was trained on; the same ones for all models.
    validation : ScoredSample or None
        Events of this model's validation split; None if they were not wanted or there
        are none.
    """

    test: ScoredSample
    validation: ScoredSample | None


def score_labelled(
    files: Sequence[str | Path],
    scorer: Scorer,
    *,
    skims: Sequence[str] = (),
    all_events: bool = False,
    advance: Callable[[int], None] | None = None,
) -> ScoredSample:
    """Score the test events of labelled files with one model.

    Parameters and errors are those of `score_models`.
    """
    (samples,) = score_models(
        files, [scorer], skims=skims, all_events=all_events, advance=advance
    )
    return samples.test


def score_models(
    files: Sequence[str | Path],
    scorers: Sequence[Scorer],
    *,
    skims: Sequence[str] = (),
    all_events: bool = False,
    validation: Sequence[bool] = (),
    advance: Callable[[int], None] | None = None,
) -> tuple[ModelSamples, ...]:
    """Score the test events of labelled files with several models.

    Parameters
    ----------
    files : sequence of str or Path
        As `smartfilter.open_events` takes them.
    scorers : sequence of Scorer
    skims : sequence of str
        By default all that every model has.
    all_events : bool
        Use every event, for files that had no part in the training; by default those
        in the test split that each of the model files records.
    validation : sequence of bool
        For which models the events of their validation split are scored, too.
    advance : callable, optional
        Told the number of events read since its last call.

    Raises
    ------
    InputError
        If a label is missing, or no event is left.
    UsageError
        If a model does not have a skim, or the models have none in common.
    ModelFileError
        If a model file records no split.
    """
    names = _find_skims(scorers, skims)
    splits = [] if all_events else [_read_split(scorer) for scorer in scorers]
    wanted = [k for k, use in enumerate(validation) if use and splits]
    tests: list[list[ScoredSample]] = [[] for _ in scorers]
    held_out: dict[int, list[ScoredSample]] = {k: [] for k in wanted}
    n_dropped = 0
    for chunk in open_events(files):
        require_labels(chunk, names)
        parts = {split: split.assign(chunk) for split in splits}
        unseen = np.ones(len(chunk), dtype=bool)
        for part in parts.values():
            unseen &= part == SPLITS.index("test")
        n_dropped += int((~unseen).sum())
        events = chunk if unseen.all() else chunk.take(unseen)
        for test, scored in zip(
            tests, _score_chunk(events, scorers, names), strict=True
        ):
            test.append(scored)
        for k in wanted:
            own = chunk.take(parts[splits[k]] == SPLITS.index("validation"))
            held_out[k] += _score_chunk(own, [scorers[k]], names)
        if advance is not None:
            advance(len(chunk))
    if not sum(len(part) for part in tests[0]):
        raise InputError(
            f"test events: expected some that {_list_paths(scorers)} was not trained "
            f"on, got none ({n_dropped} of training and validation splits were left out)"
        )
    return tuple(
        ModelSamples(_join(test, n_dropped), _join_any(held_out.get(k, [])))
        for k, test in enumerate(tests)
    )


def _find_skims(scorers: Sequence[Scorer], skims: Sequence[str]) -> tuple[str, ...]:
    """Return the skims that were asked for, or all that the models share."""
    for scorer in scorers:
        for name in skims:
            if name not in scorer.info.skim_names:
                known = scorer.info.skim_names
                raise UsageError(describe_unknown("skim", name, known, scorer.path))
    if skims:
        return tuple(skims)
    shared = tuple(
        name
        for name in scorers[0].info.skim_names
        if all(name in scorer.info.skim_names for scorer in scorers)
    )
    if not shared:
        raise UsageError(
            f"skim: expected one that {_list_paths(scorers)} all have, got none; "
            "evaluate them one by one"
        )
    return shared


def _list_paths(scorers: Sequence[Scorer]) -> str:
    return ", ".join(str(scorer.path) for scorer in scorers)


def _read_split(scorer: Scorer) -> Split:
    return Split.from_training(scorer.info.training, str(scorer.path))


def _score_chunk(
    events: Events, scorers: Sequence[Scorer], names: tuple[str, ...]
) -> list[ScoredSample]:
    """Return the events that every model can score, once per model."""
    results = [scorer.score(events) for scorer in scorers]
    use = np.logical_and.reduce([result.scorable for result in results])
    passes = np.stack([events.labels[name] for name in names], axis=1)[use]
    weight = read_sample_weight(events)[use]
    variables = {name: column[use] for name, column in events.variables.items()}
    samples = []
    for scorer, result in zip(scorers, results, strict=True):
        columns = [scorer.info.skim_names.index(name) for name in names]
        samples.append(
            ScoredSample(
                skims=names,
                scores=result.scores[use][:, columns],
                passes=passes,
                weight=weight,
                event_type=events.event_type[use],
                variables=variables,
                n_dropped=0,
                n_unscorable=int((~use).sum()),
            )
        )
    return samples


def _join_any(parts: Sequence[ScoredSample]) -> ScoredSample | None:
    return _join(parts, 0) if sum(len(part) for part in parts) else None


def _join(parts: Sequence[ScoredSample], n_dropped: int) -> ScoredSample:
    shared = [
        name
        for name in parts[0].variables
        if all(name in part.variables for part in parts)
    ]
    return ScoredSample(
        skims=parts[0].skims,
        scores=np.concatenate([part.scores for part in parts]),
        passes=np.concatenate([part.passes for part in parts]),
        weight=np.concatenate([part.weight for part in parts]),
        event_type=np.concatenate([part.event_type for part in parts]),
        variables={
            name: np.concatenate([part.variables[name] for part in parts])
            for name in shared
        },
        n_dropped=n_dropped,
        n_unscorable=sum(part.n_unscorable for part in parts),
    )
