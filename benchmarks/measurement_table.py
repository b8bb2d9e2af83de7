"""Predicted and measured speedups as Markdown, from results of ``smartfilter measure``.

    python benchmarks/measurement_table.py benchmarks/results/measure.json
    python benchmarks/measurement_table.py --into docs/measurement.md
    python benchmarks/measurement_table.py --short --into README.md

Without a file, the results beside this command: both models and detectors, with --short
the default model alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from network_table import insert_text
from result_files import expect_result, load_result

from smartfilter.cli import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["command", "render", "render_short"]

MARKS = ("<!-- measurements: begin -->", "<!-- measurements: end -->")

RESULTS = Path(__file__).parent / "results"

SHIPPED = (
    "measure-geant4.json",
    "measure.json",
    "measure-geant4-gcn.json",
    "measure-gcn.json",
)
"""Results with both detectors: those of the default model, then those of ``gcn``."""


def render(document: Mapping[str, Any]) -> str:
    """Return what was measured, and a row per working point.

    Parameters
    ----------
    document : mapping
        ``measure.json``.
    """
    rows = [_render_row(*pair) for pair in _pair_ways(document["points"])]
    lines = [
        _describe(document),
        "",
        (
            "| working point | f1 | f0 | measured | (A2), (C) | measured / it | "
            "(A), (C) at equal cost | (B') | (B) | measured, single | measured / (A2) |"
        ),
        "|" + "---|" * 11,
        *rows,
    ]
    return "\n".join(lines)


def render_short(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return one table of the first threshold, the last but one, and sampling."""
    lines = [
        (
            "| detector | t_g, t_n in blocks, t_s (ms) | working point | f1, f0 | "
            "measured | predicted (A2), (C) | one event at a time |"
        ),
        "|" + "---|" * 7,
    ]
    for document in documents:
        lines += list(_render_short_rows(document))
    return "\n".join(lines)


def _render_short_rows(document: Mapping[str, Any]) -> Iterator[str]:
    pairs = _pair_ways(document["points"])
    cuts = [pair for pair in pairs if pair[0]["mode"] == "threshold"]
    sampling = [pair for pair in pairs if pair[0]["mode"] == "sample"]
    chosen = [*cuts[:1], *cuts[-2:-1], *sampling[:1]]
    heads = (_name_detector(document), _show_times(document))
    for k, (blocks, single) in enumerate(chosen):
        cells = (
            *(heads if k == 0 else ("", "")),
            _name_point(blocks),
            f"{blocks['tpr']:.2f}, {blocks['fpr']:.3f}",
            _show(blocks, "measured_speedup", 2),
            f"{blocks['predicted_with_costs']:.2f}",
            "-" if single is None else _show(single, "measured_speedup", 2),
        )
        yield f"| {' | '.join(cells)} |"


def _pair_ways(
    points: Sequence[Mapping[str, Any]],
) -> list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """Return each point in blocks with the same one event by event, if it is there."""
    single = {_identify(p): p for p in points if not p["filter_in_blocks"]}
    return [(p, single.get(_identify(p))) for p in points if p["filter_in_blocks"]]


def _identify(point: Mapping[str, Any]) -> tuple[Any, ...]:
    return point["mode"], point["threshold"], point["sampling_constant"]


def _describe(document: Mapping[str, Any]) -> str:
    times = document["times"][document["clock"]]
    clock = {"cpu": "CPU time", "wall": "wall-clock time"}[document["clock"]]
    machine = document.get("machine", {}).get("cpu")
    return (
        f"**`{document['model'].removesuffix('.pt')}`, {_name_detector(document)}**: "
        f"{document['n_events']:,} {document['event_type']} events per sample, {clock} of "
        f"one core per event{'' if machine is None else f' ({machine})'}: "
        f"t_g = {1e3 * times['t_g']:.2f} ms, t_n = {1e3 * times['t_n_blocks']:.3f} ms in "
        f"blocks and {1e3 * times['t_n_events']:.2f} ms event by event, "
        f"t_s = {1e3 * times['t_s']:.1f} ms, "
        f"r = {100 * document['retention_rate']:.1f} %."
    )


def _name_detector(document: Mapping[str, Any]) -> str:
    if document["step"] is None:
        return "Geant4"
    return f"{document['detector']}, {10 * document['step']:g} mm"


def _show_times(document: Mapping[str, Any]) -> str:
    times = document["times"][document["clock"]]
    t_g, t_n, t_s = (1e3 * times[name] for name in ("t_g", "t_n_blocks", "t_s"))
    return f"{t_g:.2f}, {t_n:.3f}, {t_s:.3g}"


def _name_point(point: Mapping[str, Any]) -> str:
    if point["threshold"] is not None:
        return f"score >= {point['threshold']:.3f}"
    return f"sampling, c = {point['sampling_constant']:.2f}"


def _render_row(blocks: Mapping[str, Any], single: Mapping[str, Any] | None) -> str:
    cells = (
        _name_point(blocks) + ("" if blocks["replayed"] else ", run"),
        f"{blocks['tpr']:.2f}",
        f"{blocks['fpr']:.3f}",
        _show(blocks, "measured_speedup", 2),
        f"{blocks['predicted_with_costs']:.2f}",
        _show(blocks, "comparison", 3),
        f"{blocks['predicted_speedup']:.2f}",
        _show_number(blocks.get("substituted_formula"), 1),
        _show_number(blocks.get("printed_formula"), 2),
        "-" if single is None else _show(single, "measured_speedup", 2),
        "-" if single is None else _show(single, "comparison", 3),
    )
    return f"| {' | '.join(cells)} |"


def _show(point: Mapping[str, Any], name: str, digits: int) -> str:
    return f"{point[name]:.{digits}f} ± {point[f'{name}_error']:.{digits}f}"


def _show_number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="FILE...")
@click.option(
    "--short", is_flag=True, help="One table of few points, as in the README."
)
@click.option(
    "--into",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put it between the marks of this file.",
)
def command(files: tuple[Path, ...], short: bool, into: Path | None) -> None:
    """Print the tables of measurements."""
    names = SHIPPED[:2] if short else SHIPPED
    paths = files or tuple(RESULTS / name for name in names)
    documents = [load_result(path) for path in paths]
    with expect_result("smartfilter measure", *paths):
        text = (
            render_short(documents)
            if short
            else "\n\n".join(render(document) for document in documents)
        )
    if into is None:
        click.echo(text)
        return
    insert_text(into, text, MARKS)


if __name__ == "__main__":
    run(command)
