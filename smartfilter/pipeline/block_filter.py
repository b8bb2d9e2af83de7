"""The filter for blocks of events, as the sources of the standalone chain have them."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.bulk import resolve_event_type
from smartfilter.decision import Decision, decide
from smartfilter.errors import UsageError
from smartfilter.framework import PyStoreObj
from smartfilter.module import SmartFilter

if TYPE_CHECKING:
    from smartfilter.events import Events
    from smartfilter.scoring import Scores

__all__ = ["BlockFilter"]


class BlockFilter(SmartFilter):
    """A SmartFilter that scores a source's whole block with the block's first event.

    The decisions are the same, as they do not depend on the batch; the cost falls into
    one call per block. Takes the parameters of `SmartFilter`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._position = PyStoreObj("EventBlock")
        self._judged: Events | None = None
        self._scores: Scores | None = None
        self._decisions: dict[int, Decision] = {}

    def initialize(self) -> None:
        """Check that there are blocks."""
        super().initialize()
        self._position.isRequired()
        self._judged = None

    def judge(self, events: Events) -> tuple[Scores, Decision]:
        """Return scores and decision of the event from those of its block."""
        block, position = self._position.obj()
        if block is not self._judged or self._scores is None:
            self._scores = self._judge_block(block)
            self._judged = block
        decision = self._decisions[int(events.event_type[0])]
        row = slice(position, position + 1)
        return _take_row(self._scores, row), _take_row(decision, row)

    def _judge_block(self, block: Events) -> Scores:
        if self.scorer is None:
            raise UsageError("SmartFilter: event() called before initialize()")
        events, _ = resolve_event_type(block, self._event_type)
        scores = self.scorer.score(events)
        self._decisions = {
            int(code): decide(
                events,
                logits=scores.logits,
                scores=scores.scores,
                scorable=scores.scorable,
                settings=self._settings[code],
            )
            for code in np.unique(events.event_type)
        }
        return scores


def _take_row(table: Any, row: slice) -> Any:
    """Return the same record with one row of each of its arrays."""
    return type(table)(
        **{column.name: getattr(table, column.name)[row] for column in fields(table)}
    )
