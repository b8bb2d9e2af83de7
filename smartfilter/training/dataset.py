"""Labelled events prepared once and held in memory as flat tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from smartfilter.errors import InputError
from smartfilter.events import offsets_from_counts
from smartfilter.graphs import prepare
from smartfilter.io import open_events
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
    "read_sample_weight",
    "require_labels",
]

SAMPLE_WEIGHT = "sample_weight"
"""Event-level variable: generated events that an event stands for."""


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
    pdg : Tensor of int32, shape (n_nodes,)
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
    files : tuple of str
        Where the events come from.
    n_unscorable : int
        Events that were left out.
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
    files: tuple[str, ...] = ()
    n_unscorable: int = 0

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.event_type)

    def find(self, split: str) -> Tensor:
        """Return the positions of the events of a part, int64."""
        return torch.nonzero(self.split == SPLITS.index(split)).squeeze(1)

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
            self.pdg.index_select(0, rows),
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

    Raises
    ------
    InputError
        If a label is missing or a weight is not a number > 0.
    """
    require_labels(events, skims)
    graph = prepare(events, preset)
    keep = graph.scorable
    starts = np.repeat(graph.offsets[:-1], np.diff(graph.offsets))
    mother = np.where(graph.mother >= 0, graph.mother - starts, -1).astype(np.int32)
    passes = np.stack([events.labels[name] for name in skims], axis=1)
    counts = np.diff(graph.offsets)[keep]
    return GraphDataset(
        x=torch.from_numpy(graph.x),
        pdg=torch.from_numpy(graph.pdg),
        mother=torch.from_numpy(mother),
        offsets=torch.from_numpy(offsets_from_counts(counts)),
        event_type=torch.from_numpy(graph.event_type[keep]),
        passes=torch.from_numpy(passes[keep]),
        weight=torch.from_numpy(read_sample_weight(events)[keep]),
        split=torch.from_numpy(split.assign(events)[keep]),
        skims=tuple(skims),
        files=(events.file,),
        n_unscorable=int((~keep).sum()),
    )


def require_labels(events: Events, skims: Sequence[str]) -> None:
    """Refuse events without the labels of these skims.

    Raises
    ------
    InputError
        If a label is missing.
    """
    for name in skims:
        if name not in events.labels:
            raise InputError(
                f"label: expected '{name}' in {events.file or 'events'}, "
                f"got {', '.join(events.labels) or 'none'}; run smartfilter simulate"
            )


def read_sample_weight(events: Events) -> NDArray[np.float32]:
    """Return the generated events that each event stands for, 1 where not given.

    Raises
    ------
    InputError
        If a weight is not a number > 0.
    """
    weight = events.variables.get(SAMPLE_WEIGHT, np.ones(len(events), np.float32))
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight > 0)))
    if len(bad):
        raise InputError(
            f"{SAMPLE_WEIGHT}: expected numbers > 0, got {weight[bad[0]]} in "
            f"{events.file or 'events'}, entry {events.entry[bad[0]]}"
        )
    return weight.astype(np.float32)


def load_dataset(
    files: Sequence[str | Path],
    *,
    skims: Sequence[str],
    preset: str,
    split: Split,
    max_events: int | None = None,
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
    advance : callable, optional
        Told the number of events read since its last call.

    Raises
    ------
    InputError
        If there is no event, or as `make_dataset`.
    """
    parts: list[GraphDataset] = []
    remaining = max_events
    for chunk in open_events(files):
        events = chunk if remaining is None else chunk.take(slice(remaining))
        names = tuple(skims) or (parts[0].skims if parts else tuple(events.labels))
        if not names:
            raise InputError(f"labels: expected some in {events.file}, got none")
        parts.append(make_dataset(events, skims=names, preset=preset, split=split))
        if advance is not None:
            advance(len(events))
        if remaining is not None:
            remaining -= len(events)
            if remaining <= 0:
                break
    if not parts:
        raise InputError(f"events: expected some to train on, got none in {files}")
    return _join(parts)


def _join(parts: Sequence[GraphDataset]) -> GraphDataset:
    def join(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    counts = torch.cat([torch.diff(part.offsets) for part in parts])
    return GraphDataset(
        x=join("x"),
        pdg=join("pdg"),
        mother=join("mother"),
        offsets=torch.from_numpy(offsets_from_counts(counts.numpy())),
        event_type=join("event_type"),
        passes=join("passes"),
        weight=join("weight"),
        split=join("split"),
        skims=parts[0].skims,
        files=tuple(dict.fromkeys(file for part in parts for file in part.files)),
        n_unscorable=sum(part.n_unscorable for part in parts),
    )
