"""The event type as the record itself tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.events import EVENT_TYPES, UNKNOWN_EVENT_TYPE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["infer_event_type"]

UPSILON_4S = 300553
_BEAMS_AND_BOSONS = (11, 22, 23)
_TYPE_OF_B = {511: "mixed", 521: "charged"}
_TYPE_OF_FERMION = {
    1: "ddbar",
    2: "uubar",
    3: "ssbar",
    4: "ccbar",
    15: "taupair",
}


def infer_event_type(events: Events) -> NDArray[np.int8]:
    """Return the event type of each event as its particles tell it.

    The first B meson directly below a Y(4S) decides; without one, the first quark or
    tau lepton that is a root or directly below a beam particle, a photon or a Z.

    Parameters
    ----------
    events : Events
        Generator-level events with beams, bosons and quarks still in the list.

    Returns
    -------
    ndarray of int8, shape (n_events,)
        Position in `smartfilter.events.EVENT_TYPES`, -1 where nothing decides.
    """
    mother_pdg = _find_mother_pdg(events)
    species = np.abs(events["pdg"])
    hard = (mother_pdg == 0) | np.isin(mother_pdg, _BEAMS_AND_BOSONS)
    codes = np.full(len(events), UNKNOWN_EVENT_TYPE, dtype=np.int8)
    _assign_first(codes, events, species, hard, _TYPE_OF_FERMION)
    _assign_first(codes, events, species, mother_pdg == UPSILON_4S, _TYPE_OF_B)
    return codes


def _find_mother_pdg(events: Events) -> NDArray[np.int32]:
    """Return |PDG code| of each mother: 0 for none, -1 if its index makes no sense."""
    mother = events["mother_index"]
    counts = events.counts
    inside = (mother >= 0) & (mother < np.repeat(counts, counts))
    row = np.repeat(events.offsets[:-1], counts) + mother
    codes = np.where(mother == -1, 0, -1).astype(np.int32)
    codes[inside] = np.abs(events["pdg"][row[inside]])
    return codes


def _assign_first(
    codes: NDArray[np.int8],
    events: Events,
    species: NDArray[Any],
    eligible: NDArray[np.bool_],
    types: dict[int, str],
) -> None:
    """Write the type of the first eligible particle of these species per event."""
    rows = np.flatnonzero(eligible & np.isin(species, list(types)))
    event = np.searchsorted(events.offsets, rows, side="right") - 1
    event, first = np.unique(event, return_index=True)
    found = species[rows[first]]
    for pdg, name in types.items():
        codes[event[found == pdg]] = EVENT_TYPES.index(name)
