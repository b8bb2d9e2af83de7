"""JSON results that the commands of this folder read: what is wrong with one is said."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from smartfilter.documents import parse_json
from smartfilter.errors import InputError, SmartFilterError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["expect_result", "load_result"]

_OTHER_LAYOUT = (LookupError, TypeError, ValueError, AttributeError, StopIteration)


def load_result(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises
    ------
    InputError
        If it cannot be read, or is no JSON object.
    """
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"result: expected JSON in '{path}', got {error}") from error
    if not isinstance(document, dict):
        raise InputError(
            f"result: expected a JSON object in '{path}', got {type(document).__name__}"
        )
    return document


@contextmanager
def expect_result(maker: str, *paths: Path) -> Iterator[None]:
    """Make one sentence of what fails because a result has another layout.

    Parameters
    ----------
    maker : str
        The commands that write such results.
    *paths : Path
        What is used inside.

    Raises
    ------
    InputError
        Of the first error.
    """
    try:
        yield
    except SmartFilterError:
        raise
    except _OTHER_LAYOUT as error:
        names = ", ".join(f"'{path}'" for path in dict.fromkeys(paths))
        raise InputError(
            f"result: expected what {maker} writes, got another layout in {names} "
            f"({type(error).__name__}: {error})"
        ) from error
