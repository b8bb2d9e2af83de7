"""Reader of Belle II mdst and udst files, simulated or generator-only, with uproot.

Layout read here (identical in releases 00-09-01 to 09-00-00): tree ``tree`` with one
entry per event; ``MCParticles`` holds the number of particles (int32) and
``MCParticles/MCParticles.<member>`` one jagged array per member;
``EventMetaData/m_event`` and others identify the event. Only the branches that are
needed are touched, as others may not be readable.

What is done to the content: 1-based indices become 0-based; an index that points
outside its event becomes `smartfilter.io.record.OUT_OF_RANGE` (-2), so that the event
is seen to be unscorable later; secondaries are dropped (see `drop_secondaries`).
Nothing else: infinities and NaN stay as they are.
"""

from __future__ import annotations

import difflib
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot

from smartfilter.errors import InputError, UsageError
from smartfilter.events import (
    EVENT_TYPE_ALIASES,
    EVENT_TYPES,
    ID_COLUMNS,
    PARTICLE_COLUMNS,
    UNKNOWN_EVENT_TYPE,
    Events,
    offsets_from_counts,
)
from smartfilter.io.formats import ReadOptions, reading, require_same_length
from smartfilter.io.record import drop_secondaries, index_in_event, zero_based
from smartfilter.io.root_file import open_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from smartfilter.io.locations import Location

__all__ = [
    "EVENT_TYPE_BRANCH",
    "EXTRA_COLUMNS",
    "MEMBERS",
    "PARTICLES",
    "TREE",
    "MdstFile",
    "open_file",
    "recognises",
]

TREE = "tree"
"""Name of the tree of events, fixed in basf2."""

PARTICLES = "MCParticles"
"""Name of the branch of particles, fixed in basf2."""

EVENT_TYPE_BRANCH = "event_type"
"""Our own branch: int8, position in `EVENT_TYPES`, -1 unknown. Not in basf2 files."""

EXTRA_COLUMNS: Mapping[str, np.dtype[Any]] = {
    "valid_vertex": np.dtype(np.bool_),
    "decay_time": np.dtype(np.float32),
    "decay_x": np.dtype(np.float32),
    "decay_y": np.dtype(np.float32),
    "decay_z": np.dtype(np.float32),
    "first_daughter": np.dtype(np.int32),
    "last_daughter": np.dtype(np.int32),
    "process": np.dtype(np.int32),
    "seen_in": np.dtype(np.uint16),
}
"""Particle columns that are read on request, with their dtypes.

``valid_vertex``: vertex and times are meaningful; ``decay_time`` (ns, +inf if stable);
``decay_x, decay_y, decay_z`` (cm); ``first_daughter, last_daughter``: 0-based rows
within the event, -1 none, -2 out of range; ``process``: Geant4 creator process
subtype, 0 primary, -1 unknown; ``seen_in``: bits of the sub-detectors that saw it.
"""

MEMBERS: Mapping[str, str] = {
    "pdg": "m_pdg",
    "mother_index": "m_mother",
    "status": "m_status",
    "mass": "m_mass",
    "energy": "m_energy",
    "px": "m_momentum_x",
    "py": "m_momentum_y",
    "pz": "m_momentum_z",
    "prod_time": "m_productionTime",
    "x": "m_productionVertex_x",
    "y": "m_productionVertex_y",
    "z": "m_productionVertex_z",
    "valid_vertex": "m_validVertex",
    "decay_time": "m_decayTime",
    "decay_x": "m_decayVertex_x",
    "decay_y": "m_decayVertex_y",
    "decay_z": "m_decayVertex_z",
    "first_daughter": "m_firstDaughter",
    "last_daughter": "m_lastDaughter",
    "process": "m_secondaryPhysicsProcess",
    "seen_in": "m_seenIn.m_bits",
}
"""Our column -> member of ``MCParticle`` (basf2 ``mdst/dataobjects/include/MCParticle.h``).

``array_index`` has no member: the position in the array is the index.
"""

_INDEX_COLUMNS = ("mother_index", "first_daughter", "last_daughter")
_EXTRA_INFO = "EventExtraInfo/eventExtraStringInfo/eventExtraStringInfo"
_EVENT_TYPE_KEY = "eventType"


def recognises(location: Location) -> bool:  # noqa: ARG001  the only format in ROOT
    """Tell formats with the first bytes ``root`` apart: this is the only one."""
    return True


def open_file(location: Location, options: ReadOptions) -> MdstFile:
    """Open and check a file; see `MdstFile`."""
    return MdstFile(location, options)


def _nearest(name: str, names: list[str]) -> str:
    matches = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names[:3]
    return ", ".join(f"'{match}'" for match in matches) or "none"


