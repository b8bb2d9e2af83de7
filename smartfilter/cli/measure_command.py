"""``smartfilter measure``: the chain with and without the filter against the formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from smartfilter.cli.options import EVENT_TYPE
from smartfilter.cli.terminal import emit, json_option, make_table, show_progress

__all__ = ["command"]


@click.command("measure")
@click.option("-n", "n_events", type=click.IntRange(min=1), default=2000)
@click.option("--event-type", type=EVENT_TYPE, default="mixed")
@click.option("--skim", default="feiHadronicB0", show_default=True)
@click.option("--model", help="Model file.  [the shipped gcn.pt]")
@click.option(
    "--mode",
    type=click.Choice(["threshold", "sample", "official"]),
    default="threshold",
    show_default=True,
)
@click.option(
    "--threshold",
    "thresholds",
    type=click.FloatRange(0.0, 1.0),
    multiple=True,
    help="Working point; repeatable, the first one is run for real.",
)
@click.option("--run-all", is_flag=True, help="Run every working point for real.")
@click.option(
    "--step",
    type=click.FloatRange(min=0.0, min_open=True),
    default=0.02,
    show_default=True,
    help="Longest step in the detector, cm: the dial of t_s.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--clock", type=click.Choice(["cpu", "wall"]), default="cpu", show_default=True
)
@click.option("--blocks", is_flag=True, help="Let the filter score whole blocks.")
@click.option("--device", default="cpu", show_default=True)
@json_option
def command(
    n_events: int,
    event_type: str,
    skim: str,
    model: str | None,
    mode: str,
    thresholds: tuple[float, ...],
    run_all: bool,
    step: float,
    seed: int,
    clock: str,
    blocks: bool,
    device: str,
) -> None:
    """Run generator, filter, mock detector, reconstruction and skim, and time them.

    Predictions come from one sample of N events, the measured speedup from another one
    that runs with and without the filter.

    \b
    Examples:
      smartfilter measure --event-type mixed -n 2000
      smartfilter measure -n 5000 --threshold 0.05 --threshold 0.1 --json
    """  # noqa: D301
    from smartfilter.model_file import default_model_path
    from smartfilter.pipeline.measurement import measure

    n_runs = 3 + (len(thresholds) if run_all and thresholds else 1)
    with show_progress("measure", n_runs * n_events) as advance:
        result = measure(
            event_type,
            n_events,
            skim=skim,
            model=Path(model) if model else default_model_path(),
            mode=mode,
            threshold=thresholds[0] if thresholds else None,
            thresholds=thresholds[1:],
            run_all=run_all,
            step=step,
            seed=seed,
            clock=clock,
            blocks=blocks,
            device=device,
            advance=advance,
        )
    document = result.to_document()
    title = (
        f"{event_type}, {skim}, {n_events:,} events per sample, step {step} cm, "
        f"{clock} time on one core"
    )
    emit(document, *_make_tables(title, document))


def _show(point: dict[str, Any], name: str, scale: float = 1.0, digits: int = 3) -> str:
    value, error = point.get(name), point.get(f"{name}_error")
    if value is None:
        return "-"
    text = f"{scale * value:.{digits}f}"
    return text if error is None else f"{text} ± {scale * error:.{digits}f}"


def _make_tables(title: str, document: dict[str, Any]) -> list[Any]:
    times = [
        ("t_g  generation", _show(document, "t_g", 1e3)),
        ("t_n  filter", _show(document, "t_n", 1e3)),
        ("t_s  simulation, reconstruction, skim", _show(document, "t_s", 1e3)),
        ("r    retention rate, %", _show(document, "retention_rate", 100.0, 2)),
    ]
    rows = []
    for point in document["points"]:
        threshold = point["threshold"]
        rows.append(
            (
                point["mode"] if threshold is None else f"score >= {threshold:.4f}",
                _show(point, "tpr"),
                _show(point, "fpr", digits=4),
                _show(point, "measured_speedup", digits=2)
                + (" (replayed)" if point["replayed"] else ""),
                _show(point, "predicted_speedup", digits=2),
                _show(point, "predicted_with_costs", digits=2),
                _show(point, "substituted_formula", digits=2),
                _show(point, "printed_formula", digits=2),
            )
        )
    formula = "(C)" if document["mode"] != "threshold" else "(A)"
    with_costs = "(C), costs" if formula == "(C)" else "(A2)"
    columns = ("working point", "f1", "f0", "measured", formula, with_costs)
    return [
        make_table(title, ("", "ms per event"), times),
        make_table("speedup", (*columns, "(B')", "(B)"), rows),
    ]
