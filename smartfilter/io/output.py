"""Output files that appear under their name only when they are complete."""

from __future__ import annotations

import errno
import json
import os
import re
import uuid
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from smartfilter.errors import InputError, UsageError
from smartfilter.events import concatenate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from smartfilter.events import Events

__all__ = [
    "METADATA_KEY",
    "BinaryFile",
    "EventBuffer",
    "OutputFile",
    "TextFile",
    "check_output",
    "dump_metadata",
    "find_temporaries",
    "name_temporary",
    "refuse_inputs",
    "translate_write_errors",
]

METADATA_KEY = "smartfilter"
"""Key of our JSON document in every file that we write."""


_MAX_NAME = 255
"""Bytes of a name in a folder (NAME_MAX of Linux's file systems)."""

_N_ADDED = len("..part") + len(uuid.UUID(int=0).hex)
"""Bytes by which `name_temporary` makes a name longer; other temporary names are shorter."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that only writing gives."""


def check_output(path: Path, *, force: bool) -> None:
    """Check that an output file can be made.

    Raises
    ------
    UsageError
        If the file exists and ``force`` is false, the name is too long, or the folder
        does not exist or cannot be written to.
    """
    _require_short(path)
    if path.is_dir():
        raise UsageError(f"output: expected a file, got the directory '{path}'")
    if path.exists() and not force:
        raise UsageError(f"output: '{path}' exists; use --force to replace it")
    if not path.parent.is_dir():
        raise UsageError(
            f"output: expected an existing folder, got '{path.parent}'; make it"
        )
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"output: folder '{path.parent}' cannot be written to")


def refuse_inputs(output: Path | None, inputs: Iterable[str | Path]) -> None:
    """Refuse an output that would replace what it is made from, ``force`` or not.

    Parameters
    ----------
    output : Path or None
    inputs : iterable of str or Path
        Files that are read; other names, as of URLs, are passed over.

    Raises
    ------
    UsageError
        If the output is one of the inputs, under this name or another, or its name is
        too long.
    """
    if output is None:
        return
    _require_short(output)
    if not output.exists():
        return
    for path in map(Path, inputs):
        if path.exists() and path.samefile(output):
            raise UsageError(
                f"output: expected another file than the input '{path}', got "
                f"'{output}', which would replace it; name another file"
            )


def _require_short(path: Path) -> None:
    """Refuse names that the file system does not take, or not those of its temporaries."""
    limits = [(part, _MAX_NAME) for part in path.parent.parts]
    for part, limit in (*limits, (path.name, _MAX_NAME - _N_ADDED)):
        n_bytes = len(os.fsencode(part))
        if n_bytes > limit:
            raise UsageError(
                f"output: expected a name of at most {limit} bytes, got {n_bytes} in "
                f"'{path}'; name a shorter one"
            )


def name_temporary(path: Path) -> Path:
    """Return a path beside another, which nobody can guess, for what is not complete."""
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex}.part{path.suffix}")


def find_temporaries(folder: Path, stem: str, suffix: str) -> list[Path]:
    """Return the temporary files of outputs, of runs that were killed too.

    Parameters
    ----------
    folder : Path
    stem : str
        Of the outputs: a regular expression.
    suffix : str
        Of the outputs, with its dot.
    """
    pattern = re.compile(rf"\.{stem}\.[0-9a-f]{{32}}\.part{re.escape(suffix)}")
    return [path for path in folder.iterdir() if pattern.fullmatch(path.name)]


