"""Deep sets of particles with any sequence of linear and graph layers.

One class for the networks of the lab report: DeepSet, Combined, both with GCN, reversed,
the variable family ``DS_n_GCN_i...`` and the "optimal model".
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from smartfilter.errors import UsageError
from smartfilter.models.blocks import BatchNorm
from smartfilter.models.features import FeatureSelection
from smartfilter.models.layers import (
    Neighbours,
    Standardise,
    find_neighbours,
    mean_pool,
    propagate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DeepSet", "parse_layers"]

_KINDS = ("linear", "gcn")


def parse_layers(layers: str | Sequence[str]) -> tuple[str, ...]:
    """Return the kind of each particle layer.

    Parameters
    ----------
    layers : str or sequence of str
        ``DS_n_GCN_i...`` has n layers, those at the 1-based positions i are graph
        convolutions: ``DS_6_GCN_135``, ``DS_1_GCN_`` for none. Or the kinds themselves.

    Returns
    -------
    tuple of str
        ``linear`` or ``gcn``.

    Raises
    ------
    UsageError
        If it is neither, or a position is not one of the n.
    """
    if isinstance(layers, str):
        match = re.fullmatch(r"DS_([1-9])_GCN_([1-9]*)", layers)
        if match is None:
            raise UsageError(
                f"layers: expected DS_n_GCN_i... with digits, got '{layers}'"
            )
        n_layers, positions = int(match[1]), {int(digit) for digit in match[2]}
        if positions and max(positions) > n_layers:
            raise UsageError(
                f"layers: expected positions up to {n_layers}, got '{layers}'"
            )
        return tuple(_KINDS[k in positions] for k in range(1, n_layers + 1))
    kinds = tuple(layers)
    if not kinds or not set(kinds) <= set(_KINDS):
        raise UsageError(
            f"layers: expected one or more of {', '.join(_KINDS)}, "
            f"got {', '.join(map(str, kinds)) or 'none'}"
        )
    return kinds


class DeepSet(nn.Module):
    """Layers on particles, masked mean pooling, two linear layers on the event.

    Parameters
    ----------
    n_features, n_tokens, n_skims : int
        See `smartfilter.models`.
    features : sequence of str
        Names of the features, for ``without`` and ``cylindrical``.
    without : sequence of str
        Features that the network does not see.
    cylindrical : bool
        See `FeatureSelection`.
    standardise : bool
        Standardise the features with constants of the training set. The lab report's
        "normalized" networks take those of the current batch, padding included.
    compress : bool
        See `Standardise`.
    layers : str or sequence of str
        Particle layers, see `parse_layers`.
    n_embedding : int
        Width of the embedding of PDG codes that is concatenated with the features; 0:
        none ("DeepSet" against "Combined").
    n_units : int
        Width of every hidden layer.
    normalise : bool
        Batch normalisation before each particle layer and between the two linear layers
        of the head ("optimal model"); of particles, not of padding.
    negative_slope : float
        Of the activation; 0: ReLU.
    dropout : float
        Share of outputs hidden behind each activation in training.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_tokens: int,
        n_skims: int = 1,
        features: Sequence[str] = (),
        without: Sequence[str] = (),
        cylindrical: bool = False,
        standardise: bool = False,
        compress: bool = False,
        layers: str | Sequence[str] = "DS_1_GCN_",
        n_embedding: int = 0,
        n_units: int = 32,
        normalise: bool = False,
        negative_slope: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        kinds = parse_layers(layers)
        self.convolves = "gcn" in kinds
        self.select = FeatureSelection(
            n_features, features, without=without, cylindrical=cylindrical
        )
        n_inputs = self.select.n_outputs
        self.standardise = (
            Standardise(n_inputs, compress=compress) if standardise else nn.Identity()
        )
        self.embedding = nn.Embedding(n_tokens, n_embedding) if n_embedding else None
        widths = [n_inputs + n_embedding] + [n_units] * len(kinds)
        self.layers = nn.ModuleList(
            _ParticleLayer(a, b, kind == "gcn", normalise, negative_slope, dropout)
            for (a, b), kind in zip(pairwise(widths), kinds, strict=True)
        )
        self.head = nn.Sequential(
            nn.Linear(n_units, n_units),
            BatchNorm(n_units) if normalise else nn.Identity(),
            nn.LeakyReLU(negative_slope),
            nn.Dropout(dropout),
            nn.Linear(n_units, n_skims),
        )

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,  # noqa: ARG002 - every network takes it
    ) -> Tensor:
        """Return logits, see `smartfilter.models`."""
        neighbours = Neighbours(mother, mother, x)
        if self.convolves:
            neighbours = find_neighbours(mother, x)
        h = self.standardise(self.select(x))
        if self.embedding is not None:
            h = torch.cat([h, self.embedding(pdg)], dim=1)
        for layer in self.layers:
            h = layer(h, neighbours)
        logits: Tensor = self.head(mean_pool(h, offsets))
        return logits


class _ParticleLayer(nn.Module):
    """Batch normalisation, linear layer, propagation, activation, dropout."""

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        convolve: bool,
        normalise: bool,
        negative_slope: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.convolve = convolve
        self.negative_slope = negative_slope
        self.norm = BatchNorm(n_inputs) if normalise else nn.Identity()
        self.linear = nn.Linear(n_inputs, n_outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, neighbours: Neighbours) -> Tensor:
        """Return the layer's output, shape (n_nodes, n_outputs)."""
        h = self.linear(self.norm(x))
        if self.convolve:
            h = propagate(h, neighbours)
        y: Tensor = self.dropout(leaky_relu(h, self.negative_slope))
        return y
