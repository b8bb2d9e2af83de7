"""The event type inferred from small hand-made records."""

from __future__ import annotations

import numpy as np
import pytest

from smartfilter.event_type import infer_event_type
from smartfilter.events import (
    EVENT_TYPES,
    PARTICLE_COLUMNS,
    Events,
    concatenate,
    offsets_from_counts,
)


def tree(*particles: tuple[int, int]) -> Events:
    """One event from (PDG code, mother) pairs."""
    n = len(particles)
    columns = {name: np.zeros(n, dtype) for name, dtype in PARTICLE_COLUMNS.items()}
    columns["pdg"] = np.array([p for p, _ in particles], np.int32)
    columns["mother_index"] = np.array([m for _, m in particles], np.int32)
    return Events.from_columns(offsets_from_counts(np.array([n])), columns)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (tree((300553, -1), (-511, 0), (511, 0)), "mixed"),
        (tree((300553, -1), (22, 0), (521, 0), (-521, 0)), "charged"),
        (tree((11, -1), (-11, -1), (23, -1), (4, 2), (-4, 2), (15, 3)), "ccbar"),
        (tree((23, -1), (2, 0), (-2, 0), (21, 1)), "uubar"),
        (tree((22, -1), (1, 0), (-1, 0)), "ddbar"),
        (tree((3, -1), (-3, -1)), "ssbar"),
        (tree((11, -1), (-11, -1), (-15, 0), (15, 0)), "taupair"),
        (tree((23, -1), (13, 0), (-13, 0)), None),
        (tree((511, -1)), None),
        (tree((300553, -1), (211, 0), (15, 1)), None),
        (tree((15, 7)), None),
        (tree((1, -2)), None),
        (tree(), None),
    ],
)
def test_infer_event_type_of_one_event(event: Events, expected: str | None):
    code = infer_event_type(event)
    assert code.dtype == np.int8
    assert code.tolist() == [-1 if expected is None else EVENT_TYPES.index(expected)]


def test_infer_event_type_of_many_equals_one_by_one():
    parts = [
        tree((300553, -1), (-511, 0)),
        tree(),
        tree((23, -1), (3, 0)),
        tree((300553, -1), (521, 0)),
        tree(),
    ]
    joined = infer_event_type(concatenate(parts))
    assert joined.tolist() == [int(infer_event_type(part)[0]) for part in parts]
