"""The standalone stand-in for basf2: path, modules, data store, process, statistics.

A steering file or a module written for basf2 reads the same here::

    import smartfilter.framework as basf2
    from smartfilter.framework import PyStoreArray, PyStoreObj  # basf2: ROOT.Belle2

What is mirrored is what decides whether a module works in basf2: the order of the
hooks, conditions and their paths, the end of data, the life of objects in the data
store, what is an error and when, and what the statistics count. What is not: C++
modules by name, input and output files of basf2, parallel processing, and the conditions
database. Messages go to the standard `logging` under ``smartfilter.framework``.

The one difference in the data: an array of particles is not a list of objects but one
table. ``PyStoreArray("MCParticles").getPtr()`` is an `smartfilter.events.Events` of one
event (in basf2: a ``TClonesArray``), and a generator module stores it with
``assign``, which basf2's PyStoreArray does not have.
"""

from __future__ import annotations

from smartfilter.framework.logs import (
    B2DEBUG,
    B2ERROR,
    B2FATAL,
    B2INFO,
    B2RESULT,
    B2WARNING,
    LogLevel,
    set_log_level,
)
from smartfilter.framework.path import (
    AfterConditionPath,
    Module,
    ModulePropFlags,
    Path,
    create_path,
)
from smartfilter.framework.processing import (
    get_random_seed,
    process,
    set_random_seed,
    statistics,
)
from smartfilter.framework.store import (
    EventExtraInfo,
    EventMetaData,
    PyStoreArray,
    PyStoreObj,
)
from smartfilter.framework.timing import ModuleStatistics, ProcessStatistics

__all__ = [
    "B2DEBUG",
    "B2ERROR",
    "B2FATAL",
    "B2INFO",
    "B2RESULT",
    "B2WARNING",
    "AfterConditionPath",
    "EventExtraInfo",
    "EventMetaData",
    "LogLevel",
    "Module",
    "ModulePropFlags",
    "ModuleStatistics",
    "Path",
    "ProcessStatistics",
    "PyStoreArray",
    "PyStoreObj",
    "create_path",
    "get_random_seed",
    "process",
    "set_log_level",
    "set_random_seed",
    "statistics",
]
