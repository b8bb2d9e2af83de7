"""Layers that several networks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

__all__ = ["BatchNorm", "CommonCodes"]


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe, Szegedy, ICML 2015, arXiv:1502.03167) of rows.

    Of fewer than two rows there is no variance: they take the running one in training,
    too.

    Parameters
    ----------
    n_units : int
    """

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_units)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised rows, shape (n_rows, n_units)."""
        if not self.training or x.shape[0] > 1:
            y: Tensor = self.norm(x)
            return y
        norm = self.norm
        return batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )


class CommonCodes(nn.Module):
    """One-hot vectors of the PDG tokens that are most frequent in the training set.

    Other tokens, and the empty slots of padded events, have zeros.

    Parameters
    ----------
    n_tokens : int
    n_common : int
        Columns. At first those of the smallest tokens.
    """

    if TYPE_CHECKING:  # TorchScript cannot read these annotations
        column: Tensor

    def __init__(self, n_tokens: int, n_common: int) -> None:
        super().__init__()
        self.n_common = n_common
        self.register_buffer("column", torch.arange(n_tokens).clamp(max=n_common))

    @torch.no_grad()
    def set_constants(self, pdg: Tensor) -> None:
        """Take the most frequent of these tokens, (n_nodes,); ties by token."""
        counts = torch.bincount(pdg.to(torch.int64), minlength=len(self.column))
        common = torch.argsort(counts, descending=True, stable=True)[: self.n_common]
        common = common[counts[common] > 0]
        self.column.fill_(self.n_common)
        self.column[common] = torch.arange(len(common), device=common.device)

    def forward(self, pdg: Tensor) -> Tensor:
        """Return the vectors of float32, shape (n_nodes, n_common)."""
        column = self.column[pdg.to(torch.int64)]
        known = torch.arange(self.n_common, device=pdg.device)
        return (column.unsqueeze(1) == known).to(torch.float32)
