"""What ``smartfilter report`` shows of a folder of results."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from smartfilter import __version__
from smartfilter.documents import parse_json
from smartfilter.errors import InputError
from smartfilter.model_file import read_model_info
from smartfilter.plots.page import Page, PageFigure, PageTable, Section
from smartfilter.plots.report_tables import (
    list_bias,
    list_differences,
    list_merits,
    list_points,
    list_run,
    list_stages,
    list_times,
    show_number,
)
from smartfilter.training.history import find_history

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from smartfilter.model_info import ModelInfo

__all__ = ["make_report"]

SCHEMA_VERSION = 1
"""Of the documents that are understood."""

_PNG = b"\x89PNG\r\n\x1a\n"

_CAPTIONS = {
    "measure": "Predicted and measured speedup, their ratio, and the time per passing "
    "event without and with the filter, by stage.",
    "costs": "Time per passing event by stage, without and with the filter, and the "
    "share of each stage.",
    "roc": "ROC curves with the working points.",
    "calibration": "Observed pass rate against the score, and their ratio.",
    "speedup": "Speedup against the threshold, with the working points.",
    "weights": "Weights of the events that sampling keeps, and their effective number.",
    "bias": "Variables of passing events: unfiltered, above the threshold, sampled with "
    "weights.",
    "divergence": "Kullback-Leibler divergence of each variable beside that of random "
    "parts of the same size.",
    "history": "Loss and AUC of the validation events against the epoch, and the "
    "learning rate where it is recorded.",
}
"""Figures of `smartfilter.plots` by the name of their file."""


def make_report(folder: Path) -> Page:
    """Return the page of a folder.

    Parameters
    ----------
    folder : Path
        With any of: ``measure.json`` and ``evaluate.json`` of the commands of these
        names and their figures; model files with the histories of their trainings.

    Raises
    ------
    InputError
        If the folder has none of them, or one is damaged.
    ModelFileError
        If a model file is damaged.
    MissingPackageError
        If there is something to draw and matplotlib or mplhep is not installed.
    """
    makers: dict[str, Callable[[Mapping[str, Any], Path], Section]] = {
        "measure": _describe_measurement,
        "evaluate": _describe_evaluation,
    }
    sections = []
    for name, make in makers.items():
        path = folder / f"{name}.json"
        if path.is_file():
            sections.append(_read_section(path, make))
    sections += [_describe_model(path) for path in sorted(folder.glob("*.pt"))]
    if not sections:
        expected = ", ".join(f"{name}.json" for name in makers)
        raise InputError(
            f"report: expected {expected} or model files (.pt) in '{folder}', found "
            "none; make some with smartfilter measure, evaluate -o or train"
        )
    kinds = ", ".join(section.title for section in sections)
    return Page(
        title=f"smartfilter: {folder.resolve().name}",
        subtitle=kinds,
        sections=sections,
        footer=f"Made by smartfilter report, version {__version__}.",
    )


def _read_section(
    path: Path, make: Callable[[Mapping[str, Any], Path], Section]
) -> Section:
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
        version = document["schema_version"]
        if version != SCHEMA_VERSION:
            raise InputError(
                f"report: expected schema version {SCHEMA_VERSION}, got {version} in "
                f"'{path}'; make it again with this version"
            )
        return make(document, path.parent)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"report: expected a result of smartfilter {path.stem}, got something else "
            f"in '{path}' ({type(error).__name__}: {error}); make it again"
        ) from error


def _find_figures(folder: Path, *names: str) -> list[PageFigure]:
    """Return the figures that lie in the folder."""
    paths = {name: folder / f"{name}.png" for name in names}
    return [
        PageFigure(_CAPTIONS[name], _read_png(path))
        for name, path in paths.items()
        if path.is_file()
    ]


def _read_png(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(_PNG):
        raise InputError(
            f"report: expected a PNG image, got something else in '{path}'; make it "
            "again or remove it"
        )
    return content


def _describe_measurement(document: Mapping[str, Any], folder: Path) -> Section:
    step = document.get("step")
    detector = document["detector"]
    facts = [
        ("events", f"{document['n_events']:,} {document['event_type']} per sample"),
        ("skim", f"{document['skim']}, {document['n_passing']:,} events pass"),
        (
            "detector",
            detector if step is None else f"{detector}, steps of at most {step} cm",
        ),
        ("decay table", str(document["decay_table"])),
        ("clock", f"{document['clock']} time, {document['workers']} workers"),
        ("seed", str(document["seed"])),
        *_name_model(document["model"], document["model_digest"]),
        *list_run(document),
    ]
    return Section(
        title="Measured speedup",
        facts=facts,
        tables=[list_times(document), list_stages(document), *list_points(document)],
        figures=[*_find_figures(folder, "measure"), _draw_costs(document)],
    )


def _name_model(path: str, digest: str) -> list[tuple[str, str]]:
    return [("model", path), ("model digest", digest)]


def _describe_evaluation(document: Mapping[str, Any], folder: Path) -> Section:
    models = document["models"]
    facts = [
        ("events", f"{document['n_events']:,} that no model was trained on"),
        ("left out", f"{document['n_left_out']:,}"),
    ]
    for model in models:
        facts += _name_model(model["path"], model["digest"])
    facts += list_run(document)
    tables = [list_differences(models, skim) for skim in document["skims"]]
    for model in models:
        tables += list_merits(model["path"], model["results"])
    for model in models:
        tables += list_bias(model)
    names = (name for name in _CAPTIONS if name not in ("measure", "costs"))
    return Section(
        title="Evaluation",
        facts=facts,
        tables=tables,
        figures=_find_figures(folder, *names),
    )


def _describe_model(path: Path) -> Section:
    """Return what a model file records of its training, and its history."""
    info, digest = read_model_info(path)
    training = info.training
    facts = [
        ("network", f"{info.network}, {info.n_parameters:,} parameters"),
        ("preparation", info.preset),
        ("skims", ", ".join(info.skim_names)),
        ("events", _list_counts(training.get("n_events"))),
        ("epochs", _describe_epochs(training)),
        ("seed", show_number(training.get("seed"))),
        ("version", str(training.get("version", "-"))),
        ("files", _describe_files(training)),
        ("digest", digest),
    ]
    metrics = training.get("metrics", {})
    tables = list_merits(path.name, list(metrics.values())) if metrics else []
    config = training.get("config", {})
    if config:
        tables.append(
            PageTable(
                "Configuration",
                ("setting", "value"),
                _list_settings(config),
            )
        )
    return Section(
        title=f"Model {path.name}",
        facts=facts,
        tables=tables,
        figures=_draw_history(path, info),
    )


def _list_settings(
    config: Mapping[str, Any], prefix: str = ""
) -> list[tuple[str, str]]:
    """Return names with dots and values, so that no row is wide; without empty ones."""
    rows = []
    for key, value in config.items():
        if isinstance(value, dict):
            rows += _list_settings(value, f"{prefix}{key}.")
        elif value:
            text = value if isinstance(value, str) else json.dumps(value)
            rows.append((f"{prefix}{key}", text))
    return rows


def _list_counts(counts: Mapping[str, int] | None) -> str:
    if not counts:
        return "-"
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())


def _describe_epochs(training: Mapping[str, Any]) -> str:
    if "epochs" not in training:
        return "-"
    text = f"{training['epochs']}"
    if "best_epoch" in training:
        text += f", the best is number {training['best_epoch'] + 1}"
    return text


def _describe_files(training: Mapping[str, Any]) -> str:
    files = training.get("files", [])
    if len(files) < 2:
        return str(files[0]) if files else "-"
    return f"{len(files)}: {files[0]} to {files[-1]}"


def _draw_history(path: Path, info: ModelInfo) -> list[PageFigure]:
    rows = find_history(path, info.training)
    if not rows:
        return []
    from smartfilter.plots.evaluation import draw_training
    from smartfilter.plots.style import use_style

    with use_style():
        return [_save("history", draw_training({path.name: rows}))]


def _draw_costs(document: Mapping[str, Any]) -> PageFigure:
    """Draw the costs again, so that folders of older versions show them, too."""
    from smartfilter.plots.costs import draw_costs

    return _save("costs", draw_costs(document))


def _save(name: str, figure: Figure) -> PageFigure:
    from smartfilter.plots.style import use_style

    buffer = io.BytesIO()
    with use_style():
        figure.savefig(buffer, format="png", dpi=110)
    return PageFigure(_CAPTIONS[name], buffer.getvalue())
