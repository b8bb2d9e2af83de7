"""One self-contained HTML page: tables, figures and facts, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from importlib import resources
from importlib.util import find_spec
from typing import TYPE_CHECKING

from smartfilter.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Page", "PageFigure", "PageTable", "Section", "render"]


@dataclass(frozen=True)
class PageTable:
    """A table; the first column names the rows.

    Parameters
    ----------
    title : str
    columns : sequence of str
    rows : sequence of sequence of str
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class PageFigure:
    """A figure with what it shows in words.

    Parameters
    ----------
    caption : str
    png : bytes
    """

    caption: str
    png: bytes

    @property
    def data(self) -> str:
        """The figure as base64 text."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Section:
    """What one result has to show.

    Parameters
    ----------
    title : str
    facts : sequence of (str, str)
        Name and value: settings and provenance.
    tables : sequence of PageTable
    figures : sequence of PageFigure
    texts : sequence of str
        Paragraphs.
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[PageTable] = ()
    figures: Sequence[PageFigure] = ()
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """A whole page.

    Parameters
    ----------
    title, subtitle : str
    sections : sequence of Section
    footer : str
    """

    title: str
    subtitle: str
    sections: Sequence[Section] = field(default_factory=tuple)
    footer: str = ""


def render(page: Page) -> str:
    """Return the page as HTML; all text is escaped.

    Raises
    ------
    MissingPackageError
        If jinja2 is not installed.
    """
    if find_spec("jinja2") is None:
        raise MissingPackageError("jinja2", "plot")
    from jinja2 import Environment, StrictUndefined

    template = resources.files("smartfilter.plots") / "templates" / "page.html"
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        page=page
    )
