"""``smartfilter working-point``: best threshold and sampling constant for your times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from smartfilter.cli.options import EVENT_TYPE, OutputPath
from smartfilter.cli.terminal import emit, json_option, make_table, show_progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.io.locations import Location
    from smartfilter.working_point import SamplingPoint, WorkingPoint
    from smartfilter.working_point_file import SavedWorkingPoint

__all__ = ["command"]

TIME = click.FloatRange(min=0.0)


class _Sample(NamedTuple):
    """Scores of events; arrays of shape (n_events, n_skims) and (n_events,)."""

    skims: tuple[str, ...]
    scores: NDArray[Any]
    passes: NDArray[Any] | None
    weight: NDArray[Any]
    event_type: NDArray[Any]
    model_digest: str | None


@click.command("working-point")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--model", help="Model file, for labelled FILEs.  [the shipped gcn.pt]")
@click.option("--skim", "skims", multiple=True, help="Skim; repeatable.  [all]")
@click.option("--t-g", type=TIME, default=1.0, show_default=True, help="Generation.")
@click.option("--t-n", type=TIME, default=0.0, show_default=True, help="Filter.")
@click.option("--t-s", type=TIME, default=100.0, show_default=True, help="Simulation.")
@click.option(
    "--retention-rate",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    help="Share of generated events that pass.  [that of the events in FILE]",
)
@click.option(
    "--max-weight", type=click.FloatRange(min=1.0), default=100.0, show_default=True
)
@click.option("--event-type", type=EVENT_TYPE, help="Only events of this type.  [all]")
@click.option(
    "--all-events",
    is_flag=True,
    help="Use every labelled event: only where the model was not trained on them.",
)
@click.option("--device", default="auto", show_default=True)
@click.option(
    "-o",
    "--output",
    type=OutputPath(".json"),
    help="Save it for smartfilter score --working-point.",
)
@click.option("--force", is_flag=True, help="Replace an existing output.")
@json_option
def command(
    files: tuple[str, ...],
    model: str | None,
    skims: tuple[str, ...],
    t_g: float,
    t_n: float,
    t_s: float,
    retention_rate: float | None,
    max_weight: float,
    event_type: str | None,
    all_events: bool,
    device: str,
    output: Path | None,
    force: bool,
) -> None:
    """Find the best threshold and the best sampling constant for given times.

    FILE is a file that smartfilter score wrote, in any mode, or labelled events, which
    are scored here; those that the model was trained on are left out. Labels decide
    where there are any; else the calibrated scores say what to expect. Times are per
    event, in any one unit.

    \b
    Examples:
      smartfilter working-point scores.parquet --t-g 0.2 --t-n 0.1 --t-s 25
      smartfilter working-point 'datasets/mixed-*.parquet' -o point.json
      smartfilter score gen.root --mode sample --working-point point.json
    """  # noqa: D301
    from smartfilter.working_point import Times, find_joint_points, find_working_point
    from smartfilter.working_point_file import WorkingPointWriter

    writer = None if output is None else WorkingPointWriter(output, force=force)
    sample = _read_sample(files, model, skims, event_type, all_events, device)
    times = Times(t_g=t_g, t_s=t_s, t_n=t_n)
    points = {
        name: find_working_point(
            sample.scores[:, k],
            None if sample.passes is None else sample.passes[:, k],
            times=times,
            retention_rate=retention_rate,
            sample_weight=sample.weight,
            max_weight=max_weight,
        )
        for k, name in enumerate(sample.skims)
    }
    together: dict[str, SamplingPoint] = {}
    if len(points) > 1:
        if retention_rate is not None:
            raise click.UsageError("--retention-rate is that of one skim: add --skim")
        joint = find_joint_points(
            sample.scores,
            sample.passes,
            times=times,
            sample_weight=sample.weight,
            max_weight=max_weight,
        )
        together = dict(zip(sample.skims, joint, strict=True))
    document: dict[str, Any] = {
        "n_events": len(sample.scores),
        "source": next(iter(points.values())).source,
        **times._asdict(),
        "max_weight": max_weight,
        "model_digest": sample.model_digest,
        "skims": {name: point.to_dict() for name, point in points.items()},
        "together": {name: vars(point) for name, point in together.items()},
        "output": None if output is None else str(output),
    }
    if writer is not None:
        writer.write(_select_constants(document), document)
        writer.close()
    tables = [table for item in points.items() for table in _make_tables(*item)]
    if together:
        tables.append(_make_joint_table(together))
    emit(document, *tables)


def _read_sample(
    files: Sequence[str],
    model: str | None,
    skims: Sequence[str],
    event_type: str | None,
    all_events: bool,
    device: str,
) -> _Sample:
    """Return scored events of score files, or of labelled ones."""
    import numpy as np

    from smartfilter.errors import InputError
    from smartfilter.events import EVENT_TYPES
    from smartfilter.io.locations import expand_paths

    locations = expand_paths(files)
    if all(_holds_events(location) for location in locations):
        sample = _score(files, model, skims, all_events, device)
    elif model is not None or all_events:
        raise click.UsageError(
            "--model and --all-events are for labelled files: FILE is scored already, "
            "or is neither; smartfilter inspect FILE tells"
        )
    else:
        sample = _join_score_files([location.path for location in locations], skims)
    use = np.isfinite(sample.scores).all(axis=1)
    if event_type is not None:
        use &= sample.event_type == EVENT_TYPES.index(event_type)
    if not use.any():
        raise InputError(
            f"events: expected scored ones of type {event_type or 'any'}, got none "
            f"among {len(use)} in {', '.join(files)}"
        )
    return sample._replace(
        scores=sample.scores[use],
        passes=None if sample.passes is None else sample.passes[use],
        weight=sample.weight[use],
        event_type=sample.event_type[use],
    )


def _holds_events(location: Location) -> bool:
    """Return whether this is a file of events, other than mdst, that is not scored."""
    from smartfilter.io.formats import find_format

    found = find_format(location)
    return found.suffix != ".root" and found.load().recognises(location)


def _score(
    files: Sequence[str],
    model: str | None,
    skims: Sequence[str],
    all_events: bool,
    device: str,
) -> _Sample:
    from smartfilter.io import open_events
    from smartfilter.scoring import Scorer
    from smartfilter.training.assessment import score_labelled

    scorer = Scorer(model, device=device)
    with show_progress("score", open_events(files).n_events) as advance:
        scored = score_labelled(
            files, scorer, skims=skims, all_events=all_events, advance=advance
        )
    return _Sample(
        scored.skims,
        scored.scores,
        scored.passes,
        scored.weight,
        scored.event_type,
        scorer.digest,
    )


def _join_score_files(paths: Sequence[str], skims: Sequence[str]) -> _Sample:
    import numpy as np

    from smartfilter.errors import UsageError
    from smartfilter.io import read_scores

    tables = [read_scores(path) for path in paths]
    digests = {table.metadata.get("model_digest") for table in tables}
    if len(digests) > 1:
        raise UsageError(
            f"score files: expected scores of one model, got {len(digests)} models"
        )
    names = tuple(skims) or tables[0].skims
    for path, table in zip(paths, tables, strict=True):
        for name in names:
            if name not in table.skims:
                raise UsageError(
                    f"skim: expected one of {', '.join(table.skims)} in {path}, "
                    f"got '{name}'"
                )
    scores = [np.stack([t[f"score_{name}"] for name in names], axis=1) for t in tables]
    joined = np.concatenate(scores)
    return _Sample(
        names,
        joined,
        None,
        np.ones(len(joined)),
        np.concatenate([table["event_type"] for table in tables]),
        digests.pop(),
    )


def _select_constants(document: dict[str, Any]) -> SavedWorkingPoint:
    """Return what ``smartfilter score`` needs; of several skims the joint constants."""
    from smartfilter.working_point_file import SavedWorkingPoint

    skims, together = document["skims"], document["together"]
    return SavedWorkingPoint(
        thresholds={name: point["best"]["threshold"] for name, point in skims.items()},
        constants={
            name: (together.get(name) or point["sampling"])["constant"]
            for name, point in skims.items()
        },
        max_weight=document["max_weight"],
        model_digest=document["model_digest"],
    )


def _make_tables(name: str, point: WorkingPoint) -> list[Any]:
    """Return the curve of formula (A) and the sampling constants of one skim."""
    curve = [
        (
            f"{row.threshold:.4g}" + (" *" if row == point.best else ""),
            f"{row.tpr:.4f} ± {row.tpr_error:.4f}",
            f"{row.fpr:.4f} ± {row.fpr_error:.4f}",
            f"{row.keep_fraction:.2%}",
            f"{row.speedup:.3f} ± {row.speedup_error:.3f}",
        )
        for row in point.curve
    ]
    title = (
        f"{name}: {point.n_events:,} events, r = {point.retention_rate:.4g}, "
        f"from {point.source}"
    )
    best = f"Threshold, formula (A); * best: {point.best.speedup:.3f} on these events"
    if point.held_out_speedup is not None:
        best += f", {point.held_out_speedup:.3f} if found on the other half"
    columns = ("score >=", "f1", "f0", "simulated", "speedup")
    limit = f"maximum weight {point.sampling.max_weight:g}"
    sampling = zip(
        (text for text, _ in FIGURES),
        _describe(point.sampling),
        _describe(point.sampling_unlimited),
        strict=True,
    )
    formula = "Sampling, p = min(1, c sqrt(s)), formula (C)"
    return [
        make_table(f"{title}\n{best}", columns, curve),
        make_table(formula, ("", limit, "no maximum"), list(sampling)),
    ]


FIGURES: tuple[tuple[str, str], ...] = (
    ("c", "{constant:.4g}"),
    ("simulated", "{mean_keep_probability:.2%}"),
    ("at the maximum weight", "{share_at_max_weight:.2%}"),
    ("n_eff per generated event", "{n_eff_per_event:.4g}"),
    ("n_eff per passing event", "{n_eff_per_passing_event:.4f}"),
    ("speedup", "{speedup:.3f} ± {speedup_error:.3f}"),
)
"""What is printed of a `SamplingPoint`, and how."""


def _describe(point: SamplingPoint) -> list[str]:
    return [form.format(**vars(point)) for _, form in FIGURES]


def _make_joint_table(together: dict[str, SamplingPoint]) -> Any:
    rows = [
        (name, f"{p.constant:.4g}", f"{p.n_eff_per_event:.4g}", _describe(p)[-1])
        for name, p in together.items()
    ]
    share = next(iter(together.values())).mean_keep_probability
    title = (
        "All skims with one weight, p = min(1, sqrt(mean of c_k^2 s_k)), formula (C); "
        f"simulated {share:.2%}"
    )
    return make_table(title, ("", "c_k", "n_eff/event", "speedup"), rows)
