"""Productions: the same events however they are made, and none made twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smartfilter.errors import UsageError
from smartfilter.io import open_events
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.simulation import label
from smartfilter.training import production
from smartfilter.training.production import plan_parts, produce


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(production, "EVENTS_PER_FILE", 20)
    monkeypatch.setattr(production, "BLOCK", 8)


def test_plan_parts_covers_all_events_with_different_seeds(tmp_path: Path):
    parts = plan_parts(tmp_path, event_type="mixed", n_events=50)
    assert [part.n_events for part in parts] == [20, 20, 10]
    assert len({part.generator_seed for part in parts}) == 3
    assert len({part.path for part in parts}) == 3


def test_produce_equals_generating_and_labelling_by_hand(tmp_path: Path):
    parts = plan_parts(tmp_path, event_type="charged", n_events=20, seed=4)
    assert produce(parts) == 20
    made = open_events(parts[0].path).read()
    seed = parts[0].generator_seed
    events = label(Generator("charged", seed=seed).generate(20), seed=4)
    assert np.array_equal(made["pdg"], events["pdg"])
    assert np.array_equal(made["energy"], events["energy"])
    for name, passes in events.labels.items():
        assert np.array_equal(made.labels[name], passes)


def test_produce_again_makes_only_what_is_missing(tmp_path: Path):
    parts = plan_parts(tmp_path, event_type="mixed", n_events=40, seed=2)
    produce(parts)
    before = open_events(parts[1].path).read()
    untouched = Path(parts[0].path).stat().st_mtime_ns
    Path(parts[1].path).unlink()
    steps: list[int] = []
    assert produce(parts, advance=steps.append) == 20
    assert sum(steps) == 40
    assert Path(parts[0].path).stat().st_mtime_ns == untouched
    after = open_events(parts[1].path).read()
    assert np.array_equal(before["px"], after["px"])


def test_produce_that_fails_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr("smartfilter.pipeline.simulation.label", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        produce(plan_parts(tmp_path, event_type="mixed", n_events=20))
    assert list(tmp_path.iterdir()) == []


def test_produce_refuses_no_workers(tmp_path: Path):
    with pytest.raises(UsageError, match="workers"):
        produce(plan_parts(tmp_path, event_type="mixed", n_events=20), workers=0)
