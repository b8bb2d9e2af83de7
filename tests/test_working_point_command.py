"""``smartfilter working-point``, and ``score`` with what it found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartfilter.events import EVENT_TYPES
from smartfilter.io import LabelledWriter, ScoreWriter, open_events, read_scores
from smartfilter.points import Times
from smartfilter.working_point import find_joint_points, find_working_point
from smartfilter.working_point_file import (
    SavedWorkingPoint,
    TypeWorkingPoint,
    WorkingPointWriter,
    read_working_point,
)

TIMES = Times(t_g=1.0, t_s=100.0, t_n=0.5)
SKIM = "feiHadronicB0"


def draw_scores(n_events: int, n_skims: int = 1) -> Any:
    """Calibrated scores, (n_events, n_skims)."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(n_events, 1)) + rng.normal(size=(n_events, n_skims))
    return 1.0 / (1.0 + np.exp(3.0 - 1.5 * z))


@pytest.fixture
def labelled(project_root: Path, tmp_path: Path) -> Path:
    """Return the example events with labels that follow the number of particles."""
    events = open_events(project_root / "examples" / "events.root").read()
    passes = events.counts > np.quantile(events.counts, 0.8)
    passes ^= np.random.default_rng(0).random(len(events)) < 0.02
    path = tmp_path / "labelled.parquet"
    with LabelledWriter(path, [SKIM]) as writer:
        writer.write(events.with_labels({SKIM: passes}))
    return path


def write_scores(
    path: Path, scores: Any, names: tuple[str, ...], event_type: Any = 0
) -> Path:
    n = len(scores)
    columns: dict[str, Any] = {
        "file": "events.root",
        **dict.fromkeys(
            ("entry", "experiment", "run", "production", "event", "n_particles"),
            np.arange(n),
        ),
        "event_type": np.broadcast_to(np.array(event_type, np.int8), n),
        "keep": np.ones(n, bool),
    }
    for k, name in enumerate(names):
        columns |= {
            f"logit_{name}": scores[:, k],
            f"score_{name}": scores[:, k],
            f"keep_probability_{name}": np.ones(n),
            f"weight_{name}": np.ones(n),
        }
    with ScoreWriter(path, names) as writer:
        writer.write(columns)
        writer.close({"model_digest": "123"})
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_command_on_scores_gives_what_the_functions_give(run, tmp_path, suffix):
    scores = draw_scores(1000, 2).astype(np.float32)
    scores[3] = np.nan
    path = write_scores(tmp_path / f"scores{suffix}", scores, ("one", "two"))
    arguments = ("--t-g", 2, "--t-n", 1, "--t-s", 50, "--max-weight", 20, "--json")
    code, out, _ = run("working-point", path, *arguments)
    assert code == 0
    document = json.loads(out)
    assert document["source"] == "calibrated scores"
    assert document["n_events"] == 999
    times = Times(t_g=2.0, t_s=50.0, t_n=1.0)
    good = np.delete(scores, 3, axis=0)
    for k, name in enumerate(("one", "two")):
        expected = find_working_point(good[:, k], times=times, max_weight=20.0)
        found = document["skims"][name]
        assert found["best"]["speedup"] == pytest.approx(expected.best.speedup)
        assert found["sampling"]["constant"] == pytest.approx(
            expected.sampling.constant
        )
    joint = find_joint_points(good, times=times, max_weight=20.0)
    assert document["together"]["two"]["constant"] == pytest.approx(joint[1].constant)


def test_command_on_labelled_events_saves_what_score_uses(
    run, tmp_path, labelled, count_model
):
    point, scores = tmp_path / "point.json", tmp_path / "scores.parquet"
    options = ("--model", count_model, "--all-events", "-o", point)
    code, out, _ = run("working-point", labelled, *options)
    assert code == 0
    for word in ("from labels", "found on the other half", "n_eff per passing event"):
        assert word in " ".join(out.split())
    saved = read_working_point(point)
    code, _, _ = run(
        "score",
        *(labelled, "--model", count_model, "--mode", "sample", "-o", scores),
        *("--working-point", point),
    )
    assert code == 0
    table = read_scores(scores)
    expected = np.clip(
        saved.constants[SKIM] * np.sqrt(table[f"score_{SKIM}"].astype(float)), 0.01, 1
    )
    assert table[f"keep_probability_{SKIM}"] == pytest.approx(expected, rel=1e-6)
    assert table.metadata["thresholds"][SKIM] == {"mixed": saved.thresholds[SKIM]}


@pytest.mark.parametrize("names", [("one",), ("one", "two")])
def test_command_finds_a_working_point_per_event_type(run, tmp_path, names):
    scores = draw_scores(1500, len(names)).astype(np.float32)
    types = np.arange(1500) % 3 - 1  # unknown, ccbar, charged
    scores[types == 1] /= 4
    path = write_scores(tmp_path / "scores.parquet", scores, names, types)
    point = tmp_path / "point.json"
    code, out, _ = run("working-point", path, "-o", point, "--json")
    assert code == 0
    document, saved = json.loads(out), read_working_point(point)
    assert document["event_type"] is None
    assert list(document["by_event_type"]) == ["ccbar", "charged"]
    times = Times(t_g=1.0, t_s=100.0)
    for rows, found, kept in (
        (slice(None), document, saved[:2]),
        (types == 0, document["by_event_type"]["ccbar"], saved.get_type("ccbar")),
        (types == 1, document["by_event_type"]["charged"], saved.get_type("charged")),
    ):
        joint = find_joint_points(scores[rows], times=times)
        for k, name in enumerate(names):
            expected = find_working_point(scores[rows, k], times=times)
            assert found["skims"][name]["n_events"] == expected.n_events
            best = pytest.approx(expected.best.threshold)
            assert found["skims"][name]["best"]["threshold"] == best
            assert kept[0][name] == best
            both = joint[k] if len(names) > 1 else expected.sampling
            assert kept[1][name] == pytest.approx(both.constant)
    assert saved.get_type("mixed") == saved.get_type(None) == saved[:2]
    code, out, _ = run("working-point", path)
    assert code == 0
    assert "By event type" in out
    assert "(charged)" in out


