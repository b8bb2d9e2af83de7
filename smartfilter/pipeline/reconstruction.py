"""From tracks and clusters to B candidates and event-level quantities.

Stands for basf2's reconstruction and Full Event Interpretation (Keck et al., Comput.
Softw. Big Sci. 3 (2019) 6): particle lists are combined bottom up, each candidate
carries log odds (mode prior, pulls, log PID shares, for a B less the log of the number
of candidates of its mode), and the best B0 and B+
of the event are kept with their pseudo signal probability.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import exp, nan, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError
from smartfilter.pipeline.candidates import (
    CAPACITY,
    MASK_BITS,
    Overflow,
    Store,
    clear,
    combine_all,
    make_store,
)
from smartfilter.pipeline.decay_modes import (
    SPECIES,
    ModeTable,
    default_mode_table,
)
from smartfilter.pipeline.event_content import describe_event
from smartfilter.pipeline.event_shape import CM_ENERGY, TO_CM
from smartfilter.pipeline.final_states import (
    CLUSTER_ROW,
    PHOTON_ENERGY_MIN,
    TRACK_ROW,
    fill_charged,
    fill_neutral_pions,
    fill_photons,
    fill_v0s,
    sort_descending,
)
from smartfilter.pipeline.kernels import inner_kernel, kernel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from smartfilter.pipeline.objects import Detected, Table

__all__ = [
    "COUNT_COLUMNS",
    "MEMBER_COLUMNS",
    "VALUE_COLUMNS",
    "Reconstructed",
    "event_variables",
    "reconstruct",
]

log = logging.getLogger(__name__)

COUNT_COLUMNS: Mapping[str, str] = {
    "overflow": "bits of Overflow: what did not fit into the buffers",
    "n_tracks": "tracks from the beams with pT > 0.1 GeV",
    "total_charge": "sum of their charges",
    "n_clusters": "clusters without a track, energy > 0.1 GeV",
    "n_pi0": "pi0 candidates",
    "n_k_short": "K_S candidates",
    "n_lambda": "Lambda and anti-Lambda candidates",
    "n_jpsi": "J/psi candidates",
    "n_d": "D0, anti-D0 and D+- candidates (D0 -> K_S X counts as both)",
    "n_dstar": "D*+- and D*0 candidates",
    "n_dstar_hh": "D*+ -> D0 pi+, D0 -> h h candidates of the charm skim",
    "n_b0": "B0 candidates",
    "n_bplus": "B+ candidates",
    "n_b0_pi0pi0": "B0 -> pi0 pi0 candidates",
    "b0_mode": "row in the mode table of the best B0 (-1: none)",
    "bplus_mode": "row in the mode table of the best B+ (-1: none)",
}
"""Integer columns of `Reconstructed`."""

VALUE_COLUMNS: Mapping[str, str] = {
    "b0_probability": "pseudo signal probability of the best B0 (0: none)",
    "b0_mbc": "its beam-constrained mass, GeV (NaN: none)",
    "b0_delta_e": "its energy less half the CM energy, GeV (NaN: none)",
    "bplus_probability": "pseudo signal probability of the best B+ (0: none)",
    "bplus_mbc": "its beam-constrained mass, GeV (NaN: none)",
    "bplus_delta_e": "its energy less half the CM energy, GeV (NaN: none)",
    "r2": "Fox-Wolfram H2 / H0, CM frame",
    "thrust": "thrust, CM frame",
    "sphericity": "sphericity, CM frame",
    "visible_energy": "energy of tracks (as pions) and clusters, CM frame, GeV",
    "missing_energy": "CM energy less visible energy, GeV",
    "missing_mass2": "squared mass of what is missing, GeV^2",
    "lepton_momentum": "largest CM momentum of an e or mu from the beams, GeV (0: none)",
    "photon_energy": "largest CM energy of a cluster without a track, GeV (0: none)",
}
"""Float columns of `Reconstructed`. Event shapes use what `COUNT_COLUMNS` counts."""

MEMBER_COLUMNS: Mapping[str, str] = {
    "b0_tracks": "tracks of the best B0, bit i: the one of i-th largest pT",
    "b0_photons": "its photons, bit i: the i-th most energetic cluster without a track",
    "bplus_tracks": "the same of the best B+",
    "bplus_photons": "the same of the best B+",
}
"""Bit masks in `Reconstructed` (0: no candidate)."""

ODDS_OFFSET = 10.0
"""Log odds added before the logistic function: a D- pi+, D+ -> K- pi+ pi+ with all pulls
at zero and sure PID gets a pseudo signal probability of 0.84."""

_COUNTS, _VALUES = tuple(COUNT_COLUMNS), tuple(VALUE_COLUMNS)
_MEMBERS = tuple(MEMBER_COLUMNS)
_PI0, _K_SHORT, _J_PSI = (SPECIES.index(k) for k in ("pi0", "K_S0", "J/psi"))
_LAMBDA, _ANTI_LAMBDA = (SPECIES.index(k) for k in ("Lambda0", "anti-Lambda0"))
_FIRST_D, _LAST_D = SPECIES.index("D0"), SPECIES.index("D-")
_FIRST_DSTAR, _LAST_DSTAR = SPECIES.index("D*0"), SPECIES.index("D*-")
_DSTAR_HH, _ANTI_DSTAR_HH = SPECIES.index("D*+:hh"), SPECIES.index("D*-:hh")
_B0, _BPLUS, _B0_PI0PI0 = (SPECIES.index(k) for k in ("B0", "B+", "B0:pi0pi0"))
_FIRST_LEPTON, _LAST_LEPTON = SPECIES.index("e+"), SPECIES.index("mu-")
_PHOTON = SPECIES.index("gamma")
_MANY_TRACKS, _MANY_PHOTONS = int(Overflow.TRACKS), int(Overflow.PHOTONS)


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """Event-level results of the reconstruction.

    Parameters
    ----------
    columns : mapping of str to ndarray, each of shape (n_events,)
        int32 for `COUNT_COLUMNS`, float64 for `VALUE_COLUMNS`, int64 for
        `MEMBER_COLUMNS`.
    """

    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.columns["overflow"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column, shape (n_events,)."""
        return self.columns[name]


