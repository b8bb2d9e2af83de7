"""Scoring chunk by chunk against scoring at once; what happens to bad events."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from smartfilter.bulk import resolve_event_type, score_events
from smartfilter.decision import DecisionSettings, decide, decide_by_type
from smartfilter.errors import InputError
from smartfilter.events import EVENT_TYPES, Events
from smartfilter.io import open_events
from smartfilter.scoring import Scorer


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(device="cpu")


@pytest.fixture(scope="module")
def file(project_root: Path) -> Path:
    return project_root / "examples" / "events.root"


def spoil(events: Events, broken: list[int]) -> Events:
    """Give these events a momentum that is not a number."""
    px = events["px"].copy()
    px[events.offsets[broken]] = np.nan
    particles = {**events.particles, "px": px}
    return Events.from_columns(
        events.offsets, particles, event=events.event, run=events.run, file="bad.root"
    )


@pytest.mark.parametrize("mode", ["threshold", "sample", "official", "debug"])
def test_score_events_in_chunks_equals_all_at_once(scorer, file, mode):
    settings = DecisionSettings.for_each_type(
        scorer.info, skims=["feiHadronicB0"], mode=mode, seed=3
    )
    tables: list[dict[str, np.ndarray]] = []
    summary = score_events(
        open_events(file, chunk_size=37),
        scorer=scorer,
        settings=settings,
        write=tables.append,
    )
    events = open_events(file).read()
    scores = scorer.score(events)
    decision = decide(
        events,
        logits=scores.logits,
        scores=scores.scores,
        scorable=scores.scorable,
        settings=settings[EVENT_TYPES.index("mixed")],
    )
    keep = np.concatenate([table["keep"] for table in tables])
    weight = np.concatenate([table["weight_feiHadronicB0"] for table in tables])
    assert np.array_equal(keep, decision.keep)
    # Batches change a logit by rounding, about 1e-6.
    assert weight == pytest.approx(decision.weight[:, 0], rel=1e-4)
    assert summary.n_events == len(events)
    assert summary.n_kept == decision.keep.sum()
    assert summary.sum_weight[0] == pytest.approx(decision.weight.sum())
    assert summary.sum_weight2[0] == pytest.approx((decision.weight**2).sum())
    assert summary.event_types == {"mixed": len(events)}


def test_score_events_keeps_and_counts_what_cannot_be_scored(scorer, file, caplog):
    events = spoil(open_events(file).read(), [1, 5])
    settings = DecisionSettings.for_each_type(scorer.info, threshold=1.0)
    tables: list[dict[str, np.ndarray]] = []
    with caplog.at_level(logging.INFO):
        summary = score_events(
            [events], scorer=scorer, settings=settings, write=tables.append
        )
    assert summary.n_unscorable == 2
    assert np.flatnonzero(tables[0]["keep"]).tolist() == [1, 5]
    assert tables[0]["weight_feiHadronicB0"][[1, 5]].tolist() == [1.0, 1.0]
    assert "non finite" in caplog.text
    assert "bad.root, entry 5" in caplog.text


def test_score_events_warns_above_one_percent(scorer, file, caplog):
    events = spoil(open_events(file).read(), list(range(10)))
    settings = DecisionSettings.for_each_type(scorer.info)
    score_events([events], scorer=scorer, settings=settings)
    assert "cannot be scored" in caplog.text


def test_score_events_warns_where_the_file_contradicts_the_type(scorer, file, caplog):
    """The module warns in a path; files were scored as another type in silence."""
    events = open_events(file).read()
    codes = events.event_type.copy()
    codes[:3] = -1
    options = {
        "scorer": scorer,
        "settings": DecisionSettings.for_each_type(scorer.info),
    }
    for given, n_contradicted in (
        ("charged", len(events) - 3),
        ("mixed", 0),
        (None, 0),
    ):
        caplog.clear()
        summary = score_events(
            [events.with_event_type_codes(codes)], event_type=given, **options
        )
        assert summary.to_metadata()["n_event_type_contradicted"] == n_contradicted
        assert ("another type in their file" in caplog.text) == (n_contradicted > 0)


def test_score_events_stops_where_nothing_can_be_scored(scorer, file):
    events = open_events(file).read().take(slice(0, 5))
    settings = DecisionSettings.for_each_type(scorer.info)
    with pytest.raises(InputError, match="none of 5"):
        score_events([spoil(events, [0, 1, 2, 3, 4])], scorer=scorer, settings=settings)


def test_score_events_strict_stops_at_the_first(scorer, file):
    events = spoil(open_events(file).read(), [7])
    settings = DecisionSettings.for_each_type(scorer.info)
    with pytest.raises(InputError, match=r"non finite.*bad\.root, entry 7"):
        score_events([events], scorer=scorer, settings=settings, strict=True)


def test_resolve_event_type_prefers_the_argument_then_the_file(file):
    events = open_events(file).read()
    unknown = events.with_event_type_codes(np.full(len(events), -1, dtype=np.int8))
    assert resolve_event_type(events, None)[1] == 0
    resolved, inferred = resolve_event_type(unknown, None)
    assert inferred == len(events)
    assert np.array_equal(resolved.event_type, events.event_type)
    given, inferred = resolve_event_type(events, "ccbar")
    assert inferred == 0
    assert np.all(given.event_type == 0)


def test_score_events_decides_by_the_type_of_each_event(scorer, file):
    """Thresholds differ by event type; the file alternates between three."""
    events = open_events(file).read()
    codes = np.arange(len(events)) % 3 - 1
    events = events.with_event_type_codes(codes.astype(np.int8))
    settings = DecisionSettings.for_each_type(scorer.info, skims=["feiHadronicB0"])
    scores = scorer.score(events)
    found = decide_by_type(
        events,
        logits=scores.logits,
        scores=scores.scores,
        scorable=scores.scorable,
        settings=settings,
    )
    calibration = scorer.info.skims[settings[0].skims[0].column].calibration
    column = settings[0].skims[0].column
    limits = {-1: "default", 0: EVENT_TYPES[0], 1: EVENT_TYPES[1]}
    expected = [
        score[column] >= calibration[limits[code]].threshold
        for score, code in zip(scores.scores.tolist(), codes.tolist(), strict=True)
    ]
    assert found.keep.tolist() == expected
    assert len({settings[code].skims[0].threshold for code in limits}) == 3


def test_decide_by_type_of_no_events_is_empty(scorer, file):
    events = open_events(file).read().take(slice(0, 0))
    scores = scorer.score(events)
    decision = decide_by_type(
        events,
        logits=scores.logits,
        scores=scores.scores,
        scorable=scores.scorable,
        settings=DecisionSettings.for_each_type(scorer.info),
    )
    assert decision.keep.shape == (0,)
    assert decision.weight.shape == (0, len(scorer.info.skims))
