"""Graph convolutional network on particles with an embedding of their PDG codes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from smartfilter.events import EVENT_TYPES
from smartfilter.models.layers import (
    EventTypeEmbedding,
    GraphConvolution,
    Standardise,
    count_nodes,
    find_neighbours,
    make_head,
    mean_pool,
)

__all__ = ["GCN"]


class GCN(nn.Module):
    """Embedding and features, graph convolutions, mean pooling, two linear layers.

    The "Combined DeepSet with GCN, normalized" of the project's source documents with
    a configurable number of convolutions.

    Parameters
    ----------
    n_features : int
        Continuous features per node; standardised first.
    n_tokens : int
        Rows of the PDG embedding.
    n_skims : int
        Outputs.
    n_embedding : int
        Width of the PDG embedding.
    n_units : int
        Width of every hidden layer.
    n_layers : int
        Number of graph convolutions, each followed by ReLU.
    residual : bool
        Whether each convolution adds a linear map of the node itself.
    compress : bool
        Whether features are compressed before, see `Standardise`.
    count : bool
        Whether the head also sees the logarithm of 1 + the number of nodes.
    n_event_type : int
        Width of the embedding of the event type that the head also sees; 0: none.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_tokens: int,
        n_skims: int = 1,
        n_embedding: int = 16,
        n_units: int = 64,
        n_layers: int = 3,
        residual: bool = False,
        compress: bool = False,
        count: bool = False,
        n_event_type: int = 0,
    ) -> None:
        super().__init__()
        self.count = count
        self.standardise = Standardise(n_features, compress=compress)
        self.embedding = nn.Embedding(n_tokens, n_embedding)
        widths = [n_features + n_embedding] + [n_units] * n_layers
        self.convolutions = nn.ModuleList(
            GraphConvolution(a, b, residual=residual) for a, b in pairwise(widths)
        )
        self.event_type = (
            EventTypeEmbedding(len(EVENT_TYPES), n_event_type) if n_event_type else None
        )
        n_pooled = widths[-1] + int(count) + n_event_type
        self.head = make_head(n_pooled, n_units, n_skims)

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        """Return logits, see `smartfilter.models`."""
        neighbours = find_neighbours(mother, x)
        h = torch.cat([self.standardise(x), self.embedding(pdg)], dim=1)
        for convolution in self.convolutions:
            h = convolution(h, neighbours).relu_()
        pooled = mean_pool(h, offsets)
        if self.count:
            pooled = torch.cat([pooled, torch.log1p(count_nodes(offsets, x))], dim=1)
        if self.event_type is not None:
            pooled = torch.cat([pooled, self.event_type(event_type)], dim=1)
        logits: Tensor = self.head(pooled)
        return logits
