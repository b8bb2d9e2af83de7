"""The data store behaves as basf2's; each docstring names the rule it checks.

The rules are those of basf2's public sources: DataStore.cc, EventExtraInfo.cc.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import smartfilter.framework as basf2
from smartfilter.errors import UsageError
from smartfilter.framework import Module, PyStoreObj


def test_store_registration_is_legal_in_initialize_only(
    caplog: pytest.LogCaptureFixture, make_source: Any, run: Any
):
    """Registration elsewhere is an error; again in initialize is fine."""
    results = []
    thing = PyStoreObj("Thing")

    class Late(Module):
        def initialize(self) -> None:
            results.append(PyStoreObj("EventMetaData").registerInDataStore())

        def event(self) -> None:
            results.append(thing.registerInDataStore())

    run(make_source(1), Late())
    assert results == [True, False]
    assert "registered in initialize" in caplog.text


def test_store_objects_live_for_one_event(make_source, run):
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

    run(make_source(2), User())
    assert valid == [False, False, True, False, True]
    assert not info.isValid()


def test_store_create_keeps_unless_it_replaces(make_source, run):
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

    run(make_source(1), User())
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


def test_store_assign_does_not_replace_silently(make_source, run):
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

    run(make_source(1), User())
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
