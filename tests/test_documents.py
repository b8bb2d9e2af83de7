"""JSON from files: as the standard library, but for what is nested too deep."""

from __future__ import annotations

import json

import pytest

from smartfilter.documents import MAX_DEPTH, parse_json


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"a": [1, {"b": "]}[{"}], "c": "\\"["}',
        "1",
        '"[[["',
        "[" * 99 + "]" * 99,
    ],
)
def test_parse_json_equals_the_standard_library(text):
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize("text", ["", "[", '"', '{"a"', "]", '"\\', "nul"])
def test_parse_json_of_something_else_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011  the standard library's own message
        parse_json(text)


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_parse_json_nested_too_deep_is_a_value_error(bracket):
    with pytest.raises(ValueError, match=f"deeper than {MAX_DEPTH} levels"):
        parse_json(bracket * 100_000)


def test_parse_json_brackets_in_strings_are_not_levels():
    assert parse_json(json.dumps(["[" * 1000, '\\"' + "{" * 1000])) is not None
