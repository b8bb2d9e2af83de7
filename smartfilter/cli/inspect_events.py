"""What event files and files of detector objects hold, for ``smartfilter inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smartfilter.cli.inspect_rows import list_facts, make_multiplicity_table
from smartfilter.cli.terminal import emit, make_table, show_progress, show_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from smartfilter.contents import EventContents
    from smartfilter.io.origin import FileOrigin
    from smartfilter.progress import Begin

__all__ = ["inspect_events", "inspect_objects"]

_NAMES = {
    "particles": "generator particles",
    "stable": "stable in the generator",
    "nodes": "seen by the filter",
}


def inspect_events(file: str, model: str | None) -> None:
    """Print what a file of events holds and what the filter would see of it.

    Raises
    ------
    InputError
        If the file cannot be read.
    ModelFileError
        If the model cannot be read.
    """
    from smartfilter.contents import count_events, summarise
    from smartfilter.io import open_events
    from smartfilter.io.origin import read_origin

    source = open_events(file)
    origin = read_origin(file)
    preset, vocabulary = _find_preparation(model)
    with show_steps() as begin:
        advance = begin("inspect", source.n_events)
        contents = count_events(source, preset, vocabulary, advance=advance)
        stored = _count_stored(file, origin, begin)
    document = {
        "path": file,
        "format": origin.format,
        "release": origin.metadata.get("release"),
        "metadata": dict(origin.metadata),
        "provenance": dict(origin.provenance),
        "n_files": len(source.files),
        "n_events": contents.n_events,
        "event_types": contents.event_types,
        "n_event_type_inferred": contents.n_inferred,
        "preset": preset,
        "n_unscorable": sum(contents.unscorable.values()),
        "unscorable": contents.unscorable,
        "particles_per_event": summarise(contents.multiplicities["particles"]),
        "stable_per_event": summarise(contents.multiplicities["stable"]),
        "nodes_per_event": summarise(contents.multiplicities["nodes"]),
        "stored_per_event": None if stored is None else summarise(stored),
        "n_dropped": contents.dropped,
        "n_unknown_codes": contents.n_unknown_codes,
        "n_passing": contents.n_passing,
    }
    columns = {_NAMES[k]: v for k, v in contents.multiplicities.items()}
    if stored is not None:
        columns = {"stored, with secondaries": stored, **columns}
    emit(
        document,
        make_table(file, ("", ""), _list_origin(origin, len(source.files))),
        make_table("events", ("", "", "%"), _list_events(contents)),
        make_multiplicity_table("particles per event", columns),
        *_make_preparation_table(contents, preset),
        *_make_provenance_table(origin),
    )


def _find_preparation(model: str | None) -> tuple[str, Any]:
    """Return preset and vocabulary of a model; those of the module without one."""
    if model is None:
        return "smart_background", None
    from smartfilter.model_file import load_model, read_model_info

    if model.lower().endswith(".onnx"):
        info = load_model(model).info
    else:
        info, _ = read_model_info(model)
    return info.preset, info.vocabulary


def _count_stored(file: str, origin: FileOrigin, begin: Begin) -> NDArray[Any] | None:
    """Return the particles of each event with those of the detector simulation.

    None where a file holds no others than the generator's.
    """
    if origin.format != "mdst ROOT" or origin.is_ours:
        return None
    import numpy as np

    from smartfilter.io import open_events

    source = open_events(file, keep_secondaries=True)
    advance = begin("secondaries", source.n_events)
    counts = [np.empty(0, np.int64)]
    for chunk in source:
        counts.append(chunk.counts)
        advance(len(chunk))
    return np.concatenate(counts)


def _list_origin(origin: FileOrigin, n_files: int) -> list[tuple[str, str]]:
    names = {
        "release": "release",
        "global_tag": "global tag",
        "date": "written",
        "n_generated": "events generated",
    }
    rows = [("format", origin.format)]
    if n_files > 1:
        rows.append(("files", f"{n_files}; what follows here is of the first"))
    if origin.is_ours:
        rows.append(
            ("written by", f"smartfilter {origin.provenance.get('version', '')}")
        )
    for key, name in names.items():
        if key in origin.metadata:
            value = origin.metadata[key]
            shown = f"{value:,}" if isinstance(value, int) else value
            rows.append((name, shown or "-"))
    return rows


def _list_events(contents: EventContents) -> list[tuple[str, str, str]]:
    total = max(contents.n_events, 1)

    def row(name: str, number: int) -> tuple[str, str, str]:
        return name, f"{number:,}", f"{100 * number / total:.2f}"

    return [
        ("events", f"{contents.n_events:,}", ""),
        *(row(f"  {name}", k) for name, k in contents.event_types.items()),
        row("types inferred from the record", contents.n_inferred),
        row("unscorable, always kept", sum(contents.unscorable.values())),
        *(row(f"  {name}", k) for name, k in contents.unscorable.items()),
        *(row(f"pass {name}", k) for name, k in contents.n_passing.items()),
    ]


def _make_preparation_table(
    contents: EventContents, preset: str
) -> list[RenderableType]:
    """Return what preparation does to the particles of all events."""
    total = int(contents.multiplicities["particles"].sum())
    if not total:
        return []
    kept = int(contents.multiplicities["nodes"].sum())
    numbers = {
        "kept": kept,
        **{f"dropped: {name}": k for name, k in contents.dropped.items()},
        "kept, unknown PDG code": contents.n_unknown_codes,
    }
    rows = [
        (name, f"{number:,}", f"{100 * number / total:.2f}")
        for name, number in numbers.items()
    ]
    return [make_table(f"particles after preparation '{preset}'", ("", "", "%"), rows)]


def _make_provenance_table(origin: FileOrigin) -> list[RenderableType]:
    if not origin.provenance:
        return []
    return [make_table("provenance", ("", ""), list_facts(origin.provenance))]


def inspect_objects(file: str) -> None:
    """Print what a file of detector objects holds.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    import numpy as np

    from smartfilter.contents import summarise
    from smartfilter.pipeline.object_file import open_objects

    source = open_objects(file)
    tracks, clusters = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    types: dict[str, int] = {}
    with show_progress("inspect", source.n_events) as advance:
        for block in source.iterate():
            tracks.append(np.diff(block.detected.tracks.offsets))
            clusters.append(np.diff(block.detected.clusters.offsets))
            for item in block.identity.column("event_type").value_counts().to_pylist():
                name = item["values"] or "unknown"
                types[name] = types.get(name, 0) + item["counts"]
            advance(len(block))
    columns = {"tracks": np.concatenate(tracks), "clusters": np.concatenate(clusters)}
    provenance = source.provenances[0]
    types = dict(sorted(types.items()))
    document = {
        "path": file,
        "format": "detector objects",
        "n_events": source.n_events,
        "event_types": types,
        "tracks_per_event": summarise(columns["tracks"]),
        "clusters_per_event": summarise(columns["clusters"]),
        "provenance": provenance,
    }
    rows = [
        ("format", "detector objects of the mock reconstruction; for smartfilter skim"),
        ("events", f"{source.n_events:,}"),
        *((f"  {name}", f"{k:,}") for name, k in types.items()),
    ]
    tables = [make_table(file, ("", ""), rows)]
    tables.append(make_multiplicity_table("objects per event", columns))
    if provenance:
        tables.append(make_table("provenance", ("", ""), list_facts(provenance)))
    emit(document, *tables)
