"""The current event as a module needs it: identity, particles, type, extra info."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from smartfilter.basf2_host import IN_BASF2, import_root, open_array, open_object
from smartfilter.errors import UsageError, describe_unknown
from smartfilter.event_type import infer_event_type
from smartfilter.events import EVENT_TYPE_ALIASES, EVENT_TYPES, UNKNOWN_EVENT_TYPE
from smartfilter.io.datastore import compile_reader, read_particles

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["READERS", "EventReader"]

READERS = ("python", "jit")
"""Ways to read MCParticles in basf2, see `smartfilter.io.datastore`."""

_CODES = {name: code for code, name in enumerate(EVENT_TYPES)}


class EventReader:
    """Access to the entries of the data store that describe an event.

    Attributes
    ----------
    extra_info : PyStoreObj
        EventExtraInfo.
    """

    def __init__(self) -> None:
        self.extra_info = open_object("EventExtraInfo")
        self._particles = open_array("MCParticles")
        self._meta_data = open_object("EventMetaData")
        self._read: Callable[[Any], NDArray[np.float64]] | None = None

    def register(self, *, particles: bool = True) -> None:
        """Require what must be there and register EventExtraInfo: in initialize()."""
        if particles:
            self._particles.isRequired()
        self._meta_data.isRequired()
        self.extra_info.registerInDataStore()

    def choose(self, reader: str) -> None:
        """Set how particles are read in basf2; standalone they are a table anyway.

        Raises
        ------
        UsageError
            If it is not one of `READERS`.
        """
        if reader not in READERS:
            raise UsageError(describe_unknown("reader", reader, READERS))
        compiled = reader == "jit" and IN_BASF2
        self._read = compile_reader(import_root()) if compiled else None

    def create_extra_info(self) -> None:
        """Create EventExtraInfo if the event has none."""
        if not self.extra_info.isValid():
            self.extra_info.create()

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """Experiment, run, production and event number."""
        data = self._meta_data
        return (
            int(data.getExperiment()),
            int(data.getRun()),
            int(data.getProduction()),
            int(data.getEvent()),
        )

    def read(self) -> Events:
        """Return the generator particles; the type is unknown in basf2."""
        return read_particles(self._particles, self._meta_data, self._read)

    def holds(self, n_particles: int) -> bool:
        """Return whether the event has so many generator particles."""
        return self.read().n_particles == n_particles

    @property
    def stored_event_type(self) -> str:
        """The type in EventExtraInfo, empty if there is none."""
        if not self.extra_info.isValid():
            return ""
        name = str(self.extra_info.getEventType())
        return EVENT_TYPE_ALIASES.get(name, name)

    def resolve_event_type(
        self, events: Events, given: str | None
    ) -> tuple[Events, bool]:
        """Return the event with its type, and whether that had to be inferred.

        Parameters
        ----------
        events : Events
            One event.
        given : str, optional
            Wins over EventExtraInfo, the event's own type and what its record tells.
        """
        code = _CODES.get(self.stored_event_type, int(events.event_type[0]))
        if given is not None:
            code = _CODES[given]
        inferred = code == UNKNOWN_EVENT_TYPE
        if inferred:
            code = int(infer_event_type(events)[0])
        if code == events.event_type[0]:
            return events, inferred
        codes = np.array([code], dtype=np.int8)
        return events.with_event_type_codes(codes), inferred
