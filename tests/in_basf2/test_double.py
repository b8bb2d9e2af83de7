"""The double of basf2 behaves as the notes on basf2 say; each test names the section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


class Recorder:
    """Makes modules that note each call of a hook in one list."""

    def __init__(self, double: Any) -> None:
        self.double = double
        self.calls: list[str] = []

    def make(self, name: str, **hooks: Any) -> Any:
        calls = self.calls

        class Noted(self.double.basf2.Module):  # type: ignore[name-defined]
            def _note(self, hook: str) -> None:
                calls.append(f"{name}.{hook}")
                if hook in hooks:
                    hooks[hook](self)

            def initialize(self) -> None:
                self._note("initialize")

            def beginRun(self) -> None:
                self._note("beginRun")

            def event(self) -> None:
                self._note("event")

            def endRun(self) -> None:
                self._note("endRun")

            def terminate(self) -> None:
                self._note("terminate")

        module = Noted()
        module.set_name(name)
        return module


@pytest.fixture
def recorder(double: Any) -> Recorder:
    return Recorder(double)


def make_path(double: Any, events: int = 1, **settings: Any) -> Any:
    path = double.basf2.create_path()
    path.add_module("EventInfoSetter", evtNumList=[events], **settings)
    return path


def returns(value: int) -> Any:
    return {"event": lambda module: module.return_value(value)}


def test_hooks_run_in_path_order_and_terminate_in_reverse(
    double: Any, recorder: Recorder
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


def test_run_hooks_follow_the_provider_of_numbers(double: Any, recorder: Recorder):
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
    double: Any, recorder: Recorder
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


def test_condition_without_a_return_value_is_fatal(double: Any, recorder: Recorder):
    """Section 3.1: a condition and no value ever set: FATAL."""
    path = make_path(double)
    module = recorder.make("a")
    path.add_module(module)
    module.if_false(double.basf2.create_path())
    with pytest.raises(SystemExit, match="no return value"):
        double.basf2.process(path)


def test_return_value_stays_until_it_is_set_again(double: Any, recorder: Recorder):
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
    double: Any, recorder: Recorder, expression: str, value: int, taken: bool
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
    double: Any, recorder: Recorder, after: str, continued: bool
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


def test_event_goes_on_if_no_condition_holds(double: Any, recorder: Recorder):
    """Section 3.1: there is no else: the main path continues."""
    path = make_path(double)
    module = recorder.make("a", **returns(1))
    path.add_module(module)
    module.if_value("==0", double.basf2.create_path())
    path.add_module(recorder.make("rest"))
    double.basf2.process(path)
    assert "rest.event" in recorder.calls


def test_first_true_condition_is_taken(double: Any, recorder: Recorder):
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


def test_process_twice_uses_the_same_module(double: Any, recorder: Recorder):
    """Section 3.2: Python modules are not cloned; initialize() runs again."""
    path = make_path(double)
    path.add_module(recorder.make("a"))
    double.basf2.process(path)
    double.basf2.process(path)
    assert recorder.calls.count("a.initialize") == 2


def test_max_event_limits_and_provider_gets_one_more_call(double: Any):
    """Section 3.2: 0 is unlimited; the end of data costs one extra event()."""
    statistics = double.basf2.statistics
    path = make_path(double, 5)
    setter = path.modules()[0]
    double.basf2.process(path)
    assert statistics.get(setter).calls(statistics.EVENT) == 6.0
    double.basf2.process(path, 2)
    assert statistics.get(setter).calls(statistics.EVENT) == 2.0


def test_statistics_are_in_nanoseconds(double: Any, recorder: Recorder):
    """Section 3.3: wall clock in ns, per hook."""
    import time

    path = make_path(double)
    module = recorder.make("a", event=lambda _: time.sleep(0.01))
    path.add_module(module)
    double.basf2.process(path)
    statistics = double.basf2.statistics
    assert statistics.get(module).time_sum(statistics.EVENT) >= 1e7
    assert statistics.get(module).calls() == 5.0


def test_registration_is_for_initialize_alone(double: Any, recorder: Recorder):
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


def test_required_entry_that_is_not_there_is_an_error(double: Any, recorder: Recorder):
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
    double: Any, recorder: Recorder
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


def run_with_info(double: Any, recorder: Recorder, use: Any) -> None:
    info = double.Belle2.PyStoreObj("EventExtraInfo")

    def event(_: Any) -> None:
        info.create()
        use(info)

    path = make_path(double)
    path.add_module(
        recorder.make("a", initialize=lambda _: info.registerInDataStore(), event=event)
    )
    double.basf2.process(path)


def test_extra_info_refuses_a_name_twice(double: Any, recorder: Recorder):
    """Section 4: addExtraInfo throws std::out_of_range, setExtraInfo overwrites."""

    def use(info: Any) -> None:
        info.addExtraInfo("weight", 2.0)
        with pytest.raises(Exception, match="already exists"):
            info.addExtraInfo("weight", 3.0)
        info.setExtraInfo("weight", 4.0)
        assert info.getExtraInfo("weight") == 4.0

    run_with_info(double, recorder, use)


def test_extra_info_throws_for_what_is_not_there(double: Any, recorder: Recorder):
    """Section 4: getExtraInfo throws std::runtime_error."""

    def use(info: Any) -> None:
        assert not info.hasExtraInfo("weight")
        with pytest.raises(Exception, match="not there"):
            info.getExtraInfo("weight")

    run_with_info(double, recorder, use)


def test_extra_info_holds_floats_of_32_bits(double: Any, recorder: Recorder):
    """Section 4: values are 32-bit floats."""

    def use(info: Any) -> None:
        info.addExtraInfo("weight", 0.1)
        assert info.getExtraInfo("weight") == float(np.float32(0.1)) != 0.1

    run_with_info(double, recorder, use)


def test_event_type_is_a_text_of_the_extra_info(double: Any, recorder: Recorder):
    """Section 2.3: the entry ``eventType``, or an empty text."""

    def use(info: Any) -> None:
        assert info.getEventType() == ""
        info.addExtraStringInfo("eventType", "mixed")
        assert info.getEventType() == "mixed"
        info.removeExtraInfo()
        assert info.getEventType() == ""

    run_with_info(double, recorder, use)


def test_create_leaves_or_replaces_what_is_there(double: Any, recorder: Recorder):
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
    double: Any, recorder: Recorder
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
    double: Any, recorder: Recorder
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


def test_payload_is_found_in_testing_payloads(
    double: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Section 3.4: DBAccessorBase gives the file of a raw payload."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"weights")
    belle2 = double.Belle2
    iov = belle2.IntervalOfValidity(0, 0, -1, -1)
    belle2.Database.Instance().addPayload("Model", "model.pt", iov)
    accessor = belle2.DBAccessorBase(belle2.DBStoreEntry.c_RawFile, "Model", True)
    assert accessor.getFilename() == ""
    double.basf2.conditions.prepend_testing_payloads("localdb/database.txt")
    accessor = belle2.DBAccessorBase(belle2.DBStoreEntry.c_RawFile, "Model", True)
    assert Path(accessor.getFilename()).read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("module", "function", "wrong"),
    [
        ("generators", "add_evtgen_generator", {"event_type": "mixed"}),
        ("generators", "add_continuum_generator", {"final_state": "ccbar"}),
        ("simulation", "add_simulation", {"bkgFiles": []}),
        ("reconstruction", "add_reconstruction", {"prune": True}),
        ("mdst", "add_mdst_output", {"additional_branches": []}),
    ],
)
def test_steering_functions_refuse_unknown_arguments(
    double: Any, module: str, function: str, wrong: dict[str, Any]
):
    """Section 7: the signatures are basf2's."""
    from importlib import import_module

    with pytest.raises(TypeError, match=next(iter(wrong))):
        getattr(import_module(module), function)(double.basf2.create_path(), **wrong)


