"""``smartfilter working-point``: best threshold and sampling constant for your times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from smartfilter.cli.completion import complete_files, complete_models
from smartfilter.cli.options import (
    EVENT_TYPE,
    FiniteRange,
    OutputPath,
    device_option,
    skims_option,
)
from smartfilter.cli.terminal import emit, json_option, show_steps
from smartfilter.shipped import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.io.locations import Location
    from smartfilter.points import SamplingPoint, Times
    from smartfilter.progress import Begin
    from smartfilter.working_point import WorkingPoint
    from smartfilter.working_point_file import SavedWorkingPoint

__all__ = ["command"]

TIME = FiniteRange(min=0.0)


class _Sample(NamedTuple):
    """Scores of events; arrays of shape (n_events, n_skims) and (n_events,)."""

    skims: tuple[str, ...]
    scores: NDArray[Any]
    passes: NDArray[Any] | None
    weight: NDArray[Any]
    event_type: NDArray[Any]
    model_digest: str | None
    n_left_out: int = 0

    @property
    def n_searches(self) -> int:
        """Number of working points of one event type: each skim, and all together."""
        return len(self.skims) + (len(self.skims) > 1)

    def list_types(self) -> list[int]:
        """Return the codes of known event types if the events are of several."""
        import numpy as np

        codes: list[int] = np.unique(self.event_type).tolist()
        return [code for code in codes if code >= 0] if len(codes) > 1 else []

    def take(self, use: NDArray[Any]) -> _Sample:
        """Return the events where a mask is true."""
        return self._replace(
            scores=self.scores[use],
            passes=None if self.passes is None else self.passes[use],
            weight=self.weight[use],
            event_type=self.event_type[use],
        )


class _Points(NamedTuple):
    """Working points by skim, and of several skims with one weight."""

    skims: dict[str, WorkingPoint]
    together: dict[str, SamplingPoint]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "skims": {name: point.to_dict() for name, point in self.skims.items()},
            "together": {name: vars(point) for name, point in self.together.items()},
        }


@click.command("working-point")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", shell_complete=complete_files
)
@click.option(
    "--model",
    shell_complete=complete_models,
    help=f"Model file, or gcn or subtree, for labelled FILEs.  [{DEFAULT_MODEL}]",
)
@skims_option
@click.option("--t-g", type=TIME, default=1.0, show_default=True, help="Generation.")
@click.option("--t-n", type=TIME, default=0.0, show_default=True, help="Filter.")
@click.option("--t-s", type=TIME, default=100.0, show_default=True, help="Simulation.")
@click.option(
    "--retention-rate",
    type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
    help="Share of generated events that pass.  [that of the events in FILE]",
)
@click.option(
    "--max-weight",
    type=FiniteRange(min=1.0),
    default=100.0,
    show_default=True,
    help="Largest weight of a kept event when sampling.",
)
@click.option("--event-type", type=EVENT_TYPE, help="Only events of this type.  [all]")
@click.option(
    "--all-events",
    is_flag=True,
    help="Use every labelled event: only where the model was not trained on them.",
)
@device_option
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
    event, in any one unit. Where the events are of several types, each type gets a
    working point of its own beside that of all, which score then uses for its events.

    \b
    Examples:
      smartfilter working-point scores.parquet --t-g 0.2 --t-n 0.1 --t-s 25
      smartfilter working-point 'datasets/mixed-*.parquet' -o point.json
      smartfilter score gen.root --mode sample --working-point point.json
    """  # noqa: D301
    from smartfilter.cli.working_point_tables import make_tables
    from smartfilter.points import Times
    from smartfilter.working_point_file import WorkingPointWriter

    if t_g + t_s == 0.0:
        raise click.UsageError("expected --t-g or --t-s above 0: else nothing is saved")
    writer = None if output is None else WorkingPointWriter(output, force=force)
    times = Times(t_g=t_g, t_s=t_s, t_n=t_n)
    with show_steps() as begin:
        sample = _read_sample(
            files, model, skims, event_type, all_events, device, begin
        )
        each = event_type is None and retention_rate is None
        types = sample.list_types() if each else []
        total = (1 + len(types)) * sample.n_searches
        advance = begin("search", total, "constants")
        points = _find_points(sample, times, retention_rate, max_weight, advance)
        by_type = _find_points_by_type(sample, types, times, max_weight, advance)
    document: dict[str, Any] = {
        "n_events": len(sample.scores),
        "n_left_out": sample.n_left_out,
        "source": next(iter(points.skims.values())).source,
        **times._asdict(),
        "max_weight": max_weight,
        "model_digest": sample.model_digest,
        "event_type": event_type,
        **points.to_dict(),
        "by_event_type": {name: found.to_dict() for name, found in by_type.items()},
        "output": None if output is None else str(output),
    }
    if writer is not None:
        writer.write(_select_constants(document), document)
        writer.close()
    if sample.n_left_out:
        click.echo(
            f"{sample.n_left_out:,} events that the model was trained on are left out",
            err=True,
        )
    emit(document, *make_tables(points, by_type))


