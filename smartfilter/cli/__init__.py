"""The ``smartfilter`` command: one thin file per subcommand, loaded when it is used."""

from __future__ import annotations

import errno
import io
import shlex
import sys
from importlib import import_module
from typing import NoReturn

import click

from smartfilter import __version__
from smartfilter.cli.terminal import COMMAND_LINE
from smartfilter.errors import SmartFilterError, UsageError, suggest

__all__ = ["COMMANDS", "cli", "main", "run"]

COMMANDS = {
    "score": "Score generator-level events and decide which to simulate.",
    "merge": "Join score files of one model and mode.",
    "generate": "Generate events with Pythia 8 in the mdst layout.",
    "simulate": "Label events: detector, reconstruction and skims.",
    "skim": "Label again from stored tracks and clusters, in seconds.",
    "produce": "Generate and simulate in bulk: training data, with resume.",
    "train": "Train a network on labelled events.",
    "evaluate": "ROC, calibration, speedup and bias on unseen events.",
    "calibrate": "Calibrate a trained network again.",
    "rebuild": "Write a model file with the network code of this version.",
    "export": "Write a model as ONNX for basf2's SmartBackground module.",
    "speedup": "Evaluate the speedup formulas.",
    "working-point": "Best threshold and sampling constant for your times.",
    "measure": "Run the chain with and without the filter and compare.",
    "decay-table": "Show how the Belle II decay table reaches Pythia.",
    "report": "One HTML page of a training, evaluation or measurement.",
    "inspect": "Show what files and models hold; one event as a decay tree.",
}
"""Command -> its line in the help; the code is in the module of the same name."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and not for ``--help``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember the command line, for what a command writes."""
        ctx.meta[COMMAND_LINE] = shlex.join(["smartfilter", *args])
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command; an unknown name names the nearest."""
        if name in COMMANDS:
            module = import_module(f"smartfilter.cli.{name.replace('-', '_')}_command")
            command: click.Command = module.command
            return command
        return super().get_command(ctx, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one was meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command '{args[0]}'{suggest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the table of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smartfilter")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.pass_context
def cli(ctx: click.Context, as_json: bool, verbose: bool) -> None:
    """Skip hopeless Belle II Monte Carlo events before detector simulation.

    \b
    Examples:
      smartfilter score examples/events.root -o scores.parquet
      smartfilter inspect scores.parquet
      smartfilter inspect examples/events.root --event 163
      smartfilter COMMAND --help

    Exit codes: 0 done, 1 bug, 2 usage, 3 input data, 4 model file, 5 device.
    """  # noqa: D301
    import logging

    ctx.obj = {"json": as_json}
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
    )


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit; see `run`."""
    run(cli, arguments, name="smartfilter")


def run(
    command: click.Command,
    arguments: list[str] | None = None,
    name: str | None = None,
) -> NoReturn:
    """Run a command and exit; what is wrong with its input is said in one sentence.

    Exit codes: 0 done, 1 bug, 2 usage, 3 input data, 4 model file, 5 device; 130 when
    interrupted.

    Parameters
    ----------
    command : click.Command
        Also that of a steering file.
    arguments : list of str, optional
        By default those of this process.
    name : str, optional
        Of the program, for its messages; by default that of this process.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a sign that it lacks is no failure
        sys.stdout.reconfigure(errors="replace")
    try:
        code = command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted: outputs are complete or absent", err=True)
        sys.exit(130)
    except SmartFilterError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        click.echo(
            f"Error: file: expected a name that the file system takes, got "
            f"'{error.filename}', which is too long; name a shorter one",
            err=True,
        )
        sys.exit(UsageError.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
