"""Graph preparation: events to flat graph tensors, by the rules of a preset.

`prepare` is the only preparation there is: training, scoring, the module in a steering
path and the export all go through it. It works on whole batches and on single events
alike, without a loop over events or particles.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from smartfilter.events import ID_COLUMNS, NO_MOTHER
from smartfilter.pdg import load_vocabulary
from smartfilter.presets import (
    PRESETS,
    Dropped,
    Feature,
    Layout,
    Preset,
    find_dropped,
    get_preset,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.pdg import Vocabulary

__all__ = [
    "PRESETS",
    "Dropped",
    "Feature",
    "GraphBatch",
    "Preset",
    "Reason",
    "find_dropped",
    "get_preset",
    "prepare",
]


BLOCK_PARTICLES = 32_000
"""Particles that are prepared at once: what stays in the cache of a core.

Measured with 44 particles per event: 500,000 events/s in such blocks, 330,000 with
440,000 particles at once.
"""


_PER_EVENT = ("event_type", "entry")


class Reason(IntEnum):
    """Why an event cannot be scored."""

    SCORABLE = 0
    NO_NODE = 1
    NON_FINITE = 2
    MOTHER_LOOP = 3
    MOTHER_OUT_OF_RANGE = 4


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """Events as one graph of disconnected parts.

    An event that cannot be scored has no node, so that a network sees finite input.

    Parameters
    ----------
    x : ndarray of float32, shape (n_nodes, n_features)
        Features in the order of the preset.
    pdg : ndarray of int32, shape (n_nodes,)
        PDG tokens.
    mother : ndarray of int64, shape (n_nodes,)
        Node of the mother, counted over the whole batch; -1 for none; a node may be its
        own mother.
    offsets : ndarray of int64, shape (n_events + 1,)
        Event ``i`` has the nodes ``offsets[i]:offsets[i + 1]``.
    event_type : ndarray of int64, shape (n_events,)
        Position in `smartfilter.events.EVENT_TYPES`, -1 if unknown.
    reason : ndarray of int8, shape (n_events,)
        `Reason`, 0 if the event can be scored.
    row : ndarray of int64, shape (n_nodes,)
        Row of each node in the flat columns of the events.
    """

    x: NDArray[np.float32]
    pdg: NDArray[np.int32]
    mother: NDArray[np.int64]
    offsets: NDArray[np.int64]
    event_type: NDArray[np.int64]
    reason: NDArray[np.int8]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.offsets) - 1

    @property
    def scorable(self) -> NDArray[np.bool_]:
        """Whether each event can be scored, shape (n_events,)."""
        return np.equal(self.reason, Reason.SCORABLE)


def prepare(
    events: Events,
    preset: str | Preset = "smart_background",
    vocabulary: Vocabulary | None = None,
) -> GraphBatch:
    """Turn events into graph tensors.

    Parameters
    ----------
    events : Events
        Generator particles only; ``mother_index`` as described there.
    preset : str or Preset
        A key of `PRESETS`, or a preset.
    vocabulary : Vocabulary, optional
        By default that of the preset.

    Returns
    -------
    GraphBatch
        One event per event of the input. Without nodes, and with a `Reason`, are those
        with a mother outside the event, a loop of mothers, no particle that survives
        the cuts or a feature that is not finite (the first of these counts).

    Raises
    ------
    UsageError
        If there is no such preset.
    """
    rules = get_preset(preset)
    words = load_vocabulary(rules.vocabulary) if vocabulary is None else vocabulary
    if events.n_particles <= BLOCK_PARTICLES:
        return _prepare_block(events, rules, words)
    blocks = [_prepare_block(part, rules, words) for part in _split(events)]
    return _join(blocks, events)


def _prepare_block(events: Events, rules: Preset, words: Vocabulary) -> GraphBatch:
    """Return `prepare` of so many particles that temporary arrays stay in the cache."""
    offsets = events.offsets
    start = np.repeat(offsets[:-1], offsets[1:] - offsets[:-1])
    mother, reason = _find_mothers(events, start)
    dropped = rules.drop(events)
    layout = _lay_out(events, dropped, start, mother, reason)
    x = _fill_features(layout, rules)
    finite = np.isfinite(x)
    if not finite.all():
        bad = layout.rows[~finite.all(axis=1)]
        reason[_find_events(events, bad)] = Reason.NON_FINITE
        layout = _lay_out(events, dropped, start, mother, reason)
        x = _fill_features(layout, rules)
    reason[(reason == 0) & (layout.offsets[1:] == layout.offsets[:-1])] = Reason.NO_NODE
    return GraphBatch(
        x=x,
        pdg=words.encode(events["pdg"][layout.rows]),
        mother=rules.link(layout),
        offsets=layout.offsets,
        event_type=events.event_type.astype(np.int64),
        reason=reason,
        row=layout.rows,
    )


def _split(events: Events) -> Iterator[Events]:
    """Yield consecutive events, views of at most `BLOCK_PARTICLES` or single events."""
    first = 0
    while first < len(events):
        begin = events.offsets[first]
        end = events.offsets.searchsorted(begin + BLOCK_PARTICLES, side="right") - 1
        last = max(int(end), first + 1)
        part, rows = slice(first, last), slice(begin, events.offsets[last])
        yield replace(
            events,
            offsets=events.offsets[first : last + 1] - begin,
            particles={name: c[rows] for name, c in events.particles.items()},
            labels={},
            variables={},
            **{k: getattr(events, k)[part] for k in (*ID_COLUMNS, *_PER_EVENT)},
        )
        first = last


def _join(blocks: list[GraphBatch], events: Events) -> GraphBatch:
    """Return one graph of consecutive blocks of these events."""
    joined = {
        field.name: np.concatenate([getattr(block, field.name) for block in blocks])
        for field in fields(GraphBatch)
        if field.name != "offsets"
    }
    offsets = np.zeros(len(events) + 1, dtype=np.int64)
    event = node = row = 0
    for block in blocks:
        n_nodes = len(block.x)
        mother = joined["mother"][node : node + n_nodes]
        np.add(mother, node, out=mother, where=mother >= 0)
        joined["row"][node : node + n_nodes] += row
        offsets[event + 1 : event + len(block) + 1] = block.offsets[1:] + node
        event, node = event + len(block), node + n_nodes
        row = int(events.offsets[event])
    return GraphBatch(offsets=offsets, **joined)


def _lay_out(
    events: Events,
    dropped: NDArray[np.int8],
    start: NDArray[np.int64],
    mother: NDArray[np.int64],
    reason: NDArray[np.int8],
) -> Layout:
    """Give numbers to the nodes of the events whose reason is 0."""
    is_node = dropped == 0
    if reason.any():
        is_node &= np.repeat(reason == 0, events.counts)
    rows = np.flatnonzero(is_node)
    node = np.full(events.n_particles + 1, NO_MOTHER, dtype=np.int64)
    node[rows] = np.arange(len(rows))
    offsets = rows.searchsorted(events.offsets)
    return Layout(events, dropped, start, mother, rows, node, offsets)


def _fill_features(layout: Layout, rules: Preset) -> NDArray[np.float32]:
    """Return the feature matrix; differences are taken in float32."""
    rows, origin = layout.rows, rules.refer(layout)
    x = np.empty((len(rows), len(rules.features)), dtype=np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for k, (name, _) in enumerate(rules.features):
            column = layout.events[name]
            if name in rules.relative:
                np.subtract(column.take(rows), column.take(origin), out=x[:, k])
            else:
                x[:, k] = column.take(rows)
    return x


def _find_events(events: Events, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the event of each of these rows."""
    return np.searchsorted(events.offsets, rows, side="right") - 1


