"""The tables of ``smartfilter measure``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smartfilter.cli.terminal import make_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

__all__ = ["make_tables"]

_PRECISION = 0.05
"""Relative error that the comparison is meant to reach at every point."""

_WAYS = {True: "filter in blocks", False: "filter event by event"}


def make_tables(document: Mapping[str, Any]) -> list[RenderableType]:
    """Return what a person reads of the JSON document of ``smartfilter measure``."""
    points = document["points"]
    ways = list(dict.fromkeys(point["filter_in_blocks"] for point in points))
    by_way = {
        _WAYS[way]: [p for p in points if p["filter_in_blocks"] == way] for way in ways
    }
    return [
        _make_times(document),
        _make_stages(document),
        _make_rates(next(iter(by_way.values()))),
        _make_checks(by_way),
        *(_make_formulas(own, way) for way, own in by_way.items()),
        *(_make_speedups(own, way) for way, own in by_way.items()),
        _describe_precision(document),
    ]


def _describe_precision(document: Mapping[str, Any]) -> str:
    precision = document["precision"]
    if precision is None:
        return "A ratio is not defined; generate more events."
    needed = document["n_events"] * (precision / _PRECISION) ** 2
    return (
        f"Largest relative error of a ratio: {100 * precision:.1f} %; "
        f"{100 * _PRECISION:.0f} % takes about {needed:,.0f} events per sample."
    )


def _show(
    row: Mapping[str, Any], name: str, digits: int = 2, scale: float = 1.0
) -> str:
    value, error = row.get(name), row.get(f"{name}_error")
    if value is None:
        return "-"
    text = f"{scale * value:.{digits}f}"
    return text if error is None else f"{text} ± {scale * error:.{digits}f}"


def _show_value(row: Mapping[str, Any], name: str) -> str:
    """Return the number without its error, which its pull contains."""
    value = row.get(name)
    return "-" if value is None else f"{value:.2f}"


def _show_signed(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:+.{digits}f}"


def _name(point: Mapping[str, Any]) -> str:
    if point["threshold"] is not None:
        return f">= {point['threshold']:.4f}"
    constant = point["sampling_constant"]
    return point["mode"] if constant is None else f"c = {constant:.2f}"


def _make_times(document: Mapping[str, Any]) -> RenderableType:
    meanings = {
        "t_g": "t_g  generation",
        "t_n_blocks": "t_n  filter, blocks of events",
        "t_n_events": "t_n  filter, event by event",
        "t_s": "t_s  simulation, reconstruction, skim",
    }
    cpu, wall = document["times"]["cpu"], document["times"]["wall"]
    rows = [
        (text, _show(cpu, name, 3, 1e3), _show(wall, name, 3, 1e3))
        for name, text in meanings.items()
        if name in cpu
    ]
    step = "" if document["step"] is None else f", step {document['step']} cm"
    title = (
        f"{document['event_type']}, {document['skim']}, {document['detector']} "
        f"detector{step}: {document['n_events']:,} events per sample, "
        f"r = {_show(document, 'retention_rate', 2, 100.0)} %"
    )
    return make_table(title, ("ms per event and core", "CPU time", "wall clock"), rows)


def _make_stages(document: Mapping[str, Any]) -> RenderableType:
    columns = [
        f"{clock}_{name}_per_passing"
        for name in ("without", "with")
        for clock in ("cpu", "wall")
    ]
    stages = document["stages"]
    rows = [
        (stage, *(f"{1e3 * row[name]:.2f}" for name in columns))
        for stage, row in stages.items()
    ]
    total = [sum(row[name] for row in stages.values()) for name in columns]
    rows.append(("all", *(f"{1e3 * value:.2f}" for value in total)))
    heads = ("without, CPU", "wall clock", "with filter, CPU", "wall clock")
    title = f"ms per event that passes the skim; filter: score {_name(document)}"
    return make_table(title, ("stage", *heads), rows)


def _make_rates(points: Sequence[Mapping[str, Any]]) -> RenderableType:
    rows = [
        (
            _name(point),
            _show(point, "tpr", 3),
            _show(point, "fpr", 4),
            _show(point, "keep_fraction", 1, 100.0),
        )
        for point in points
    ]
    columns = ("score", "f1", "f0", "kept, %")
    return make_table("what the filter keeps, first sample", columns, rows)


def _make_speedups(points: Sequence[Mapping[str, Any]], way: str) -> RenderableType:
    rows = [
        (
            _name(point),
            "replayed" if point["replayed"] else "run",
            _show(point, "measured_speedup"),
            _show(point, "predicted_with_costs"),
            _show(point, "comparison", 3),
            _show_signed(point["pull_predicted_with_costs"]),
        )
        for point in points
    ]
    columns = ("score", "", "measured", "(A2), (C)", "ratio", "pull")
    return make_table(f"speedup; {way}", columns, rows)


def _make_formulas(points: Sequence[Mapping[str, Any]], way: str) -> RenderableType:
    """Show the other formulas, and pulls where they are meant."""
    rows = [
        (
            _name(point),
            _show(point, "predicted_speedup"),
            _show_signed(point["pull"]),
            _show_signed(_percent(point["excess_without_costs"])),
            _show_value(point, "substituted_formula"),
            _show_signed(point.get("pull_substituted_formula")),
            _show_value(point, "printed_formula"),
            _show_signed(point.get("pull_printed_formula")),
        )
        for point in points
    ]
    columns = ("score", "(A), (C)", "pull", "off, %", "(B')", "pull", "(B)", "pull")
    title = f"formulas that take all events to cost the same; {way}"
    return make_table(title, columns, rows)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


def _make_checks(
    by_way: Mapping[str, Sequence[Mapping[str, Any]]],
) -> RenderableType:
    rows = [
        (
            f"{_name(point)}, {way}",
            _show(point, "replay_ratio", 4),
            _show_signed(point.get("replay_pull")),
        )
        for way, points in by_way.items()
        for point in points
        if not point["replayed"]
    ]
    title = "replayed over run for real, same events"
    return make_table(title, ("score", "ratio", "pull"), rows)
