"""``smartfilter evaluate``: figures of merit of a model on events it never saw."""

from __future__ import annotations

from typing import Any

import click

from smartfilter.cli.metrics import make_result_tables
from smartfilter.cli.terminal import emit, json_option, show_progress

__all__ = ["command"]


@click.command("evaluate")
@click.argument("model")
@click.argument("files", nargs=-1, required=True, metavar="DATA...")
@click.option("--skim", "skims", multiple=True, help="Skim; repeatable.  [all]")
@click.option(
    "--t-s", "t_s", type=click.FloatRange(min=0.0), default=100.0, show_default=True
)
@click.option(
    "--t-n", "t_n", type=click.FloatRange(min=0.0), default=0.0, show_default=True
)
@click.option(
    "--all-events",
    is_flag=True,
    help="Use every event: only for files that the model was not trained on.",
)
@click.option("--device", default="auto", show_default=True)
@json_option
def command(
    model: str,
    files: tuple[str, ...],
    skims: tuple[str, ...],
    t_s: float,
    t_n: float,
    all_events: bool,
    device: str,
) -> None:
    """Evaluate a model on labelled events; those it was trained on are left out.

    Times are in units of the generation time t_g. One row per skim and event type; the
    figures at the top of the JSON document are those of the first skim on the events of
    the type that passes it most often.

    \b
    Example:
      smartfilter evaluate model.pt 'datasets/*.parquet'
    """  # noqa: D301
    from smartfilter.errors import InputError
    from smartfilter.io import open_events
    from smartfilter.scoring import Scorer
    from smartfilter.training.assessment import assess, score_labelled

    scorer = Scorer(model, device=device)
    with show_progress("evaluate", open_events(files).n_events) as advance:
        sample = score_labelled(
            files, scorer, skims=skims, all_events=all_events, advance=advance
        )
    assessment = assess(sample, scorer.info, simulation_cost=t_s, filter_cost=t_n)
    metrics = {name: r.to_metrics() for name, r in assessment.main.items()}
    if not metrics:
        raise InputError(
            f"labels: expected passing and failing events of one of "
            f"{', '.join(sample.skims)}, got none among {len(sample)}; add data"
        )
    document: dict[str, Any] = {
        "model": {"path": str(scorer.path), "digest": scorer.digest},
        "n_events": len(sample),
        "n_left_out": sample.n_dropped,
        "n_unscorable": sample.n_unscorable,
        "skims": metrics,
        "results": [
            {**r.to_metrics(), "quantiles": [q.to_dict() for q in r.quantiles]}
            for r in assessment.results
        ],
        **next(iter(metrics.values())),
    }
    title = f"{len(sample):,} unseen events, {sample.n_dropped:,} left out"
    emit(document, *make_result_tables(title, assessment.results))
