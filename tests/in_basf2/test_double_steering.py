"""What steering files call in the double is as the notes on basf2 say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


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
    double: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_path: Any
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
