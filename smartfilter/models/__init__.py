"""The networks and their registry: tensors in, logits out.

Every network is an ``nn.Module`` that TorchScript can compile, with::

    forward(x, pdg, mother, offsets, event_type) -> logits

``x`` float32 (n_nodes, n_features), raw features of the preparation preset; ``pdg``
int32 (n_nodes,), tokens; ``mother`` int64 (n_nodes,), row of the mother in the batch,
-1 for none, possibly the node's own row; ``offsets`` int64 (n_events + 1,), nodes of
event ``i`` are the rows ``offsets[i]:offsets[i + 1]``, possibly none; ``event_type``
int64 (n_events,), position in `smartfilter.events.EVENT_TYPES`, -1 if unknown. The
logits are float32 (n_events, n_skims). Its constructor takes keywords only, among them
``n_features``, ``n_tokens`` and ``n_skims``, and ``features``, the names of the
features, where it chooses among them.

A new network is one file here and one row of `NETWORKS`.
"""

from __future__ import annotations

import inspect
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from smartfilter.errors import UsageError, describe_unknown, suggest
from smartfilter.models.deepset import DeepSet
from smartfilter.models.flat import FlatMLP
from smartfilter.models.gatgap import GATGAP
from smartfilter.models.gcn import GCN
from smartfilter.models.published_gcn import CommonGraphNet, ReferenceGCN
from smartfilter.models.subtree import SubtreeNetwork
from smartfilter.models.transformer import Transformer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

__all__ = ["GCN", "NETWORKS", "build", "count_parameters"]

NETWORKS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {
        "gcn": GCN,
        "deepset": DeepSet,
        "flat_mlp": FlatMLP,
        "transformer": Transformer,
        "reference_gcn": ReferenceGCN,
        "common_graph_net": CommonGraphNet,
        "gatgap": GATGAP,
        "subtree": SubtreeNetwork,
    }
)
"""Name in configurations and model files -> class."""


def build(name: str, **settings: Any) -> nn.Module:
    """Return a new network.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    **settings
        Keywords of its constructor.

    Raises
    ------
    UsageError
        If there is no such network or setting, or a setting is missing.
    """
    if name not in NETWORKS:
        raise UsageError(describe_unknown("network", name, NETWORKS))
    parameters = inspect.signature(NETWORKS[name]).parameters
    unknown = sorted(set(settings) - set(parameters))
    if unknown:
        raise UsageError(
            f"settings of network '{name}': expected some of {', '.join(parameters)}, "
            f"got {', '.join(unknown)}{suggest(unknown[0], parameters)}"
        )
    required = {k for k, p in parameters.items() if p.default is p.empty}
    missing = sorted(required - set(settings))
    if missing:
        raise UsageError(f"settings of network '{name}': missing {', '.join(missing)}")
    return NETWORKS[name](**settings)


def count_parameters(network: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
