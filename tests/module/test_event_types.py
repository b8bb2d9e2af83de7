"""Where the SmartFilter module has the type of an event from."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartfilter.model_file import save_model


def test_event_type_argument_wins_and_mismatch_warns(
    model_path: Path, caplog: pytest.LogCaptureFixture, make_events: Any, run: Any
):
    module, _ = run(
        make_events([2, 3]), "charged", model=model_path, event_type="mixed"
    )
    assert caplog.text.count("expected mixed, got charged") == 1
    assert module.counts.inferred == {}


def test_event_type_may_have_the_name_of_the_tau_generator(
    model_path: Path, caplog: pytest.LogCaptureFixture, make_events: Any, run: Any
):
    """What KKMC calls tau+tau- is taupair, as in files."""
    module, _ = run(make_events([2, 3]), "tau+tau-", model=model_path)
    assert module.counts.inferred == {}
    run(make_events([2]), "tau+tau-", model=model_path, event_type="taupair")
    assert "expected taupair" not in caplog.text


def test_other_event_type_of_the_event_is_inferred(
    model_path: Path, make_events: Any, run: Any
):
    module, sink = run(make_events([2, 3]), "BBbar", model=model_path)
    assert sum(module.counts.inferred.values()) == 2
    assert len(sink.infos) == 2


def test_event_type_of_the_event_needs_no_inference(
    model_path: Path, caplog: pytest.LogCaptureFixture, make_events: Any, run: Any
):
    module, _ = run(make_events([2, 3]), "charged", model=model_path)
    assert module.counts.inferred == {}
    assert "expected" not in caplog.text


def test_event_type_is_inferred_and_reported(
    model_path: Path, caplog: pytest.LogCaptureFixture, make_events: Any, run: Any
):
    caplog.set_level(logging.INFO, logger="smartfilter.framework")
    events = make_events([3, 3])
    pdg = np.array([300553, 511, -511, 300553, 521, -521], np.int32)
    module, _ = run(
        replace(events, particles={**events.particles, "pdg": pdg}), model=model_path
    )
    assert module.counts.inferred == {"mixed": 1, "charged": 1}
    assert "inferred from the record: mixed 1, charged 1" in caplog.text


def test_event_type_selects_the_calibration(
    tmp_path: Path, make_events: Any, run: Any, make_info: Any, make_network: Any
):
    """The scores use the constants of the event's type."""
    info = make_info()
    default = info.skims[0].get_calibration()
    mixed = replace(default, intercept=2.0)
    skim = replace(info.skims[0], calibration={"default": default, "mixed": mixed})
    path = tmp_path / "model.pt"
    save_model(path, make_network(), replace(info, skims=(skim, info.skims[1])))
    name = "SmartFilter_Prediction_feiHadronicB0"
    found = {
        event_type: run(make_events([6]), event_type, model=path, debug=True)[1].infos[
            0
        ][name]
        for event_type in ("mixed", "charged")
    }
    assert found["mixed"] == pytest.approx(1 / (1 + np.exp(-2.0)), rel=1e-5)
    assert found["charged"] == pytest.approx(1 / (1 + np.exp(1.0)), rel=1e-5)
