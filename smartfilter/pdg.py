"""PDG codes to tokens (rows of an embedding), and the published vocabularies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.errors import UsageError, describe_unknown

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

    def __post_init__(self) -> None:
        """Check the codes.

        Raises
        ------
        ValueError
            If a code is there twice or not in the range of int32, or the token of
            unknown codes is negative.
        """
        limits = np.iinfo(np.int32)
        if not all(limits.min <= code <= limits.max for code in self.codes):
            raise ValueError("PDG vocabulary: a code is not in the range of int32")
        if len(set(self.codes)) != len(self.codes):
            raise ValueError("PDG vocabulary: a code is there twice")
        if self.unknown < 0:
            raise ValueError(f"PDG vocabulary: token {self.unknown} of unknown codes")

    @property
    def n_tokens(self) -> int:
        """Number of rows that an embedding needs."""
        return max(len(self.codes), self.unknown + 1)

    @cached_property
    def _table(self) -> _Table:
        return _build_table(np.array(self.codes, dtype=np.int32))

    def encode(self, pdg: NDArray[Any]) -> NDArray[np.int32]:
        """Return the int32 token of each PDG code (of the range of int32), same shape."""
        pdg = pdg.astype(np.int32, copy=False)
        table = self._table
        slot = table.find(pdg)
        known = table.codes[slot] == pdg
        return np.where(known, table.tokens[slot], np.int32(self.unknown))


class _Table(NamedTuple):
    """A hash table in which every code has a slot of its own.

    Multiplicative hashing (Knuth, The Art of Computer Programming 3, section 6.4): per
    particle some fifteen times faster than a search in a sorted list.
    """

    multiplier: np.uint32
    shift: np.uint32
    codes: NDArray[np.int32]
    tokens: NDArray[np.int32]

    def find(self, pdg: NDArray[np.int32]) -> NDArray[np.uint32]:
        """Return the slot of each code."""
        return _find_slot(pdg, self.multiplier, self.shift)


def _find_slot(
    pdg: NDArray[np.int32], multiplier: np.uint32, shift: np.uint32
) -> NDArray[np.uint32]:
    """Return the upper bits of the product modulo 2^32."""
    return (pdg.view(np.uint32) * multiplier) >> shift


def _build_table(codes: NDArray[np.int32]) -> _Table:
    """Try multipliers, then larger tables, until no two codes share a slot."""
    rng = np.random.default_rng(0)
    for n_bits in range(len(codes).bit_length() + 3, 33):
        shift = np.uint32(32 - n_bits)
        for multiplier in rng.integers(0, 2**31, 100, dtype=np.uint32) * 2 + 1:
            slot = _find_slot(codes, multiplier, shift)
            if len(np.unique(slot)) == len(codes):
                # No code finds itself in an empty slot: the first code lies elsewhere.
                filled = np.full(1 << n_bits, codes[0], dtype=np.int32)
                filled[slot] = codes
                tokens = np.zeros(1 << n_bits, dtype=np.int32)
                tokens[slot] = np.arange(len(codes))
                return _Table(multiplier, shift, filled, tokens)
    raise AssertionError("an odd multiplier keeps 32 bits apart")


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
        raise UsageError(describe_unknown("PDG vocabulary", name, VOCABULARIES))
    size, unknown = VOCABULARIES[name]
    file = resources.files("smartfilter") / "data" / f"pdg-tokens-{size}.json"
    return Vocabulary(tuple(json.loads(file.read_text(encoding="utf-8"))), unknown)
