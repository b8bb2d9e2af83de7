"""Figures of an evaluation, from made-up numbers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from smartfilter.errors import InputError
from smartfilter.plots.evaluation import draw_figures, list_figures
from smartfilter.plots.variables import LABELS, label_variable

NAMES = (
    "roc",
    "calibration",
    "speedup",
    "weights",
    "bias",
    "divergence",
    "history",
)
SAMPLES = ("threshold", "sampling", "reweighted")


def make_metrics(shift: float) -> dict[str, Any]:
    return {
        "event_type": "mixed",
        "n_passing": 1000,
        "n_failing": 9000,
        "retention_rate": 0.1,
        "auc": 0.85 + shift,
        "auc_error": 0.004,
        "threshold": 0.2 + shift,
        "tpr": 0.6,
        "fpr": 0.08,
        "speedup": 4.0,
        "speedup_error": 0.2,
        "max_speedup": 4.4,
        "sampling_speedup": 1.9,
        "sampling_speedup_error": 0.05,
        "sampling_n_eff_share": 0.6,
        "sampling_constant": 1.5,
        "calibration_error": 0.003,
    }


def make_histogram() -> dict[str, Any]:
    shape = {"share": [0.25, 0.5, 0.25], "error": [0.01, 0.02, 0.01]}
    ratio = {"ratio": [1.5, 1.0, None], "ratio_error": [0.1, 0.1, None]}
    return {
        "edges": [0.0, 1.0, 2.0, 3.0],
        "all": shape,
        "samples": {name: {**shape, **ratio} for name in SAMPLES},
    }


def make_curves() -> dict[str, Any]:
    epochs = {"train_loss": 0.5, "validation_loss": 0.45, "validation_auc": 0.8}
    return {
        "roc": {
            "fpr": [0.0, 0.1, 1.0],
            "tpr": [0.0, 0.7, 1.0],
            "threshold": [1, 0.3, 0],
        },
        "calibration": {
            "score": [0.001, 0.02, 0.3],
            "rate": [0.0, 0.021, 0.29],
            "error": [0.0, 0.002, 0.01],
        },
        "speedup": {
            "threshold": [0.01, 0.1, 0.5],
            "speedup": [1.5, 4.0, 2.0],
            "error": [0.1, 0.2, 0.3],
            "limit": 9.2,
        },
        "weights": {
            "edges": [1.0, 3.0, 10.0, 100.0],
            "passing": [0.2, 0.02, 0.0],
            "failing": [0.3, 0.4, 0.08],
            "n_eff_share": 0.75,
        },
        "histograms": {name: make_histogram() for name in ("r2", "n_tracks")},
        "history": [{"epoch": float(k), **epochs} for k in range(3)],
    }


def make_bias() -> dict[str, Any]:
    row = {"divergence": 0.02, "random_mean": 0.004, "random_95": 0.006}
    variables = {"r2": row, "n_tracks": {**row, "divergence": 0.0}}
    sample = {"n_eff": 400.0, "variables": variables}
    return {"criterion": 0.0015, "samples": dict.fromkeys(SAMPLES, sample)}


@pytest.fixture
def document() -> dict[str, Any]:
    models = [
        {
            "path": f"/somewhere/{name}.pt",
            "skims": {"skim": make_metrics(shift)},
            "bias": {"skim": make_bias()},
        }
        for name, shift in (("one", 0.0), ("two", 0.03))
    ]
    curves = {"skim": "skim", "models": [make_curves(), make_curves()]}
    return {"models": models, "curves": curves}


def read_legends(figure: Any) -> str:
    legends = [axes.get_legend() for axes in figure.axes] + list(figure.legends)
    texts = [t.get_text() for legend in legends if legend for t in legend.get_texts()]
    return "\n".join(texts)


def test_draw_figures_shows_the_numbers(document: dict[str, Any]):
    figures = draw_figures(document, NAMES)
    assert tuple(figures) == NAMES
    for name in ("roc", "speedup", "calibration", "history"):
        text = read_legends(figures[name])
        assert "one.pt" in text
        assert "two.pt" in text
    assert "AUC 0.8500 ± 0.0040" in read_legends(figures["roc"])
    assert "4.00 ± 0.20" in read_legends(figures["speedup"])
    assert "0.75" in read_legends(figures["weights"])
    lines = [line.get_ydata() for line in figures["speedup"].axes[0].get_lines()]
    assert any(np.array_equal(np.asarray(y), [1.5, 4.0, 2.0]) for y in lines)
    assert len(figures["bias"].axes) == 4
    labels = [t.get_text() for t in figures["divergence"].axes[0].get_yticklabels()]
    assert labels == ["number of tracks", "$R_2$"]
    assert "criterion 0.0015" in read_legends(figures["divergence"])


def test_draw_figures_models_differ_in_dashes_and_markers(document: dict[str, Any]):
    figures = draw_figures(document, ["roc"])
    lines = figures["roc"].axes[0].get_lines()
    curves = [line for line in lines if str(line.get_label()).endswith("0.0040")]
    assert len({str(line.get_linestyle()) for line in curves}) == 2
    points = [line for line in lines if str(line.get_label()).startswith("threshold")]
    assert len({str(line.get_marker()) for line in points}) == 2


def test_draw_figures_can_all_be_saved_without_warnings(
    document: dict[str, Any], tmp_path: Any
):
    small = copy.deepcopy(document)
    small["curves"]["models"][0]["calibration"]["rate"] = [0.0, 0.0, 0.0]
    small["curves"]["models"][1]["history"] = []
    for name, figure in draw_figures(small, NAMES).items():
        path = tmp_path / f"{name}.png"
        figure.savefig(path, dpi=40)
        assert path.stat().st_size > 1000


def test_draw_figures_of_another_document_refused(document: dict[str, Any]):
    del document["curves"]
    with pytest.raises(InputError, match="expected the key 'curves'"):
        draw_figures(document, ["roc"])


def test_every_variable_of_the_chain_has_a_label():
    simulation = pytest.importorskip("smartfilter.pipeline.simulation")
    assert set(simulation.VARIABLE_NAMES) <= set(LABELS)
    assert label_variable("of_my_own") == "of_my_own"


def test_list_figures_names_what_there_is():
    rows = make_curves()["history"]
    always = ("roc", "calibration", "speedup", "weights")
    assert list_figures([("model.pt", {})], bias=False) == always
    assert list_figures([("model.pt", {"history": rows})], bias=True) == NAMES
