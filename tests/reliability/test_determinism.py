"""The same events give the same decisions, however they are cut, ordered and batched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smartfilter import add_smartfilter
from smartfilter.bulk import resolve_event_type
from smartfilter.decision import DecisionSettings, decide_by_type
from smartfilter.events import Events
from smartfilter.framework import (
    Module,
    PyStoreArray,
    PyStoreObj,
    create_path,
    process,
)
from smartfilter.io import MdstWriter, open_events, read_scores
from smartfilter.scoring import Scorer

LOGIT_ROUNDING = 1e-4
"""Bound of the difference of logits between batches; docs/reliability.md has the found."""


@pytest.fixture(scope="module")
def events(example):
    return resolve_event_type(open_events(example).read(), None)[0]


def cut_scores(scorer: Scorer, events, size):
    """Score in pieces of this many events."""
    parts = [
        scorer.score(events.take(slice(first, first + size))).logits
        for first in range(0, len(events), size)
    ]
    return np.concatenate(parts)


def decide(scorer, events, logits, mode, seed=5):
    scores = scorer._calibrate(logits, events.event_type)
    settings = DecisionSettings.for_each_type(scorer.info, mode=mode, seed=seed)
    scorable = np.isfinite(logits).all(axis=1)
    return decide_by_type(
        events, logits=logits, scores=scores, scorable=scorable, settings=settings
    )


@pytest.mark.parametrize("size", [1, 7, 64])
def test_logits_any_batch_size_within_the_bound(scorer, events, size):
    expected = scorer.score(events).logits
    found = cut_scores(scorer, events, size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=LOGIT_ROUNDING)


@pytest.mark.parametrize("mode", ["threshold", "sample", "official"])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_decision_any_batch_size_differs_only_where_rounding_reaches(
    scorer, events, size, mode
):
    """A decision may change only if it does so within the bound of the logits."""
    usual = scorer.score(events).logits
    found = decide(scorer, events, cut_scores(scorer, events, size), mode).keep
    expected = decide(scorer, events, usual, mode).keep
    low = decide(scorer, events, usual - np.float32(LOGIT_ROUNDING), mode).keep
    high = decide(scorer, events, usual + np.float32(LOGIT_ROUNDING), mode).keep
    assert (found == expected)[low == high].all()
    assert (low != high).mean() < 0.02


def shift_to_threshold(scorer, events, ulps):
    """Return logits that are this many steps of float32 away from a threshold score."""
    settings = DecisionSettings.for_each_type(scorer.info)
    threshold = np.array([k.threshold for k in settings[-1].skims])
    low = np.full(len(threshold), -40.0, dtype=np.float32)
    high = -low
    unknown = np.full(1, -1)
    for _ in range(60):
        middle = (low + high) / np.float32(2)
        above = scorer._calibrate(middle[None], unknown)[0] >= threshold
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    logits = np.full((len(events), len(threshold)), -40.0, dtype=np.float32)
    logits[:, 0] = high[0] + np.float32(ulps) * np.spacing(high[0])
    return logits


def test_decision_at_the_threshold_is_the_one_place_where_rounding_counts(
    scorer, events
):
    """On the threshold kept, two steps of float32 below not: nothing else decides."""
    unknown = replace(events, event_type=np.full(len(events), -1, dtype=np.int8))
    for ulps, kept in ((0, True), (2, True), (-2, False)):
        logits = shift_to_threshold(scorer, unknown, ulps)
        assert (decide(scorer, unknown, logits, "threshold").keep == kept).all()


@pytest.mark.parametrize("mode", ["threshold", "sample", "official"])
def test_score_order_of_files_and_batches_do_not_matter(run, events, tmp_path, mode):
    half = len(events) // 2
    for name, rows in (("a", slice(half)), ("b", slice(half, None))):
        with MdstWriter(tmp_path / f"{name}.root") as writer:
            writer.write(events.take(rows))
    tables = []
    for number, (files, size) in enumerate([("ab", 64), ("ba", 9)]):
        output = tmp_path / f"{number}.parquet"
        names = [tmp_path / f"{file}.root" for file in files]
        options = ("--mode", mode, "--seed", 4, "--batch-size", size)
        assert run("score", *names, "-o", output, *options)[0] == 0
        table = read_scores(output)
        order = np.lexsort([table["entry"], table["file"].astype(str)])
        tables.append({name: table[name][order] for name in table.columns})
    first, second = tables
    assert np.array_equal(first["file"], second["file"])
    differs = first["keep"] != second["keep"]
    logit = [name for name in first if name.startswith("logit_")]
    for name in logit:
        np.testing.assert_allclose(first[name], second[name], atol=LOGIT_ROUNDING)
    assert differs.sum() <= 1


def test_score_twice_gives_the_same_columns_to_the_last_bit(run, example, tmp_path):
    tables = []
    for number in range(2):
        output = tmp_path / f"{number}.parquet"
        assert run("score", example, "-o", output, "--mode", "sample")[0] == 0
        tables.append(read_scores(output))
    for name in tables[0].columns:
        np.testing.assert_array_equal(tables[0][name], tables[1][name], err_msg=name)


class Source(Module):
    """Puts one event after the other into the data store."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self.events, self.row = events, 0
        self.meta_data = PyStoreObj("EventMetaData")
        self.particles = PyStoreArray("MCParticles")

    def initialize(self) -> None:
        self.meta_data.registerInDataStore()
        self.particles.registerInDataStore()

    def event(self) -> None:
        self.meta_data.create()
        if self.row == len(self.events):
            self.meta_data.setEndOfData()
            return
        event = self.events.take([self.row])
        self.row += 1
        self.particles.assign(event)
        for name in ("experiment", "run", "event"):
            setattr(self.meta_data.obj(), name, int(getattr(event, name)[0]))


class Sink(Module):
    """Collects the numbers of the events that reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []

    def event(self) -> None:
        self.numbers.append(PyStoreObj("EventMetaData").getEvent())


@pytest.mark.parametrize("mode", ["threshold", "sample", "official"])
def test_module_event_by_event_decides_as_the_block(scorer, events, mode):
    some = replace(events.take(slice(60)), production=np.zeros(60, dtype=np.int64))
    path, sink = create_path(), Sink()
    path.add_module(Source(some))
    add_smartfilter(path, model=scorer, mode=mode, seed=5)
    path.add_module(sink)
    process(path)
    usual = scorer.score(some).logits
    low, expected, high = (
        decide(scorer, some, usual + np.float32(shift), mode).keep
        for shift in (-LOGIT_ROUNDING, 0.0, LOGIT_ROUNDING)
    )
    kept = np.isin(some.event, sink.numbers)
    assert 0 < kept.sum() < len(some)
    assert (kept == expected)[low == high].all()
