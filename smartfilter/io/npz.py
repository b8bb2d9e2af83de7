"""Arrays of an npz file, read block by block from front to back.

An npz file is a zip archive of npy files. Each is a stream here, decompressed as it is
read, so that memory does not grow with the file whether it is compressed or not; the
check sum of an array is compared when its end is reached. An array in Fortran order is
the exception: its rows are spread over the file, so that it is read at once.
"""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from smartfilter.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["ArrayStream", "NpzArchive"]

_SUFFIX = ".npy"


class ArrayStream:
    """One array of an npz file; rows are read once, in order.

    Parameters
    ----------
    archive : NpzArchive
    name : str
        Key of the array.

    Raises
    ------
    InputError
        If the array holds objects.
    """

    def __init__(self, archive: NpzArchive, name: str) -> None:
        self._name, self._path = name, archive.path
        self._stream = archive.open(name)
        version = np.lib.format.read_magic(self._stream)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        self.shape: tuple[int, ...]
        self.dtype: np.dtype[Any]
        self.shape, is_fortran, self.dtype = read_header(self._stream)
        if self.dtype.hasobject:
            raise InputError(
                f"array '{name}': expected numbers, got Python objects in "
                f"'{archive.path}'; write the file again"
            )
        self._row_size = int(np.prod(self.shape[1:], dtype=np.int64))
        self._columns_first: NDArray[Any] | None = None
        self._next_row = 0
        if is_fortran and len(self.shape) > 1:
            flat = self._read_flat(int(np.prod(self.shape, dtype=np.int64)))
            self._columns_first = flat.reshape(self.shape, order="F")

    def _read_flat(self, size: int) -> NDArray[Any]:
        content = self._stream.read(size * self.dtype.itemsize)
        if len(content) < size * self.dtype.itemsize:
            raise InputError(
                f"array '{self._name}': expected shape {self.shape}, got fewer numbers "
                f"in '{self._path}'; the file is truncated: make or copy it again"
            )
        return np.frombuffer(content, dtype=self.dtype)

    def read(self, n_rows: int) -> NDArray[Any]:
        """Return the next rows, at most ``n_rows``, shape (n, ...); read-only."""
        n_rows = min(n_rows, self.shape[0] - self._next_row)
        start, self._next_row = self._next_row, self._next_row + n_rows
        if self._columns_first is not None:
            return self._columns_first[start : self._next_row]
        flat = self._read_flat(n_rows * self._row_size)
        return flat.reshape(n_rows, *self.shape[1:])


class NpzArchive:
    """An npz file; a context manager.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    zipfile.BadZipFile
        If this is not a zip archive, or one without its end.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._zip = zipfile.ZipFile(path)
        self._streams = ExitStack()

    @property
    def names(self) -> tuple[str, ...]:
        """Keys of the arrays, as ``numpy.load`` has them."""
        return tuple(name.removesuffix(_SUFFIX) for name in self._zip.namelist())

    def open(self, name: str) -> Any:
        """Return the npy file of an array; closed together with the archive."""
        return self._streams.enter_context(self._zip.open(name + _SUFFIX))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._streams.close()
        self._zip.close()
