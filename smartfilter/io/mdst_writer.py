"""Writer of event files in the mdst layout for uproot.

What is the same as in a file of basf2: the trees ``tree`` and ``persistent``; the full
keys ``MCParticles`` (number of particles), ``MCParticles/MCParticles.m_pdg``,
``EventMetaData/m_event``, ``FileMetaData/m_nEvents`` and so on, their dtypes, units and
1-based indices with 0 for none. Code that reads a basf2 file with uproot by full key
reads ours unchanged.

What differs: the branches are plain ones whose *names* contain the slash, not members
of a ``TClonesArray`` or of an object. So basf2's RootInput cannot read these files,
``tree["EventMetaData"]`` does not exist, and neither do short keys such as
``tree["m_event"]``. ``fUniqueID`` and ``fBits`` are left out, ``m_parentLfn`` too, and of
``FileMetaData`` only ``m_nEvents``, ``m_mcEvents`` and ``m_isMC`` are there. Added: the
branch ``event_type`` (int8, position in `EVENT_TYPES`, -1 unknown) and the object
``smartfilter``, a JSON document with the provenance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot

from smartfilter.documents import parse_json
from smartfilter.errors import InputError, UsageError
from smartfilter.events import PARTICLE_COLUMNS, StatusBit
from smartfilter.io.formats import reading
from smartfilter.io.mdst import (
    EVENT_TYPE_BRANCH,
    EXTRA_COLUMNS,
    MEMBERS,
    PARTICLES,
    TREE,
)
from smartfilter.io.output import METADATA_KEY, EventBuffer, OutputFile, dump_metadata
from smartfilter.io.record import daughter_ranges
from smartfilter.io.root_file import open_root

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["MdstWriter", "read_provenance"]

_BLOCK_ROWS = 100_000  # 400 kB per column and basket
_EVENT_BRANCHES: dict[str, np.dtype[Any]] = {
    "EventMetaData/m_event": np.dtype(np.uint32),
    "EventMetaData/m_run": np.dtype(np.int32),
    "EventMetaData/m_subrun": np.dtype(np.int32),
    "EventMetaData/m_experiment": np.dtype(np.int32),
    "EventMetaData/m_production": np.dtype(np.int32),
    "EventMetaData/m_time": np.dtype(np.uint64),
    "EventMetaData/m_generatedWeight": np.dtype(np.float64),
    "EventMetaData/m_errorFlag": np.dtype(np.uint32),
    EVENT_TYPE_BRANCH: np.dtype(np.int8),
}
_PARTICLE_MEMBERS: dict[str, np.dtype[Any]] = {
    member: {**PARTICLE_COLUMNS, **EXTRA_COLUMNS}[column]
    for column, member in MEMBERS.items()
}
_RECORD = "particles"  # uproot's handle on the jagged branches; not in the file


def _event_column(events: Events, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an identity column in the type of the file, which must hold it."""
    column: NDArray[np.int64] = getattr(events, name)
    limits = np.iinfo(dtype)
    outside = (column < limits.min) | (column > limits.max)
    if outside.any():
        raise InputError(
            f"{name}: expected {limits.min} to {limits.max}, got "
            f"{column[outside][0]} ({outside.sum()} events); an mdst file cannot hold it"
        )
    return column.astype(dtype)


def _event_columns(events: Events) -> dict[str, NDArray[Any]]:
    columns = {
        name: np.zeros(len(events), dtype) for name, dtype in _EVENT_BRANCHES.items()
    }
    for name in ("event", "run", "experiment", "production"):
        branch = f"EventMetaData/m_{name}"
        columns[branch] = _event_column(events, name, _EVENT_BRANCHES[branch])
    columns["EventMetaData/m_generatedWeight"] += 1.0
    columns[EVENT_TYPE_BRANCH] = events.event_type
    return columns


def _decay_columns(
    events: Events, first_daughter: NDArray[np.int32]
) -> dict[str, NDArray[Any]]:
    """Return decay time and vertex: where the first daughter begins; +inf, 0 if none."""
    decays = first_daughter >= 0
    starts = np.repeat(events.offsets[:-1], events.counts)
    daughter = starts[decays] + first_daughter[decays]
    columns: dict[str, NDArray[Any]] = {}
    for name, source, stable in (
        ("decay_time", "prod_time", np.inf),
        ("decay_x", "x", 0.0),
        ("decay_y", "y", 0.0),
        ("decay_z", "z", 0.0),
    ):
        column = np.full(events.n_particles, stable, dtype=np.float32)
        column[decays] = events[source][daughter]
        columns[name] = column
    return columns


