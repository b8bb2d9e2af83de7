"""Decay trees of events, in the terminal and as pictures."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from rich.console import Console

from smartfilter.decay_tree import build_decay_tree, list_decay_particles
from smartfilter.errors import UsageError
from smartfilter.events import PARTICLE_COLUMNS, Events
from smartfilter.graphs import find_dropped
from smartfilter.io import open_events
from smartfilter.plots.decay_tree import (
    MAX_PARTICLES,
    draw_decay_tree,
    place_particles,
)
from smartfilter.plots.folder import save_figure

SVG = "{http://www.w3.org/2000/svg}"


def make_event(mothers: list[int]) -> Events:
    """Pions of 1 GeV with these mothers."""
    n = len(mothers)
    columns = {name: np.zeros(n, dtype) for name, dtype in PARTICLE_COLUMNS.items()}
    columns["pdg"][:] = 211
    columns["energy"][:] = 1.0
    columns["mother_index"][:] = mothers
    return Events.from_columns(np.array([0, n]), columns)


def list_particles(events: Events, notes: list[str] | None = None):
    return list_decay_particles(events, 0, notes or [""] * events.n_particles)


def test_list_decay_particles_breaks_loops_and_ignores_strangers():
    particles = list_particles(make_event([1, 2, 0, 2, 99, 5, -2]))
    assert [p.mother for p in particles] == [-1, 2, 0, 2, -1, -1, -1]
    assert particles[2].daughters == (1, 3)


def test_decay_tree_of_a_long_chain_prints(capsys):
    chain = make_event(list(range(-1, 2_999)))
    tree = build_decay_tree(chain, 0, notes=[""] * 3_000, title="[red]")
    depth, branch = 0, tree
    while branch.children:
        depth, branch = depth + 1, branch.children[0]
    assert depth == 3_000
    few = build_decay_tree(make_event([-1, 0]), 0, notes=["", "b"], title="[red]")
    Console(width=60).print(few)
    assert "[red]" in capsys.readouterr().out


def test_place_particles_never_two_in_one_place(example):
    events = open_events(example).read()
    for i in range(0, len(events), 8):
        notes = [""] * int(events.counts[i])
        particles = list_decay_particles(events, i, notes)
        generation, row = place_particles(particles)
        leaves = sorted(row[p.index] for p in particles if not p.daughters)
        assert leaves == list(range(len(leaves)))
        for p in particles:
            if p.mother >= 0:
                assert generation[p.index] == generation[p.mother] + 1
        for k in range(generation.max() + 1):
            ordered = np.sort(row[generation == k])
            assert (np.diff(ordered) >= 1.0 - 1e-9).all()


def test_inspect_event_draws_every_particle_and_line(run, example, tmp_path):
    output = tmp_path / "tree.svg"
    code, out, _ = run("inspect", example, "--event", 247, "-o", output, "--json")
    assert code == 0
    document = json.loads(out)
    assert document["output"] == str(output)
    assert document["n_kept"] == sum(not p["dropped"] for p in document["particles"])
    root = ET.parse(output).getroot()
    assert root.tag == f"{SVG}svg"
    ids = [element.get("id", "") for element in root.iter()]
    n = document["n_particles"]
    assert n == open_events(example).read().counts[247]
    assert sum(name.startswith("particle-") for name in ids) == n
    with_mother = sum(p["mother_index"] >= 0 for p in document["particles"])
    assert sum(name.startswith("line-") for name in ids) == with_mother
    dropped = next(k for k, p in enumerate(document["particles"]) if p["dropped"])
    kept = next(k for k, p in enumerate(document["particles"]) if not p["dropped"])
    assert "#9e9e9e" in find_style(root, dropped)
    assert "#9e9e9e" not in find_style(root, kept)


def find_style(root: ET.Element, index: int) -> str:
    group = next(e for e in root.iter() if e.get("id") == f"particle-{index}")
    return " ".join(e.get("style", "") for e in group.iter())


def find_overlaps(figure) -> list[tuple[str, str]]:
    """Return pairs of texts of a figure whose frames overlap."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = figure.axes[0].texts
    frames = [text.get_window_extent(renderer) for text in texts]
    page = figure.bbox
    assert all(f.x0 >= page.x0 and f.x1 <= page.x1 for f in frames)
    assert all(f.y0 >= page.y0 and f.y1 <= page.y1 for f in frames)
    return [
        (a.get_text(), b.get_text())
        for i, a in enumerate(texts)
        for j, b in enumerate(texts[:i])
        if frames[i].shrunk(0.98, 0.8).overlaps(frames[j].shrunk(0.98, 0.8))
    ]


@pytest.mark.parametrize("entry", [0, 87, 247])
def test_draw_decay_tree_texts_do_not_overlap(example, entry):
    from smartfilter.plots.style import use_style

    events = open_events(example).read().take([entry])
    notes = ["vertex" if code else "" for code in find_dropped(events)]
    with use_style():
        figure = draw_decay_tree(
            list_decay_particles(events, 0, notes),
            title=f"events.root, entry {entry}: $5 mixed",
            texts=[f"feiHadronicB{k} 0.0{k}" for k in range(20)],
        )
        assert find_overlaps(figure) == []


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_save_figure_is_of_the_kind_of_its_name(tmp_path, suffix):
    path = tmp_path / f"tree.{suffix}"
    figure = draw_decay_tree(list_particles(make_event([-1, 0])), title="two")
    save_figure(figure, path)
    assert path.read_bytes().startswith({"png": b"\x89PNG", "pdf": b"%PDF"}[suffix])
    with pytest.raises(UsageError, match="exists; use --force"):
        save_figure(figure, path)


def test_draw_decay_tree_empty_and_too_large():
    assert draw_decay_tree([], title="nothing").axes[0].texts
    particles = list_particles(make_event([-1] * (MAX_PARTICLES + 1)))
    with pytest.raises(UsageError, match="expected at most 500 particles, got 501"):
        draw_decay_tree(particles, title="many")


def test_draw_decay_tree_unknown_particle_has_its_code():
    events = make_event([-1])
    events.particles["pdg"][0] = 987_654_321
    texts = draw_decay_tree(list_particles(events), title="one").axes[0].texts
    assert any("987654321" in text.get_text() for text in texts)
