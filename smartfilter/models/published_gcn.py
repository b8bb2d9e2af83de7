"""Graph networks of the public SmartBKG data set, on events padded to 100 particles.

Self-loops are left out for particles without a mother, events are cut after 100
particles, and means are over all 100 slots, as published.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from smartfilter.models.blocks import BatchNorm, CommonCodes
from smartfilter.models.layers import propagate
from smartfilter.models.segments import (
    N_SLOTS,
    fill_slots,
    find_events,
    find_padding,
    find_published_neighbours,
    sum_segments,
)

__all__ = ["CommonGraphNet", "ReferenceGCN"]


class ReferenceGCN(nn.Module):
    """Graph network of the authors of the data set.

    Embedding, three linear layers, three graph convolutions, mean over all slots, three
    linear layers, one output; ReLU behind each but the last (pd4ml,
    ``models/reference_models/gcn_belle.py``).

    Parameters
    ----------
    n_features, n_tokens, n_skims : int
        See `smartfilter.models`.
    n_embedding, n_units : int
        Width of the embedding of PDG codes and of every hidden layer.
    n_layers : int
        Layers of each of the three kinds.
    n_slots : int
        Particles per event; further ones are left out.

    Notes
    -----
    An empty slot has no edge, so its value behind a convolution is ReLU(0) = 0: the
    mean over all slots is the sum over the particles divided by ``n_slots``, and no
    padding is needed. Particles without edges have the value 0 for the same reason, and
    so have those that are left out.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_tokens: int,
        n_skims: int = 1,
        n_embedding: int = 8,
        n_units: int = 128,
        n_layers: int = 3,
        n_slots: int = N_SLOTS,
    ) -> None:
        super().__init__()
        self.n_slots = n_slots
        self.embedding = nn.Embedding(n_tokens, n_embedding)
        widths = [n_features + n_embedding] + [n_units] * n_layers
        self.particle_layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in pairwise(widths)
        )
        self.graph_layers = nn.ModuleList(
            nn.Linear(n_units, n_units) for _ in range(n_layers)
        )
        self.event_layers = nn.ModuleList(
            nn.Linear(n_units, n_units) for _ in range(n_layers)
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
        event = find_events(offsets)
        mother = _drop_outside(mother, offsets, event, self.n_slots)
        neighbours = find_published_neighbours(mother, x, normalise=True)
        h = torch.cat([self.embedding(pdg), x], dim=1)
        for layer in self.particle_layers:
            h = torch.relu(layer(h))
        for layer in self.graph_layers:
            h = torch.relu(propagate(layer(h), neighbours))
        pooled = sum_segments(h, event, offsets.shape[0] - 1) / float(self.n_slots)
        for layer in self.event_layers:
            pooled = torch.relu(layer(pooled))
        logits: Tensor = self.output(pooled)
        return logits


class CommonGraphNet(nn.Module):
    """Common graph network of the pd4ml comparison.

    Features and one-hot PDG codes, three linear layers, three graph convolutions with
    the adjacency as it is (not normalised), batch normalisation, PReLU and dropout,
    mean over all slots, seven linear layers with the same, one output (pd4ml,
    ``models/pd4ml_models/graph_net.py`` and ``pd4ml/load_data.py``). The
    particles' PReLU has one slope for each slot and unit; empty slots count in the
    batch normalisation. The published PReLU behind the first three layers only sees
    positive numbers, so it does nothing; its slopes are kept, for they are counted.
    An empty slot has no edge: before each normalisation it is 0, so that linear and
    graph layers need the particles only.

    Parameters
    ----------
    n_features, n_tokens, n_skims : int
        See `smartfilter.models`.
    n_common : int
        PDG codes with a column, the most frequent of the training set.
    n_units : int
        Width of every hidden layer.
    n_slots : int
        Particles per event; further ones are left out.
    dropout, last_dropout : float
        Share of outputs hidden in training: of all layers, and of the last hidden one.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_tokens: int,
        n_skims: int = 1,
        n_common: int = 182,
        n_units: int = 256,
        n_slots: int = N_SLOTS,
        dropout: float = 0.2,
        last_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.n_slots = n_slots
        self.codes = CommonCodes(n_tokens, n_common)
        widths = [n_features + n_common] + [n_units] * 3
        self.particle_layers = nn.ModuleList(
            _Activated(a, b) for a, b in pairwise(widths)
        )
        self.graph_layers = nn.ModuleList(nn.Linear(n_units, n_units) for _ in range(3))
        self.graph_norms = nn.ModuleList(
            _Normalised(n_units, n_slots, dropout) for _ in range(3)
        )
        self.event_layers = nn.ModuleList(nn.Linear(n_units, n_units) for _ in range(7))
        self.event_norms = nn.ModuleList(
            _Normalised(n_units, 1, dropout) for _ in range(6)
        )
        self.event_norms.append(_Normalised(n_units, 1, last_dropout))
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
        mother = _drop_outside(mother, offsets, find_events(offsets), self.n_slots)
        neighbours = find_published_neighbours(mother, x, normalise=False)
        padding = find_padding(offsets, x.shape[0], self.n_slots)
        slots = torch.cat([x, self.codes(pdg)], dim=1)
        h = slots
        for layer in self.particle_layers:
            h = layer(h)
        for layer, norm in zip(self.graph_layers, self.graph_norms):  # noqa: B905
            slots = norm(
                fill_slots(torch.relu(propagate(layer(h), neighbours)), padding)
            )
            h = slots[padding.place[:-1].clamp(min=0)]
        shape = [offsets.shape[0] - 1, self.n_slots, slots.shape[1]]
        pooled = slots.reshape(shape).mean(dim=1)
        for layer, norm in zip(self.event_layers, self.event_norms):  # noqa: B905
            pooled = norm(torch.relu(layer(pooled)))
        logits: Tensor = self.output(pooled)
        return logits


def _drop_outside(
    mother: Tensor, offsets: Tensor, event: Tensor, n_slots: int
) -> Tensor:
    """Return -1 for mothers of, and at, particles that have no slot."""
    rows = torch.arange(mother.shape[0], device=mother.device)
    inside = rows - offsets[event] < n_slots
    known = (mother >= 0) & inside & inside[mother.clamp(min=0)]
    return torch.where(known, mother, -1)


class _Activated(nn.Module):
    """Linear layer, ReLU and PReLU with a slope for each unit."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_inputs, n_outputs)
        self.slope = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output, shape (n_rows, n_outputs)."""
        h = torch.relu(self.linear(x))
        return torch.relu(h) - self.slope * torch.relu(-h)


class _Normalised(nn.Module):
    """Batch normalisation, PReLU with slopes for each slot and unit, dropout."""

    def __init__(self, n_units: int, n_slots: int, dropout: float) -> None:
        super().__init__()
        self.norm = BatchNorm(n_units)
        self.slope = nn.Parameter(torch.zeros(n_slots, n_units))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated rows; row i belongs to the slot i modulo n_slots."""
        n_slots = self.slope.shape[0]
        h = self.norm(x).reshape(x.shape[0] // n_slots, n_slots, x.shape[1])
        h = torch.relu(h) - self.slope * torch.relu(-h)
        y: Tensor = self.dropout(h.reshape(x.shape))
        return y
