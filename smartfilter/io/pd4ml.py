"""Reader of the npz files of the SmartBKG data set, in both layouts.

- ``6_belle_selective_400k.npz`` (pd4ml, class ``Belle``): ``X_<set>_0`` of shape
  (n_events, 100, 9) with the eight features and the PDG token, ``X_<set>_1`` (n_events,
  100) with the mothers, ``y_<set>``; the sets are ``train`` and ``test``.
- ``erum_data_classifier_comparison.npz`` (data set authors): ``x_feature_<i>`` (n_events,
  100, 8), ``x_pdg_<i>`` and ``x_adjacency_<i>`` (n_events, 100), ``y_<i>`` for i = 0, 1,
  ..., and ``feature_names``.

Features in this order: prodTime, energy, x, y, z, px, py, pz (ns, cm, GeV). Events with
fewer particles are padded at the end with zeros, token 0 and mother -1: that padding is
removed. A mother is a position in the event; -1, or the particle's own, is none. Tokens
become PDG codes with the published vocabulary of 540 codes. The number of slots need
not be 100. Labels may be absent.

Half of the events pass: a training needs the true ``retention_rate`` in its
configuration. ``file.npz`` is all events, the sets one after the other;
``file.npz:train``, ``file.npz:test`` or ``file.npz:0`` is one of the sets. ``entry`` and
``event`` count from the beginning of what was asked for.

Arrays are streamed by chunk, see `smartfilter.io.npz`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.errors import InputError
from smartfilter.events import offsets_from_counts
from smartfilter.io.formats import reading
from smartfilter.io.npz import ArrayStream, NpzArchive
from smartfilter.io.published import (
    SKIM,
    build_events,
    decode_tokens,
    refuse_extra_columns,
    require_integers,
    require_labels,
)
from smartfilter.io.record import mothers_by_position

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.io.formats import ReadOptions
    from smartfilter.io.locations import Location

__all__ = ["Pd4mlFile", "open_file", "recognises"]

FEATURES = ("prod_time", "energy", "x", "y", "z", "px", "py", "pz")
"""Our columns in the order of the feature matrix."""

FEATURE_NAMES = ("prodTime", "energy", "x", "y", "z", "px", "py", "pz")
"""The same in ``feature_names``."""

_NAMES = "feature_names"


class _Set(NamedTuple):
    """Names of the arrays of one set of events; tokens may be the last feature."""

    name: str
    features: str
    tokens: str | None
    mothers: str
    labels: str

    @property
    def required(self) -> list[str]:
        return [name for name in (self.features, self.tokens, self.mothers) if name]


def _name_pd4ml(key: str) -> _Set:
    return _Set(key, f"X_{key}_0", None, f"X_{key}_1", f"y_{key}")


def _name_erum(key: str) -> _Set:
    return _Set(
        key, f"x_feature_{key}", f"x_pdg_{key}", f"x_adjacency_{key}", f"y_{key}"
    )


_LAYOUTS = (
    (re.compile(r"(?:X|y)_(train|test)(?:_[01])?"), _name_pd4ml),
    (re.compile(r"(?:x_(?:feature|pdg|adjacency)|y)_(\d+)"), _name_erum),
)
"""Pattern of the arrays of a set, and what makes their names from that of the set.

