"""The table of retentions that commands with skims print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smartfilter.cli.terminal import make_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

__all__ = ["make_retention_table"]


def make_retention_table(
    title: str, passing: Mapping[str, int], n_events: int
) -> RenderableType:
    """Return a table of skims: passing events and their share with its error."""
    from smartfilter.pipeline.skims import estimate_retention

    rows = []
    for name, n_passing in passing.items():
        rate, error = estimate_retention(n_passing, n_events)
        share = f"{100 * rate:.3f} ± {100 * error:.3f}" if n_events else "-"
        rows.append((name, f"{n_passing:,}", share))
    return make_table(title, ("skim", "passing", "retention %"), rows)