def _find_points(
    sample: _Sample,
    times: Times,
    retention_rate: float | None,
    max_weight: float,
    advance: Callable[[int], None],
) -> _Points:
    """Return the working point of each skim, and of several together."""
    from smartfilter.errors import UsageError
    from smartfilter.working_point import find_joint_points, find_working_point

    if retention_rate is not None and len(sample.skims) > 1:
        raise click.UsageError("--retention-rate is that of one skim: add --skim")
    skims = {}
    for k, name in enumerate(sample.skims):
        try:
            skims[name] = find_working_point(
                sample.scores[:, k],
                None if sample.passes is None else sample.passes[:, k],
                times=times,
                retention_rate=retention_rate,
                sample_weight=sample.weight,
                max_weight=max_weight,
            )
        except UsageError as error:
            raise UsageError(
                f"{name}, {error}; give more events, or name the other skims with --skim"
            ) from error
        advance(1)
    if len(skims) == 1:
        return _Points(skims, {})
    joint = find_joint_points(
        sample.scores,
        sample.passes,
        times=times,
        sample_weight=sample.weight,
        max_weight=max_weight,
    )
    advance(1)
    return _Points(skims, dict(zip(sample.skims, joint, strict=True)))


def _find_points_by_type(
    sample: _Sample,
    codes: Sequence[int],
    times: Times,
    max_weight: float,
    advance: Callable[[int], None],
) -> dict[str, _Points]:
    """Return the working points of each of these event types.

    A type of which some skim lets nothing, or everything, pass is left out, and said so.
    """
    from smartfilter.errors import UsageError
    from smartfilter.events import EVENT_TYPES

    found: dict[str, _Points] = {}
    for code in codes:
        part = sample.take(sample.event_type == code)
        try:
            found[EVENT_TYPES[code]] = _find_points(
                part, times, None, max_weight, advance
            )
        except UsageError as error:
            click.echo(
                f"{EVENT_TYPES[code]}: no working point of its own ({error}); "
                f"that of all events holds",
                err=True,
            )
    return found


def _read_sample(
    files: Sequence[str],
    model: str | None,
    skims: Sequence[str],
    event_type: str | None,
    all_events: bool,
    device: str,
    begin: Begin,
) -> _Sample:
    """Return scored events of score files, or of labelled ones."""
    import numpy as np

    from smartfilter.errors import InputError
    from smartfilter.events import EVENT_TYPES
    from smartfilter.io.locations import expand_paths

    locations = expand_paths(files)
    if all(_holds_events(location) for location in locations):
        sample = _score(files, model, skims, all_events, device, begin)
    elif model is not None or all_events:
        raise click.UsageError(
            "--model and --all-events are for labelled files: FILE is scored already, "
            "or is neither; smartfilter inspect FILE tells"
        )
    else:
        paths = [location.path for location in locations]
        sample = _join_score_files(paths, skims, begin)
    use = np.isfinite(sample.scores).all(axis=1)
    if event_type is not None:
        use &= sample.event_type == EVENT_TYPES.index(event_type)
    if not use.any():
        raise InputError(
            f"events: expected scored ones of type {event_type or 'any'}, got none "
            f"among {len(use)} in {', '.join(files)}"
        )
    return sample.take(use)


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
    begin: Begin,
) -> _Sample:
    from smartfilter.io import open_events
    from smartfilter.scoring import Scorer
    from smartfilter.training.assessment import score_labelled

    scorer = Scorer(model, device=device)
    scored = score_labelled(
        files,
        scorer,
        skims=skims,
        all_events=all_events,
        advance=begin("score", open_events(files).n_events),
    )
    return _Sample(
        scored.skims,
        scored.scores,
        scored.passes,
        scored.weight,
        scored.event_type,
        scorer.digest,
        scored.n_dropped,
    )


def _join_score_files(
    paths: Sequence[str], skims: Sequence[str], begin: Begin
) -> _Sample:
    import numpy as np

    from smartfilter.errors import UsageError, describe_unknown
    from smartfilter.io import ScoreFile

    tables = [ScoreFile(path) for path in paths]
    digests = {table.metadata.get("model_digest") for table in tables}
    if len(digests) > 1:
        raise UsageError(
            f"score files: expected scores of one model, got {len(digests)} models"
        )
    names = tuple(skims) or tables[0].skims
    for path, table in zip(paths, tables, strict=True):
        for name in names:
            if name not in table.skims:
                raise UsageError(describe_unknown("skim", name, table.skims, path))
    columns = [f"score_{name}" for name in names]
    advance = begin("read", sum(table.n_rows for table in tables), "rows")
    scores = [np.empty((0, len(names)), np.float32)]
    types = [np.empty(0, np.int8)]
    for table in tables:
        for block in table.iterate([*columns, "event_type"]):
            scores.append(np.stack([block[name] for name in columns], axis=1))
            types.append(block["event_type"])
            advance(len(types[-1]))
    joined = np.concatenate(scores)
    weight = np.ones(len(joined))
    return _Sample(names, joined, None, weight, np.concatenate(types), digests.pop())


def _select_constants(document: dict[str, Any]) -> SavedWorkingPoint:
    """Return what ``smartfilter score`` needs; of several skims the joint constants."""
    from smartfilter.working_point_file import SavedWorkingPoint, TypeWorkingPoint

    def select(part: dict[str, Any]) -> TypeWorkingPoint:
        skims, together = part["skims"], part["together"]
        return TypeWorkingPoint(
            {name: point["best"]["threshold"] for name, point in skims.items()},
            {
                name: (together.get(name) or point["sampling"])["constant"]
                for name, point in skims.items()
            },
        )

    return SavedWorkingPoint(
        *select(document),
        max_weight=document["max_weight"],
        model_digest=document["model_digest"],
        event_type=document["event_type"],
        by_event_type={k: select(v) for k, v in document["by_event_type"].items()},
    )
