"""What event files and score files hold, counted in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.bulk import resolve_event_type
from smartfilter.events import EVENT_TYPES, StatusBit
from smartfilter.graphs import Dropped, Reason, find_dropped, get_preset, prepare
from smartfilter.pdg import load_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.graphs import Preset
    from smartfilter.io import ScoreFile
    from smartfilter.pdg import Vocabulary

__all__ = [
    "SCORE_EDGES",
    "WEIGHT_EDGES",
    "EventContents",
    "ScoreContents",
    "count_events",
    "count_scores",
    "name_counts",
    "summarise",
]

SCORE_EDGES = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Edges of the bins of pass probabilities; the last bin holds 1."""

WEIGHT_EDGES = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, np.inf)
"""Edges of the bins of weights of kept events."""

_QUANTILES = {"q25": 0.25, "median": 0.5, "q75": 0.75}


def summarise(values: NDArray[Any]) -> dict[str, float]:
    """Return min, quartiles, max and mean of numbers; nothing if there are none."""
    if not len(values):
        return {}
    quartiles = np.quantile(values, list(_QUANTILES.values())).tolist()
    return {
        "min": int(values.min()),
        **dict(zip(_QUANTILES, quartiles, strict=True)),
        "max": int(values.max()),
        "mean": float(values.mean()),
    }


def name_counts(codes: Mapping[int, str], counts: NDArray[np.int64]) -> dict[str, int]:
    """Return the counts that are not zero by name."""
    return {name: int(counts[code]) for code, name in codes.items() if counts[code]}


_TYPE_NAMES = {**dict(enumerate(EVENT_TYPES)), len(EVENT_TYPES): "unknown"}


def _count_types(event_type: NDArray[Any]) -> NDArray[np.int64]:
    """Return the number of events of each type, unknown last, shape (8,)."""
    codes = np.where(event_type < 0, len(EVENT_TYPES), event_type)
    return np.bincount(codes, minlength=len(_TYPE_NAMES)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class EventContents:
    """What the events of a file are.

    Parameters
    ----------
    event_types : dict of str to int
        Events by type, ``unknown`` too.
    n_inferred : int
        Events whose type was inferred from the record.
    multiplicities : dict of str to ndarray of int64, each of shape (n_events,)
        Particles per event: ``particles`` of the generator, those ``stable`` in the
        generator (status bit 1), ``nodes`` that the network sees.
    dropped : dict of str to int
        Particles that preparation drops, by reason.
    unscorable : dict of str to int
        Events that cannot be scored, by reason.
    n_unknown_codes : int
        Nodes whose PDG code is not in the vocabulary.
    n_passing : dict of str to int
        Events that pass, by skim, where the file has labels.
    """

    event_types: dict[str, int]
    n_inferred: int
    multiplicities: dict[str, NDArray[np.int64]]
    dropped: dict[str, int]
    unscorable: dict[str, int]
    n_unknown_codes: int
    n_passing: dict[str, int]

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.multiplicities["particles"])


def count_events(
    chunks: Iterable[Events],
    preset: str | Preset = "smart_background",
    vocabulary: Vocabulary | None = None,
    *,
    advance: Callable[[int], None] | None = None,
) -> EventContents:
    """Count what events hold, and what preparation makes of them.

    Parameters
    ----------
    chunks : iterable of Events
    preset, vocabulary
        As `smartfilter.graphs.prepare`.
    advance : callable, optional
        Told the number of events of each chunk.
    """
    rules = get_preset(preset)
    words = load_vocabulary(rules.vocabulary) if vocabulary is None else vocabulary
    columns: dict[str, list[NDArray[np.int64]]] = {
        name: [np.empty(0, np.int64)] for name in ("particles", "stable", "nodes")
    }
    types = np.zeros(len(_TYPE_NAMES), np.int64)
    dropped = np.zeros(len(Dropped), np.int64)
    reasons = np.zeros(len(Reason), np.int64)
    passing: dict[str, int] = {}
    n_inferred = n_unknown = 0
    for chunk in chunks:
        events, inferred = resolve_event_type(chunk, None)
        graph = prepare(events, rules, words)
        columns["particles"].append(events.counts)
        columns["stable"].append(_count_stable(events))
        columns["nodes"].append(np.diff(graph.offsets))
        types += _count_types(events.event_type)
        dropped += np.bincount(find_dropped(events, rules), minlength=len(dropped))
        reasons += np.bincount(graph.reason, minlength=len(reasons))
        n_inferred += inferred
        n_unknown += int((~np.isin(events["pdg"][graph.row], words.codes)).sum())
        for name, label in events.labels.items():
            passing[name] = passing.get(name, 0) + int(label.sum())
        if advance is not None:
            advance(len(events))
    return EventContents(
        event_types=name_counts(_TYPE_NAMES, types),
        n_inferred=n_inferred,
        multiplicities={name: np.concatenate(c) for name, c in columns.items()},
        dropped=name_counts({d: _spell(d.name) for d in Dropped if d}, dropped),
        unscorable=name_counts({r: _spell(r.name) for r in Reason if r}, reasons),
        n_unknown_codes=n_unknown,
        n_passing=passing,
    )


