"""Labelled events prepared once and held in memory as flat tensors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from smartfilter.decision import hash_events
from smartfilter.errors import InputError
from smartfilter.events import offsets_from_counts
from smartfilter.graphs import prepare
from smartfilter.io import open_events
from smartfilter.training.labels import Totals, read_sample_weight, require_labels
from smartfilter.training.split import SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from smartfilter.events import Events
    from smartfilter.training.split import Split

__all__ = [
    "GraphBatchTensors",
    "GraphDataset",
    "load_dataset",
    "make_dataset",
]

_PURPOSE = 0x7468696E206F7574
"""Purpose of the hash that thins out: ASCII "thin out"; the split uses another one."""


class GraphBatchTensors(NamedTuple):
    """The inputs of a network, see `smartfilter.models`."""

    x: Tensor
    pdg: Tensor
    mother: Tensor
    offsets: Tensor
    event_type: Tensor


@dataclass(frozen=True, eq=False)
class GraphDataset:
    """Prepared events with labels; all of them can be scored.

    Parameters
    ----------
    x : Tensor of float32, shape (n_nodes, n_features)
    pdg : Tensor of int16, shape (n_nodes,)
        Tokens.
    mother : Tensor of int32, shape (n_nodes,)
        Row within the event; -1 for none.
    offsets : Tensor of int64, shape (n_events + 1,)
    event_type : Tensor of int64, shape (n_events,)
    passes : Tensor of bool, shape (n_events, n_skims)
    weight : Tensor of float32, shape (n_events,)
        Generated events that each event stands for.
    split : Tensor of int8, shape (n_events,)
        Position in `smartfilter.training.split.SPLITS`.
    skims : tuple of str
    totals : Totals
        Of all events that were read.
    files : tuple of str
        Where the events come from.
    n_unscorable : int
        Events that were left out.
    variables : Tensor of float32, shape (n_events, n_variables)
        Event-level variables that were asked for; empty (0, 0) for none.
    """

    x: Tensor
    pdg: Tensor
    mother: Tensor
    offsets: Tensor
    event_type: Tensor
    passes: Tensor
    weight: Tensor
    split: Tensor
    skims: tuple[str, ...]
    totals: Totals
    files: tuple[str, ...] = ()
    n_unscorable: int = 0
    variables: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.event_type)

    def find(self, split: str) -> Tensor:
        """Return the positions of the events of a part, int64."""
        return torch.nonzero(self.split == SPLITS.index(split)).squeeze(1)

    def select_skims(self, names: Sequence[str]) -> GraphDataset:
        """Return the data set with the labels of these skims, in this order."""
        columns = [self.skims.index(name) for name in names]
        totals = Totals(self.totals.events, self.totals.passing[:, columns])
        return replace(
            self, passes=self.passes[:, columns], skims=tuple(names), totals=totals
        )

    def gather(self, index: Tensor) -> GraphBatchTensors:
        """Return these events as one batch.

        Parameters
        ----------
        index : Tensor of int64, shape (n_batch,)
            Positions of events, in any order.
        """
        begin = self.offsets[index]
        counts = self.offsets[index + 1] - begin
        offsets = torch.zeros(len(index) + 1, dtype=torch.int64)
        torch.cumsum(counts, 0, out=offsets[1:])
        start = torch.repeat_interleave(offsets[:-1], counts)
        rows = torch.arange(int(offsets[-1])) - start
        rows += torch.repeat_interleave(begin, counts)
        mother = self.mother.index_select(0, rows).to(torch.int64)
        return GraphBatchTensors(
            self.x.index_select(0, rows),
            self.pdg.index_select(0, rows).to(torch.int32),
            torch.where(mother >= 0, mother + start, mother),
            offsets,
            self.event_type[index],
        )


def make_dataset(
    events: Events,
    *,
    skims: Sequence[str],
    preset: str,
    split: Split,
    failing_share: float = 1.0,
    variables: Sequence[str] = (),
) -> GraphDataset:
    """Prepare labelled events.

    Parameters
    ----------
    events : Events
        With a label per skim and, where an event stands for more than itself, the
        variable ``sample_weight``.
    skims : sequence of str
    preset : str
        Preparation preset.
    split : Split
    failing_share : float
        Share of the training events failing all skims that is kept; the others are
        dropped by a hash of the event and those that are kept stand for them.
    variables : sequence of str
        Event-level variables to keep.

    Raises
    ------
    InputError
        If a label or a variable is missing, or a weight is not a number > 0.
    """
    require_labels(events, skims)
    _require_variables(events, variables)
    totals = Totals.count(events, skims)
    part = split.assign(events)
    weight = read_sample_weight(events)
    if failing_share < 1.0:
        keep, factor = _thin_out(events, skims, part, failing_share)
        events, part, weight = events.take(keep), part[keep], (weight * factor)[keep]
    graph = prepare(events, preset)
    keep = graph.scorable
    starts = np.repeat(graph.offsets[:-1], np.diff(graph.offsets))
    mother = np.where(graph.mother >= 0, graph.mother - starts, -1)
    passes = np.stack([events.labels[name] for name in skims], axis=1)
    counts = np.diff(graph.offsets)[keep]
    return GraphDataset(
        x=torch.from_numpy(graph.x),
        pdg=torch.from_numpy(graph.pdg.astype(np.int16)),
        mother=torch.from_numpy(mother.astype(np.int32)),
        offsets=torch.from_numpy(offsets_from_counts(counts)),
        event_type=torch.from_numpy(graph.event_type[keep]),
        passes=torch.from_numpy(passes[keep]),
        weight=torch.from_numpy(weight[keep]),
        split=torch.from_numpy(part[keep]),
        skims=tuple(skims),
        totals=totals,
        files=(events.file,),
        n_unscorable=int((~keep).sum()),
        variables=_stack_variables(events, variables, keep),
    )


def _require_variables(events: Events, names: Sequence[str]) -> None:
    """Refuse events without these event-level variables."""
    missing = [name for name in names if name not in events.variables]
    if missing:
        raise InputError(
            f"variables: expected {', '.join(missing)} in {events.file or 'events'}, "
            f"got {', '.join(events.variables) or 'none'}; leave them out of 'auxiliary'"
        )


def _stack_variables(
    events: Events, names: Sequence[str], keep: NDArray[np.bool_]
) -> Tensor:
    if not names:
        return torch.zeros(0, 0)
    columns = [events.variables[name][keep] for name in names]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


def _thin_out(
    events: Events, skims: Sequence[str], part: NDArray[np.int8], share: float
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return which events are kept, and how many each of them stands for."""
    fails = ~np.any([events.labels[name] for name in skims], axis=0)
    candidate = fails & (part == SPLITS.index("train"))
    state = hash_events(events, 0, purpose=_PURPOSE)
    u = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    factor = np.where(candidate, 1.0 / share, 1.0).astype(np.float32)
    return ~candidate | (u < share), factor


