"""What the figure of the comparison of networks picks out."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def figure_of(project_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(project_root / "benchmarks"))
    yield pytest.importorskip("network_figure")
    for name in ("network_figure", "network_table"):
        sys.modules.pop(name, None)


def entry(name: str, rate: float, auc: float) -> dict[str, Any]:
    return {"name": name, "events_per_second": rate, "auc": auc}


def test_find_frontier_keeps_what_none_beats_in_both(figure_of: Any):
    entries = [
        entry("slow, best", 10.0, 0.9),
        entry("slower, worse", 5.0, 0.8),
        entry("fast", 1000.0, 0.7),
        entry("as fast, worse", 1000.0, 0.6),
        entry("middle", 100.0, 0.8),
        entry("slower, equal", 50.0, 0.8),
    ]
    assert figure_of.find_frontier(entries) == ["fast", "middle", "slow, best"]
    assert figure_of.find_frontier([]) == []


def test_find_spaced_names_the_best_of_neighbours(figure_of: Any):
    entries = [
        entry("worse", 1000.0, 0.895),
        entry("better", 1100.0, 0.9),
        entry("far in cost", 100.0, 0.899),
        entry("far in AUC", 1000.0, 0.85),
    ]
    names = [found["name"] for found in figure_of.find_spaced(entries)]
    assert names == ["better", "far in cost", "far in AUC"]


def test_find_curve_never_falls(figure_of: Any):
    history = [
        {"seconds": 60.0, "validation_auc": 0.8},
        {"seconds": 120.0, "validation_auc": 0.7},
        {"seconds": 180.0, "validation_auc": 0.9},
    ]
    minutes, best = figure_of.find_curve({"runs": [{"history": history}]})
    assert minutes == [1.0, 2.0, 3.0]
    assert best == [0.8, 0.8, 0.9]


@pytest.mark.filterwarnings("ignore:.*findfont")
def test_draw_shows_every_network_of_the_results(figure_of: Any, project_root: Path):
    results = project_root / "benchmarks" / "results"
    document = json.loads((results / "networks.json").read_text())
    limit = json.loads((results / "oracle.json").read_text())
    costs, training = figure_of.draw(document, limit).axes
    assert len(costs.containers) == len(document["networks"])
    assert len(training.get_legend().get_texts()) == figure_of.N_CURVES
    texts = {text.get_text() for text in costs.texts}
    assert {"subtree", "optimal", "limit of any network"} <= texts
