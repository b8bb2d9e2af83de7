"""``smartfilter score``: files of events in, decisions out."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartfilter.cli.options import EVENT_TYPE
from smartfilter.cli.terminal import emit, json_option, make_table, show_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smartfilter.bulk import Summary
    from smartfilter.decision import DecisionSettings
    from smartfilter.scoring import Scorer

__all__ = ["command"]


@click.command("score")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="OUT.parquet or OUT.root"
)
@click.option("--model", help="Model file.  [the shipped gcn.pt]")
@click.option("--skim", "skims", multiple=True, help="Skim; repeatable.  [all]")
@click.option(
    "--mode",
    type=click.Choice(["threshold", "sample", "official", "debug"]),
    default="threshold",
    show_default=True,
)
@click.option(
    "--threshold",
    type=click.FloatRange(0.0, 1.0),
    help="Keep if the score reaches it.  [the model's best working point]",
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
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sampling.")
@click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N"
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Events per batch.")
@click.option("--strict", is_flag=True, help="Stop at an event that cannot be scored.")
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
    force: bool,
) -> None:
    """Score generator-level events and decide which of them to simulate.

    FILE is an mdst ROOT file (generator-only or simulated), a labelled Parquet file,
    a glob, or file.root:tree. The output has one row per event.

    \b
    Examples:
      smartfilter score examples/events.root
      smartfilter score 'gen/*.root' -o scores.parquet --mode sample --seed 7
      smartfilter score gen.root -o scores.root --skim feiHadronicB0 --threshold 0.1
    """  # noqa: D301
    from smartfilter.bulk import score_events
    from smartfilter.decision import DecisionSettings
    from smartfilter.io import ScoreWriter, open_events
    from smartfilter.prefetch import read_ahead
    from smartfilter.scoring import Scorer
    from smartfilter.working_point_file import read_working_point

    scorer = Scorer(model, device=device, batch_size=batch_size)
    settings = DecisionSettings.for_each_type(
        scorer.info,
        skims=skims,
        mode=mode,
        threshold=threshold,
        seed=seed,
        event_type=event_type,
    )
    names = [skim.name for skim in settings[-1].skims]
    if working_point is not None:
        if threshold is not None:
            raise click.UsageError("give --threshold or --working-point, not both")
        point = read_working_point(working_point)
        point.require_match(names, scorer.digest)
        settings = tuple(s.with_working_point(point) for s in settings)
    source = open_events(files)
    with ExitStack() as stack:
        writer = None
        if output is not None:
            writer = stack.enter_context(ScoreWriter(output, names, force=force))
        advance = stack.enter_context(show_progress("score", source.n_events))
        summary = score_events(
            stack.enter_context(read_ahead(source)),
            scorer=scorer,
            settings=settings,
            event_type=event_type,
            strict=strict,
            write=None if writer is None else writer.write,
            advance=advance,
        )
        run = describe_run(summary, scorer, settings)
        if writer is not None:
            writer.close(run)
    document = {
        "n_events": summary.n_events,
        "n_kept": summary.n_kept,
        "n_unscorable": summary.n_unscorable,
        "events_per_second": summary.events_per_second,
        "device": str(scorer.device),
        "model": {"digest": scorer.digest, "path": str(scorer.path)},
        "output": None if output is None else str(output),
        **run,
    }
    emit(document, _make_table(summary, scorer, mode))


def describe_run(
    summary: Summary, scorer: Scorer, settings: Sequence[DecisionSettings]
) -> dict[str, Any]:
    """Return the metadata that every score file carries.

    ``thresholds`` are by skim and event type.
    """
    from smartfilter import __version__
    from smartfilter.events import EVENT_TYPES

    by_type = dict(zip((*EVENT_TYPES, "unknown"), settings, strict=True))
    seen = {name: by_type[name] for name in summary.event_types}

    return {
        **summary.to_metadata(),
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


def _make_table(summary: Summary, scorer: Scorer, mode: str) -> Any:
    share = summary.n_kept / summary.n_events if summary.n_events else 0.0
    rows = [
        ("events", f"{summary.n_events:,}"),
        *((f"  {name}", f"{k:,}") for name, k in summary.event_types.items()),
        ("kept", f"{summary.n_kept:,} ({share:.1%})"),
        ("unscorable (kept)", f"{summary.n_unscorable:,}"),
    ]
    for name, size in summary.effective_sizes.items():
        total = summary.sum_weight[summary.skims.index(name)]
        rows.append((f"sum of weights, {name}", f"{total:,.1f}"))
        rows.append((f"effective size, {name}", f"{size:,.1f}"))
    rows.append(("events/s", f"{summary.events_per_second:,.0f}"))
    title = f"{scorer.path.name}, mode {mode}, on {scorer.device}"
    return make_table(title, ("", ""), rows)
