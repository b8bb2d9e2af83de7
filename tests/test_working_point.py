"""Working points against plain counting, duplicates, and the command that finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartfilter import sampling, speedup
from smartfilter.cli import main
from smartfilter.decision import DecisionSettings, SkimSettings
from smartfilter.errors import InputError, UsageError
from smartfilter.io import LabelledWriter, ScoreWriter, open_events, read_scores
from smartfilter.working_point import Times, find_joint_points, find_working_point
from smartfilter.working_point_file import (
    SavedWorkingPoint,
    WorkingPointWriter,
    read_working_point,
)

TIMES = Times(t_g=1.0, t_s=100.0, t_n=0.5)
SKIM = "feiHadronicB0"


def draw(n_events: int = 4000, n_skims: int = 1, seed: int = 1) -> Any:
    """Calibrated scores and labels, (n_events, n_skims) each."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n_events, 1)) + rng.normal(size=(n_events, n_skims))
    scores = 1.0 / (1.0 + np.exp(3.0 - 1.5 * z))
    return scores, rng.random(scores.shape) < scores


def test_working_point_with_labels_is_plain_counting():
    scores, passes = draw()
    s, y = scores[:, 0], passes[:, 0]
    point = find_working_point(s, y, times=TIMES)
    assert (point.source, point.n_events) == ("labels", 4000)
    assert point.retention_rate == pytest.approx(y.mean())
    keep = s >= point.best.threshold
    assert point.best.tpr == pytest.approx(keep[y].mean())
    assert point.best.fpr == pytest.approx(keep[~y].mean())
    assert point.best.keep_fraction == pytest.approx(keep.mean())
    binomial = np.sqrt(point.best.tpr * (1 - point.best.tpr) / y.sum())
    assert point.best.tpr_error == pytest.approx(binomial)
    cost = (4000 * 1.5 + keep.sum() * 100) / (keep & y).sum()
    assert point.best.speedup == pytest.approx(4000 * 101 / y.sum() / cost)
    assert all(row.speedup <= point.best.speedup for row in point.curve)
    assert point.best in point.curve
    c = point.sampling.constant
    p = np.clip(c * np.sqrt(s), 0.01, 1)
    assert point.sampling.mean_keep_probability == pytest.approx(p.mean())
    assert point.sampling.n_eff_per_event == pytest.approx(
        y.mean() ** 2 / np.mean(y / p)
    )
    assert point.sampling.share_at_max_weight == np.mean(p == 0.01)


def test_working_point_of_calibrated_scores_agrees_with_labels():
    scores, passes = draw(50_000)
    s, y = scores[:, 0], passes[:, 0]
    expected = find_working_point(s, times=TIMES)
    found = find_working_point(s, y, times=TIMES)
    assert expected.source == "calibrated scores"
    assert expected.held_out_speedup is None
    assert expected.retention_rate == pytest.approx(s.mean())
    assert found.held_out_speedup is not None
    for a, b, error in (
        (expected.best.speedup, found.best.speedup, found.best.speedup_error),
        (
            expected.sampling.speedup,
            found.sampling.speedup,
            found.sampling.speedup_error,
        ),
        (expected.best.speedup, found.held_out_speedup, found.best.speedup_error),
    ):
        assert a == pytest.approx(b, abs=5 * error)
    assert expected.sampling.constant == pytest.approx(found.sampling.constant, rel=0.1)


def test_working_point_errors_are_the_spread_of_samples():
    points = []
    for seed in range(120):
        scores, passes = draw(1000, seed=seed)
        points.append(find_working_point(scores[:, 0], passes[:, 0], times=TIMES))
    speedups = [p.sampling.speedup for p in points]
    errors = [p.sampling.speedup_error for p in points]
    assert np.mean(errors) == pytest.approx(np.std(speedups), rel=0.3)
    assert max(p.sampling.n_eff_per_passing_event for p in points) <= 1.0


