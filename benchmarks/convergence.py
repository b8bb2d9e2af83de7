"""Does the step length of the mock detector matter? Convergence and retention against it.

Example:
  python benchmarks/convergence.py -n 45000 --workers 2 -o output/convergence
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
from convergence_figure import draw
from fluctuation_study import study_fluctuations, study_photons
from retention_study import VARIABLES, compare, simulate
from rich.console import Console
from rich.progress import track
from transport_study import (
    Series,
    make_gun,
    study_crystals,
    study_energy_loss,
    study_helix,
    take_generated,
)

from smartfilter.cli.terminal import make_table, show_progress
from smartfilter.errors import SmartFilterError
from smartfilter.events import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REFERENCE = 1.0
"""Step that labels are produced with, cm: others are compared with it."""

_FINE = 0.05


class Steps(click.ParamType):
    """Step lengths in cm, separated by commas."""

    name = "CM,CM,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return the steps, longest first, each once."""
        if isinstance(value, tuple):
            return value
        try:
            steps = {float(part) for part in str(value).split(",")}
        except ValueError:
            steps = set()
        if len(steps) < 2 or not all(math.isfinite(h) and h > 0.0 for h in steps):
            self.fail(f"expected two or more lengths in cm, got '{value}'", param, ctx)
        return tuple(sorted(steps, reverse=True))


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    n_events: int
    n_fine: int
    n_particles: int
    steps: tuple[float, ...]
    retention_steps: tuple[float, ...]
    event_type: str
    seed: int
    workers: int
    minutes: float
    output: Path


