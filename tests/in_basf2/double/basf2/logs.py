"""Messages: counted by level, collected for tests, B2FATAL ends the process."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import Any, NoReturn


class LogLevel(IntEnum):
    DEBUG = 0
    INFO = 1
    RESULT = 2
    WARNING = 3
    ERROR = 4
    FATAL = 5
    DEFAULT = 6


class Fatal(SystemExit):
    """What B2FATAL raises: basf2 ends the process with a status that is not 0."""

    def __init__(self, message: str) -> None:
        super().__init__(1)
        self.message = message

    def __str__(self) -> str:
        return self.message


messages: list[tuple[str, str]] = []
"""Level and text of everything that was reported."""

n_errors = 0


def reset_counter() -> None:
    global n_errors  # noqa: PLW0603  one counter per process, as in basf2
    n_errors = 0


def _emit(level: str, message: object, variables: dict[str, Any]) -> str:
    text = " ".join([str(message), *(f"{k}={v}" for k, v in variables.items())])
    messages.append((level, text))
    sys.stdout.write(f"[{level}] {text}\n")
    return text


def B2DEBUG(level: int, message: object, **variables: Any) -> None:
    messages.append(("DEBUG", f"{level} {message}"))


def B2INFO(message: object, **variables: Any) -> None:
    _emit("INFO", message, variables)


def B2RESULT(message: object, **variables: Any) -> None:
    _emit("RESULT", message, variables)


def B2WARNING(message: object, **variables: Any) -> None:
    _emit("WARNING", message, variables)


def B2ERROR(message: object, **variables: Any) -> None:
    global n_errors  # noqa: PLW0603
    n_errors += 1
    _emit("ERROR", message, variables)


def B2FATAL(message: object, **variables: Any) -> NoReturn:
    raise Fatal(_emit("FATAL", message, variables))