@contextmanager
def translate_write_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` of writing a file, such as a full disk, into a `UsageError`."""
    try:
        yield
    except OSError as error:
        raise _describe_failure(path, error) from error


def _describe_failure(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"output: '{path}' cannot be written ({error.strerror or error}); "
        "make room or name another folder"
    )


def _move(temporary: Path, path: Path, *, force: bool) -> None:
    """Give a complete file its name; without ``force`` only if nobody else has."""
    if force:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise UsageError(
            f"output: '{path}' was made by another run meanwhile, which is left as it "
            "is; use --force to replace it"
        ) from error
    except OSError:  # a file system without links
        temporary.replace(path)
    else:
        temporary.unlink()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def dump_metadata(document: Mapping[str, Any]) -> str:
    """Return a JSON document; NumPy values and paths are converted.

    Raises
    ------
    UsageError
        If a value has no JSON form (NaN and infinities have none).
    """
    try:
        return json.dumps(dict(document), default=_plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"metadata: expected JSON values, got another ({error})"
        ) from error


class OutputFile(ABC):
    """Context manager: write to a temporary name, move when complete.

    The temporary file lies in the same folder. When the block ends with an exception
    it is removed and an existing file of that name stays as it was.

    Parameters
    ----------
    path : str or Path
        Where the file will be.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    UsageError
        If the file exists and ``force`` is false, or the folder does not exist.
    """

    def __init__(self, path: str | Path, *, force: bool) -> None:
        self.path = Path(path)
        self._force = force
        check_output(self.path, force=force)
        self._temporary = name_temporary(self.path)
        self._open = True

    @abstractmethod
    def _finish(self) -> None:
        """Write what is left and close the temporary file."""

    @abstractmethod
    def _abandon(self) -> None:
        """Close the temporary file, complete or not."""

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(f"output: '{self.path}' is closed; open it again")

    def close(self) -> None:
        """Complete the file and move it to its name; does nothing the second time."""
        if not self._open:
            return
        try:
            with translate_write_errors(self.path):
                self._finish()
                _move(self._temporary, self.path, force=self._force)
        except BaseException:
            self.discard()
            raise
        self._open = False

    def discard(self) -> None:
        """Remove the temporary file."""
        if not self._open:
            return
        self._open = False
        try:
            with suppress(OSError):  # what it could not write is removed anyway
                self._abandon()
        finally:
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Complete the file, or remove it if the block failed."""
        if kind is None:
            self.close()
            return
        self.discard()
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise _describe_failure(self.path, error) from error


class BinaryFile(OutputFile):
    """A file of bytes, its ``content``, that is complete or absent.

    Parameters
    ----------
    path : str or Path
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    UsageError
        As `OutputFile`.
    """

    def __init__(self, path: str | Path, *, force: bool = False) -> None:
        super().__init__(path, force=force)
        self.content = b""

    def _finish(self) -> None:
        self._temporary.write_bytes(self.content)

    def _abandon(self) -> None:
        """Nothing is open."""


class TextFile(BinaryFile):
    """The same of text, in UTF-8; parameters and errors as of `BinaryFile`."""

    @property
    def text(self) -> str:
        """What the file will hold."""
        return self.content.decode()

    @text.setter
    def text(self, text: str) -> None:
        self.content = text.encode()


class EventBuffer:
    """Collects events until there are enough for a well-filled block on disk.

    Parameters
    ----------
    max_rows : int
        A block is full when its particles and events together are as many.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._parts: list[Events] = []
        self._n_rows = 0
        self._columns: frozenset[str] | None = None

    def add(self, events: Events) -> Iterator[Events]:
        """Add events and yield the blocks that are full.

        Blocks are the same however the events arrive: many at once are cut, so that a
        reader of some of them need not unpack them all.  No event is cut.

        Raises
        ------
        InputError
            If their particle columns differ from those of earlier events.
        """
        columns = frozenset(events.particles)
        if self._columns is None:
            self._columns = columns
        if columns != self._columns:
            raise InputError(
                f"particle columns: expected {', '.join(sorted(self._columns))} as in "
                f"earlier events, got {', '.join(sorted(columns))}"
            )
        rows = events.offsets + np.arange(len(events) + 1)
        first = 0
        while first < len(events):
            room = self._max_rows - self._n_rows
            last = min(int(np.searchsorted(rows, rows[first] + room)), len(events))
            whole = last - first == len(events)
            self._parts.append(events if whole else events.take(slice(first, last)))
            self._n_rows += int(rows[last] - rows[first])
            if self._n_rows >= self._max_rows:
                yield concatenate(self._take())
            first = last

    def drain(self) -> Iterator[Events]:
        """Yield the last block, which is not full, if there is one."""
        if self._parts:
            yield concatenate(self._take())

    def _take(self) -> list[Events]:
        """Return and forget what was collected."""
        parts, self._parts, self._n_rows = self._parts, [], 0
        return parts
