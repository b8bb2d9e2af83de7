"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Begin", "begin_silently"]


class Begin(Protocol):
    """Called when a step of the work begins; the one before it is over."""

    def __call__(
        self, task: str, total: int | None, unit: str = "events"
    ) -> Callable[[int], None]:
        """Return what is told the number of units done since its last call.

        Parameters
        ----------
        task : str
            One or two words.
        total : int or None
            Units of the whole step; None if that is not known.
        unit : str
            What is counted, in the plural.
        """


def begin_silently(
    task: str,  # noqa: ARG001
    total: int | None,  # noqa: ARG001
    unit: str = "events",  # noqa: ARG001
) -> Callable[[int], None]:
    """Tell nobody."""
    return lambda _: None
