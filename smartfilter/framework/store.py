"""The data store: objects by name that modules exchange within an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import UsageError
from smartfilter.framework.logs import B2ERROR

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "DataStore",
    "EventExtraInfo",
    "EventMetaData",
    "PyStoreArray",
    "PyStoreObj",
    "store",
]

END_OF_DATA = 2**32 - 1
"""Event, run and experiment number that mark the end of data."""

EVENT_TYPE_KEY = "eventType"
"""Key of the event type in the text part of EventExtraInfo (basf2)."""


@dataclass(slots=True)
class EventMetaData:
    """Identity of an event; equal if experiment, run and event number are."""

    event: int = 0
    run: int = 0
    experiment: int = 0
    production: int = 0

    def __eq__(self, other: object) -> bool:
        """Compare experiment, run and event number."""
        return (
            isinstance(other, EventMetaData)
            and self.event == other.event
            and self.run == other.run
            and self.experiment == other.experiment
        )

    __hash__ = None  # type: ignore[assignment]

    def getEvent(self) -> int:
        """Return the event number."""
        return self.event

    def getRun(self) -> int:
        """Return the run number."""
        return self.run

    def getExperiment(self) -> int:
        """Return the experiment number."""
        return self.experiment

    def getProduction(self) -> int:
        """Return the production number."""
        return self.production

    def setEvent(self, event: int) -> None:
        """Set the event number."""
        self.event = event

    def setRun(self, run: int) -> None:
        """Set the run number."""
        self.run = run

    def setExperiment(self, experiment: int) -> None:
        """Set the experiment number."""
        self.experiment = experiment

    def setProduction(self, production: int) -> None:
        """Set the production number."""
        self.production = production

    def setEndOfData(self) -> None:
        """Mark the end of data."""
        self.event = self.run = self.experiment = END_OF_DATA

    def isEndOfData(self) -> bool:
        """Return whether this marks the end of data."""
        return self.event == self.run == self.experiment == END_OF_DATA


class EventExtraInfo:
    """Named numbers (32-bit floats) and texts of an event."""

    def __init__(self) -> None:
        self._numbers: dict[str, float] = {}
        self._texts: dict[str, str] = {}

    def addExtraInfo(self, name: str, value: float) -> None:
        """Store a new number.

        Raises
        ------
        UsageError
            If the name is in use (basf2: std::out_of_range).
        """
        if name in self._numbers:
            raise _in_use(name)
        self.setExtraInfo(name, value)

    def setExtraInfo(self, name: str, value: float) -> None:
        """Store a number, replacing what has the name."""
        self._numbers[name] = float(np.float32(value))

    def getExtraInfo(self, name: str) -> float:
        """Return a number.

        Raises
        ------
        UsageError
            If there is none of this name (basf2: std::runtime_error).
        """
        if name not in self._numbers:
            raise _not_there(name, self._numbers)
        return self._numbers[name]

    def hasExtraInfo(self, name: str) -> bool:
        """Return whether there is a number of this name."""
        return name in self._numbers

    def getNames(self) -> list[str]:
        """Return the names of all numbers."""
        return sorted(self._numbers)

    def removeExtraInfo(self) -> None:
        """Remove all numbers and texts."""
        self._numbers.clear()
        self._texts.clear()

    def addExtraStringInfo(self, name: str, text: str) -> None:
        """Store a new text.

        Raises
        ------
        UsageError
            If the name is in use.
        """
        if name in self._texts:
            raise _in_use(name)
        self._texts[name] = text

    def setExtraStringInfo(self, name: str, text: str) -> None:
        """Store a text, replacing what has the name."""
        self._texts[name] = text

    def getExtraStringInfo(self, name: str) -> str:
        """Return a text.

        Raises
        ------
        UsageError
            If there is none of this name.
        """
        if name not in self._texts:
            raise _not_there(name, self._texts)
        return self._texts[name]

    def hasExtraStringInfo(self, name: str) -> bool:
        """Return whether there is a text of this name."""
        return name in self._texts

    def getStringInfoNames(self) -> list[str]:
        """Return the names of all texts."""
        return sorted(self._texts)

    def getEventType(self) -> str:
        """Return the event type, empty if there is none."""
        return self._texts.get(EVENT_TYPE_KEY, "")


def _in_use(name: str) -> UsageError:
    return UsageError(
        f"extra info: expected a new name, got '{name}', which is set; "
        "does the same module run twice?"
    )


def _not_there(name: str, known: dict[str, Any]) -> UsageError:
    return UsageError(
        f"extra info: expected one of {', '.join(sorted(known)) or 'none'}, "
        f"got '{name}'"
    )


_CLASSES: dict[str, Callable[[], Any]] = {
    "EventExtraInfo": EventExtraInfo,
    "EventMetaData": EventMetaData,
}
"""Entries that can be created by name alone."""


@dataclass(slots=True)
class Entry:
    """A registered name and the object of the current event, None if there is none."""

    name: str
    value: Any = None


class DataStore:
    """All entries, by name; objects live for one event."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.initialising = False

    def reset(self) -> None:
        """Forget all entries and allow registration."""
        self.entries.clear()
        self.initialising = True

    def register(self, name: str) -> bool:
        """Register a name; again is fine, outside of initialize an error."""
        if not self.initialising:
            B2ERROR(
                f"data store: expected '{name}' to be registered in initialize(), "
                "got it later"
            )
            return False
        self.entries.setdefault(name, Entry(name))
        return True

    def invalidate(self) -> None:
        """Drop the objects of the event."""
        for entry in self.entries.values():
            entry.value = None


