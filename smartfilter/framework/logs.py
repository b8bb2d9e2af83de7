"""Messages as in basf2, passed on to the standard library's logging."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NoReturn

from smartfilter.errors import SmartFilterError

__all__ = [
    "B2DEBUG",
    "B2ERROR",
    "B2FATAL",
    "B2INFO",
    "B2RESULT",
    "B2WARNING",
    "LogConfig",
    "LogLevel",
    "LogState",
    "set_log_level",
    "state",
]

log = logging.getLogger("smartfilter.framework")


class LogLevel(IntEnum):
    """Level of a message; the values are those of `logging`."""

    DEFAULT = 0
    DEBUG = logging.DEBUG
    INFO = logging.INFO
    RESULT = 25
    WARNING = logging.WARNING
    ERROR = logging.ERROR
    FATAL = logging.CRITICAL


@dataclass
class LogConfig:
    """What to report and where to stop, for one module or for all.

    ``DEFAULT`` refers to what holds for all; a debug level below 0 does, too.
    """

    name: str = ""
    level: LogLevel = LogLevel.DEFAULT
    debug_level: int = -1
    abort_level: LogLevel = LogLevel.DEFAULT


@dataclass
class LogState:
    """The configuration for all, that of the active module, and a count of errors."""

    default: LogConfig = field(
        default_factory=lambda: LogConfig("", LogLevel.INFO, 0, LogLevel.FATAL)
    )
    active: LogConfig | None = None
    n_errors: int = 0


state = LogState()
"""The state of this process; the processing sets the active module."""


def set_log_level(level: LogLevel) -> None:
    """Set the lowest level that is reported; modules may have their own.

    The standard library's loggers and handlers then decide what is shown.
    """
    state.default.level = level


def _emit(level: LogLevel, message: object, variables: dict[str, object]) -> None:
    """Count, report, and stop if the level is that high."""
    active = state.active or state.default
    if level == LogLevel.ERROR:
        state.n_errors += 1
    text = str(message)
    for name, value in variables.items():
        text += f"\n\t{name} = {value}"
    if level >= (active.level or state.default.level):
        where = f"  {{ module: {active.name} }}" if active.name else ""
        log.log(int(level), "%s%s", text, where)
    if level >= (active.abort_level or state.default.abort_level):
        raise SmartFilterError(text)


def B2DEBUG(level: int, message: object, **variables: object) -> None:
    """Report for developers if the debug level is at least ``level``."""
    active = state.active or state.default
    limit = active.debug_level
    if level <= (state.default.debug_level if limit < 0 else limit):
        _emit(LogLevel.DEBUG, message, variables)


def B2INFO(message: object, **variables: object) -> None:
    """Report what a user wants to know."""
    _emit(LogLevel.INFO, message, variables)


def B2RESULT(message: object, **variables: object) -> None:
    """Report a result."""
    _emit(LogLevel.RESULT, message, variables)


def B2WARNING(message: object, **variables: object) -> None:
    """Report what may be wrong."""
    _emit(LogLevel.WARNING, message, variables)


def B2ERROR(message: object, **variables: object) -> None:
    """Report an error; one during initialisation stops before the first event."""
    _emit(LogLevel.ERROR, message, variables)


def B2FATAL(message: object, **variables: object) -> NoReturn:
    """Report an error and stop.

    Raises
    ------
    SmartFilterError
        Always, with the message (basf2 ends the process).
    """
    _emit(LogLevel.FATAL, message, variables)
    raise SmartFilterError(str(message))
