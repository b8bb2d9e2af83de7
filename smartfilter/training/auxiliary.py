"""Auxiliary targets: what the simulation made of an event teaches more than pass or fail.

Numbers of tracks and clusters, visible energy or the quality of the best candidate are
known for labelled events. While a network is trained it has one more output for each; these
outputs are left out of the network that is saved (as in GN1, ATL-PHYS-PUB-2022-027).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from smartfilter.models import build
from smartfilter.training.initialise import find_outputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from smartfilter.training.losses import Loss

__all__ = ["AuxiliaryLoss", "RankScale", "strip_outputs"]


@dataclass(frozen=True, eq=False)
class RankScale:
    """From values to their ranks among reference values, with mean 0 and deviation 1.

    Counts, energies and probabilities over many orders of magnitude all become targets of
    the same size. Equal values share their middle rank; NaN (there is none) is the
    smallest value.

    Parameters
    ----------
    reference : Tensor of float, shape (n_reference, n_variables)
        Each column in ascending order, without NaN.
    """

    reference: Tensor

    @classmethod
    def measure(cls, values: Tensor) -> RankScale:
        """Take values of shape (n_reference, n_variables) as reference."""
        return cls(_fill(values).sort(dim=0).values)

    def __call__(self, values: Tensor) -> Tensor:
        """Return the targets, float32, same shape as the values."""
        columns, wanted = self.reference.T.contiguous(), _fill(values).T.contiguous()
        below = torch.searchsorted(columns, wanted)
        up_to = torch.searchsorted(columns, wanted, right=True)
        rank = 0.5 * (below + up_to) / columns.shape[1]
        targets: Tensor = (rank - 0.5) * sqrt(12.0)
        return targets.T.float()


def _fill(values: Tensor) -> Tensor:
    return torch.where(torch.isnan(values), -torch.inf, values)


@dataclass(frozen=True, eq=False)
class AuxiliaryLoss:
    """The loss of the skims plus the mean squared error of the auxiliary outputs.

    Parameters
    ----------
    loss : Loss
        Of the first outputs.
    n_skims : int
        Number of these.
    importance : float
        Factor of the mean squared error.
    """

    loss: Loss
    n_skims: int
    importance: float

    def __call__(self, logits: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        """Return the loss, shape (); without auxiliary columns that of the skims."""
        passes, wanted = targets[:, : self.n_skims], targets[:, self.n_skims :]
        loss = self.loss(logits[:, : self.n_skims], passes, weight)
        if wanted.shape[1] == 0:
            return loss
        error = (logits[:, self.n_skims :] - wanted).square().mean()
        return loss + self.importance * error


@torch.no_grad()
def strip_outputs(
    network: nn.Module, name: str, settings: Mapping[str, Any], n_skims: int
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network with its first outputs alone, and the settings that build it.

    Parameters
    ----------
    network : nn.Module
    name : str
        In `smartfilter.models.NETWORKS`.
    settings : mapping
        Keywords that built the network.
    n_skims : int
        Outputs that stay.
    """
    smaller = {**settings, "n_skims": n_skims}
    with torch.random.fork_rng(devices=[]):
        stripped = build(name, **smaller)
    outputs = find_outputs(name, settings)
    state = {
        key: value[:n_skims] if key in outputs else value
        for key, value in network.state_dict().items()
    }
    stripped.load_state_dict(state)
    return stripped, smaller
