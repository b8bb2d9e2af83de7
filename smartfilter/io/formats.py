"""The table of event file formats, and what each of them provides.

A new format is one module with the functions ``recognises`` and ``open_file`` (see
`FormatModule`) and one row of `FORMATS`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from smartfilter.errors import InputError, SmartFilterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smartfilter.events import Events
    from smartfilter.io.locations import Location

__all__ = [
    "FORMATS",
    "EventFile",
    "FileFormat",
    "FormatModule",
    "ReadOptions",
    "find_format",
    "reading",
    "require_same_length",
]

_HEAD_SIZE = 64
_GIT_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class ReadOptions:
    """What a reader is asked for beyond the default columns.

    Parameters
    ----------
    extra_columns : tuple of str
        Further particle columns.
    keep_secondaries : bool
        Whether particles made by the detector simulation stay.
    """

    extra_columns: tuple[str, ...] = ()
    keep_secondaries: bool = False


class EventFile(Protocol):
    """One readable file: opened and checked once, read in chunks any number of times."""

    @property
    def n_events(self) -> int:
        """Number of events, from the file's metadata."""

    def iterate(self, chunk_size: int) -> Iterator[Events]:
        """Yield consecutive events, at most ``chunk_size`` at a time, never none."""

    def empty(self) -> Events:
        """Return no events, with the columns that `iterate` would give."""


class FormatModule(Protocol):
    """What the module of a format provides."""

    def recognises(self, location: Location) -> bool:
        """Tell formats of the same first bytes apart; never raises."""

    def open_file(self, location: Location, options: ReadOptions) -> EventFile:
        """Open and check a file; raises `InputError` saying what is wrong with it."""


@dataclass(frozen=True)
class FileFormat:
    """One row of the table of formats.

    Parameters
    ----------
    name : str
        What messages call it.
    module : str
        Where its `FormatModule` is; imported on first use.
    suffix : str
        Usual suffix; decides only where the content cannot be looked at (URLs).
    magic : bytes or tuple of bytes
        First bytes of every file of this format, or the possible ones.
    """

    name: str
    module: str
    suffix: str
    magic: bytes | tuple[bytes, ...]

    def load(self) -> FormatModule:
        """Import the module of this format."""
        return cast("FormatModule", import_module(self.module))


FORMATS = (
    FileFormat("mdst ROOT", "smartfilter.io.mdst", ".root", b"root"),
    FileFormat("labelled Parquet", "smartfilter.io.labelled", ".parquet", b"PAR1"),
    FileFormat("SmartBKG Parquet", "smartfilter.io.smartbkg", ".parquet", b"PAR1"),
    FileFormat(
        "basf2 training Parquet", "smartfilter.io.basf2_training", ".parquet", b"PAR1"
    ),
    FileFormat("SmartBKG npz", "smartfilter.io.pd4ml", ".npz", b"PK"),
    FileFormat(
        "HepMC", "smartfilter.io.hepmc", ".hepmc", (b"HepMC", b"\nHepMC", b"\x1f\x8b")
    ),
)
"""Formats that `find_format` knows; of several that fit, the first wins."""


@contextmanager
def reading(where: object) -> Iterator[None]:
    """Turn whatever a file library raises on a damaged file into an `InputError`.

    This is the one place that catches broadly: decompression and interpretation of
    damaged bytes fail in any of a dozen exception classes of several packages.
    """
    try:
        yield
    except SmartFilterError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0]}" if lines else repr(error)
        raise InputError(
            f"file '{where}': cannot be read ({reason}); "
            f"it may be truncated or damaged: make or copy it again"
        ) from error


def require_same_length(expected: int, found: int, where: object) -> None:
    """Refuse a file that has another number of events than when it was opened.

    Raises
    ------
    InputError
        If the numbers differ.
    """
    if found != expected:
        raise InputError(
            f"file '{where}': expected {expected} events as when it was opened, got "
            f"{found}; it changed while it was in use: start again"
        )


def _read_head(location: Location) -> bytes:
    try:
        with Path(location.path).open("rb") as file:
            return file.read(_HEAD_SIZE)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"file '{location}': cannot be opened ({reason})") from error


def _reject(location: Location, head: bytes) -> InputError:
    expected = ", ".join(f"{row.name} ({row.suffix})" for row in FORMATS)
    if not head:
        return InputError(f"file '{location}': expected {expected}, got an empty file")
    if head.startswith(_GIT_LFS):
        return InputError(
            f"file '{location}': expected {expected}, got a git-LFS pointer; "
            f"fetch its content with: git lfs pull"
        )
    return InputError(
        f"file '{location}': expected {expected}, got a file of unknown format "
        f"that begins with {head[:8]!r}; convert it or name another file"
    )


def find_format(location: Location) -> FileFormat:
    """Return the format of a file, by its first bytes (URLs: by suffix).

    Raises
    ------
    InputError
        If the file cannot be opened or has no known format.
    """
    if location.is_remote:
        fits = [row for row in FORMATS if row.suffix == location.suffix]
        if not fits or fits[0].magic != b"root":
            raise InputError(
                f"URL '{location}': expected a .root file, got suffix "
                f"'{location.suffix}'; copy other formats to a local disk"
            )
        return fits[0]
    head = _read_head(location)
    fits = [row for row in FORMATS if head.startswith(row.magic)]
    if not fits:
        raise _reject(location, head)
    if len(fits) > 1:
        return next((row for row in fits if row.load().recognises(location)), fits[0])
    return fits[0]
