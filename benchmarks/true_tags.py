"""Are the hadronic tags right? Truth matching of the best B0 and B+ candidates.

Example:
  python benchmarks/true_tags.py -n 40000 --workers 2 -o output/true_tags.json
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.console import Console

from smartfilter.cli.terminal import make_table, show_progress
from smartfilter.pipeline.candidates import MASK_BITS
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.final_states import PHOTON_ENERGY_MIN
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.reconstruction import reconstruct
from smartfilter.pipeline.skims import (
    B0_PROBABILITY_MIN,
    BPLUS_PROBABILITY_MIN,
    is_hadronic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.pipeline.objects import Detected, Table
    from smartfilter.pipeline.reconstruction import Reconstructed

TAGS = {"feiHadronicB0": ("b0", 511), "feiHadronicBplus": ("bplus", 521)}
"""Skim -> prefix of its candidate's columns, PDG code of the B."""

CUTS = {
    "feiHadronicB0": B0_PROBABILITY_MIN,
    "feiHadronicBplus": BPLUS_PROBABILITY_MIN,
}
"""Skim -> its cut on the signal probability."""

TYPES = {
    "feiHadronicB0": ("mixed", "charged"),
    "feiHadronicBplus": ("charged", "mixed"),
}
"""Skim -> event type with the right B, event type with the wrong one."""

SHARES = (0.02, 0.01, 0.005)
"""Shares of the right events that tighter cuts keep."""

SOFT_PHOTON = 0.1
"""GeV: a candidate without a softer photon of its B is complete all the same."""

_CHARGED = (11, 13, 211, 321, 2212)
_PHOTON = 22
_CHUNK = 2_000


@dataclass(frozen=True)
class Row:
    """What one cut keeps of both event types, in events."""

    skim: str
    cut: float
    n_right: int
    n_wrong: int
    n_one_b: int
    n_complete: int
    n_events: int

    @property
    def preference(self) -> tuple[float, float]:
        """Right over wrong events that pass, with its error."""
        ratio = self.n_right / max(self.n_wrong, 1)
        relative = 1.0 / max(self.n_right, 1) + 1.0 / max(self.n_wrong, 1)
        return ratio, ratio * sqrt(relative)


def find_owner(events: Events) -> NDArray[np.int64]:
    """Return the row of the B that each particle descends from, -1: none.

    Rows of the whole table; a B is its own owner.
    """
    start = np.repeat(events.offsets[:-1], events.counts)
    mother = events["mother_index"].astype(np.int64)
    mother = np.where(mother >= 0, mother + start, -1)
    rows = np.arange(len(mother))
    owner = np.where(np.isin(np.abs(events["pdg"]), (511, 521)), rows, -1)
    while True:
        open_rows = rows[(owner < 0) & (mother >= 0)]
        found = owner[mother[open_rows]]
        if not (found >= 0).any():
            return owner
        owner[open_rows] = found