def _spell(name: str) -> str:
    return name.lower().replace("_", " ")


def _count_stable(events: Events) -> NDArray[np.int64]:
    """Return the generator's stable particles of each event, shape (n_events,)."""
    stable = (events["status"] & np.uint16(StatusBit.STABLE_IN_GENERATOR)) != 0
    total = np.zeros(events.n_particles + 1, np.int64)
    np.cumsum(stable, out=total[1:])
    return total[events.offsets[1:]] - total[events.offsets[:-1]]


@dataclass(frozen=True, eq=False)
class ScoreContents:
    """What the rows of a score file are, for one skim.

    Parameters
    ----------
    n_scored : int
        Events with a score; the others cannot be scored.
    mean_score : float
        Of those.
    scores : dict of str to ndarray of int64, each of shape (len(SCORE_EDGES) - 1,)
        Event type -> events by pass probability.
    weights : dict of str to ndarray of int64, each of shape (len(WEIGHT_EDGES) - 1,)
        Event type -> kept events by weight.
    n_kept : dict of str to int
        Kept events by type.
    """

    n_scored: int
    mean_score: float
    scores: dict[str, NDArray[np.int64]]
    weights: dict[str, NDArray[np.int64]]
    n_kept: dict[str, int]


def count_scores(
    file: ScoreFile, skim: str, *, advance: Callable[[int], None] | None = None
) -> ScoreContents:
    """Fill the histograms of one skim of a score file.

    Parameters
    ----------
    file : ScoreFile
    skim : str
    advance : callable, optional
        Told the number of rows read since its last call.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    n_types = len(_TYPE_NAMES)
    scores = np.zeros((n_types, len(SCORE_EDGES) - 1), np.int64)
    weights = np.zeros((n_types, len(WEIGHT_EDGES) - 1), np.int64)
    n_scored, total = 0, 0.0
    names = ("keep", "event_type", f"score_{skim}", f"weight_{skim}")
    for block in file.iterate(names):
        keep, code, score, weight = (block[name] for name in names)
        code = np.where(code < 0, len(EVENT_TYPES), code).astype(np.int64)
        scored = np.isfinite(score)
        n_scored += int(scored.sum())
        total += float(score[scored].sum(dtype=np.float64))
        scores += _fill(code[scored], score[scored], SCORE_EDGES, n_types)
        weights += _fill(code[keep], weight[keep], WEIGHT_EDGES, n_types)
        if advance is not None:
            advance(len(keep))
    return ScoreContents(
        n_scored=n_scored,
        mean_score=total / n_scored if n_scored else float("nan"),
        scores=_by_type(scores),
        weights=_by_type(weights),
        n_kept={name: int(row.sum()) for name, row in _by_type(weights).items()},
    )


def _fill(
    code: NDArray[np.int64],
    values: NDArray[Any],
    edges: tuple[float, ...],
    n_types: int,
) -> NDArray[np.int64]:
    """Return counts by type and bin; what lies outside goes to the next bin."""
    n_bins = len(edges) - 1
    place = np.searchsorted(np.array(edges), values, side="right") - 1
    flat = code * n_bins + np.clip(place, 0, n_bins - 1)
    return np.bincount(flat, minlength=n_types * n_bins).reshape(n_types, n_bins)


def _by_type(counts: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    return {
        name: counts[code] for code, name in _TYPE_NAMES.items() if counts[code].any()
    }
