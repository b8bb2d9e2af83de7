"""The double of basf2 behaves as the notes on basf2 say; each test names the section."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def returns(value: int) -> Any:
    return {"event": lambda module: module.return_value(value)}


def test_hooks_run_in_path_order_and_terminate_in_reverse(
    double: Any, recorder: Any, make_path: Any
):
    """Section 3.1: initialize in order, conditional paths included; terminate reversed."""
    path, branch = make_path(double), double.basf2.create_path()
    first = recorder.make("a", **returns(1))
    path.add_module(first)
    branch.add_module(recorder.make("never"))
    first.if_value("==5", branch)
    path.add_module(recorder.make("b"))
    double.basf2.process(path)
    assert [c for c in recorder.calls if "initialize" in c] == [
        "a.initialize",
        "never.initialize",
        "b.initialize",
    ]
    assert [c for c in recorder.calls if "terminate" in c] == [
        "b.terminate",
        "never.terminate",
        "a.terminate",
    ]
    assert "never.event" not in recorder.calls


def test_run_hooks_follow_the_provider_of_numbers(
    double: Any, recorder: Any, make_path: Any
):
    """Section 3.1: beginRun/endRun when experiment or run changes."""
    path = make_path(double)
    path.modules()[0].param(
        {"expList": [0, 0], "runList": [1, 2], "evtNumList": [2, 1]}
    )
    path.add_module(recorder.make("a"))
    double.basf2.process(path)
    assert [c.removeprefix("a.") for c in recorder.calls] == [
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


def test_error_in_initialize_is_fatal_before_the_first_event(
    double: Any, recorder: Any, make_path: Any
):
    """Section 3.1: any B2ERROR while initialising ends the job."""
    path = make_path(double)
    path.add_module(
        recorder.make("a", initialize=lambda _: double.basf2.B2ERROR("wrong setting"))
    )
    with pytest.raises(SystemExit, match=r"1 ERROR\(S\)"):
        double.basf2.process(path)
    assert "a.event" not in recorder.calls


@pytest.mark.parametrize("value", [np.int64(1), 1.0, "1", None])
def test_return_value_takes_an_int_only(double: Any, value: Any):
    """Section 3.1: the int overload alone; a bool is one, NumPy's numbers are not."""
    module = double.basf2.Module()
    with pytest.raises(TypeError):
        module.return_value(value)
    module.return_value(True)


def test_condition_without_a_return_value_is_fatal(
    double: Any, recorder: Any, make_path: Any
):
    """Section 3.1: a condition and no value ever set: FATAL."""
    path = make_path(double)
    module = recorder.make("a")
    path.add_module(module)
    module.if_false(double.basf2.create_path())
    with pytest.raises(SystemExit, match="no return value"):
        double.basf2.process(path)


def test_return_value_stays_until_it_is_set_again(
    double: Any, recorder: Any, make_path: Any
):
    """Section 3.1: the value is kept from event to event."""
    seen: list[int] = []

    def once(module: Any) -> None:
        if not seen:
            module.return_value(0)
        seen.append(1)

    path, branch = make_path(double, 3), double.basf2.create_path()
    module = recorder.make("a", event=once)
    path.add_module(module)
    branch.add_module(recorder.make("skipped"))
    module.if_false(branch)
    double.basf2.process(path)
    assert recorder.calls.count("skipped.event") == 3


@pytest.mark.parametrize(
    ("expression", "value", "taken"),
    [
        ("==0", 0, True),
        ("= 0", 0, True),
        ("!=0", 0, False),
        (">-1", 0, True),
        ("<=0", 1, False),
        (">=1", 1, True),
        ("<1", 1, False),
    ],
)
def test_condition_compares_with_an_integer(
    double: Any, recorder: Any, expression: str, value: int, taken: bool, make_path: Any
):
    """Section 3.1: an operator and an integer, blanks removed."""
    path, branch = make_path(double), double.basf2.create_path()
    module = recorder.make("a", **returns(value))
    path.add_module(module)
    branch.add_module(recorder.make("branch"))
    module.if_value(expression, branch)
    double.basf2.process(path)
    assert ("branch.event" in recorder.calls) == taken


@pytest.mark.parametrize("expression", ["0", "==", "==x", "=>1", "==1.5"])
def test_bad_expression_raises(double: Any, expression: str):
    """Section 3.1: a bad expression raises."""
    module = double.basf2.Module()
    with pytest.raises(RuntimeError):
        module.if_value(expression, double.basf2.create_path())


