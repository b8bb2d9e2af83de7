"""Pythia event records to particle trees as basf2's generators leave them.

A Pythia record lists every stage of a particle: copies after each radiation, partons,
strings. The rules that turn it into a tree, mothers before daughters:

- A particle and its copies after radiation are one node, with the last momentum; a
  photon that it radiated is its sister.
- Y(4S) events: the Y(4S) is the root, partons are left out and what came from them
  goes to the nearest particle above.
- Continuum events have the layout of KKMC and basf2's ``Fragmentation``: beam electron,
  beam positron and virtual photon are roots, its two fermions its daughters, photons
  from the initial state daughters of the electron. Every later entry hangs on its
  first Pythia mother, and on the quark if that is the antiquark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.errors import MissingPackageError
from smartfilter.events import PARTICLE_COLUMNS, StatusBit, offsets_from_counts
from smartfilter.pipeline.upsilon import SPEED_OF_LIGHT, UPSILON_PDG

try:
    import numba as nb
except ImportError as error:
    raise MissingPackageError("numba", "pipeline") from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

__all__ = ["Tree", "flatten_batch", "reduce_record", "tree_columns"]

PRIMARY = int(StatusBit.PRIMARY)
STABLE = int(StatusBit.STABLE_IN_GENERATOR)
VIRTUAL = int(StatusBit.VIRTUAL)
INITIAL = int(StatusBit.INITIAL)
ISR = int(StatusBit.ISR_PHOTON)
FSR = int(StatusBit.FSR_PHOTON)
PHOTOS = int(StatusBit.PHOTOS_PHOTON)

PHOTON, VIRTUAL_PHOTON, SYSTEM = 22, 23, 90
BEAM_STATUS, HARD_STATUS, ISR_RECOIL_STATUS = 12, 23, 44
ISR_STATUS, REMNANT_STATUS = 43, 63
CM_PER_MM = 0.1
SOFTEST_PHOTON = 1e-6
"""GeV: Pythia's beam remnants are photons of no energy where nothing was radiated."""


class Tree(NamedTuple):
    """Nodes of a batch of events, breadth first.

    Parameters
    ----------
    counts : ndarray of int64, shape (n_events,)
    row : ndarray of int64, shape (n_particles,)
        Row of the record that holds the node's last momentum.
    mother : ndarray of int32, shape (n_particles,)
        0-based within the event, -1 for a root.
    status : ndarray of uint16, shape (n_particles,)
        basf2 status bits.
    """

    counts: NDArray[np.int64]
    row: NDArray[np.int64]
    mother: NDArray[np.int32]
    status: NDArray[np.uint16]


