"""Messages, the seed and the statistics are those of basf2.

The rules are those of basf2's public sources: Module.cc, ProcessStatistics.cc.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

import smartfilter.framework as basf2
from smartfilter.errors import SmartFilterError, UsageError

LOGGER = "smartfilter.framework"


def test_log_levels_of_module_and_framework(
    caplog: pytest.LogCaptureFixture, make_source: Any, make_call: Any
):
    caplog.set_level(logging.DEBUG, logger=LOGGER)

    def talk() -> None:
        basf2.B2DEBUG(5, "debug")
        basf2.B2INFO("hello", number=3)
        basf2.B2RESULT("result")
        basf2.B2WARNING("careful")

    loud, quiet = make_call("event", talk), make_call("event", talk)
    loud.set_name("loud")
    loud.set_log_level(basf2.LogLevel.DEBUG)
    loud.set_debug_level(5)
    path = basf2.create_path()
    path.add_module(make_source(1))
    path.add_module(loud)
    path.add_module(quiet, logLevel=basf2.LogLevel.WARNING)
    basf2.process(path)
    said = [r.getMessage() for r in caplog.records if "loud" in r.getMessage()]
    assert len(said) == 4
    assert "hello\n\tnumber = 3" in said[1]
    assert caplog.text.count("careful") == 2


def test_log_abort_level_and_fatal_stop(make_source, make_call, run):
    """B2FATAL aborts; an abort level makes a lower level do so."""
    with pytest.raises(SmartFilterError, match="the end"):
        basf2.B2FATAL("the end")
    module = make_call("event", lambda: basf2.B2WARNING("enough"))
    module.set_abort_level(basf2.LogLevel.WARNING)
    with pytest.raises(SmartFilterError, match="enough"):
        run(make_source(1), module)


def test_set_log_level_holds_for_all(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger=LOGGER)
    try:
        basf2.set_log_level(basf2.LogLevel.ERROR)
        basf2.B2WARNING("unseen")
    finally:
        basf2.set_log_level(basf2.LogLevel.INFO)
    basf2.B2WARNING("seen")
    assert "unseen" not in caplog.text
    assert "seen" in caplog.text


def test_random_seed_is_a_text_and_is_reported(
    caplog: pytest.LogCaptureFixture, make_source: Any, run: Any
):
    caplog.set_level(logging.INFO, logger=LOGGER)
    before = basf2.get_random_seed()
    assert len(before) == 64
    try:
        basf2.set_random_seed(42)
        assert basf2.get_random_seed() == "42"
        run(make_source(1))
        assert "random seed is set to '42'" in caplog.text
    finally:
        basf2.set_random_seed(before)


def test_statistics_count_hooks_in_nanoseconds(make_source, make_call, run):
    """Counters per hook; wall clock in ns; TOTAL is the sum over hooks."""
    sleeper = make_call("event", lambda: time.sleep(0.002))
    basf2.statistics.keep_times = True
    try:
        run(make_source(3), sleeper)
    finally:
        basf2.statistics.keep_times = False
    found = basf2.statistics.get(sleeper)
    event = basf2.statistics.EVENT
    for counter, calls in (
        (basf2.statistics.INIT, 1),
        (basf2.statistics.BEGIN_RUN, 1),
        (event, 3),
        (basf2.statistics.END_RUN, 1),
        (basf2.statistics.TERM, 1),
        (basf2.statistics.TOTAL, 7),
    ):
        assert found.calls(counter) == calls
    times = found.get_event_times()
    assert times.shape == (3, 2)
    assert (times[:, 0] >= 2e6).all()
    assert (times[:, 1] < times[:, 0]).all()
    assert found.time_sum(event) == times[:, 0].sum()
    assert found.time_mean(event) == pytest.approx(times[:, 0].mean())
    assert found.time_stddev(event) == pytest.approx(times[:, 0].std(), rel=1e-6)
    assert found.cpu_sum(event) == times[:, 1].sum()
    assert found.cpu_mean(event) == pytest.approx(times[:, 1].mean())
    assert found.cpu_stddev(event) == pytest.approx(times[:, 1].std(), rel=1e-6)
    assert found.time_sum() > found.time_sum(event)
    assert basf2.statistics.get_global().calls(event) == 4
    assert basf2.statistics.get_global().calls(basf2.statistics.INIT) == 1


def test_statistics_tables_and_unknown_module(make_source, make_recorder, run):
    source, other = make_source(2), make_recorder([], "other")
    run(source)
    table = str(basf2.statistics)
    assert "Source" in table
    assert "Total" in table
    assert "Total" not in basf2.statistics([source], basf2.statistics.INIT)
    assert basf2.statistics(basf2.statistics.TERM).splitlines()[3].split()[2] == "1"
    assert [row.name for row in basf2.statistics.modules] == ["Source"]
    with pytest.raises(UsageError, match="other was not processed"):
        basf2.statistics.get(other)
    with pytest.raises(UsageError, match="keep_times"):
        basf2.statistics.get(source).get_event_times()
    basf2.statistics.clear()
    assert basf2.statistics.modules == []
    assert basf2.ModuleStatistics("unused").time_mean() == 0.0
    assert basf2.ModuleStatistics("unused").time_stddev() == 0.0
