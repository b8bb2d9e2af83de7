"""Graph attention with global attention pooling: the network of basf2's legacy filter."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, leaky_relu

from smartfilter.models.layers import Neighbours, find_neighbours
from smartfilter.models.segments import (
    find_events,
    find_rows,
    softmax_segments,
    sum_segments,
)

__all__ = ["GATGAP", "GraphAttention"]


class GATGAP(nn.Module):
    """Embedding, then layers of graph attention, each with a pooled state of the event.

    Each layer: graph attention on particles, leaky ReLU; attention pooling of the
    particles, concatenated with the previous state, linear layer, leaky ReLU. The last
    state gives the logits (basf2 ``generators/scripts/smartBKG/models/gatgap.py``).

    Parameters
    ----------
    n_features, n_tokens, n_skims : int
        See `smartfilter.models`.
    n_embedding : int
        Width of the embedding of PDG codes.
    n_units : int
        Width of each attention head and of the state.
    n_heads, n_layers : int
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_tokens: int,
        n_skims: int = 1,
        n_embedding: int = 8,
        n_units: int = 32,
        n_heads: int = 4,
        n_layers: int = 6,
    ) -> None:
        super().__init__()
        self.n_units = n_units
        self.embedding = nn.Embedding(n_tokens, n_embedding)
        self.layers = nn.ModuleList(
            _Layer(
                n_units * n_heads if k else n_features + n_embedding,
                n_units if k else 0,
                n_units,
                n_heads,
            )
            for k in range(n_layers)
        )
        self.output = nn.Linear(n_units, n_skims)

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,  # noqa: ARG002 - every network takes it
    ) -> Tensor:
        """Return logits, see `smartfilter.models`."""
        neighbours = find_neighbours(mother, x, dense_nodes=0)
        rows, event = find_rows(neighbours, x.shape[0]), find_events(offsets)
        h = torch.cat([self.embedding(pdg), x], dim=1)
        state = torch.zeros((offsets.shape[0] - 1, 0), dtype=x.dtype, device=x.device)
        for layer in self.layers:
            h, state = layer(h, state, neighbours, rows, event)
        logits: Tensor = self.output(state)
        return logits


class _Layer(nn.Module):
    """Graph attention and the update of the event's state."""

    def __init__(self, n_inputs: int, n_state: int, n_units: int, n_heads: int) -> None:
        super().__init__()
        self.attention = GraphAttention(n_inputs, n_units, n_heads)
        self.gate = nn.Linear(n_units * n_heads, 1)
        self.linear = nn.Linear(n_state + n_units * n_heads, n_units)

    def forward(
        self,
        x: Tensor,
        state: Tensor,
        neighbours: Neighbours,
        rows: Tensor,
        event: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return particles (n_nodes, n_units n_heads) and state (n_events, n_units)."""
        h = leaky_relu(self.attention(x, neighbours, rows))
        n_events = state.shape[0]
        share = softmax_segments(self.gate(h), event, n_events)
        pooled = sum_segments(share * h, event, n_events)
        return h, leaky_relu(self.linear(torch.cat([state, pooled], dim=1)))


class GraphAttention(nn.Module):
    """Graph attention layer (Velickovic et al., ICLR 2018, arXiv:1710.10903).

    Parameters
    ----------
    n_inputs, n_units, n_heads : int
        Outputs: n_units for each head, side by side.
    negative_slope : float
        Of the leaky ReLU on the attention logits; 0.2 in the paper.
    """

    def __init__(
        self, n_inputs: int, n_units: int, n_heads: int, negative_slope: float = 0.2
    ) -> None:
        super().__init__()
        self.n_heads, self.n_units = n_heads, n_units
        self.negative_slope = negative_slope
        self.linear = nn.Linear(n_inputs, n_units * n_heads, bias=False)
        self.source = nn.Parameter(torch.empty(n_heads, n_units))
        self.target = nn.Parameter(torch.empty(n_heads, n_units))
        self.bias = nn.Parameter(torch.zeros(n_units * n_heads))
        for weight in (self.linear.weight, self.source, self.target):
            nn.init.xavier_normal_(weight, gain=nn.init.calculate_gain("relu"))

    def forward(self, x: Tensor, neighbours: Neighbours, rows: Tensor) -> Tensor:
        """Return the attended nodes, shape (n_nodes, n_units n_heads).

        Parameters
        ----------
        x : Tensor, shape (n_nodes, n_inputs)
        neighbours : Neighbours
            Says which nodes see which; the weights play no role.
        rows : Tensor of int64, shape (n_entries,)
            Row of each entry of ``neighbours``.
        """
        n_nodes = x.shape[0]
        z = self.linear(x).reshape(n_nodes, self.n_heads, self.n_units)
        from_source = (z * self.source).sum(dim=2)
        at_target = (z * self.target).sum(dim=2)
        logit = leaky_relu(
            from_source[neighbours.node] + at_target[rows], self.negative_slope
        )
        share = softmax_segments(logit, rows, n_nodes)
        # One table of all heads, so that no term of the sums is ever in memory.
        heads = torch.arange(self.n_heads, device=x.device).unsqueeze(1)
        summed = embedding_bag(
            (heads * n_nodes + neighbours.node).flatten(),
            z.transpose(0, 1).reshape(self.n_heads * n_nodes, self.n_units),
            (heads * rows.shape[0] + neighbours.start).flatten(),
            mode="sum",
            per_sample_weights=share.t().flatten(),
        )
        attended = summed.reshape(self.n_heads, n_nodes, self.n_units).transpose(0, 1)
        return attended.flatten(1) + self.bias
