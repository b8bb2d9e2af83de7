"""Reader of the lab course's Parquet files of the SmartBKG data set.

``smartbkg_dataset_4k_training.parquet`` and ``..._testing.parquet``: ``particles`` is a
list of structs {``prodTime``, ``x``, ``y``, ``z``, ``energy``, ``px``, ``py``, ``pz``,
``pdg``, ``index``, ``mother_index``} (ns, cm, GeV), ``label`` is 0 or 1. Half of the
events pass: a training needs the true ``retention_rate`` in its configuration.

``index`` counts in the full particle list; particles beyond 10 cm in x, y or
z were removed, so that it has gaps. A particle without a mother points to itself. A
mother that was removed leaves its daughter without one. ``array_index`` of the events is
``index``; their ``event`` is the row in the file, which has no event numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from smartfilter.io.particle_records import RecordFile, Records, has_particle_fields
from smartfilter.io.published import (
    SKIM,
    build_events,
    require_integers,
    require_labels,
)
from smartfilter.io.record import mothers_by_index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smartfilter.events import Events
    from smartfilter.io.formats import ReadOptions
    from smartfilter.io.locations import Location

__all__ = ["SmartBkgFile", "open_file", "recognises"]

LABEL = "label"


def recognises(location: Location) -> bool:
    """Whether particles have the fields that only these files have."""
    return has_particle_fields(location, {"pdg", "index", "mother_index"})


def open_file(location: Location, options: ReadOptions) -> SmartBkgFile:
    """Open and check a file; see `SmartBkgFile`."""
    return SmartBkgFile(location, options)


class SmartBkgFile(RecordFile):
    """One file of the lab course; see `RecordFile`."""

    FORMAT = "SmartBKG Parquet"
    FIELDS: ClassVar[Mapping[str, str]] = {
        "pdg": "pdg",
        "array_index": "index",
        "mother_index": "mother_index",
        "prod_time": "prodTime",
        **{name: name for name in ("energy", "px", "py", "pz", "x", "y", "z")},
    }

    def _convert(self, records: Records) -> Events:
        where = self._location
        columns = dict(records.particles)
        for name in ("pdg", "array_index", "mother_index"):
            columns[name] = require_integers(columns[name], self.FIELDS[name], where)
        columns["mother_index"] = mothers_by_index(
            columns["array_index"], columns["mother_index"], records.offsets
        )
        rows = records.start + np.arange(len(records.offsets) - 1)
        labels = {}
        if LABEL in records.columns:
            labels[SKIM] = require_labels(records.columns[LABEL], LABEL, where)
        return build_events(
            records.offsets,
            columns,
            keep_secondaries=self._keep_secondaries,
            event=rows,
            entry=rows,
            labels=labels,
            file=str(where),
        )
