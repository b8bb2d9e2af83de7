"""Preparation presets: which particles are nodes, who is whose mother, what counts.

Each preset reproduces the rules of one filter of basf2 (contract sections 5.3 and 6.1),
or of the public data sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smartfilter.errors import UsageError, describe_unknown
from smartfilter.events import NO_MOTHER, StatusBit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = [
    "PRESETS",
    "Dropped",
    "Feature",
    "Layout",
    "Preset",
    "find_dropped",
    "get_preset",
]

VERTEX_CUT = np.float32(10.0)
"""Production vertices from here on are cut, cm (contract of both basf2 filters)."""

# Plain integers: NumPy is many times slower with members of an enumeration.
_VIRTUAL = int(StatusBit.VIRTUAL)
_INITIAL = int(StatusBit.INITIAL)
_RADIATIVE = int(StatusBit.ISR_PHOTON | StatusBit.FSR_PHOTON)


class Dropped(IntEnum):
    """Why a particle is not a node of the graph."""

    KEPT = 0
    INITIAL = 1
    VERTEX = 2
    QUARK_OR_GLUON = 3
    VIRTUAL = 4
    RADIATIVE = 5


class Feature(NamedTuple):
    """A column of the feature matrix."""

    name: str
    unit: str


@dataclass(frozen=True)
class Preset:
    """The rules of one preparation.

    Parameters
    ----------
    name : str
    features : tuple of Feature
        Columns of `Events`, in the order of the feature matrix.
    vocabulary : str
        Name of the PDG vocabulary, see `smartfilter.pdg.load_vocabulary`.
    relative : frozenset of str
        Features that are differences to the same column of another particle.
    drop : callable
        From `Events` to the `Dropped` code of each particle.
    link : callable
        From `Layout` to the node of each node's mother; -1 for none.
    refer : callable
        From `Layout` to the row, for each node, of the particle that the relative
        features count from.
    """

    name: str
    features: tuple[Feature, ...]
    vocabulary: str
    relative: frozenset[str]
    drop: Callable[[Events], NDArray[np.int8]]
    link: Callable[[Layout], NDArray[np.int64]]
    refer: Callable[[Layout], NDArray[np.int64]]


class Layout(NamedTuple):
    """Where nodes and mothers lie; rows are rows of the flat columns of ``events``.

    Parameters
    ----------
    events : Events
    dropped : ndarray of int8, shape (n_particles,)
        `Dropped` code.
    start : ndarray of int64, shape (n_particles,)
        First row of the particle's event.
    mother : ndarray of int64, shape (n_particles,)
        Row of the mother, -1 for none; no loops.
    rows : ndarray of int64, shape (n_nodes,)
        Row of each node, ascending.
    node : ndarray of int64, shape (n_particles + 1,)
        Node of each row, -1 for none; the last element is for row -1.
    offsets : ndarray of int64, shape (n_events + 1,)
        Nodes of each event.
    """

    events: Events
    dropped: NDArray[np.int8]
    start: NDArray[np.int64]
    mother: NDArray[np.int64]
    rows: NDArray[np.int64]
    node: NDArray[np.int64]
    offsets: NDArray[np.int64]


def find_dropped(
    events: Events, preset: str | Preset = "smart_background"
) -> NDArray[np.int8]:
    """Return why each particle is not a node.

    Parameters
    ----------
    events : Events
    preset : str or Preset
        A key of `PRESETS`, or a preset.

    Returns
    -------
    ndarray of int8, shape (n_particles,)
        `Dropped` code, 0 for a node; the first rule that applies, in the preset's
        order. Whether the event as a whole can be scored plays no role.

    Raises
    ------
    UsageError
        If there is no such preset.
    """
    return get_preset(preset).drop(events)


def get_preset(preset: str | Preset) -> Preset:
    """Return a preset by name.

    Raises
    ------
    UsageError
        If there is no such preset.
    """
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise UsageError(describe_unknown("preset", preset, PRESETS))
    return PRESETS[preset]


def _drop_smart_background(events: Events) -> NDArray[np.int8]:
    """Apply basf2 SmartBackgroundModule's cuts: beams, one-sided vertex, partons."""
    pdg = events["pdg"]
    dropped = np.zeros(events.n_particles, dtype=np.int8)
    parton = (pdg >= -5) & (pdg <= 5)
    parton |= pdg == 21
    dropped[parton] = Dropped.QUARK_OR_GLUON
    far = events["x"] >= VERTEX_CUT
    far |= events["y"] >= VERTEX_CUT
    far |= events["z"] >= VERTEX_CUT
    dropped[far] = Dropped.VERTEX
    dropped[(events["status"] & _INITIAL) != 0] = Dropped.INITIAL
    return dropped


