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
from smartfilter.events import EVENT_TYPES
from smartfilter.io import LabelledWriter, ScoreWriter, open_events, read_scores
from smartfilter.points import Times
from smartfilter.working_point import find_joint_points, find_working_point
from smartfilter.working_point_file import (
    SavedWorkingPoint,
    TypeWorkingPoint,
    WorkingPointWriter,
    read_working_point,
    use_working_point,
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


@pytest.mark.parametrize("names", [("one",), ("one", "two")])
def test_command_finds_a_working_point_per_event_type(run, tmp_path, names):
    scores = draw(1500, len(names))[0].astype(np.float32)
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
    scores = draw(600, 1)[0]
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
    path = write_scores(tmp_path / "scores.parquet", draw(50, 2)[0], ("one", "two"))
    result, out, err = run("working-point", path, *arguments)
    assert result == code
    assert message in " ".join(err.split())
    assert out == ""


def test_command_names_the_skim_that_nothing_passes(run, tmp_path):
    scores = draw(50, 2)[0]
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