def test_command_of_one_event_type_records_it(run, tmp_path):
    scores = draw_scores(600, 1)
    types = np.arange(600) % 2
    path = write_scores(tmp_path / "scores.parquet", scores, ("one",), types)
    point = tmp_path / "point.json"
    arguments = ("--event-type", "charged", "-o", point)
    code, out, _ = run("working-point", path, *arguments, "--json")
    assert code == 0
    assert json.loads(out)["by_event_type"] == {}
    saved = read_working_point(point)
    assert (saved.event_type, saved.by_event_type) == ("charged", {})
    expected = find_working_point(scores[types == 1, 0], times=Times(1.0, 100.0))
    assert saved.thresholds["one"] == pytest.approx(expected.best.threshold)


def test_command_leaves_out_a_type_that_nothing_passes(
    run, tmp_path, labelled, count_model
):
    events = open_events(labelled).read()
    half = np.arange(len(events)) % 2 == 0
    codes = np.where(half, EVENT_TYPES.index("mixed"), EVENT_TYPES.index("ccbar"))
    passes = {SKIM: events.labels[SKIM] & half}
    path = tmp_path / "two.parquet"
    with LabelledWriter(path, [SKIM]) as writer:
        typed = events.with_event_type_codes(codes.astype(np.int8))
        writer.write(typed.with_labels(passes))
    options = ("--model", count_model, "--all-events", "--json")
    code, out, err = run("working-point", path, *options)
    assert code == 0
    assert list(json.loads(out)["by_event_type"]) == ["mixed"]
    assert "ccbar: no working point of its own" in err


def test_score_uses_the_working_point_of_the_event_type(
    run, tmp_path, labelled, count_model
):
    point, scores = tmp_path / "point.json", tmp_path / "scores.parquet"
    events = open_events(labelled).read()
    codes = np.arange(len(events)) % len(EVENT_TYPES)
    with LabelledWriter(labelled, [SKIM], force=True) as writer:
        writer.write(events.with_event_type_codes(codes.astype(np.int8)))
    saved = SavedWorkingPoint(
        {SKIM: 0.3},
        {SKIM: 1.0},
        100.0,
        by_event_type={"uubar": TypeWorkingPoint({SKIM: 0.6}, {SKIM: 0.5})},
    )
    with WorkingPointWriter(point) as writer:
        writer.write(saved, {})
    own = codes == EVENT_TYPES.index("uubar")
    options = ("--model", count_model, "--working-point", point, "--force")
    for mode in ("threshold", "sample"):
        arguments = (labelled, *options, "--mode", mode, "-o", scores)
        assert run("score", *arguments)[0] == 0
        table = read_scores(scores)
        s = table[f"score_{SKIM}"].astype(float)
        p = np.clip(np.where(own, 0.5, 1.0) * np.sqrt(s), 0.01, 1)
        if mode == "threshold":
            p = (s >= np.where(own, 0.6, 0.3)).astype(float)
        assert table[f"keep_probability_{SKIM}"] == pytest.approx(p, rel=1e-6)
    thresholds = table.metadata["thresholds"][SKIM]
    assert thresholds == {n: 0.6 if n == "uubar" else 0.3 for n in EVENT_TYPES}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--skim", "three"), 2, "expected one of one, two"),
        (("--retention-rate", "0.1"), 2, "add --skim"),
        (("--model", "gcn.pt"), 2, "labelled files"),
        (("--event-type", "charged"), 3, "expected scored ones of type charged"),
        (("-o", "nowhere/point.json"), 2, "existing folder"),
        (("-o", "point.txt"), 2, "ends in .json"),
        (("--t-s", "-1"), 2, "range"),
        (("--t-g", "0", "--t-s", "0", "-o", "point.json"), 2, "above 0"),
    ],
)
def test_command_names_what_is_wrong(
    run, tmp_path, monkeypatch, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    path = write_scores(tmp_path / "scores.parquet", draw_scores(50, 2), ("one", "two"))
    result, out, err = run("working-point", path, *arguments)
    assert result == code
    assert message in " ".join(err.split())
    assert out == ""


def test_command_names_the_skim_that_nothing_passes(run, tmp_path):
    scores = draw_scores(50, 2)
    scores[:, 1] = 0.0
    path = write_scores(tmp_path / "scores.parquet", scores, ("one", "two"))
    code, _, err = run("working-point", path)
    assert code == 2
    assert "Error: two, " in err
    assert "name the other skims with --skim" in err


def test_command_says_how_many_events_the_training_took(run, tmp_path, labelled):
    """The shipped models tell their own test events by a hash: a few per cent."""
    options = (labelled, "--model", "gcn", "--skim", SKIM, "--t-s", "10", "--json")
    code, out, err = run("working-point", *options)
    assert code == 0
    document = json.loads(out)
    assert 0 < document["n_left_out"] == 400 - document["n_events"]
    assert f"{document['n_left_out']} events that the model was trained on" in err


def test_command_on_unlabelled_events_says_what_it_needs(run, project_root):
    events = project_root / "examples" / "events.root"
    code, _, err = run("working-point", events)
    assert code == 3
    assert "score file" in err or "expected a scores file" in err
