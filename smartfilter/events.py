"""Generator-level events as flat columns with offsets.

``Events`` is what every reader produces, every generator emits and every
preparation consumes. Units: cm, ns, GeV, lab frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntFlag
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError, describe_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import awkward as ak
    from numpy.typing import NDArray

__all__ = [
    "EVENT_TYPES",
    "EVENT_TYPE_ALIASES",
    "NO_MOTHER",
    "PARTICLE_COLUMNS",
    "UNKNOWN_EVENT_TYPE",
    "Events",
    "StatusBit",
    "concatenate",
    "encode_event_type",
    "invariant_mass",
    "offsets_from_counts",
]

NO_MOTHER = -1
"""Mother index of a particle without a mother."""

EVENT_TYPES = ("ccbar", "charged", "ddbar", "mixed", "ssbar", "taupair", "uubar")
"""Event types; the position is the code (basf2 SmartBackgroundModule, alphabetical)."""

EVENT_TYPE_ALIASES = {"tau+tau-": "taupair"}
"""Other names in EventExtraInfo: the ``finalstate`` of basf2's ``add_kkmc_generator``."""

UNKNOWN_EVENT_TYPE = -1
"""Code of an event whose type is not known."""


class StatusBit(IntFlag):
    """Status bits of an MCParticle (basf2 ``mdst/dataobjects/include/MCParticle.h``)."""

    PRIMARY = 1
    STABLE_IN_GENERATOR = 2
    LEFT_DETECTOR = 4
    STOPPED_IN_DETECTOR = 8
    VIRTUAL = 16
    INITIAL = 32
    ISR_PHOTON = 64
    FSR_PHOTON = 128
    PHOTOS_PHOTON = 256


PARTICLE_COLUMNS: Mapping[str, np.dtype[Any]] = {
    "pdg": np.dtype(np.int32),
    "mother_index": np.dtype(np.int32),
    "array_index": np.dtype(np.int32),
    "status": np.dtype(np.uint16),
    "mass": np.dtype(np.float32),
    "energy": np.dtype(np.float32),
    "px": np.dtype(np.float32),
    "py": np.dtype(np.float32),
    "pz": np.dtype(np.float32),
    "prod_time": np.dtype(np.float32),
    "x": np.dtype(np.float32),
    "y": np.dtype(np.float32),
    "z": np.dtype(np.float32),
}
"""Columns that every ``Events`` has, with their dtypes.

``mother_index`` is the 0-based row within the event (-1: none), ``array_index`` the
0-based row in the file's own particle list, ``x, y, z, prod_time`` the production
vertex (cm) and time (ns). Readers may add further columns.
"""

ID_COLUMNS = ("experiment", "run", "production", "event")


