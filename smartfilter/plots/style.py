"""The style of the figures, upon mplhep's; needs the extra ``plot``."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from smartfilter.errors import InputError, MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COLOURS", "GREY", "require_keys", "require_packages", "use_style"]

COLOURS = {
    "blue": "#5790fc",
    "orange": "#f89c20",
    "red": "#e42536",
    "purple": "#964a8b",
    "light grey": "#9c9ca1",
    "violet": "#7a21dd",
}
"""Six colours that the colour-blind tell apart (M. Petroff, arXiv:2107.02270)."""

GREY = "0.4"
"""Colour of what is secondary."""

_STYLE = {
    "font.size": 15.0,
    "legend.fontsize": 12.5,
    "axes.linewidth": 1.2,
    "xtick.major.size": 8.0,
    "ytick.major.size": 8.0,
    "xtick.minor.size": 4.0,
    "ytick.minor.size": 4.0,
    "lines.linewidth": 2.0,
    "errorbar.capsize": 3.0,
    "hatch.linewidth": 0.6,
}
"""Upon mplhep's ROOT style, which is made for a single panel."""


def require_packages() -> None:
    """Refuse to go on without the packages that draw.

    Raises
    ------
    MissingPackageError
        If matplotlib or mplhep is not installed.
    """
    for package in ("matplotlib", "mplhep"):
        if find_spec(package) is None:
            raise MissingPackageError(package, "plot")


@contextmanager
def require_keys(what: str, command: str) -> Iterator[None]:
    """Refuse a document that lacks what is drawn.

    Parameters
    ----------
    what : str
        What the document describes.
    command : str
        What makes it.

    Raises
    ------
    InputError
        In place of a `KeyError`.
    """
    try:
        yield
    except KeyError as error:
        raise InputError(
            f"{what}: expected the key {error}, got a document without it; "
            f"make it again with {command}"
        ) from error


@contextmanager
def use_style() -> Iterator[None]:
    """Draw and save in the style of the field.

    Raises
    ------
    MissingPackageError
        If matplotlib or mplhep is not installed.
    """
    require_packages()
    import mplhep
    from matplotlib import rc_context

    style: dict[Any, Any] = {**mplhep.style.ROOT, **_STYLE}
    with rc_context(style):
        yield