def test_working_point_at_another_retention_rate_equals_repeated_events():
    scores, passes = draw()
    s, y = scores[:, 0], passes[:, 0]
    rows = np.concatenate([np.arange(4000), *[np.flatnonzero(y)] * 2])
    repeated = find_working_point(s[rows], y[rows], times=TIMES)
    weighted = find_working_point(
        s, y, times=TIMES, retention_rate=repeated.retention_rate
    )
    assert weighted.retention_rate == pytest.approx(y[rows].mean())
    for name in ("threshold", "tpr", "fpr", "keep_fraction", "speedup"):
        assert getattr(weighted.best, name) == pytest.approx(
            getattr(repeated.best, name)
        )
    for name in ("constant", "mean_keep_probability", "n_eff_per_event", "speedup"):
        assert getattr(weighted.sampling, name) == pytest.approx(
            getattr(repeated.sampling, name), rel=1e-4
        )


def test_working_point_without_maximum_weight_costs_no_more():
    scores, _ = draw()
    point = find_working_point(scores[:, 0], times=TIMES, max_weight=3.0)
    assert point.sampling.max_weight == 3.0
    assert point.sampling.share_at_max_weight > 0
    assert point.sampling_unlimited.share_at_max_weight == 0
    assert point.sampling_unlimited.speedup > point.sampling.speedup


def test_working_point_that_nothing_can_improve_keeps_everything():
    """Where simulation is cheaper than generation, filtering cannot pay."""
    scores, passes = draw()
    times = Times(t_g=100.0, t_s=1.0)
    point = find_working_point(scores[:, 0], passes[:, 0], times=times)
    assert point.best.tpr == pytest.approx(1.0, abs=0.01)
    assert point.sampling.mean_keep_probability > 0.95
    assert point.sampling.speedup == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_working_point_refuses_events_of_one_kind(share: float):
    scores, _ = draw(10)
    with pytest.raises(UsageError, match="passing and failing"):
        find_working_point(scores[:, 0], np.full(10, bool(share)), times=TIMES)
    with pytest.raises(UsageError, match="retention rate"):
        find_working_point(scores[:, 0], times=TIMES, retention_rate=share)


def test_working_point_of_two_events_has_no_held_out_speedup():
    point = find_working_point(
        np.array([0.2, 0.7]), np.array([False, True]), times=TIMES
    )
    assert point.held_out_speedup is None
    assert point.best.threshold == 0.7


def test_joint_points_share_one_probability_and_count_each_skim():
    scores, passes = draw(4000, 3)
    points = find_joint_points(scores, passes, times=TIMES)
    c = sampling.find_joint_constants(scores, passes, **TIMES._asdict())
    assert [point.constant for point in points] == pytest.approx(c)
    p = np.clip(np.sqrt((c**2 * scores).mean(axis=1)), 0.01, 1)
    for k, point in enumerate(points):
        expected = speedup.sampling_speedup(
            retention_rate=passes[:, k].mean(),
            mean_pass_over_p=np.mean(passes[:, k] / p),
            mean_keep_probability=p.mean(),
            **TIMES._asdict(),
        )
        assert point.speedup == pytest.approx(expected)
        assert point.mean_keep_probability == pytest.approx(p.mean())


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


def test_saved_working_point_refuses_other_skims_and_models():
    make_saved().require_match(["b", "a"], "123")
    make_saved()._replace(model_digest=None).require_match(["b", "a"], "456")
    with pytest.raises(UsageError, match="skims: expected"):
        make_saved().require_match(["a"], "123")
    with pytest.raises(UsageError, match="model: expected"):
        make_saved().require_match(["a", "b"], "456")


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


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command and returns exit code, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return stop.value.code, *capfd.readouterr()

    return call


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


def write_scores(path: Path, scores: Any, names: tuple[str, ...]) -> Path:
    n = len(scores)
    columns: dict[str, Any] = {
        "file": "events.root",
        **dict.fromkeys(
            ("entry", "experiment", "run", "production", "event", "n_particles"),
            np.arange(n),
        ),
        "event_type": np.zeros(n, np.int8),
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
    scores = draw(1000, 2)[0].astype(np.float32)
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
    ],
)
def test_command_names_what_is_wrong(
    run, tmp_path, monkeypatch, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    path = write_scores(tmp_path / "scores.parquet", draw(50, 2)[0], ("one", "two"))
    result, out, err = run("working-point", path, *arguments)
    assert result == code
    assert message in " ".join(err.split())
    assert out == ""


def test_command_on_unlabelled_events_says_what_it_needs(run, project_root):
    events = project_root / "examples" / "events.root"
    code, _, err = run("working-point", events)
    assert code == 3
    assert "score file" in err or "expected a scores file" in err
