"""Blocks on parts of a flat batch: sums and softmax per event or row, padded events.

Padding has as many slots as an event of the published data set; further particles of a
larger event are left out, as there. See `smartfilter.models` for the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from smartfilter.models.layers import Neighbours

__all__ = [
    "N_SLOTS",
    "Padding",
    "fill_slots",
    "find_events",
    "find_padding",
    "find_published_neighbours",
    "find_rows",
    "softmax_segments",
    "sum_segments",
]

N_SLOTS = 100
"""Particles per event of the published data set (kahn-jms/belle-selective-mc-dataset)."""


def find_events(offsets: Tensor) -> Tensor:
    """Return the event of each node, int64 of shape (n_nodes,)."""
    events = torch.arange(offsets.shape[0] - 1, device=offsets.device)
    return torch.repeat_interleave(events, offsets[1:] - offsets[:-1])


def find_rows(neighbours: Neighbours, n_nodes: int) -> Tensor:
    """Return the row of each entry of a matrix, int64 of shape (n_entries,)."""
    end = torch.full_like(neighbours.start[:1], neighbours.node.shape[0])
    counts = torch.diff(torch.cat([neighbours.start, end]))
    rows = torch.arange(n_nodes, device=counts.device)
    return torch.repeat_interleave(rows, counts)


def sum_segments(x: Tensor, segment: Tensor, n_segments: int) -> Tensor:
    """Return the sum of the rows of each segment, zeros for one without rows.

    Parameters
    ----------
    x : Tensor, shape (n, ...)
    segment : Tensor of int64, shape (n,)
    n_segments : int

    Returns
    -------
    Tensor, shape (n_segments, ...)
    """
    shape = [n_segments]
    shape.extend(x.shape[1:])
    return torch.zeros(shape, dtype=x.dtype, device=x.device).index_add(0, segment, x)


def softmax_segments(x: Tensor, segment: Tensor, n_segments: int) -> Tensor:
    """Return the softmax over the rows of each segment, column by column.

    Parameters
    ----------
    x : Tensor, shape (n, n_columns)
    segment : Tensor of int64, shape (n,)
    n_segments : int

    Returns
    -------
    Tensor, shape (n, n_columns)
    """
    index = segment.unsqueeze(1).expand_as(x)
    low = torch.full(
        (n_segments, x.shape[1]), -float("inf"), dtype=x.dtype, device=x.device
    )
    largest = low.scatter_reduce(0, index, x.detach(), "amax")
    share = torch.exp(x - largest[segment])
    return share / sum_segments(share, segment, n_segments)[segment]


class Padding(NamedTuple):
    """Where the slots of padded events are filled from.

    ``row`` (n_events, n_slots) is the node of each slot and the number of nodes where
    there is none, ``filled`` (n_events, n_slots) whether there is one, ``place``
    (n_nodes + 1,) the position of each node among all slots, -1 if it has none and at
    the end.
    """

    row: Tensor
    filled: Tensor
    place: Tensor


def find_padding(offsets: Tensor, n_nodes: int, n_slots: int) -> Padding:
    """Return the first ``n_slots`` nodes of each event."""
    n_events = offsets.shape[0] - 1
    slots = torch.arange(n_slots, device=offsets.device).unsqueeze(0)
    filled = slots < (offsets[1:] - offsets[:-1]).unsqueeze(1)
    row = torch.where(filled, offsets[:-1].unsqueeze(1) + slots, n_nodes)
    place = torch.full((n_nodes + 1,), -1, dtype=torch.int64, device=offsets.device)
    everywhere = torch.arange(n_events * n_slots, device=offsets.device)
    place[row.flatten()] = torch.where(filled.flatten(), everywhere, -1)
    return Padding(row, filled, place)


def fill_slots(x: Tensor, padding: Padding) -> Tensor:
    """Return the columns of each slot, zeros where there is no particle.

    Parameters
    ----------
    x : Tensor, shape (n_nodes, n_columns)
    padding : Padding

    Returns
    -------
    Tensor, shape (n_events * n_slots, n_columns)
    """
    zero = torch.zeros((1, x.shape[1]), dtype=x.dtype, device=x.device)
    return torch.cat([x, zero]).index_select(0, padding.row.flatten())


def find_published_neighbours(
    mother: Tensor, like: Tensor, *, normalise: bool
) -> Neighbours:
    r"""Return the adjacency of the published graph networks.

    Both directions of each mother-daughter edge, and a self-loop for each node that
    has a mother or names itself as one, but none where the mother is -1 (pd4ml,
    ``models/reference_models/gcn_belle.py`` and ``pd4ml/preprocessing_utils.py``).

    Parameters
    ----------
    mother : Tensor of int64, shape (n_nodes,)
    like : Tensor of float
        Gives the dtype of the weights.
    normalise : bool
        :math:`D^{-1/2} A D^{-1/2}` instead of A.
    """
    n_nodes = mother.shape[0]
    rows = torch.arange(n_nodes, device=mother.device)
    looped = rows[mother >= 0]
    child = rows[(mother >= 0) & (mother != rows)]
    parent = mother[child]
    row = torch.cat([looped, child, parent])
    order = torch.argsort(row, stable=True)
    node = torch.cat([looped, parent, child])[order]
    degree = torch.bincount(row, minlength=n_nodes)
    start = torch.cumsum(degree, 0) - degree
    weight = torch.ones(node.shape[0], dtype=like.dtype, device=like.device)
    if normalise:
        scale = torch.rsqrt(degree.to(like.dtype))
        weight = scale[row[order]] * scale[node]
    return Neighbours(node, start, weight)
