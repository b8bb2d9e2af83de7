"""Decisions of a score file, looked up by the SmartFilter module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from smartfilter.cli import cli
from smartfilter.events import Events
from smartfilter.io import MdstWriter, ScoreWriter, read_scores

SKIM_NAMES = ("feiHadronicB0", "TauLFV")


COUNTS = [1, 3, 5, 6, 7, 9, 12, 8, 2, 10] * 8


def write_scores(path: Path, events: Events, keep: list[bool], **changes: Any) -> None:
    """Write a score file of these decisions for both skims, weight 2 if kept."""
    n = len(events)
    columns: dict[str, Any] = {
        "file": "gen.root",
        "entry": np.arange(n),
        "experiment": events.experiment,
        "run": events.run,
        "production": events.production,
        "event": events.event,
        "n_particles": events.counts,
        "event_type": np.full(n, 3),
        "keep": np.array(keep),
    }
    for name in SKIM_NAMES:
        columns[f"logit_{name}"] = np.linspace(-1, 1, n)
        columns[f"score_{name}"] = np.linspace(0.1, 0.9, n)
        columns[f"keep_probability_{name}"] = np.full(n, 0.5)
        columns[f"weight_{name}"] = np.where(keep, 2.0, 0.0)
    with ScoreWriter(path, SKIM_NAMES, {"mode": "sample", "seed": 5}) as writer:
        writer.write({**columns, **changes})


def test_scores_are_looked_up_whatever_the_order(
    tmp_path: Path, make_events: Any, run: Any
):
    events = make_events([3, 4, 5, 6])
    write_scores(
        tmp_path / "s.parquet", events.take([2, 0, 3, 1]), [True, False, False, True]
    )
    module, sink = run(events, scores=tmp_path / "s.parquet", seed=None)
    assert sink.numbers == [101, 102]
    assert sink.infos == [{f"weight_{name}": 2.0 for name in SKIM_NAMES}] * 2
    assert module.counts.n_missing == 0
    assert module.counts.sum_weight == dict.fromkeys(SKIM_NAMES, 4.0)


@pytest.mark.parametrize("mode", ["threshold", "sample", "official"])
def test_second_pass_decides_to_the_last_bit_as_the_first(
    mode: str, model_path: Path, tmp_path: Path, make_events: Any, run: Any
):
    """Decisions of ``smartfilter score``, found in a path, on both skims."""
    events = make_events(COUNTS)
    with MdstWriter(tmp_path / "gen.root") as writer:
        writer.write(events)
    flags = tmp_path / "flags.parquet"
    arguments = ["score", str(tmp_path / "gen.root"), "-o", str(flags), "--mode", mode]
    arguments += ["--model", str(model_path), "--device", "cpu", "--seed", "3"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    table = read_scores(flags)
    module, sink = run(events, scores=flags, seed=None)
    assert sink.numbers == table["event"][table["keep"]].tolist()
    assert 0 < len(sink.numbers) <= len(COUNTS)
    for name in SKIM_NAMES:
        weight = table[f"weight_{name}"]
        stored = [info[f"weight_{name}"] for info in sink.infos]
        assert stored == weight[table["keep"]].astype(np.float32).tolist()
        assert module.counts.sum_weight[name] == sum(weight.tolist())


def test_scores_of_events_without_particles_are_found(
    tmp_path: Path, make_events: Any, run: Any
):
    events = make_events([0, 0])
    write_scores(tmp_path / "s.parquet", events, [False, True])
    _, sink = run(events, scores=tmp_path / "s.parquet", seed=None)
    assert sink.numbers == [101]


def test_scores_of_other_events_with_the_same_numbers_decide_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make_events: Any, run: Any
):
    """Jobs number their events alike; what tells them apart is in the event."""
    write_scores(tmp_path / "s.parquet", make_events([3, 4, 5]), [False, False, True])
    module, sink = run(make_events([5, 4, 6]), scores=tmp_path / "s.parquet", seed=None)
    assert sink.numbers == [100, 102]
    assert sink.infos == [dict.fromkeys((f"weight_{n}" for n in SKIM_NAMES), 1.0)] * 2
    assert (module.counts.n_unscorable, module.counts.n_missing) == (2, 2)
    assert caplog.text.count("another number of particles in the score file") == 1


def test_unscorable_row_of_the_score_file_is_kept_and_counted(
    tmp_path: Path, make_events: Any, run: Any
):
    events = make_events([3, 4])
    nan = np.array([np.nan, 0.0])
    changes = {f"{k}_{s}": nan for k in ("logit", "score") for s in SKIM_NAMES}
    write_scores(tmp_path / "s.parquet", events, [True, False], **changes)
    module, sink = run(events, scores=tmp_path / "s.parquet", seed=None)
    assert sink.numbers == [100]
    assert (module.counts.n_unscorable, module.counts.n_missing) == (1, 0)


def test_event_type_that_the_score_file_contradicts_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make_events: Any, run: Any
):
    events = make_events([3, 4])
    write_scores(tmp_path / "s.parquet", events, [True, False])
    run(events, scores=tmp_path / "s.parquet", seed=None, event_type="charged")
    assert caplog.text.count("expected charged, got mixed") == 1
