"""The stand-in behaves as basf2 does; each docstring names the rule it checks.

The rules are those of basf2's public sources: Module.cc, Path.cc, EventProcessor.cc,
DataStore.cc, EventExtraInfo.cc, ProcessStatistics.cc.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import pytest

import smartfilter.framework as basf2
from smartfilter.errors import SmartFilterError, UsageError
from smartfilter.framework import AfterConditionPath, Module, PyStoreObj

LOGGER = "smartfilter.framework"


class Source(Module):
    """Provides event numbers; ends the data after ``n_events``."""

    def __init__(
        self, n_events: int = 3, runs: tuple[int, ...] = (), end: str = "mark"
    ) -> None:
        super().__init__()
        self.n_events, self.runs, self.end = n_events, runs, end
        self.calls = 0
        self.meta_data = PyStoreObj("EventMetaData")

    def initialize(self) -> None:
        self.calls = 0
        self.meta_data.registerInDataStore()

    def event(self) -> None:
        self.calls += 1
        if self.calls > self.n_events:
            if self.end == "mark":
                self.meta_data.create()
                self.meta_data.setEndOfData()
            return
        self.meta_data.create()
        self.meta_data.setEvent(self.calls)
        if self.runs:
            self.meta_data.setRun(self.runs[self.calls - 1])


class Recorder(Module):
    """Appends (name, hook) to a list; returns the values it is given in turn."""

    def __init__(
        self, log: list[tuple[str, str]], name: str, values: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.set_name(name)
        self.log = log
        self.values = list(values)

    def initialize(self) -> None:
        self.log.append((self.name(), "initialize"))

    def beginRun(self) -> None:
        self.log.append((self.name(), "beginRun"))

    def event(self) -> None:
        self.log.append((self.name(), "event"))
        if self.values:
            self.return_value(self.values.pop(0))

    def endRun(self) -> None:
        self.log.append((self.name(), "endRun"))

    def terminate(self) -> None:
        self.log.append((self.name(), "terminate"))


class Call(Module):
    """Calls a function in a hook."""

    def __init__(self, hook: str, function: Any) -> None:
        super().__init__()
        setattr(self, hook, function)


def run(*modules: Module, max_event: int = 0) -> None:
    path = basf2.create_path()
    for module in modules:
        path.add_module(module)
    basf2.process(path, max_event)


def names(log: list[tuple[str, str]], hook: str) -> list[str]:
    return [name for name, called in log if called == hook]


def branch(log: list[tuple[str, str]], name: str) -> basf2.Path:
    path = basf2.create_path()
    path.add_module(Recorder(log, name))
    return path


def test_hooks_run_in_path_order_and_terminate_in_reverse():
    """Initialize in path order with unvisited branches, terminate in reverse."""
    log: list[tuple[str, str]] = []
    first = Recorder(log, "first", (0, 0, 0))
    first.if_value("==7", branch(log, "never"))
    run(Source(), first, Recorder(log, "last"))
    assert names(log, "initialize") == ["first", "never", "last"]
    assert names(log, "terminate") == ["last", "never", "first"]
    assert names(log, "event") == ["first", "last"] * 3


def test_run_change_calls_end_and_begin_after_the_source():
    """BeginRun and endRun fire when (experiment, run) changes, in all modules."""
    log: list[tuple[str, str]] = []
    run(Source(3, runs=(1, 1, 2)), Recorder(log, "a"))
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


def test_end_run_sees_the_run_that_ends():
    """During endRun, EventMetaData is that of the last event of the run."""
    seen = []
    meta_data = PyStoreObj("EventMetaData")
    module = Call("endRun", lambda: seen.append(meta_data.getRun()))
    run(Source(2, runs=(4, 9)), module)
    assert seen == [4, 9]


@pytest.mark.parametrize("end", ["mark", "nothing"])
def test_source_ends_the_data_with_one_extra_call(end: str):
    """The EventMetaData provider gets one extra event() call to detect the end."""
    log: list[tuple[str, str]] = []
    source = Source(3, end=end)
    run(source, Recorder(log, "a"))
    assert source.calls == 4
    assert len(names(log, "event")) == 3
    assert basf2.statistics.get(source).calls(basf2.statistics.EVENT) == 4


def test_max_event_ends_without_the_extra_call():
    source = Source(10)
    run(source, max_event=4)
    assert source.calls == 4


def test_process_without_source_stops():
    """Some module must provide EventMetaData."""
    with pytest.raises(UsageError, match=r"1 ERROR\(S\) occurred"):
        run(Recorder([], "a"))


def test_process_negative_max_event_is_refused():
    with pytest.raises(UsageError, match="max_event"):
        run(Source(), max_event=-1)


@pytest.mark.parametrize(
    ("expression", "value", "taken"),
    [
        ("==0", 0, True),
        ("=0", 0, True),
        ("!=0", 0, False),
        (">= 1", 1, True),
        (" < 1 ", 1, False),
        (">-2", -1, True),
        ("<=3", 4, False),
    ],
)
def test_condition_expressions(expression: str, value: int, taken: bool):
    """Expr is operator + integer, blanks removed: > < >= <= = == !=."""
    log: list[tuple[str, str]] = []
    judge = Recorder(log, "judge", (value,))
    judge.if_value(expression, branch(log, "branch"))
    run(Source(1), judge, Recorder(log, "rest"))
    assert names(log, "event") == ["judge", "branch" if taken else "rest"]


@pytest.mark.parametrize("expression", ["", "0", "<>1", "==x", "=>1", "==1.5"])
def test_condition_bad_expression_raises(expression: str):
    with pytest.raises(UsageError, match="expected one of"):
        Recorder([], "judge").if_value(expression, basf2.create_path())


def test_condition_end_skips_the_rest_and_continue_resumes():
    """END: the event is finished after the branch; CONTINUE: resume afterwards."""
    for after, expected in (
        (AfterConditionPath.END, ["judge", "branch"]),
        (AfterConditionPath.CONTINUE, ["judge", "branch", "rest"]),
    ):
        log: list[tuple[str, str]] = []
        judge = Recorder(log, "judge", (0,))
        judge.if_false(branch(log, "branch"), after)
        run(Source(1), judge, Recorder(log, "rest"))
        assert names(log, "event") == expected


def test_condition_end_inside_a_continued_branch_ends_the_event():
    """A branch that ends the event does not return to the path above it."""
    log: list[tuple[str, str]] = []
    inner = Recorder(log, "inner", (1,))
    inner.if_true(branch(log, "deep"))
    outer_path = basf2.create_path()
    outer_path.add_module(inner)
    judge = Recorder(log, "judge", (1,))
    judge.if_true(outer_path, AfterConditionPath.CONTINUE)
    run(Source(1), judge, Recorder(log, "rest"))
    assert names(log, "event") == ["judge", "inner", "deep"]


def test_condition_first_true_one_is_taken():
    """With several conditions the code returns the first true one."""
    log: list[tuple[str, str]] = []
    judge = Recorder(log, "judge", (5,))
    judge.if_value(">9", branch(log, "a"))
    judge.if_value(">4", branch(log, "b"))
    judge.if_value("==5", branch(log, "c"))
    run(Source(1), judge)
    assert names(log, "event") == ["judge", "b"]


def test_condition_rejected_event_with_empty_path_skips_the_rest():
    log: list[tuple[str, str]] = []
    judge = Recorder(log, "judge", (0, 1, 0))
    judge.if_value("==0", basf2.create_path())
    run(Source(3), judge, Recorder(log, "rest"))
    assert names(log, "event") == ["judge", "judge", "rest", "judge"]


def test_return_value_stays_until_overwritten():
    """The value is kept until overwritten."""
    log: list[tuple[str, str]] = []
    judge = Recorder(log, "judge", (0,))
    judge.if_false(basf2.create_path())
    run(Source(3), judge, Recorder(log, "rest"))
    assert "rest" not in names(log, "event")


def test_return_value_never_set_is_fatal():
    """If a condition exists and no value was ever set: FATAL."""
    judge = Recorder([], "judge")
    judge.if_false(basf2.create_path())
    with pytest.raises(SmartFilterError, match="expected a return value"):
        run(Source(1), judge)


def test_return_value_takes_ints_and_bools_only():
    """Only the int overload is exposed; bool converts, NumPy scalars do not."""
    module = Recorder([], "a")
    module.return_value(True)
    with pytest.raises(UsageError, match="int64"):
        module.return_value(np.int64(1))  # type: ignore[arg-type]


def test_module_queries():
    module = Recorder([], "a")
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
    assert Recorder.__name__ == "Recorder"
    assert Source().name() == "Source"


def test_path_add_module_returns_it_and_prints():
    path, empty = basf2.create_path(), basf2.create_path()
    module = Recorder([], "a")
    assert path.add_module(module) is module
    module.if_value("==0", empty)
    other = basf2.create_path()
    other.add_module(Recorder([], "b"))
    path.add_path(other)
    other.add_module(Recorder([], "c"))
    assert [m.name() for m in path.modules()] == ["a", "b", "c"]
    assert "PyModule" in path
    assert str(path) == "[a (==0: []) -> [b -> c]]"


def test_path_refuses_what_is_no_module():
    path = basf2.create_path()
    with pytest.raises(UsageError, match="C\\+\\+ modules"):
        path.add_module("Geometry")
    with pytest.raises(UsageError, match="in the constructor"):
        path.add_module(Recorder([], "a"), threshold=0.1)
    with pytest.raises(UsageError, match="got itself"):
        path.add_path(path)

    class Careless(Module):
        def __init__(self) -> None:
            pass

    with pytest.raises(UsageError, match=r"super\(\).__init__"):
        path.add_module(Careless())


def test_error_in_initialize_stops_before_the_first_event():
    """Any B2ERROR counted during initialisation aborts before the first event."""
    log: list[tuple[str, str]] = []
    module = Call("initialize", lambda: basf2.B2ERROR("wrong setting"))
    with pytest.raises(UsageError, match=r"1 ERROR\(S\) occurred"):
        run(Source(), module, Recorder(log, "after"))
    assert names(log, "initialize") == ["after"]
    assert not names(log, "event")


def test_error_in_event_is_counted_and_goes_on():
    log: list[tuple[str, str]] = []
    run(Source(2), Call("event", lambda: basf2.B2ERROR("no")), Recorder(log, "after"))
    assert len(names(log, "event")) == 2


def test_exception_in_event_names_the_event(caplog: pytest.LogCaptureFixture):
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Source(2), Call("event", fail))
    assert "exp/run/evt: 0 / 0 / 1" in caplog.text


def test_second_source_is_fatal():
    with pytest.raises(SmartFilterError, match="expected one module to set it"):
        run(Source(2), Call("event", lambda: PyStoreObj("EventMetaData").setEvent(99)))


def test_end_of_data_by_another_module_warns_and_ends(
    caplog: pytest.LogCaptureFixture,
):
    log: list[tuple[str, str]] = []

    def end() -> None:
        PyStoreObj("EventMetaData").setEndOfData()

    run(Source(5), Call("event", end), Recorder(log, "rest"))
    assert "not in control" in caplog.text
    assert not names(log, "event")


def test_second_process_starts_afresh():
    """Modules are not cloned; initialize() runs again, statistics start anew."""
    source = Source(2)
    run(source)
    run(source)
    assert basf2.statistics.get(source).calls(basf2.statistics.EVENT) == 3
    assert basf2.statistics.get(source).calls(basf2.statistics.INIT) == 1


def test_store_registration_is_legal_in_initialize_only(
    caplog: pytest.LogCaptureFixture,
):
    """Registration elsewhere is an error; again in initialize is fine."""
    results = []
    thing = PyStoreObj("Thing")

    class Late(Module):
        def initialize(self) -> None:
            results.append(PyStoreObj("EventMetaData").registerInDataStore())

        def event(self) -> None:
            results.append(thing.registerInDataStore())

    run(Source(1), Late())
    assert results == [True, False]
    assert "registered in initialize" in caplog.text


def test_store_objects_live_for_one_event():
    """Event-durability data is invalidated after each event, not valid in init."""
    valid = []
    info = PyStoreObj("EventExtraInfo")

    class User(Module):
        def initialize(self) -> None:
            info.registerInDataStore()
            valid.append(info.isValid())

        def event(self) -> None:
            valid.append(info.isValid())
            info.create()
            valid.append(bool(info))

    run(Source(2), User())
    assert valid == [False, False, True, False, True]
    assert not info.isValid()


def test_store_create_keeps_unless_it_replaces():
    """create() on an existing object leaves it alone; replace=True wipes it."""
    seen = []
    info = PyStoreObj("EventExtraInfo")

    class User(Module):
        def initialize(self) -> None:
            info.registerInDataStore()

        def event(self) -> None:
            info.create()
            info.addExtraInfo("a", 1.0)
            seen.append(info.create())
            seen.append(info.hasExtraInfo("a"))
            info.create(replace=True)
            seen.append(info.obj().hasExtraInfo("a"))

    run(Source(1), User())
    assert seen == [True, True, False]


def test_store_unregistered_is_an_error_and_empty(caplog: pytest.LogCaptureFixture):
    """Unregistered: error message, 0 entries."""
    array, thing = basf2.PyStoreArray("Nothing"), PyStoreObj("Nothing")
    assert len(array) == 0
    assert array.getPtr() is None
    assert not array.isOptional()
    assert not array.isRequired()
    assert not thing.assign(1)
    assert thing.obj() is None
    with pytest.raises(AttributeError, match="got none when asked for 'x'"):
        _ = thing.x
    assert caplog.text.count("ERROR") == 2


def test_store_assign_does_not_replace_silently():
    results = []
    thing = PyStoreObj("Thing")

    class User(Module):
        def initialize(self) -> None:
            thing.registerInDataStore()

        def event(self) -> None:
            results.append(thing.create())
            results.append(thing.assign([1]))
            results.append(thing.assign([2]))
            results.append(thing.obj() == [1])
            results.append(thing.assign([2], replace=True))

    run(Source(1), User())
    assert results == [False, True, False, True, True]


def test_extra_info_numbers_are_unique_and_32_bit():
    """AddExtraInfo throws if the key exists; set overwrites; values are floats."""
    info = basf2.EventExtraInfo()
    info.addExtraInfo("weight", 0.1)
    assert info.getExtraInfo("weight") == float(np.float32(0.1)) != 0.1
    with pytest.raises(UsageError, match="expected a new name"):
        info.addExtraInfo("weight", 1.0)
    info.setExtraInfo("weight", 2.0)
    assert info.getExtraInfo("weight") == 2.0
    assert info.hasExtraInfo("weight")
    with pytest.raises(UsageError, match="expected one of weight, got 'w'"):
        info.getExtraInfo("w")
    assert info.getNames() == ["weight"]
    info.removeExtraInfo()
    assert info.getNames() == []


def test_extra_info_texts_and_event_type():
    """Event type is the string entry with key eventType, or empty."""
    info = basf2.EventExtraInfo()
    assert info.getEventType() == ""
    info.addExtraStringInfo("eventType", "mixed")
    assert info.getEventType() == info.getExtraStringInfo("eventType") == "mixed"
    with pytest.raises(UsageError, match="eventType"):
        info.addExtraStringInfo("eventType", "charged")
    info.setExtraStringInfo("eventType", "charged")
    assert info.hasExtraStringInfo("eventType")
    assert info.getStringInfoNames() == ["eventType"]
    with pytest.raises(UsageError, match="got 'other'"):
        info.getExtraStringInfo("other")


def test_event_meta_data_end_of_data_and_equality():
    """The end is event, run and experiment at their maximum; production is no id."""
    data = basf2.EventMetaData(event=1, run=2, experiment=3, production=4)
    assert data == basf2.EventMetaData(event=1, run=2, experiment=3)
    assert data != basf2.EventMetaData(event=2, run=2, experiment=3)
    data.setProduction(7)
    assert data.getProduction() == 7
    assert not data.isEndOfData()
    data.setEndOfData()
    assert data.isEndOfData()


def test_log_levels_of_module_and_framework(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger=LOGGER)

    def talk() -> None:
        basf2.B2DEBUG(5, "debug")
        basf2.B2INFO("hello", number=3)
        basf2.B2RESULT("result")
        basf2.B2WARNING("careful")

    loud, quiet = Call("event", talk), Call("event", talk)
    loud.set_name("loud")
    loud.set_log_level(basf2.LogLevel.DEBUG)
    loud.set_debug_level(5)
    path = basf2.create_path()
    path.add_module(Source(1))
    path.add_module(loud)
    path.add_module(quiet, logLevel=basf2.LogLevel.WARNING)
    basf2.process(path)
    said = [r.getMessage() for r in caplog.records if "loud" in r.getMessage()]
    assert len(said) == 4
    assert "hello\n\tnumber = 3" in said[1]
    assert caplog.text.count("careful") == 2


def test_log_abort_level_and_fatal_stop():
    """B2FATAL aborts; an abort level makes a lower level do so."""
    with pytest.raises(SmartFilterError, match="the end"):
        basf2.B2FATAL("the end")
    module = Call("event", lambda: basf2.B2WARNING("enough"))
    module.set_abort_level(basf2.LogLevel.WARNING)
    with pytest.raises(SmartFilterError, match="enough"):
        run(Source(1), module)


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


def test_random_seed_is_a_text_and_is_reported(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger=LOGGER)
    before = basf2.get_random_seed()
    assert len(before) == 64
    try:
        basf2.set_random_seed(42)
        assert basf2.get_random_seed() == "42"
        run(Source(1))
        assert "random seed is set to '42'" in caplog.text
    finally:
        basf2.set_random_seed(before)


def test_statistics_count_hooks_in_nanoseconds():
    """Counters per hook; wall clock in ns; TOTAL is the sum over hooks."""
    sleeper = Call("event", lambda: time.sleep(0.002))
    basf2.statistics.keep_times = True
    try:
        run(Source(3), sleeper)
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


def test_statistics_tables_and_unknown_module():
    source, other = Source(2), Recorder([], "other")
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
