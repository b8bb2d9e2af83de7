"""Paths are processed as by basf2; each docstring names the rule it checks.

The rules are those of basf2's public sources: Module.cc, Path.cc, EventProcessor.cc.
"""

from __future__ import annotations

from typing import Any

import pytest

import smartfilter.framework as basf2
from smartfilter.errors import SmartFilterError, UsageError
from smartfilter.framework import AfterConditionPath, Module, PyStoreObj


def test_hooks_run_in_path_order_and_terminate_in_reverse(
    make_source, make_recorder, run, names, branch
):
    """Initialize in path order with unvisited branches, terminate in reverse."""
    log: list[tuple[str, str]] = []
    first = make_recorder(log, "first", (0, 0, 0))
    first.if_value("==7", branch(log, "never"))
    run(make_source(), first, make_recorder(log, "last"))
    assert names(log, "initialize") == ["first", "never", "last"]
    assert names(log, "terminate") == ["last", "never", "first"]
    assert names(log, "event") == ["first", "last"] * 3


def test_run_change_calls_end_and_begin_after_the_source(
    make_source, make_recorder, run
):
    """BeginRun and endRun fire when (experiment, run) changes, in all modules."""
    log: list[tuple[str, str]] = []
    run(make_source(3, runs=(1, 1, 2)), make_recorder(log, "a"))
    hooks = [hook for _, hook in log]
    assert hooks == [
        "initialize",
        "beginRun",
        "event",
        "event",
        "endRun",
        "beginRun",
        "event",
        "endRun",
        "terminate",
    ]


def test_end_run_sees_the_run_that_ends(make_source, make_call, run):
    """During endRun, EventMetaData is that of the last event of the run."""
    seen = []
    meta_data = PyStoreObj("EventMetaData")
    module = make_call("endRun", lambda: seen.append(meta_data.getRun()))
    run(make_source(2, runs=(4, 9)), module)
    assert seen == [4, 9]


@pytest.mark.parametrize("end", ["mark", "nothing"])
def test_source_ends_the_data_with_one_extra_call(
    end: str, make_source: Any, make_recorder: Any, run: Any, names: Any
):
    """The EventMetaData provider gets one extra event() call to detect the end."""
    log: list[tuple[str, str]] = []
    source = make_source(3, end=end)
    run(source, make_recorder(log, "a"))
    assert source.calls == 4
    assert len(names(log, "event")) == 3
    assert basf2.statistics.get(source).calls(basf2.statistics.EVENT) == 4


def test_max_event_ends_without_the_extra_call(make_source, run):
    source = make_source(10)
    run(source, max_event=4)
    assert source.calls == 4


def test_process_without_source_stops(make_recorder, run):
    """Some module must provide EventMetaData."""
    with pytest.raises(UsageError, match=r"1 ERROR\(S\) occurred"):
        run(make_recorder([], "a"))


def test_process_negative_max_event_is_refused(make_source, run):
    with pytest.raises(UsageError, match="max_event"):
        run(make_source(), max_event=-1)


def test_module_queries(make_source, make_recorder):
    module = make_recorder([], "a")
    path = basf2.create_path()
    assert module.type() == "PyModule"
    assert not module.has_condition()
    assert not module.has_properties(basf2.ModulePropFlags.INPUT)
    module.set_property_flags(
        basf2.ModulePropFlags.INPUT | basf2.ModulePropFlags.OUTPUT
    )
    assert module.has_properties(basf2.ModulePropFlags.OUTPUT)
    module.if_true(path, AfterConditionPath.CONTINUE)
    (condition,) = module.get_all_conditions()
    assert (condition.get_operator(), condition.get_value()) == (">=", 1)
    assert condition.get_path() is path
    assert module.get_all_condition_paths() == [path]
    assert condition.get_after_path() is AfterConditionPath.CONTINUE
    assert make_recorder.__name__ == "Recorder"
    assert make_source().name() == "Source"


def test_path_add_module_returns_it_and_prints(make_recorder):
    path, empty = basf2.create_path(), basf2.create_path()
    module = make_recorder([], "a")
    assert path.add_module(module) is module
    module.if_value("==0", empty)
    other = basf2.create_path()
    other.add_module(make_recorder([], "b"))
    path.add_path(other)
    other.add_module(make_recorder([], "c"))
    assert [m.name() for m in path.modules()] == ["a", "b", "c"]
    assert "PyModule" in path
    assert str(path) == "[a (==0: []) -> [b -> c]]"


def test_path_refuses_what_is_no_module(make_recorder):
    path = basf2.create_path()
    with pytest.raises(UsageError, match="C\\+\\+ modules"):
        path.add_module("Geometry")
    with pytest.raises(UsageError, match="in the constructor"):
        path.add_module(make_recorder([], "a"), threshold=0.1)
    with pytest.raises(UsageError, match="got itself"):
        path.add_path(path)

    class Careless(Module):
        def __init__(self) -> None:
            pass

    with pytest.raises(UsageError, match=r"super\(\).__init__"):
        path.add_module(Careless())


def test_error_in_initialize_stops_before_the_first_event(
    make_source, make_recorder, make_call, run, names
):
    """Any B2ERROR counted during initialisation aborts before the first event."""
    log: list[tuple[str, str]] = []
    module = make_call("initialize", lambda: basf2.B2ERROR("wrong setting"))
    with pytest.raises(UsageError, match=r"1 ERROR\(S\) occurred"):
        run(make_source(), module, make_recorder(log, "after"))
    assert names(log, "initialize") == ["after"]
    assert not names(log, "event")


def test_error_in_event_is_counted_and_goes_on(
    make_source, make_recorder, make_call, run, names
):
    log: list[tuple[str, str]] = []
    run(
        make_source(2),
        make_call("event", lambda: basf2.B2ERROR("no")),
        make_recorder(log, "after"),
    )
    assert len(names(log, "event")) == 2


def test_exception_in_event_names_the_event(
    caplog: pytest.LogCaptureFixture, make_source: Any, make_call: Any, run: Any
):
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(make_source(2), make_call("event", fail))
    assert "exp/run/evt: 0 / 0 / 1" in caplog.text


def test_second_source_is_fatal(make_source, make_call, run):
    with pytest.raises(SmartFilterError, match="expected one module to set it"):
        run(
            make_source(2),
            make_call("event", lambda: PyStoreObj("EventMetaData").setEvent(99)),
        )


def test_end_of_data_by_another_module_warns_and_ends(
    caplog: pytest.LogCaptureFixture,
    make_source: Any,
    make_recorder: Any,
    make_call: Any,
    run: Any,
    names: Any,
):
    log: list[tuple[str, str]] = []

    def end() -> None:
        PyStoreObj("EventMetaData").setEndOfData()

    run(make_source(5), make_call("event", end), make_recorder(log, "rest"))
    assert "not in control" in caplog.text
    assert not names(log, "event")


def test_second_process_starts_afresh(make_source, run):
    """Modules are not cloned; initialize() runs again, statistics start anew."""
    source = make_source(2)
    run(source)
    run(source)
    assert basf2.statistics.get(source).calls(basf2.statistics.EVENT) == 3
    assert basf2.statistics.get(source).calls(basf2.statistics.INIT) == 1
