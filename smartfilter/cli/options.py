"""Option types that several commands share; importing it loads click alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartfilter.cli.completion import (
    complete_devices,
    complete_files,
    complete_models,
    complete_skims,
)
from smartfilter.errors import suggest
from smartfilter.shipped import DEFAULT_MODEL

__all__ = [
    "EVENT_TYPE",
    "Choice",
    "FiniteRange",
    "OutputPath",
    "chain_seed_option",
    "dask_option",
    "decay_table_option",
    "detector_option",
    "device_option",
    "model_option",
    "resume_option",
    "skims_option",
    "skip_bad_files_option",
    "step_option",
    "workers_option",
]


if TYPE_CHECKING:
    _Choice = click.Choice[str]
else:  # not generic before click 8.2
    _Choice = click.Choice


class FiniteRange(click.FloatRange):
    """A range of numbers, of which NaN and infinity are none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the number, or fail as a usage error."""
        number: Any = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a finite number, got '{value}'")
        return number


class Choice(_Choice):
    """One of several names; a wrong one is answered with the nearest."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the name, or fail as a usage error."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            names = [str(choice) for choice in self.choices]
            self.fail(
                f"{error.message.rstrip('.')}{suggest(str(value), names)}", param, ctx
            )


EVENT_TYPE = Choice(["ccbar", "charged", "ddbar", "mixed", "ssbar", "taupair", "uubar"])
"""`smartfilter.events.EVENT_TYPES`, which loads NumPy; a test compares the two."""

decay_table_option = click.option(
    "--decay-table",
    type=Choice(["belle2", "pythia"]),
    default="belle2",
    show_default=True,
    help="Branching fractions of DECAY_BELLE2.DEC, or Pythia's own.",
)
"""`smartfilter.pipeline.generator.DECAY_TABLES`; a test compares the two."""

model_option = click.option(
    "--model",
    shell_complete=complete_models,
    help=f"Model file, or gcn or subtree.  [{DEFAULT_MODEL}]",
)


def _drop_repeats(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Return each value once, in order."""
    return tuple(dict.fromkeys(values))


skims_option = click.option(
    "--skim",
    "skims",
    shell_complete=complete_skims,
    multiple=True,
    callback=_drop_repeats,
    help="Skim; repeatable.  [all]",
)

device_option = click.option(
    "--device",
    shell_complete=complete_devices,
    default="auto",
    show_default=True,
    help="Where the network runs: auto, cpu, cuda or cuda:N.",
)

chain_seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Of the generator, and of what follows it.",
)

detector_option = click.option(
    "--detector",
    type=Choice(["mock", "geant4"]),
    default="mock",
    show_default=True,
    help="geant4: Geant4 transport in a simplified geometry; extra geant4.",
)

step_option = click.option(
    "--step",
    type=FiniteRange(min=0.0, min_open=True),
    default=1.0,
    show_default=True,
    help="Longest step in the mock detector, cm.",
)

workers_option = click.option(
    "--workers",
    "n_workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes on this machine; more than one needs the extra dask.",
)

dask_option = click.option(
    "--dask",
    "scheduler",
    metavar="ADDRESS",
    shell_complete=complete_files,
    help="Use the workers of a Dask scheduler: tcp://HOST:PORT or its .json file.",
)

resume_option = click.option(
    "--resume",
    is_flag=True,
    help="Go on where an interrupted run with the same options stopped.",
)

skip_bad_files_option = click.option(
    "--skip-bad-files",
    is_flag=True,
    help="Leave out files that cannot be read, all of their events, and report them.",
)


class OutputPath(click.Path):
    """The path of an output whose name has to end in a suffix.

    Parameters
    ----------
    suffix : str
        With the dot.
    """

    def __init__(self, suffix: str) -> None:
        super().__init__(path_type=Path, dir_okay=False)
        self.suffix = suffix

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the path, or fail as a usage error."""
        path: Any = super().convert(value, param, ctx)
        if path.suffix.lower() != self.suffix:
            self.fail(f"expected a name that ends in {self.suffix}, got '{value}'")
        return path
