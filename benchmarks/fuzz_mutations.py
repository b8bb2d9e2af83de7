"""Ways to damage the bytes of a file; each takes a random generator and the bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

__all__ = ["MUTATIONS", "mutate"]

_GIT_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064x\nsize %d\n"
_LENGTHS = (0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0x40000000, 0x00FFFFFF, 0x10000, 0)
_HEADS = (
    b"root",
    b"PAR1",
    b"PK\x03\x04",
    b"HepMC::",
    b"\x89HDF\r\n\x1a\n",
    b"\x1f\x8b",
)


def _position(rng: Random, data: bytes) -> int:
    return rng.randrange(max(len(data), 1))


def _span(rng: Random, data: bytes) -> tuple[int, int]:
    first = _position(rng, data)
    return first, min(len(data), first + (1 << rng.randrange(1, 12)))


def _flip(rng: Random, data: bytes, first: int, last: int, n_bytes: int) -> bytes:
    """Change this many bytes between two positions, each to another value."""
    changed = bytearray(data)
    if last > first:
        for _ in range(n_bytes):
            changed[rng.randrange(first, last)] ^= rng.randrange(1, 256)
    return bytes(changed)


def _cut_to_a_head(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(256)]


def _cut_at_a_power_of_two(rng: Random, data: bytes) -> bytes:
    return data[: 1 << rng.randrange(max(len(data).bit_length(), 1))]


def _cut_anywhere(rng: Random, data: bytes) -> bytes:
    return data[: _position(rng, data)]


def _cut_the_last_bytes(rng: Random, data: bytes) -> bytes:
    return data[: -rng.randrange(1, 65)]


def _flip_a_bit(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    changed[_position(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flip_a_byte(rng: Random, data: bytes) -> bytes:
    return _flip(rng, data, 0, len(data), 1)


def _flip_bytes(rng: Random, data: bytes) -> bytes:
    return _flip(rng, data, 0, len(data), 16)


def _flip_in_the_head(rng: Random, data: bytes) -> bytes:
    return _flip(rng, data, 0, min(len(data), 512), rng.randrange(1, 5))


def _flip_in_the_tail(rng: Random, data: bytes) -> bytes:
    first = max(0, len(data) - 8192)
    return _flip(rng, data, first, len(data), rng.randrange(1, 5))


def _set_a_length(rng: Random, data: bytes) -> bytes:
    """Overwrite four bytes by an implausible length, of either byte order."""
    first = _position(rng, data)
    value = struct.pack(rng.choice("<>") + "I", rng.choice(_LENGTHS))
    return (data[:first] + value + data[first + 4 :])[: max(len(data), 4)]


def _set_a_length_in_the_tail(rng: Random, data: bytes) -> bytes:
    first = max(0, len(data) - 2048)
    return data[:first] + _set_a_length(rng, data[first:])


def _zero_a_block(rng: Random, data: bytes) -> bytes:
    first, last = _span(rng, data)
    return data[:first] + bytes(last - first) + data[last:]


def _delete_a_block(rng: Random, data: bytes) -> bytes:
    first, last = _span(rng, data)
    return data[:first] + data[last:]


def _repeat_a_block(rng: Random, data: bytes) -> bytes:
    first, last = _span(rng, data)
    return data[:last] + data[first:]


def _move_a_block(rng: Random, data: bytes) -> bytes:
    first, last = _span(rng, data)
    rest = data[:first] + data[last:]
    place = _position(rng, rest)
    return rest[:place] + data[first:last] + rest[place:]


def _append_bytes(rng: Random, data: bytes) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 100))


def _double(rng: Random, data: bytes) -> bytes:  # noqa: ARG001
    return data + data


def _replace_the_head(rng: Random, data: bytes) -> bytes:
    head = rng.choice(_HEADS)
    return head + data[len(head) :]


def _point_to_git_lfs(rng: Random, data: bytes) -> bytes:
    return _GIT_LFS % (rng.getrandbits(256), len(data))


def _replace_by_noise(rng: Random, data: bytes) -> bytes:
    return data[: rng.choice((0, 4, 8))] + rng.randbytes(rng.randrange(4096))


MUTATIONS: Mapping[str, Callable[[Random, bytes], bytes]] = {
    "cut to less than 256 bytes": _cut_to_a_head,
    "cut at a power of two": _cut_at_a_power_of_two,
    "cut anywhere": _cut_anywhere,
    "cut by up to 64 bytes": _cut_the_last_bytes,
    "one bit flipped": _flip_a_bit,
    "one byte flipped": _flip_a_byte,
    "16 bytes flipped": _flip_bytes,
    "bytes flipped in the head": _flip_in_the_head,
    "bytes flipped in the tail": _flip_in_the_tail,
    "implausible length": _set_a_length,
    "implausible length in the tail": _set_a_length_in_the_tail,
    "block zeroed": _zero_a_block,
    "block deleted": _delete_a_block,
    "block repeated": _repeat_a_block,
    "block moved": _move_a_block,
    "bytes appended": _append_bytes,
    "file twice in one": _double,
    "head of another format": _replace_the_head,
    "git-LFS pointer": _point_to_git_lfs,
    "noise behind the head": _replace_by_noise,
}
"""Name -> damage."""


def mutate(rng: Random, data: bytes) -> tuple[str, bytes]:
    """Return the name of a damage and the damaged bytes."""
    name = rng.choice(list(MUTATIONS))
    return name, MUTATIONS[name](rng, data)