def reconstruct(detected: Detected, *, modes: ModeTable | None = None) -> Reconstructed:
    """Reconstruct events.

    Parameters
    ----------
    detected : Detected
        Tracks and clusters.
    modes : ModeTable, optional
        Decay modes instead of those of `MODES`.

    Returns
    -------
    Reconstructed
        One entry per event. Does not depend on the order of tracks and clusters within
        an event. Where something did not fit into a buffer, ``overflow`` is not zero
        and a warning is logged.

    Raises
    ------
    InputError
        If tracks and clusters have different numbers of events, lack a column or hold
        values that are not finite.
    """
    n_events = len(detected.tracks)
    if len(detected.clusters) != n_events:
        raise InputError(
            f"clusters: expected {n_events} events as in the tracks, "
            f"got {len(detected.clusters)}"
        )
    table = default_mode_table() if modes is None else modes
    counts = np.zeros((len(_COUNTS), n_events), dtype=np.int32)
    values = np.zeros((len(_VALUES), n_events))
    members = np.zeros((len(_MEMBERS), n_events), dtype=np.int64)
    tracks = _stack(detected.tracks, TRACK_ROW, "track")
    clusters = _stack(detected.clusters, CLUSTER_ROW, "cluster")
    _reconstruct_events(
        np.array(detected.tracks.offsets, dtype=np.int64),
        tracks,
        np.array(detected.clusters.offsets, dtype=np.int64),
        clusters,
        make_store(table),
        table,
        TO_CM,
        CM_ENERGY,
        counts,
        values,
        members,
    )
    n_overflow = np.count_nonzero(counts[0])
    if n_overflow:
        log.warning(
            "%d of %d events have more candidates than the buffers hold; the column "
            "'overflow' says which",
            n_overflow,
            n_events,
        )
    names = (*_COUNTS, *_VALUES, *_MEMBERS)
    columns = (*counts, *values, *members)
    return Reconstructed(dict(zip(names, columns, strict=True)))


def event_variables(reconstructed: Reconstructed) -> dict[str, NDArray[np.float32]]:
    """Return counts and values as float32, shape (n_events,) each.

    Meant for bias studies and auxiliary targets of a training; NaN as documented in
    `VALUE_COLUMNS`.
    """
    return {k: reconstructed[k].astype(np.float32) for k in (*_COUNTS, *_VALUES)}


def _stack(table: Table, names: Sequence[str], what: str) -> NDArray[np.float64]:
    """Return columns side by side, shape (n_rows, n_columns)."""
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise InputError(
            f"{what} columns: expected {', '.join(names)}, missing {', '.join(missing)}"
        )
    rows = np.empty((int(table.offsets[-1]), len(names)))
    for k, name in enumerate(names):
        rows[:, k] = table[name]
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        event = np.searchsorted(table.offsets, bad[0], side="right") - 1
        raise InputError(
            f"{what} rows: expected finite values, got others in {len(bad)} rows, "
            f"first in event {event}; check the detector"
        )
    return rows


