"""Random numbers inside kernels: one small, independent stream per event.

The generator is xoshiro256++ 1.0, its state filled by splitmix64 (Blackman, Vigna,
ACM Trans. Math. Softw. 47 (2021) 36, doi:10.1145/3460772; Steele, Lea, Flood, OOPSLA
2014, doi:10.1145/2660193.2660195). A state is an array of four uint64 words; seeding
costs four multiplications, not the 624 words of the Mersenne twister.
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from smartfilter.pipeline.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = NDArray[np.uint64]

__all__ = [
    "exponential",
    "next_word",
    "normal",
    "normal_pair",
    "poisson",
    "seed_stream",
    "uniform",
]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_11, _17, _19, _23, _27 = (np.uint64(n) for n in (11, 17, 19, 23, 27))
_30, _31, _41, _45 = (np.uint64(n) for n in (30, 31, 41, 45))
_TO_UNIT = 2.0**-53


@kernel
def seed_stream(state: State, seed: np.uint64) -> None:
    """Fill the four words of a state from one, by splitmix64."""
    word = seed
    for i in range(4):
        word += _GOLDEN
        mixed = (word ^ (word >> _30)) * _MIX_1
        mixed = (mixed ^ (mixed >> _27)) * _MIX_2
        state[i] = mixed ^ (mixed >> _31)


@kernel
def next_word(state: State) -> np.uint64:
    """Return the next 64 random bits (xoshiro256++)."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    result: np.uint64 = ((total << _23) | (total >> _41)) + s0
    shifted = s1 << _17
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    state[0], state[1], state[2] = s0, s1, s2
    state[3] = (s3 << _45) | (s3 >> _19)
    return result


@kernel
def uniform(state: State) -> float:
    """Return a number uniform in [0, 1), of 53 bits."""
    return np.float64(next_word(state) >> _11) * _TO_UNIT


@kernel
def exponential(state: State) -> float:
    """Return a number from exp(-x), x >= 0."""
    return -log(1.0 - uniform(state))


@kernel
def normal_pair(state: State) -> tuple[float, float]:
    """Return two independent standard normal numbers.

    Marsaglia's polar method (Marsaglia, Bray, SIAM Rev. 6 (1964) 260).
    """
    while True:
        u = 2.0 * uniform(state) - 1.0
        v = 2.0 * uniform(state) - 1.0
        square = u * u + v * v
        if 0.0 < square < 1.0:
            break
    scale = sqrt(-2.0 * log(square) / square)
    return u * scale, v * scale


@kernel
def normal(state: State) -> float:
    """Return a standard normal number."""
    return normal_pair(state)[0]


@kernel
def poisson(state: State, mean: float) -> int:
    """Return a Poisson number (product of uniforms: for means below about 30)."""
    limit = exp(-mean)
    product = uniform(state)
    count = 0
    while product > limit:
        count += 1
        product *= uniform(state)
    return count
