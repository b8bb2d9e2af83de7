"""Constants that networks take from the training set before they are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smartfilter.models.blocks import CommonCodes
from smartfilter.models.features import FeatureSelection
from smartfilter.models.layers import set_standardisation

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["set_constants"]


def set_constants(network: nn.Module, x: Tensor, pdg: Tensor) -> None:
    """Set means and deviations of the features, and the most frequent PDG codes.

    Parameters
    ----------
    network : nn.Module
        One of `smartfilter.models.NETWORKS`.
    x : Tensor of float32, shape (n_nodes, n_features)
        Nodes of the training set.
    pdg : Tensor of int, shape (n_nodes,)
        Their tokens.
    """
    for module in network.modules():
        if isinstance(module, CommonCodes):
            module.set_constants(pdg)
        elif isinstance(module, FeatureSelection):
            x = module(x)
    set_standardisation(network, x)
