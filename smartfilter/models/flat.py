"""Fully connected networks on padded and flattened events."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from smartfilter.models.blocks import CommonCodes
from smartfilter.models.features import FeatureSelection
from smartfilter.models.layers import Standardise
from smartfilter.models.segments import N_SLOTS, fill_slots, find_padding

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FlatMLP"]


class FlatMLP(nn.Module):
    """The features of all slots side by side, linear layers with ReLU, one output.

    The flat MLP of the lab course, and with ``n_common`` and ``mother`` the fully
    connected network of the pd4ml comparison (``models/pd4ml_models/fcn.py`` and
    ``pd4ml/load_data.py``). It depends on the order of the particles.

    Parameters
    ----------
    n_features, n_tokens, n_skims : int
        See `smartfilter.models`.
    features, without : sequence of str
        See `FeatureSelection`.
    standardise : bool
        Standardise the features with constants of the training set; empty slots stay 0.
    mask : bool
        Whether it also sees which slots are filled.
    n_common : int
        PDG codes with a column in each slot, the most frequent of the training set.
    mother : bool
        Whether it also sees the position of each particle's mother in the event, -1 for
        none and in empty slots.
    n_units, n_layers : int
        Width and number of hidden layers.
    n_slots : int
        Particles per event; further ones are left out.
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
        mask: bool = False,
        n_common: int = 0,
        mother: bool = False,
        n_units: int = 32,
        n_layers: int = 2,
        n_slots: int = N_SLOTS,
    ) -> None:
        super().__init__()
        self.n_slots, self.mask, self.mother = n_slots, mask, mother
        self.select = FeatureSelection(n_features, features, without=without)
        n_inputs = self.select.n_outputs
        self.standardise = Standardise(n_inputs) if standardise else nn.Identity()
        self.codes = CommonCodes(n_tokens, n_common) if n_common else None
        n_inputs = n_slots * (n_inputs + n_common + int(mask) + int(mother))
        widths = [n_inputs] + [n_units] * n_layers
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.output = nn.Linear(widths[-1], n_skims)

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,  # noqa: ARG002 - every network takes it
    ) -> Tensor:
        """Return logits, see `smartfilter.models`."""
        n_events, n_nodes = offsets.shape[0] - 1, x.shape[0]
        padding = find_padding(offsets, n_nodes, self.n_slots)
        h = self.standardise(self.select(x))
        if self.codes is not None:
            h = torch.cat([h, self.codes(pdg)], dim=1)
        slots = fill_slots(h, padding)
        if self.mask:
            filled = padding.filled.reshape(-1, 1).to(h.dtype)
            slots = torch.cat([slots, filled], dim=1)
        if self.mother:
            none = torch.full_like(padding.place[:1], -1)
            row = torch.cat([mother, none])[padding.row]
            position = torch.where(row >= 0, row - offsets[:-1].unsqueeze(1), -1)
            slots = torch.cat([slots, position.reshape(-1, 1).to(h.dtype)], dim=1)
        flat = slots.reshape(n_events, self.n_slots * slots.shape[1])
        for layer in self.layers:
            flat = torch.relu(layer(flat))
        logits: Tensor = self.output(flat)
        return logits
