"""What networks make of the raw features before their first layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FeatureSelection"]

_CYLINDRICAL = ("r", "z", "p_xy", "pz", "prod_time", "energy")
"""Columns of cylindrical features, in this order; r and p_xy are lengths in the plane
transverse to the detector's axis."""

_SOURCES = {"r": ("x", "y"), "p_xy": ("px", "py")}


class FeatureSelection(nn.Module):
    """Keep some features, or replace them by cylindrical ones.

    Parameters
    ----------
    n_features : int
        Columns of the input.
    features : sequence of str
        Their names, as in `smartfilter.presets`; needed for anything but all columns.
    without : sequence of str
        Names of columns that the network does not see.
    cylindrical : bool
        Use r, z, p_xy, pz, prod_time and energy: lengths in cm, momenta in GeV, ns.

    Attributes
    ----------
    n_outputs : int
        Columns of the output.

    Raises
    ------
    UsageError
        If a name is unknown, or no column is left.
    """

    if TYPE_CHECKING:  # TorchScript cannot read these annotations
        columns: Tensor
        others: Tensor
        is_length: Tensor

    def __init__(
        self,
        n_features: int,
        features: Sequence[str] = (),
        *,
        without: Sequence[str] = (),
        cylindrical: bool = False,
    ) -> None:
        super().__init__()
        self.selects = bool(without)
        self.cylindrical = cylindrical
        columns = others = tuple(range(n_features))
        if self.selects or cylindrical:
            names = tuple(features)
            _require(names, n_features, without)
            if cylindrical:
                wanted = [n for n in _CYLINDRICAL if n not in without]
                pairs = [_SOURCES.get(name, (name, name)) for name in wanted]
                _require(names, n_features, [name for pair in pairs for name in pair])
                columns = tuple(names.index(first) for first, _ in pairs)
                others = tuple(names.index(second) for _, second in pairs)
            else:
                columns = tuple(k for k, n in enumerate(names) if n not in without)
                others = columns
        if not columns:
            raise UsageError(
                f"setting 'without': expected at least one feature to be left of "
                f"{', '.join(features)}, got none"
            )
        self.n_outputs = len(columns)
        self.register_buffer("columns", torch.tensor(columns))
        self.register_buffer("others", torch.tensor(others))
        is_length = torch.tensor([a != b for a, b in zip(columns, others, strict=True)])
        self.register_buffer("is_length", is_length)

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's features, shape (n_nodes, n_outputs)."""
        if self.cylindrical:
            first, second = x[:, self.columns], x[:, self.others]
            length = torch.sqrt(first * first + second * second)
            return torch.where(self.is_length, length, first)
        if self.selects:
            return x[:, self.columns]
        return x


def _require(names: Sequence[str], n_features: int, wanted: Sequence[str]) -> None:
    """Refuse names that are not among those of the columns."""
    if len(names) != n_features:
        raise UsageError(
            f"setting 'features': expected the names of {n_features} columns, "
            f"got {len(names)}"
        )
    unknown = [name for name in wanted if name not in (*names, *_SOURCES)]
    if unknown:
        raise UsageError(
            f"features: expected some of {', '.join(names)}, got {', '.join(unknown)}"
        )