@click.command()
@click.option(
    "-n",
    "n_events",
    type=click.IntRange(min=2),
    default=45_000,
    show_default=True,
    help="Events for retention: 2 % of a retention of 5.5 %.",
)
@click.option(
    "--fine-events",
    "n_fine",
    type=click.IntRange(min=2),
    help=f"Events for steps below {_FINE} cm.  [4/9 of N]",
)
@click.option(
    "--particles",
    "n_particles",
    type=click.IntRange(min=20),
    default=2000,
    show_default=True,
    help="Particles of each study of convergence.",
)
@click.option(
    "--steps",
    type=Steps(),
    default="4,2,1,0.5,0.25,0.1,0.05,0.02,0.01",
    show_default=True,
    help="Steps of the studies of convergence.",
)
@click.option(
    "--retention-steps",
    type=Steps(),
    default="2,1,0.25,0.1,0.02",
    show_default=True,
    help=f"Steps of retention, {REFERENCE:g} among them.",
)
@click.option(
    "--event-type",
    type=click.Choice(EVENT_TYPES),
    default="mixed",
    show_default=True,
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0.0),
    default=math.inf,
    help="Begin no further events after this time; the same command goes on later.",
)
@click.option(
    "--part",
    type=click.Choice(["all", "convergence", "retention"]),
    default="all",
    show_default=True,
    help="Parts left out keep the results of an earlier run in the folder.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("output/convergence"),
    show_default=True,
)
def command(part: str, n_fine: int | None, **options: Any) -> None:
    """Compare the mock detector with itself at other steps, and with closed forms.

    The defaults take about twenty minutes on one free core, nearly all of it for
    retention. A run that was stopped goes on when the command is repeated.
    """
    if REFERENCE not in options["retention_steps"]:
        raise click.UsageError(f"--retention-steps: expected {REFERENCE} among them")
    n_fine = min(n_fine or max(4 * options["n_events"] // 9, 2), options["n_events"])
    settings = Settings(n_fine=n_fine, **options)
    output, parts = settings.output, settings.output / "parts"
    path = output / "convergence.json"
    try:
        parts.mkdir(parents=True, exist_ok=True)
        document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if part != "retention":
            document["convergence"] = study_convergence(settings)
        if part != "convergence":
            document["retention"] = study_retention(settings)
        document = round_values(document)
        write_json(document, path)
        draw(document, output / "convergence")
    except (SmartFilterError, OSError, json.JSONDecodeError) as error:
        raise click.ClickException(str(error)) from None
    console = Console(highlight=False)
    for table in make_tables(document):
        console.print(table)
    console.print(f"{path}, convergence.png, convergence.pdf")


def study_convergence(settings: Settings) -> dict[str, Any]:
    """Return the studies of single particles, each a list of quantities."""
    steps, n, seed = settings.steps, settings.n_particles, settings.seed
    generated = take_generated(settings.event_type, n, seed)
    studies: dict[str, Callable[[], list[Series]]] = {
        "helix in a field alone, against the closed form": lambda: study_helix(
            steps, n, seed
        ),
        "mean energy loss of a gun, against the finest step": lambda: study_energy_loss(
            steps, make_gun(n, seed)
        ),
        f"the same for particles of {settings.event_type} events": (
            lambda: study_energy_loss(steps, generated)
        ),
        "mean energy loss in crystals, against the closed form": (
            lambda: study_crystals(steps)
        ),
        "random: kaons of 0.6 GeV in the tracker": lambda: study_fluctuations(
            steps, 10 * n, seed
        ),
        "random: clusters of photons": lambda: study_photons(steps, 2 * n, seed),
    }
    console = Console(stderr=True)
    done = {
        name: [series._asdict() | check_series(series) for series in study()]
        for name, study in track(studies.items(), "convergence", console=console)
    }
    return {"steps": steps, "n_particles": n, "seed": seed, "studies": done}


def check_series(series: Series) -> dict[str, Any]:
    """Return chi2 of a random quantity against its closed form or its own mean."""
    if series.errors is None:
        return {}
    weights = [1.0 / max(e, 1e-300) ** 2 for e in series.errors]
    mean = sum(w * v for w, v in zip(weights, series.values, strict=True)) / sum(
        weights
    )
    centre = mean if series.expected is None else series.expected
    pairs = zip(weights, series.values, strict=True)
    return {
        "mean": mean,
        "mean_error": sum(weights) ** -0.5,
        "chi2": sum(w * (v - centre) ** 2 for w, v in pairs),
        "dof": len(weights) - (series.expected is None),
    }


def study_retention(settings: Settings) -> dict[str, Any]:
    """Return shares of skims and means of variables against the step."""
    n_events = {
        step: settings.n_events if step >= _FINE else settings.n_fine
        for step in settings.retention_steps
    }
    start = perf_counter()
    with show_progress("retention", sum(n_events.values())) as advance:
        values = simulate(
            settings.event_type,
            n_events,
            seed=settings.seed,
            workers=settings.workers,
            minutes=settings.minutes,
            parts=settings.output / "parts",
            advance=advance,
        )
    results = {name: compare(by_step, REFERENCE) for name, by_step in values.items()}
    return {
        "event_type": settings.event_type,
        "seed": settings.seed,
        "reference": REFERENCE,
        "seconds": perf_counter() - start,
        "skims": {k: v for k, v in results.items() if k not in VARIABLES},
        "variables": {k: v for k, v in results.items() if k in VARIABLES},
    }


def write_json(document: Any, path: Path) -> None:
    """Write a document to a temporary name and move it."""
    temporary = path.with_suffix(".part")
    temporary.write_text(
        json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )
    os.replace(temporary, path)  # noqa: PTH105


def round_values(value: Any) -> Any:
    """Return a document with five significant digits and null for NaN."""
    if isinstance(value, dict):
        return {str(key): round_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [round_values(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def make_tables(document: dict[str, Any]) -> list[Any]:
    """Return the tables that a person reads."""
    tables = []
    if "convergence" in document:
        part = document["convergence"]
        for name, rows in part["studies"].items():
            tables.append(_study_table(name, part["steps"], rows))
    if "retention" in document:
        part = document["retention"]
        title = f"retention of {part['event_type']} events, %, against the step"
        tables.append(_retention_table(title, part["skims"], 100.0))
        tables.append(_retention_table("means of variables", part["variables"], 1.0))
    return tables


def _study_table(
    name: str, steps: Sequence[float], rows: Sequence[dict[str, Any]]
) -> Any:
    random = rows[0]["errors"] is not None
    last = ["closed form", "chi2 / dof"] if random else ["order"]
    lines = []
    for row in rows:
        errors = row["errors"] or [None] * len(steps)
        cells = [_show(v, e) for v, e in zip(row["values"], errors, strict=True)]
        if random:
            cells += [_show(row["expected"]), f"{row['chi2']:.1f} / {row['dof']}"]
        else:
            cells.append("-" if row["order"] is None else f"{row['order']:.2f}")
        lines.append([f"{row['name']}, {row['unit']}", *cells])
    return make_table(name, ["", *(f"{h:g} cm" for h in steps), *last], lines)


def _show(value: float | None, error: float | None = None) -> str:
    if value is None:
        return "-"
    if not error:
        return f"{value:.3g}" if error is None else f"{value:.5g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits > 5:
        return f"{value:.4e} ± {error:.0e}"
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _retention_table(title: str, results: dict[str, Any], scale: float) -> Any:
    points = next(iter(results.values()))["points"]
    columns = [f"{p['step']:g} cm (n = {p['n_events']:,})" for p in points]
    lines = []
    for name, result in results.items():
        cells, shifts = [], []
        for p in result["points"]:
            cells.append(_show(scale * p["mean"], scale * (p["mean_error"] or 0.0)))
            pull = p.get("pull")
            shift = _show(
                scale * p.get("difference", 0.0),
                scale * (p.get("difference_error") or 0.0),
            )
            shifts.append("-" if pull is None else f"{shift} ({pull:+.1f} σ)")
        p_value = "-" if result["p_value"] is None else f"{result['p_value']:.2f}"
        chi2 = f"{result['chi2']:.1f} / {result['dof']}"
        lines += [[name, *cells, chi2, p_value], ["  less 1 cm", *shifts, "", ""]]
    return make_table(title, ["", *columns, "chi2 / dof", "p"], lines)


if __name__ == "__main__":
    command()
