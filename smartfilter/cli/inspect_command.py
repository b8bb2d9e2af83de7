"""``smartfilter inspect``: what a file or a model holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartfilter.cli.metrics import list_metrics
from smartfilter.cli.terminal import emit, json_option, make_table

if TYPE_CHECKING:
    from smartfilter.events import Events
    from smartfilter.model_file import LoadedModel

__all__ = ["command"]


@click.command("inspect")
@click.argument("file")
@click.option("--event", "entry", type=click.IntRange(min=0), help="Draw this entry.")
@click.option("--model", help="Model that scores the event.  [gcn]")
@json_option
def command(file: str, entry: int | None, model: str | None) -> None:
    """Show what an event file, a score file or a model file holds.

    \b
    Examples:
      smartfilter inspect examples/events.root
      smartfilter inspect examples/events.root --event 3
      smartfilter inspect model.pt
    """  # noqa: D301
    if Path(file).suffix in (".pt", ".onnx"):
        if entry is not None:
            raise click.UsageError("--event goes with a file of events")
        _inspect_model(file)
    elif _is_score_file(file):
        _inspect_scores(file)
    elif entry is None:
        _inspect_events(file)
    else:
        _inspect_event(file, entry, model)


def _is_score_file(file: str) -> bool:
    """Return whether the file is one that ``smartfilter score`` wrote."""
    from smartfilter.errors import InputError
    from smartfilter.io import ScoreFile

    try:
        ScoreFile(file)
    except InputError:
        return False
    return True


def _inspect_model(file: str) -> None:
    from smartfilter.model_file import load_model

    model = load_model(file)
    info = model.info
    document = {
        "path": file,
        "digest": model.digest,
        "network": info.network,
        "settings": dict(info.settings),
        "n_parameters": info.n_parameters,
        "preset": info.preset,
        "features": [name for name, _ in info.features],
        "n_pdg_codes": len(info.vocabulary.codes),
        "skims": list(info.skim_names),
        "training": dict(info.training),
    }
    emit(document, _describe_network(model), _describe_skims(model), *_metrics(model))


def _describe_network(model: LoadedModel) -> Any:
    info = model.info
    features = ", ".join(f"{name} [{unit}]" for name, unit in info.features)
    rows = [
        ("network", info.network),
        ("parameters", f"{info.n_parameters:,}"),
        ("preparation", info.preset),
        ("features", features),
        ("PDG codes", f"{len(info.vocabulary.codes)}"),
        ("digest", model.digest[:16]),
    ]
    return make_table(model.path.name, ("", ""), rows)


def _describe_skims(model: LoadedModel) -> Any:
    rows = [
        (
            f"{skim.name} ({name})",
            f"{100 * c.retention_rate:.2f}",
            f"{c.threshold:.4f}",
            f"{c.sampling_constant:.3f}",
        )
        for skim in model.info.skims
        for name, c in skim.calibration.items()
    ]
    columns = ("skim (event type)", "retention %", "threshold", "c")
    return make_table("working points", columns, rows)


def _metrics(model: LoadedModel) -> list[Any]:
    """Return what the model reached on events that it never saw, and its provenance."""
    training = dict(model.info.training)
    metrics = training.pop("metrics", {})
    files = training.pop("files", ())
    tables = [
        make_table(f"{name}: test events, never trained on", ("", ""), list_metrics(m))
        for name, m in metrics.items()
    ]
    if training:
        rows = [("files", f"{len(files)}"), *_flatten(training)]
        tables.append(make_table("training", ("", ""), rows))
    return tables


def _flatten(values: Any, prefix: str = "") -> Any:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, float):
            yield f"{prefix}{key}", f"{value:.4g}"
        else:
            yield f"{prefix}{key}", str(value)


def _inspect_scores(file: str) -> None:
    from smartfilter.io import ScoreFile, verify_scores

    sums = verify_scores(file)
    metadata = ScoreFile(file).metadata
    document = {
        "path": file,
        "n_events": sums.n_generated,
        "sums_verified": True,
        **metadata,
    }
    rows = [*_flatten(metadata), ("counts and sums", "equal those of the rows")]
    emit(document, make_table(f"scores in {file}", ("", ""), rows))


def _inspect_events(file: str) -> None:
    import numpy as np

    from smartfilter.bulk import resolve_event_type
    from smartfilter.events import EVENT_TYPES
    from smartfilter.graphs import prepare
    from smartfilter.io import open_events

    counts, nodes, scorable, inferred = [], [], 0, 0
    types = np.zeros(len(EVENT_TYPES) + 1, dtype=np.int64)
    passing: dict[str, int] = {}
    for chunk in open_events(file):
        events, n_inferred = resolve_event_type(chunk, None)
        graph = prepare(events)
        counts.append(events.counts)
        nodes.append(np.diff(graph.offsets))
        scorable += int(graph.scorable.sum())
        inferred += n_inferred
        types += np.bincount(
            np.where(events.event_type < 0, len(EVENT_TYPES), events.event_type),
            minlength=len(types),
        )
        for name, label in events.labels.items():
            passing[name] = passing.get(name, 0) + int(label.sum())
    n_particles = np.concatenate(counts) if counts else np.zeros(0, dtype=np.int64)
    n_nodes = np.concatenate(nodes) if nodes else np.zeros(0, dtype=np.int64)
    named = dict(zip((*EVENT_TYPES, "unknown"), types.tolist(), strict=True))
    document = {
        "path": file,
        "n_events": len(n_particles),
        "event_types": {name: k for name, k in named.items() if k},
        "n_event_type_inferred": inferred,
        "n_unscorable": len(n_particles) - scorable,
        "particles_per_event": _spread(n_particles),
        "nodes_per_event": _spread(n_nodes),
        "n_passing": passing,
    }
    rows = [
        ("events", f"{document['n_events']:,}"),
        *((f"  {name}", f"{k:,}") for name, k in named.items() if k),
        ("types inferred from the record", f"{inferred:,}"),
        ("unscorable", f"{document['n_unscorable']:,}"),
        ("generator particles (min, mean, max)", _show(n_particles)),
        ("seen by the filter (min, mean, max)", _show(n_nodes)),
        *((f"pass {name}", f"{k:,}") for name, k in passing.items()),
    ]
    emit(document, make_table(file, ("", ""), rows))


def _spread(values: Any) -> dict[str, float]:
    if not len(values):
        return {}
    return {
        "min": int(values.min()),
        "mean": float(values.mean()),
        "max": int(values.max()),
    }


def _show(values: Any) -> str:
    s = _spread(values)
    return f"{s['min']}, {s['mean']:.1f}, {s['max']}" if s else "-"


def _find_entry(file: str, entry: int) -> Events:
    """Return the one event at this position of the file."""
    from smartfilter.errors import InputError
    from smartfilter.io import open_events

    source = open_events(file)
    first = 0
    for chunk in source:
        if entry < first + len(chunk):
            return chunk.take([entry - first])
        first += len(chunk)
    raise InputError(
        f"event: expected an entry below {source.n_events}, got {entry} in {file}"
    )


def _inspect_event(file: str, entry: int, model: str | None) -> None:
    from smartfilter.bulk import resolve_event_type
    from smartfilter.decay_tree import build_decay_tree, particle_name
    from smartfilter.events import EVENT_TYPES
    from smartfilter.graphs import Dropped, find_dropped
    from smartfilter.scoring import Scorer

    events, _ = resolve_event_type(_find_entry(file, entry), None)
    scorer = Scorer(model, device="cpu")
    scores = scorer.score(events)
    dropped = find_dropped(events, scorer.info.preset)
    notes = [
        Dropped(code).name.lower().replace("_", " ") if code else "" for code in dropped
    ]
    values = dict(zip(scorer.info.skim_names, scores.scores[0].tolist(), strict=True))
    code = int(events.event_type[0])
    kind = EVENT_TYPES[code] if code >= 0 else "unknown type"
    shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    title = f"{file}, entry {entry}: {kind}; pass probability {shown}"
    tree = build_decay_tree(events, 0, notes=notes, title=title)
    particles = [
        {
            "pdg": int(events["pdg"][i]),
            "name": particle_name(int(events["pdg"][i])),
            "mother_index": int(events["mother_index"][i]),
            "energy": float(events["energy"][i]),
            "dropped": notes[i] or None,
        }
        for i in range(events.n_particles)
    ]
    document = {
        "path": file,
        "entry": entry,
        "event_type": kind,
        "score": values,
        "particles": particles,
    }
    emit(document, tree)
