"""The project's own network: what each particle leaves behind, gathered along the tree."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from smartfilter.errors import UsageError
from smartfilter.events import EVENT_TYPES
from smartfilter.models.kinematics import N_EVENT, N_NODE, Kinematics
from smartfilter.models.layers import EventTypeEmbedding, count_nodes, is_exporting
from smartfilter.models.scaling import RunningStandardise
from smartfilter.models.trees import (
    Links,
    add_up,
    find_daughters,
    find_descendants,
    find_mother,
    pool_sum,
    select_rows,
)

__all__ = ["SubtreeNetwork"]

_N_FEATURES = 8


class _Block(nn.Module):
    """Add what the subtree, the daughters and the mother know, through two layers."""

    def __init__(self, n_units: int, n_hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(n_units)
        self.own = nn.Linear(n_units, n_hidden)
        self.subtree = nn.Linear(n_units, n_units // 2)
        self.near = nn.Linear(n_units, n_units // 2)
        self.gathered = nn.Linear(3 * (n_units // 2), n_hidden)
        self.output = nn.Linear(n_hidden, n_units)

    def forward(
        self, h: Tensor, descendants: Links, daughters: Links, mother: Links
    ) -> Tensor:
        """Return the nodes, shape (n_nodes, n_units)."""
        z = self.norm(h)
        near = self.near(z)
        below = torch.nn.functional.gelu(self.subtree(z))
        gathered = torch.cat(
            [
                0.3 * add_up(below, descendants),
                0.5 * add_up(near, daughters),
                add_up(near, mother),
            ],
            dim=1,
        )
        hidden = torch.nn.functional.gelu(self.own(z) + self.gathered(gathered))
        added: Tensor = h + self.output(hidden)
        return added


class _AttentionPool(nn.Module):
    """Weighted means and sums over the nodes of an event, and over the subtree of each B.

    Every head has its own weights.
    """

    def __init__(self, n_units: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.score = nn.Linear(n_units, n_heads)
        self.value = nn.Linear(n_units, n_units)
        self.beauty = nn.Linear(3 * n_units, n_units)

    def forward(
        self, h: Tensor, descendants: Links, beauty: Tensor, offsets: Tensor
    ) -> Tensor:
        """Return what is gathered, shape (n_events, 4 * n_units); zeros without nodes."""
        value = self.value(h)
        width = value.shape[1] // self.n_heads
        weight = torch.exp(self.score(h).clamp(-8.0, 8.0))
        spread = weight.repeat_interleave(width, dim=1)
        terms = torch.cat([spread * value, value, weight], dim=1)
        event = self._divide(pool_sum(terms, offsets), 0.1)
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            exporting = is_exporting()
            if exporting:
                return torch.cat(
                    [event, self._join_all(terms, h, descendants, beauty)], dim=1
                )
        if offsets.shape[0] == 2 and descendants.matrix.numel() > 0:
            return torch.cat(
                [event, self._join_all(terms, h, descendants, beauty)], dim=1
            )
        rows = torch.nonzero(beauty.squeeze(1)).squeeze(1)
        below = self._divide(add_up(terms, select_rows(descendants, rows)), 0.2)
        one = self._describe(below, h[rows])
        both = torch.cat([one, one.square()], dim=1)
        of_event = torch.searchsorted(rows, offsets)
        return torch.cat([event, pool_sum(both, of_event)], dim=1)

    def _join_all(
        self, terms: Tensor, h: Tensor, descendants: Links, beauty: Tensor
    ) -> Tensor:
        """Return the sums over the Bs of a single event, without looking for them."""
        below = self._divide(add_up(terms, descendants), 0.2)
        one = self._describe(below, h) * beauty
        return torch.cat([one, one.square()], dim=1).sum(dim=0, keepdim=True)

    def _divide(self, sums: Tensor, scale: float) -> Tensor:
        n_units = (sums.shape[1] - self.n_heads) // 2
        norm = sums[:, 2 * n_units :].repeat_interleave(n_units // self.n_heads, dim=1)
        mean = sums[:, :n_units] / norm.clamp(min=1e-6)
        return torch.cat([mean, scale * sums[:, n_units : 2 * n_units]], dim=1)

    def _describe(self, below: Tensor, h: Tensor) -> Tensor:
        return torch.nn.functional.gelu(self.beauty(torch.cat([below, h], dim=1)))


class SubtreeNetwork(nn.Module):
    """Detector-level features of subtrees, blocks along the tree, readout per B.

    Node features are those of `smartfilter.models.kinematics.Kinematics` and an embedding
    of the PDG code. Each block adds to a node a function of itself, of a learned
    sum over all its descendants, of its daughters and of its mother. The readout
    joins attention pooling, a sum, the B mesons and features of the event.

    Parameters
    ----------
    n_features : int
        8, in the order of the preset ``smart_background``.
    n_tokens : int
        Rows of the PDG embedding.
    n_skims : int
        Outputs.
    vocabulary : str
        Of the tokens.
    n_embedding : int
        Width of the PDG embedding.
    n_units : int
        Width of the nodes, divisible by 2 and by ``n_heads``.
    n_hidden : int
        Width of the hidden layer of a block.
    n_blocks : int
    n_heads : int
        Of the attention pooling.
    n_readout : int
        Width of the hidden layer of the head.
    n_event_type : int
        Width of the embedding of the event type.
    standardise : bool
        Whether features of nodes and events are standardised, which speeds up the
        training.

    Raises
    ------
    UsageError
        If the features, tokens or widths do not fit.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_tokens: int,
        n_skims: int = 1,
        vocabulary: str = "smart_background",
        n_embedding: int = 16,
        n_units: int = 64,
        n_hidden: int = 96,
        n_blocks: int = 2,
        n_heads: int = 4,
        n_readout: int = 128,
        n_event_type: int = 8,
        standardise: bool = False,
    ) -> None:
        super().__init__()
        if n_features != _N_FEATURES:
            raise UsageError(
                f"features of network 'subtree': expected {_N_FEATURES}, "
                f"got {n_features}"
            )
        if n_units % 2 or n_units % n_heads:
            raise UsageError(
                f"n_units: expected a multiple of 2 and of n_heads = {n_heads}, "
                f"got {n_units}"
            )
        self.kinematics = Kinematics(vocabulary, n_tokens)
        self.scale_node = RunningStandardise(N_NODE) if standardise else None
        self.scale_event = RunningStandardise(N_EVENT) if standardise else None
        self.embedding = nn.Embedding(n_tokens, n_embedding)
        self.input = nn.Linear(N_NODE + n_embedding, n_units)
        self.blocks = nn.ModuleList(_Block(n_units, n_hidden) for _ in range(n_blocks))
        self.norm = nn.LayerNorm(n_units)
        self.pool = _AttentionPool(n_units, n_heads)
        self.event_type = EventTypeEmbedding(len(EVENT_TYPES), n_event_type)
        n_pooled = 4 * n_units + N_EVENT + 1 + n_event_type
        self.head = nn.Sequential(
            nn.Linear(n_pooled, n_readout),
            nn.GELU(),
            nn.Linear(n_readout, n_readout),
            nn.GELU(),
            nn.Linear(n_readout, n_skims),
        )

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        """Return logits, see `smartfilter.models`."""
        descendants = find_descendants(mother, x)
        daughters = find_daughters(mother, x)
        above = find_mother(mother, x)
        node, event, beauty = self.kinematics(
            x, pdg, descendants, daughters, above, offsets
        )
        if self.scale_node is not None:
            node = self.scale_node(node)
        if self.scale_event is not None:
            event = self.scale_event(event)
        h = self.input(torch.cat([node, self.embedding(pdg)], dim=1))
        for block in self.blocks:
            h = block(h, descendants, daughters, above)
        h = self.norm(h)
        pooled = torch.cat(
            [
                self.pool(h, descendants, beauty, offsets),
                event,
                torch.log1p(count_nodes(offsets, x)),
                self.event_type(event_type),
            ],
            dim=1,
        )
        logits: Tensor = self.head(pooled)
        return logits
