"""C++ modules by name, with the parameters that steering files set.

Physics is that of `smartfilter.pipeline`: Pythia 8 stands for EvtGen and KKMC, the mock
detector for Geant4 and the reconstruction.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from basf2.logs import B2FATAL
from basf2.path import LIBRARY, CppModule, ModulePropFlags
from basf2.processing import get_random_seed
from basf2.store import Entry, MCParticle, PyStoreArray, PyStoreObj, store
from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts
from smartfilter.io import MdstWriter, open_events
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.reconstruction import reconstruct

_REALS = ("mass", "energy", "px", "py", "pz", "prod_time", "x", "y", "z")


def fill(array: PyStoreArray, events: Events, index: int) -> None:
    """Append the particles of one event."""
    first, last = events.offsets[index], events.offsets[index + 1]
    for row in range(first, last):
        particle = array.appendNew()
        particle.pdg = int(events["pdg"][row])
        particle.status = int(events["status"][row])
        particle.mother = int(events["mother_index"][row]) + 1
        particle.set(**{name: float(events[name][row]) for name in _REALS})


def collect_events(data: Any, *, primaries_only: bool) -> Events:
    """Return the current event as columns."""
    particles = list(PyStoreArray("MCParticles"))
    columns: dict[str, list[float]] = {name: [] for name in PARTICLE_COLUMNS}
    rows = [p for p in particles if p.isPrimaryParticle() or not primaries_only]
    positions = {particle.position: row for row, particle in enumerate(rows)}
    for row, particle in enumerate(rows):
        mother = particle.getMother()
        columns["pdg"].append(particle.pdg)
        columns["status"].append(particle.status)
        columns["array_index"].append(row)
        above = -1 if mother is None else positions.get(mother.position, -1)
        columns["mother_index"].append(above)
        for name in _REALS:
            columns[name].append(particle.reals[name])
    return Events.from_columns(
        offsets_from_counts(np.array([len(rows)])),
        {
            name: np.array(columns[name], kind)
            for name, kind in PARTICLE_COLUMNS.items()
        },
        experiment=[data.getExperiment()],
        run=[data.getRun()],
        production=[data.getProduction()],
        event=[data.getEvent()],
    )


class EventInfoSetter(CppModule):
    parameters: ClassVar[dict[str, Any]] = {
        "expList": [0],
        "runList": [0],
        "evtNumList": [1],
        "production": 0,
    }

    def initialize(self) -> None:
        self.data = PyStoreObj("EventMetaData")
        self.data.registerInDataStore()
        self.numbers = (
            (experiment, run, event)
            for experiment, run, count in zip(
                self.values["expList"],
                self.values["runList"],
                self.values["evtNumList"],
                strict=True,
            )
            for event in range(1, count + 1)
        )

    def event(self) -> None:
        self.data.create()
        number = next(self.numbers, None)
        if number is None:
            self.data.setEndOfData()
            return
        self.data.setExperiment(number[0])
        self.data.setRun(number[1])
        self.data.setEvent(number[2])
        self.data.setProduction(self.values["production"])


class _Generator(CppModule):
    """Stores particles, and the event type unless it is set."""

    def generate_type(self) -> str:
        raise RuntimeError(self.type_name)

    def initialize(self) -> None:
        PyStoreObj("EventMetaData").isRequired()
        self.particles = PyStoreArray("MCParticles")
        self.particles.registerInDataStore()
        self.info = PyStoreObj("EventExtraInfo")
        self.info.registerInDataStore()
        digest = hashlib.sha256(get_random_seed().encode()).digest()
        self.generator = Generator(
            self.generate_type(),
            seed=int.from_bytes(digest[:3], "big"),
            decay_table="pythia",
        )
        self.block, self.index = self.generator.generate(50), 0

    def event(self) -> None:
        if self.index == len(self.block):
            self.block, self.index = self.generator.generate(50), 0
        fill(self.particles, self.block, self.index)
        self.index += 1
        name = self.values["eventType"]
        if name:
            self.info.create()
            if not self.info.hasExtraStringInfo("eventType"):
                self.info.addExtraStringInfo("eventType", name)
        self.return_value(1)


class EvtGenInput(_Generator):
    parameters: ClassVar[dict[str, Any]] = {
        "userDECFile": "",
        "DECFile": "",
        "CoherentMixing": True,
        "ParentParticle": "Upsilon(4S)",
        "maxTries": 100000,
        "eventType": "",
    }

    def generate_type(self) -> str:
        return Path(self.values["userDECFile"]).stem


class KKGenInput(_Generator):
    parameters: ClassVar[dict[str, Any]] = {
        "tauinputFile": "",
        "KKdefaultFile": "",
        "taudecaytableFile": "",
        "kkmcoutputfilename": "",
        "eventType": "",
    }

    def generate_type(self) -> str:
        name = Path(self.values["tauinputFile"]).name.split("_")[0].split(".")[0]
        return {"tau": "taupair"}.get(name, name)

    def initialize(self) -> None:
        if self.values["taudecaytableFile"]:
            super().initialize()

    def event(self) -> None:
        if self.values["taudecaytableFile"]:
            super().event()


class Fragmentation(_Generator):
    parameters: ClassVar[dict[str, Any]] = {
        "ParameterFile": "",
        "ListPYTHIAEvent": 0,
        "UseEvtGen": 1,
        "DecFile": "",
        "UserDecFile": "",
        "useEvtGenParticleData": 0,
        "eventType": "",
        "quarks": "",
    }

    def generate_type(self) -> str:
        return str(self.values["quarks"])


class Nothing(CppModule):
    """A module without effect here."""


class Gearbox(Nothing):
    pass


class Geometry(Nothing):
    pass


class Progress(Nothing):
    pass


class StatisticsSummary(Nothing):
    pass


class FullSim(CppModule):
    """Simulates, and appends secondaries to MCParticles as Geant4 does."""

    def initialize(self) -> None:
        PyStoreArray("MCParticles").isRequired()
        store.entries.setdefault("Detected", Entry("Detected", is_array=False))
        self.detector = Detector(step=1.0, seed=3)

    def event(self) -> None:
        data = PyStoreObj("EventMetaData")
        events = collect_events(data, primaries_only=True)
        store.entries["Detected"].value = self.detector.simulate(events)
        array = PyStoreArray("MCParticles")
        for particle in array:
            if particle.getStatus() & MCParticle.c_StableInGenerator:
                particle.status |= MCParticle.c_StoppedInDetector
                secondary = array.appendNew()
                secondary.pdg, secondary.status = 22, 0
                secondary.mother = particle.getIndex()
                secondary.set(energy=1e-3, pz=1e-3, z=50.0)


class Reconstruction(CppModule):
    def initialize(self) -> None:
        if "Detected" not in store.entries:
            B2FATAL("reconstruction: simulation missing")
        store.entries.setdefault("Result", Entry("Result", is_array=False))

    def event(self) -> None:
        store.entries["Result"].value = reconstruct(store.entries["Detected"].value)


class RootOutput(CppModule):
    """Writes MCParticles with uproot, EventExtraInfo beside it as JSON."""

    parameters: ClassVar[dict[str, Any]] = {
        "outputFileName": "RootOutput.root",
        "branchNames": [],
        "branchNamesPersistent": [],
        "additionalDataDescription": {},
        "ignoreCommandLineOverride": False,
    }

    def initialize(self) -> None:
        self.set_property_flags(ModulePropFlags.OUTPUT)
        path = Path(self.values["outputFileName"])
        self.writer = MdstWriter(path, force=True)
        self.rows: list[dict[str, Any]] = []

    def event(self) -> None:
        data, info = PyStoreObj("EventMetaData"), PyStoreObj("EventExtraInfo")
        branches = self.values["branchNames"]
        if "MCParticles" in branches:
            self.writer.write(collect_events(data, primaries_only=False))
        row = {"event": data.getEvent(), "numbers": {}, "texts": {}}
        if "EventExtraInfo" in branches and info.isValid():
            row["numbers"] = {name: info.getExtraInfo(name) for name in info.getNames()}
            texts = info.getStringInfoNames()
            row["texts"] = {name: info.getExtraStringInfo(name) for name in texts}
        self.rows.append(row)

    def terminate(self) -> None:
        self.writer.close()
        sidecar = Path(f"{self.values['outputFileName']}.json")
        sidecar.write_text(json.dumps(self.rows))


class RootInput(CppModule):
    parameters: ClassVar[dict[str, Any]] = {"inputFileName": "", "inputFileNames": []}

    def initialize(self) -> None:
        self.set_property_flags(ModulePropFlags.INPUT)
        self.data = PyStoreObj("EventMetaData")
        self.info = PyStoreObj("EventExtraInfo")
        self.particles = PyStoreArray("MCParticles")
        for entry in (self.data, self.info, self.particles):
            entry.registerInDataStore()
        names = [*self.values["inputFileNames"], self.values["inputFileName"]]
        names = [name for name in names if name]
        if not names:
            B2FATAL("RootInput: no input file")
        self.events = open_events(names, keep_secondaries=True).read()
        files = [Path(f"{name}.json") for name in names]
        self.rows = [
            row
            for file in files
            if file.exists()
            for row in json.loads(file.read_text())
        ]
        self.index = 0

    def event(self) -> None:
        self.data.create()
        if self.index == len(self.events):
            self.data.setEndOfData()
            return
        i, self.index = self.index, self.index + 1
        self.data.setExperiment(int(self.events.experiment[i]))
        self.data.setRun(int(self.events.run[i]))
        self.data.setEvent(int(self.events.event[i]))
        self.data.setProduction(int(self.events.production[i]))
        fill(self.particles, self.events, i)
        if self.rows:
            self.info.create()
            for name, number in self.rows[i]["numbers"].items():
                self.info.addExtraInfo(name, number)
            for name, text in self.rows[i]["texts"].items():
                self.info.addExtraStringInfo(name, text)


def register() -> None:
    """Fill the library."""
    for kind in (
        EventInfoSetter,
        EvtGenInput,
        KKGenInput,
        Fragmentation,
        Gearbox,
        Geometry,
        Progress,
        StatisticsSummary,
        FullSim,
        Reconstruction,
        RootOutput,
        RootInput,
    ):
        kind.type_name = kind.__name__
        LIBRARY[kind.__name__] = kind
