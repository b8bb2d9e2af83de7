"""One event as a decay tree, for ``smartfilter inspect --event``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartfilter.cli.terminal import emit, show_progress
from smartfilter.shipped import name_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smartfilter.decay_tree import DecayParticle
    from smartfilter.events import Events
    from smartfilter.scoring import Scorer

__all__ = ["inspect_event"]


def inspect_event(
    file: str, entry: int, model: str | None, output: Path | None, *, force: bool
) -> None:
    """Print the decay tree of an event with its score, and draw it if asked to.

    Raises
    ------
    InputError
        If the file cannot be read or has no such entry.
    ModelFileError
        If the model cannot be read.
    UsageError
        If the picture cannot be written.
    """
    from smartfilter.bulk import resolve_event_type
    from smartfilter.decay_tree import (
        build_decay_tree,
        list_decay_particles,
        particle_name,
    )
    from smartfilter.events import EVENT_TYPES
    from smartfilter.graphs import Dropped, Reason, find_dropped
    from smartfilter.scoring import Scorer

    if output is not None:
        _check_picture(output, force=force)
    events, n_inferred = resolve_event_type(_find_entry(file, entry), None)
    scorer = Scorer(model, device="cpu")
    scores = scorer.score(events)
    notes = [
        _spell(Dropped(code).name) if code else ""
        for code in find_dropped(events, scorer.info.preset)
    ]
    particles = list_decay_particles(events, 0, notes)
    code = int(events.event_type[0])
    kind = EVENT_TYPES[code] if code >= 0 else "unknown type"
    reason = Reason(int(scores.reason[0]))
    unscorable = _spell(reason.name) if reason else None
    values = dict(zip(scorer.info.skim_names, scores.scores[0].tolist(), strict=True))
    document = {
        "path": file,
        "entry": entry,
        "identity": _identify(events),
        "event_type": kind,
        "event_type_inferred": bool(n_inferred),
        "model": {"path": name_model(scorer.path), "digest": scorer.digest},
        "preset": scorer.info.preset,
        "n_particles": len(particles),
        "n_kept": sum(not p.note for p in particles),
        "unscorable": unscorable,
        "score": values,
        "output": None if output is None else str(output),
        "particles": [
            {
                "pdg": p.pdg,
                "name": particle_name(p.pdg),
                "mother_index": int(events["mother_index"][p.index]),
                "energy": p.energy,
                "production_radius": p.radius,
                "dropped": p.note or None,
            }
            for p in particles
        ],
    }
    title = f"{Path(file).name}, entry {entry}: {kind}" + " (inferred)" * bool(
        n_inferred
    )
    texts = _describe(particles, scorer, values, unscorable)
    if output is not None:
        from smartfilter.plots.decay_tree import draw_decay_tree
        from smartfilter.plots.folder import save_figure

        save_figure(
            draw_decay_tree(particles, title=title, texts=texts), output, force=force
        )
    tree = build_decay_tree(events, 0, notes=notes, title=title)
    emit(document, tree, "", *texts)
    if output is not None:
        click.echo(f"Written: {output}", err=True)


def _check_picture(output: Path, *, force: bool) -> None:
    """Refuse what cannot be written before the work."""
    from smartfilter.io.output import check_output
    from smartfilter.plots.style import require_packages

    require_packages()
    check_output(output, force=force)


def _identify(events: Events) -> dict[str, int]:
    names = ("experiment", "run", "production", "event")
    return {name: int(getattr(events, name)[0]) for name in names}


def _describe(
    particles: Sequence[DecayParticle],
    scorer: Scorer,
    values: dict[str, Any],
    unscorable: str | None,
) -> list[str]:
    """Return what preparation and network say of the event."""
    model = scorer.path.name
    n_kept = sum(not p.note for p in particles)
    counts: dict[str, int] = {}
    for particle in particles:
        if particle.note:
            counts[particle.note] = counts.get(particle.note, 0) + 1
    lost = ", ".join(f"{number} ({note})" for note, number in counts.items())
    text = f"preparation '{scorer.info.preset}' keeps {n_kept} of {len(particles)}"
    texts = [f"{text}, drops {lost}" if lost else text]
    if unscorable is not None:
        return [*texts, f"cannot be scored ({unscorable}): always simulated"]
    return [
        *texts,
        f"pass probability ({model}):",
        *(f"{name} {value:.3g}" for name, value in values.items()),
    ]


def _spell(name: str) -> str:
    return name.lower().replace("_", " ")


def _find_entry(file: str, entry: int) -> Events:
    """Return the one event at this position of the file."""
    from smartfilter.io import open_events

    source = open_events(file)
    with show_progress("find", min(entry, source.n_events)) as advance:
        return source.read_entry(entry, advance=advance)
