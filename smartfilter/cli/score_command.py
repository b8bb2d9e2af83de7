"""``smartfilter score``: files of events in, decisions out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartfilter.cli.completion import complete_files
from smartfilter.cli.options import (
    EVENT_TYPE,
    Choice,
    FiniteRange,
    dask_option,
    device_option,
    model_option,
    resume_option,
    skims_option,
    skip_bad_files_option,
    workers_option,
)
from smartfilter.cli.terminal import (
    emit,
    join_equal,
    json_option,
    make_table,
    report_skipped,
    show_progress,
)
from smartfilter.shipped import name_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smartfilter.bulk import Summary
    from smartfilter.decision import DecisionSettings
    from smartfilter.score_files import ScoreRun
    from smartfilter.scoring import Scorer

__all__ = ["command"]


@click.command("score")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", shell_complete=complete_files
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="OUT.parquet or OUT.root"
)
@model_option
@skims_option
@click.option(
    "--mode",
    type=Choice(["threshold", "sample", "official", "debug"]),
    default="threshold",
    show_default=True,
    help="Keep by threshold, sample with weights, draw as the official module, or keep "
    "all.",
)
@click.option(
    "--threshold",
    type=FiniteRange(0.0, 1.0),
    help="Keep if the score reaches it; mode threshold.  [the model's best working "
    "point]",
)
@click.option(
    "--working-point",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Thresholds and sampling constants of smartfilter working-point -o.",
)
@click.option(
    "--event-type",
    type=EVENT_TYPE,
    help="Type of all events.  [the file's, else inferred]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the sampling.",
)
@device_option
@click.option("--batch-size", type=click.IntRange(min=1), help="Events per batch.")
@click.option("--strict", is_flag=True, help="Stop at an event that cannot be scored.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Chunks of events that this process scores at the same time.",
)
@workers_option
@dask_option
@skip_bad_files_option
@resume_option
@click.option("--force", is_flag=True, help="Replace an existing output.")
@json_option
def command(
    files: tuple[str, ...],
    output: Path | None,
    model: str | None,
    skims: tuple[str, ...],
    mode: str,
    threshold: float | None,
    working_point: Path | None,
    event_type: str | None,
    seed: int,
    device: str,
    batch_size: int | None,
    strict: bool,
    threads: int,
    n_workers: int,
    scheduler: str | None,
    skip_bad_files: bool,
    resume: bool,
    force: bool,
) -> None:
    """Score generator-level events and decide which of them to simulate.

    FILE is an mdst ROOT file (generator-only or simulated), a labelled Parquet file, a
    public SmartBKG data set, HepMC, a glob, or file.root:tree. The output has one row
    per event.

    \b
    Examples:
      smartfilter score examples/events.root
      smartfilter score 'gen/*.root' -o scores.parquet --mode sample --seed 7
      smartfilter score gen.root -o s.root --skim feiHadronicB0 --threshold 0.1
      smartfilter score 'gen/*.root' -o scores.parquet --workers 8 --resume
    """  # noqa: D301
    from smartfilter.campaign import stop_on_sigterm
    from smartfilter.decision import DecisionSettings
    from smartfilter.distributed import open_workers
    from smartfilter.io import open_events
    from smartfilter.score_files import EVENTS_PER_CHUNK, score_files
    from smartfilter.scoring import Scorer
    from smartfilter.working_point_file import read_working_point, use_working_point

    scorer = Scorer(model, device=device, batch_size=batch_size)
    settings = DecisionSettings.for_each_type(
        scorer.info,
        skims=skims,
        mode=mode,
        threshold=threshold,
        seed=seed,
        event_type=event_type,
    )
    if resume and output is None:
        raise click.UsageError("--resume needs an output: -o OUT")
    names = [skim.name for skim in settings[-1].skims]
    if working_point is not None:
        if threshold is not None:
            raise click.UsageError("give --threshold or --working-point, not both")
        point = read_working_point(working_point)
        point.require_match(names, scorer.digest)
        settings = use_working_point(settings, point)
    source = open_events(
        files, chunk_size=EVENTS_PER_CHUNK, skip_bad_files=skip_bad_files
    )
    with (
        stop_on_sigterm(),
        open_workers(n_workers, scheduler, threads=threads) as workers,
        show_progress("score", source.n_events) as advance,
    ):
        run = score_files(
            source,
            scorer=scorer,
            settings=settings,
            workers=workers,
            describe=lambda run: describe_run(run, scorer, settings),
            output=output,
            device=device,
            event_type=event_type,
            strict=strict,
            force=force,
            resume=resume,
            skip_bad_files=skip_bad_files,
            advance=advance,
        )
    summary = run.summary
    report_skipped(run.skipped)
    document = {
        "n_events": summary.n_events,
        "n_kept": summary.n_kept,
        "n_unscorable": summary.n_unscorable,
        "events_per_second": run.events_per_second,
        "device": str(scorer.device),
        "model": {"digest": scorer.digest, "path": name_model(scorer.path)},
        "output": None if output is None else str(output),
        "n_resumed": run.n_resumed,
        **describe_run(run, scorer, settings),
    }
    emit(document, _make_table(run, scorer, mode))


def describe_run(
    run: ScoreRun, scorer: Scorer, settings: Sequence[DecisionSettings]
) -> dict[str, Any]:
    """Return the metadata that every score file carries.

    ``thresholds`` are by skim and event type.
    """
    from smartfilter import __version__
    from smartfilter.events import EVENT_TYPES

    by_type = dict(zip((*EVENT_TYPES, "unknown"), settings, strict=True))
    seen = {name: by_type[name] for name in run.summary.event_types}

    return {
        **run.summary.to_metadata(),
        "skipped_files": run.skipped,
        "mode": settings[-1].mode,
        "seed": settings[-1].seed,
        "max_weight": settings[-1].max_weight,
        "thresholds": {
            skim.name: {name: s.skims[k].threshold for name, s in seen.items()}
            for k, skim in enumerate(settings[-1].skims)
        },
        "model_digest": scorer.digest,
        "version": __version__,
    }


def _make_table(run: ScoreRun, scorer: Scorer, mode: str) -> Any:
    summary = run.summary
    share = summary.n_kept / summary.n_events if summary.n_events else 0.0
    rows = [
        ("events", f"{summary.n_events:,}"),
        *((f"  {name}", f"{k:,}") for name, k in summary.event_types.items()),
        ("kept", f"{summary.n_kept:,} ({share:.1%})"),
        ("unscorable (kept)", f"{summary.n_unscorable:,}"),
    ]
    for name, (total, size) in join_equal(_list_weights(summary)).items():
        rows.append((f"sum of weights, {name}", f"{total:,.1f}"))
        rows.append((f"effective size, {name}", f"{size:,.1f}"))
    if run.n_resumed:
        rows.append(("scored by an earlier run", f"{run.n_resumed:,}"))
    if run.skipped:
        rows.append(("files left out", f"{len(run.skipped):,}"))
    rows.append(("events/s", f"{run.events_per_second:,.0f}"))
    title = f"{scorer.path.name}, mode {mode}, on {scorer.device}"
    return make_table(title, ("", ""), rows)


def _list_weights(summary: Summary) -> dict[str, tuple[float, float]]:
    """Return sum of weights and effective size of each skim."""
    sizes = summary.effective_sizes
    return {
        name: (float(summary.sum_weight[k]), sizes[name])
        for k, name in enumerate(summary.skims)
    }
