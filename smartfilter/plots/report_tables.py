"""Tables of ``smartfilter report``, from the JSON documents of the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartfilter.plots.page import PageTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "list_bias",
    "list_differences",
    "list_merits",
    "list_points",
    "list_run",
    "list_stages",
    "list_times",
    "show_number",
]

_TIMES = {
    "t_g": "t_g, generation",
    "t_n_blocks": "t_n, filter in blocks",
    "t_n_events": "t_n, filter event by event",
    "t_s": "t_s, simulation to skim",
}


def show_number(
    value: float | None, digits: int = 2, error: float | None = None
) -> str:
    """Return a number with its error; a dash if there is none."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    text = f"{value:.{digits}f}"
    return text if error is None else f"{text} ± {error:.{digits}f}"


def _show(
    row: Mapping[str, Any], name: str, digits: int = 2, scale: float = 1.0
) -> str:
    value, error = row.get(name), row.get(f"{name}_error")
    return show_number(
        None if value is None else scale * value,
        digits,
        None if error is None else scale * error,
    )


def list_run(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return command line, versions and machine of a document that has them."""
    facts = []
    if "command_line" in document:
        facts.append(("command", str(document["command_line"])))
    if "versions" in document:
        versions = document["versions"].items()
        facts.append(("versions", ", ".join(f"{name} {v}" for name, v in versions)))
    if "machine" in document:
        facts.append(("machine", _describe_machine(document["machine"])))
    return facts


def _describe_machine(machine: Mapping[str, Any]) -> str:
    """Return what is known of a machine in one line."""
    parts = {
        "cpu": "{}",
        "cores": "{} cores",
        "memory_gib": "{} GiB",
        "system": "{}",
        "load": "load {0[0]} at the start",
    }
    known = {name: machine.get(name) for name in parts}
    return ", ".join(
        text.format(known[name]) for name, text in parts.items() if known[name]
    )


def list_times(document: Mapping[str, Any]) -> PageTable:
    """Return times per event of a measurement."""
    clocks = document["times"]
    rows = [
        (
            text,
            *(show_number(1e3 * clocks[clock][name], 3) for clock in ("cpu", "wall")),
        )
        for name, text in _TIMES.items()
        if name in clocks["cpu"]
    ]
    return PageTable("Milliseconds per event", ("", "CPU", "wall clock"), rows)


def list_stages(document: Mapping[str, Any]) -> PageTable:
    """Return the time of each stage of a measurement per event that passes."""
    names = ("cpu_without_per_passing", "cpu_with_per_passing")
    stages = document["stages"]
    values = {
        stage: [1e3 * row[name] for name in names] for stage, row in stages.items()
    }
    values["all"] = [sum(column) for column in zip(*values.values(), strict=True)]
    rows = [
        (stage, *(show_number(value) for value in row)) for stage, row in values.items()
    ]
    columns = ("stage", "without filter", "with filter")
    return PageTable("CPU milliseconds per event that passes the skim", columns, rows)


def list_points(document: Mapping[str, Any]) -> list[PageTable]:
    """Return measured and predicted speedups, a table per way of filtering."""
    columns = (
        "working point",
        "f1",
        "f0",
        "measured",
        "(A2), (C)",
        "measured / it",
        "pull",
        "(A), (C) at equal cost",
        "(B')",
        "(B)",
    )
    tables = []
    for blocks, way in ((True, "filter in blocks"), (False, "filter event by event")):
        points = [p for p in document["points"] if p["filter_in_blocks"] == blocks]
        rows = [
            (
                _name_point(point),
                show_number(point["tpr"], 3),
                show_number(point["fpr"], 4),
                _show(point, "measured_speedup"),
                _show(point, "predicted_with_costs"),
                _show(point, "comparison", 3),
                show_number(point["pull_predicted_with_costs"], 1),
                show_number(point["predicted_speedup"]),
                show_number(point.get("substituted_formula")),
                show_number(point.get("printed_formula")),
            )
            for point in points
        ]
        if rows:
            tables.append(PageTable(f"Speedup, {way}", columns, rows))
    return tables


def _name_point(point: Mapping[str, Any]) -> str:
    if point["threshold"] is not None:
        name = f"score ≥ {point['threshold']:.4f}"
    elif point["sampling_constant"] is not None:
        name = f"sampling, c = {point['sampling_constant']:.2f}"
    else:
        name = point["mode"]
    return name if point["replayed"] else f"{name}, run"


def list_differences(models: Sequence[Mapping[str, Any]], skim: str) -> PageTable:
    """Return the models side by side for one skim."""
    first = models[0]["skims"][skim]
    rows = []
    for model in models:
        row = model["skims"][skim]
        rows.append(
            (
                Path(model["path"]).name,
                show_number(model["n_parameters"]),
                _show(row, "auc", 4),
                _show(row, "auc_difference", 4) if row is not first else "–",
                show_number(row["threshold"], 4),
                _show(row, "speedup"),
                _show(row, "sampling_speedup"),
                show_number(row["calibration_error"], 4),
            )
        )
    title = (
        f"{skim}, {first['event_type']}: {first['n_passing']:,} passing and "
        f"{first['n_failing']:,} failing events"
    )
    columns = (
        "model",
        "parameters",
        "AUC",
        "AUC − first",
        "threshold",
        "speedup (A)",
        "sampling (C)",
        "calibration error",
    )
    return PageTable(title, columns, rows)


def list_merits(name: str, results: Sequence[Mapping[str, Any]]) -> list[PageTable]:
    """Return figures of merit of a model, a row per skim and event type."""
    columns = (
        "skim, events",
        "passing",
        "r, %",
        "AUC",
        "f1",
        "f0",
        "speedup (A)",
        "sampling (C)",
    )
    rows = [
        (
            f"{row['skim']}, {row['event_type']}",
            show_number(row["n_passing"]),
            f"{100 * row['retention_rate']:.3g}",
            _show(row, "auc", 4),
            show_number(row.get("tpr"), 3),
            show_number(row.get("fpr"), 4),
            _show(row, "speedup"),
            _show(row, "sampling_speedup"),
        )
        for row in results
    ]
    title = f"{Path(name).name}: test events; – where too few pass or fail"
    return [PageTable(title, columns, rows)]


def list_bias(model: Mapping[str, Any]) -> list[PageTable]:
    """Return the bias of each sample of passing events, a table per skim."""
    columns = (
        "sample",
        "events",
        "effective",
        "variables",
        "as random parts",
        "below the criterion",
    )
    tables = []
    for skim, table in model.get("bias", {}).items():
        rows = [
            (
                name,
                f"{one['n_events']:,.0f}",
                f"{one['n_eff']:,.0f}",
                show_number(len(one["variables"])),
                show_number(one["n_random"]),
                show_number(one["n_fulfilling"]),
            )
            for name, one in table["samples"].items()
        ]
        title = (
            f"Bias of {skim}, {Path(model['path']).name}: Kullback-Leibler divergence of "
            f"{table['n_passing']:,} passing events; criterion {table['criterion']}"
        )
        tables.append(PageTable(title, columns, rows))
    return tables
