"""Training data from a standalone path equal those made in bulk."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smartfilter.framework as basf2
from smartfilter.errors import InputError, UsageError
from smartfilter.events import Events
from smartfilter.framework import Module, PyStoreObj
from smartfilter.io import open_events
from smartfilter.io.labelled import read_labelled_metadata
from smartfilter.module import add_smartfilter
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.modules import (
    DetectorModule,
    ReconstructionModule,
    SkimModule,
    SourceModule,
)
from smartfilter.pipeline.simulation import label
from smartfilter.training.dataset import make_dataset
from smartfilter.training.split import Split
from smartfilter.training_writer import TrainingDataWriter

SKIMS = ["feiHadronicB0", "InclusiveLambda"]
N_EVENTS = 60


@pytest.fixture(scope="module")
def events() -> Events:
    return Generator("mixed", seed=6, decay_table="pythia").generate(N_EVENTS)


class Given(SourceModule):
    """Provides given events."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    def make_blocks(self) -> Any:
        return iter([self._events])


def run(
    events: Events, writer: TrainingDataWriter, *, model: Path | None = None
) -> None:
    """Run the chain, with a sampling filter if a model is given."""
    path = basf2.create_path()
    path.add_module(Given(events))
    path.add_module(writer.recorder)
    if model is not None:
        add_smartfilter(path, model=model, mode="sample", seed=1)
    path.add_module(DetectorModule(step=1.0, seed=2))
    path.add_module(ReconstructionModule())
    path.add_module(SkimModule())
    path.add_module(writer)
    basf2.process(path)


def test_file_equals_the_bulk_production(events: Events, tmp_path: Path):
    output = tmp_path / "train.parquet"
    run(events, TrainingDataWriter(output, SKIMS))
    found, expected = open_events(output).read(), label(events, step=1.0, seed=2)
    for name in expected.particles:
        assert np.array_equal(found[name], expected[name]), name
    for name in SKIMS:
        assert np.array_equal(found.labels[name], expected.labels[name])
        assert found.labels[name].any()
    assert np.array_equal(found.event_type, expected.event_type)
    assert found.event.tolist() == expected.event.tolist()
    document = read_labelled_metadata(output)
    assert document["provenance"]["command"] == "TrainingDataWriter"
    assert document["provenance"]["host"] == "smartfilter.framework"
    dataset = make_dataset(found, skims=SKIMS, preset="smart_background", split=Split())
    assert len(dataset) == N_EVENTS


def test_weights_of_a_sampling_filter_become_sample_weights(
    events: Events, count_model: Path, tmp_path: Path
):
    output = tmp_path / "train.parquet"
    writer = TrainingDataWriter(output, SKIMS, weight="weight_feiHadronicB0")
    run(events, writer, model=count_model)
    found = open_events(output).read()
    assert 0 < len(found) == writer.n_written < N_EVENTS
    assert writer.recorder.n_generated == N_EVENTS
    weight = found.variables["sample_weight"]
    assert weight.min() >= 1
    assert weight.max() > 1
    entries = np.searchsorted(events.event, found.event)
    assert np.array_equal(found["pdg"], events.take(entries)["pdg"])


def test_existing_output_is_an_error_before_the_first_event(
    events: Events, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    output = tmp_path / "train.parquet"
    output.write_text("precious")
    with pytest.raises(UsageError, match=r"1 ERROR\(S\)"):
        run(events, TrainingDataWriter(output, SKIMS))
    assert "exists" in caplog.text
    assert output.read_text() == "precious"


@pytest.mark.parametrize(
    ("skims", "settings", "message"),
    [
        ([], {}, "expected skims as labels, got none"),
        (SKIMS, {"event_type": "b0"}, "event type: expected one of"),
        (SKIMS, {"reader": "fast"}, "reader: expected one of"),
    ],
)
def test_wrong_setting_is_an_error_before_the_first_event(
    skims: list[str],
    settings: dict[str, Any],
    message: str,
    events: Events,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    with pytest.raises(UsageError):
        run(events, TrainingDataWriter(tmp_path / "t.parquet", skims, **settings))
    assert message in caplog.text


def test_unknown_skim_stops_and_leaves_no_file(events: Events, tmp_path: Path):
    with pytest.raises(InputError, match="expected 'passes_TauLFV'"):
        run(events, TrainingDataWriter(tmp_path / "train.parquet", ["TauLFV"]))
    assert list(tmp_path.iterdir()) == []


def test_job_that_fails_elsewhere_leaves_no_file(events: Events, tmp_path: Path):
    """Then terminate() is not called; the temporary file goes with the writer."""

    def fail() -> None:
        class Failing(Module):
            def event(self) -> None:
                raise InputError("elsewhere")

        path = basf2.create_path()
        path.add_module(Given(events))
        path.add_module(Failing())
        path.add_module(TrainingDataWriter(tmp_path / "train.parquet", SKIMS))
        try:
            basf2.process(path)
        except InputError:
            return
        raise AssertionError("expected an error")

    fail()
    assert len(list(tmp_path.iterdir())) == 1
    basf2.statistics.clear()  # the last owner of the modules
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_missing_recorder_says_what_to_do(events: Events, tmp_path: Path):
    class Flag(Module):
        def event(self) -> None:
            PyStoreObj("EventExtraInfo").addExtraInfo("passes_A", 1.0)

    path = basf2.create_path()
    path.add_module(Given(events))
    path.add_module(Flag())
    path.add_module(TrainingDataWriter(tmp_path / "train.parquet", ["A"]))
    with pytest.raises(InputError, match=r"add writer.recorder to the path"):
        basf2.process(path)


def test_event_type_argument_wins(events: Events, tmp_path: Path):
    output = tmp_path / "train.parquet"
    run(events.take([0, 1]), TrainingDataWriter(output, SKIMS, event_type="charged"))
    assert open_events(output).read().event_type.tolist() == [1, 1]
