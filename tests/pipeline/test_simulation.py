"""Labels from generator to skims: shapes, determinism, independence of the batch."""

from __future__ import annotations

import numpy as np
import pytest

from smartfilter.errors import UsageError
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.reconstruction import event_variables, reconstruct
from smartfilter.pipeline.simulation import label
from smartfilter.pipeline.skims import SKIMS, apply_skims


@pytest.fixture(scope="module")
def events():
    return Generator("mixed", seed=5).generate(25)


@pytest.fixture(scope="module")
def labelled(events):
    return label(events, step=1.0, seed=3)


def test_label_keeps_the_events_and_adds_all_columns(events, labelled):
    assert labelled.particles is events.particles
    assert set(labelled.labels) == {skim.name for skim in SKIMS}
    assert all(v.shape == (25,) for v in labelled.labels.values())
    assert labelled.variables["n_tracks"].mean() > 5
    assert 5 < labelled.variables["visible_energy"].mean() < 11


def test_label_equals_the_stages_one_by_one(events, labelled):
    detector = Detector(step=1.0, seed=3)
    for i in range(0, 25, 6):
        result = reconstruct(detector.simulate(events.take([i])))
        for name, values in apply_skims(result).items():
            assert values.tolist() == [labelled.labels[name][i]]
        for name, variable in event_variables(result).items():
            np.testing.assert_array_equal(variable, labelled.variables[name][i : i + 1])


def test_label_another_repeat_or_seed_is_another_simulation(events, labelled):
    again = label(events, step=1.0, seed=3)
    np.testing.assert_array_equal(again.variables["r2"], labelled.variables["r2"])
    for other in (label(events, seed=3, repeat=1), label(events, seed=4)):
        assert (other.variables["r2"] != labelled.variables["r2"]).mean() > 0.9


def test_label_no_events_is_empty(events):
    none = label(events.take(slice(0, 0)))
    assert len(none) == 0
    assert none.labels["feiHadronicB0"].shape == (0,)


def test_label_impossible_step_is_refused(events):
    with pytest.raises(UsageError, match="step"):
        label(events, step=0.0)
