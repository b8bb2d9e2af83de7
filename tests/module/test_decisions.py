"""What the SmartFilter module keeps in each mode, and what it stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smartfilter.framework as basf2
from smartfilter.decision import uniform
from smartfilter.errors import UsageError
from smartfilter.scoring import Scorer
from smartfilter.working_point_file import (
    SavedWorkingPoint,
    TypeWorkingPoint,
    WorkingPointWriter,
)

SKIM_NAMES = ("feiHadronicB0", "TauLFV")
SEED = 11


COUNTS = [1, 3, 5, 6, 7, 9, 12, 8, 2, 10] * 8


def test_threshold_keeps_what_reaches_it(
    model_path: Path, make_events: Any, run: Any, logistic: Any
):
    events = make_events(COUNTS)
    module, sink = run(events, model=model_path, skims=["feiHadronicB0"])
    expected = [
        int(events.event[i])
        for i, n in enumerate(COUNTS)
        if logistic((n - 6) / 2) >= 0.4
    ]
    assert sink.numbers == expected
    assert all(info == {"weight_feiHadronicB0": 1.0} for info in sink.infos)
    assert module.counts.n_generated == len(COUNTS)
    assert module.counts.n_kept == len(expected)
    assert module.counts.sum_weight == {"feiHadronicB0": float(len(expected))}


def test_threshold_argument_wins(model_path: Path, make_events: Any, run: Any):
    everything = run(make_events(COUNTS), model=model_path, threshold=0.0)[1]
    nothing = run(make_events(COUNTS), model=model_path, threshold=1.0)[1]
    assert len(everything.numbers) == len(COUNTS)
    assert nothing.numbers == []


def save_working_point(path: Path, digest: str) -> Path:
    """One where the model's own threshold of 0.4 becomes 0.6."""
    point = SavedWorkingPoint({SKIM_NAMES[0]: 0.6}, {SKIM_NAMES[0]: 0.5}, 100.0, digest)
    with WorkingPointWriter(path) as writer:
        writer.write(point, {})
    return path


def test_working_point_replaces_the_thresholds_of_the_model(
    model_path: Path, tmp_path: Path, make_events: Any, run: Any
):
    settings: dict[str, Any] = {"model": model_path, "skims": SKIM_NAMES[:1]}
    point = save_working_point(tmp_path / "p.json", Scorer(model_path).digest)
    kept = run(make_events(COUNTS), **settings, working_point=point)[1].numbers
    same = run(make_events(COUNTS), **settings, threshold=0.6)[1].numbers
    own = run(make_events(COUNTS), **settings)[1].numbers
    assert 0 < len(kept) < len(own)
    assert kept == same


def test_working_point_of_the_event_type_is_used(
    model_path: Path, tmp_path: Path, make_events: Any, run: Any
):
    name = SKIM_NAMES[0]
    own = {"uubar": TypeWorkingPoint({name: 0.8}, {name: 0.5})}
    point = SavedWorkingPoint({name: 0.6}, {name: 0.5}, 100.0, by_event_type=own)
    with WorkingPointWriter(tmp_path / "p.json") as writer:
        writer.write(point, {})
    known: dict[str, Any] = {"model": model_path, "skims": SKIM_NAMES[:1]}
    for event_type, threshold in (("uubar", 0.8), ("ccbar", 0.6)):
        known["event_type"] = event_type
        kept = run(make_events(COUNTS), **known, working_point=tmp_path / "p.json")
        same = run(make_events(COUNTS), **known, threshold=threshold)
        assert 0 < len(kept[1].numbers) < len(COUNTS)
        assert kept[1].numbers == same[1].numbers


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0.5}, "expected it or a working point"),
        ({"scores": "flags.parquet"}, "expected them or a working point"),
        ({"skims": SKIM_NAMES}, "skims: expected those of the working point"),
    ],
)
def test_working_point_that_does_not_fit_is_an_error(
    settings: dict[str, Any],
    message: str,
    model_path: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    make_events: Any,
    run: Any,
):
    point = save_working_point(tmp_path / "p.json", Scorer(model_path).digest)
    known = {"model": model_path, "skims": SKIM_NAMES[:1], "working_point": point}
    with pytest.raises(UsageError, match=r"1 ERROR\(S\)"):
        run(make_events([3]), **{**known, **settings})
    assert message in caplog.text


def test_sampling_equals_a_plain_loop(
    model_path: Path, make_events: Any, run: Any, logistic: Any
):
    """One u per event, one p for all skims, weight 1 / p."""
    events = make_events(COUNTS)
    module, sink = run(events, model=model_path, mode="sample")
    u = uniform(events, SEED)
    expected = {}
    for i, n in enumerate(COUNTS):
        scores = [logistic((n - 6) / 2), logistic((6 - n) / 2)]
        p = min(1.0, max(1.2 * (sum(scores) / 2) ** 0.5, 0.01))
        if u[i] < p:
            expected[int(events.event[i])] = 1 / p
    assert sink.numbers == list(expected)
    for info, weight in zip(sink.infos, expected.values(), strict=True):
        assert set(info) == {f"weight_{name}" for name in SKIM_NAMES}
        assert info["weight_TauLFV"] == pytest.approx(weight, rel=1e-5)
        assert info["weight_feiHadronicB0"] == info["weight_TauLFV"]
    assert 0 < len(expected) < len(COUNTS)
    assert module.counts.sum_weight["TauLFV"] == pytest.approx(sum(expected.values()))


def test_official_mode_gives_each_skim_its_weight(
    model_path: Path, make_events: Any, run: Any
):
    _, sink = run(make_events(COUNTS), model=model_path, mode="official")
    weights = np.array(
        [[info[f"weight_{n}"] for n in SKIM_NAMES] for info in sink.infos]
    )
    assert (weights.max(axis=1) >= 1).all()
    assert (weights == 0).any()


def test_debug_keeps_all_and_stores_what_it_thinks(
    model_path: Path, make_events: Any, run: Any, logistic: Any
):
    """In debug mode always 1; the skip flag is that of the mode it would run in."""
    events = make_events(COUNTS)
    _, kept = run(events, model=model_path, mode="sample")
    module, sink = run(events, model=model_path, mode="sample", debug=True)
    assert sink.numbers == events.event.tolist()
    skipped = [info["SmartFilter_Skip"] for info in sink.infos]
    assert [n for n, s in zip(sink.numbers, skipped, strict=True) if not s] == (
        kept.numbers
    )
    assert module.counts.n_kept == len(kept.numbers)
    for info, n in zip(sink.infos, COUNTS, strict=True):
        score = info["SmartFilter_Prediction_feiHadronicB0"]
        assert score == pytest.approx(logistic((n - 6) / 2), rel=1e-5)
        assert not any(name.startswith("weight_") for name in info)


def test_debug_mode_by_name_is_threshold(model_path: Path, make_events: Any, run: Any):
    _, sink = run(
        make_events([2, 12]), model=model_path, mode="debug", skims=["TauLFV"]
    )
    assert [info["SmartFilter_Skip"] for info in sink.infos] == [0.0, 1.0]


def test_skipped_events_enter_the_given_path(
    model_path: Path, make_events: Any, run: Any, make_sink: Any
):
    skipped = make_sink()
    empty = basf2.create_path()
    empty.add_module(skipped)
    _, sink = run(
        make_events([2, 12]), model=model_path, skims="TauLFV", empty_path=empty
    )
    assert (sink.numbers, skipped.numbers) == ([100], [101])
    assert skipped.infos == [{"weight_TauLFV": 0.0}]