def _link_smart_background(layout: Layout) -> NDArray[np.int64]:
    """Link to mothers past quarks and gluons; the motherless to entry 0.

    The module walks the list once: a mother further down is not known yet.
    """
    rows, start, node = layout.rows, layout.start, layout.node
    above = np.maximum(layout.mother, start)
    mother = above[rows]
    linked = node[mother]
    orphan = np.flatnonzero(linked < 0)
    climbing = orphan
    while len(climbing):
        at, row = mother[climbing], rows[climbing]
        climbs = layout.dropped[at] == Dropped.QUARK_OR_GLUON
        climbs &= (at > start[row]) & (at < row)
        climbing = climbing[climbs]
        mother[climbing] = above[at[climbs]]
    linked[orphan] = node[mother[orphan]]
    linked[linked > np.arange(len(linked))] = NO_MOTHER
    return linked


def _refer_to_first_node(layout: Layout) -> NDArray[np.int64]:
    """Count from the first node of the event."""
    counts = layout.offsets[1:] - layout.offsets[:-1]
    filled = counts > 0
    first = layout.rows[layout.offsets[:-1][filled]]
    return np.repeat(first, counts[filled])


def _drop_gatgap(events: Events) -> NDArray[np.int8]:
    """Apply the cuts of basf2's legacy filter: status bits, two-sided vertex."""
    status = events["status"]
    dropped = np.zeros(events.n_particles, dtype=np.int8)
    near = np.abs(events["x"]) < VERTEX_CUT
    near &= np.abs(events["y"]) < VERTEX_CUT
    near &= np.abs(events["z"]) < VERTEX_CUT
    dropped[~near] = Dropped.VERTEX
    dropped[(status & _RADIATIVE) != 0] = Dropped.RADIATIVE
    dropped[(status & _VIRTUAL) != 0] = Dropped.VIRTUAL
    dropped[(status & _INITIAL) != 0] = Dropped.INITIAL
    return dropped


def _link_gatgap(layout: Layout) -> NDArray[np.int64]:
    """Link to mothers; to itself without a mother or below a virtual one."""
    mother = layout.mother[layout.rows]
    linked = layout.node[mother]
    orphan = np.flatnonzero(linked < 0)
    at = mother[orphan]
    virtual = (layout.events["status"][at] & _VIRTUAL) != 0
    own = orphan[(at < 0) | virtual]
    linked[own] = own
    return linked


def _link_published(layout: Layout) -> NDArray[np.int64]:
    """Link to mothers that are nodes; to nothing otherwise."""
    return layout.node[layout.mother[layout.rows]]


def _refer_to_itself(layout: Layout) -> NDArray[np.int64]:
    """Count from the particle's own row: for presets without relative features."""
    return layout.rows


def _refer_to_ancestor(layout: Layout) -> NDArray[np.int64]:
    """Count from the ancestor without a mother, dropped or not.

    Pointer jumping: after k rounds a row has climbed up to 2^k mothers.
    """
    ancestor = np.arange(len(layout.mother))
    np.copyto(ancestor, layout.mother, where=layout.mother >= 0)
    while True:
        above = ancestor[ancestor]
        if np.array_equal(above, ancestor):
            return ancestor[layout.rows]
        ancestor = above


_TIME = Feature("prod_time", "ns")
_VERTEX = (Feature("x", "cm"), Feature("y", "cm"), Feature("z", "cm"))
_ENERGY = Feature("energy", "GeV")
_MOMENTUM = (Feature("px", "GeV"), Feature("py", "GeV"), Feature("pz", "GeV"))

PRESETS: Mapping[str, Preset] = {
    # basf2 skim/modules/src/SmartBackgroundModule.cc
    "smart_background": Preset(
        name="smart_background",
        features=(_TIME, *_VERTEX, _ENERGY, *_MOMENTUM),
        vocabulary="smart_background",
        relative=frozenset({"prod_time", "x", "y", "z"}),
        drop=_drop_smart_background,
        link=_link_smart_background,
        refer=_refer_to_first_node,
    ),
    # basf2 generators/scripts/smartBKG/utils/preprocess.py, newest rules
    "gatgap": Preset(
        name="gatgap",
        features=(_TIME, _ENERGY, *_VERTEX, *_MOMENTUM),
        vocabulary="published",
        relative=frozenset({"prod_time"}),
        drop=_drop_gatgap,
        link=_link_gatgap,
        refer=_refer_to_ancestor,
    ),
    # The public SmartBKG data sets (smart-background.md section 3): they passed the cuts
    # of the legacy filter, which let generator files of other origin look the same.
    "published": Preset(
        name="published",
        features=(_TIME, _ENERGY, *_VERTEX, *_MOMENTUM),
        vocabulary="published",
        relative=frozenset(),
        drop=_drop_gatgap,
        link=_link_published,
        refer=_refer_to_itself,
    ),
}
"""Preset name -> rules."""
