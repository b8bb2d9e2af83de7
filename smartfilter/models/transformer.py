"""Transformer encoders on the particles of an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from smartfilter.errors import UsageError
from smartfilter.events import EVENT_TYPES
from smartfilter.models.features import FeatureSelection
from smartfilter.models.layers import (
    EventTypeEmbedding,
    GraphConvolution,
    Neighbours,
    Standardise,
    find_neighbours,
    make_head,
    mean_pool,
)
from smartfilter.models.segments import find_events

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EncoderLayer", "Transformer", "find_groups"]

# torch before 2.7 has no such function, and no export that would need it.
_is_exporting = getattr(torch.compiler, "is_exporting", bool)

EVENTS_PER_GROUP = 32
"""Events that are padded together; they are sorted by length, so that little is lost."""


class Transformer(nn.Module):
    """Embedding and projection, encoder layers within each event, pooling, head.

    The transformer of the lab report, and with an event type and several outputs one
    with the interface of the official SmartBackground module (whose layers are not
    published). Without ``n_convolutions`` it does not see who is whose mother.

    Parameters
    ----------
    n_features, n_tokens, n_skims : int
        See `smartfilter.models`.
    features, without : sequence of str
        See `FeatureSelection`.
    standardise, compress : bool
        See `Standardise`.
    n_embedding : int
        Width of the embedding of PDG codes.
    n_units, n_heads : int
        Width of the particles, and attention heads that share it.
    n_layers, n_feedforward : int
        Encoder layers, and the width of the layer within each.
    norm_first : bool
        Layer normalisation before instead of behind attention and linear layers.
    dropout : float
        Share of outputs hidden in training, where ``nn.TransformerEncoderLayer`` does.
    n_convolutions : int
        Graph convolutions, each added to what it sees, before the encoder.
    n_event_type : int
        Width of the embedding of the event type that joins the features; 0: none.
    n_head_units : int
        Width of a hidden layer in front of the output; 0: none.

    Raises
    ------
    UsageError
        If the heads do not share the units evenly.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_tokens: int,
        n_skims: int = 1,
        features: Sequence[str] = (),
        without: Sequence[str] = (),
        standardise: bool = False,
        compress: bool = False,
        n_embedding: int = 8,
        n_units: int = 32,
        n_heads: int = 4,
        n_layers: int = 2,
        n_feedforward: int = 64,
        norm_first: bool = False,
        dropout: float = 0.17,
        n_convolutions: int = 0,
        n_event_type: int = 0,
        n_head_units: int = 0,
    ) -> None:
        super().__init__()
        if n_units % n_heads:
            raise UsageError(
                f"n_units: expected a multiple of {n_heads} heads, got {n_units}"
            )
        self.select = FeatureSelection(n_features, features, without=without)
        n_inputs = self.select.n_outputs
        self.standardise = (
            Standardise(n_inputs, compress=compress) if standardise else nn.Identity()
        )
        self.embedding = nn.Embedding(n_tokens, n_embedding)
        self.event_type = (
            EventTypeEmbedding(len(EVENT_TYPES), n_event_type) if n_event_type else None
        )
        self.projection = nn.Linear(n_inputs + n_embedding + n_event_type, n_units)
        self.convolves = n_convolutions > 0
        self.convolutions = nn.ModuleList(
            GraphConvolution(n_units, n_units) for _ in range(n_convolutions)
        )
        self.layers = nn.ModuleList(
            EncoderLayer(
                n_units, n_heads, n_feedforward, dropout=dropout, norm_first=norm_first
            )
            for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(n_units) if norm_first else nn.Identity()
        self.head: nn.Module = (
            make_head(n_units, n_head_units, n_skims)
            if n_head_units
            else nn.Linear(n_units, n_skims)
        )

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        """Return logits, see `smartfilter.models`."""
        h = torch.cat([self.standardise(self.select(x)), self.embedding(pdg)], dim=1)
        if self.event_type is not None:
            vectors = _give_particles(self.event_type(event_type), offsets, h)
            h = torch.cat([h, vectors], dim=1)
        h = self.projection(h)
        neighbours = Neighbours(mother, mother, x)
        if self.convolves:
            neighbours = find_neighbours(mother, x)
        for convolution in self.convolutions:
            h = h + torch.relu(convolution(h, neighbours))
        groups = _find_groups_unless_exporting(offsets)
        for layer in self.layers:
            h = layer(h, groups)
        logits: Tensor = self.head(mean_pool(self.norm(h), offsets))
        return logits


def _give_particles(vectors: Tensor, offsets: Tensor, like: Tensor) -> Tensor:
    """Return the vector of its event for each particle, shape (n_nodes, n_columns)."""
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        exporting = _is_exporting()
        if exporting:
            return vectors.expand(like.shape[0], vectors.shape[1])
    return vectors[find_events(offsets)]


def _find_groups_unless_exporting(offsets: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return `find_groups`; none where a batch is one event, see `_attend_to_all`."""
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        exporting = _is_exporting()
        if exporting:
            return []
    return find_groups(offsets)


def find_groups(
    offsets: Tensor, n_together: int = EVENTS_PER_GROUP
) -> list[tuple[Tensor, Tensor]]:
    """Return padded groups of events of similar length, without empty ones.

    Parameters
    ----------
    offsets : Tensor of int64, shape (n_events + 1,)
    n_together : int
        Most events of a group.

    Returns
    -------
    list of (Tensor of int64, Tensor of bool), both of shape (n_group, n_longest)
        Node of each place, and whether there is one; where not, the node is the event's
        first.
    """
    counts = offsets[1:] - offsets[:-1]
    order = torch.argsort(counts, stable=True)
    order = order[counts[order] > 0]
    groups: list[tuple[Tensor, Tensor]] = []
    for first in range(0, order.shape[0], n_together):
        events = order[first : first + n_together]
        length = counts[events]
        place = torch.arange(int(length[-1]), device=offsets.device).unsqueeze(0)
        filled = place < length.unsqueeze(1)
        begin = offsets[events].unsqueeze(1)
        groups.append((torch.where(filled, begin + place, begin), filled))
    return groups


class EncoderLayer(nn.Module):
    """Self-attention within events and two linear layers, both with residuals.

    The same function as ``nn.TransformerEncoderLayer`` with ReLU (Vaswani et al., 2017,
    arXiv:1706.03762) on flat batches: projections see no padding, and attention only
    that within a group of events of similar length.

    Parameters
    ----------
    n_units, n_heads, n_feedforward : int
    dropout : float
    norm_first : bool
    """

    def __init__(
        self,
        n_units: int,
        n_heads: int,
        n_feedforward: int,
        *,
        dropout: float = 0.0,
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.n_heads, self.share = n_heads, dropout
        self.norm_first = norm_first
        self.queries = nn.Linear(n_units, 3 * n_units)
        self.joined = nn.Linear(n_units, n_units)
        self.inner = nn.Linear(n_units, n_feedforward)
        self.outer = nn.Linear(n_feedforward, n_units)
        self.norm_1, self.norm_2 = nn.LayerNorm(n_units), nn.LayerNorm(n_units)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.queries.weight)
        nn.init.zeros_(self.queries.bias)
        nn.init.zeros_(self.joined.bias)

    def forward(self, x: Tensor, groups: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the encoded nodes, shape (n_nodes, n_units)."""
        if self.norm_first:
            x = x + self.dropout(self._attend(self.norm_1(x), groups))
            y: Tensor = x + self.dropout(self._transform(self.norm_2(x)))
            return y
        x = self.norm_1(x + self.dropout(self._attend(x, groups)))
        z: Tensor = self.norm_2(x + self.dropout(self._transform(x)))
        return z

    def _transform(self, x: Tensor) -> Tensor:
        h: Tensor = self.outer(self.dropout(torch.relu(self.inner(x))))
        return h

    def _attend(self, x: Tensor, groups: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the joined heads of multi-head attention, shape (n_nodes, n_units)."""
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            exporting = _is_exporting()
            if exporting:
                return self._attend_to_all(x)
        n_units = x.shape[1]
        columns = self.queries(x)
        share = self.share if self.training else 0.0
        parts = [x[:0]]
        rows = [torch.zeros(0, dtype=torch.int64, device=x.device)]
        for row, filled in groups:
            n_events, length = row.shape[0], row.shape[1]
            padded = columns[row.flatten()].reshape(
                n_events, length, 3, self.n_heads, n_units // self.n_heads
            )
            q, k, v = padded.permute(2, 0, 3, 1, 4).unbind(0)
            seen = scaled_dot_product_attention(
                q, k, v, attn_mask=filled[:, None, None, :], dropout_p=share
            )
            seen = seen.transpose(1, 2).reshape(n_events, length, n_units)
            parts.append(seen[filled])
            rows.append(row[filled])
        order = torch.argsort(torch.cat(rows))
        y: Tensor = self.joined(torch.cat(parts)[order])
        return y

    @torch.jit.unused
    def _attend_to_all(self, x: Tensor) -> Tensor:
        """Return the same for the nodes of one event."""
        n_nodes, n_units = x.shape[0], x.shape[1]
        columns = self.queries(x).reshape(
            n_nodes, 3, self.n_heads, n_units // self.n_heads
        )
        q, k, v = columns.permute(1, 2, 0, 3).unbind(0)
        seen = scaled_dot_product_attention(q[None], k[None], v[None])[0]
        y: Tensor = self.joined(seen.transpose(0, 1).reshape(n_nodes, n_units))
        return y
