"""The data store and what it holds (contract, sections 1, 2.2, 2.3 and 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from basf2.logs import B2ERROR


class out_of_range(Exception):
    """std::out_of_range as PyROOT raises it."""


class runtime_error(Exception):
    """std::runtime_error as PyROOT raises it."""


class Entry:
    def __init__(self, name: str, *, is_array: bool) -> None:
        self.name, self.is_array = name, is_array
        self.value: Any = None


class DataStore:
    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.initializing = False

    def reset(self) -> None:
        self.entries.clear()

    def invalidate(self) -> None:
        """Event durability: nothing survives the event."""
        for entry in self.entries.values():
            entry.value = None


store = DataStore()


class Vector:
    """ROOT::Math::XYZVector, or PxPyPzEVector with an energy."""

    def __init__(self, x: float, y: float, z: float, e: float = 0.0) -> None:
        self._v = (x, y, z, e)

    def X(self) -> float:
        return self._v[0]

    def Y(self) -> float:
        return self._v[1]

    def Z(self) -> float:
        return self._v[2]

    Px, Py, Pz = X, Y, Z

    def E(self) -> float:
        return self._v[3]


class MCParticle:
    """An MCParticle; real numbers are floats of 32 bits, indices start at 1."""

    c_PrimaryParticle = 1
    c_StableInGenerator = 2
    c_LeftDetector = 4
    c_StoppedInDetector = 8
    c_IsVirtual = 16
    c_Initial = 32
    c_IsISRPhoton = 64
    c_IsFSRPhoton = 128
    c_IsPHOTOSPhoton = 256

    def __init__(self) -> None:
        self.array: list[MCParticle] = []
        self.position = -1
        self.pdg = self.status = self.mother = 0
        self.reals = dict.fromkeys(
            ("mass", "energy", "px", "py", "pz", "prod_time", "x", "y", "z"), 0.0
        )

    def set(self, **reals: float) -> None:
        self.reals.update({k: float(np.float32(v)) for k, v in reals.items()})

    def getPDG(self) -> int:
        return self.pdg

    def getStatus(self, mask: int = 0xFFFF) -> int:
        return self.status & mask

    def hasStatus(self, mask: int) -> bool:
        return self.status & mask == mask

    def isPrimaryParticle(self) -> bool:
        return self.hasStatus(self.c_PrimaryParticle)

    def getMass(self) -> float:
        return self.reals["mass"]

    def getEnergy(self) -> float:
        return self.reals["energy"]

    def getProductionTime(self) -> float:
        return self.reals["prod_time"]

    def getMomentum(self) -> Vector:
        return Vector(*(self.reals[k] for k in ("px", "py", "pz")))

    def get4Vector(self) -> Vector:
        return Vector(*(self.reals[k] for k in ("px", "py", "pz", "energy")))

    def getProductionVertex(self) -> Vector:
        return Vector(*(self.reals[k] for k in ("x", "y", "z")))

    getVertex = getProductionVertex

    def getArrayIndex(self) -> int:
        return self.position

    def getIndex(self) -> int:
        return self.getArrayIndex() + 1

    def getMother(self) -> MCParticle | None:
        return self.array[self.mother - 1] if self.mother else None


class EventMetaData:
    END = 2**32 - 1

    def __init__(self) -> None:
        self._event, self._run, self._experiment, self._production = 0, 0, 0, 0

    def getEvent(self) -> int:
        return self._event

    def getRun(self) -> int:
        return self._run

    def getExperiment(self) -> int:
        return self._experiment

    def getProduction(self) -> int:
        return self._production

    def setEvent(self, value: int) -> None:
        self._event = value

    def setRun(self, value: int) -> None:
        self._run = value

    def setExperiment(self, value: int) -> None:
        self._experiment = value

    def setProduction(self, value: int) -> None:
        self._production = value

    def setEndOfData(self) -> None:
        self._event = self._run = self._experiment = self.END

    def isEndOfData(self) -> bool:
        return self._event == self._run == self._experiment == self.END


class EventExtraInfo:
    def __init__(self) -> None:
        self._numbers: dict[str, float] = {}
        self._texts: dict[str, str] = {}

    def addExtraInfo(self, name: str, value: float) -> None:
        if name in self._numbers:
            raise out_of_range(f"'{name}' already exists")
        self.setExtraInfo(name, value)

    def setExtraInfo(self, name: Any, value: Any) -> None:
        if not isinstance(name, str) or not isinstance(value, int | float):
            raise TypeError("setExtraInfo(string, float)")
        self._numbers[name] = float(np.float32(value))

    def getExtraInfo(self, name: str) -> float:
        if name not in self._numbers:
            raise runtime_error(f"'{name}' is not there")
        return self._numbers[name]

    def hasExtraInfo(self, name: str) -> bool:
        return name in self._numbers

    def getNames(self) -> list[str]:
        return sorted(self._numbers)

    def removeExtraInfo(self) -> None:
        self._numbers.clear()
        self._texts.clear()

    def addExtraStringInfo(self, name: str, value: str) -> None:
        if name in self._texts:
            raise out_of_range(f"'{name}' already exists")
        self._texts[name] = value

    def setExtraStringInfo(self, name: str, value: str) -> None:
        self._texts[name] = value

    def getExtraStringInfo(self, name: str) -> str:
        if name not in self._texts:
            raise runtime_error(f"'{name}' is not there")
        return self._texts[name]

    def hasExtraStringInfo(self, name: str) -> bool:
        return name in self._texts

    def getStringInfoNames(self) -> list[str]:
        return sorted(self._texts)

    def getEventType(self) -> str:
        return self._texts.get("eventType", "")


CLASSES: dict[str, type] = {
    "EventMetaData": EventMetaData,
    "EventExtraInfo": EventExtraInfo,
    "MCParticles": MCParticle,
}


class _Handle:
    is_array = False

    def __init__(self, name: str, durability: int = 0) -> None:
        self._name = name

    def registerInDataStore(self, name: str = "", flags: int = 0) -> bool:
        self._name = name or self._name
        if not store.initializing:
            B2ERROR(f"'{self._name}': registered outside of initialize()")
            return False
        known = store.entries.setdefault(
            self._name, Entry(self._name, is_array=self.is_array)
        )
        if known.is_array != self.is_array:
            B2ERROR(f"'{self._name}': registered with another type")
            return False
        return True

    def isOptional(self, name: str = "") -> bool:
        return (name or self._name) in store.entries

    def isRequired(self, name: str = "") -> bool:
        if self.isOptional(name):
            return True
        B2ERROR(f"The required '{name or self._name}' is not in the data store")
        return False

    def isValid(self) -> bool:
        return self._value is not None

    @property
    def _value(self) -> Any:
        entry = store.entries.get(self._name)
        return None if entry is None else entry.value


class PyStoreObj(_Handle):
    def obj(self) -> Any:
        return self._value

    def create(self, replace: bool = False) -> bool:
        entry = store.entries.get(self._name)
        if entry is None:
            B2ERROR(f"'{self._name}': created but not registered")
            return False
        if entry.value is None or replace:
            entry.value = CLASSES[self._name]()
        return True

    def __getattr__(self, name: str) -> Any:
        value = self._value
        if value is None:
            raise ReferenceError(f"attempt to access a null-pointer: {self._name}")
        return getattr(value, name)


class PyStoreArray(_Handle):
    is_array = True

    def getName(self) -> str:
        return self._name

    def getPtr(self) -> list[Any] | None:
        """Return a TClonesArray; here a list."""
        return self._value  # type: ignore[no-any-return]

    def getEntries(self) -> int:
        if self._name not in store.entries:
            B2ERROR(f"'{self._name}': not registered, no entries")
            return 0
        return len(self._value or [])

    def __len__(self) -> int:
        return self.getEntries()

    def __bool__(self) -> bool:
        return self.isValid()

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.getEntries():
            raise IndexError(index) if self.isValid() else ReferenceError(self._name)
        return self._value[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._value or []))

    def appendNew(self) -> Any:
        entry = store.entries[self._name]
        if entry.value is None:
            entry.value = []
        new = CLASSES[self._name]()
        if isinstance(new, MCParticle):
            new.array, new.position = entry.value, len(entry.value)
        entry.value.append(new)
        return new
