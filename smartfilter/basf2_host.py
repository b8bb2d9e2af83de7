"""What hosts the modules: basf2 where it is installed, else `smartfilter.framework`.

The only place that imports basf2 and ROOT. ROOT is imported on first use, because its
import may read the command line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from smartfilter import framework as basf2
else:
    try:
        import basf2
    except ModuleNotFoundError as error:
        if error.name != "basf2":
            raise
        from smartfilter import framework as basf2

__all__ = [
    "IN_BASF2",
    "basf2",
    "derive_seed",
    "find_payload_file",
    "import_root",
    "list_skim_names",
    "open_array",
    "open_object",
]

IN_BASF2: bool = basf2.__name__ == "basf2"
"""Whether basf2 is the host."""


def import_root() -> Any:
    """Return the module ROOT.

    Raises
    ------
    UsageError
        If basf2 is not the host.
    """
    if not IN_BASF2:
        raise UsageError("ROOT: expected basf2 as the host, got the standalone one")
    import ROOT

    return ROOT


def open_array(name: str) -> Any:
    """Return the PyStoreArray of this name."""
    if IN_BASF2:
        return import_root().Belle2.PyStoreArray(name)
    return basf2.PyStoreArray(name)


def open_object(name: str) -> Any:
    """Return the PyStoreObj of this name."""
    if IN_BASF2:
        return import_root().Belle2.PyStoreObj(name)
    return basf2.PyStoreObj(name)


def find_payload_file(name: str) -> str:
    """Return the local file of a raw payload of the conditions database.

    Globaltags and testing payloads are those of ``basf2.conditions``.

    Raises
    ------
    UsageError
        If there is no such payload, or basf2 is not the host.
    """
    if not IN_BASF2:
        raise UsageError(
            f"payload '{name}': the conditions database needs basf2; name a model file"
        )
    belle2 = import_root().Belle2
    kind = belle2.DBStoreEntry.c_RawFile
    file = str(belle2.DBAccessorBase(kind, name, True).getFilename())
    if not file:
        raise UsageError(
            f"payload '{name}': expected a file, got none; add its globaltag with "
            "basf2.conditions.prepend_globaltag(...) or its local database with "
            "basf2.conditions.prepend_testing_payloads(...)"
        )
    return file


def derive_seed(seed: int | None) -> int:
    """Return the seed, or one that follows from the job's own, a text."""
    if seed is not None:
        return seed
    digest = hashlib.sha256(str(basf2.get_random_seed()).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def list_skim_names(skims: Any) -> tuple[str, ...]:
    """Return the names of skims.

    Parameters
    ----------
    skims : str, skim object of basf2, or iterable of them
        A CombinedSkim is an iterable of its members.
    """
    if isinstance(skims, str) or not isinstance(skims, Iterable):
        skims = (skims,)
    return tuple(skim if isinstance(skim, str) else str(skim.name) for skim in skims)
