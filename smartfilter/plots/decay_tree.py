"""The picture of a decay tree: generations from left to right, a row per last particle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.decay_tree import (
    DISPLACED,
    particle_charge,
    particle_latex,
    particle_name,
)
from smartfilter.errors import UsageError
from smartfilter.plots.style import COLOURS, use_style

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from smartfilter.decay_tree import DecayParticle

__all__ = ["MAX_PARTICLES", "draw_decay_tree", "place_particles"]

MAX_PARTICLES = 500
"""Particles in a picture; events of the generator have 20 to 100."""

_PITCH = 0.3
_MARGIN = 0.35
_GAP = 0.42
_PAD = 0.09
_SWATCH = 0.2
_LEAST_WIDTH = 10.0
"""Inches: between rows, around all, between generations, beside text, for a marker."""

_NAME_SIZE = 13.0
_NUMBER_SIZE = 10.0
_TITLE_SIZE = 16.0
_TEXT_SIZE = 12.0
"""Points."""

_UNITS = "numbers: energy in GeV; r: production radius"

_DROPPED = "0.62"
_LINE = "0.35"
_INK = "0.15"


class _Kind(NamedTuple):
    """How particles of one kind look; markers tell them apart in grey."""

    label: str
    color: str
    marker: str


_KINDS: Mapping[str, _Kind] = {
    "decays": _Kind("decays", "black", "o"),
    "charged": _Kind("charged", COLOURS["blue"], "s"),
    "photon": _Kind("photon", COLOURS["orange"], "*"),
    "neutral": _Kind("neutral hadron", COLOURS["purple"], "D"),
    "neutrino": _Kind("neutrino", COLOURS["red"], "^"),
    "dropped": _Kind("dropped by the preparation", _DROPPED, "X"),
}


@dataclass(frozen=True)
class _Label:
    """One particle on the page; lengths in inches from the top left corner."""

    particle: DecayParticle
    kind: str
    name: str
    number: str
    name_width: float
    width: float
    """Of marker, name and number."""


def place_particles(
    particles: Sequence[DecayParticle],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return where the particles of a decay tree stand.

    Parameters
    ----------
    particles : sequence of DecayParticle
        Of `smartfilter.decay_tree.list_decay_particles`.

    Returns
    -------
    generation : ndarray of int64, shape (n_particles,)
        0 without a mother, else one more than the mother's.
    row : ndarray of float64, shape (n_particles,)
        Particles without daughters have the rows 0, 1, ... in the order of the tree,
        others stand half-way between their first and last daughter. Two particles of
        the same generation are at least one row apart.
    """
    generation = np.zeros(len(particles), dtype=np.int64)
    row = np.zeros(len(particles), dtype=np.float64)
    order = list(_walk(particles))
    n_rows = 0
    for particle in order:
        if particle.mother >= 0:
            generation[particle.index] = generation[particle.mother] + 1
        if not particle.daughters:
            row[particle.index] = n_rows
            n_rows += 1
    for particle in reversed(order):
        if particle.daughters:
            first, last = particle.daughters[0], particle.daughters[-1]
            row[particle.index] = 0.5 * (row[first] + row[last])
    return generation, row


def _walk(particles: Sequence[DecayParticle]) -> Iterator[DecayParticle]:
    """Yield every mother ahead of her daughters, and one daughter's tree at a time."""
    waiting = [p for p in reversed(particles) if p.mother < 0]
    while waiting:
        particle = waiting.pop()
        yield particle
        waiting += [particles[d] for d in reversed(particle.daughters)]