@pytest.mark.parametrize(("after", "continued"), [("END", False), ("CONTINUE", True)])
def test_end_finishes_the_event_and_continue_resumes(
    double: Any, recorder: Any, after: str, continued: bool, make_path: Any
):
    """Section 3.1: END (the default) skips the rest of the path, CONTINUE does not."""
    path, branch = make_path(double), double.basf2.create_path()
    module = recorder.make("a", **returns(0))
    path.add_module(module)
    branch.add_module(recorder.make("branch"))
    if continued:
        module.if_false(branch, double.basf2.AfterConditionPath[after])
    else:
        module.if_false(branch)
    path.add_module(recorder.make("rest"))
    double.basf2.process(path)
    assert "branch.event" in recorder.calls
    assert ("rest.event" in recorder.calls) == continued


def test_event_goes_on_if_no_condition_holds(
    double: Any, recorder: Any, make_path: Any
):
    """Section 3.1: there is no else: the main path continues."""
    path = make_path(double)
    module = recorder.make("a", **returns(1))
    path.add_module(module)
    module.if_value("==0", double.basf2.create_path())
    path.add_module(recorder.make("rest"))
    double.basf2.process(path)
    assert "rest.event" in recorder.calls


def test_first_true_condition_is_taken(double: Any, recorder: Any, make_path: Any):
    """Section 3.1: of several conditions the code takes the first that holds."""
    path = make_path(double)
    module = recorder.make("a", **returns(3))
    path.add_module(module)
    for name in ("one", "two"):
        branch = double.basf2.create_path()
        branch.add_module(recorder.make(name))
        module.if_value(">2", branch)
    double.basf2.process(path)
    assert "one.event" in recorder.calls
    assert "two.event" not in recorder.calls


def test_names_and_flags(double: Any):
    """Section 3.1: the class name, ``PyModule``, no flags; ModulePropFlags' values."""

    class MyModule(double.basf2.Module):
        pass

    module = MyModule()
    assert (module.name(), module.type()) == ("MyModule", "PyModule")
    flags = double.basf2.ModulePropFlags
    assert not module.has_properties(flags.PARALLELPROCESSINGCERTIFIED)
    module.set_property_flags(flags.INPUT | flags.PARALLELPROCESSINGCERTIFIED)
    assert module.has_properties(4)
    assert not module.has_properties(flags.OUTPUT)


def test_cpp_module_takes_its_own_parameters_only(double: Any):
    """Section 3.2: a name makes a C++ module with keyword arguments as parameters."""
    path = double.basf2.create_path()
    module = path.add_module("EventInfoSetter", evtNumList=[3])
    assert module.type() == "EventInfoSetter"
    with pytest.raises(RuntimeError, match="evtNum"):
        path.add_module("EventInfoSetter", evtNum=[3])
    with pytest.raises(RuntimeError, match="NoSuchModule"):
        path.add_module("NoSuchModule")


def test_python_module_is_appended_as_it_is(double: Any):
    """Section 3.2: an instance keeps its settings and takes no parameters."""
    path, module = double.basf2.create_path(), double.basf2.Module()
    assert path.add_module(module) is module
    with pytest.raises(RuntimeError, match="no parameters"):
        path.add_module(double.basf2.Module(), threshold=0.5)

    class Forgot(double.basf2.Module):
        def __init__(self) -> None:
            pass

    with pytest.raises(RuntimeError, match="super"):
        path.add_module(Forgot())


def test_process_twice_uses_the_same_module(double: Any, recorder: Any, make_path: Any):
    """Section 3.2: Python modules are not cloned; initialize() runs again."""
    path = make_path(double)
    path.add_module(recorder.make("a"))
    double.basf2.process(path)
    double.basf2.process(path)
    assert recorder.calls.count("a.initialize") == 2


def test_max_event_limits_and_provider_gets_one_more_call(double: Any, make_path: Any):
    """Section 3.2: 0 is unlimited; the end of data costs one extra event()."""
    statistics = double.basf2.statistics
    path = make_path(double, 5)
    setter = path.modules()[0]
    double.basf2.process(path)
    assert statistics.get(setter).calls(statistics.EVENT) == 6.0
    double.basf2.process(path, 2)
    assert statistics.get(setter).calls(statistics.EVENT) == 2.0


def test_statistics_are_in_nanoseconds(double: Any, recorder: Any, make_path: Any):
    """Section 3.3: wall clock in ns, per hook."""
    import time

    path = make_path(double)
    module = recorder.make("a", event=lambda _: time.sleep(0.01))
    path.add_module(module)
    double.basf2.process(path)
    statistics = double.basf2.statistics
    assert statistics.get(module).time_sum(statistics.EVENT) >= 1e7
    assert statistics.get(module).calls() == 5.0