def _find_tree(file: Any, location: Location) -> Any:
    name = location.tree or TREE
    trees = file.keys(cycle=False, filter_classname="TTree")
    if name.partition(";")[0] in trees:
        return file[name]
    if not file.keys():
        raise InputError(
            f"file '{location}': expected the tree '{name}', got a ROOT file without "
            f"any object; the job that wrote it did not finish: make it again"
        )
    if not trees:
        found = [f"{key} ({kind})" for key, kind in file.classnames().items()]
        raise InputError(
            f"tree '{name}': expected a TTree in '{location}', got "
            f"{', '.join(found[:6])}; give a Belle II mdst file"
        )
    branches = [key for tree in trees for key in file[tree].keys(recursive=False)]
    raise InputError(
        f"tree '{name}': expected in '{location}', got {', '.join(trees)} with branches "
        f"nearest to '{PARTICLES}': {_nearest(PARTICLES, branches)}; "
        f"give a Belle II mdst file or 'file.root:tree'"
    )


def _find_branch(tree: Any, name: str, location: Location) -> Any:
    try:
        return tree[name]
    except uproot.KeyInFileError as error:
        parent, _, child = name.rpartition("/")
        siblings = [
            key.removeprefix(f"{parent}/")
            for key in tree.keys(filter_name=f"/{parent}/*")
            if parent
        ]
        if parent and siblings:
            nearest = _nearest(child, siblings)
        else:
            nearest = _nearest(
                name.split("/", maxsplit=1)[0], tree.keys(recursive=False)
            )
        raise InputError(
            f"branch '{name}': not found in '{location}', nearest: {nearest}; "
            f"give a Belle II file with generator particles"
        ) from error


def _read_flat(branch: Any, start: int, stop: int) -> NDArray[Any]:
    """Return a branch of one number per event, shape (stop - start,)."""
    values: NDArray[Any] = branch.array(
        entry_start=start, entry_stop=stop, library="np"
    )
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise InputError(
            f"branch '{branch.name}': expected one integer per event, "
            f"got {branch.typename}; give a Belle II mdst file"
        )
    return values


def _is_kind(found: np.dtype[Any], expected: np.dtype[Any]) -> bool:
    """Return whether numbers of a file are of the expected kind, of whatever size."""
    return found.kind == expected.kind


def _convert(
    values: NDArray[Any], dtype: np.dtype[Any], name: str, where: str
) -> NDArray[Any]:
    """Return numbers in another dtype; integers have to fit, floats become infinite."""
    if values.dtype == dtype:
        return values
    if dtype.kind in "iu" and len(values):
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise InputError(
                f"branch '{name}': expected numbers that {dtype} holds, got "
                f"{values.min()} to {values.max()} in '{where}'"
            )
    with np.errstate(over="ignore"):
        return values.astype(dtype)


