"""The data store of the double is as the notes on basf2 say; each test names the section."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def test_registration_is_for_initialize_alone(
    double: Any, recorder: Any, make_path: Any
):
    """Section 4: elsewhere it is an error; again in initialize() is fine."""
    results: list[bool] = []

    def register(_: Any) -> None:
        obj = double.Belle2.PyStoreObj("EventExtraInfo")
        results.extend([obj.registerInDataStore(), obj.registerInDataStore()])

    path = make_path(double)
    path.add_module(recorder.make("a", initialize=register, event=register))
    double.basf2.process(path)
    assert results == [True, True, False, False]
    assert any("outside of initialize" in text for _, text in double.logs.messages)


def test_required_entry_that_is_not_there_is_an_error(
    double: Any, recorder: Any, make_path: Any
):
    """Section 4: isRequired() reports, isOptional() does not."""
    results: list[bool] = []
    array = double.Belle2.PyStoreArray("MCParticles")

    def check(_: Any) -> None:
        results.extend([array.isOptional(), array.isRequired()])

    path = make_path(double)
    path.add_module(recorder.make("a", initialize=check))
    with pytest.raises(SystemExit):
        double.basf2.process(path)
    assert results == [False, False]


def test_nothing_is_valid_in_initialize_nor_in_the_next_event(
    double: Any, recorder: Any, make_path: Any
):
    """Sections 3.2 and 4: isValid() is false until create(), in every event."""
    info = double.Belle2.PyStoreObj("EventExtraInfo")
    valid: list[bool] = []

    def initialize(_: Any) -> None:
        info.registerInDataStore()
        valid.append(info.isValid())

    def event(_: Any) -> None:
        valid.append(info.isValid())
        info.create()
        valid.append(info.isValid())

    path = make_path(double, 2)
    path.add_module(recorder.make("a", initialize=initialize, event=event))
    double.basf2.process(path)
    assert valid == [False, False, True, False, True]


def test_extra_info_refuses_a_name_twice(
    double: Any, recorder: Any, run_with_info: Any
):
    """Section 4: addExtraInfo throws std::out_of_range, setExtraInfo overwrites."""

    def use(info: Any) -> None:
        info.addExtraInfo("weight", 2.0)
        with pytest.raises(Exception, match="already exists"):
            info.addExtraInfo("weight", 3.0)
        info.setExtraInfo("weight", 4.0)
        assert info.getExtraInfo("weight") == 4.0

    run_with_info(double, recorder, use)


def test_extra_info_throws_for_what_is_not_there(
    double: Any, recorder: Any, run_with_info: Any
):
    """Section 4: getExtraInfo throws std::runtime_error."""

    def use(info: Any) -> None:
        assert not info.hasExtraInfo("weight")
        with pytest.raises(Exception, match="not there"):
            info.getExtraInfo("weight")

    run_with_info(double, recorder, use)


def test_extra_info_holds_floats_of_32_bits(
    double: Any, recorder: Any, run_with_info: Any
):
    """Section 4: values are 32-bit floats."""

    def use(info: Any) -> None:
        info.addExtraInfo("weight", 0.1)
        assert info.getExtraInfo("weight") == float(np.float32(0.1)) != 0.1

    run_with_info(double, recorder, use)


def test_event_type_is_a_text_of_the_extra_info(
    double: Any, recorder: Any, run_with_info: Any
):
    """Section 2.3: the entry ``eventType``, or an empty text."""

    def use(info: Any) -> None:
        assert info.getEventType() == ""
        info.addExtraStringInfo("eventType", "mixed")
        assert info.getEventType() == "mixed"
        info.removeExtraInfo()
        assert info.getEventType() == ""

    run_with_info(double, recorder, use)


def test_create_leaves_or_replaces_what_is_there(
    double: Any, recorder: Any, run_with_info: Any
):
    """Section 4: create() keeps an object, create(replace=True) wipes it."""

    def use(info: Any) -> None:
        info.addExtraInfo("a", 1.0)
        assert info.create()
        assert info.hasExtraInfo("a")
        assert info.create(replace=True)
        assert not info.hasExtraInfo("a")

    run_with_info(double, recorder, use)


def test_attributes_of_a_missing_object_are_a_null_pointer(double: Any):
    """Section 4: other attributes are forwarded to the held object."""
    with pytest.raises(ReferenceError, match="null"):
        double.Belle2.PyStoreObj("EventExtraInfo").getNames()


def test_unregistered_array_is_an_error_and_an_uncreated_one_is_empty(
    double: Any, recorder: Any, make_path: Any
):
    """Section 4: unregistered: message and 0 entries; not created: silently empty."""
    array = double.Belle2.PyStoreArray("MCParticles")
    assert len(array) == 0
    assert "not registered" in double.logs.messages[-1][1]
    lengths: list[int] = []
    path = make_path(double)
    path.add_module(
        recorder.make(
            "a",
            initialize=lambda _: array.registerInDataStore(),
            event=lambda _: lengths.extend([len(array), len(list(array))]),
        )
    )
    n_messages = len(double.logs.messages)
    double.basf2.process(path)
    assert lengths == [0, 0]
    assert len(double.logs.messages) == n_messages


def test_particles_have_indices_from_one_and_no_mother_is_none(
    double: Any, recorder: Any, make_path: Any
):
    """Section 1.2: getIndex() from 1, getArrayIndex() from 0, getMother() None."""
    array = double.Belle2.PyStoreArray("MCParticles")

    def event(_: Any) -> None:
        first, second = array.appendNew(), array.appendNew()
        second.mother = first.getIndex()
        assert first.getMother() is None
        assert second.getMother() is first
        assert (second.getIndex(), second.getArrayIndex()) == (2, 1)
        second.set(x=0.1)
        assert second.getProductionVertex().X() == float(np.float32(0.1))

    path = make_path(double)
    path.add_module(
        recorder.make(
            "a", initialize=lambda _: array.registerInDataStore(), event=event
        )
    )
    double.basf2.process(path)
    assert "a.event" in recorder.calls


def test_status_bits(double: Any):
    """Section 1.3: values of the bits; hasStatus wants all bits of the mask."""
    particle = double.Belle2.MCParticle()
    names = "PrimaryParticle StableInGenerator LeftDetector StoppedInDetector"
    names += " IsVirtual Initial IsISRPhoton IsFSRPhoton IsPHOTOSPhoton"
    values = [getattr(particle, f"c_{name}") for name in names.split()]
    assert values == [2**k for k in range(9)]
    particle.status = 3
    assert particle.hasStatus(3)
    assert not particle.hasStatus(5)
    assert particle.getStatus(2) == 2
