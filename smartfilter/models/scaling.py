"""Standardisation of features that a network derives itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

__all__ = ["RunningStandardise"]


class RunningStandardise(nn.Module):
    """Subtract a mean and divide by a deviation, both averaged over training batches.

    The averages over all batches, with at least 1 % for the latest one, are used in
    training and in scoring alike, so that no event depends on its batch. A feature that
    hardly varies keeps its size, and results are bounded.

    Parameters
    ----------
    n_features : int
    """

    if TYPE_CHECKING:  # TorchScript cannot read these annotations
        mean: Tensor
        square: Tensor
        n_batches: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("square", torch.ones(n_features))
        self.register_buffer("n_batches", torch.zeros(()))
        self.newest_share, self.least_variance, self.limit = 0.01, 1e-4, 8.0

    def forward(self, x: Tensor) -> Tensor:
        """Return the standardised features, shape (n, n_features), within +-8."""
        if self.training and x.shape[0] > 0:
            self._update(x.detach())
        variance = self.square - self.mean.square()
        deviation = torch.where(
            variance > self.least_variance,
            variance.clamp(min=self.least_variance).sqrt(),
            torch.ones_like(variance),
        )
        return ((x - self.mean) / deviation).clamp(-self.limit, self.limit)

    def _update(self, x: Tensor) -> None:
        self.n_batches.add_(1.0)
        share = (1.0 / self.n_batches).clamp(min=self.newest_share)
        self.mean.add_(share * (x.mean(dim=0) - self.mean))
        self.square.add_(share * (x.square().mean(dim=0) - self.square))
