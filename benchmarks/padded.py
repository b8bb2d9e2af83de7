"""The lab course's way, written out: event by event, padded tensors, dense adjacency.

Events are separated, each gets its cuts, features, tokens and a normalised adjacency
matrix in NumPy, and a batch is padded to its longest event. The rules are those of the
preset ``smart_background``, the weights those of our network, so that the logits agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from smartfilter.io import open_events

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.models import GCN
    from smartfilter.pdg import Vocabulary

__all__ = [
    "BATCH_SIZE",
    "PaddedBatch",
    "PaddedGCN",
    "iterate_batches",
    "prepare_event",
    "score_file",
]

BATCH_SIZE = 256
"""Events per batch, as in the lab course."""

_FEATURES = ("prod_time", "x", "y", "z", "energy", "px", "py", "pz")
_RELATIVE = 4
_COLUMNS = (*_FEATURES, "pdg", "mother_index", "status")


class PaddedBatch(NamedTuple):
    """A batch padded to its longest event.

    ``x`` (n_events, length, 8), ``pdg`` (n_events, length), ``adjacency`` (n_events,
    length, length), ``mask`` (n_events, length), ``event_type`` (n_events,).
    """

    x: Tensor
    pdg: Tensor
    adjacency: Tensor
    mask: Tensor
    event_type: Tensor


class _Tokens:
    """PDG codes to tokens by a search in the sorted codes."""

    def __init__(self, words: Vocabulary) -> None:
        codes = np.array(words.codes)
        self._order = np.argsort(codes)
        self._codes = codes[self._order]
        self._unknown = words.unknown

    def __call__(self, pdg: NDArray[Any]) -> NDArray[np.int64]:
        place = np.minimum(np.searchsorted(self._codes, pdg), len(self._codes) - 1)
        known = self._codes[place] == pdg
        return np.where(known, self._order[place], self._unknown)


def prepare_event(
    event: Mapping[str, NDArray[Any]], tokens: _Tokens
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Return features, tokens and normalised adjacency of one event."""
    pdg, mother = event["pdg"], np.maximum(event["mother_index"], 0)
    inside = (event["x"] < 10) & (event["y"] < 10) & (event["z"] < 10)
    inside &= (event["status"] & 32) == 0
    parton = inside & ((np.abs(pdg) <= 5) | (pdg == 21))
    rows = np.flatnonzero(inside & ~parton)
    n = len(rows)
    node = np.full(len(pdg), -1)
    node[rows] = np.arange(n)
    above = mother[rows]
    climbs = parton[above] & (above > 0)
    while climbs.any():
        above = np.where(climbs, mother[above], above)
        climbs = parton[above] & (above > 0)
    parent = node[above]
    x = np.stack([event[name][rows] for name in _FEATURES], axis=1)
    if n:
        x[:, :_RELATIVE] -= x[0, :_RELATIVE]
    adjacency = np.eye(n, dtype=np.float32)
    daughter = np.flatnonzero(parent >= 0)
    adjacency[daughter, parent[daughter]] = 1
    adjacency[parent[daughter], daughter] = 1
    scale = 1 / np.sqrt(adjacency.sum(axis=1))
    return x, tokens(pdg[rows]), scale[:, None] * adjacency * scale


def _collate(events: list[tuple[Any, Any, Any]], types: NDArray[Any]) -> PaddedBatch:
    """Pad the events of a batch."""
    n_events = len(events)
    length = max(len(x) for x, _, _ in events)
    x = np.zeros((n_events, length, len(_FEATURES)), dtype=np.float32)
    pdg = np.zeros((n_events, length), dtype=np.int64)
    adjacency = np.zeros((n_events, length, length), dtype=np.float32)
    mask = np.zeros((n_events, length), dtype=np.float32)
    for i, (features, tokens, matrix) in enumerate(events):
        n = len(features)
        x[i, :n], pdg[i, :n], adjacency[i, :n, :n] = features, tokens, matrix
        mask[i, :n] = 1
    columns = (x, pdg, adjacency, mask, types.astype(np.int64))
    return PaddedBatch(*(torch.from_numpy(column) for column in columns))


def iterate_batches(
    events: Events, words: Vocabulary, batch_size: int = BATCH_SIZE
) -> Iterator[PaddedBatch]:
    """Yield the events in padded batches."""
    tokens = _Tokens(words)
    split = {name: np.split(events[name], events.offsets[1:-1]) for name in _COLUMNS}
    for first in range(0, len(events), batch_size):
        last = min(first + batch_size, len(events))
        batch = [
            prepare_event({name: split[name][i] for name in _COLUMNS}, tokens)
            for i in range(first, last)
        ]
        yield _collate(batch, events.event_type[first:last])


class PaddedGCN(nn.Module):
    """Our network on padded batches, with our weights.

    Parameters
    ----------
    network : GCN
    """

    def __init__(self, network: GCN) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: PaddedBatch) -> Tensor:
        """Return the logits, shape (n_events, n_skims)."""
        network = self.network
        mask = batch.mask.unsqueeze(2)
        h = torch.cat(
            [network.standardise(batch.x), network.embedding(batch.pdg)], dim=2
        )
        for convolution in network.convolutions:
            y = batch.adjacency @ convolution.linear(h)
            if convolution.skip is not None:
                y = y + convolution.skip(h)
            h = torch.relu(y)
        n_nodes = mask.sum(dim=1)
        pooled = (h * mask).sum(dim=1) / n_nodes.clamp(min=1)
        if network.count:
            pooled = torch.cat([pooled, torch.log1p(n_nodes)], dim=1)
        if network.event_type is not None:
            pooled = torch.cat([pooled, network.event_type(batch.event_type)], dim=1)
        logits: Tensor = network.head(pooled)
        return logits


@torch.inference_mode()
def score_file(path: Path, network: GCN, words: Vocabulary, output: Path) -> None:
    """Read a file, score it in padded batches and write logits and scores."""
    padded = PaddedGCN(network)
    logits, entries = [], []
    for events in open_events(path):
        logits += [padded(batch).numpy() for batch in iterate_batches(events, words)]
        entries.append(events.entry)
    values = np.concatenate(logits)
    columns = {"entry": np.concatenate(entries)}
    for k in range(values.shape[1]):
        columns[f"logit_{k}"] = values[:, k]
        columns[f"score_{k}"] = 1 / (1 + np.exp(-values[:, k]))
    pq.write_table(pa.table(columns), output, compression="zstd")
