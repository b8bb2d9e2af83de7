"""Conditions and return values are those of basf2; each docstring names the rule it checks.

The rules are those of basf2's public sources: Module.cc, EventProcessor.cc.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import smartfilter.framework as basf2
from smartfilter.errors import SmartFilterError, UsageError
from smartfilter.framework import AfterConditionPath


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
def test_condition_expressions(
    expression: str,
    value: int,
    taken: bool,
    make_source: Any,
    make_recorder: Any,
    run: Any,
    names: Any,
    branch: Any,
):
    """Expr is operator + integer, blanks removed: > < >= <= = == !=."""
    log: list[tuple[str, str]] = []
    judge = make_recorder(log, "judge", (value,))
    judge.if_value(expression, branch(log, "branch"))
    run(make_source(1), judge, make_recorder(log, "rest"))
    assert names(log, "event") == ["judge", "branch" if taken else "rest"]


@pytest.mark.parametrize("expression", ["", "0", "<>1", "==x", "=>1", "==1.5"])
def test_condition_bad_expression_raises(expression: str, make_recorder: Any):
    with pytest.raises(UsageError, match="expected one of"):
        make_recorder([], "judge").if_value(expression, basf2.create_path())


def test_condition_end_skips_the_rest_and_continue_resumes(
    make_source, make_recorder, run, names, branch
):
    """END: the event is finished after the branch; CONTINUE: resume afterwards."""
    for after, expected in (
        (AfterConditionPath.END, ["judge", "branch"]),
        (AfterConditionPath.CONTINUE, ["judge", "branch", "rest"]),
    ):
        log: list[tuple[str, str]] = []
        judge = make_recorder(log, "judge", (0,))
        judge.if_false(branch(log, "branch"), after)
        run(make_source(1), judge, make_recorder(log, "rest"))
        assert names(log, "event") == expected


def test_condition_end_inside_a_continued_branch_ends_the_event(
    make_source, make_recorder, run, names, branch
):
    """A branch that ends the event does not return to the path above it."""
    log: list[tuple[str, str]] = []
    inner = make_recorder(log, "inner", (1,))
    inner.if_true(branch(log, "deep"))
    outer_path = basf2.create_path()
    outer_path.add_module(inner)
    judge = make_recorder(log, "judge", (1,))
    judge.if_true(outer_path, AfterConditionPath.CONTINUE)
    run(make_source(1), judge, make_recorder(log, "rest"))
    assert names(log, "event") == ["judge", "inner", "deep"]


def test_condition_first_true_one_is_taken(
    make_source, make_recorder, run, names, branch
):
    """With several conditions the code returns the first true one."""
    log: list[tuple[str, str]] = []
    judge = make_recorder(log, "judge", (5,))
    judge.if_value(">9", branch(log, "a"))
    judge.if_value(">4", branch(log, "b"))
    judge.if_value("==5", branch(log, "c"))
    run(make_source(1), judge)
    assert names(log, "event") == ["judge", "b"]


def test_condition_rejected_event_with_empty_path_skips_the_rest(
    make_source, make_recorder, run, names
):
    log: list[tuple[str, str]] = []
    judge = make_recorder(log, "judge", (0, 1, 0))
    judge.if_value("==0", basf2.create_path())
    run(make_source(3), judge, make_recorder(log, "rest"))
    assert names(log, "event") == ["judge", "judge", "rest", "judge"]


def test_return_value_stays_until_overwritten(make_source, make_recorder, run, names):
    """The value is kept until overwritten."""
    log: list[tuple[str, str]] = []
    judge = make_recorder(log, "judge", (0,))
    judge.if_false(basf2.create_path())
    run(make_source(3), judge, make_recorder(log, "rest"))
    assert "rest" not in names(log, "event")


def test_return_value_never_set_is_fatal(make_source, make_recorder, run):
    """If a condition exists and no value was ever set: FATAL."""
    judge = make_recorder([], "judge")
    judge.if_false(basf2.create_path())
    with pytest.raises(SmartFilterError, match="expected a return value"):
        run(make_source(1), judge)


def test_return_value_takes_ints_and_bools_only(make_recorder):
    """Only the int overload is exposed; bool converts, NumPy scalars do not."""
    module = make_recorder([], "a")
    module.return_value(True)
    with pytest.raises(UsageError, match="int64"):
        module.return_value(np.int64(1))
