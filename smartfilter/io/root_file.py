"""ROOT files opened for reading with uproot, in the thread that asks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uproot

from smartfilter.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["open_root"]


@contextmanager
def open_root(path: str | Path, *, is_remote: bool = False) -> Iterator[Any]:
    """Open a ROOT file.

    uproot would read local files through fsspec, with three threads and a socket of
    its own, which takes twice as long; a mapped file that shrinks ends the interpreter.

    Parameters
    ----------
    path : str or Path
        Taken literally: a colon does not name a tree.
    is_remote : bool
        Whether it is a URL, which goes through fsspec.

    Yields
    ------
    uproot.ReadOnlyDirectory

    Raises
    ------
    InputError
        If the file is shorter than its header says.
    """
    plain = {"handler": uproot.MultithreadedFileSource, "use_threads": False}
    with uproot.open(
        {str(path): None},
        object_cache=None,
        array_cache=None,
        **({} if is_remote else plain),
    ) as file:
        source, end = file.file.source, int(file.file.fEND)
        if not is_remote and source.num_bytes < end:
            raise InputError(
                f"file '{path}': expected {end} bytes as its header says, got "
                f"{source.num_bytes}; it is truncated: make or copy it again"
            )
        yield file
