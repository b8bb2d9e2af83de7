"""``smartfilter export``, and scoring with what it wrote, as a user types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smartfilter.framework as basf2
from smartfilter.cli import main
from smartfilter.events import Events
from smartfilter.framework import Module, PyStoreArray, PyStoreObj
from smartfilter.io import open_events, read_scores
from smartfilter.model_file import default_model_path
from smartfilter.module import add_smartfilter
from smartfilter.scoring import Scorer

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

SKIM = "feiHadronicB0"


def call(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("export") / "gcn.onnx"
    options = ("--onnx", path, "--event-type", "mixed")
    assert call("export", default_model_path(), *options) == 0
    return path


def test_export_prints_what_it_wrote(tmp_path, capfd):
    path = tmp_path / "gcn.onnx"
    code = call("export", default_model_path(), "--onnx", path, "--json")
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["output"] == str(path)
    assert document["configuration"] == str(tmp_path / "gcn.json")
    assert document["n_bytes"] == path.stat().st_size
    assert document["skims"] == list(Scorer().info.skim_names)
    assert document["largest_difference"] < 1e-4
    assert sorted(f.name for f in tmp_path.iterdir()) == ["gcn.json", "gcn.onnx"]


def test_score_with_exported_model_repeats_the_model(exported, example, tmp_path):
    tables = []
    for name, model in (("a", default_model_path()), ("b", exported)):
        output = tmp_path / f"{name}.parquet"
        options = ("--mode", "official", "--seed", "5", "--device", "cpu")
        assert call("score", example, "-o", output, "--model", model, *options) == 0
        tables.append(read_scores(output))
    first, second = (table.columns for table in tables)
    assert 0 < np.sum(first["keep"]) < len(first["keep"])
    np.testing.assert_array_equal(second["keep"], first["keep"])
    for name in (f"logit_{SKIM}", f"weight_{SKIM}"):
        np.testing.assert_allclose(second[name], first[name], rtol=1e-4, atol=1e-4)


class Source(Module):
    """Emits given events one by one."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self.events, self.index = events, 0
        self.meta_data = PyStoreObj("EventMetaData")
        self.particles = PyStoreArray("MCParticles")

    def initialize(self) -> None:
        self.meta_data.registerInDataStore()
        self.particles.registerInDataStore()

    def event(self) -> None:
        self.meta_data.create()
        if self.index == len(self.events):
            self.meta_data.setEndOfData()
            return
        self.particles.assign(self.events.take([self.index]))
        self.meta_data.obj().event = self.index
        self.index += 1


class Sink(Module):
    """Keeps the numbers of the events that reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []

    def event(self) -> None:
        self.numbers.append(PyStoreObj("EventMetaData").getEvent())


def test_module_with_exported_model_keeps_the_same_events(exported, example):
    events = open_events(example).read().take(np.arange(60))
    kept = []
    for model in (default_model_path(), exported):
        path, sink = basf2.create_path(), Sink()
        path.add_module(Source(events))
        add_smartfilter(path, [SKIM], "mixed", mode="official", model=model, seed=2)
        path.add_module(sink)
        basf2.process(path)
        kept.append(sink.numbers)
    assert 0 < len(kept[0]) < len(events)
    assert kept[1] == kept[0]


@pytest.mark.parametrize("existing", ["gcn.onnx", "gcn.json"])
def test_export_existing_file_needs_force(
    exported, tmp_path, capfd, monkeypatch, existing
):
    data = exported.read_bytes()  # tracing again would take four seconds
    monkeypatch.setattr("smartfilter.onnx_export._to_onnx", lambda *_: data)
    (tmp_path / existing).write_text("mine")
    target = ("--onnx", tmp_path / "gcn.onnx", "--event-type", "mixed")
    command = ("export", default_model_path(), *target)
    assert call(*command) == 2
    assert "use --force" in capfd.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == [existing]
    assert call(*command, "--force") == 0
    assert (tmp_path / "gcn.onnx").read_bytes() == data
    document = exported.with_suffix(".json").read_bytes()
    assert (tmp_path / "gcn.json").read_bytes() == document


WRONG: dict[str, tuple[list[str], int, str]] = {
    "suffix": (["--onnx", "out.pt"], 2, "ends in .onnx"),
    "no-output": ([], 2, "--onnx"),
    "no-folder": (["--onnx", "none/out.onnx"], 2, "existing folder"),
    "event-type": (["--onnx", "out.onnx", "--event-type", "x"], 2, "--event-type"),
    "code-word": (["--onnx", "out.onnx", "--skim-code", "a=b"], 2, "NAME=CODE"),
    "code-alone": (["--onnx", "out.onnx", "--skim-code", "7"], 2, "NAME=CODE"),
    "other-skim": (["--onnx", "out.onnx", "--skim-code", "a=7"], 2, "got a"),
}


@pytest.mark.parametrize(("options", "code", "message"), WRONG.values(), ids=WRONG)
def test_export_wrong_options_are_usage_errors(
    tmp_path, monkeypatch, capfd, options, code, message
):
    monkeypatch.chdir(tmp_path)
    assert call("export", default_model_path(), *options) == code
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_export_of_no_model_file_is_a_model_error(
    tmp_path, example, count_model, capfd
):
    output = tmp_path / "out.onnx"
    for model, message in (
        (example, "TorchScript archive"),
        (tmp_path / "none.pt", "cannot read"),
        (count_model, "network 'count': cannot be built"),
    ):
        assert call("export", model, "--onnx", output) == 4
        err = capfd.readouterr().err
        assert message in err
        assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_export_without_the_package_names_the_extra(
    tmp_path, monkeypatch, capfd, package
):
    monkeypatch.setitem(sys.modules, package, None)
    code = call("export", default_model_path(), "--onnx", tmp_path / "out.onnx")
    assert code == 2
    assert f"'{package}'" in (err := capfd.readouterr().err)
    assert "smartfilter[onnx]" in err
    assert not list(tmp_path.iterdir())


def test_score_without_onnxruntime_names_the_extra(
    exported, example, monkeypatch, capfd
):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert call("score", example, "--model", exported) == 2
    assert "smartfilter[onnx]" in capfd.readouterr().err


def damage_network(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def remove_document(path: Path) -> None:
    path.with_suffix(".json").unlink()


def empty_document(path: Path) -> None:
    path.with_suffix(".json").write_text("{}")


@pytest.mark.parametrize("damage", [damage_network, remove_document, empty_document])
def test_score_with_bad_onnx_is_a_model_error_before_any_event(
    exported, example, tmp_path, capfd, damage: Any
):
    path, output = tmp_path / "bad.onnx", tmp_path / "out.parquet"
    path.write_bytes(exported.read_bytes())
    path.with_suffix(".json").write_bytes(exported.with_suffix(".json").read_bytes())
    damage(path)
    assert call("score", tmp_path / "no-events.root", "--model", path) == 4
    assert call("score", example, "--model", path, "-o", output) == 4
    assert "Traceback" not in capfd.readouterr().err
    assert not output.exists()


def test_score_with_onnx_on_a_gpu_is_a_device_error(exported, example, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert call("score", example, "--model", exported, "--device", "cuda") == 5
