"""Every exception class of smartfilter, each with the exit code of the command line.

Messages follow one form: what, what was expected, what was found, where, what to do.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "DeviceError",
    "InputError",
    "MissingPackageError",
    "ModelFileError",
    "SmartFilterError",
    "UsageError",
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