def _particle_columns(events: Events) -> dict[str, NDArray[Any]]:
    """Return the columns of `MEMBERS`; what the events do not have is worked out."""
    first, last, contiguous = daughter_ranges(events.offsets, events["mother_index"])
    columns = _decay_columns(events, first)
    columns["valid_vertex"] = (events["status"] & np.uint16(StatusBit.INITIAL)) == 0
    columns["process"] = np.zeros(events.n_particles, dtype=np.int32)
    columns["seen_in"] = np.zeros(events.n_particles, dtype=np.uint16)
    columns |= {name: events[name] for name in MEMBERS if name in events.particles}
    columns["mother_index"] = events["mother_index"] + np.int32(1)
    columns["first_daughter"] = np.where(contiguous, first + 1, 0)
    columns["last_daughter"] = np.where(contiguous, last + 1, 0)
    return columns


def _n_generated(provenance: Mapping[str, Any]) -> int | None:
    value = provenance.get("n_generated")
    if value is None:
        return None
    if isinstance(value, int | np.integer) and 0 <= value <= np.iinfo(np.uint32).max:
        return int(value)
    raise UsageError(
        f"provenance 'n_generated': expected a number of events below 2^32, got {value!r}"
    )


class MdstWriter(OutputFile):
    """Writes events to a ROOT file in the mdst layout; see the module's text.

    Particle columns of `smartfilter.io.mdst.EXTRA_COLUMNS` are written where the
    events have them. Otherwise: decay time and vertex are those at which the first
    daughter begins (+inf and 0 without daughters), ``m_validVertex`` is false for
    beam particles only, ``m_secondaryPhysicsProcess`` and ``m_seenIn`` are 0.
    Daughter ranges always follow from the mothers; they are 0 where the daughters of a
    particle are not contiguous.

    Parameters
    ----------
    path : str or Path
        Where the file will be; written to a temporary name and moved when complete.
    provenance : mapping, optional
        What made the events; JSON values. ``n_generated`` of it, else the number of
        events written, becomes ``FileMetaData/m_mcEvents``.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    UsageError
        If the file exists and ``force`` is false, the folder does not exist, or the
        provenance has no JSON form.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> None:
        super().__init__(path, force=force)
        self._provenance = dict(provenance or {})
        self._document = dump_metadata(self._provenance)
        self._n_generated = _n_generated(self._provenance)
        self._buffer = EventBuffer(_BLOCK_ROWS)
        self._n_events = 0
        self._file = uproot.recreate(self._temporary, compression=uproot.LZ4(1))
        members = [ak.types.NumpyType(x.name) for x in _PARTICLE_MEMBERS.values()]
        record = ak.types.RecordType(members, list(_PARTICLE_MEMBERS))
        self._tree = self._file.mktree(
            TREE,
            {_RECORD: ak.types.ListType(record), **_EVENT_BRANCHES},
            counter_name=lambda _: PARTICLES,
            field_name=lambda _, member: f"{PARTICLES}/{PARTICLES}.{member}",
        )

    def write(self, events: Events) -> None:
        """Append events.

        Raises
        ------
        InputError
            If an event number does not fit the file's type, or the particle columns
            differ from those of earlier events.
        """
        self._check_open()
        for block in self._buffer.add(events):
            self._write_block(block)

    def _write_block(self, events: Events) -> None:
        columns = _particle_columns(events)
        members = [
            ak.contents.NumpyArray(np.asarray(columns[name], _PARTICLE_MEMBERS[member]))
            for name, member in MEMBERS.items()
        ]
        records = ak.contents.RecordArray(members, list(_PARTICLE_MEMBERS))
        offsets = ak.index.Index64(events.offsets)
        jagged = ak.Array(ak.contents.ListOffsetArray(offsets, records))
        self._tree.extend({_RECORD: jagged, **_event_columns(events)})
        self._n_events += len(events)

    def _finish(self) -> None:
        for block in self._buffer.drain():
            self._write_block(block)
        n_generated = self._n_generated
        if n_generated is None:
            n_generated = self._n_events
        summary = self._file.mktree(
            "persistent",
            {
                "FileMetaData/m_nEvents": "uint32",
                "FileMetaData/m_mcEvents": "uint32",
                "FileMetaData/m_isMC": "bool",
            },
        )
        summary.extend(
            {
                "FileMetaData/m_nEvents": np.array([self._n_events], np.uint32),
                "FileMetaData/m_mcEvents": np.array([n_generated], np.uint32),
                "FileMetaData/m_isMC": np.array([True]),
            }
        )
        self._file[METADATA_KEY] = self._document
        self._file.close()

    def _abandon(self) -> None:
        self._file.close()


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return the provenance of a file that `MdstWriter` wrote.

    Raises
    ------
    InputError
        If the file cannot be read or was not written by smartfilter.
    """
    with reading(path), open_root(path) as file:
        if METADATA_KEY not in file.keys(cycle=False):
            raise InputError(
                f"file '{path}': expected the object '{METADATA_KEY}', got "
                f"{', '.join(file.keys(cycle=False)) or 'none'}; "
                f"smartfilter did not write it"
            )
        document: dict[str, Any] = parse_json(str(file[METADATA_KEY]))
    return document
