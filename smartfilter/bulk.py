"""Score whole files: read, score, decide, write, in bounded memory."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.decision import decide_by_type
from smartfilter.errors import InputError
from smartfilter.event_type import infer_event_type
from smartfilter.events import EVENT_TYPES, UNKNOWN_EVENT_TYPE
from smartfilter.graphs import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from smartfilter.decision import Decision, DecisionSettings, SkimSettings
    from smartfilter.events import Events
    from smartfilter.scoring import Scorer, Scores

__all__ = [
    "ScoredChunk",
    "Summary",
    "judge",
    "log_unscorable",
    "resolve_event_type",
    "score_chunk",
    "score_events",
]

log = logging.getLogger(__name__)

WARN_UNSCORABLE = 0.01
"""Share of unscorable events above which the run warns."""


@dataclass
class Summary:
    """What a run over files saw and decided; grows chunk by chunk.

    Parameters
    ----------
    skims : tuple of str
        The skims that decide.
    """

    skims: tuple[str, ...]
    n_events: int = 0
    n_kept: int = 0
    n_unscorable: int = 0
    n_inferred: int = 0
    n_contradicted: int = 0
    seconds: float = 0.0
    types: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(EVENT_TYPES) + 1, dtype=np.int64)
    )
    sum_weight: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sum_weight2: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        """Start the sums at zero."""
        self.sum_weight = np.zeros(len(self.skims))
        self.sum_weight2 = np.zeros(len(self.skims))

    @property
    def events_per_second(self) -> float:
        """Events read, prepared, scored, decided and written per second."""
        return self.n_events / self.seconds if self.seconds > 0 else 0.0

    @property
    def effective_sizes(self) -> dict[str, float]:
        """Effective sample size of the kept events per skim, in events."""
        squares = np.where(self.sum_weight2 > 0, self.sum_weight2, 1.0)
        sizes = np.square(self.sum_weight) / squares
        return dict(zip(self.skims, sizes.tolist(), strict=True))

    @property
    def event_types(self) -> dict[str, int]:
        """Number of events of each type that occurs; ``unknown`` last."""
        names = (*EVENT_TYPES, "unknown")
        return {n: int(k) for n, k in zip(names, self.types, strict=True) if k}

    def add(self, events: Events, scores: Scores, decision: Decision) -> None:
        """Count one chunk."""
        self.n_events += len(events)
        self.n_kept += int(decision.keep.sum())
        self.n_unscorable += int((~scores.scorable).sum())
        codes = np.where(events.event_type < 0, len(EVENT_TYPES), events.event_type)
        self.types += np.bincount(codes, minlength=len(self.types))
        self.sum_weight += decision.weight.sum(axis=0)
        self.sum_weight2 += np.square(decision.weight).sum(axis=0)

    def add_metadata(self, counts: Mapping[str, Any]) -> None:
        """Count what another run counted; see `to_metadata`."""
        self.n_events += counts["n_generated"]
        self.n_kept += counts["n_kept"]
        self.n_unscorable += counts["n_unscorable"]
        self.n_inferred += counts["n_event_type_inferred"]
        self.n_contradicted += counts["n_event_type_contradicted"]
        names = (*EVENT_TYPES, "unknown")
        self.types += [counts["event_types"].get(name, 0) for name in names]
        self.sum_weight += [counts["sum_weight"][skim] for skim in self.skims]
        self.sum_weight2 += [counts["sum_weight2"][skim] for skim in self.skims]

    def to_metadata(self) -> dict[str, Any]:
        """Return the counts and sums that every output carries."""
        return {
            "n_generated": self.n_events,
            "n_kept": self.n_kept,
            "n_unscorable": self.n_unscorable,
            "event_types": self.event_types,
            "n_event_type_inferred": self.n_inferred,
            "n_event_type_contradicted": self.n_contradicted,
            "sum_weight": dict(zip(self.skims, self.sum_weight.tolist(), strict=True)),
            "sum_weight2": dict(
                zip(self.skims, self.sum_weight2.tolist(), strict=True)
            ),
        }


def resolve_event_type(events: Events, event_type: str | None) -> tuple[Events, int]:
    """Return the events with their types, and how many types were inferred.

    A given type wins; else the file's; else it is inferred from the record.
    """
    if event_type is not None:
        return events.with_event_type(event_type), 0
    unknown = events.event_type == UNKNOWN_EVENT_TYPE
    if not unknown.any():
        return events, 0
    codes = np.where(unknown, infer_event_type(events), events.event_type)
    inferred = int((unknown & (codes != UNKNOWN_EVENT_TYPE)).sum())
    return events.with_event_type_codes(codes.astype(np.int8)), inferred


@dataclass(frozen=True, eq=False)
class ScoredChunk:
    """What was found and decided about the events of a chunk.

    Parameters
    ----------
    columns : mapping of str to ndarray, each of shape (n_events,)
        See `smartfilter.io.scores`; ``file`` is a string.
    summary : Summary
    unscorable : tuple of str
        Which events cannot be scored, and why.
    """

    columns: dict[str, Any]
    summary: Summary
    unscorable: tuple[str, ...]


def score_chunk(
    chunk: Events,
    *,
    scorer: Scorer,
    settings: Sequence[DecisionSettings],
    event_type: str | None = None,
    strict: bool = False,
) -> ScoredChunk:
    """Score and decide a chunk; parameters and errors are those of `score_events`."""
    skims = settings[-1].skims
    summary = Summary(tuple(skim.name for skim in skims))
    events, summary.n_inferred = resolve_event_type(chunk, event_type)
    told = chunk.event_type != UNKNOWN_EVENT_TYPE
    summary.n_contradicted = int((told & (chunk.event_type != events.event_type)).sum())
    scores = scorer.score(events)
    unscorable = _list_unscorable(events, scores, strict=strict)
    decision = decide_by_type(
        events,
        logits=scores.logits,
        scores=scores.scores,
        scorable=scores.scorable,
        settings=settings,
    )
    summary.add(events, scores, decision)
    columns = _make_columns(events, scores, decision, skims)
    return ScoredChunk(columns, summary, unscorable)


def score_events(
    chunks: Iterable[Events],
    *,
    scorer: Scorer,
    settings: Sequence[DecisionSettings],
    event_type: str | None = None,
    strict: bool = False,
    write: Callable[[dict[str, Any]], None] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Summary:
    """Score and decide chunk by chunk, in this process.

    Parameters
    ----------
    chunks : iterable of Events
        For instance the source that `smartfilter.open_events` returns.
    scorer : Scorer
    settings : sequence of DecisionSettings
        From `DecisionSettings.for_each_type`.
    event_type : str, optional
        Type of all events; by default the file's, else inferred.
    strict : bool
        Stop at the first event that cannot be scored.
    write : callable, optional
        Receives the columns of each chunk, see `smartfilter.io.scores`.
    advance : callable, optional
        Told the number of events done since its last call.

    Raises
    ------
    InputError
        If no event can be scored, or with ``strict`` one cannot.
    """
    summary = Summary(tuple(skim.name for skim in settings[-1].skims))
    start = time.perf_counter()
    for chunk in chunks:
        scored = score_chunk(
            chunk,
            scorer=scorer,
            settings=settings,
            event_type=event_type,
            strict=strict,
        )
        log_unscorable(scored.unscorable)
        if write is not None:
            write(scored.columns)
        summary.add_metadata(scored.summary.to_metadata())
        if advance is not None:
            advance(len(chunk))
    summary.seconds = time.perf_counter() - start
    judge(summary)
    return summary


def _list_unscorable(
    events: Events, scores: Scores, *, strict: bool
) -> tuple[str, ...]:
    """Return each event that cannot be scored, or stop at the first."""
    found = []
    for i in np.flatnonzero(~scores.scorable):
        where = f"{events.file or 'events'}, entry {events.entry[i]}"
        reason = Reason(scores.reason[i]).name.lower().replace("_", " ")
        if strict:
            raise InputError(
                f"event: cannot be scored ({reason}) at {where}; "
                "without --strict it would be simulated with weight 1"
            )
        found.append(f"unscorable event ({reason}) at {where}: simulated, weight 1")
    return tuple(found)


def log_unscorable(messages: Iterable[str]) -> None:
    """Log the events that cannot be scored."""
    for message in messages:
        log.info("%s", message)


def judge(summary: Summary) -> None:
    """Warn about types that the files contradict and about many unscorable events.

    Raises
    ------
    InputError
        If no event can be scored.
    """
    if summary.n_events and summary.n_unscorable == summary.n_events:
        raise InputError(
            f"events: none of {summary.n_events} can be scored; "
            "are these generator-level MCParticles? -v lists the reasons"
        )
    if summary.n_contradicted:
        log.warning(
            "%d of %d events have another type in their file than the one given, which "
            "is used",
            summary.n_contradicted,
            summary.n_events,
        )
    if summary.n_unscorable > WARN_UNSCORABLE * summary.n_events:
        log.warning(
            "%d of %d events cannot be scored and will be simulated; -v lists them",
            summary.n_unscorable,
            summary.n_events,
        )


def _make_columns(
    events: Events, scores: Scores, decision: Decision, skims: Sequence[SkimSettings]
) -> dict[str, Any]:
    """Return the columns of the score file, each of shape (n_events,)."""
    columns: dict[str, Any] = {
        "file": events.file,
        "entry": events.entry,
        "experiment": events.experiment,
        "run": events.run,
        "production": events.production,
        "event": events.event,
        "n_particles": events.counts,
        "event_type": events.event_type,
        "keep": decision.keep,
    }
    for k, skim in enumerate(skims):
        columns |= {
            f"logit_{skim.name}": scores.logits[:, skim.column],
            f"score_{skim.name}": scores.scores[:, skim.column],
            f"keep_probability_{skim.name}": decision.keep_probability[:, k],
            f"weight_{skim.name}": decision.weight[:, k],
        }
    return columns
