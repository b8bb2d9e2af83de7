"""Hits of Geant4, sorted by what reconstruction asks of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smartfilter.events import offsets_from_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.pipeline.geant4.primaries import Primaries

__all__ = ["Crystals", "TrackHits", "collect_crystals", "count_layers"]

_SILICON, _CHAMBER = 0, 1
_PRIMARY, _DETECTOR, _CELL, _ENERGY = range(4)


class TrackHits(NamedTuple):
    """Layers in which primaries left energy.

    Parameters
    ----------
    n_vertex, n_chamber : ndarray of int64, shape (n_primaries,)
        Numbers of layers.
    last_layer : ndarray of int64, shape (n_primaries,)
        Outermost layer of the chamber, -1 if none.
    """

    n_vertex: NDArray[np.int64]
    n_chamber: NDArray[np.int64]
    last_layer: NDArray[np.int64]


class Crystals(NamedTuple):
    """Energy in crystals, by event.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_events + 1,)
    primary : ndarray of int64, shape (n_hits,)
        Position of the primary in the list of primaries.
    cell : ndarray of int64, shape (n_hits,)
    energy : ndarray of float64, shape (n_hits,)
        In GeV.
    """

    offsets: NDArray[np.int64]
    primary: NDArray[np.int64]
    cell: NDArray[np.int64]
    energy: NDArray[np.float64]


def count_layers(hits: NDArray[np.float64], n_primaries: int) -> TrackHits:
    """Return the layers that each primary and its secondaries hit.

    Parameters
    ----------
    hits : ndarray of float64, shape (n_hits, 4)
        Primary, detector, cell, energy; one row per cell.
    n_primaries : int
    """
    primary = hits[:, _PRIMARY].astype(np.int64)
    silicon = hits[:, _DETECTOR] == _SILICON
    chamber = hits[:, _DETECTOR] == _CHAMBER
    last = np.full(n_primaries, -1, dtype=np.int64)
    np.maximum.at(last, primary[chamber], hits[chamber, _CELL].astype(np.int64))
    return TrackHits(
        np.bincount(primary[silicon], minlength=n_primaries),
        np.bincount(primary[chamber], minlength=n_primaries),
        last,
    )


def collect_crystals(
    hits: NDArray[np.float64], primaries: Primaries, n_events: int
) -> Crystals:
    """Return the crystals of each event; hits are in the order of primaries."""
    crystals = hits[hits[:, _DETECTOR] > _CHAMBER]
    primary = crystals[:, _PRIMARY].astype(np.int64)
    counts = np.bincount(primaries.event[primary], minlength=n_events)
    return Crystals(
        offsets_from_counts(counts),
        primary,
        crystals[:, _CELL].astype(np.int64),
        crystals[:, _ENERGY].copy(),
    )