def draw_decay_tree(
    particles: Sequence[DecayParticle], *, title: str, texts: Sequence[str] = ()
) -> Figure:
    """Draw a decay tree; dropped particles are grey and say why.

    Parameters
    ----------
    particles : sequence of DecayParticle
        Of `smartfilter.decay_tree.list_decay_particles`.
    title : str
    texts : sequence of str
        Shown below the title, as many on a line as there is room for.

    Returns
    -------
    matplotlib.figure.Figure
        As large as its content needs. Texts have the ids ``particle-<index>``, lines
        ``line-<index of the daughter>``.

    Raises
    ------
    UsageError
        If there are more than `MAX_PARTICLES`.
    MissingPackageError
        If matplotlib or mplhep is not installed.
    """
    if len(particles) > MAX_PARTICLES:
        raise UsageError(
            f"picture: expected at most {MAX_PARTICLES} particles, got "
            f"{len(particles)}; leave out -o to print the tree"
        )
    with use_style():
        from matplotlib.figure import Figure

        labels = [_make_label(particle) for particle in particles]
        generation, row = place_particles(particles)
        left, right = _place_generations(labels, generation)
        legend = _list_kinds(labels)
        width = max(
            right[-1] if len(right) else 0.0,
            _LEAST_WIDTH,
            _MARGIN + _measure(title, _TITLE_SIZE, bold=True),
            _MARGIN
            + sum(_legend_width(kind) for kind in legend)
            + _measure(_UNITS, _NUMBER_SIZE),
        )
        lines = _wrap(texts, width - _MARGIN)
        top = _MARGIN + 0.45 + 0.26 * len(lines) + 0.15
        height = top + _PITCH * (1.0 + row.max(initial=0.0)) + 0.45 + _MARGIN
        figure = Figure(figsize=(width + _MARGIN, height))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0.0, width + _MARGIN), ylim=(height, 0.0))
        axes.set_axis_off()
        _write(axes, _MARGIN, _MARGIN + 0.1, title, _TITLE_SIZE, bold=True)
        for k, line in enumerate(lines):
            _write(axes, _MARGIN, _MARGIN + 0.48 + 0.26 * k, line, _TEXT_SIZE)
        y = top + _PITCH * (0.5 + row)
        x = left[generation]
        for label in labels:
            _draw_line(axes, label, labels, x, y, right[generation[_mother(label)]])
        for label in labels:
            _draw_label(axes, label, x[label.particle.index], y[label.particle.index])
        _draw_legend(axes, legend, height - _MARGIN)
    return figure


def _mother(label: _Label) -> int:
    """Return the row of the mother, or its own if there is none."""
    particle = label.particle
    return particle.mother if particle.mother >= 0 else particle.index


def _make_label(particle: DecayParticle) -> _Label:
    name = _show_name(particle.pdg)
    number = f"{particle.energy:.3f}"
    if particle.radius > DISPLACED:
        number += f", r = {particle.radius:.1f} cm"
    if particle.note:
        number += f" – {particle.note}"
    name_width = _measure(name, _NAME_SIZE)
    width = _SWATCH + name_width + _PAD + _measure(number, _NUMBER_SIZE)
    return _Label(particle, _find_kind(particle), name, number, name_width, width)


def _find_kind(particle: DecayParticle) -> str:
    if particle.note:
        return "dropped"
    if particle.daughters:
        return "decays"
    if particle.pdg == 22:
        return "photon"
    if abs(particle.pdg) in (12, 14, 16):
        return "neutrino"
    return "charged" if particle_charge(particle.pdg) else "neutral"


@lru_cache(maxsize=4096)
def _show_name(pdg: int) -> str:
    """Return the name as matplotlib can draw it."""
    from matplotlib.mathtext import MathTextParser

    text = rf"$\mathregular{{{particle_latex(pdg)}}}$"
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return particle_name(pdg).replace("$", r"\$")
    return text


@lru_cache(maxsize=4096)
def _measure(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a text, inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(size=size, weight="bold" if bold else "normal")
    is_math = text.startswith("$") and text.endswith("$")
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, is_math)
    return float(width) / 72.0