Any of them tells of its set, so that one which is missing is missed.
"""


def recognises(location: Location) -> bool:
    """Whether this is a zip archive with the arrays of one of the layouts."""
    try:
        with reading(location), NpzArchive(location.path) as archive:
            return bool(_find_sets(archive.names))
    except InputError:
        return False


def open_file(location: Location, options: ReadOptions) -> Pd4mlFile:
    """Open and check a file; see `Pd4mlFile`."""
    return Pd4mlFile(location, options)


def _find_sets(names: tuple[str, ...]) -> list[_Set]:
    """Return the sets of a file: ``train`` before ``test``, numbers in order."""
    sets = {
        make(match[1])
        for pattern, make in _LAYOUTS
        for match in map(pattern.fullmatch, names)
        if match
    }
    order = {"train": 0, "test": 1}
    return sorted(sets, key=lambda s: order[s.name] if s.name in order else int(s.name))


class Pd4mlFile:
    """One npz file of the SmartBKG data set.

    Parameters
    ----------
    location : Location
        The file, and one of its sets if not all are wanted.
    options : ReadOptions

    Raises
    ------
    UsageError
        If extra columns are asked for: these files have none.
    InputError
        If the file cannot be read, lacks an array or has one of another shape.
    """

    def __init__(self, location: Location, options: ReadOptions) -> None:
        refuse_extra_columns(options, location, "SmartBKG npz")
        self._location = location
        with reading(location), NpzArchive(location.path) as archive:
            self._sets = self._choose_sets(archive.names)
            self._has_labels = all(s.labels in archive.names for s in self._sets)
            self._order = self._read_order(archive)
            sizes = [self._check_set(archive, s) for s in self._sets]
        self.n_events = sum(sizes)

    def _choose_sets(self, names: tuple[str, ...]) -> list[_Set]:
        sets = _find_sets(names)
        if not sets:
            raise InputError(
                f"file '{self._location}': expected an npz file with arrays X_train_0 "
                f"or x_feature_0, got a zip archive with {', '.join(names[:6]) or '-'}; "
                f"give a file of the SmartBKG data set"
            )
        wanted = self._location.tree
        chosen = [s for s in sets if wanted in (None, s.name)]
        if not chosen:
            raise InputError(
                f"set: expected one of {', '.join(s.name for s in sets)} in "
                f"'{self._location.path}', got '{wanted}'"
            )
        for part in chosen:
            missing = [name for name in part.required if name not in names]
            if missing:
                raise InputError(
                    f"array '{missing[0]}': not found in '{self._location}' beside "
                    f"'{part.features}'; the file is not complete: copy it again"
                )
        return chosen

    def _read_order(self, archive: NpzArchive) -> list[int]:
        """Return the column of each feature."""
        if _NAMES not in archive.names:
            return list(range(len(FEATURES)))
        names = ArrayStream(archive, _NAMES).read(99).astype(str).tolist()
        if set(names) != set(FEATURE_NAMES) or len(names) != len(FEATURE_NAMES):
            raise InputError(
                f"array '{_NAMES}': expected {', '.join(FEATURE_NAMES)}, got "
                f"{', '.join(names)} in '{self._location}'"
            )
        return [names.index(name) for name in FEATURE_NAMES]

    def _check_set(self, archive: NpzArchive, part: _Set) -> int:
        """Return the number of events of a set whose arrays fit together."""
        shape = ArrayStream(archive, part.features).shape
        n_features = len(FEATURES) + (part.tokens is None)
        if len(shape) != 3 or shape[2] != n_features:
            raise InputError(
                f"array '{part.features}': expected shape (events, slots, "
                f"{n_features}), got {shape} in '{self._location}'; "
                f"is this a file of the SmartBKG data set?"
            )
        expected = dict.fromkeys(part.required[1:], shape[:2])
        for name, wanted in expected.items():
            self._check_shape(archive, name, wanted)
        if self._has_labels:
            found = ArrayStream(archive, part.labels).shape
            if found != (shape[0], 1):
                self._check_shape(archive, part.labels, shape[:1])
        return shape[0]

    def _check_shape(
        self, archive: NpzArchive, name: str, expected: tuple[int, ...]
    ) -> None:
        found = ArrayStream(archive, name).shape
        if found != expected:
            raise InputError(
                f"array '{name}': expected shape {expected}, got {found} in "
                f"'{self._location}'; the file is damaged: copy it again"
            )

    def iterate(self, chunk_size: int) -> Iterator[Events]:
        """Yield consecutive events of one set, at most ``chunk_size`` at a time.

        Raises
        ------
        InputError
            If the file is damaged, or holds labels, tokens or mothers that make no
            sense.
        """
        start = 0
        with reading(self._location):
            archive = NpzArchive(self._location.path)
        with archive:
            for part in self._sets:
                with reading(self._location):
                    names = [
                        *part.required,
                        *([part.labels] if self._has_labels else []),
                    ]
                    streams = {name: ArrayStream(archive, name) for name in names}
                n_events = streams[part.features].shape[0]
                for first in range(0, n_events, chunk_size):
                    with reading(self._location):
                        arrays = {k: s.read(chunk_size) for k, s in streams.items()}
                        events = self._convert(part, arrays, start + first)
                    yield events
                start += n_events

    def _convert(
        self, part: _Set, arrays: dict[str, NDArray[Any]], start: int
    ) -> Events:
        """Return padded events without their padding."""
        where = self._location
        features = arrays[part.features]
        if part.tokens is None:
            tokens, name = features[:, :, -1], part.features
        else:
            tokens, name = arrays[part.tokens], part.tokens
        used = (features != 0).any(axis=2) | (tokens != 0)
        n_slots = used.shape[1]
        last = n_slots - np.argmax(used[:, ::-1], axis=1) if n_slots else np.zeros(0)
        counts = np.where(used.any(axis=1), last, 0)
        is_particle = np.arange(n_slots) < counts[:, None]
        offsets = offsets_from_counts(counts)
        rows = features[is_particle]
        columns = {
            ours: rows[:, column]
            for ours, column in zip(FEATURES, self._order, strict=True)
        }
        columns["pdg"] = decode_tokens(
            require_integers(tokens[is_particle], name, where)
        )
        mothers = arrays[part.mothers][is_particle]
        columns["mother_index"] = mothers_by_position(
            require_integers(mothers, part.mothers, where), offsets
        )
        number = start + np.arange(len(counts))
        labels = {}
        if self._has_labels:
            values = arrays[part.labels].reshape(-1)
            labels[SKIM] = require_labels(values, part.labels, where)
        return build_events(
            offsets, columns, event=number, entry=number, labels=labels, file=str(where)
        )

    def empty(self) -> Events:
        """Return no events, with the columns that `iterate` gives."""
        part = self._sets[0]
        arrays: dict[str, NDArray[Any]] = {
            name: np.zeros((0, 1)) for name in part.required[1:]
        }
        arrays[part.features] = np.zeros((0, 1, len(FEATURES) + (part.tokens is None)))
        arrays[part.labels] = np.zeros(0)
        return self._convert(part, arrays, 0)
