"""A test double of basf2: what its modules and steering files may rely on.

Behaviour follows the notes on basf2 (sections in the docstrings of
``tests/in_basf2/test_double.py``); independent of `smartfilter.framework`.
"""

from __future__ import annotations

from basf2 import library as _library
from basf2.database import conditions
from basf2.logs import (
    B2DEBUG,
    B2ERROR,
    B2FATAL,
    B2INFO,
    B2RESULT,
    B2WARNING,
    LogLevel,
)
from basf2.path import (
    AfterConditionPath,
    Module,
    ModulePropFlags,
    Path,
    create_path,
    register_module,
)
from basf2.processing import get_random_seed, process, set_random_seed, statistics

__all__ = [
    "B2DEBUG",
    "B2ERROR",
    "B2FATAL",
    "B2INFO",
    "B2RESULT",
    "B2WARNING",
    "AfterConditionPath",
    "LogLevel",
    "Module",
    "ModulePropFlags",
    "Path",
    "conditions",
    "create_path",
    "get_random_seed",
    "process",
    "register_module",
    "set_log_level",
    "set_random_seed",
    "statistics",
]

_library.register()


def set_log_level(level: LogLevel) -> None:
    """Accepted; the double reports everything."""
