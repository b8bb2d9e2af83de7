"""Each steering file for basf2 runs, from first to last line, against the double."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from smartfilter.cli import cli
from smartfilter.events import EVENT_TYPES
from smartfilter.io import open_events, read_scores
from smartfilter.model_file import load_model, save_model

Run = Callable[..., str]
PREDICTION = "SmartFilter_Prediction_feiHadronicB0"


def read_calls(output: str) -> dict[str, int]:
    """Return the calls of event() by module from the printed statistics."""
    rows = [line.split(" | ") for line in output.splitlines() if " | " in line]
    return {row[0]: int(row[1]) for row in rows}


def read_numbers(file: str) -> list[dict[str, float]]:
    return [row["numbers"] for row in json.loads(Path(f"{file}.json").read_text())]


def test_filter_simulates_what_it_keeps_and_writes_weights(
    run_steering: Run, count_model: Path
):
    calls = read_calls(
        run_steering("basf2_filter.py", "-n", "30", "--model", str(count_model))
    )
    kept = calls["FullSim"]
    assert calls["SmartFilter"] == 30
    assert 0 < kept < 30
    assert kept == calls["Reconstruction"] == calls["SkimFlag"] == calls["RootOutput"]
    infos = read_numbers("filtered.mdst.root")
    assert len(infos) == kept
    for info in infos:
        assert set(info) == {"weight_feiHadronicB0", "passes_feiHadronicB0"}
        assert info["weight_feiHadronicB0"] >= 1
    assert open_events("filtered.mdst.root").n_events == kept


def test_filter_in_debug_mode_keeps_all_and_writes_predictions(
    run_steering: Run, count_model: Path
):
    options = ("-n", "10", "--mode", "debug", "--model", str(count_model))
    calls = read_calls(run_steering("basf2_filter.py", *options))
    assert calls["FullSim"] == 10
    infos = read_numbers("filtered.mdst.root")
    assert all({PREDICTION, "SmartFilter_Skip"} <= set(info) for info in infos)
    assert {info["SmartFilter_Skip"] for info in infos} == {0.0, 1.0}


@pytest.mark.parametrize("event_type", ["ccbar", "taupair"])
def test_filter_runs_for_continuum_events(
    event_type: str, run_steering: Run, count_model: Path
):
    options = ("-n", "3", "--event-type", event_type, "--model", str(count_model))
    output = run_steering("basf2_filter.py", *options)
    assert read_calls(output)["SmartFilter"] == 3
    assert "WARNING" not in output


def test_payloads_are_found_by_the_filter(
    run_steering: Run, double: Any, count_model: Path
):
    model = ("--model", str(count_model))
    assert "SmartFilterModel" in run_steering("basf2_payloads.py", *model)
    payload = ("--payload", "SmartFilterModel", "--localdb", "localdb")
    output = run_steering("basf2_filter.py", "-n", "8", *payload)
    digest = load_model(count_model).digest
    assert digest[:12] in output
    assert "dbstore_SmartFilterModel" in output


def test_payloads_for_the_official_module(run_steering: Run, double: Any):
    """JSON has texts as keys; SmartBackgroundConfig takes integers (section 5.1)."""
    Path("out.onnx").write_bytes(b"network")
    document = {
        "pdgMapping": {"0": 0, "-211": 82, "211": 83},
        "skimcodesMapping": {"11180100": 0},
        "parameterMapping": {"11180100": [0.5, -0.2]},
        "skimnamesMapping": {"11180100": "feiHadronicB0"},
        "eventtypeMapping": {name: code for code, name in enumerate(EVENT_TYPES)},
        "maxWeight": 100.0,
    }
    Path("out.json").write_text(json.dumps(document))
    run_steering("basf2_payloads.py", "--onnx", "out.onnx")
    config = double.Belle2.Database.objects["SmartBackgroundConfig_default"]
    pdg, codes, parameters, names, types = config.mappings
    assert pdg == {0: 0, -211: 82, 211: 83}
    assert codes == {11180100: 0}
    assert parameters == {11180100: [0.5, -0.2]}
    assert names == {11180100: "feiHadronicB0"}
    assert types["mixed"] == 3
    assert config.max_weight == 100.0
    database = Path("localdb/database.txt").read_text()
    assert "dbstore/SmartBackgroundWeights_default" in database


def test_payloads_need_something_to_store(run_steering: Run):
    with pytest.raises(SystemExit):
        run_steering("basf2_payloads.py")


def test_combined_skims_share_an_output(
    run_steering: Run, count_model: Path, tmp_path: Path
):
    """A model of two skims: weights and flags of both are in one mdst file."""
    model = make_two_skims(count_model, tmp_path / "two.pt")
    options = ("-n", "150", "--model", str(model), "--seed", "combined")
    calls = read_calls(run_steering("basf2_combined_skims.py", *options))
    kept = calls["FullSim"]
    assert 0 < kept < 150
    assert calls["AnyFlag"] == kept
    infos = read_numbers("combined.mdst.root")
    assert 0 < len(infos) == calls["RootOutput"] < kept
    skims = ("feiHadronicB0", "feiHadronicBplus")
    for info in infos:
        assert set(info) == {f"{k}_{s}" for k in ("weight", "passes") for s in skims}
        assert any(info[f"passes_{skim}"] for skim in skims)


def test_two_passes_keep_what_the_first_decided(run_steering: Run, count_model: Path):
    run_steering("basf2_two_passes.py", "generate", "-n", "40", "--run", "7")
    options = ["-o", "flags.parquet", "--mode", "sample", "--model", str(count_model)]
    result = CliRunner().invoke(cli, ["score", "gen.root", *options, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    table = read_scores("flags.parquet")
    output = run_steering(
        "basf2_two_passes.py", "simulate", "gen.root", "--scores", "flags.parquet"
    )
    assert read_calls(output)["FullSim"] == table["keep"].sum()
    written = open_events("filtered.mdst.root").read()
    assert written.event.tolist() == table["event"][table["keep"]].tolist()
    assert set(written.run) == {7}
    weights = [
        info["weight_feiHadronicB0"] for info in read_numbers("filtered.mdst.root")
    ]
    expected = table["weight_feiHadronicB0"][table["keep"]].astype(np.float32)
    assert weights == expected.tolist()


def test_training_data_hold_the_particles_from_before_the_simulation(
    run_steering: Run, double: Any
):
    run_steering("basf2_training_data.py", "-n", "60", "--seed", "train")
    found = open_events("training.parquet").read()
    run_steering("basf2_two_passes.py", "generate", "-n", "60", "--seed", "train")
    generated = open_events("gen.root").read()
    assert len(found) == 60
    for name in generated.particles:
        assert np.array_equal(found[name], generated[name]), name
    assert found.event.tolist() == generated.event.tolist()
    assert {EVENT_TYPES[code] for code in found.event_type} == {"mixed"}
    simulation = import_module("basf2.library").Detector(step=1.0, seed=3)
    reconstruct = import_module("basf2.library").reconstruct
    apply_skims = import_module("skim.core").apply_skims
    passes = apply_skims(reconstruct(simulation.simulate(generated)))
    assert found.labels["feiHadronicB0"].tolist() == passes["feiHadronicB0"].tolist()
    assert 0 < found.labels["feiHadronicB0"].sum() < 60


def test_every_steering_file_for_basf2_is_run_here(project_root: Path):
    files = {file.name for file in (project_root / "steering").glob("basf2_*.py")}
    assert files
    text = Path(__file__).read_text()
    assert {name for name in files if f'"{name}"' in text} == files


def make_two_skims(model: Path, output: Path) -> Path:
    """Save a model whose two outputs are the first one's logit and its opposite."""
    import torch
    from torch import Tensor, nn

    class Two(nn.Module):
        def forward(
            self,
            x: Tensor,
            pdg: Tensor,
            mother: Tensor,
            offsets: Tensor,
            event_type: Tensor,
        ) -> Tensor:
            logit = ((offsets[1:] - offsets[:-1]).to(torch.float32) - 60.0) / 10.0
            return torch.stack([logit, -logit], dim=1)

    info = load_model(model).info
    first = info.skims[0]
    second = replace(first, name="feiHadronicBplus", code=11180200)
    save_model(output, Two(), replace(info, skims=(first, second)))
    return output
