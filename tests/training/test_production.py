"""Productions: the same events however they are made, and none made twice."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from smartfilter.errors import UsageError
from smartfilter.io import open_events
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.object_file import open_objects
from smartfilter.pipeline.simulation import label, label_objects
from smartfilter.training import production
from smartfilter.training.production import Part, plan_parts, produce


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

    monkeypatch.setattr("smartfilter.pipeline.labelling.label_objects", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        produce(plan_parts(tmp_path, event_type="mixed", n_events=20))
    assert list(tmp_path.iterdir()) == []


def read_tables(folder: Path) -> dict[str, tuple[int, str]]:
    """Return rows and content (NaN equals NaN) of each file."""
    tables = {f: pq.read_table(f) for f in sorted(folder.rglob("*.parquet"))}
    return {
        str(file.relative_to(folder)): (
            len(table),
            repr((table.schema.metadata, table.to_pydict())),
        )
        for file, table in tables.items()
    }


def test_produce_does_not_depend_on_workers_order_or_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def plan(name: str) -> list[Part]:
        (tmp_path / name).mkdir()
        options: dict[str, Any] = {
            "event_type": "mixed",
            "n_events": 45,
            "seed": 5,
            "objects": True,
        }
        return plan_parts(tmp_path / name, **options)

    produce(plan("one"))
    produce(plan("two"), workers=2)
    monkeypatch.setattr(production, "BLOCK", 3)
    produce(plan("reversed")[::-1])
    expected = read_tables(tmp_path / "one")
    assert [n_rows for n_rows, _ in expected.values()] == [20, 20, 5] * 2
    assert read_tables(tmp_path / "two") == expected
    assert read_tables(tmp_path / "reversed") == expected


def test_produce_objects_give_the_labels_of_the_part(tmp_path: Path):
    (part,) = plan_parts(tmp_path, event_type="taupair", n_events=20, objects=True)
    produce([part])
    made = open_events(str(tmp_path / "*.parquet")).read()
    source = open_objects(tmp_path / "objects" / "taupair-00000.parquet")
    (block,) = source.iterate()
    assert source.provenances[0]["decay_table"] == part.decay_table
    assert source.provenances[0]["detector"] == "mock"
    assert block.identity.column("event").to_pylist() == made.event.tolist()
    labels, variables = label_objects(block.detected)
    for name, values in labels.items():
        np.testing.assert_array_equal(values, made.labels[name])
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable, made.variables[name])


@pytest.mark.parametrize("lost", ["mixed-00001.parquet", "objects/mixed-00001.parquet"])
def test_produce_again_treats_both_files_of_a_part_as_one(tmp_path: Path, lost: str):
    parts = plan_parts(tmp_path, event_type="mixed", n_events=40, objects=True)
    produce(parts)
    before = read_tables(tmp_path)
    assert len(before) == 4
    assert produce(parts) == 0
    (tmp_path / lost).unlink()
    assert produce(parts) == 20
    assert read_tables(tmp_path) == before


def test_produce_with_objects_after_without_makes_both(tmp_path: Path):
    settings: dict[str, Any] = {"event_type": "mixed", "n_events": 20}
    assert produce(plan_parts(tmp_path, **settings)) == 20
    assert produce(plan_parts(tmp_path, **settings, objects=True)) == 20
    assert produce(plan_parts(tmp_path, **settings)) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 2), ("step", 2.0), ("n_events", 10), ("detector", "geant4")],
)
def test_produce_over_other_settings_is_refused(tmp_path: Path, name: str, value: Any):
    settings: dict[str, Any] = {"event_type": "mixed", "n_events": 20}
    produce(plan_parts(tmp_path, **settings))
    before = read_tables(tmp_path)
    parts = plan_parts(tmp_path, **{**settings, name: value})
    with pytest.raises(UsageError, match=f"expected {name} {value} .* got"):
        produce(parts)
    assert read_tables(tmp_path) == before


def test_produce_with_geant4_objects_give_the_labels_of_the_part(tmp_path: Path):
    if find_spec("geant4_pybind") is None:
        pytest.skip("geant4-pybind is not installed")
    settings: dict[str, Any] = {"event_type": "mixed", "n_events": 2, "seed": 3}
    (part,) = plan_parts(tmp_path, **settings, detector="geant4", objects=True)
    produce([part])
    made = open_events(part.path).read()
    assert part.objects_path is not None
    source = open_objects(part.objects_path)
    assert source.provenances[0]["detector"] == "geant4"
    (block,) = source.iterate()
    labels, variables = label_objects(block.detected)
    for name, values in labels.items():
        np.testing.assert_array_equal(made.labels[name], values)
    for name, variable in variables.items():
        np.testing.assert_array_equal(made.variables[name], variable)
    assert variables["n_tracks"].min() > 0
    assert (label(made, seed=3).variables["r2"] != variables["r2"]).all()


def test_produce_refuses_no_workers(tmp_path: Path):
    with pytest.raises(UsageError, match="workers"):
        produce(plan_parts(tmp_path, event_type="mixed", n_events=20), workers=0)
