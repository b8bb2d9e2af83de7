"""A model file anew: the same weights and constants in the network code of today.

A model file carries the code of its network, so that what was made faster since it was
written does not reach it. Rebuilding it changes the code alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from smartfilter import __version__
from smartfilter.errors import ModelFileError
from smartfilter.events import EVENT_TYPES
from smartfilter.model_file import load_model, load_module, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from smartfilter.model_file import LoadedModel
    from smartfilter.model_info import ModelInfo

__all__ = ["TOLERANCE", "Rebuild", "rebuild_model"]

TOLERANCE = 1e-4
"""Largest difference of a logit: float32 rounding, of sums in another order."""

_SIZES = (*range(64), 300)
"""Particles of the events that are compared."""


class Rebuild(NamedTuple):
    """What was made: digests of both files and the largest difference of a logit."""

    old_digest: str
    digest: str
    difference: float


def rebuild_model(model: str | Path, output: str | Path) -> Rebuild:
    """Write a model file with the same weights and the network code of this version.

    Calibration, thresholds and provenance stay; ``training["rebuilt"]`` gains a record
    with the digest of the old file, the versions and the largest difference of a logit
    on random events, in a block and one by one.

    Parameters
    ----------
    model : str or Path
        As of `smartfilter.model_file.find_model`.
    output : str or Path
        Replaced if it exists; may be the model itself.

    Raises
    ------
    ModelFileError
        If the model cannot be read or built anew, or a logit differs by more than
        `TOLERANCE`: nothing is written then.
    """
    module, info = load_module(model)
    old = load_model(model)
    difference = _compare(old, module, info)
    if not difference <= TOLERANCE:
        raise ModelFileError(
            f"network '{info.network}': expected the logits of {old.path} to "
            f"{TOLERANCE:g}, got a difference of {difference:.3g}; this version computes "
            "something else: train again"
        )
    record = {
        "from_digest": old.digest,
        "version": __version__,
        "torch": torch.__version__,
        "largest_logit_difference": difference,
    }
    training = {
        **info.training,
        "rebuilt": [*info.training.get("rebuilt", []), record],
    }
    digest = save_model(output, module, replace(info, training=training))
    return Rebuild(old.digest, digest, difference)


@torch.inference_mode()
def _compare(old: LoadedModel, new: nn.Module, info: ModelInfo) -> float:
    """Return the largest difference of a logit on random events."""
    events = [_draw_event(n, seed, info) for seed, n in enumerate(_SIZES)]
    batches = [_join(events), *(_join([event]) for event in events)]
    return max(float((new(*b) - old(*b)).abs().max()) for b in batches)


def _draw_event(n: int, seed: int, info: ModelInfo) -> tuple[Tensor, ...]:
    """Return features, tokens, mothers and type of a random tree of n particles."""
    draw = torch.Generator().manual_seed(seed)
    share = torch.rand(n, generator=draw)
    mother = (share * torch.arange(n)).to(torch.int64)
    mother[:1] = -1
    return (
        torch.randn(n, len(info.features), generator=draw),
        torch.randint(info.vocabulary.n_tokens, (n,), generator=draw).to(torch.int32),
        mother,
        torch.tensor([seed % (len(EVENT_TYPES) + 1) - 1]),
    )


def _join(events: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Return events as the arguments of a network, see `smartfilter.models`."""
    x, pdg, mothers, event_type = zip(*events, strict=True)
    sizes = torch.tensor([0, *(len(mother) for mother in mothers)])
    offsets = torch.cumsum(sizes, 0)
    mother = [
        torch.where(m >= 0, m + first, m)
        for m, first in zip(mothers, offsets, strict=False)
    ]
    return (
        torch.cat(x),
        torch.cat(pdg),
        torch.cat(mother),
        offsets,
        torch.cat(event_type),
    )
