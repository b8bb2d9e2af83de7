"""Every exception class of smartfilter, each with the exit code of the command line.

Messages follow one form: what, what was expected, what was found, where, what to do.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DeviceError",
    "InputError",
    "MissingPackageError",
    "ModelFileError",
    "SmartFilterError",
    "UsageError",
    "describe_unknown",
    "suggest",
]


class SmartFilterError(Exception):
    """Root of all errors that smartfilter raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(SmartFilterError, ValueError):
    """A wrong argument or option: exit code 2."""

    exit_code = 2


class MissingPackageError(UsageError, ImportError):
    """An optional package is not installed: exit code 2.

    Parameters
    ----------
    package : str
        The package that failed to import.
    extra : str
        The extra of smartfilter that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"package '{package}': needed here but not installed; "
            f"run: pip install 'smartfilter[{extra}]'"
        )


class InputError(SmartFilterError, ValueError):
    """Input data that cannot be used: exit code 3."""

    exit_code = 3


class ModelFileError(SmartFilterError, ValueError):
    """A model file that cannot be used: exit code 4."""

    exit_code = 4


class DeviceError(SmartFilterError, RuntimeError):
    """A device that was asked for and is not there: exit code 5."""

    exit_code = 5


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'NAME'?" with the known name nearest to a wrong one.

    Upper and lower case count the same. The text is empty if none is near.

    Parameters
    ----------
    name : str
        What was typed.
    known : iterable of str
        What could have been meant.
    """
    by_folded = {item.casefold(): item for item in known}
    nearest = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return f"; did you mean '{by_folded[nearest[0]]}'?" if nearest else ""


def describe_unknown(
    what: str, name: str, known: Iterable[str], where: object = ""
) -> str:
    """Return the message about a name that is none of the known ones.

    Parameters
    ----------
    what : str
        Kind of thing that has the names.
    name : str
        What was typed.
    known : iterable of str
        What could have been meant; all are listed, the nearest is named.
    where : object, optional
        File or thing that knows these names.
    """
    names = list(known)
    place = f" in {where}" if str(where) else ""
    return (
        f"{what}: expected one of {', '.join(names)}{place}, got '{name}'"
        f"{suggest(name, names)}"
    )
