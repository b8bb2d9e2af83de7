"""What a model file says about its network: a dataclass and its JSON document."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.documents import parse_json
from smartfilter.errors import ModelFileError
from smartfilter.events import EVENT_TYPES
from smartfilter.graphs import PRESETS
from smartfilter.pdg import Vocabulary
from smartfilter.sampling import MAX_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "DEFAULT",
    "SCHEMA_VERSION",
    "Calibration",
    "ModelInfo",
    "SkimInfo",
    "sigmoid",
]

SCHEMA_VERSION = 1
"""Version of the JSON document."""

_MALFORMED = (TypeError, ValueError, AttributeError, OverflowError, RecursionError)

DEFAULT = "default"
"""Key of the calibration of event types that have none of their own."""


def sigmoid(z: NDArray[Any]) -> NDArray[np.float32]:
    """Return 1 / (1 + exp(-z)) without overflow, same shape; NaN stays NaN."""
    small = np.exp(-np.abs(z))
    result: NDArray[np.float64] = np.where(z >= 0, 1.0, small) / (1.0 + small)
    return result.astype(np.float32)


@dataclass(frozen=True)
class Calibration:
    """What turns the logit of one skim into a probability and a decision.

    Parameters
    ----------
    slope, intercept : float
        z = slope * logit + intercept.
    retention_rate : float
        The skim's share of generated events that this holds for.
    threshold : float
        Best working point on the score by formula (A).
    sampling_constant : float
        c of `smartfilter.sampling.optimal_keep_probability`.
    official_slope, official_offset : float
        a and b of `smartfilter.sampling.official_keep_probability`, on the logit.
    knots, shifts : tuple of float
        score = sigmoid(z + shift(z)) is the probability that a generated event passes
        the skim; shift is linear between the knots in z, ascending, and constant
        outside of them; no knots: no shift.
    n_passing : float, optional
        Effective number of passing events that the constants rest on.
    """

    slope: float
    intercept: float
    retention_rate: float
    threshold: float
    sampling_constant: float
    official_slope: float
    official_offset: float
    knots: tuple[float, ...] = ()
    shifts: tuple[float, ...] = ()
    n_passing: float | None = None

    def __post_init__(self) -> None:
        """Check that knots and shifts belong together.

        Raises
        ------
        ValueError
            If their numbers differ, knots do not ascend or scores would not ascend.
        """
        if len(self.knots) != len(self.shifts):
            raise ValueError(
                f"calibration: {len(self.knots)} knots and {len(self.shifts)} shifts"
            )
        width, rise = np.diff(self.knots), np.diff(self.shifts)
        if not (np.all(width > 0) and np.all(width + rise >= 0)):
            raise ValueError("calibration: knots or scores do not ascend")

    def to_score(self, logit: NDArray[Any]) -> NDArray[np.float32]:
        """Return the pass probability, same shape; NaN stays NaN."""
        z = self.slope * logit.astype(np.float64) + self.intercept
        if self.knots:
            z = z + np.interp(z, self.knots, self.shifts)
        return sigmoid(z)


@dataclass(frozen=True)
class SkimInfo:
    """One output of the network.

    Parameters
    ----------
    name : str
        Name of the skim.
    code : int or None
        Its code at Belle II, if it has one.
    calibration : mapping of str to Calibration
        By event type; ``default`` for all others, always there.
    max_weight : float
        Largest weight of a kept event.
    """

    name: str
    code: int | None
    calibration: Mapping[str, Calibration]
    max_weight: float = MAX_WEIGHT

    def get_calibration(self, event_type: str = DEFAULT) -> Calibration:
        """Return the calibration of an event type, or the default one."""
        return self.calibration.get(event_type, self.calibration[DEFAULT])


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about its network.

    Parameters
    ----------
    preset : str
        Preparation preset, a key of `smartfilter.graphs.PRESETS`.
    features : tuple of (str, str)
        Name and unit of each feature, in the order of the network's input.
    vocabulary : Vocabulary
        PDG codes and the token of unknown ones.
    skims : tuple of SkimInfo
        In the order of the network's outputs.
    network : str
        Name in `smartfilter.models.NETWORKS`.
    settings : mapping
        Keywords that built the network.
    n_parameters : int
        Number of trained parameters.
    event_types : tuple of str
        Event types; the position is the code.
    training : mapping
        Provenance: data, events per split, seed, version, metrics.
    """

    preset: str
    features: tuple[tuple[str, str], ...]
    vocabulary: Vocabulary
    skims: tuple[SkimInfo, ...]
    network: str
    settings: Mapping[str, Any]
    n_parameters: int
    event_types: tuple[str, ...] = EVENT_TYPES
    training: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def skim_names(self) -> tuple[str, ...]:
        """Names of the skims in the order of the outputs."""
        return tuple(skim.name for skim in self.skims)

    def to_json(self) -> str:
        """Return the JSON document."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "preset": self.preset,
            "features": [{"name": name, "unit": unit} for name, unit in self.features],
            "vocabulary": {
                "codes": list(self.vocabulary.codes),
                "unknown": self.vocabulary.unknown,
            },
            "skims": [asdict(skim) for skim in self.skims],
            "network": self.network,
            "settings": dict(self.settings),
            "n_parameters": self.n_parameters,
            "event_types": list(self.event_types),
            "training": dict(self.training),
        }
        return json.dumps(document, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelInfo:
        """Read and check the JSON document.

        Parameters
        ----------
        text : str
        where : str
            Named in errors.

        Raises
        ------
        ModelFileError
            If it is no such document, of a newer schema, incomplete, or does not fit
            this version's presets and event types.
        """
        try:
            document = parse_json(text, parse_constant=_refuse_constant)
            _check_schema_version(document, where)
            info = _parse(document)
        except KeyError as error:
            raise ModelFileError(
                f"model file: expected {error} in the JSON document, got none in "
                f"{where}; train or export the model again"
            ) from error
        except _MALFORMED as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(
                f"model file: JSON document malformed ({error}) in {where}"
            ) from error
        _check_contents(info, where)
        return info


def _refuse_constant(name: str) -> float:
    """Refuse NaN and infinities, which no model file holds."""
    raise ValueError(f"{name} is no number")


def _check_schema_version(document: Mapping[str, Any], where: str) -> None:
    version = document["schema_version"]
    if version != SCHEMA_VERSION:
        raise ModelFileError(
            f"schema version: expected {SCHEMA_VERSION}, got {version} in {where}; "
            "use the smartfilter version that wrote it, or a newer one"
        )


def _parse(document: Mapping[str, Any]) -> ModelInfo:
    vocabulary = document["vocabulary"]
    return ModelInfo(
        preset=str(document["preset"]),
        features=tuple((str(f["name"]), str(f["unit"])) for f in document["features"]),
        vocabulary=Vocabulary(
            tuple(int(code) for code in vocabulary["codes"]), int(vocabulary["unknown"])
        ),
        skims=tuple(_parse_skim(skim) for skim in document["skims"]),
        network=str(document["network"]),
        settings=dict(document["settings"]),
        n_parameters=int(document["n_parameters"]),
        event_types=tuple(document["event_types"]),
        training=dict(document["training"]),
    )


def _parse_skim(skim: Mapping[str, Any]) -> SkimInfo:
    code = skim["code"]
    constants = {
        event_type: _parse_calibration(values)
        for event_type, values in skim["calibration"].items()
    }
    if DEFAULT not in constants:
        raise KeyError(DEFAULT)
    return SkimInfo(
        name=str(skim["name"]),
        code=None if code is None else int(code),
        calibration=constants,
        max_weight=_to_finite(skim["max_weight"], "max_weight"),
    )


def _parse_calibration(values: Mapping[str, Any]) -> Calibration:
    constants: dict[str, Any] = {
        name: tuple(_to_finite(number, name) for number in value)
        if isinstance(value, list)
        else _to_finite(value, name)
        for name, value in values.items()
        if value is not None
    }
    return Calibration(**constants)


def _to_finite(value: Any, name: str) -> float:
    """Refuse numbers like 1e999 and texts like "nan", which JSON's syntax lets pass."""
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {value}")
    return number


def _check_contents(info: ModelInfo, where: str) -> None:
    """Refuse a model that this version's preparation does not fit."""
    if info.preset not in PRESETS:
        raise ModelFileError(
            f"preset: expected one of {', '.join(PRESETS)}, "
            f"got '{info.preset}' in {where}"
        )
    expected = tuple((f.name, f.unit) for f in PRESETS[info.preset].features)
    if info.features != expected:
        raise ModelFileError(
            f"features: expected {_list_features(expected)} (preset '{info.preset}'), "
            f"got {_list_features(info.features)} in {where}"
        )
    if info.event_types != EVENT_TYPES:
        raise ModelFileError(
            f"event types: expected {', '.join(EVENT_TYPES)}, "
            f"got {', '.join(info.event_types)} in {where}"
        )
    if not info.vocabulary.codes:
        raise ModelFileError(f"PDG vocabulary: expected codes, got none in {where}")
    if not info.skims or len(set(info.skim_names)) != len(info.skims):
        raise ModelFileError(
            f"skims: expected one or more different names, "
            f"got {', '.join(info.skim_names) or 'none'} in {where}"
        )


def _list_features(features: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name} [{unit}]" for name, unit in features)
