"""Reader of the Parquet files that basf2's legacy filter (``smartBKG``) is trained on.

``particles`` is a list of structs with ``arrayIndex``, ``PDG``, ``motherIndex``,
``energy``, ``prodTime``, ``x``, ``y``, ``z``, ``px``, ``py``, ``pz`` (ns, cm, GeV) and,
depending on the release, ``mass``, ``charge``, ``nDaughters``, ``status``, ``motherPDG``;
``label`` is 0 or 1, ``evtNum`` the event number. Further event-level numbers become
variables of the events; a missing one is NaN.

basf2 (``generators/scripts/smartBKG/utils/preprocess.py``, function ``preprocessed``)
writes tokens of the published vocabulary into ``PDG`` and positions in the list of kept
particles into ``motherIndex``: -1 if the mother was removed, the particle's own for a
motherless one. A file whose ``PDG`` holds PDG codes was written before that step: there
``motherIndex`` is the ``arrayIndex`` of the mother. The first particles of a file tell:
codes are negative, or beyond the vocabulary. In releases that gave motherless particles
the mother 0, nothing distinguishes those from daughters of entry 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from smartfilter.io.particle_records import RecordFile, Records, has_particle_fields
from smartfilter.io.published import (
    SKIM,
    VOCABULARY,
    build_events,
    decode_tokens,
    require_integers,
    require_labels,
)
from smartfilter.io.record import mothers_by_index, mothers_by_position
from smartfilter.pdg import load_vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smartfilter.events import Events
    from smartfilter.io.formats import ReadOptions
    from smartfilter.io.locations import Location

__all__ = ["Basf2TrainingFile", "open_file", "recognises"]

LABEL, EVENT = "label", "evtNum"
_NOT_VARIABLES = (LABEL, EVENT, "index")
"""``index`` is left behind by pandas."""

_FIRST_LOOK = 1_000
"""Events per batch when looking for the first particles."""


def recognises(location: Location) -> bool:
    """Whether particles have the fields that only these files have."""
    return has_particle_fields(location, {"PDG", "arrayIndex", "motherIndex"})


def open_file(location: Location, options: ReadOptions) -> Basf2TrainingFile:
    """Open and check a file; see `Basf2TrainingFile`."""
    return Basf2TrainingFile(location, options)


class Basf2TrainingFile(RecordFile):
    """One training file of basf2; see `RecordFile`."""

    FORMAT = "basf2 training Parquet"
    FIELDS: ClassVar[Mapping[str, str]] = {
        "pdg": "PDG",
        "array_index": "arrayIndex",
        "mother_index": "motherIndex",
        "prod_time": "prodTime",
        **{name: name for name in ("energy", "px", "py", "pz", "x", "y", "z")},
    }
    OPTIONAL_FIELDS: ClassVar[Mapping[str, str]] = {"mass": "mass", "status": "status"}

    def __init__(self, location: Location, options: ReadOptions) -> None:
        super().__init__(location, options)
        self._has_tokens = self._find_tokens()

    def _find_tokens(self) -> bool:
        """Return whether the first particles carry tokens rather than PDG codes."""
        for records in self._iterate_records(_FIRST_LOOK):
            pdg = records.particles["pdg"]
            if len(pdg):
                n_words = len(load_vocabulary(VOCABULARY).codes)
                return bool(pdg.min() >= 0 and pdg.max() < n_words)
        return False

    def _convert(self, records: Records) -> Events:
        where = self._location
        columns = dict(records.particles)
        for name in ("pdg", "array_index", "mother_index", "status"):
            if name in columns:
                field = self._fields[name]
                columns[name] = require_integers(columns[name], field, where)
        if self._has_tokens:
            columns["pdg"] = decode_tokens(columns["pdg"])
            columns["mother_index"] = mothers_by_position(
                columns["mother_index"], records.offsets
            )
        else:
            columns["mother_index"] = mothers_by_index(
                columns["array_index"], columns["mother_index"], records.offsets
            )
        rows = records.start + np.arange(len(records.offsets) - 1)
        numbers = records.columns
        labels = {}
        if LABEL in numbers:
            labels[SKIM] = require_labels(numbers[LABEL], LABEL, where)
        return build_events(
            records.offsets,
            columns,
            keep_secondaries=self._keep_secondaries,
            event=(
                require_integers(numbers[EVENT], EVENT, where, dtype=np.int64)
                if EVENT in numbers
                else rows
            ),
            entry=rows,
            labels=labels,
            variables={
                name: values.astype(np.float32)
                for name, values in numbers.items()
                if name not in _NOT_VARIABLES
            },
            file=str(where),
        )