store = DataStore()
"""The data store of this process."""


class _Handle:
    """Access to the entry of one name, whether or not it is registered yet."""

    def __init__(self, name: str) -> None:
        self._entry_name = name

    def getName(self) -> str:
        """Return the name of the entry."""
        return self._entry_name

    def registerInDataStore(self, name: str = "") -> bool:
        """Register the entry; only legal in a module's initialize()."""
        self._entry_name = name or self._entry_name
        return store.register(self._entry_name)

    def isOptional(self) -> bool:
        """Return whether the entry is registered."""
        return self._entry_name in store.entries

    def isRequired(self) -> bool:
        """Return whether the entry is registered; if not, that is an error."""
        if self.isOptional():
            return True
        B2ERROR(
            f"data store: expected a module before this one to register "
            f"'{self._entry_name}', got {', '.join(store.entries) or 'nothing'}"
        )
        return False

    def isValid(self) -> bool:
        """Return whether the entry is registered and has an object in this event."""
        entry = store.entries.get(self._entry_name)
        return entry is not None and entry.value is not None

    def __bool__(self) -> bool:
        """Return `isValid`."""
        return self.isValid()

    def assign(self, value: Any, replace: bool = False) -> bool:
        """Store an object; one that is there stays, with an error, without replace."""
        entry = store.entries.get(self._entry_name)
        if entry is None:
            B2ERROR(
                f"data store: expected '{self._entry_name}' to be registered in "
                "initialize(), got an object for it"
            )
            return False
        if entry.value is not None and not replace:
            B2ERROR(f"data store: '{self._entry_name}' exists, use replace=True")
            return False
        entry.value = value
        return True

    def _get(self) -> Any:
        entry = store.entries.get(self._entry_name)
        return None if entry is None else entry.value


class PyStoreObj(_Handle):
    """Access to an object; its attributes are those of the object that it holds."""

    def obj(self) -> Any:
        """Return the object, None if there is none in this event."""
        return self._get()

    def create(self, replace: bool = False) -> bool:
        """Create the object if there is none; with replace, a new one in any case."""
        if self.isValid() and not replace:
            return True
        if self._entry_name not in _CLASSES:
            B2ERROR(
                f"data store: expected one of {', '.join(_CLASSES)} to create, got "
                f"'{self._entry_name}'; use assign(...)"
            )
            return False
        return self.assign(_CLASSES[self._entry_name](), replace=True)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the object."""
        value = self._get()
        if value is None:
            raise AttributeError(
                f"data store: expected an object '{self._entry_name}' in this event, "
                f"got none when asked for '{name}'"
            )
        return getattr(value, name)


class PyStoreArray(_Handle):
    """Access to an array; here one table per event, see `smartfilter.framework`."""

    def getPtr(self) -> Any:
        """Return the table, None if there is none in this event."""
        return self._get()

    def getEntries(self) -> int:
        """Return the number of elements, 0 if there is no table in this event."""
        table = self._get()
        return 0 if table is None else int(table.n_particles)

    def __len__(self) -> int:
        """Return `getEntries`."""
        return self.getEntries()