@nb.njit(cache=True, inline="always")
def _is_parton(pdg: int) -> bool:
    code = abs(pdg)
    diquark = 1000 < code < 10000 and (code // 10) % 10 == 0
    return code <= 9 or code == 21 or 81 <= code <= 99 or diquark


@nb.njit(cache=True, inline="always")
def _has_own_copies(pdg: int) -> bool:
    """Tell particles whose copies are listed one by one or picked otherwise."""
    return _is_parton(pdg) or pdg == VIRTUAL_PHOTON


@nb.njit(cache=True, inline="always")
def _is_radiation(status: int) -> bool:
    """Tell products of radiation in the final state: emitters, recoilers, photons."""
    return 51 <= abs(status) <= 59


@nb.njit(cache=True)
def _link_copies(
    begin: int,
    end: int,
    pdg: Ints,
    status: Ints,
    mother1: Ints,
    first: Ints,
    last: Ints,
) -> None:
    """Fill ``first`` and ``last`` copy of every entry (rows within the event)."""
    for i in range(end - begin):
        first[i] = i
        last[i] = i
        code, m = pdg[begin + i], mother1[begin + i]
        kind = status[begin + i]
        moved = _is_radiation(kind) or abs(kind) == ISR_RECOIL_STATUS
        if moved and code == pdg[begin + m] and not _has_own_copies(code):
            first[i] = first[m]
            last[first[m]] = i


@nb.njit(cache=True)
def _mother_below_root(
    i: int, begin: int, pdg: Ints, status: Ints, mother1: Ints, first: Ints
) -> int:
    """Return the first copy of the nearest particle above entry ``i``."""
    m = mother1[begin + i]
    sister = _is_radiation(status[begin + i]) and not _is_parton(pdg[begin + m])
    if sister:
        m = mother1[begin + first[m]]
    while _is_parton(pdg[begin + m]) and m > 0:
        m = mother1[begin + m]
    return int(first[m])


@nb.njit(cache=True)
def _find_hard_process(
    begin: int, end: int, pdg: Ints, status: Ints
) -> tuple[int, int]:
    """Return virtual photon and positive fermion of a continuum event."""
    boson, fermion = 0, 0
    for i in range(begin, end):
        if pdg[i] == VIRTUAL_PHOTON:
            boson = i - begin
        if abs(status[i]) == HARD_STATUS and 0 < pdg[i] < 20:
            fermion = i - begin
    return boson, fermion


@nb.njit(cache=True)
def _link_upsilon(
    begin: int,
    end: int,
    pdg: Ints,
    status: Ints,
    mother1: Ints,
    first: Ints,
    mother: Ints,
    bits: Ints,
) -> None:
    """Set mothers (-1 root, -2 not a node) and special bits of a Y(4S) event."""
    root = 0
    for i in range(end - begin):
        mother[i] = -2
        bits[i] = PRIMARY
        if pdg[begin + i] == UPSILON_PDG:
            root = i
    mother[root] = -1
    for i in range(root + 1, end - begin):
        if first[i] != i or _is_parton(pdg[begin + i]):
            continue
        mother[i] = _mother_below_root(i, begin, pdg, status, mother1, first)
        if pdg[begin + i] == PHOTON and _is_radiation(status[begin + i]):
            from_parton = _is_parton(pdg[begin + mother1[begin + i]])
            bits[i] |= FSR if from_parton else PHOTOS


@nb.njit(cache=True)
def _link_continuum(
    begin: int,
    end: int,
    pdg: Ints,
    status: Ints,
    mother1: Ints,
    energy: Floats,
    first: Ints,
    last: Ints,
    mother: Ints,
    bits: Ints,
) -> None:
    """Set mothers (-1 root, -2 not a node) and special bits of a continuum event."""
    boson, fermion = _find_hard_process(begin, end, pdg, status)
    electron = 0
    for i in range(end - begin):
        code, kind = pdg[begin + i], abs(status[begin + i])
        m = mother1[begin + i]
        mother[i] = -2
        bits[i] = PRIMARY
        if kind == BEAM_STATUS:
            mother[i] = -1
            bits[i] |= INITIAL | STABLE
            electron = i if code == 11 else electron
        elif i == boson:
            mother[i] = -1
            bits[i] |= VIRTUAL
        elif code == PHOTON and kind in (ISR_STATUS, REMNANT_STATUS):
            if energy[begin + last[i]] > SOFTEST_PHOTON:
                mother[i] = electron
                bits[i] |= ISR
        elif kind == HARD_STATUS:
            mother[i] = boson
        elif i > boson and first[i] == i and code != SYSTEM and kind > 50:
            radiated = _is_radiation(kind)
            if radiated and not _is_parton(pdg[begin + m]):
                m = mother1[begin + first[m]]
            hangs_on_quark = abs(status[begin + m]) == HARD_STATUS and _is_parton(
                pdg[begin + m]
            )
            mother[i] = fermion if hangs_on_quark else first[m]
            if code == PHOTON and radiated:
                hadron_level = m != boson and not _is_parton(
                    pdg[begin + mother1[begin + i]]
                )
                bits[i] |= PHOTOS if hadron_level else FSR


@nb.njit(cache=True)
def _order_breadth_first(
    size: int, mother: Ints, head: Ints, following: Ints, queue: Ints, position: Ints
) -> int:
    """Fill ``queue`` with nodes, each family in record order; return their number."""
    for i in range(size):
        head[i] = -1
    n_nodes = 0
    for i in range(size - 1, -1, -1):
        if mother[i] >= 0:
            following[i] = head[mother[i]]
            head[mother[i]] = i
    for i in range(size):
        if mother[i] == -1:
            queue[n_nodes] = i
            n_nodes += 1
    done = 0
    while done < n_nodes:
        node = queue[done]
        position[node] = done
        child = head[node]
        while child >= 0:
            queue[n_nodes] = child
            n_nodes += 1
            child = following[child]
        done += 1
    return n_nodes


@nb.njit(cache=True)
def _reduce(
    offsets: Ints,
    pdg: Ints,
    status: Ints,
    mother1: Ints,
    energy: Floats,
    continuum: bool,
) -> tuple[Ints, Ints, NDArray[np.int32], NDArray[np.uint16]]:
    n_events, total = len(offsets) - 1, len(pdg)
    longest = 0
    for event in range(n_events):
        longest = max(longest, offsets[event + 1] - offsets[event])
    first = np.empty(longest, np.int64)
    last = np.empty(longest, np.int64)
    mother = np.empty(longest, np.int64)
    bits = np.empty(longest, np.int64)
    head = np.empty(longest, np.int64)
    following = np.empty(longest, np.int64)
    queue = np.empty(longest, np.int64)
    position = np.empty(longest, np.int64)
    counts = np.zeros(n_events, np.int64)
    out_row = np.empty(total, np.int64)
    out_mother = np.empty(total, np.int32)
    out_status = np.empty(total, np.uint16)
    cursor = 0
    for event in range(n_events):
        begin, end = offsets[event], offsets[event + 1]
        _link_copies(begin, end, pdg, status, mother1, first, last)
        if continuum:
            _link_continuum(
                begin, end, pdg, status, mother1, energy, first, last, mother, bits
            )
        else:
            _link_upsilon(begin, end, pdg, status, mother1, first, mother, bits)
        size = end - begin
        n_nodes = _order_breadth_first(size, mother, head, following, queue, position)
        for k in range(n_nodes):
            node = queue[k]
            above = mother[node]
            out_mother[cursor + k] = position[above] if above >= 0 else -1
            row = begin + last[node]
            out_row[cursor + k] = row
            stable = STABLE if status[row] > 0 else 0
            out_status[cursor + k] = bits[node] | stable
        counts[event] = n_nodes
        cursor += n_nodes
    return counts, out_row[:cursor], out_mother[:cursor], out_status[:cursor]


def reduce_record(
    offsets: NDArray[np.int64],
    record: dict[str, NDArray[Any]],
    *,
    continuum: bool,
) -> Tree:
    """Return the particle trees of flattened Pythia records.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_events + 1,)
    record : mapping of str to ndarray, each of shape (n_entries,)
        Pythia's ``id``, ``status``, ``mother1`` (rows within the event) as int64 and
        ``e`` in GeV.
    continuum : bool
        Layout: see the description of this module.
    """
    return Tree(
        *_reduce(
            offsets,
            record["id"],
            record["status"],
            record["mother1"],
            record["e"],
            continuum,
        )
    )


def flatten_batch(particles: Any) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Return offsets and flat columns of a Pythia batch (``nextBatch(n).prt``).

    Columns: ``id``, ``status``, ``mother1`` (int64), ``px``, ``py``, ``pz``, ``e``,
    ``m`` (GeV), ``x``, ``y``, ``z`` (mm), ``t`` (mm/c); a production vertex that
    Pythia leaves out is the origin.
    """
    import awkward as ak

    offsets = offsets_from_counts(ak.to_numpy(ak.num(particles, axis=1)))
    flat = ak.flatten(particles, axis=1)
    vertex = flat.vProd
    record = {
        name: ak.to_numpy(flat[name]).astype(np.int64)
        for name in ("id", "status", "mother1")
    }
    record |= {name: ak.to_numpy(flat.p[name]) for name in ("px", "py", "pz", "e")}
    record["m"] = ak.to_numpy(flat.m)
    for name, source in zip("xyzt", ("px", "py", "pz", "e"), strict=True):
        record[name] = ak.to_numpy(ak.fill_none(vertex[source], 0.0))
    return offsets, record


def tree_columns(
    tree: Tree,
    record: dict[str, NDArray[Any]],
    vertices: NDArray[np.float64],
) -> dict[str, NDArray[Any]]:
    """Return the particle columns of ``Events``: cm, ns, GeV.

    Parameters
    ----------
    tree : Tree
    record : mapping of str to ndarray
        Columns of `flatten_batch`.
    vertices : ndarray of float64, shape (n_events, 3)
        Interaction points, cm; beam particles (bit INITIAL) stay at the origin, as in
        basf2.
    """
    n_events = len(tree.counts)
    starts = offsets_from_counts(tree.counts)[:-1]
    event = np.repeat(np.arange(n_events), tree.counts)
    moved = (tree.status & INITIAL) == 0
    columns: dict[str, NDArray[Any]] = {
        "pdg": record["id"][tree.row],
        "mother_index": tree.mother,
        "array_index": np.arange(len(event)) - np.repeat(starts, tree.counts),
        "status": tree.status,
        "mass": record["m"][tree.row],
        "energy": record["e"][tree.row],
        "px": record["px"][tree.row],
        "py": record["py"][tree.row],
        "pz": record["pz"][tree.row],
        "prod_time": record["t"][tree.row] / SPEED_OF_LIGHT,
    }
    for axis, name in enumerate("xyz"):
        shift = np.where(moved, vertices[event, axis], 0.0)
        columns[name] = record[name][tree.row] * CM_PER_MM + shift
    return {
        name: columns[name].astype(dtype, copy=False)
        for name, dtype in PARTICLE_COLUMNS.items()
    }
