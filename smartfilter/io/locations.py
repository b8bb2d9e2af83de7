"""What users type to name input files: paths, globs, ``file.root:tree``, URLs.

The part of a file may also be a set of a data set: ``file.npz:train``.
"""

from __future__ import annotations

import glob
import re
import stat
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from smartfilter.errors import InputError, MissingPackageError, UsageError, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Location", "expand_paths"]

_URL = re.compile(
    r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<server>[^/]*)(?P<rest>.*)$"
)
_WITH_TREE = re.compile(r"^(?P<path>.+\.(?:root|npz)):(?P<tree>.+)$")
_XROOTD_SCHEMES = ("root", "roots")
_LONGEST = 200


@dataclass(frozen=True)
class Location:
    """One input file.

    Parameters
    ----------
    path : str
        A local path or a ``root://`` URL.
    tree : str or None
        Name of the tree or set, if the user gave one.
    """

    path: str
    tree: str | None = None

    @property
    def is_remote(self) -> bool:
        """Whether this is a URL."""
        return _URL.match(self.path) is not None

    @property
    def suffix(self) -> str:
        """The file's suffix in lower case, with its dot."""
        return PurePosixPath(self.path).suffix.lower()

    def __str__(self) -> str:
        """Return the location as a user would type it."""
        return self.path if self.tree is None else f"{self.path}:{self.tree}"


def _split_tree(text: str) -> tuple[str, str | None]:
    match = _WITH_TREE.match(text)
    return (match["path"], match["tree"]) if match else (text, None)


def _remote(text: str, url: re.Match[str]) -> Location:
    if url["scheme"].lower() not in _XROOTD_SCHEMES:
        raise InputError(
            f"URL: expected root://..., got '{text}'; copy the file to a local disk"
        )
    if find_spec("fsspec_xrootd") is None:
        raise MissingPackageError("fsspec-xrootd", "xrootd")
    rest, tree = _split_tree(url["rest"])
    return Location(f"{url['scheme']}://{url['server']}{rest}", tree)


def _exists(path: str) -> bool:
    """Return whether there is such a file, and refuse what is no regular file."""
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        if glob.has_magic(path):
            return False
        reason = getattr(error, "strerror", None) or error
        name = path if len(path) <= _LONGEST else f"{path[:_LONGEST]}..."
        raise InputError(f"input: '{name}' cannot be opened ({reason})") from error
    if stat.S_ISDIR(mode):
        raise InputError(
            f"input: expected a file, got the directory '{path}'; "
            f"give its files, for example '{path.rstrip('/')}/*.root'"
        )
    if not stat.S_ISREG(mode):
        raise InputError(
            f"input: expected a file, got the pipe or device '{path}'; "
            f"write its content to a file"
        )
    return True


def _local(text: str) -> list[Location]:
    if _exists(text):
        return [Location(text)]
    path, tree = _split_tree(text)
    if tree is not None and _exists(path):
        return [Location(path, tree)]
    if not glob.has_magic(path):
        near = suggest(Path(path).name, _list_siblings(path)) or "; check the path"
        raise InputError(f"input: no such file: '{path}'{near}")
    names = sorted(glob.glob(path, recursive=True))  # noqa: PTH207  absolute and ** too
    files = [Location(name, tree) for name in names if not Path(name).is_dir()]
    for file in files:
        _exists(file.path)
    if not files:
        raise InputError(f"input: no file matches '{path}'; check the pattern")
    return files


def _list_siblings(path: str) -> list[str]:
    """Return the names of the files in the folder of a path, as far as it can be read."""
    try:
        return [entry.name for entry in Path(path).parent.iterdir()]
    except OSError:
        return []


def _identity(location: Location) -> tuple[str, str | None]:
    if location.is_remote:
        return location.path, location.tree
    return str(Path(location.path).resolve()), location.tree


def expand_paths(paths: str | Path | Sequence[str | Path]) -> list[Location]:
    """Return the files that these paths, globs and URLs name, in order.

    Parameters
    ----------
    paths : str, Path or sequence of them
        Local paths, globs (sorted by name), ``file.root:tree`` or ``root://`` URLs.

    Raises
    ------
    UsageError
        If no path is given.
    InputError
        If a path does not exist, is a directory, a glob matches nothing, a URL is not
        ``root://``, or a file is named twice (its events would count twice).
    MissingPackageError
        If a ``root://`` URL is given and fsspec-xrootd is not installed.
    """
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not given:
        raise UsageError("input: expected at least one file, got none")
    locations: list[Location] = []
    for item in given:
        url = _URL.match(str(item))
        locations += [_remote(str(item), url)] if url else _local(str(item))
    seen: set[tuple[str, str | None]] = set()
    for location in locations:
        identity = _identity(location)
        if identity in seen:
            raise InputError(
                f"input: file '{location}' is given twice, so that its events would "
                f"count twice; name it once"
            )
        seen.add(identity)
    return locations
