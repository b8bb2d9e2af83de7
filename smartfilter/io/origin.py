"""Where an event file comes from: its format, and what its metadata say of its making."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from smartfilter.errors import InputError
from smartfilter.io.formats import find_format, reading
from smartfilter.io.locations import expand_paths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smartfilter.io.locations import Location

__all__ = ["FileOrigin", "read_origin"]

_FILE_METADATA: Mapping[str, str] = {
    "release": "FileMetaData/m_release",
    "global_tag": "FileMetaData/m_databaseGlobalTag",
    "date": "FileMetaData/m_date",
    "n_generated": "FileMetaData/m_mcEvents",
}
"""Our name -> branch of the tree ``persistent`` (basf2
``framework/dataobjects/include/FileMetaData.h``); read off files of releases 04 to 09."""


@dataclass(frozen=True)
class FileOrigin:
    """What is known of the making of an event file.

    Parameters
    ----------
    format : str
        Name in `smartfilter.io.formats.FORMATS`.
    metadata : mapping
        Of a basf2 file: ``release``, ``global_tag``, ``date``, ``n_generated``, as far
        as they can be read.
    provenance : mapping
        What smartfilter recorded, if it wrote the file.
    """

    format: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether smartfilter wrote the file."""
        return bool(self.provenance)


def read_origin(path: str) -> FileOrigin:
    """Return the origin of an event file, the first one if a glob names several.

    Metadata that cannot be read are left out: they do not decide whether a file is good.

    Raises
    ------
    InputError
        If there is no such file or its format is not known.
    """
    location = expand_paths(path)[0]
    form = find_format(location)
    if form.name == "mdst ROOT":
        return FileOrigin(
            form.name, _read_file_metadata(location), _read_mdst_provenance(location)
        )
    if form.name == "labelled Parquet":
        return FileOrigin(form.name, provenance=_read_labelled_provenance(location))
    return FileOrigin(form.name)


def _read_file_metadata(location: Location) -> dict[str, Any]:
    from smartfilter.io.root_file import open_root

    found: dict[str, Any] = {}
    try:
        with (
            reading(location),
            open_root(location.path, is_remote=location.is_remote) as file,
        ):
            tree = file["persistent"]
            for name, branch in _FILE_METADATA.items():
                if branch in tree:
                    value = tree[branch].array(library="np")[0]
                    found[name] = int(value) if name == "n_generated" else str(value)
    except InputError:
        return found
    return found


def _read_mdst_provenance(location: Location) -> dict[str, Any]:
    from smartfilter.io.mdst_writer import read_provenance

    if location.is_remote:
        return {}
    try:
        return read_provenance(location.path)
    except InputError:
        return {}


def _read_labelled_provenance(location: Location) -> dict[str, Any]:
    from smartfilter.io.labelled import read_labelled_metadata

    try:
        with reading(location):
            return dict(read_labelled_metadata(location.path)["provenance"])
    except InputError:
        return {}