def test_skims_take_keywords_only_and_fei_needs_a_prefix(double: Any):
    """Sections 5.6 and 7.2: BaseSkim is keyword-only, feiPrefix is mandatory."""
    from importlib import import_module

    fei = import_module("skim.WGs.fei")
    with pytest.raises(TypeError):
        fei.feiHadronicB0("output.root")
    with pytest.raises(TypeError, match="feiPrefix"):
        fei.feiHadronicB0()
    skim = fei.feiHadronicB0(feiPrefix="FEI")
    assert (skim.name, skim.flag) == ("feiHadronicB0", "passes_feiHadronicB0")
    combined = import_module("skim.core").CombinedSkim(skim)
    assert [member.name for member in combined] == ["feiHadronicB0"]


def test_mdst_output_has_extra_info_on_request_only(
    double: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Section 2.3: without additionalBranches the weights are lost."""
    import json
    from importlib import import_module

    monkeypatch.chdir(tmp_path)
    path = make_path(double, 2)
    import_module("generators").add_evtgen_generator(path, "mixed", eventType="mixed")
    add = import_module("mdst").add_mdst_output
    add(path, filename="without.root")
    add(path, filename="with.root", additionalBranches=["EventExtraInfo"])
    double.basf2.process(path)
    texts = {
        name: [
            row["texts"] for row in json.loads(Path(f"{name}.root.json").read_text())
        ]
        for name in ("without", "with")
    }
    assert texts == {"without": [{}, {}], "with": [{"eventType": "mixed"}] * 2}
