"""Results name a shipped model, not where it is installed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from smartfilter.pipeline.measurement import measure
from smartfilter.scoring import Scorer
from smartfilter.shipped import find_shipped, name_model
from smartfilter.training.report import ModelReport


def test_name_model_is_the_name_of_a_shipped_model_else_the_path(tmp_path: Path):
    assert [name_model(path) for path in find_shipped().values()] == [
        "gcn.pt",
        "subtree.pt",
    ]
    copy = tmp_path / "gcn.pt"
    shutil.copy(find_shipped()["gcn"], copy)
    assert name_model(copy) == str(copy)
    assert name_model(Path("models/gcn.pt")) == "models/gcn.pt"


def test_commands_name_a_shipped_model(run, example: Path):
    for arguments in (("score", example), ("inspect", example, "--event", "3")):
        code, out, _ = run(*arguments, "--model", "gcn", "--json")
        assert code == 0
        assert json.loads(out)["model"]["path"] == "gcn.pt"


def test_measure_and_evaluate_name_a_shipped_model():
    found = measure(
        "mixed",
        60,
        skim="InclusiveLambda",
        model="gcn",
        step=1.0,
        decay_table="pythia",
        thresholds=(0.0,),
        events_per_round=60,
    )
    assert found.settings["model"] == "gcn.pt"
    report = ModelReport(Scorer("gcn"), None, None)  # type: ignore[arg-type]
    assert report.name == "gcn.pt"
