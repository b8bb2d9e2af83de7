"""Option types that several commands share; importing it loads click alone."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from smartfilter.errors import suggest

__all__ = [
    "EVENT_TYPE",
    "Choice",
    "OutputPath",
    "complete_configs",
    "complete_files",
    "complete_models",
    "dask_option",
    "decay_table_option",
    "resume_option",
    "skip_bad_files_option",
    "workers_option",
]


if TYPE_CHECKING:
    _Choice = click.Choice[str]
else:  # not generic before click 8.2
    _Choice = click.Choice


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


def complete_files(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Let the shell complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]


def complete_models(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names of the shipped models; else files."""
    folder = resources.files("smartfilter") / "data"
    names = sorted(f.name[:-3] for f in folder.iterdir() if f.name.endswith(".pt"))
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or complete_files(ctx, param, incomplete)


def complete_configs(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names of the shipped training configurations; else files."""
    folder = Path(str(resources.files("smartfilter") / "training" / "configs"))
    names = sorted(
        file.relative_to(folder).with_suffix("").as_posix()
        for file in folder.rglob("*.yaml")
    )
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or complete_files(ctx, param, incomplete)


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
