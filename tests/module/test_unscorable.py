"""Events that the SmartFilter module cannot score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartfilter.errors import InputError, ModelFileError
from smartfilter.events import Events
from smartfilter.scoring import Scorer

SKIM_NAMES = ("feiHadronicB0", "TauLFV")


def test_unscorable_event_is_kept_with_weight_one(
    model_path: Path, caplog: pytest.LogCaptureFixture, run: Any, with_bad_event: Any
):
    module, sink = run(
        with_bad_event([2, 3, 12], 1), model=model_path, skims=["feiHadronicB0"]
    )
    assert sink.numbers == [101, 102]
    assert sink.infos[0] == {"weight_feiHadronicB0": 1.0}
    assert module.counts.n_unscorable == 1
    assert "mother loop" in caplog.text
    assert "1 of 3 events could not be scored" in caplog.text


def test_empty_event_is_kept(model_path: Path, make_events: Any, run: Any):
    module, sink = run(make_events([2, 0]), model=model_path, skims=["feiHadronicB0"])
    assert sink.numbers == [101]
    assert module.counts.n_unscorable == 1


def test_unscorable_event_in_debug_mode_has_nan(
    model_path: Path, run: Any, with_bad_event: Any
):
    _, sink = run(with_bad_event([5], 0), model=model_path, debug=True)
    assert sink.infos[0]["SmartFilter_Skip"] == 0.0
    assert np.isnan(sink.infos[0]["SmartFilter_Prediction_TauLFV"])


def test_strict_stops_at_the_first_unscorable_event(
    model_path: Path, run: Any, with_bad_event: Any
):
    with pytest.raises(InputError, match="event 1003/1/101: cannot be scored"):
        run(with_bad_event([2, 3], 1), model=model_path, strict=True)


def test_nothing_scorable_stops_early(
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make_events: Any,
    run: Any,
):
    monkeypatch.setattr("smartfilter.filter_counts.FIRST_LOOK", 4)
    with pytest.raises(InputError, match="none of the first 4 events"):
        run(make_events([0] * 9), model=model_path)
    run(make_events([0] * 3), model=model_path)
    assert "no event could be scored" in caplog.text


def test_failing_network_stops_unless_fail_open(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, make_events: Any, run: Any
):
    scorer = Scorer(model_path, device="cpu")

    def fail(events: Events) -> Any:
        raise ModelFileError("network: broken")

    monkeypatch.setattr(scorer, "score", fail)
    with pytest.raises(ModelFileError, match="broken"):
        run(make_events([2, 3]), model=scorer)
    module, sink = run(make_events([2, 3]), model=scorer, fail_open=True)
    assert len(sink.numbers) == 2
    assert sink.infos[0] == {f"weight_{name}": 1.0 for name in SKIM_NAMES}
    assert (module.counts.n_failed, module.counts.n_kept) == (2, 2)
    assert "because the network failed" in module.counts.describe()
