"""Our network with torch-geometric's layers and our weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, global_mean_pool
from torch_geometric.nn.conv.gcn_conv import gcn_norm

if TYPE_CHECKING:
    from smartfilter.graphs import GraphBatch
    from smartfilter.models import GCN

__all__ = ["GeometricBatch", "GeometricGCN", "make_geometric"]


class GeometricBatch(NamedTuple):
    """A batch as torch-geometric has it: edges in both directions, event of each node."""

    x: Tensor
    pdg: Tensor
    edge_index: Tensor
    event: Tensor
    n_nodes: Tensor
    event_type: Tensor


def make_geometric(graph: GraphBatch) -> GeometricBatch:
    """Return the same batch for torch-geometric."""
    mother, offsets = torch.from_numpy(graph.mother), torch.from_numpy(graph.offsets)
    rows = torch.arange(len(mother))
    child = rows[(mother >= 0) & (mother != rows)]
    up = torch.stack([mother[child], child])
    counts = offsets.diff()
    return GeometricBatch(
        x=torch.from_numpy(graph.x),
        pdg=torch.from_numpy(graph.pdg),
        edge_index=torch.cat([up, up.flip(0)], dim=1),
        event=torch.repeat_interleave(torch.arange(len(counts)), counts),
        n_nodes=counts,
        event_type=torch.from_numpy(graph.event_type),
    )


class GeometricGCN(nn.Module):
    """The network of `smartfilter.models.GCN`.

    Parameters
    ----------
    network : GCN
        With convolutions whose bias is zero: ``GCNConv`` has it elsewhere.
    once : bool
        Normalise the adjacency once per batch; ``GCNConv`` does it in every layer.
    """

    def __init__(self, network: GCN, *, once: bool = False) -> None:
        super().__init__()
        self.network = network
        self.once = once
        self.convolutions = nn.ModuleList()
        for ours in network.convolutions:
            n_outputs, n_inputs = ours.linear.weight.shape
            theirs = GCNConv(n_inputs, n_outputs, bias=False, normalize=not once)
            with torch.no_grad():
                theirs.lin.weight.copy_(ours.linear.weight)
            self.convolutions.append(theirs)

    def forward(self, batch: GeometricBatch) -> Tensor:
        """Return the logits, shape (n_events, n_skims)."""
        network, edges, weight = self.network, batch.edge_index, None
        if self.once:
            edges, weight = gcn_norm(edges, num_nodes=len(batch.x), dtype=torch.float32)
        h = torch.cat(
            [network.standardise(batch.x), network.embedding(batch.pdg)], dim=1
        )
        for ours, theirs in zip(network.convolutions, self.convolutions, strict=True):
            y = theirs(h, edges, weight)
            if ours.skip is not None:
                y = y + ours.skip(h)
            h = torch.relu(y)
        pooled = global_mean_pool(h, batch.event, size=len(batch.n_nodes))
        if network.count:
            n_nodes = batch.n_nodes.unsqueeze(1).to(h.dtype)
            pooled = torch.cat([pooled, torch.log1p(n_nodes)], dim=1)
        if network.event_type is not None:
            pooled = torch.cat([pooled, network.event_type(batch.event_type)], dim=1)
        logits: Tensor = network.head(pooled)
        return logits