@kernel
def _reconstruct_events(
    track_offsets: NDArray[Any],
    tracks: NDArray[Any],
    cluster_offsets: NDArray[Any],
    clusters: NDArray[Any],
    store: Store,
    table: ModeTable,
    to_cm: NDArray[Any],
    cm_energy: float,
    counts: NDArray[Any],
    values: NDArray[Any],
    members: NDArray[Any],
) -> None:
    """Reconstruct event by event into the columns of the last three."""
    n_objects = 1
    for event in range(len(track_offsets) - 1):
        n = track_offsets[event + 1] - track_offsets[event]
        n += cluster_offsets[event + 1] - cluster_offsets[event]
        n_objects = max(n_objects, n)
    order = np.empty(n_objects, dtype=np.int64)
    keys = np.empty(n_objects)
    momenta = np.empty((n_objects, 4))
    vertex = np.empty(8)
    for event in range(len(track_offsets) - 1):
        own_tracks = tracks[track_offsets[event] : track_offsets[event + 1]]
        own_clusters = clusters[cluster_offsets[event] : cluster_offsets[event + 1]]
        clear(store)
        n = _order_tracks(own_tracks, keys, order)
        if n > MASK_BITS:
            store.overflow[0] |= _MANY_TRACKS
        fill_charged(store, to_cm, own_tracks, order, n)
        fill_v0s(store, to_cm, own_tracks, order, n, vertex)
        n = _order_photons(own_clusters, keys, order)
        if n > MASK_BITS:
            store.overflow[0] |= _MANY_PHOTONS
        fill_photons(store, to_cm, own_clusters, order, n)
        fill_neutral_pions(store)
        combine_all(store, table, 0.5 * cm_energy)
        _count(store, counts[:, event])
        _rate_best(store, _B0, values[0:3, event], members[0:2, event])
        _rate_best(store, _BPLUS, values[3:6, event], members[2:4, event])
        values[12, event] = _find_fastest(store, _FIRST_LEPTON, _LAST_LEPTON)
        values[13, event] = _find_fastest(store, _PHOTON, _PHOTON)
        describe_event(
            own_tracks,
            own_clusters,
            to_cm,
            cm_energy,
            momenta,
            counts[:, event],
            values[:, event],
        )


@inner_kernel
def _order_tracks(tracks: NDArray[Any], keys: NDArray[Any], order: NDArray[Any]) -> int:
    """Set the order of falling pT; return the number of tracks."""
    for i in range(len(tracks)):
        keys[i] = tracks[i, 0] * tracks[i, 0] + tracks[i, 1] * tracks[i, 1]
        order[i] = i
    sort_descending(keys, order, len(tracks))
    return len(tracks)


@inner_kernel
def _order_photons(
    clusters: NDArray[Any], keys: NDArray[Any], order: NDArray[Any]
) -> int:
    """Set the order of falling energy of the photons; return their number."""
    n = 0
    for i in range(len(clusters)):
        keys[i] = clusters[i, 0]
        if clusters[i, 3] < 0 and clusters[i, 0] > PHOTON_ENERGY_MIN:
            order[n] = i
            n += 1
    sort_descending(keys, order, n)
    return n


@inner_kernel
def _count(store: Store, counts: NDArray[Any]) -> None:
    """Set the columns of ``counts`` that come from the lists."""
    found = store.found
    counts[0] = store.overflow[0]
    counts[4] = found[_PI0]
    counts[5] = found[_K_SHORT]
    counts[6] = found[_LAMBDA] + found[_ANTI_LAMBDA]
    counts[7] = found[_J_PSI]
    counts[8] = np.sum(found[_FIRST_D : _LAST_D + 1])
    counts[9] = np.sum(found[_FIRST_DSTAR : _LAST_DSTAR + 1])
    counts[10] = found[_DSTAR_HH] + found[_ANTI_DSTAR_HH]
    counts[11] = found[_B0]
    counts[12] = found[_BPLUS]
    counts[13] = found[_B0_PI0PI0]
    counts[14] = store.mode[_B0 * CAPACITY] if store.size[_B0] else -1
    counts[15] = store.mode[_BPLUS * CAPACITY] if store.size[_BPLUS] else -1


@inner_kernel
def _find_fastest(store: Store, first: int, last: int) -> float:
    """Return the largest CM momentum in the lists from first to last, 0 if empty."""
    largest2 = 0.0
    for species in range(first, last + 1):
        begin = species * CAPACITY
        for p in store.four[begin : begin + store.size[species]]:
            largest2 = max(largest2, p[1] * p[1] + p[2] * p[2] + p[3] * p[3])
    return sqrt(largest2)


@inner_kernel
def _rate_best(
    store: Store, species: int, values: NDArray[Any], members: NDArray[Any]
) -> None:
    """Set probability, Mbc, delta E and members of the best candidate of a list."""
    if store.size[species] == 0:
        values[0], values[1], values[2] = 0.0, nan, nan
        return
    row = species * CAPACITY
    values[0] = 1.0 / (1.0 + exp(-store.quality[row] - ODDS_OFFSET))
    values[1] = store.value[row, 0]
    values[2] = store.value[row, 1]
    members[:] = store.used[row]