def load_dataset(
    files: Sequence[str | Path],
    *,
    skims: Sequence[str],
    preset: str,
    split: Split,
    max_events: int | None = None,
    failing_share: float = 1.0,
    variables: Sequence[str] = (),
    advance: Callable[[int], None] | None = None,
) -> GraphDataset:
    """Read and prepare labelled files; every event is prepared once.

    Parameters
    ----------
    files : sequence of str or Path
        As `smartfilter.open_events` takes them.
    skims : sequence of str
        By default (empty) all labels of the first chunk.
    preset : str
    split : Split
    max_events : int, optional
        Stop after this many events.
    failing_share, variables
        See `make_dataset`.
    advance : callable, optional
        Told the number of events read since its last call.

    Raises
    ------
    InputError
        If there is no event, or as `make_dataset`.
    """
    store: _Store | None = None
    remaining = max_events
    for chunk in open_events(files):
        events = chunk if remaining is None else chunk.take(slice(remaining))
        names = tuple(skims) or (store.skims if store else tuple(events.labels))
        if not names:
            raise InputError(f"labels: expected some in {events.file}, got none")
        part = make_dataset(
            events,
            skims=names,
            preset=preset,
            split=split,
            failing_share=failing_share,
            variables=variables,
        )
        store = _Store(part) if store is None else store.append(part)
        if advance is not None:
            advance(len(events))
        if remaining is not None:
            remaining -= len(events)
            if remaining <= 0:
                break
    if store is None:
        raise InputError(f"events: expected some to train on, got none in {files}")
    return store.finish()


class _Store:
    """Grows a data set in place, so that no second copy of it is ever in memory.

    ``ndarray.resize`` moves pages rather than bytes where the system can.
    """

    _COLUMNS = (
        *("x", "pdg", "mother", "event_type", "passes", "weight", "split"),
        "variables",
    )

    def __init__(self, first: GraphDataset) -> None:
        self.skims = first.skims
        self._totals = first.totals
        self._files = dict.fromkeys(first.files)
        self._n_unscorable = first.n_unscorable
        self._counts = [torch.diff(first.offsets)]
        self._columns = {
            name: getattr(first, name).numpy().copy() for name in self._COLUMNS
        }

    def append(self, part: GraphDataset) -> _Store:
        for name, column in self._columns.items():
            added = getattr(part, name).numpy()
            length = len(column)
            column.resize((length + len(added), *column.shape[1:]), refcheck=False)
            column[length:] = added
        self._counts.append(torch.diff(part.offsets))
        self._totals = self._totals + part.totals
        self._files |= dict.fromkeys(part.files)
        self._n_unscorable += part.n_unscorable
        return self

    def finish(self) -> GraphDataset:
        counts = torch.cat(self._counts).numpy()
        return GraphDataset(
            **{name: torch.from_numpy(c) for name, c in self._columns.items()},
            offsets=torch.from_numpy(offsets_from_counts(counts)),
            skims=self.skims,
            totals=self._totals,
            files=tuple(self._files),
            n_unscorable=self._n_unscorable,
        )
