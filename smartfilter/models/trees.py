"""Sums along decay trees: over all descendants, over daughters, of the mother.

A batch is one flat graph of disconnected events, as in `smartfilter.models.layers`. The
sums of a network are over fixed pairs of nodes; they are listed once per batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from smartfilter.models.layers import DENSE_NODES, is_exporting

__all__ = [
    "Links",
    "add_up",
    "count_ancestors",
    "find_daughters",
    "find_descendants",
    "find_mother",
    "pool_sum",
    "select_rows",
]


class Links(NamedTuple):
    """The nodes that are summed for each node (row) in compressed rows, and the transpose.

    ``node`` (n_links,) and ``start`` (n_nodes,): the entries of row ``i`` begin at
    ``start[i]``; ``back_node`` and ``back_start`` are those of the transpose, empty in
    a script, which needs no gradient. ``matrix`` (n_nodes, n_nodes) takes the place of all
    of them under ``torch.export`` and up to `DENSE_NODES` nodes, and is empty otherwise.
    """

    node: Tensor
    start: Tensor
    back_node: Tensor
    back_start: Tensor
    matrix: Tensor


def find_descendants(
    mother: Tensor,
    like: Tensor,
    generations: int = DENSE_NODES,
    dense_nodes: int = DENSE_NODES,
) -> Links:
    """Link every node to itself and all its descendants.

    Parameters
    ----------
    mother : Tensor of int64, shape (n_nodes,)
        Row of the mother in the batch; -1 or the node's own row: none. No loops.
    like : Tensor of float
        Gives the dtype of ``matrix``.
    generations : int
        Descendants further away are left out; decay chains have about ten. A full
        matrix reaches up to twice as far.
    dense_nodes : int
        Up to this many nodes the links are a full matrix.
    """
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        exporting = is_exporting()
        if exporting:
            return _reach_all(_match(mother, like), generations, False)
    n_nodes = mother.shape[0]
    if n_nodes <= dense_nodes:
        return _reach_all(_match(mother, like), generations, True)
    rows = torch.arange(n_nodes, device=mother.device)
    above = torch.where(mother == rows, torch.full_like(mother, -1), mother)
    down = torch.nonzero(above >= 0).squeeze(1)
    up = above[down]
    tops, bottoms = [rows], [rows]
    generation = 0
    while up.shape[0] > 0 and generation < generations:
        tops.append(up)
        bottoms.append(down)
        up = above[up]
        further = torch.nonzero(up >= 0).squeeze(1)
        up, down = up[further], down[further]
        generation += 1
    return _compress(torch.cat(tops), torch.cat(bottoms), n_nodes)


def find_daughters(
    mother: Tensor, like: Tensor, dense_nodes: int = DENSE_NODES
) -> Links:
    """Link every node to its daughters; parameters as of `find_descendants`."""
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        exporting = is_exporting()
        if exporting:
            return _hold(_match(mother, like))
    n_nodes = mother.shape[0]
    if n_nodes <= dense_nodes:
        return _hold(_match(mother, like))
    rows = torch.arange(n_nodes, device=mother.device)
    daughter = torch.nonzero((mother >= 0) & (mother != rows)).squeeze(1)
    return _compress(mother[daughter], daughter, n_nodes)


def find_mother(mother: Tensor, like: Tensor, dense_nodes: int = DENSE_NODES) -> Links:
    """Link every node to its mother; parameters as of `find_descendants`."""
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        exporting = is_exporting()
        if exporting:
            return _hold(_match(mother, like).transpose(0, 1))
    n_nodes = mother.shape[0]
    if n_nodes <= dense_nodes:
        return _hold(_match(mother, like).transpose(0, 1))
    rows = torch.arange(n_nodes, device=mother.device)
    daughter = torch.nonzero((mother >= 0) & (mother != rows)).squeeze(1)
    return _compress(daughter, mother[daughter], n_nodes)


def _match(mother: Tensor, like: Tensor) -> Tensor:
    """Return 1 where the column's mother is the row, else 0, shape (n_nodes, n_nodes)."""
    rows = torch.arange(mother.shape[0], device=mother.device).unsqueeze(1)
    pairs = (mother == rows) & (mother != rows.squeeze(1))
    return pairs.to(like.dtype)


