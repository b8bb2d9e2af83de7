"""PDG codes to tokens (rows of an embedding), and the published vocabularies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["VOCABULARIES", "Vocabulary", "load_vocabulary"]


@dataclass(frozen=True)
class Vocabulary:
    """A list of PDG codes whose position is the token.

    Parameters
    ----------
    codes : tuple of int
        PDG codes, each once.
    unknown : int
        Token of a code that is not in the list: a position of the list, or its
        length for a row of its own.
    """

    codes: tuple[int, ...]
    unknown: int

    @property
    def n_tokens(self) -> int:
        """Number of rows that an embedding needs."""
        return max(len(self.codes), self.unknown + 1)

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        codes = np.array(self.codes, dtype=np.int64)
        order = np.argsort(codes, kind="stable")
        return codes[order], order.astype(np.int32)

    def encode(self, pdg: NDArray[Any]) -> NDArray[np.int32]:
        """Return the int32 token of each PDG code, same shape."""
        codes, tokens = self._sorted
        position = np.minimum(np.searchsorted(codes, pdg), len(codes) - 1)
        known = codes[position] == pdg
        return np.where(known, tokens[position], np.int32(self.unknown))


# Token of an unknown code: the official module maps it to 0 (SmartBackgroundModule.cc);
# the embedding of the published data set has one row more than codes, unused there.
VOCABULARIES = {"smart_background": (562, 0), "published": (540, 540)}
"""Name -> (number of codes, token of unknown codes)."""


@lru_cache
def load_vocabulary(name: str) -> Vocabulary:
    """Return a published vocabulary.

    Parameters
    ----------
    name : str
        ``smart_background``, the default list of the official SmartBackground module
        (562 codes, token 0 also stands for unknown), or ``published``, that of the
        public SmartBKG data set and of the legacy filter (540 codes).

    Raises
    ------
    UsageError
        If there is no such vocabulary.
    """
    if name not in VOCABULARIES:
        expected = ", ".join(VOCABULARIES)
        raise UsageError(f"PDG vocabulary: expected one of {expected}, got '{name}'")
    size, unknown = VOCABULARIES[name]
    file = resources.files("smartfilter") / "data" / f"pdg-tokens-{size}.json"
    return Vocabulary(tuple(json.loads(file.read_text())), unknown)
