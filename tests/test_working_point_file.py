"""Working points in files: read back, used, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smartfilter.decision import DecisionSettings, SkimSettings
from smartfilter.errors import InputError, UsageError
from smartfilter.events import EVENT_TYPES
from smartfilter.working_point_file import (
    SavedWorkingPoint,
    TypeWorkingPoint,
    WorkingPointWriter,
    read_working_point,
    use_working_point,
)


def make_saved() -> SavedWorkingPoint:
    return SavedWorkingPoint({"a": 0.2, "b": 0.3}, {"a": 1.5, "b": 2.5}, 50.0, "123")


def test_saved_working_point_is_read_back_and_used(tmp_path: Path):
    with WorkingPointWriter(tmp_path / "point.json") as writer:
        writer.write(make_saved(), {"t_g": 1.0})
    point = read_working_point(tmp_path / "point.json")
    assert point == make_saved()
    skims = tuple(SkimSettings(name, k, 0.9, 9.0) for k, name in enumerate("ba"))
    settings = DecisionSettings("sample", skims, seed=3).with_working_point(point)
    assert [(k.name, k.threshold, k.constant) for k in settings.skims] == [
        ("b", 0.3, 2.5),
        ("a", 0.2, 1.5),
    ]
    assert (settings.max_weight, settings.seed) == (50.0, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["point.json"]


def test_saved_working_point_refuses_the_official_draws():
    skims = tuple(SkimSettings(name, k, 0.9, 9.0) for k, name in enumerate("ba"))
    with pytest.raises(UsageError, match="a and b are those of the model"):
        DecisionSettings("official", skims).with_working_point(make_saved())
    DecisionSettings("debug", skims).with_working_point(make_saved())


def test_saved_working_point_refuses_other_skims_and_models():
    make_saved().require_match(["b", "a"], "123")
    make_saved()._replace(model_digest=None).require_match(["b", "a"], "456")
    with pytest.raises(UsageError, match="skims: expected"):
        make_saved().require_match(["a"], "123")
    with pytest.raises(UsageError, match="model: expected"):
        make_saved().require_match(["a", "b"], "456")


def make_typed() -> SavedWorkingPoint:
    mixed = TypeWorkingPoint({"a": 0.4, "b": 0.5}, {"a": 3.5, "b": 4.5})
    return make_saved()._replace(by_event_type={"mixed": mixed})


def test_saved_working_point_gives_each_event_type_its_own(tmp_path: Path):
    with WorkingPointWriter(tmp_path / "point.json") as writer:
        writer.write(make_typed(), {})
    point = read_working_point(tmp_path / "point.json")
    assert point == make_typed()
    skims = tuple(SkimSettings(name, k, 0.9, 9.0) for k, name in enumerate("ab"))
    settings = (DecisionSettings("sample", skims),) * (len(EVENT_TYPES) + 1)
    used = use_working_point(settings, point)
    for name, one in zip((*EVENT_TYPES, None), used, strict=True):
        found = [(k.threshold, k.constant) for k in one.skims]
        own = [(0.4, 3.5), (0.5, 4.5)]
        assert found == (own if name == "mixed" else [(0.2, 1.5), (0.3, 2.5)])
        assert one.max_weight == 50.0


def test_saved_working_point_without_event_types_is_still_read(tmp_path: Path):
    """The layout of files written before event types were in them."""
    document = {
        "kind": "working-point",
        "schema_version": 1,
        "thresholds": {"a": 0.2, "b": 0.3},
        "constants": {"a": 1.5, "b": 2.5},
        "max_weight": 50.0,
        "model_digest": "123",
        "details": {},
    }
    path = tmp_path / "old.json"
    path.write_text(json.dumps(document))
    assert read_working_point(path) == make_saved()
    assert read_working_point(path).get_type("mixed") == make_saved()[:2]


@pytest.mark.parametrize(
    "types", [{"mixed": {"thresholds": {"a": 1}, "constants": {"a": 1}}}, {"mixed": 3}]
)
def test_read_working_point_refuses_types_with_other_skims(tmp_path: Path, types: Any):
    path = tmp_path / "point.json"
    with WorkingPointWriter(path) as writer:
        writer.write(make_typed(), {})
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "by_event_type": types})
    )
    with pytest.raises(InputError, match="working-point -o"):
        read_working_point(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"kind": "scores", "schema_version": 1}', '{"kind": "wo'],
)
def test_read_working_point_refuses_other_files(tmp_path: Path, text: str):
    path = tmp_path / "point.json"
    path.write_text(text)
    with pytest.raises(InputError, match="working-point -o"):
        read_working_point(path)
    with pytest.raises(InputError, match="working-point -o"):
        read_working_point(tmp_path / "absent.json")
