"""The JSON document beside an ONNX network: what the official module's payload holds.

Its keys are the members of basf2's ``SmartBackgroundConfig`` (contract section 5.1);
JSON makes texts of the integer keys::

    pdgMapping        PDG code -> token; an unknown code takes token 0
    skimcodesMapping  skim code -> position in the output
    skimnamesMapping  skim code -> name; may name further skims
    parameterMapping  skim code -> [a, b]: kept with probability exp(a (logit - b))
    eventtypeMapping  event type -> value of the input c
    maxWeight         largest weight

It holds no calibration. A network read with it scores sigmoid(logit), which is not a
pass probability; `read_config` says which constants it takes instead.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from smartfilter.documents import parse_json
from smartfilter.errors import ModelFileError, UsageError, suggest
from smartfilter.events import EVENT_TYPES
from smartfilter.graphs import PRESETS
from smartfilter.model_info import DEFAULT, Calibration, ModelInfo, SkimInfo
from smartfilter.pdg import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PRESET", "OnnxConfig", "make_config", "read_config"]

PRESET = "smart_background"
"""The one preparation that the official module performs."""

UNKNOWN_TOKEN = 0
"""Token of unknown PDG codes (basf2 ``SmartBackgroundModule.cc``)."""

_MAX_EXPONENT = 700.0
_MALFORMED = (TypeError, ValueError, AttributeError, OverflowError, RecursionError)
_INT32 = 1 << 31


class OnnxConfig(NamedTuple):
    """What the document says.

    Parameters
    ----------
    info : ModelInfo
        Of network ``onnx``, without settings.
    event_types : mapping of int to int
        Position in `smartfilter.events.EVENT_TYPES` -> value of the input c.
    """

    info: ModelInfo
    event_types: Mapping[int, int]


def make_config(
    info: ModelInfo,
    where: str,
    *,
    codes: Mapping[str, int] | None = None,
    event_type: str | None = None,
) -> dict[str, Any]:
    """Return the document of a model.

    Parameters
    ----------
    info : ModelInfo
    where : str
        Named in errors.
    codes : mapping of str to int, optional
        Codes of skims by name; win over those of the model.
    event_type : str, optional
        Take a and b of this event type, where the model has them; else the default.

    Raises
    ------
    ModelFileError
        If the official module does not prepare events as the model wants it.
    UsageError
        If skims have no code, share one or have one of more than 32 bits, or ``codes``
        names another skim.
    """
    if info.preset != PRESET:
        raise ModelFileError(
            f"preset: expected {PRESET}, the preparation of the official module, "
            f"got '{info.preset}' in {where}; train with preset {PRESET}"
        )
    if info.vocabulary.unknown != UNKNOWN_TOKEN:
        raise ModelFileError(
            f"PDG vocabulary: expected token {UNKNOWN_TOKEN} for unknown codes, as in "
            f"the official module, got {info.vocabulary.unknown} in {where}"
        )
    numbers = _number_skims(info, codes or {}, where)
    constants = [skim.get_calibration(event_type or DEFAULT) for skim in info.skims]
    return {
        "pdgMapping": {str(pdg): k for k, pdg in enumerate(info.vocabulary.codes)},
        "skimcodesMapping": {str(code): k for k, code in enumerate(numbers)},
        "skimnamesMapping": dict(zip(map(str, numbers), info.skim_names, strict=True)),
        "parameterMapping": {
            str(code): [c.official_slope, c.official_offset]
            for code, c in zip(numbers, constants, strict=True)
        },
        "eventtypeMapping": {name: k for k, name in enumerate(info.event_types)},
        "maxWeight": min(skim.max_weight for skim in info.skims),
    }


def _number_skims(info: ModelInfo, codes: Mapping[str, int], where: str) -> list[int]:
    """Return the code of each skim; each has one of its own."""
    foreign = sorted(set(codes) - set(info.skim_names))
    if foreign:
        raise UsageError(
            f"skim code: expected one of {', '.join(info.skim_names)}, "
            f"got {', '.join(foreign)}{suggest(foreign[0], info.skim_names)}"
        )
    given = {skim.name: codes.get(skim.name, skim.code) for skim in info.skims}
    numbers = [code for code in given.values() if code is not None]
    missing = [name for name, code in given.items() if code is None]
    if missing:
        raise UsageError(
            f"skim code: the official module finds skims by code, got none for "
            f"{', '.join(missing)} in {where}; use --skim-code {missing[0]}=CODE"
        )
    outside = [code for code in numbers if not -(2**31) <= code < 2**31]
    if outside:
        raise UsageError(
            f"skim code: expected integers of 32 bits, as basf2's int, got {outside} in "
            f"{where}; use --skim-code NAME=CODE"
        )
    if len(set(numbers)) != len(numbers):
        raise UsageError(
            f"skim code: expected a different one for each skim, got {numbers} in "
            f"{where}; use --skim-code NAME=CODE"
        )
    return numbers


def read_config(text: str, where: str) -> OnnxConfig:
    """Read and check the document.

    The constants of a skim follow from its a and b alone. Its score is sigmoid(logit),
    not calibrated. The default threshold is sigmoid(b), and c of sampling is
    1 / sqrt(sigmoid(b)): both keep for certain from the logit b on, where the official
    rule exp(a (logit - b)) does so, too. The retention rate is not known, NaN.

    Parameters
    ----------
    text : str
    where : str
        Named in errors.

    Raises
    ------
    ModelFileError
        If it is no such document, incomplete, or contradicts itself.
    """
    try:
        document = parse_json(text)
        max_weight = _read_max_weight(document["maxWeight"])
        vocabulary = _read_vocabulary(document["pdgMapping"])
        skims = _read_skims(document, max_weight)
        event_types = _read_event_types(document["eventtypeMapping"])
    except KeyError as error:
        raise ModelFileError(
            f"ONNX configuration: expected {error}, got none in {where}"
        ) from error
    except _MALFORMED as error:
        raise ModelFileError(
            f"ONNX configuration: malformed ({error}) in {where}"
        ) from error
    preset = PRESETS[PRESET]
    info = ModelInfo(
        preset=PRESET,
        features=tuple((f.name, f.unit) for f in preset.features),
        vocabulary=vocabulary,
        skims=skims,
        network="onnx",
        settings={},
        n_parameters=0,
        training={"calibration": "none: the score is sigmoid(logit)"},
    )
    return OnnxConfig(info, event_types)


def _read_max_weight(value: float) -> float:
    max_weight = float(value)
    if not 1 <= max_weight < math.inf:
        raise ValueError(f"maxWeight {max_weight} is not a number from 1 on")
    return max_weight


def _read_vocabulary(mapping: Mapping[str, Any]) -> Vocabulary:
    codes = _invert({int(pdg): int(token) for pdg, token in mapping.items()}, "tokens")
    return Vocabulary(tuple(codes), UNKNOWN_TOKEN)


def _invert(mapping: Mapping[int, int], what: str) -> Sequence[int]:
    """Return the keys in the order of the values, which are 0, 1, 2, ..."""
    keys = sorted(mapping, key=lambda key: mapping[key])
    if not keys or [mapping[key] for key in keys] != list(range(len(keys))):
        raise ValueError(f"{what} are not 0 to {max(len(keys) - 1, 0)}, each once")
    return keys


def _read_skims(document: Mapping[str, Any], max_weight: float) -> tuple[SkimInfo, ...]:
    columns = document["skimcodesMapping"]
    positions = {int(code): int(column) for code, column in columns.items()}
    names, parameters = document["skimnamesMapping"], document["parameterMapping"]
    skims = tuple(
        SkimInfo(
            name=str(names[str(code)]),
            code=code,
            calibration={DEFAULT: _read_constants(*parameters[str(code)])},
            max_weight=max_weight,
        )
        for code in _invert(positions, "positions of the skims")
    )
    if len({skim.name for skim in skims}) != len(skims):
        raise ValueError("two skims share a name")
    return skims


def _read_constants(a: float, b: float) -> Calibration:
    slope, offset = float(a), float(b)
    if not (math.isfinite(slope) and math.isfinite(offset)):
        raise ValueError(f"parameters [{a}, {b}] are not finite")
    inverse = 1.0 + math.exp(min(-offset, _MAX_EXPONENT))
    return Calibration(
        slope=1.0,
        intercept=0.0,
        retention_rate=math.nan,
        threshold=1.0 / inverse,
        sampling_constant=math.sqrt(inverse),
        official_slope=slope,
        official_offset=offset,
    )


def _read_event_types(mapping: Mapping[str, Any]) -> dict[int, int]:
    known = {
        EVENT_TYPES.index(k): int(v) for k, v in mapping.items() if k in EVENT_TYPES
    }
    if not known:
        raise ValueError(f"eventtypeMapping has none of {', '.join(EVENT_TYPES)}")
    if not all(-_INT32 <= value < _INT32 for value in known.values()):
        raise ValueError("eventtypeMapping has a value that int32 does not hold")
    return known