def select_rows(links: Links, rows: Tensor) -> Links:
    """Return the links of these nodes alone: one row for each of them.

    Parameters
    ----------
    links : Links
    rows : Tensor of int64, shape (n_rows,)
    """
    if links.matrix.numel() > 0:
        nothing = links.start.new_zeros(links.matrix.shape[0])  # for no row at all
        return Links(links.node, links.start, links.node, nothing, links.matrix[rows])
    n_nodes, n_links = links.start.shape[0], links.node.shape[0]
    end = torch.cat([links.start[1:], links.start.new_full((1,), n_links)])
    counts = (end - links.start)[rows]
    start = torch.cumsum(counts, 0) - counts
    first = torch.repeat_interleave(links.start[rows] - start, counts)
    node = links.node[first + torch.arange(first.shape[0], device=rows.device)]
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return Links(node, start, links.back_node, links.back_start, links.matrix)
    row = torch.repeat_interleave(
        torch.arange(rows.shape[0], device=rows.device), counts
    )
    backward = _sort_rows(node, row, n_nodes)
    return Links(node, start, backward[0], backward[1], links.matrix)


def count_ancestors(descendants: Links, like: Tensor) -> Tensor:
    """Return the number of mothers above each node, shape (n_nodes, 1)."""
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        exporting = is_exporting()
        if exporting:
            return descendants.matrix.sum(dim=0).unsqueeze(1) - 1.0
    if descendants.matrix.numel() > 0:
        return descendants.matrix.sum(dim=0).unsqueeze(1) - 1.0
    n_nodes = descendants.start.shape[0]
    counts = torch.bincount(descendants.node, minlength=n_nodes)
    return counts.to(like.dtype).unsqueeze(1) - 1.0


def _compress(row: Tensor, node: Tensor, n_nodes: int) -> Links:
    """Return the pairs (row, node) and, outside of scripts, their transpose."""
    forward = _sort_rows(row, node, n_nodes)
    empty = torch.empty(0, dtype=row.dtype, device=row.device)
    matrix = torch.empty(0, device=row.device)
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return Links(forward[0], forward[1], empty, empty, matrix)
    backward = _sort_rows(node, row, n_nodes)
    return Links(forward[0], forward[1], backward[0], backward[1], matrix)


def _sort_rows(row: Tensor, node: Tensor, n_nodes: int) -> tuple[Tensor, Tensor]:
    order = torch.sort(row, stable=True)[1]
    counts = torch.bincount(row, minlength=n_nodes)
    return node[order], torch.cumsum(counts, 0) - counts


def _reach_all(step: Tensor, generations: int, stop_early: bool) -> Links:
    """Return the links to all descendants: squaring doubles the generations.

    An exported network has the same steps for every event and cannot stop early.
    """
    rows = torch.arange(step.shape[0], device=step.device)
    reach = (rows.unsqueeze(1) == rows).to(step.dtype)
    generation = 1
    while generation <= generations:
        if stop_early and not bool(step.any()):
            break
        reach = reach + step @ reach
        step = step @ step
        generation *= 2
    return _hold(reach)


def _hold(matrix: Tensor) -> Links:
    empty = torch.empty(0, dtype=torch.int64, device=matrix.device)
    return Links(empty, empty, empty, empty, matrix)


def _sum_rows(x: Tensor, node: Tensor, start: Tensor) -> Tensor:
    return embedding_bag(node, x, start, mode="sum")


class _AddUp(torch.autograd.Function):
    """`_sum_rows`; its gradient is the sum over the transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, links: Links) -> Tensor:
        ctx.save_for_backward(links.back_node, links.back_start)
        return _sum_rows(x, links.node, links.start)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        node, start = ctx.saved_tensors
        return _sum_rows(gradient.contiguous(), node, start), None


def add_up(x: Tensor, links: Links) -> Tensor:
    """Return the sum over the linked nodes of each node, shape (n_nodes, n_units)."""
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        if links.matrix.numel() > 0:
            return links.matrix.to(x.dtype) @ x
        return _sum_rows(x, links.node, links.start)
    else:  # noqa: RET505 - TorchScript does not compile this branch
        if is_exporting() or links.matrix.numel() > 0:
            return links.matrix.to(x.dtype) @ x
        result: Tensor = _AddUp.apply(x, links)  # type: ignore[no-untyped-call]
        return result


def pool_sum(x: Tensor, offsets: Tensor) -> Tensor:
    """Return the sum over the nodes of each event; zeros for an event without nodes.

    Parameters
    ----------
    x : Tensor, shape (n_nodes, n_units)
    offsets : Tensor of int64, shape (n_events + 1,)

    Returns
    -------
    Tensor, shape (n_events, n_units)
    """
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        exporting = is_exporting()
        if exporting:
            return x.sum(dim=0, keepdim=True)
    if offsets.shape[0] == 2:
        return x.sum(dim=0, keepdim=True)
    rows = torch.arange(x.shape[0], device=x.device)
    return embedding_bag(rows, x, offsets[:-1], mode="sum")
