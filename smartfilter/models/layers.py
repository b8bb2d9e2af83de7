r"""Building blocks of the networks: graph structure, convolution, pooling, scaling.

A batch is one flat graph of disconnected events. ``mother`` holds for each node the
row of its mother in the batch, -1 for none; a node that names itself has none either.
``offsets`` separates the events: nodes of event ``i`` are the rows
``offsets[i]:offsets[i + 1]``. Everything here can be scripted.

Under ``torch.export`` (ONNX) a batch is one event, and the same sums are taken with
operators that ONNX has, in shapes that depend on the number of nodes alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

__all__ = [
    "EventTypeEmbedding",
    "GraphConvolution",
    "Neighbours",
    "Standardise",
    "compress",
    "count_nodes",
    "find_neighbours",
    "is_exporting",
    "make_head",
    "mean_pool",
    "propagate",
    "set_standardisation",
]

DENSE_NODES = 128
"""Most nodes of a batch whose adjacency is held as a full matrix.

A few calls of torch replace some forty: what a single event costs. Measured with the
shipped network on one core, the two ways cost the same at 150 to 200 nodes.
"""

# torch before 2.7 has no such function, and no export that would need it.
is_exporting = getattr(torch.compiler, "is_exporting", bool)


class Neighbours(NamedTuple):
    """The normalised adjacency of a batch in compressed rows; once per batch.

    ``node`` (n_entries,) holds the column and ``weight`` (n_entries,) the value of each
    entry, ``start`` (n_nodes,) the first entry of each row. Under ``torch.export``
    ``start`` (n_entries,) is the row of each entry. Up to `DENSE_NODES` nodes ``weight``
    (n_nodes, n_nodes) is the matrix itself and the others are empty.
    """

    node: Tensor
    start: Tensor
    weight: Tensor


def find_neighbours(
    mother: Tensor, like: Tensor, dense_nodes: int = DENSE_NODES
) -> Neighbours:
    r"""Return :math:`D^{-1/2} A D^{-1/2}` of the mother-daughter graph.

    A holds both directions of each mother-daughter edge and exactly one self-loop per
    node; D is its diagonal matrix of row sums (Kipf, Welling, ICLR 2017,
    arXiv:1609.02907, equation 2).

    Parameters
    ----------
    mother : Tensor of int64, shape (n_nodes,)
        Row of the mother in the batch; -1 or the node's own row: none.
    like : Tensor of float
        Gives the dtype of the weights.
    dense_nodes : int
        Most nodes for which the matrix is filled, see `Neighbours`; -1: never.
    """
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        exporting = is_exporting()
        if exporting:
            return _list_neighbours(mother, like)
    n_nodes = mother.shape[0]
    rows = torch.arange(n_nodes, device=mother.device)
    if n_nodes <= dense_nodes:
        return _fill_neighbours(mother, rows, like)
    has_mother = (mother >= 0) & (mother != rows)
    child = torch.nonzero(has_mother).squeeze(1)
    parent, order = torch.sort(mother[child], stable=True)
    daughters = torch.bincount(parent, minlength=n_nodes)
    upward = has_mother.to(torch.int64)
    degree = 1 + upward + daughters
    start = torch.cumsum(degree, 0) - degree
    # Each row lists the node itself, its mother, then its daughters.
    node = torch.empty(n_nodes + 2 * child.shape[0], dtype=torch.int64).to(
        mother.device
    )
    node[start] = rows
    node[start[child] + 1] = mother[child]
    first_daughter = torch.cumsum(daughters, 0) - daughters
    rank = torch.arange(parent.shape[0], device=mother.device) - first_daughter[parent]
    node[(start + 1 + upward)[parent] + rank] = child[order]
    scale = torch.rsqrt(degree.to(like.dtype))
    weight = torch.repeat_interleave(scale, degree) * scale[node]
    return Neighbours(node, start, weight)


def _fill_neighbours(mother: Tensor, rows: Tensor, like: Tensor) -> Neighbours:
    """Return `find_neighbours` as a full matrix."""
    n_nodes = mother.shape[0]
    parent = torch.where(mother >= 0, mother, rows)
    entries = torch.cat(
        [rows * (n_nodes + 1), rows * n_nodes + parent, parent * n_nodes + rows]
    )
    matrix = torch.zeros(n_nodes * n_nodes, dtype=like.dtype, device=like.device)
    matrix = matrix.index_fill_(0, entries, 1.0).view(n_nodes, n_nodes)
    scale = matrix.sum(dim=1).rsqrt_()
    weight = matrix.mul_(scale).mul_(scale.unsqueeze(1))
    nothing = rows[:0]
    return Neighbours(nothing, nothing, weight)


def _list_neighbours(mother: Tensor, like: Tensor) -> Neighbours:
    """Return the entries of `find_neighbours` row by row in three parts of n_nodes.

    The nodes themselves, up to the mother, down from the mother; without a mother the
    last two name the node itself with weight 0.
    """
    rows = torch.arange(mother.shape[0], device=mother.device)
    has_mother = (mother >= 0) & (mother != rows)
    parent = torch.where(has_mother, mother, rows)
    upward = has_mother.to(like.dtype)
    scale = torch.rsqrt((1 + upward).index_add(0, parent, upward))
    edge = upward * scale * scale[parent]
    return Neighbours(
        node=torch.cat([rows, parent, rows]),
        start=torch.cat([rows, rows, parent]),
        weight=torch.cat([scale * scale, edge, edge]),
    )


def _sum_neighbours(x: Tensor, node: Tensor, start: Tensor, weight: Tensor) -> Tensor:
    return embedding_bag(node, x, start, mode="sum", per_sample_weights=weight)


class _Propagate(torch.autograd.Function):
    """`_sum_neighbours` with its gradient: the matrix is symmetric, so the same again.

    Two and a half times as fast as the gradient that torch derives.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, node: Tensor, start: Tensor, weight: Tensor
    ) -> Tensor:
        ctx.save_for_backward(node, start, weight)
        return _sum_neighbours(x, node, start, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        node, start, weight = ctx.saved_tensors
        summed = _sum_neighbours(gradient.contiguous(), node, start, weight)
        return summed, None, None, None


def propagate(x: Tensor, neighbours: Neighbours) -> Tensor:
    """Return the normalised adjacency times x, shape (n_nodes, n_units)."""
    node, start, weight = neighbours.node, neighbours.start, neighbours.weight
    if weight.dim() == 2:
        return weight @ x
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return _sum_neighbours(x, node, start, weight)
    else:  # noqa: RET505 - TorchScript does not compile this branch
        if is_exporting():
            terms = x[node] * weight.unsqueeze(1)
            return torch.zeros_like(x).index_add(0, start, terms)
        result: Tensor = _Propagate.apply(x, node, start, weight)  # type: ignore[no-untyped-call]
        return result


def count_nodes(offsets: Tensor, like: Tensor) -> Tensor:
    """Return the number of nodes per event in the dtype of ``like``, (n_events, 1)."""
    return (offsets[1:] - offsets[:-1]).unsqueeze(1).to(like.dtype)


def mean_pool(x: Tensor, offsets: Tensor) -> Tensor:
    """Return the mean over the nodes of each event; zeros for an event without nodes.

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
            return x.sum(dim=0, keepdim=True) / count_nodes(offsets, x).clamp(min=1)
    if offsets.shape[0] == 2:
        return x.sum(dim=0, keepdim=True) / max(x.shape[0], 1)
    rows = torch.arange(x.shape[0], device=x.device)
    return embedding_bag(rows, x, offsets[:-1], mode="mean")


class GraphConvolution(nn.Module):
    r"""Graph convolution :math:`D^{-1/2} A D^{-1/2} (X W + b)`.

    The bias is inside, as in the project's source documents; torch-geometric's
    ``GCNConv`` adds it after the propagation. With b = 0 the two agree.

    Parameters
    ----------
    n_inputs, n_outputs : int
    residual : bool
        Add a linear map of the input, not propagated.
    """

    def __init__(
        self, n_inputs: int, n_outputs: int, *, residual: bool = False
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(n_inputs, n_outputs)
        self.skip = nn.Linear(n_inputs, n_outputs) if residual else None

    def forward(self, x: Tensor, neighbours: Neighbours) -> Tensor:
        """Return the convolved nodes, shape (n_nodes, n_outputs)."""
        y = propagate(self.linear(x), neighbours)
        if self.skip is not None:
            y = y.addmm_(x, self.skip.weight.t()).add_(self.skip.bias)
        return y


class EventTypeEmbedding(nn.Module):
    """Vectors of the event types; that of an unknown type is zero and stays so.

    All vectors start at zero, so that a type without training events is one that is
    unknown.

    Parameters
    ----------
    n_types, n_outputs : int
    """

    def __init__(self, n_types: int, n_outputs: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_types + 1, n_outputs, padding_idx=0)
        nn.init.zeros_(self.embedding.weight)

    def forward(self, event_type: Tensor) -> Tensor:
        """Return the vectors, shape (n_events, n_outputs); -1 is the unknown type."""
        vectors: Tensor = self.embedding(event_type + 1)
        return vectors


class Standardise(nn.Module):
    """Subtract a mean and divide by a deviation: constants of the training set.

    Parameters
    ----------
    n_features : int
    compress : bool
        First take asinh(x / scale), scale the median of the non-zero |x|: linear for
        usual values, logarithmic for large ones. Vertices and times need it: a few
        far ones give them a deviation of a hundred times their usual size.
    """

    if TYPE_CHECKING:  # TorchScript cannot read these annotations
        scale: Tensor
        mean: Tensor
        deviation: Tensor

    def __init__(self, n_features: int, *, compress: bool = False) -> None:
        super().__init__()
        self.compress = compress
        self.register_buffer("scale", torch.ones(n_features))
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("deviation", torch.ones(n_features))

    @torch.no_grad()
    def set_constants(self, x: Tensor) -> None:
        """Take the constants from nodes, (n_nodes, n_features); deviation 0 becomes 1."""
        if self.compress:
            size = torch.where(x == 0, torch.nan, x.abs())
            self.scale.copy_(_positive(size.nanmedian(dim=0).values))
            x = torch.asinh(x / self.scale)
        x = x.to(torch.float64)
        self.mean.copy_(x.mean(dim=0))
        self.deviation.copy_(_positive(x.std(dim=0, correction=0)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the standardised features, shape (n_nodes, n_features)."""
        if self.compress:
            x = compress(x / self.scale)
        return (x - self.mean) / self.deviation


def compress(x: Tensor, small: int = DENSE_NODES) -> Tensor:
    """Return asinh(x) to rounding; numbers beyond 1e38 count as 1e38 in large batches.

    There it is written with functions that torch vectorises on a CPU: four times as
    fast as its asinh.
    """
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        exporting = is_exporting()
        if exporting:
            return torch.asinh(x)
    if x.shape[0] <= small:
        return torch.asinh(x)
    size = x.abs().clamp(max=1e38)
    above = 1 + torch.hypot(size, torch.ones_like(size))
    return torch.copysign(torch.log1p(size + size * (size / above)), x)


def _positive(constants: Tensor) -> Tensor:
    """Return the constants with 1 in place of 0 and NaN, which cannot divide."""
    return torch.where(constants > 0, constants, torch.ones_like(constants))


def set_standardisation(network: nn.Module, x: Tensor) -> None:
    """Give every `Standardise` of a network the constants of these nodes.

    Parameters
    ----------
    network : nn.Module
    x : Tensor, shape (n_nodes, n_features)
        Nodes of the training set.
    """
    for module in network.modules():
        if isinstance(module, Standardise):
            module.set_constants(x)


def make_head(n_inputs: int, n_units: int, n_outputs: int) -> nn.Sequential:
    """Return Linear, ReLU, Linear: from a pooled event to its logits."""
    return nn.Sequential(
        nn.Linear(n_inputs, n_units), nn.ReLU(), nn.Linear(n_units, n_outputs)
    )
