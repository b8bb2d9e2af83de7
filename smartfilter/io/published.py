"""What the readers of the public SmartBKG data sets and of basf2's training files share.

The sets hold Y(4S) -> B0 anti-B0 events with one label: whether the event passes the
hadronic-B0 FEI skim. It appears as skim ``feiHadronicB0``. The files say nothing of the
event type: it is inferred here, as in `smartfilter.event_type`, because training needs it.
Status bits are those of the file, else that of a generator particle; a mass that the
file lacks is computed from energy and momentum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError, UsageError
from smartfilter.event_type import infer_event_type
from smartfilter.events import PARTICLE_COLUMNS, Events, StatusBit, invariant_mass
from smartfilter.io.record import drop_secondaries, index_in_event
from smartfilter.pdg import load_vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from smartfilter.io.formats import ReadOptions
    from smartfilter.io.locations import Location

__all__ = [
    "SKIM",
    "UNKNOWN_PDG",
    "build_events",
    "decode_tokens",
    "refuse_extra_columns",
    "require_integers",
    "require_labels",
]

SKIM = "feiHadronicB0"
"""Skim whose label the files have."""

VOCABULARY = "published"
"""PDG vocabulary of the files whose particles carry tokens."""

UNKNOWN_PDG = 99_999_999
"""PDG code of a token that the vocabulary does not have; in no vocabulary."""


def decode_tokens(tokens: NDArray[Any]) -> NDArray[np.int32]:
    """Return the PDG code of each token; `UNKNOWN_PDG` beyond the vocabulary."""
    codes = np.array([*load_vocabulary(VOCABULARY).codes, UNKNOWN_PDG], dtype=np.int32)
    known = (tokens >= 0) & (tokens < len(codes) - 1)
    return codes[np.where(known, tokens, len(codes) - 1)]


def require_integers(
    values: NDArray[Any],
    name: str,
    where: object,
    *,
    dtype: type[np.signedinteger[Any]] = np.int32,
) -> NDArray[Any]:
    """Return a column as integers.

    Raises
    ------
    InputError
        If a value is not a number, has a fraction or is too large.
    """
    if values.dtype.kind not in "biuf":
        raise InputError(
            f"column '{name}': expected integers, got {values.dtype} in '{where}'; "
            f"write the file again"
        )
    limit = min(int(np.iinfo(dtype).max), 2**62)
    good = (values >= -limit) & (values <= limit)
    if values.dtype.kind == "f":
        good &= values == np.floor(values)
    if not good.all():
        raise InputError(
            f"column '{name}': expected integers up to {limit:.3g}, got "
            f"{values[~good][0]} in '{where}'; write the file again"
        )
    return values.astype(dtype)


def require_labels(values: NDArray[Any], name: str, where: object) -> NDArray[np.bool_]:
    """Return labels as bool, shape (n_events,).

    Raises
    ------
    InputError
        If a label is neither 0 nor 1.
    """
    bad = ~((values == 0) | (values == 1))
    if bad.any():
        raise InputError(
            f"column '{name}': expected labels 0 or 1, got {values[bad][0]} in "
            f"'{where}'; is this a file of the SmartBKG data set?"
        )
    return values.astype(np.bool_)


def refuse_extra_columns(options: ReadOptions, location: Location, what: str) -> None:
    """Refuse extra columns, which only mdst files have.

    Raises
    ------
    UsageError
        If one is asked for.
    """
    if options.extra_columns:
        raise UsageError(
            f"extra column: a {what} file has none, "
            f"got {', '.join(options.extra_columns)} for '{location}'"
        )


def build_events(
    offsets: NDArray[np.int64],
    columns: Mapping[str, NDArray[Any]],
    *,
    keep_secondaries: bool = False,
    **per_event: Any,
) -> Events:
    """Return events with all columns and with the type that their record tells.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_events + 1,)
    columns : mapping of str to ndarray, each of shape (n_particles,)
        Columns of `Events` but for ``mass``, ``status`` and ``array_index``, which may
        be absent; any number type.
    keep_secondaries : bool
        Whether particles that the detector simulation made stay.
    **per_event
        As of `Events.from_columns`.
    """
    n_particles = int(offsets[-1])
    complete = dict(columns)
    if "mass" not in complete:
        complete["mass"] = invariant_mass(
            *(complete[name] for name in ("energy", "px", "py", "pz"))
        )
    if "status" not in complete:
        complete["status"] = np.full(n_particles, int(StatusBit.PRIMARY))
    if "array_index" not in complete:
        complete["array_index"] = index_in_event(offsets)
    with np.errstate(over="ignore"):
        particles: dict[str, NDArray[Any]] = {
            name: complete[name].astype(dtype, copy=False)
            for name, dtype in PARTICLE_COLUMNS.items()
        }
    if not keep_secondaries:
        offsets, particles = drop_secondaries(offsets, particles)
    events = Events.from_columns(offsets, particles, **per_event)
    return events.with_event_type_codes(infer_event_type(events))
