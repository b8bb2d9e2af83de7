"""Settings and state of the SmartFilter module."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import smartfilter.framework as basf2
from smartfilter.basf2_host import list_skim_names
from smartfilter.errors import UsageError
from smartfilter.module import SmartFilter, add_smartfilter

COUNTS = [1, 3, 5, 6, 7, 9, 12, 8, 2, 10] * 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skims": ["feiHadronicBO"]}, "did you mean 'feiHadronicB0'"),
        ({"mode": "sampel"}, "mode: expected one of"),
        ({"threshold": 1.5}, "threshold: expected a number from 0 to 1"),
        ({"event_type": "b0"}, "event type: expected one of"),
        ({"model": "/nowhere/model.pt"}, "cannot read /nowhere/model.pt"),
        ({"device": "tpu"}, "device: expected auto"),
        ({"threads": 0}, "threads: expected at least 1"),
    ],
)
def test_wrong_setting_is_an_error_before_the_first_event(
    settings: dict[str, Any],
    message: str,
    model_path: Path,
    caplog: pytest.LogCaptureFixture,
    make_events: Any,
    run: Any,
):
    with pytest.raises(UsageError, match=r"1 ERROR\(S\)"):
        run(make_events([3]), **{"model": model_path, **settings})
    assert message in caplog.text


def test_no_generator_before_the_filter_is_an_error(
    model_path: Path,
    caplog: pytest.LogCaptureFixture,
    make_events: Any,
    make_source: Any,
):
    path = basf2.create_path()
    add_smartfilter(path, model=model_path)
    path.add_module(make_source(make_events([3])))
    with pytest.raises(UsageError):
        basf2.process(path)
    assert "'MCParticles'" in caplog.text


def test_initialize_resets_all_state(
    model_path: Path, make_events: Any, make_source: Any, make_sink: Any
):
    """Modules are not cloned: a second process() starts from zero."""
    path = basf2.create_path()
    path.add_module(make_source(make_events(COUNTS)))
    module = add_smartfilter(path, model=model_path, seed=1, mode="sample")
    sink = make_sink()
    path.add_module(sink)
    basf2.process(path)
    first = (module.counts, sink.numbers)
    basf2.process(path)
    assert (module.counts, sink.numbers) == first
    assert module.counts is not first[0]


def test_filter_twice_with_the_same_skim_raises(
    model_path: Path, make_events: Any, make_source: Any
):
    """AddExtraInfo refuses a name that is set."""
    path = basf2.create_path()
    path.add_module(make_source(make_events([12])))
    for _ in range(2):
        add_smartfilter(path, ["feiHadronicB0"], model=model_path, seed=1)
    with pytest.raises(UsageError, match="same module run twice"):
        basf2.process(path)


def test_seed_comes_from_the_job(model_path: Path, make_events: Any, run: Any):
    events = make_events(COUNTS)
    before = basf2.get_random_seed()
    try:
        basf2.set_random_seed("job 7")
        from_job = run(events, model=model_path, mode="sample", seed=None)[1].numbers
        digest = hashlib.sha256(b"job 7").digest()
        same = int.from_bytes(digest[:8], "big")
        assert (
            from_job
            == run(events, model=model_path, mode="sample", seed=same)[1].numbers
        )
        basf2.set_random_seed("job 8")
        other = run(events, model=model_path, mode="sample", seed=None)[1].numbers
        assert other != from_job
    finally:
        basf2.set_random_seed(before)


def test_event_before_initialize_says_so(model_path: Path, make_events: Any):
    with pytest.raises(UsageError, match="before initialize"):
        SmartFilter(model=model_path).judge(make_events([2]))


def test_payload_needs_basf2(
    model_path: Path, caplog: pytest.LogCaptureFixture, make_events: Any, run: Any
):
    with pytest.raises(UsageError, match=r"1 ERROR\(S\)"):
        run(make_events([3]), payload="SmartFilterModel")
    assert "the conditions database needs basf2" in caplog.text


def test_skim_names_from_names_and_objects():
    single = SimpleNamespace(name="feiHadronicB0")
    assert list_skim_names("TauLFV") == ("TauLFV",)
    assert list_skim_names(single) == ("feiHadronicB0",)
    assert list_skim_names([single, "TauLFV"]) == ("feiHadronicB0", "TauLFV")
    assert list_skim_names(()) == ()
