"""Histograms made of text, for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

__all__ = ["Histogram", "make_bar"]

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LONGEST = 40
_LEAST = 8


def make_bar(value: float, highest: float, width: int, *, plain: bool = False) -> str:
    """Return a bar of block characters, in steps of an eighth of a character.

    Parameters
    ----------
    value : float
        Not negative.
    highest : float
        What fills the width.
    width : int
        Characters.
    plain : bool
        Use ``#``, in whole characters.

    Returns
    -------
    str
        Empty for 0; anything above 0 has at least the shortest bar.
    """
    if value <= 0 or highest <= 0:
        return ""
    share = min(value / highest, 1.0)
    if plain:
        return "#" * max(round(share * width), 1)
    eighths = max(round(share * width * 8), 1)
    full, rest = divmod(eighths, 8)
    return _EIGHTHS[8] * full + (_EIGHTHS[rest] if rest else "")


@dataclass(frozen=True)
class Histogram:
    """A row of label, number and bar per bin; as wide as the terminal allows.

    Parameters
    ----------
    title : str
    labels : sequence of str
        One per bin.
    counts : sequence of int
        One per bin.
    """

    title: str
    labels: Sequence[str]
    counts: Sequence[int]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Yield the lines."""
        from rich.text import Text

        del console
        numbers = [f"{count:,}" for count in self.counts]
        left = max((len(label) for label in self.labels), default=0)
        right = max((len(number) for number in numbers), default=0)
        room = options.max_width - left - right - 6
        width = max(min(room, _LONGEST), _LEAST)
        highest = max(self.counts, default=0)
        yield Text(self.title, style="bold")
        for label, number, count in zip(self.labels, numbers, self.counts, strict=True):
            bar = make_bar(count, highest, width, plain=options.ascii_only)
            line = f"  {label:<{left}}  {number:>{right}}  {bar}".rstrip()
            yield Text(line, no_wrap=True)
        yield Text("")
