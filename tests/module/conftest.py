"""A path with the filter: events of given sizes, a model that counts, what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import smartfilter.framework as basf2
from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts
from smartfilter.framework import Module, PyStoreArray, PyStoreObj
from smartfilter.graphs import PRESETS
from smartfilter.model_file import save_model
from smartfilter.model_info import Calibration, ModelInfo, SkimInfo
from smartfilter.module import SmartFilter, add_smartfilter
from smartfilter.pdg import load_vocabulary

SKIM_NAMES = ("feiHadronicB0", "TauLFV")
SEED = 11


class CountNodes(nn.Module):
    """The logits are (n - 6) / 2 and (6 - n) / 2, n the number of nodes."""

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        logit = ((offsets[1:] - offsets[:-1]).to(torch.float32) - 6.0) / 2.0
        return torch.stack([logit, -logit], dim=1)


def _make_info() -> ModelInfo:
    preset = PRESETS["smart_background"]
    constants = Calibration(1.0, -1.0, 0.05, 0.4, 1.2, 0.5, 0.3)
    skims = tuple(
        SkimInfo(name, None, {"default": constants, "mixed": replace(constants)})
        for name in SKIM_NAMES
    )
    return ModelInfo(
        preset=preset.name,
        features=tuple((f.name, f.unit) for f in preset.features),
        vocabulary=load_vocabulary(preset.vocabulary),
        skims=skims,
        network="count",
        settings={},
        n_parameters=0,
    )


def _logistic(logit: float) -> float:
    return 1.0 / (1.0 + float(np.exp(-(logit - 1.0))))


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("model") / "count.pt"
    save_model(path, CountNodes(), _make_info())
    return path


def _make_events(counts: list[int], **changes: Any) -> Events:
    """Events whose particles are all nodes: pions, each the daughter of the first."""
    offsets = offsets_from_counts(np.array(counts))
    rng = np.random.default_rng(5)
    n = int(offsets[-1])
    columns = {
        name: rng.uniform(0.1, 1.0, n).astype(dtype)
        for name, dtype in PARTICLE_COLUMNS.items()
    }
    rows = np.arange(n) - np.repeat(offsets[:-1], counts)
    columns["array_index"] = rows.astype(np.int32)
    columns["mother_index"] = np.where(rows == 0, -1, 0).astype(np.int32)
    columns["status"] = np.ones(n, np.uint16)
    columns["pdg"] = np.where(rows % 2, 211, -211).astype(np.int32)
    return Events.from_columns(
        offsets,
        {**columns, **changes},
        run=np.ones(len(counts), np.int64),
        experiment=np.full(len(counts), 1003),
        event=np.arange(100, 100 + len(counts)),
    )


class Source(Module):
    """Emits given events one by one."""

    def __init__(self, events: Events, event_type: str = "") -> None:
        super().__init__()
        self.events, self.event_type = events, event_type
        self.index = 0
        self.meta_data = PyStoreObj("EventMetaData")
        self.extra_info = PyStoreObj("EventExtraInfo")
        self.particles = PyStoreArray("MCParticles")

    def initialize(self) -> None:
        self.index = 0
        for entry in (self.meta_data, self.extra_info):
            entry.registerInDataStore()
        self.particles.registerInDataStore()

    def event(self) -> None:
        self.meta_data.create()
        if self.index == len(self.events):
            self.meta_data.setEndOfData()
            return
        event = self.events.take([self.index])
        self.index += 1
        self.particles.assign(event)
        for name in ("experiment", "run", "event"):
            setattr(self.meta_data.obj(), name, int(getattr(event, name)[0]))
        if self.event_type:
            self.extra_info.create()
            self.extra_info.addExtraStringInfo("eventType", self.event_type)


class Sink(Module):
    """Keeps the event number and EventExtraInfo of each event that reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []
        self.infos: list[dict[str, float]] = []

    def initialize(self) -> None:
        self.numbers, self.infos = [], []

    def event(self) -> None:
        info = PyStoreObj("EventExtraInfo").obj()
        self.numbers.append(PyStoreObj("EventMetaData").getEvent())
        self.infos.append({name: info.getExtraInfo(name) for name in info.getNames()})


def _run(
    events: Events, stored_type: str = "", **settings: Any
) -> tuple[SmartFilter, Sink]:
    path = basf2.create_path()
    path.add_module(Source(events, stored_type))
    module = add_smartfilter(path, **{"seed": SEED, **settings})
    sink = Sink()
    path.add_module(sink)
    basf2.process(path)
    return module, sink


def _with_bad_event(counts: list[int], index: int) -> Events:
    """Events of which one has a mother loop."""
    events = _make_events(counts)
    mother = events["mother_index"].copy()
    mother[events.offsets[index]] = counts[index] - 1
    return replace(events, particles={**events.particles, "mother_index": mother})


@pytest.fixture(scope="session")
def make_events():
    """Return the function that makes events of given sizes."""
    return _make_events


@pytest.fixture(scope="session")
def run():
    """Return the function that runs a path and returns its filter and its sink."""
    return _run


@pytest.fixture(scope="session")
def make_info():
    """Return the function that describes the model."""
    return _make_info


@pytest.fixture(scope="session")
def make_network():
    """Return the class of the network."""
    return CountNodes


@pytest.fixture(scope="session")
def logistic():
    """Return the calibrated pass probability as a function of the logit."""
    return _logistic


@pytest.fixture(scope="session")
def make_source():
    """Return the class of modules that provide events."""
    return Source


@pytest.fixture(scope="session")
def make_sink():
    """Return the class of modules that note what reaches them."""
    return Sink


@pytest.fixture(scope="session")
def with_bad_event():
    """Return the function that makes events of which one has a mother loop."""
    return _with_bad_event
