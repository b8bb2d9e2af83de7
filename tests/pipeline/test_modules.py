"""The standalone stages give on a path what they give on a block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smartfilter.framework as basf2
from smartfilter.errors import UsageError
from smartfilter.events import EVENT_TYPES, Events
from smartfilter.framework import Module, PyStoreArray, PyStoreObj
from smartfilter.io import MdstWriter
from smartfilter.module import SmartFilter
from smartfilter.pipeline.block_filter import BlockFilter
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.modules import (
    CollectorModule,
    DetectorModule,
    EventFileModule,
    GeneratorModule,
    ReconstructionModule,
    SkimModule,
    SourceModule,
)
from smartfilter.pipeline.simulation import label
from smartfilter.pipeline.skims import SKIMS
from smartfilter.scoring import Scorer

N_EVENTS = 30


@pytest.fixture(scope="module")
def events() -> Events:
    return Generator("mixed", seed=4, experiment=1003, run=7, first_event=11).generate(
        N_EVENTS
    )


def make_generator(**settings: Any) -> GeneratorModule:
    return GeneratorModule(
        "mixed", N_EVENTS, seed=4, experiment=1003, run=7, first_event=11, **settings
    )


class Watcher(Module):
    """Keeps what the source stores."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Events] = []
        self.ids: list[tuple[int, int, int]] = []
        self.types: list[str] = []

    def event(self) -> None:
        data = PyStoreObj("EventMetaData")
        self.events.append(PyStoreArray("MCParticles").getPtr())
        self.ids.append((data.getExperiment(), data.getRun(), data.getEvent()))
        self.types.append(PyStoreObj("EventExtraInfo").getEventType())


def run(*modules: Module) -> None:
    path = basf2.create_path()
    for module in modules:
        path.add_module(module)
    basf2.process(path)


def assert_same(found: list[Events], expected: Events) -> None:
    assert len(found) == len(expected)
    for i, event in enumerate(found):
        one = expected.take([i])
        assert len(event) == 1
        for name, column in one.particles.items():
            assert np.array_equal(event[name], column), name
        assert event.event[0] == one.event[0]
        assert event.event_type[0] == one.event_type[0]


@pytest.mark.parametrize("block_size", [1, 7, 500])
def test_generator_module_emits_the_events_of_a_block(block_size: int, events: Events):
    watcher = Watcher()
    run(make_generator(block_size=block_size), watcher)
    assert_same(watcher.events, events)
    assert watcher.ids[0] == (1003, 7, 11)
    assert watcher.ids[-1] == (1003, 7, 10 + N_EVENTS)
    assert set(watcher.types) == {"mixed"}


def test_generator_module_starts_over_in_each_processing(events: Events):
    generator, watcher = make_generator(), Watcher()
    run(generator, watcher)
    run(generator, watcher)
    assert len(watcher.events) == 2 * N_EVENTS
    assert_same(watcher.events[N_EVENTS:], events)


def test_generator_module_without_events_ends_at_once():
    watcher = Watcher()
    run(GeneratorModule("mixed", 0, seed=1), watcher)
    assert watcher.events == []


def test_generator_module_block_size_zero_refused():
    with pytest.raises(UsageError, match="block size"):
        make_generator(block_size=0)


def test_source_module_is_an_input_and_empty():
    source, watcher = SourceModule(), Watcher()
    assert source.has_properties(basf2.ModulePropFlags.INPUT)
    run(source, watcher)
    assert watcher.events == []


def test_event_file_module_reads_what_was_written(tmp_path: Path, events: Events):
    file = tmp_path / "events.root"
    with MdstWriter(file) as writer:
        writer.write(events)
    watcher = Watcher()
    run(EventFileModule(file, block_size=8), watcher)
    assert_same(watcher.events, events)
    assert watcher.ids[0] == (1003, 7, 11)


def test_stages_on_a_path_give_the_labels_of_a_block(events: Events):
    """One event at a time, the skims decide as for all events at once."""
    names = [f"passes_{skim.name}" for skim in SKIMS]
    collector = CollectorModule(names)
    run(
        make_generator(),
        DetectorModule(step=1.0, seed=3),
        ReconstructionModule(),
        SkimModule(),
        collector,
    )
    labelled = label(events, step=1.0, seed=3)
    columns = collector.columns
    assert columns["entry"].tolist() == events.entry.tolist()
    for skim in SKIMS:
        assert np.array_equal(
            columns[f"passes_{skim.name}"], labelled.labels[skim.name]
        )


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        (ReconstructionModule, "Detected"),
        (SkimModule, "Reconstructed"),
    ],
)
def test_stage_without_its_input_is_an_error(
    stage: type[Module], missing: str, caplog: pytest.LogCaptureFixture
):
    with pytest.raises(UsageError, match=r"1 ERROR\(S\)"):
        run(make_generator(), stage())
    assert f"to register '{missing}'" in caplog.text


def test_collector_of_nothing_has_empty_columns():
    assert {k: v.shape for k, v in CollectorModule(["a"]).columns.items()} == {
        "entry": (0,),
        "a": (0,),
    }


@pytest.mark.parametrize("mode", ["threshold", "sample", "official"])
@pytest.mark.parametrize("event_type", [None, "mixed", "charged"])
def test_block_filter_decides_as_the_filter(
    mode: str, event_type: str | None, scorer: Scorer
):
    kept = []
    for kind in (SmartFilter, BlockFilter):
        module = kind(model=scorer, mode=mode, event_type=event_type, seed=5)
        module.if_value("==0", basf2.create_path())
        collector = CollectorModule(["weight_feiHadronicB0"])
        run(make_generator(block_size=12), module, collector)
        kept.append(collector.columns)
    alone, blocks = kept
    assert 0 < len(alone["entry"]) < N_EVENTS
    assert np.array_equal(alone["entry"], blocks["entry"])
    name = "weight_feiHadronicB0"
    assert np.allclose(alone[name], blocks[name], rtol=1e-5)


def test_block_filter_starts_over_in_each_processing(scorer: Scorer):
    module = BlockFilter(model=scorer, mode="sample", seed=5)
    generator = make_generator()
    run(generator, module)
    first = module.counts
    run(generator, module)
    assert module.counts == first


def test_block_filter_before_initialize_says_so(scorer: Scorer, events: Events):
    with pytest.raises(UsageError, match="before initialize"):
        BlockFilter(model=scorer)._judge_block(events)


def test_event_types_of_the_generator_are_known():
    watcher = Watcher()
    run(GeneratorModule("ccbar", 3, seed=1), watcher)
    assert watcher.types == ["ccbar"] * 3
    assert watcher.events[0].event_type[0] == EVENT_TYPES.index("ccbar")
