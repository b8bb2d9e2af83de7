"""Figures and files of a measurement, from made-up numbers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from smartfilter.errors import InputError, MissingPackageError, UsageError
from smartfilter.pipeline.chain import STAGES
from smartfilter.plots import ReportFolder, draw_costs, draw_measurement, style
from smartfilter.plots.evaluation import draw_training

NAMES = (
    "measured_speedup",
    "predicted_speedup",
    "predicted_with_costs",
    "substituted_formula",
    "printed_formula",
    "comparison",
)


def make_point(*, blocks: bool, replayed: bool, threshold: float | None) -> Any:
    point: dict[str, Any] = {
        "mode": "sample" if threshold is None else "threshold",
        "threshold": threshold,
        "sampling_constant": 1.9 if threshold is None else None,
        "filter_in_blocks": blocks,
        "replayed": replayed,
    }
    for k, name in enumerate(NAMES):
        point |= {name: 1.0 + k, f"{name}_error": 0.1}
    return point


@pytest.fixture
def document() -> dict[str, Any]:
    points = [
        make_point(blocks=blocks, replayed=threshold != 0.3, threshold=threshold)
        for blocks in (True, False)
        for threshold in (0.3, 0.1, None)
    ]
    x = np.geomspace(0.02, 0.4, 5)
    curve = {name: (1.0 + x).tolist() for name in NAMES}
    curve |= {f"{name}_error": (0.1 * x).tolist() for name in NAMES}
    row = {
        f"cpu_{which}_per_passing": cost
        for which, cost in (("without", 0.02), ("with", 0.01))
    }
    return {
        **points[0],
        "event_type": "mixed",
        "skim": "feiHadronicB0",
        "detector": "mock",
        "clock": "cpu",
        "n_events": 1000,
        "t_s": 0.02,
        "t_g": 0.0002,
        "retention_rate": 0.05,
        "points": points,
        "curves": [
            {"filter_in_blocks": blocks, "threshold": x.tolist(), **curve}
            for blocks in (True, False)
        ],
        "stages": dict.fromkeys(STAGES, row),
    }


def test_draw_measurement_shows_the_numbers(document: dict[str, Any]):
    figure = draw_measurement(document)
    curves, sampling, _, _, costs = figure.axes
    drawn = [line.get_ydata() for line in curves.get_lines()]
    expected = document["curves"][0]["substituted_formula"]
    assert any(np.array_equal(np.asarray(line), expected) for line in drawn)
    bars = [p for p in costs.patches if isinstance(p, Rectangle)]
    tops = {round(bar.get_y() + bar.get_height(), 6) for bar in bars}
    assert {100.0, 50.0} <= tops, "five stages of 20 and of 10 ms"
    assert len(sampling.containers) == 2
    assert len(curves.containers) == 4
    labels = {axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes}
    assert "CPU time per passing event (ms)" in labels


def read_widths(axes) -> np.ndarray:
    """Return the widths of the bars, shape (n_stages, 2): without, with the filter."""
    widths = [bar.get_width() for bars in axes.containers for bar in bars]
    return np.array(widths).reshape(-1, 2)


@pytest.mark.parametrize("name", ["measure", "measure-geant4"])
def test_draw_costs_equals_the_stages_of_a_measurement(name, project_root: Path):
    path = project_root / "benchmarks" / "results" / f"{name}.json"
    measured = json.loads(path.read_text())
    times, shares = draw_costs(measured).axes
    widths = read_widths(times)
    for row, stage in zip(widths, STAGES, strict=True):
        for width, which in zip(row, ("without", "with"), strict=True):
            seconds = measured["stages"][stage][f"cpu_{which}_per_passing"]
            assert width == pytest.approx(1e3 * seconds)
    assert read_widths(shares).sum(axis=0) == pytest.approx([100.0, 100.0])
    gain = widths[:, 0].sum() / widths[:, 1].sum()
    assert gain == pytest.approx(measured["measured_speedup_cpu"], rel=1e-9)
    labels = [label.get_text() for label in times.get_yticklabels()]
    assert labels[1] == f"with filter\nspeedup {gain:.2f}"


def test_draw_costs_stages_differ_without_colour(document: dict[str, Any]):
    times = draw_costs(document).axes[0]
    bars = [p for p in times.patches if isinstance(p, Rectangle)]
    hatches = {bar.get_hatch() for bar in bars}
    assert len(hatches) == len(STAGES)


def test_draw_costs_of_another_document_refused(document: dict[str, Any]):
    del document["stages"]["skim"]
    with pytest.raises(InputError, match="expected the key 'skim'"):
        draw_costs(document)


def test_draw_training_has_the_learning_rate_where_it_is_known():
    names = ("epoch", "train_loss", "validation_loss", "validation_auc")
    rows = [dict.fromkeys(names, 0.5) | {"epoch": float(k)} for k in range(3)]
    assert len(draw_training({"a": rows}).axes) == 2
    rates = [row | {"learning_rate": 0.1 / (k + 1)} for k, row in enumerate(rows)]
    figure = draw_training({"a": rates, "old": rows, "none": []})
    lines = figure.axes[2].get_lines()
    assert [np.asarray(line.get_ydata()).tolist() for line in lines] == [
        [0.1, 0.05, 0.1 / 3]
    ]
    assert figure.axes[2].get_ylabel() == "learning rate"


def test_draw_measurement_without_thresholds_or_sampling(document: dict[str, Any]):
    for wanted in ("sample", "threshold"):
        some = copy.deepcopy(document)
        some["points"] = [p for p in some["points"] if p["mode"] == wanted]
        if wanted == "sample":
            some["curves"] = []
        some["points"][0] |= {"measured_speedup": None, "comparison": None}
        draw_measurement(some)


def test_draw_measurement_of_another_document_refused(document: dict[str, Any]):
    del document["stages"]
    with pytest.raises(InputError, match="expected the key 'stages'"):
        draw_measurement(document)


def open_folder(folder: Path, *, force: bool = False) -> ReportFolder:
    return ReportFolder(folder, "measure", ["measure"], force=force)


def test_report_writes_numbers_and_figures(document: dict[str, Any], tmp_path: Path):
    folder = tmp_path / "new" / "folder"
    with open_folder(folder) as report:
        assert not list(folder.iterdir())
        report.write(document, {"measure": draw_measurement(document)})
    assert {path.name for path in folder.iterdir()} == {
        "measure.json",
        "measure.png",
        "measure.pdf",
    }
    assert json.loads((folder / "measure.json").read_text()) == document
    assert (folder / "measure.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "measure.pdf").read_bytes().startswith(b"%PDF")


def test_report_replaces_files_only_when_told(document: dict[str, Any], tmp_path: Path):
    (tmp_path / "measure.pdf").write_text("mine")
    with pytest.raises(UsageError, match="exists; use --force"):
        open_folder(tmp_path)
    with open_folder(tmp_path, force=True):
        pass
    assert (tmp_path / "measure.pdf").read_text() == "mine"
    with open_folder(tmp_path, force=True) as report:
        report.write(document, {"measure": draw_measurement(document)})
    assert (tmp_path / "measure.pdf").read_bytes().startswith(b"%PDF")


def test_report_of_a_failure_leaves_nothing(document: dict[str, Any], tmp_path: Path):
    document["t_s"] = float("nan")
    with (
        pytest.raises(UsageError, match="JSON"),
        open_folder(tmp_path) as report,
    ):
        report.write(document, {"measure": draw_measurement(document)})
    assert not list(tmp_path.iterdir())


def test_report_in_a_file_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made"):
        open_folder(tmp_path / "file")


def test_report_without_matplotlib_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(style, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"smartfilter\[plot\]"):
        open_folder(tmp_path)


@pytest.mark.parametrize("ratio", [None, 1.02, 1.4])
def test_ratio_panel_shows_every_point(document: dict[str, Any], ratio: float | None):
    for point in document["points"]:
        point["comparison"] = ratio
    low, high = draw_measurement(document).axes[1].get_ylim()
    assert low <= 0.84 + 1e-9
    assert high >= max(1.16, (ratio or 1.0) + 0.01) - 1e-9