def find_members(
    table: Table, order_by: NDArray[Any], masks: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which rows the bits of ``masks`` (n_events,) name, shape (n_rows,).

    Bit i is the i-th largest of ``order_by`` in the event; rows of -inf have no bit.
    """
    counts = np.diff(table.offsets)
    event = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-order_by, event))
    rank = np.empty(len(event), dtype=np.int64)
    rank[order] = np.arange(len(event)) - table.offsets[event]
    bits = masks[event] >> np.minimum(rank, MASK_BITS)
    named: NDArray[np.bool_] = (bits & 1 == 1) & np.isfinite(order_by)
    return named


def match(
    events: Events, detected: Detected, result: Reconstructed, prefix: str, pdg: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which best candidates are of one B, and which of them are all of it.

    The first: every track and photon comes from the same B of the right species. The
    second: nothing charged and no photon above `SOFT_PHOTON` of that B is missing, and
    it has no neutrino, K_L or neutron.

    Returns
    -------
    one_b, complete : ndarray of bool, shape (n_events,)
    """
    tracks, clusters = detected.tracks, detected.clusters
    pt2 = tracks["px"].astype(float) ** 2 + tracks["py"].astype(float) ** 2
    is_photon = (clusters["track"] < 0) & (clusters["energy"] > PHOTON_ENERGY_MIN)
    energy = np.where(is_photon, clusters["energy"].astype(float), -np.inf)
    owner = np.append(find_owner(events), -1)
    used = np.zeros(len(owner), dtype=bool)
    lowest = np.full(len(events), len(owner), dtype=np.int64)
    highest = np.full(len(events), -1, dtype=np.int64)
    for table, key, name in (
        (tracks, pt2, f"{prefix}_tracks"),
        (clusters, energy, f"{prefix}_photons"),
    ):
        member = find_members(table, key, result[name])
        event = np.repeat(np.arange(len(events)), np.diff(table.offsets))[member]
        truth = table["array_index"][member].astype(np.int64)
        row = np.where(truth >= 0, truth + events.offsets[event], len(owner) - 1)
        used[row] = True
        np.minimum.at(lowest, event, owner[row])
        np.maximum.at(highest, event, owner[row])
    same = (lowest == highest) & (highest >= 0)
    code = np.abs(np.append(events["pdg"], 0))
    one_b = same & (code[highest] == pdg)
    missing = _count_missing(events, owner[:-1], used[:-1])
    return one_b, one_b & (missing[np.where(one_b, highest, 0)] == 0)


def _count_missing(
    events: Events, owner: NDArray[np.int64], used: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return by row the final particles of a B that its candidate had to have."""
    start = np.repeat(events.offsets[:-1], events.counts)
    mother = events["mother_index"].astype(np.int64)
    is_final = np.ones(len(owner), dtype=bool)
    is_final[(mother + start)[mother >= 0]] = False
    code = np.abs(events["pdg"])
    soft = (code == _PHOTON) & (events["energy"] < SOFT_PHOTON)
    seen = np.isin(code, (*_CHARGED, _PHOTON)) & used
    lost = is_final & (owner >= 0) & ~seen & ~soft
    return np.bincount(owner[lost], minlength=len(owner))


def study(
    event_type: str,
    n_events: int,
    *,
    seed: int,
    workers: int,
    advance: Callable[[int], None],
) -> dict[str, NDArray[np.float64]]:
    """Return probability, one_b and complete of both tags, (n_events,) each.

    The probability is 0 where the event is not hadronic.
    """
    generator = Generator(event_type, seed=seed)
    detector = Detector(seed=seed, workers=workers)
    parts: dict[str, list[NDArray[Any]]] = {}
    for first in range(0, n_events, _CHUNK):
        events = generator.generate(min(_CHUNK, n_events - first))
        detected = detector.simulate(events)
        result = reconstruct(detected)
        for skim, (prefix, pdg) in TAGS.items():
            one_b, complete = match(events, detected, result, prefix, pdg)
            probability = result[f"{prefix}_probability"]
            columns = {
                "probability": np.where(is_hadronic(result), probability, 0.0),
                "one_b": one_b,
                "complete": complete,
            }
            for name, values in columns.items():
                parts.setdefault(f"{skim}/{name}", []).append(values)
        advance(len(events))
    return {name: np.concatenate(values) for name, values in parts.items()}


def summarise(samples: Mapping[str, Mapping[str, NDArray[Any]]]) -> list[Row]:
    """Return one row per skim and cut from what `study` says of each event type."""
    rows = []
    for skim, (right_type, wrong_type) in TYPES.items():
        right = samples[right_type]
        probability = right[f"{skim}/probability"]
        other = samples[wrong_type][f"{skim}/probability"]
        tighter = np.quantile(probability, [1.0 - share for share in SHARES])
        for cut in (CUTS[skim], *tighter.tolist()):
            passes = probability > cut
            rows.append(
                Row(
                    skim=skim,
                    cut=cut,
                    n_right=int(passes.sum()),
                    n_wrong=int((other > cut).sum()),
                    n_one_b=int((passes & right[f"{skim}/one_b"]).sum()),
                    n_complete=int((passes & right[f"{skim}/complete"]).sum()),
                    n_events=len(probability),
                )
            )
    return rows


def tabulate(rows: Sequence[Row]) -> Any:
    """Return the table that people read."""
    cells = []
    for row in rows:
        ratio, error = row.preference
        n = max(row.n_right, 1)
        cells.append(
            (
                row.skim,
                f"{row.cut:.2e}",
                f"{100 * row.n_right / row.n_events:.2f}",
                f"{ratio:.2f} ± {error:.2f}",
                f"{100 * row.n_one_b / n:.1f}",
                f"{100 * row.n_complete / n:.1f}",
            )
        )
    header = ("skim", "cut", "pass, %", "right / wrong B", "one B, %", "all of it, %")
    return make_table("tags that pass, truth matched", header, cells)


@click.command(help=__doc__)
@click.option("-n", "n_events", type=click.IntRange(1), default=40_000)
@click.option("--seed", type=click.IntRange(0), default=77, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file.")
def command(n_events: int, seed: int, workers: int, output: Path | None) -> None:
    """Simulate both event types, match, print the table."""
    with show_progress("simulate", 2 * n_events) as advance:
        samples = {
            name: study(name, n_events, seed=seed, workers=workers, advance=advance)
            for name in ("mixed", "charged")
        }
    rows = summarise(samples)
    Console().print(tabulate(rows))
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        document = {"seed": seed, "rows": [asdict(row) for row in rows]}
        output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command()
