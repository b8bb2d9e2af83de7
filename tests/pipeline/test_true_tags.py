"""Truth matching of B candidates: made-up candidates, and a plain loop over real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from smartfilter.events import Events
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.objects import Detected, Table
from smartfilter.pipeline.reconstruction import Reconstructed, reconstruct

# Y(4S) -> B0 (D- pi+, D- -> K+ pi- pi-), anti-B0 (mu+ nu photon)
PDG = [300553, 511, -511, -411, 211, 321, -211, -211, -13, 14, 22]
MOTHER = [-1, 0, 0, 1, 1, 3, 3, 3, 2, 2, 2]
D_PI = [4, 5, 6, 7]


@pytest.fixture(scope="module")
def tags(load_benchmark: Any) -> Any:
    return load_benchmark("true_tags")


def make_events(pdg: list[int], mother: list[int], energy: float = 1.0) -> Events:
    n = len(pdg)
    columns = {
        "pdg": np.array(pdg, dtype=np.int32),
        "mother_index": np.array(mother, dtype=np.int32),
        "energy": np.full(n, energy, dtype=np.float32),
    }
    others = ("px", "py", "pz", "x", "y", "z", "prod_time", "mass")
    columns |= {name: np.zeros(n, dtype=np.float32) for name in others}
    columns |= {name: np.zeros(n, dtype=np.int32) for name in ("status", "array_index")}
    return Events.from_columns(np.array([0, n]), columns)


def make_objects(tracks: list[int], photons: list[int]) -> Detected:
    """Return tracks and photons of falling pT and energy with these true particles."""
    n, m = len(tracks), len(photons)
    track_columns = {
        "px": np.arange(n, 0, -1, dtype=np.float32),
        "py": np.zeros(n, dtype=np.float32),
        "array_index": np.array(tracks, dtype=np.int32),
    }
    cluster_columns = {
        "energy": np.arange(m, 0, -1, dtype=np.float32),
        "track": np.full(m, -1, dtype=np.int32),
        "array_index": np.array(photons, dtype=np.int32),
    }
    return Detected(
        Table(np.array([0, n]), track_columns), Table(np.array([0, m]), cluster_columns)
    )


def match_one(
    tags: Any,
    events: Events,
    members: list[int],
    photons: list[int] = [],  # noqa: B006 - never changed
    *,
    pdg: int = 511,
) -> tuple[bool, bool]:
    masks = {
        "b0_tracks": np.array([2 ** len(members) - 1]),
        "b0_photons": np.array([2 ** len(photons) - 1]),
    }
    detected = make_objects(members, photons)
    one_b, complete = tags.match(events, detected, Reconstructed(masks), "b0", pdg)
    return bool(one_b[0]), bool(complete[0])


def test_match_all_of_a_b_is_complete(tags: Any):
    assert match_one(tags, make_events(PDG, MOTHER), D_PI) == (True, True)


def test_match_part_of_a_b_is_not_complete(tags: Any):
    assert match_one(tags, make_events(PDG, MOTHER), D_PI[:3]) == (True, False)


def test_match_track_of_the_other_b_is_not_of_one_b(tags: Any):
    assert match_one(tags, make_events(PDG, MOTHER), [*D_PI[:3], 8]) == (False, False)


def test_match_cluster_without_truth_is_not_of_one_b(tags: Any):
    events = make_events(PDG, MOTHER)
    assert match_one(tags, events, D_PI, [-1]) == (False, False)


def test_match_b_of_the_other_species_does_not_count(tags: Any):
    events = make_events(PDG, MOTHER)
    assert match_one(tags, events, D_PI, pdg=521) == (False, False)


@pytest.mark.parametrize(("pdg", "complete"), [(12, False), (130, False), (22, True)])
def test_match_lost_daughter_counts_unless_a_soft_photon(
    tags: Any, pdg: int, complete: bool
):
    events = make_events([*PDG, pdg], [*MOTHER, 1], energy=0.09)
    assert match_one(tags, events, D_PI) == (True, complete)


def test_match_without_candidate_is_nothing(tags: Any):
    assert match_one(tags, make_events(PDG, MOTHER), []) == (False, False)


def test_match_of_simulated_events_equals_a_plain_loop(tags: Any):
    events = Generator("mixed", seed=3).generate(150)
    detected = Detector(seed=3).simulate(events)
    result = reconstruct(detected)
    one_b, complete = tags.match(events, detected, result, "b0", 511)
    expected = [judge(events, detected, result, i) for i in range(len(events))]
    assert list(zip(one_b.tolist(), complete.tolist(), strict=True)) == expected
    assert one_b.any()
    assert not one_b.all()


def judge(
    events: Events, detected: Detected, result: Reconstructed, i: int
) -> tuple[bool, bool]:
    first, last = events.offsets[i : i + 2]
    pdg = events["pdg"][first:last].tolist()
    mother = events["mother_index"][first:last].tolist()
    energy = events["energy"][first:last]

    def climb(row: int) -> int:
        while row >= 0 and abs(pdg[row]) not in (511, 521):
            row = mother[row]
        return row

    members = []
    for table, mask, sizes in (
        (detected.tracks, result["b0_tracks"][i], pt),
        (detected.clusters, result["b0_photons"][i], lambda t, k: t["energy"][k]),
    ):
        rows = list(range(*table.offsets[i : i + 2]))
        if table is detected.clusters:
            rows = [k for k in rows if table["track"][k] < 0]
        rows = sorted(rows, key=lambda k: -float(sizes(table, k)))
        members += [
            int(table["array_index"][k])
            for bit, k in enumerate(rows)
            if mask >> bit & 1
        ]
    owners = {climb(row) if row >= 0 else -1 for row in members}
    if len(owners) != 1 or -1 in owners or abs(pdg[min(owners)]) != 511:
        return False, False
    owner = owners.pop()
    for row in range(len(pdg)):
        if row in mother or climb(row) != owner:
            continue
        if abs(pdg[row]) in (11, 13, 211, 321, 2212, 22) and row in members:
            continue
        if pdg[row] != 22 or energy[row] >= 0.1:
            return True, False
    return True, True


def pt(table: Table, k: int) -> float:
    return float(np.hypot(table["px"][k].astype(float), table["py"][k].astype(float)))


def test_command_prints_shares_and_writes_numbers(tags: Any, tmp_path: Path):
    output = tmp_path / "tags.json"
    arguments = ["-n", "200", "-o", str(output)]
    result = CliRunner().invoke(tags.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "truth matched" in result.output
    rows = json.loads(output.read_text())["rows"]
    assert [row["skim"] for row in rows[::4]] == ["feiHadronicB0", "feiHadronicBplus"]
    for row in rows:
        assert 0 <= row["n_complete"] <= row["n_one_b"] <= row["n_right"] <= 200
