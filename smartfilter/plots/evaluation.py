"""Figures of ``smartfilter evaluate``: ROC, calibration, speedup, training history."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.plots.evaluation_bias import (
    draw_bias,
    draw_divergence,
    draw_weights,
)
from smartfilter.plots.style import COLOURS, GREY, require_keys, use_style
from smartfilter.training.history import find_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "draw_calibration",
    "draw_figures",
    "draw_history",
    "draw_roc",
    "draw_speedup",
    "draw_training",
    "list_figures",
]

_LINES = (
    (COLOURS["blue"], "-", "o"),
    (COLOURS["orange"], (0, (5, 2)), "s"),
    (COLOURS["red"], (0, (1, 1.2)), "^"),
    (COLOURS["purple"], (0, (5, 1.5, 1, 1.5)), "D"),
    (COLOURS["violet"], (0, (8, 3)), "v"),
    (COLOURS["light grey"], (0, (3, 1, 1, 1, 1, 1)), "P"),
)
"""Colour, dashes and marker of each model; the dashes tell them apart in grey."""


class _Model(NamedTuple):
    """One model of the document with its place in `_LINES`."""

    name: str
    metrics: Mapping[str, Any]
    curves: Mapping[str, Any]
    color: str
    dashes: Any
    marker: str


def list_figures(
    models: Sequence[tuple[str | Path, Mapping[str, Any]]], *, bias: bool
) -> tuple[str, ...]:
    """Return the names of the figures that there will be.

    Parameters
    ----------
    models : sequence of (path, mapping)
        Model files and their ``training`` records; a history is drawn if one has it.
    bias : bool
        Whether the bias is measured.
    """
    names = ["roc", "calibration", "speedup", "weights"]
    if bias:
        names += ["bias", "divergence"]
    if any(find_history(path, training) for path, training in models):
        names.append("history")
    return tuple(names)


def draw_figures(
    document: Mapping[str, Any], names: Sequence[str]
) -> dict[str, Figure]:
    """Draw figures of an evaluation.

    Parameters
    ----------
    document : mapping
        ``evaluate.json`` of ``smartfilter evaluate -o``.
    names : sequence of str
        Of `list_figures`.

    Raises
    ------
    InputError
        If the document lacks a key.
    MissingPackageError
        If matplotlib or mplhep is not installed.
    """
    drawing: dict[str, Callable[[Mapping[str, Any]], Figure]] = {
        "roc": draw_roc,
        "calibration": draw_calibration,
        "speedup": draw_speedup,
        "weights": draw_weights,
        "bias": draw_bias,
        "divergence": draw_divergence,
        "history": draw_history,
    }
    with require_keys("evaluation", "smartfilter evaluate -o"), use_style():
        return {name: drawing[name](document) for name in names}


def _list_models(document: Mapping[str, Any]) -> Iterator[_Model]:
    skim = document["curves"]["skim"]
    pairs = zip(document["models"], document["curves"]["models"], strict=True)
    for k, (model, curves) in enumerate(pairs):
        yield _Model(
            Path(model["path"]).name,
            model["skims"][skim],
            curves,
            *_LINES[k % len(_LINES)],
        )


def _describe(document: Mapping[str, Any]) -> str:
    skim = document["curves"]["skim"]
    metrics = document["models"][0]["skims"][skim]
    return (
        f"{skim}, {metrics['event_type']}   |   {metrics['n_passing']:,} passing, "
        f"{metrics['n_failing']:,} failing events   |   "
        f"$r$ = {100 * metrics['retention_rate']:.2g} %"
    )


def _make_figure(
    document: Mapping[str, Any], size: tuple[float, float], **grid: Any
) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(**grid)
    figure.suptitle(_describe(document), x=0.01, ha="left", fontsize="medium")
    return figure, axes


def draw_roc(document: Mapping[str, Any]) -> Figure:
    """Draw the ROC curve with the working point, on a linear and a logarithmic axis."""
    figure, panels = _make_figure(document, (14.0, 6.6), ncols=2, sharey=True)
    for axes in panels:
        for model in _list_models(document):
            _draw_roc_curve(axes, model)
        grid = np.geomspace(1e-4, 1.0, 200)
        axes.plot(grid, grid, color=GREY, linewidth=1.0, linestyle=(0, (2, 2)))
        axes.set(xlabel="$f_0$, share of failing events kept", ylim=(0.0, 1.02))
    panels[0].set(ylabel="$f_1$, share of passing events kept", xlim=(0.0, 1.0))
    panels[0].legend(loc="lower right")
    panels[1].set(xscale="log", xlim=(1e-4, 1.0))
    return figure


def _draw_roc_curve(axes: Axes, model: _Model) -> None:
    metrics, roc = model.metrics, model.curves["roc"]
    axes.plot(
        roc["fpr"],
        roc["tpr"],
        color=model.color,
        linestyle=model.dashes,
        label=f"{model.name}: AUC {metrics['auc']:.4f} ± {metrics['auc_error']:.4f}",
    )
    axes.plot(
        metrics["fpr"],
        metrics["tpr"],
        linestyle="none",
        marker=model.marker,
        markersize=10,
        color=model.color,
        markeredgecolor="black",
        zorder=5,
        label=f"threshold {metrics['threshold']:.3f}: $f_1$ = {metrics['tpr']:.3f}, "
        f"$f_0$ = {metrics['fpr']:.4f}",
    )


def draw_calibration(document: Mapping[str, Any]) -> Figure:
    """Draw the observed pass rate against the score, and their ratio."""
    figure, (axes, ratio) = _make_figure(
        document, (8.6, 8.6), nrows=2, sharex=True, height_ratios=(2.6, 1.0)
    )
    models = list(_list_models(document))
    edges = [
        value
        for model in models
        for value, rate in zip(
            model.curves["calibration"]["score"],
            model.curves["calibration"]["rate"],
            strict=True,
        )
        if rate > 0
    ]
    limits = (0.5 * min(edges, default=1e-3), min(2.0 * max(edges, default=1.0), 1.0))
    axes.plot(limits, limits, color="black", linewidth=1.0, zorder=1)
    for model in models:
        _draw_reliability(axes, ratio, model)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits)
    axes.set_ylabel("observed share of passing events")
    axes.legend(loc="upper left")
    ratio.axhspan(0.95, 1.05, color="0.88", zorder=0)
    ratio.axhline(1.0, color="black", linewidth=1.0, zorder=1)
    ratio.set(
        ylim=(0.0, 2.5), xlabel="score (predicted)", ylabel="observed / predicted"
    )
    return figure


def _draw_reliability(axes: Axes, ratio: Axes, model: _Model) -> None:
    curve = model.curves["calibration"]
    score, rate, error = (np.array(curve[k]) for k in ("score", "rate", "error"))
    use = rate > 0
    style: dict[str, Any] = {
        "fmt": model.marker,
        "color": model.color,
        "markeredgecolor": "black",
        "markersize": 8,
        "linewidth": 1.5,
        "zorder": 5,
    }
    label = f"{model.name}: mean |difference| {model.metrics['calibration_error']:.4f}"
    low = np.minimum(error, 0.999 * rate)
    axes.errorbar(score[use], rate[use], [low[use], error[use]], label=label, **style)
    ratio.errorbar(score[use], rate[use] / score[use], error[use] / score[use], **style)


def draw_speedup(document: Mapping[str, Any]) -> Figure:
    """Draw formula (A) against the threshold, the working point, and sampling (C)."""
    figure, axes = _make_figure(document, (10.0, 6.8))
    highest = 1.0
    for model in _list_models(document):
        _draw_speedup_curve(axes, model)
        highest = max(highest, model.metrics["max_speedup"])
    limit = document["curves"]["models"][0]["speedup"]["limit"]
    axes.axhline(1.0, color="black", linewidth=1.0, zorder=1)
    axes.set(
        xscale="log",
        xlabel="threshold on the score",
        ylabel="speedup",
        ylim=(0.0, 1.55 * highest),
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(loc="upper left", title=f"perfect filter: {limit:.1f}")
    return figure


def _draw_speedup_curve(axes: Axes, model: _Model) -> None:
    curve, metrics = model.curves["speedup"], model.metrics
    x, y, error = (np.array(curve[k]) for k in ("threshold", "speedup", "error"))
    axes.plot(x, y, color=model.color, linestyle=model.dashes, label=model.name)
    axes.fill_between(x, y - error, y + error, color=model.color, alpha=0.25, lw=0)
    value, spread = metrics["speedup"], metrics["speedup_error"]
    axes.errorbar(
        metrics["threshold"],
        value,
        spread,
        fmt=model.marker,
        color=model.color,
        markeredgecolor="black",
        markersize=10,
        zorder=5,
        label=f"working point: {value:.2f} ± {spread:.2f}",
    )
    sampling, spread = metrics["sampling_speedup"], metrics["sampling_speedup_error"]
    axes.axhline(
        sampling,
        color=model.color,
        linestyle=(0, (1, 3)),
        marker=model.marker,
        markersize=7,
        markevery=[1],
        clip_on=False,
        label=f"sampling (C): {sampling:.2f} ± {spread:.2f}",
    )


def draw_history(document: Mapping[str, Any]) -> Figure:
    """Draw losses and AUC of the validation events against the epoch."""
    histories = {m.name: m.curves["history"] for m in _list_models(document)}
    return draw_training(histories)


def draw_training(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Draw the histories of trainings.

    Parameters
    ----------
    histories : mapping of str to sequence of mapping
        Name of the model -> `smartfilter.training.history.find_history`.
    """
    from matplotlib.figure import Figure

    with_rates = any(
        "learning_rate" in row for rows in histories.values() for row in rows
    )
    ratios = (1.4, 1.4, 1.0) if with_rates else (1.0, 1.0)
    figure = Figure(figsize=(16.0 if with_rates else 13.0, 5.8), layout="constrained")
    panels = figure.subplots(ncols=len(ratios), width_ratios=ratios)
    figure.suptitle("training history", x=0.01, ha="left", fontsize="medium")
    for k, (name, rows) in enumerate(histories.items()):
        if rows:
            _draw_epochs(panels, name, rows, _LINES[k % len(_LINES)])
    panels[0].set(xlabel="epoch", ylabel="loss (thin: training events)")
    panels[1].set(xlabel="epoch", ylabel="AUC, validation events")
    if with_rates:
        panels[2].set(xlabel="epoch", ylabel="learning rate")
        panels[2].set_ylim(bottom=0.0)
    for axes in panels:
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].legend(loc="upper right")
    return figure


def _draw_epochs(
    panels: Sequence[Axes],
    name: str,
    rows: Sequence[Mapping[str, float]],
    line: tuple[str, Any, str],
) -> None:
    """Draw one training: loss, AUC and, if it is known and there is room, its rate."""
    color, dashes, marker = line
    column = partial(_read_column, rows)
    epoch = column("epoch") + 1
    best = int(np.argmin(column("validation_loss")))
    style = {"color": color, "linestyle": dashes}
    panels[0].plot(epoch, column("train_loss"), **{**style, "linewidth": 1.0})
    for axes, key in zip(
        panels[:2], ("validation_loss", "validation_auc"), strict=True
    ):
        axes.plot(epoch, column(key), label=name, **style)
        axes.plot(
            epoch[best],
            column(key)[best],
            marker=marker,
            markersize=10,
            color=color,
            markeredgecolor="black",
            linestyle="none",
            label=f"epoch {epoch[best]:.0f}, kept",
        )
    if all("learning_rate" in row for row in rows):
        panels[2].plot(epoch, column("learning_rate"), drawstyle="steps-mid", **style)


def _read_column(rows: Sequence[Mapping[str, float]], name: str) -> Any:
    return np.array([row[name] for row in rows])
