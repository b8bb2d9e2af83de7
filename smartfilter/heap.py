"""What glibc does with memory that is free again; elsewhere nothing."""

from __future__ import annotations

import ctypes
import os
from typing import Any

__all__ = ["keep_memory", "release_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Options of ``mallopt(3)``."""


def keep_memory() -> None:
    """Let glibc keep what batches give back, also where Dask forbids it.

    Dask starts workers with ``MALLOC_TRIM_THRESHOLD_``, and every batch takes its pages
    from the system anew: a worker needs 1.7 (``gcn``) to 2.8 times (``subtree``) the
    processor time. The values are those that glibc comes to by itself on 64 bit
    (``mallopt(3)``, ``DEFAULT_MMAP_THRESHOLD_MAX`` and twice that).
    """
    mallopt = _find("mallopt")
    if mallopt is not None and "MALLOC_TRIM_THRESHOLD_" in os.environ:
        mallopt(_MMAP_THRESHOLD, 32 << 20)
        mallopt(_TRIM_THRESHOLD, 64 << 20)


def release_memory() -> None:
    """Give the system what is free of this process's memory.

    Between work on chunks of one size and of another: glibc keeps what the first
    took, in pieces that the second does not fit into.
    """
    trim = _find("malloc_trim")
    if trim is not None:
        trim(0)


def _find(name: str) -> Any:
    """Return a function of the C library; None if it is another one's."""
    return getattr(ctypes.CDLL(None), name, None)