def offsets_from_counts(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Return int64 offsets, shape (n_events + 1,), of events with these counts."""
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def invariant_mass(
    energy: NDArray[Any], px: NDArray[Any], py: NDArray[Any], pz: NDArray[Any]
) -> NDArray[np.float32]:
    """Return sqrt(E^2 - p^2) in GeV, 0 where that is below the resolution of the input.

    Parameters
    ----------
    energy, px, py, pz : ndarray of float, shape (n_particles,)
        GeV.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        e, x, y, z = (c.astype(np.float64) for c in (energy, px, py, pz))
        square = e * e - (x * x + y * y + z * z)
        return np.sqrt(np.clip(square, 0.0, None)).astype(np.float32)


def encode_event_type(name: str) -> int:
    """Return the code of an event type.

    Raises
    ------
    InputError
        If the name is not one of `EVENT_TYPES`.
    """
    if name not in EVENT_TYPES:
        raise InputError(describe_unknown("event type", name, EVENT_TYPES))
    return EVENT_TYPES.index(name)


@dataclass(frozen=True, eq=False)
class Events:
    """A batch of events: one row per particle, events separated by offsets.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_events + 1,)
        Particles of event ``i`` are the rows ``offsets[i]:offsets[i + 1]``.
    particles : mapping of str to ndarray, each of shape (n_particles,)
        At least the columns of `PARTICLE_COLUMNS`.
    experiment, run, production, event : ndarray of int64, shape (n_events,)
        Event identity; not unique across files.
    event_type : ndarray of int8, shape (n_events,)
        Position in `EVENT_TYPES`, -1 if unknown.
    entry : ndarray of int64, shape (n_events,)
        Position in the input file.
    labels : mapping of str to ndarray of bool, each of shape (n_events,)
        Whether the event passes a skim, by skim name; empty if not simulated.
    variables : mapping of str to ndarray of float32, each of shape (n_events,)
        Event-level quantities from the simulation; empty if not simulated.
    file : str
        Where the events come from.
    """

    offsets: NDArray[np.int64]
    particles: Mapping[str, NDArray[Any]]
    experiment: NDArray[np.int64]
    run: NDArray[np.int64]
    production: NDArray[np.int64]
    event: NDArray[np.int64]
    event_type: NDArray[np.int8]
    entry: NDArray[np.int64]
    labels: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    variables: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    file: str = ""

    def __post_init__(self) -> None:
        """Check shapes; the contents of the particle columns are not looked at."""
        missing = sorted(set(PARTICLE_COLUMNS) - set(self.particles))
        if missing:
            raise InputError(
                f"particle columns: missing {', '.join(missing)} in "
                f"{self.file or 'events'}, got {', '.join(self.particles)}"
            )
        for name, column in self.particles.items():
            self._check_length(name, column, self.n_particles)
        per_event = {name: getattr(self, name) for name in (*ID_COLUMNS, "event_type")}
        for name, column in {**per_event, **self.labels, **self.variables}.items():
            self._check_length(name, column, len(self))
        self._check_length("entry", self.entry, len(self))

    def _check_length(self, name: str, column: NDArray[Any], length: int) -> None:
        if len(column) != length:
            raise InputError(
                f"column '{name}': expected {length} rows, got {len(column)} "
                f"in {self.file or 'events'}"
            )

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.offsets) - 1

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a particle column, shape (n_particles,)."""
        return self.particles[name]

    @property
    def n_particles(self) -> int:
        """Number of particles in all events."""
        return int(self.offsets[-1])

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of particles per event, shape (n_events,)."""
        return np.diff(self.offsets)

    @property
    def event_index(self) -> NDArray[np.int64]:
        """Event of each particle, shape (n_particles,)."""
        return np.repeat(np.arange(len(self)), self.counts)

    def take(self, index: NDArray[Any] | Sequence[int] | slice) -> Events:
        """Return the events at these positions (or where a mask is true), in order."""
        rows = np.arange(len(self))[index]
        counts = self.counts[rows]
        offsets = offsets_from_counts(counts)
        flat = np.arange(offsets[-1]) + np.repeat(
            self.offsets[rows] - offsets[:-1], counts
        )
        return replace(
            self,
            offsets=offsets,
            particles={name: c[flat] for name, c in self.particles.items()},
            entry=self.entry[rows],
            event_type=self.event_type[rows],
            labels={name: c[rows] for name, c in self.labels.items()},
            variables={name: c[rows] for name, c in self.variables.items()},
            **{name: getattr(self, name)[rows] for name in ID_COLUMNS},
        )

    def with_labels(
        self,
        labels: Mapping[str, NDArray[np.bool_]],
        variables: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> Events:
        """Return the same events with skim labels (and event-level variables)."""
        return replace(self, labels=dict(labels), variables=dict(variables or {}))

    def with_event_type(self, name: str) -> Events:
        """Return the same events, all of this type."""
        code = encode_event_type(name)
        return self.with_event_type_codes(np.full(len(self), code, dtype=np.int8))

    def with_event_type_codes(self, codes: NDArray[np.int8]) -> Events:
        """Return the same events with these types, shape (n_events,)."""
        return replace(self, event_type=codes)

    @classmethod
    def from_awkward(cls, particles: ak.Array, *, file: str = "", **ids: Any) -> Events:
        """Build events from a jagged record array of particles.

        Parameters
        ----------
        particles : awkward.Array of type ``n_events * var * {pdg: int, ...}``
            Records with the fields of `PARTICLE_COLUMNS`; ``array_index`` and
            ``mass`` may be absent.
        file : str
            Where the events come from.
        **ids : ndarray of shape (n_events,)
            Any of the event-level columns of `Events`; absent ones are zero
            (``entry``: 0, 1, ...; ``event_type``: unknown).

        Raises
        ------
        InputError
            If a column is missing, holds missing values or has another shape.
        """
        import awkward as ak

        counts = ak.to_numpy(ak.num(particles, axis=1))
        offsets = offsets_from_counts(counts)
        columns: dict[str, NDArray[Any]] = {
            name: ak.to_numpy(
                ak.flatten(particles[name], axis=1), allow_missing=False
            ).astype(PARTICLE_COLUMNS.get(name), copy=False)
            for name in ak.fields(particles)
        }
        if "array_index" not in columns:
            starts = np.repeat(offsets[:-1], counts)
            columns["array_index"] = (np.arange(offsets[-1]) - starts).astype(np.int32)
        if "mass" not in columns and {"energy", "px", "py", "pz"} <= set(columns):
            columns["mass"] = invariant_mass(
                *(columns[name] for name in ("energy", "px", "py", "pz"))
            )
        return cls.from_columns(offsets, columns, file=file, **ids)

    @classmethod
    def from_columns(
        cls,
        offsets: NDArray[np.int64],
        particles: Mapping[str, NDArray[Any]],
        **per_event: Any,
    ) -> Events:
        """Build events from flat columns; absent event-level columns are zero.

        ``entry`` defaults to 0, 1, ... and ``event_type`` to unknown.
        """
        n_events = len(offsets) - 1
        for name in ID_COLUMNS:
            values = per_event.get(name, np.zeros(n_events, dtype=np.int64))
            per_event[name] = np.asarray(values).astype(np.int64, copy=False)
        per_event.setdefault(
            "event_type", np.full(n_events, UNKNOWN_EVENT_TYPE, dtype=np.int8)
        )
        per_event.setdefault("entry", np.arange(n_events, dtype=np.int64))
        return cls(offsets=offsets, particles=particles, **per_event)


def concatenate(parts: Sequence[Events]) -> Events:
    """Join events; only columns, labels and variables that all parts share survive.

    Raises
    ------
    InputError
        If there is no part.
    """
    if not parts:
        raise InputError("events: expected at least one part to join, got none")
    if len(parts) == 1:
        return parts[0]

    def join(group: str) -> dict[str, NDArray[Any]]:
        tables: list[Mapping[str, NDArray[Any]]] = [getattr(p, group) for p in parts]
        shared = [name for name in tables[0] if all(name in table for table in tables)]
        return {
            name: np.concatenate([table[name] for table in tables]) for name in shared
        }

    names = (*ID_COLUMNS, "event_type", "entry")
    per_event: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in names
    }
    return Events(
        offsets=offsets_from_counts(np.concatenate([part.counts for part in parts])),
        particles=join("particles"),
        labels=join("labels"),
        variables=join("variables"),
        file=parts[0].file,
        **per_event,
    )
