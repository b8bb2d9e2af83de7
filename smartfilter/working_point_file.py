"""Working points as files: written by one command, used by others."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from smartfilter.errors import InputError, UsageError
from smartfilter.io.output import OutputFile, dump_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SavedWorkingPoint", "WorkingPointWriter", "read_working_point"]

KIND = "working-point"
SCHEMA_VERSION = 1
_MALFORMED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


class SavedWorkingPoint(NamedTuple):
    """What ``smartfilter working-point -o`` saved for ``smartfilter score``.

    ``thresholds`` and ``constants`` are by skim; the constants belong together.
    """

    thresholds: Mapping[str, float]
    constants: Mapping[str, float]
    max_weight: float
    model_digest: str | None = None

    def require_match(self, skims: Sequence[str], model_digest: str) -> None:
        """Refuse other skims or another model than the working point was found for.

        Raises
        ------
        UsageError
            If either differs.
        """
        if set(skims) != set(self.constants):
            raise UsageError(
                f"skims: expected those of the working point, "
                f"{', '.join(self.constants)}, got {', '.join(skims)}; find one for "
                "these skims with smartfilter working-point --skim"
            )
        if self.model_digest not in (None, model_digest):
            raise UsageError(
                f"model: expected that of the working point, {self.model_digest}, got "
                f"{model_digest}; find one for this model with smartfilter working-point"
            )


class WorkingPointWriter(OutputFile):
    """Writes a working point; the file appears when it is complete.

    Parameters
    ----------
    path : str or Path
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    UsageError
        If the file exists and ``force`` is false, or the folder does not exist.
    """

    def __init__(self, path: str | Path, *, force: bool = False) -> None:
        super().__init__(path, force=force)
        self._text = ""

    def write(self, point: SavedWorkingPoint, details: Mapping[str, Any]) -> None:
        """Set the content: what is read back, and whatever else is worth keeping."""
        self._check_open()
        head = {"kind": KIND, "schema_version": SCHEMA_VERSION, **point._asdict()}
        self._text = dump_metadata({**head, "details": dict(details)})

    def _finish(self) -> None:
        self._temporary.write_text(self._text + "\n")

    def _abandon(self) -> None:
        """Nothing is open."""


def read_working_point(path: str | Path) -> SavedWorkingPoint:
    """Read a working point.

    Raises
    ------
    InputError
        If there is no such file, or it is damaged or something else.
    """
    try:
        document = json.loads(Path(path).read_text())
        _check_kind(document)
        digest = document["model_digest"]
        return SavedWorkingPoint(
            {str(k): float(v) for k, v in document["thresholds"].items()},
            {str(k): float(v) for k, v in document["constants"].items()},
            float(document["max_weight"]),
            None if digest is None else str(digest),
        )
    except _MALFORMED as error:
        raise InputError(
            f"working point: expected a file of smartfilter working-point -o, got "
            f"'{path}' ({type(error).__name__}: {error}); write it again"
        ) from error


def _check_kind(document: Mapping[str, Any]) -> None:
    found = (document["kind"], document["schema_version"])
    if found != (KIND, SCHEMA_VERSION):
        raise ValueError(f"{found[0]} of schema version {found[1]}")
    thresholds, constants = document["thresholds"], document["constants"]
    max_weight, digest = document["max_weight"], document["model_digest"]
    numbers = (*thresholds.values(), *constants.values(), max_weight)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("a number is not finite")
    if max_weight < 1:
        raise ValueError(f"maximum weight {max_weight} below 1")
    if not constants or set(thresholds) != set(constants):
        raise ValueError("thresholds and constants are not of the same skims")
    if not isinstance(digest, str | None):
        raise TypeError(f"model digest {digest!r} is no text")