class MdstFile:
    """One mdst file.

    Parameters
    ----------
    location : Location
        The file, and the tree if it is not ``tree``.
    options : ReadOptions
        Extra columns (of `EXTRA_COLUMNS`) and whether secondaries stay.

    Raises
    ------
    UsageError
        If an extra column is not known.
    InputError
        If the file cannot be read or lacks a branch.
    """

    def __init__(self, location: Location, options: ReadOptions) -> None:
        unknown = sorted(set(options.extra_columns) - set(EXTRA_COLUMNS))
        if unknown:
            raise UsageError(
                f"extra column: expected some of {', '.join(EXTRA_COLUMNS)}, "
                f"got {', '.join(unknown)}"
            )
        self._location = location
        remote = location.is_remote
        self._path = location.path if remote else str(Path(location.path).absolute())
        self._keep_secondaries = options.keep_secondaries
        self._dtypes = {
            name: dtype
            for name, dtype in {**PARTICLE_COLUMNS, **EXTRA_COLUMNS}.items()
            if name in MEMBERS
            and (name in PARTICLE_COLUMNS or name in options.extra_columns)
        }
        with reading(location), self._open() as file:
            tree = _find_tree(file, location)
            self.n_events = int(tree.num_entries)
            if self.n_events:
                self._find_branches(tree)

    def _open(self) -> Any:
        return open_root(self._path, is_remote=self._location.is_remote)

    def _find_branches(self, tree: Any) -> dict[str, Any]:
        """Return the branches by our names, checked to be of the expected kind."""
        branches = {PARTICLES: _find_branch(tree, PARTICLES, self._location)}
        for name in ID_COLUMNS:
            branches[name] = _find_branch(
                tree, f"EventMetaData/m_{name}", self._location
            )
        for name, dtype in self._dtypes.items():
            key = f"{PARTICLES}/{PARTICLES}.{MEMBERS[name]}"
            branch = branches[name] = _find_branch(tree, key, self._location)
            found = branch.interpretation
            if not isinstance(found, uproot.AsJagged) or not _is_kind(
                found.content.to_dtype, dtype
            ):
                raise InputError(
                    f"branch '{key}': expected a jagged array of {dtype}, "
                    f"got {branch.typename} in '{self._location}'"
                )
        return branches

    def _read_column(
        self,
        branch: Any,
        dtype: np.dtype[Any],
        counts: NDArray[Any],
        start: int,
        stop: int,
    ) -> NDArray[Any]:
        array = branch.array(entry_start=start, entry_stop=stop, library="ak")
        if not np.array_equal(ak.to_numpy(ak.num(array, axis=1)), counts):
            raise InputError(
                f"branch '{branch.name}': expected as many particles per event as "
                f"'{PARTICLES}' says, got another number in entries {start} to "
                f"{stop - 1} of '{self._location}'; the file is damaged: make it again"
            )
        flat: NDArray[Any] = ak.to_numpy(ak.flatten(array, axis=1), allow_missing=False)
        return _convert(flat, dtype, branch.name, str(self._location))

    def _read(
        self, tree: Any, branches: Mapping[str, Any], start: int, stop: int
    ) -> Events:
        counts = _read_flat(branches[PARTICLES], start, stop)
        offsets = offsets_from_counts(counts)
        columns = {
            name: self._read_column(branches[name], dtype, counts, start, stop)
            for name, dtype in self._dtypes.items()
        }
        for name in set(_INDEX_COLUMNS) & set(columns):
            columns[name] = zero_based(columns[name], offsets)
        columns["array_index"] = index_in_event(offsets)
        if not self._keep_secondaries:
            offsets, columns = drop_secondaries(offsets, columns)
        ids = {name: _read_flat(branches[name], start, stop) for name in ID_COLUMNS}
        return Events.from_columns(
            offsets,
            columns,
            event_type=_read_event_type(tree, start, stop),
            entry=np.arange(start, stop, dtype=np.int64),
            file=str(self._location),
            **ids,
        )

    def iterate(self, chunk_size: int) -> Iterator[Events]:
        """Yield consecutive events, at most ``chunk_size`` at a time.

        Raises
        ------
        InputError
            If the file is damaged, or its columns disagree about the number of
            particles.
        """
        if self.n_events == 0:
            return
        with ExitStack() as stack:
            with reading(self._location):
                file = stack.enter_context(self._open())
                tree = _find_tree(file, self._location)
                branches = self._find_branches(tree)
                require_same_length(self.n_events, tree.num_entries, self._location)
            for start in range(0, self.n_events, chunk_size):
                stop = min(start + chunk_size, self.n_events)
                with reading(self._location):
                    events = self._read(tree, branches, start, stop)
                yield events

    def read(self, start: int, stop: int) -> Events:
        """Return the events ``start:stop``.

        Raises
        ------
        InputError
            As `iterate`.
        """
        with reading(self._location), self._open() as file:
            tree = _find_tree(file, self._location)
            require_same_length(self.n_events, tree.num_entries, self._location)
            return self._read(tree, self._find_branches(tree), start, stop)

    def empty(self) -> Events:
        """Return no events, with the columns that `iterate` gives."""
        columns = {name: np.empty(0, dtype) for name, dtype in self._dtypes.items()}
        columns["array_index"] = np.empty(0, PARTICLE_COLUMNS["array_index"])
        offsets = np.zeros(1, dtype=np.int64)
        return Events.from_columns(offsets, columns, file=str(self._location))


def _encode_extra_info(names: ak.Array, values: ak.Array) -> NDArray[np.int8]:
    """Return event type codes from the keys and values of EventExtraInfo.

    Parameters
    ----------
    names, values : awkward.Array of type ``n_events * var * string``
        Keys and values of each event; the type is under the key ``eventType``.
    """
    types = values[names == _EVENT_TYPE_KEY]
    result = np.full(len(types), UNKNOWN_EVENT_TYPE, dtype=np.int8)
    codes = {name: code for code, name in enumerate(EVENT_TYPES)}
    codes |= {alias: codes[name] for alias, name in EVENT_TYPE_ALIASES.items()}
    for name, code in codes.items():
        result[ak.to_numpy(ak.any(types == name, axis=1))] = code
    return result


def _read_event_type(tree: Any, start: int, stop: int) -> NDArray[np.int8]:
    """Return codes from EventExtraInfo, else from our own branch, else unknown.

    A file has EventExtraInfo only if its job asked for it; old releases wrote no
    string map, which leaves the type unknown.
    """
    unknown = np.full(stop - start, UNKNOWN_EVENT_TYPE, dtype=np.int8)
    try:
        names, values = (tree[f"{_EXTRA_INFO}.{part}"] for part in ("first", "second"))
    except uproot.KeyInFileError:
        if EVENT_TYPE_BRANCH not in tree.keys(recursive=False):
            return unknown
        codes = _read_flat(tree[EVENT_TYPE_BRANCH], start, stop)
        known = (codes >= 0) & (codes < len(EVENT_TYPES))
        return np.where(known, codes, unknown).astype(np.int8)
    span = {"entry_start": start, "entry_stop": stop, "library": "ak"}
    return _encode_extra_info(names.array(**span), values.array(**span))
