"""Run all speed benchmarks one after another; under twelve minutes on two free cores.

python benchmarks/run_all.py -o output/benchmarks
python benchmarks/run_all.py --quick -o output/quick  # whether they run, in two minutes
python benchmarks/run_all.py --table benchmarks/results/speed  # the README's
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
from record import Row, start

from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMMANDS", "command", "render_table", "update_readme"]

HERE = Path(__file__).parent
BEGIN = "<!-- speed: begin -->"
END = "<!-- speed: end -->"
COMMANDS = {
    "preparation": ("preparation_speed.py",),
    "network": ("network_speed.py",),
    "score": ("score_speed.py",),
    "event": ("event_speed.py",),
    "generator": ("generator_speed.py",),
    "gpu": ("gpu_speed.py",),
    "memory": ("memory_and_start.py",),
    "cost": ("cost_figure.py", "--figure", "{folder}/cost.png"),
}
"""Name of the JSON file -> command."""


QUICK = {
    "preparation": ("--events", "2000", "--rounds", "3"),
    "network": ("--events", "500", "--rounds", "3"),
    "score": ("--events", "2000", "--lab-events", "500", "--rounds", "3"),
    "event": ("--events", "100", "--rounds", "2"),
    "generator": ("--events", "200", "--rounds", "2"),
    "gpu": ("--events", "1000", "--rounds", "2"),
    "memory": ("--events", "20000", "--rounds", "2"),
    "cost": ("--events", "500", "--rounds", "2"),
}
"""Options in which it is seen that a command runs; the numbers mean little."""


def render_table(folder: Path) -> str:
    """Return the measured table as Markdown.

    Parameters
    ----------
    folder : Path
        With the JSON files of the commands; those that are absent are left out.
    """
    lines = [
        "| what | smartfilter | rival | rival's | ratio | target | |",
        "|---|---|---|---|---|---|---|",
    ]
    notes: list[str] = []
    machines: dict[str, list[str]] = {}
    for name in COMMANDS:
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        document = json.loads(path.read_text(encoding="utf-8"))
        rows = [Row.from_json(row) for row in document["rows"]]
        lines += [
            f"| {' | '.join(cell.strip() for cell in row.cells)} |" for row in rows
        ]
        notes += [f"- {name}: {note}" for note in document["notes"]]
        machines.setdefault(_describe(document["machine"]), []).append(name)
    found = [
        f"- machine of {', '.join(names)}: {machine}"
        for machine, names in machines.items()
    ]
    return "\n".join([*lines, "", *notes, *found, ""])


def _describe(machine: Mapping[str, Any]) -> str:
    packages = [f"{k} {v}" for k, v in machine["packages"].items() if v]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; "
        f"Python {machine['python']}, {', '.join(packages)}"
    )


def update_readme(readme: Path, table: str) -> None:
    """Put the table between the two marks of a README.

    Raises
    ------
    UsageError
        If it lacks them.
    """
    text = readme.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"README: expected the marks {BEGIN} and {END} in {readme}")
    readme.write_text(f"{head}{BEGIN}\n\n{table}\n{END}{tail}", encoding="utf-8")


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder.")
@click.option(
    "--table",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Print the table of a folder as Markdown instead.",
)
@click.option(
    "--readme",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Put that table into README.md beside this file instead.",
)
@click.option("--quick", is_flag=True, help="Few events: only whether all run.")
@click.option("--only", multiple=True, type=click.Choice(list(COMMANDS)))
def command(
    output: Path | None,
    table: Path | None,
    readme: Path | None,
    quick: bool,
    only: tuple[str, ...],
) -> None:
    """Run the benchmarks, each in a process of its own, and write table.md of them."""
    if table is not None:
        click.echo(render_table(table))
        return
    if readme is not None:
        update_readme(HERE / "README.md", render_table(readme))
        return
    folder = output or Path("output/benchmarks")
    failed = []
    for name in only or COMMANDS:
        script, *options = COMMANDS[name]
        arguments = [option.format(folder=folder) for option in options]
        arguments += [
            "-o",
            str(folder / f"{name}.json"),
            *(QUICK[name] if quick else ()),
        ]
        begin = perf_counter()
        run = subprocess.run([sys.executable, HERE / script, *arguments], check=False)
        click.echo(f"{name}: {perf_counter() - begin:.0f} s", err=True)
        if run.returncode:
            failed.append(name)
    text = render_table(folder)
    (folder / "table.md").write_text(text, encoding="utf-8")
    click.echo(text)
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    start(command)
