"""Working points as files: written by one command, used by others."""

from __future__ import annotations

import math
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from smartfilter.documents import parse_json
from smartfilter.errors import InputError, UsageError
from smartfilter.events import EVENT_TYPES
from smartfilter.io.output import TextFile, dump_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smartfilter.decision import DecisionSettings

__all__ = [
    "SavedWorkingPoint",
    "TypeWorkingPoint",
    "WorkingPointWriter",
    "read_working_point",
    "use_working_point",
]

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


class TypeWorkingPoint(NamedTuple):
    """Thresholds and sampling constants by skim; the constants belong together."""

    thresholds: Mapping[str, float]
    constants: Mapping[str, float]


_NO_TYPES: Mapping[str, TypeWorkingPoint] = MappingProxyType({})


class SavedWorkingPoint(NamedTuple):
    """What ``smartfilter working-point -o`` saved for ``smartfilter score``.

    ``thresholds`` and ``constants`` are by skim and for the events of all types together,
    or of ``event_type`` alone if that was asked for; the constants belong together.
    ``by_event_type`` has those of single event types, where there are several.
    """

    thresholds: Mapping[str, float]
    constants: Mapping[str, float]
    max_weight: float
    model_digest: str | None = None
    event_type: str | None = None
    by_event_type: Mapping[str, TypeWorkingPoint] = _NO_TYPES

    def get_type(self, event_type: str | None) -> TypeWorkingPoint:
        """Return what is used for events of a type: its own, else that of all."""
        overall = TypeWorkingPoint(self.thresholds, self.constants)
        return self.by_event_type.get(event_type or "", overall)

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


class WorkingPointWriter(TextFile):
    """Writes a working point; parameters and errors as of `TextFile`."""

    def write(self, point: SavedWorkingPoint, details: Mapping[str, Any]) -> None:
        """Set the content: what is read back, and whatever else is worth keeping."""
        self._check_open()
        head = {"kind": KIND, "schema_version": SCHEMA_VERSION, **point._asdict()}
        head["by_event_type"] = {k: p._asdict() for k, p in point.by_event_type.items()}
        self.text = dump_metadata({**head, "details": dict(details)}) + "\n"


def read_working_point(path: str | Path) -> SavedWorkingPoint:
    """Read a working point.

    Raises
    ------
    InputError
        If there is no such file, or it is damaged or something else.
    """
    try:
        document = parse_json(Path(path).read_text(encoding="utf-8"))
        _check_kind(document)
        thresholds, constants = _read_numbers(document)
        digest, event_type = document["model_digest"], document.get("event_type")
        by_type = _read_types(document, thresholds)
        return SavedWorkingPoint(
            thresholds,
            constants,
            float(document["max_weight"]),
            None if digest is None else str(digest),
            None if event_type is None else str(event_type),
            by_type,
        )
    except _MALFORMED as error:
        raise InputError(
            f"working point: expected a file of smartfilter working-point -o, got "
            f"'{path}' ({type(error).__name__}: {error}); write it again"
        ) from error


def use_working_point(
    settings: Sequence[DecisionSettings], point: SavedWorkingPoint
) -> tuple[DecisionSettings, ...]:
    """Return settings with a working point in the place of the model's.

    Parameters
    ----------
    settings : sequence of DecisionSettings
        From `smartfilter.decision.DecisionSettings.for_each_type`.
    point : SavedWorkingPoint
        Events of each type get the constants of their type where it has them.
    """
    return tuple(
        one.with_working_point(point, name)
        for one, name in zip(settings, (*EVENT_TYPES, None), strict=True)
    )


def _check_kind(document: Mapping[str, Any]) -> None:
    found = (document["kind"], document["schema_version"])
    if found != (KIND, SCHEMA_VERSION):
        raise ValueError(f"{found[0]} of schema version {found[1]}")
    thresholds, constants = document["thresholds"], document["constants"]
    max_weight, digest = document["max_weight"], document["model_digest"]
    if not 1 <= max_weight < math.inf:
        raise ValueError(f"maximum weight {max_weight} is not from 1 on")
    if not constants or set(thresholds) != set(constants):
        raise ValueError("thresholds and constants are not of the same skims")
    if not isinstance(digest, str | None):
        raise TypeError(f"model digest {digest!r} is no text")


def _read_types(
    document: Mapping[str, Any], skims: Mapping[str, float]
) -> dict[str, TypeWorkingPoint]:
    """Return the constants by event type; older files have none."""
    found = document.get("by_event_type", {})
    types = {str(name): _read_numbers(part) for name, part in found.items()}
    for name, point in types.items():
        if set(point.thresholds) != set(skims) or set(point.constants) != set(skims):
            raise ValueError(f"other skims for {name} than for all event types")
    return types


def _read_numbers(document: Mapping[str, Any]) -> TypeWorkingPoint:
    point = TypeWorkingPoint(
        {str(k): float(v) for k, v in document["thresholds"].items()},
        {str(k): float(v) for k, v in document["constants"].items()},
    )
    if not all(
        map(math.isfinite, (*point.thresholds.values(), *point.constants.values()))
    ):
        raise ValueError("a number is not finite")
    return point
