"""Events of any content: what cannot be scored is kept, counted and listed."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smartfilter.bulk import score_events
from smartfilter.decision import DecisionSettings
from smartfilter.errors import InputError
from smartfilter.events import (
    PARTICLE_COLUMNS,
    Events,
    concatenate,
    offsets_from_counts,
)
from smartfilter.graphs import Reason
from smartfilter.io import MdstWriter, open_events, read_scores
from smartfilter.scoring import Scorer

FEATURES = ("prod_time", "x", "y", "z", "energy", "px", "py", "pz")
DIFFERENCES = ("prod_time", "x", "y", "z")
FLOATS = tuple(n for n, dtype in PARTICLE_COLUMNS.items() if dtype.kind == "f")
INT32 = np.iinfo(np.int32)

Particle = dict[str, Any]

ordinary = st.floats(-50.0, 50.0, width=32)
odd = st.sampled_from([0.0, -1.0, 1e-30, 1e6, -1e6, 1e20, -1e20, 1e30, -1e30])
broken = st.sampled_from([np.nan, np.inf, -np.inf])
numbers = st.one_of(*[ordinary] * 8, odd)
codes = st.one_of(
    st.sampled_from([22, 211, -211, 111, 521, 300553, 21, 3, -5, 0]),
    st.sampled_from([12, -14, 16]),
    st.sampled_from([INT32.min, INT32.max, 10**9, -(10**9)]),
)


@st.composite
def particles(draw: st.DrawFn, row: int, size: int) -> Particle:
    """Return a particle; one in ten mothers is any, one in forty outside the event."""
    anywhere = st.integers(-1, size - 1)
    before = st.integers(-1, row - 1)
    outside = st.sampled_from([-2, size, size + 7, INT32.max - 1])
    mothers = st.one_of(*[before] * 9, anywhere)
    kind = draw(st.integers(0, 39))
    value = st.one_of(numbers, broken) if kind == 1 else numbers
    return {
        "pdg": draw(codes),
        "mother_index": draw(outside if kind == 0 else mothers),
        "status": draw(st.sampled_from([1, 1, 1, 3, 33, 65])),
        **{name: draw(value) for name in FLOATS},
    }


@st.composite
def event_lists(draw: st.DrawFn) -> list[list[Particle]]:
    sizes = draw(st.lists(st.integers(0, 7), min_size=1, max_size=8))
    return [[draw(particles(row, size)) for row in range(size)] for size in sizes]


def make_events(lists: list[list[Particle]], **per_event: Any) -> Events:
    flat = [
        {**particle, "array_index": row}
        for event in lists
        for row, particle in enumerate(event)
    ]
    columns = {
        name: np.array([p.get(name, 0) for p in flat], dtype=dtype)
        for name, dtype in PARTICLE_COLUMNS.items()
    }
    offsets = offsets_from_counts(np.array([len(event) for event in lists]))
    return Events.from_columns(offsets, columns, **per_event)


def find_reason(event: list[Particle]) -> Reason:
    """Say why an event cannot be scored, particle by particle, by the written rules."""
    size = len(event)
    mothers = [particle["mother_index"] for particle in event]
    if any(mother < -1 or mother >= size for mother in mothers):
        return Reason.MOTHER_OUT_OF_RANGE
    for row in range(size):
        steps, at = 0, row
        while at >= 0:
            at, steps = mothers[at], steps + 1
            if steps > size:
                return Reason.MOTHER_LOOP
    nodes = [p for p in event if is_node(p)]
    if not nodes:
        return Reason.NO_NODE
    first = nodes[0]
    for particle in nodes:
        for name in FEATURES:
            value = np.float32(particle[name])
            with np.errstate(invalid="ignore", over="ignore"):
                shift = np.float32(first[name] if name in DIFFERENCES else 0.0)
                if not np.isfinite(value - shift):
                    return Reason.NON_FINITE
    return Reason.SCORABLE


def is_node(particle: Particle) -> bool:
    beam = bool(particle["status"] & 32)
    far = any(particle[name] >= 10.0 for name in "xyz")
    return not (beam or far or abs(particle["pdg"]) <= 5 or particle["pdg"] == 21)


def write(path: Path, events: Events) -> Path:
    with MdstWriter(path, force=True) as writer:
        writer.write(events)
    return path


def decide(scorer: Scorer, path: Path, mode: str) -> tuple[dict[str, Any], Any]:
    """Score a file and return all columns and the summary."""
    blocks: list[dict[str, Any]] = []
    skims = DecisionSettings.for_each_type(scorer.info, mode=mode, seed=3)
    summary = score_events(
        open_events(path), scorer=scorer, settings=skims, write=blocks.append
    )
    names = [name for name in blocks[0] if name != "file"]
    return {n: np.concatenate([b[n] for b in blocks]) for n in names}, summary


GOOD = make_events([[{"pdg": 211, "mother_index": -1, "status": 1}]])


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(lists=event_lists())
def test_score_any_events_keeps_what_the_rules_call_unscorable(
    tmp_path_factory, scorer, lists
):
    path = tmp_path_factory.getbasetemp() / "any.root"
    write(path, concatenate([make_events(lists), GOOD]))
    reasons = [find_reason(event) for event in lists]
    unscorable = np.array([reason != Reason.SCORABLE for reason in reasons] + [False])
    for mode in ("threshold", "sample", "official"):
        columns, summary = decide(scorer, path, mode)
        assert summary.n_unscorable == unscorable.sum()
        assert columns["keep"][unscorable].all()
        for skim in scorer.info.skim_names:
            assert (columns[f"weight_{skim}"][unscorable] == 1.0).all()
            assert np.isfinite(columns[f"logit_{skim}"][~unscorable]).all()
            score = columns[f"score_{skim}"][~unscorable]
            assert ((score >= 0.0) & (score <= 1.0)).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(lists=event_lists())
def test_score_any_events_gives_the_reason_of_the_rules(scorer, lists):
    found = scorer.score(make_events(lists)).reason
    assert [Reason(r) for r in found] == [find_reason(event) for event in lists]


def spoil(events: Events, rows: Any, **values: float) -> Events:
    """Return the events with these values in the first particle of some of them."""
    columns = {name: column.copy() for name, column in events.particles.items()}
    for name, value in values.items():
        columns[name][events.offsets[rows]] = value
    return replace(events, particles=columns)


SPOILED: dict[int, tuple[str, dict[str, float]]] = {
    2: ("non finite", {"px": np.nan}),
    5: ("non finite", {"energy": np.inf}),
    11: ("mother loop", {"mother_index": 0}),
    19: ("mother out of range", {"mother_index": 100_000}),
}


def test_score_bad_events_are_kept_counted_and_listed(some_events, tmp_path):
    events = some_events
    for row, (_, values) in SPOILED.items():
        events = spoil(events, [row], **values)
    path, output = write(tmp_path / "some.root", events), tmp_path / "scores.parquet"
    code = "from smartfilter.cli import main; main()"
    command = [sys.executable, "-c", code, "-v", "--json", "score"]
    done = subprocess.run(
        [*command, str(path), "-o", str(output)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["n_unscorable"] == len(SPOILED)
    for row, (reason, _) in SPOILED.items():
        listed = f"unscorable event ({reason}) at {path}, entry {row}: simulated"
        assert listed in done.stderr
    assert f"{len(SPOILED)} of 30 events cannot be scored" in done.stderr
    table, rows = read_scores(output), list(SPOILED)
    assert table["keep"][rows].all()
    assert all((table[f"weight_{skim}"][rows] == 1.0).all() for skim in table.skims)


def test_score_warns_above_one_percent_alone(scorer, some_events, tmp_path, caplog):
    events = concatenate([some_events] * 10)
    skims = DecisionSettings.for_each_type(scorer.info)
    for n_bad, warned in ((3, False), (4, True)):
        caplog.clear()
        path = write(tmp_path / "many.root", spoil(events, np.arange(n_bad), px=np.nan))
        score_events(open_events(path), scorer=scorer, settings=skims)
        levels = [record.levelno for record in caplog.records]
        assert (logging.WARNING in levels) == warned


def test_score_nothing_scorable_stops_without_output(run, some_events, tmp_path):
    path = write(tmp_path / "bad.root", spoil(some_events, slice(-1), px=np.nan))
    code, _, err = run("score", path, "-o", tmp_path / "scores.parquet")
    assert code == 3
    assert "none of 30 can be scored" in err
    assert [p.name for p in tmp_path.iterdir()] == ["bad.root"]


def test_score_strict_stops_at_the_first(run, some_events, tmp_path):
    path = write(tmp_path / "bad.root", spoil(some_events, [7, 9], px=np.nan))
    code, _, err = run("score", path, "--strict", "-o", tmp_path / "scores.root")
    assert code == 3
    assert "entry 7" in err
    assert "entry 9" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["bad.root"]


def chain_event(size: int, **columns: Any) -> Events:
    """Return one event of pions, each the daughter of the one before."""
    flat = {name: np.zeros(size, dtype) for name, dtype in PARTICLE_COLUMNS.items()}
    flat["pdg"][:] = 211
    flat["status"][:] = 1
    flat["energy"][:] = 0.5
    flat["mother_index"] = np.arange(-1, size - 1, dtype=np.int32)
    flat["array_index"] = np.arange(size, dtype=np.int32)
    for name, values in columns.items():
        flat[name] = np.broadcast_to(np.asarray(values, PARTICLE_COLUMNS[name]), size)
    return Events.from_columns(np.array([0, size]), flat)


ODD = {
    "five-thousand-particles": chain_event(5000),
    "forward-references": chain_event(9, mother_index=[*range(1, 9), -1]),
    "only-neutrinos": chain_event(6, pdg=[12, -12, 14, -14, 16, -16]),
    "unknown-codes": chain_event(3, pdg=[987654321, -1234567, 99]),
    "huge-codes": chain_event(3, pdg=[INT32.max, INT32.min, INT32.max - 1]),
    "negative-energies": chain_event(4, energy=[-1.0, -7.5, -1e6, 0.0]),
    "huge-energies": chain_event(4, energy=[1e6, 1e15, 1e20, 1e30]),
    "huge-momenta": chain_event(3, px=[1e30, -1e30, 1e20], pz=[-1e30, 1e20, 0.0]),
    "far-times": chain_event(3, prod_time=[-1e30, 1e30, 0.0]),
    "tiny-numbers": chain_event(3, energy=[1e-45, 1e-30, 1e-8], px=1e-42),
    "one-particle": chain_event(1),
}


@pytest.mark.parametrize("event", ODD.values(), ids=ODD)
def test_score_odd_event_is_scored_and_finite(scorer, tmp_path, event):
    path = write(tmp_path / "odd.root", event)
    columns, summary = decide(scorer, path, "sample")
    assert summary.n_unscorable == 0
    for skim in scorer.info.skim_names:
        assert np.isfinite(columns[f"logit_{skim}"]).all()
        assert ((columns[f"score_{skim}"] >= 0) & (columns[f"score_{skim}"] <= 1)).all()


def test_score_duplicate_identities_are_separate_rows(scorer, some_events, tmp_path):
    zeros = np.zeros(len(some_events), dtype=np.int64)
    same = replace(some_events, experiment=zeros, run=zeros, event=zeros)
    columns, summary = decide(scorer, write(tmp_path / "same.root", same), "sample")
    assert summary.n_events == len(some_events)
    assert len(np.unique(columns["entry"])) == len(some_events)
    assert len(np.unique(columns["event"])) == 1


@pytest.mark.parametrize("name", ["energy", "px", "prod_time"])
def test_score_number_at_the_end_of_float32_costs_its_event_alone(
    scorer, some_events, name
):
    largest = float(np.finfo(np.float32).max)
    found = scorer.score(spoil(some_events, [3], **{name: largest}))
    expected = scorer.score(some_events).logits
    rest = np.arange(len(some_events)) != 3
    np.testing.assert_allclose(found.logits[rest], expected[rest], atol=1e-4)
    assert Reason(found.reason[3]) in (Reason.NON_FINITE, Reason.SCORABLE)
    assert found.scorable[3] == np.isfinite(found.logits[3]).all()


def test_score_strict_names_the_file_and_the_reason(scorer, some_events, tmp_path):
    path = write(tmp_path / "loop.root", spoil(some_events, [2], mother_index=0))
    skims = DecisionSettings.for_each_type(scorer.info)
    with pytest.raises(InputError, match=r"mother loop.*loop\.root, entry 2"):
        score_events(open_events(path), scorer=scorer, settings=skims, strict=True)
