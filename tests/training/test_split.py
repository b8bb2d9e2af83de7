"""The split: a pure function of the event."""

from __future__ import annotations

import numpy as np
import pytest

from smartfilter.decision import uniform
from smartfilter.errors import InputError, ModelFileError, UsageError
from smartfilter.events import concatenate
from smartfilter.training.split import SPLITS, Split


def test_split_shares_are_as_asked(toy_events):
    part = Split().assign(toy_events(20_000))
    share = np.bincount(part, minlength=3) / 20_000
    np.testing.assert_allclose(share, [0.7, 0.15, 0.15], atol=0.012)


def test_split_does_not_depend_on_order_or_company(toy_events):
    events = toy_events(300)
    part = Split().assign(events)
    order = np.random.default_rng(1).permutation(300)
    np.testing.assert_array_equal(Split().assign(events.take(order)), part[order])
    joined = concatenate([toy_events(50, seed=2), events])
    np.testing.assert_array_equal(Split().assign(joined)[50:], part)


def test_split_is_independent_of_sampling_and_label(toy_events):
    events = toy_events(20_000)
    part, u = Split().assign(events), uniform(events, seed=0)
    for k in range(3):
        chosen = part == k
        n = chosen.sum()
        assert abs(u[chosen].mean() - 0.5) < 4.0 / np.sqrt(12 * n)
        passing = events.labels["toy"]
        error = np.sqrt(passing.mean() * (1 - passing.mean()) / n)
        assert abs(passing[chosen].mean() - passing.mean()) < 4.0 * error


def test_split_other_seed_is_another_split(toy_events):
    events = toy_events(2_000)
    same = Split().assign(events) == Split(seed=1).assign(events)
    assert 0.4 < same.mean() < 0.7


def test_require_test_refuses_training_events(toy_events):
    events, split = toy_events(100), Split()
    part = split.assign(events)
    split.require_test(events.take(part == SPLITS.index("test")))
    first = int(np.flatnonzero(part != SPLITS.index("test"))[0])
    with pytest.raises(InputError, match=f"the first at entry {first};"):
        split.require_test(events)


def test_drop_used_keeps_test_events_and_counts_the_others(toy_events):
    events, split = toy_events(200), Split()
    kept, n_dropped = split.drop_used(events)
    assert len(kept) + n_dropped == 200
    assert 0 < len(kept) < 100
    split.require_test(kept)


def test_split_without_test_share_has_no_test_event(toy_events):
    part = Split((0.5, 0.5, 0.0)).assign(toy_events(500))
    assert set(part) == {0, 1}


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.5, -0.5, 0.0), (1.0,)])
def test_split_wrong_fractions_refused(fractions):
    with pytest.raises(UsageError, match="split fractions"):
        Split(fractions)


def test_split_is_read_back_from_the_training_record():
    split = Split((0.6, 0.2, 0.2), seed=5)
    assert Split.from_training({"split": split.to_dict()}, "m.pt") == split
    for record in (
        {},
        {"split": {"seed": 1}},
        {"split": {"fractions": [1], "seed": 0}},
    ):
        with pytest.raises(ModelFileError, match=r"m\.pt"):
            Split.from_training(record, "m.pt")