def _place_generations(
    labels: Sequence[_Label], generation: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where each generation begins and ends, inches."""
    widths = np.zeros(int(generation.max(initial=-1)) + 1)
    np.maximum.at(widths, generation, np.array([label.width for label in labels]))
    right = _MARGIN + np.cumsum(widths) + _GAP * np.arange(len(widths))
    return right - widths, right


def _wrap(texts: Sequence[str], width: float) -> list[str]:
    """Return lines of texts, with some space between two texts."""
    lines: list[str] = []
    for text in texts:
        longer = f"{lines[-1]}     {text}" if lines else text
        if lines and _measure(longer, _TEXT_SIZE) <= width:
            lines[-1] = longer
        else:
            lines.append(text)
    return lines


def _write(
    axes: Axes, x: float, y: float, text: str, size: float, **style: Any
) -> None:
    weight = "bold" if style.pop("bold", False) else "normal"
    is_math = text.startswith("$") and text.endswith("$")
    axes.text(
        x,
        y + 0.35 * size / 72.0,
        text if is_math else text.replace("$", r"\$"),
        fontsize=size,
        fontweight=weight,
        va="baseline",
        **{"color": _INK, **style},
    )


def _draw_label(axes: Axes, label: _Label, x: float, y: float) -> None:
    kind = _KINDS[label.kind]
    dropped = label.kind == "dropped"
    axes.plot(
        x + 0.07,
        y,
        marker=kind.marker,
        markersize=8.0 if kind.marker == "*" else 5.5,
        color=kind.color,
        linestyle="none",
        zorder=3,
    )
    index = label.particle.index
    color = _DROPPED if dropped else "black"
    _write(
        axes,
        x + _SWATCH,
        y,
        label.name,
        _NAME_SIZE,
        color=color,
        gid=f"particle-{index}",
    )
    _write(
        axes,
        x + _SWATCH + label.name_width + _PAD,
        y,
        label.number,
        _NUMBER_SIZE,
        color=_DROPPED if dropped else "0.3",
        style="italic" if dropped else "normal",
    )


def _draw_line(
    axes: Axes,
    label: _Label,
    labels: Sequence[_Label],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    column_end: float,
) -> None:
    """Draw the line from a mother to one of its daughters."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    index, mother = label.particle.index, label.particle.mother
    if mother < 0:
        return
    start = x[mother] + labels[mother].width + _PAD
    bend, end = max(column_end + _PAD, start), x[index] - 0.03
    middle = 0.5 * (bend + end)
    points = [
        (start, y[mother]),
        (bend, y[mother]),
        (middle, y[mother]),
        (middle, y[index]),
        (end, y[index]),
    ]
    codes = [Path.MOVETO, Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    dropped = label.kind == "dropped"
    patch = PathPatch(
        Path(points, codes),
        facecolor="none",
        edgecolor=_DROPPED if dropped else _LINE,
        linestyle=(0, (3, 2)) if dropped else "-",
        linewidth=1.1,
        zorder=1,
    )
    patch.set_gid(f"line-{index}")
    axes.add_patch(patch)


def _list_kinds(labels: Sequence[_Label]) -> list[_Kind]:
    """Return the kinds that are there, in the order of the table."""
    present = {label.kind for label in labels}
    return [kind for name, kind in _KINDS.items() if name in present]


def _legend_width(kind: _Kind) -> float:
    return _SWATCH + _measure(kind.label, _NUMBER_SIZE) + 0.3


def _draw_legend(axes: Axes, kinds: Sequence[_Kind], y: float) -> None:
    x = _MARGIN
    for kind in kinds:
        axes.plot(
            x + 0.07,
            y,
            marker=kind.marker,
            markersize=8.0 if kind.marker == "*" else 6.0,
            color=kind.color,
            linestyle="none",
        )
        _write(axes, x + _SWATCH, y, kind.label, _NUMBER_SIZE)
        x += _legend_width(kind)
    _write(axes, x, y, _UNITS, _NUMBER_SIZE)
