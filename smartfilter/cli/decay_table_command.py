"""``smartfilter decay-table``: how much of the Belle II decay table Pythia takes."""

from __future__ import annotations

import click

from smartfilter.cli.terminal import emit, json_option, make_table, show_progress

__all__ = ["command"]


@click.command("decay-table")
@json_option
def command() -> None:
    """Show how the branching fractions of DECAY_BELLE2.DEC reach Pythia.

    Per particle: the share whose decay model has an exact counterpart, one that is
    approximate, those that fall back to phase space, and what is not mapped at all.

    \b
    Examples:
      smartfilter decay-table
      smartfilter decay-table --json
    """  # noqa: D301
    from smartfilter.pipeline.decay_table import (
        load_belle2_table,
        summarise_decay_table,
    )

    with show_progress("read the decay table", None):
        coverage = summarise_decay_table(load_belle2_table())
    document = {"particles": [entry._asdict() for entry in coverage]}
    rows = [
        (
            entry.name,
            f"{entry.n_channels}",
            f"{100 * entry.exact:.2f}",
            f"{100 * entry.approximate:.2f}",
            f"{100 * entry.phase_space:.2f}",
            f"{100 * entry.unmapped:.2f}",
        )
        for entry in coverage
    ]
    columns = ("particle", "channels", "exact %", "approximate %", "phase space %")
    emit(document, make_table("DECAY_BELLE2.DEC", (*columns, "not mapped %"), rows))