def _find_mothers(
    events: Events, start: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return the row of each particle's mother and the `Reason` of each event.

    In events with a mother outside the event or a loop of mothers nobody has a mother.
    """
    index = events["mother_index"]
    reason = np.zeros(len(events), dtype=np.int8)
    mother = index + start
    mother[index < 0] = NO_MOTHER
    forward = np.flatnonzero(mother >= np.arange(len(mother)))
    outside = np.flatnonzero(index < NO_MOTHER)
    if len(forward) or len(outside):
        end = events.offsets[_find_events(events, forward) + 1]
        outside = np.concatenate([outside, forward[mother[forward] >= end]])
        _exclude(events, outside, Reason.MOTHER_OUT_OF_RANGE, mother, reason)
        suspect = np.zeros(len(events), dtype=bool)
        suspect[_find_events(events, forward)] = True
        rows = np.flatnonzero(np.repeat(suspect, events.counts))
        looping = rows[_is_in_loop(mother, rows)]
        _exclude(events, looping, Reason.MOTHER_LOOP, mother, reason)
    return mother, reason


def _exclude(
    events: Events,
    rows: NDArray[np.int64],
    why: Reason,
    mother: NDArray[np.int64],
    reason: NDArray[np.int8],
) -> None:
    """Note why the events of these rows cannot be scored, and cut their mothers."""
    if len(rows):
        reason[_find_events(events, rows)] = why
        mother[np.repeat(reason == why, events.counts)] = NO_MOTHER


def _is_in_loop(
    mother: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return whether the line of mothers of each row never ends.

    Pointer jumping: after k rounds a row has climbed 2^k mothers. ``rows`` are whole
    events.
    """
    jump = mother.copy()
    for _ in range(len(rows).bit_length()):
        above = jump[rows]
        jump[rows] = np.where(above >= 0, jump[above], NO_MOTHER)
    return jump[rows] >= 0
