"""JSON texts that come from files."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

__all__ = ["MAX_DEPTH", "parse_json"]

MAX_DEPTH = 100
"""Most levels of lists and objects; documents of smartfilter have less than ten."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def parse_json(text: str, **options: Any) -> Any:
    """Return a document, as ``json.loads`` does, but never at the limit of recursion.

    Whatever else Python does there, such as closing a file that is no longer needed,
    fails as well, with a traceback on stderr.

    Raises
    ------
    ValueError
        If it is not JSON, or nested deeper than `MAX_DEPTH`.
    """
    brackets = _BRACKET.findall(_STRING.sub("", text))
    steps = (1 if bracket in "[{" else -1 for bracket in brackets)
    if max(accumulate(steps), default=0) > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return json.loads(text, **options)
