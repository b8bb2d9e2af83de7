"""What the speed benchmarks share: rivals in turn, quartiles, machine, table, JSON."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from rich.console import Console

from smartfilter import run_record
from smartfilter.cli.terminal import make_table
from smartfilter.errors import SmartFilterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "Limit",
    "Quartiles",
    "Report",
    "Row",
    "compare",
    "describe_machine",
    "start",
    "time_in_turn",
]

SCHEMA_VERSION = 1
_PACKAGES = (
    "smartfilter",
    "numpy",
    "torch",
    "torch-geometric",
    "onnxruntime",
    "uproot",
)


class Quartiles(NamedTuple):
    """Lower quartile, median and upper quartile."""

    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, values: Any) -> Quartiles:
        """Return those of some numbers."""
        return cls(*np.quantile(np.asarray(values, float), [0.25, 0.5, 0.75]).tolist())

    def __str__(self) -> str:
        """Return the median and, in brackets, the quartiles."""
        return f"{_show(self.median)} ({_show(self.lower)}-{_show(self.upper)})"


class Limit(NamedTuple):
    """A target: the ``ratio`` to the rival, or the number ``measured`` itself."""

    of: str
    sense: str
    value: float

    def __str__(self) -> str:
        """Return it as in a table."""
        sign = "≥" if self.sense == "at least" else "≤"
        return f"{'ratio ' if self.of == 'ratio' else ''}{sign} {_show(self.value)}"

    def is_met(self, number: float) -> bool:
        """Return whether a number reaches the target."""
        return (
            number >= self.value if self.sense == "at least" else number <= self.value
        )


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    what : str
    unit : str
    measured : Quartiles
    rival : str
        What it is compared with; empty: nothing.
    theirs : Quartiles, optional
        The rival's number.
    ratio : Quartiles, optional
        Of the two in each round: ours to theirs.
    limit : Limit, optional
    note : str
        What bounds it, where the target is missed.
    """

    what: str
    unit: str
    measured: Quartiles
    rival: str = ""
    theirs: Quartiles | None = None
    ratio: Quartiles | None = None
    limit: Limit | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or empty without a target."""
        if self.limit is None:
            return ""
        number = self.ratio if self.limit.of == "ratio" else self.measured
        if number is None:
            raise UsageError(f"row '{self.what}': expected a ratio for its target")
        return "met" if self.limit.is_met(number.median) else "missed"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        document: dict[str, Any] = {"what": self.what, "unit": self.unit}
        for name in ("measured", "theirs", "ratio"):
            value = getattr(self, name)
            document[name] = None if value is None else value._asdict()
        limit = None if self.limit is None else self.limit._asdict()
        return {
            **document,
            "rival": self.rival,
            "target": limit,
            "verdict": self.verdict,
            "note": self.note,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Row:
        """Return the row of `to_json`."""
        numbers = {
            name: None if document[name] is None else Quartiles(**document[name])
            for name in ("measured", "theirs", "ratio")
        }
        limit = document["target"]
        return cls(
            what=document["what"],
            unit=document["unit"],
            rival=document["rival"],
            limit=None if limit is None else Limit(**limit),
            note=document["note"],
            **numbers,  # type: ignore[arg-type]
        )

    @property
    def cells(self) -> tuple[str, ...]:
        """What the table shows."""
        return (
            self.what,
            f"{self.measured} {self.unit}",
            self.rival,
            "" if self.theirs is None else str(self.theirs),
            "" if self.ratio is None else str(self.ratio),
            "" if self.limit is None else str(self.limit),
            self.verdict,
        )


def describe_machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        **run_record.describe_machine(),
        "python": platform.python_version(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": dict.fromkeys(_PACKAGES) | run_record.list_versions(_PACKAGES),
    }


@dataclass
class Report:
    """What one command measured.

    Parameters
    ----------
    name : str
        Of the command.
    settings : mapping
        What it was measured with.
    rows : list of Row
    details : dict
        Further tables by title: rows of values by column.
    notes : list of str
        What a reader has to know.
    """

    name: str
    settings: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)
    details: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=describe_machine)

    def publish(self, output: Path | None) -> None:
        """Print the tables, and write the JSON document if there is a place for it."""
        console = Console(highlight=False, width=None if Console().is_terminal else 160)
        load = " ".join(f"{value:.1f}" for value in self.machine["load"])
        machine = f"{self.machine['cpu']}, {self.machine['cores']} cores, load {load}"
        rows = [row.cells for row in self.rows]
        columns = ("", "smartfilter", "rival", "", "ratio", "target", "")
        console.print(make_table(f"{self.name} ({machine})", columns, rows))
        for title, lines in self.details.items():
            cells = [[_show(value) for value in line.values()] for line in lines]
            console.print(make_table(title, list(lines[0]) if lines else (), cells))
        notes = [*self.notes, *(f"{r.what}: {r.note}" for r in self.rows if r.note)]
        for note in notes:
            console.print(f"- {note}")
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(
                json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8"
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "machine": self.machine,
            "settings": dict(self.settings),
            "rows": [row.to_json() for row in self.rows],
            "details": self.details,
            "notes": self.notes,
        }


def start(command: Callable[[], object]) -> None:
    """Run a command; what goes wrong is a message, not a traceback."""
    try:
        command()
    except SmartFilterError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def time_in_turn(
    contestants: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1
) -> dict[str, NDArray[np.float64]]:
    """Return the seconds of each round of each contestant, shape (rounds,).

    All of them run in every round, another one first each time.
    """
    names = list(contestants)
    for name in names * warm_up:
        contestants[name]()
    seconds = {name: np.empty(rounds) for name in names}
    for i in range(rounds):
        for k in range(len(names)):
            name = names[(i + k) % len(names)]
            begin = perf_counter()
            contestants[name]()
            seconds[name][i] = perf_counter() - begin
    return seconds


def compare(
    what: str,
    n_events: int,
    seconds: Mapping[str, NDArray[np.float64]],
    ours: str,
    rival: str,
    limit: Limit | None = None,
) -> Row:
    """Return the row that compares the events/s of two contestants."""
    return Row(
        what=what,
        unit="events/s",
        measured=Quartiles.of(n_events / seconds[ours]),
        rival=rival,
        theirs=Quartiles.of(n_events / seconds[rival]),
        ratio=Quartiles.of(seconds[rival] / seconds[ours]),
        limit=limit,
    )


def _show(value: Sequence[Any] | float | str) -> str:
    """Return three significant digits of a number, thousands separated."""
    if not isinstance(value, (int, float)):
        return str(value)
    if abs(value) >= 100 or value == int(value):
        digits = max(len(str(int(abs(value)))) - 3, 0)
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"
