"""The ways in which the detector compiles its numerical kernels.

Compiled code is cached on disk per source file. Numba does not see that a function
*called* in another file has changed: after editing a kernel, delete the files
``__pycache__/*.nb*`` of this folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from smartfilter.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from numba import njit
except ImportError as error:
    raise MissingPackageError("numba", "pipeline") from error

__all__ = ["inner_kernel", "kernel"]

_Function = TypeVar("_Function", bound="Callable[..., Any]")

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(function: _Function) -> _Function:
    """Compile a function on its first call.

    It is cached on disk, does not hold the interpreter lock, divides as IEEE says and
    never re-orders floating-point sums, so results are reproducible.
    """
    compiled: _Function = njit(**_OPTIONS)(function)
    return compiled


def inner_kernel(function: _Function) -> _Function:
    """Compile a function that only kernels call: the same, but faster to compile."""
    compiled: _Function = njit(**_OPTIONS, **_INNER)(function)
    return compiled
