"""The shares and costs that the figure of the flow shows."""

from __future__ import annotations

import json
import sys

import pytest


@pytest.mark.parametrize("name", ["measure", "measure-geant4", "measure-gcn"])
def test_find_flows_has_the_speedup_of_the_result(name, project_root, monkeypatch):
    """Cost per passing event without and with the filter: their ratio is (A2)."""
    monkeypatch.syspath_prepend(str(project_root / "benchmarks"))
    flow_figure = pytest.importorskip("flow_figure")
    file = project_root / "benchmarks" / "results" / f"{name}.json"
    result = json.loads(file.read_text())
    without, with_filter = flow_figure.find_flows(result)
    ratio = (without.cost / without.passing) / (with_filter.cost / with_filter.passing)
    assert ratio == pytest.approx(result["predicted_with_costs"], rel=1e-9)
    assert with_filter.shares[2] == result["keep_fraction"]
    assert with_filter.costs[2] < with_filter.shares[2] * without.costs[1] * 1.5
    sys.modules.pop("flow_figure", None)


def test_draw_writes_every_share(project_root, monkeypatch):
    monkeypatch.syspath_prepend(str(project_root / "benchmarks"))
    flow_figure = pytest.importorskip("flow_figure")
    file = project_root / "benchmarks" / "results" / "measure-geant4.json"
    figure = flow_figure.draw(json.loads(file.read_text()))
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert {"100 %", "8.54 %", "5.18 %", "3.07 %"} <= set(texts)
    assert "5.72 ± 0.17" in figure.texts[0].get_text()
    sys.modules.pop("flow_figure", None)
