"""SmartFilter in the double of basf2: the decisions of ``smartfilter score``."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from smartfilter.cli import cli
from smartfilter.decision import uniform
from smartfilter.io import MdstWriter, ScoreTable, ScoreWriter, open_events, read_scores
from smartfilter.pipeline.generator import Generator

N_EVENTS = 90
SEED = 9
MDST = ("mdst-v06-00-00.root", "mdst-v09-00-00.root")


@pytest.fixture(scope="module")
def gen_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of generator-level events of two runs."""
    path: Path = tmp_path_factory.mktemp("events") / "gen.root"
    events = Generator("mixed", seed=1, decay_table="pythia").generate(N_EVENTS)
    run = 1 + (events.event > N_EVENTS // 2)
    with MdstWriter(path) as writer:
        writer.write(replace(events, run=run))
    return path


@pytest.fixture(scope="module")
def standalone_counts(gen_file: Path, count_model: Path) -> dict[str, Any]:
    """Return what the standalone module counts; made before the double is there."""
    import smartfilter.framework as framework
    from smartfilter.module import add_smartfilter
    from smartfilter.pipeline.modules import EventFileModule

    path = framework.create_path()
    path.add_module(EventFileModule(gen_file))
    module = add_smartfilter(path, model=count_model, mode="sample", seed=SEED)
    framework.process(path)
    return vars(module.counts)


def score(file: Path, output: Path, *options: str) -> ScoreTable:
    """Run ``smartfilter score``."""
    arguments = ["score", str(file), "-o", str(output), "--seed", str(SEED)]
    result = CliRunner().invoke(cli, [*arguments, "--device", "cpu", *options])
    assert result.exit_code == 0, result.output
    return read_scores(output)


class Run:
    """A processed path: what the filter noted per event, and what reached the end."""

    def __init__(self, double: Any, file: Path, *, after: Any = None, **settings: Any):
        basf2 = double.basf2
        module_file = import_module("smartfilter.module")
        assert import_module("smartfilter.basf2_host").IN_BASF2
        self.logits: list[np.ndarray[Any, Any]] = []
        self.kept: list[int] = []
        self.infos: list[dict[str, float]] = []
        notes = self

        class Sink(basf2.Module):  # type: ignore[name-defined]
            def event(self) -> None:
                info = double.Belle2.PyStoreObj("EventExtraInfo")
                data = double.Belle2.PyStoreObj("EventMetaData")
                notes.kept.append(data.getRun() * 10_000 + data.getEvent())
                notes.infos.append({n: info.getExtraInfo(n) for n in info.getNames()})

        path = basf2.create_path()
        path.add_module("RootInput", inputFileName=str(file))
        if after:
            path.add_module(after)
        self.filter = module_file.add_smartfilter(path, **settings)
        judge = self.filter.judge

        def noted(events: Any) -> Any:
            scores, decision = judge(events)
            self.logits.append(scores.logits[0])
            return scores, decision

        self.filter.judge = noted
        path.add_module(Sink())
        basf2.process(path)


def kept_of(table: ScoreTable) -> list[int]:
    numbers = table["run"] * 10_000 + table["event"]
    return [int(number) for number in numbers[table["keep"]]]


THRESHOLD = 0.05


def is_close_call(mode: str, table: ScoreTable, file: Path) -> Any:
    """Return where rounding of the logit may decide, shape (n_events,)."""
    if mode == "threshold":  # d score = score (1 - score) d logit times a slope near 1
        step = 2e-4 * THRESHOLD * (1 - THRESHOLD)
        return np.abs(table["score_feiHadronicB0"] - THRESHOLD) < step
    if mode == "official":  # a number of its own per skim: none may differ
        return np.zeros(len(table), dtype=bool)
    p = table["keep_probability_feiHadronicB0"]
    return np.abs(uniform(open_events(file).read(), SEED) - p) < 1e-5


@pytest.mark.parametrize("mode", ["threshold", "sample", "official"])
def test_module_agrees_with_score_event_by_event(
    mode: str, double: Any, gen_file: Path, tmp_path: Path
):
    """Logits to 1e-4; decisions equal but where chance is closer than rounding."""
    options = ["--mode", mode, "--skim", "feiHadronicB0"]
    threshold = THRESHOLD if mode == "threshold" else None
    if threshold:
        options += ["--threshold", str(threshold)]
    table = score(gen_file, tmp_path / "scores.parquet", *options)
    skims = ["feiHadronicB0"]
    run = Run(double, gen_file, skims=skims, mode=mode, seed=SEED, threshold=threshold)
    logits = np.array(run.logits)[:, run.filter.settings.skims[0].column]
    np.testing.assert_allclose(logits, table["logit_feiHadronicB0"], atol=1e-4)
    kept = np.isin(table["run"] * 10_000 + table["event"], run.kept)
    differs = kept != table["keep"]
    close = is_close_call(mode, table, gen_file)
    assert not (differs & ~close).any()
    assert differs.sum() <= close.sum() <= 2
    assert 0 < kept.sum() < N_EVENTS
    both = table["keep"] & kept
    stored = {
        number: info["weight_feiHadronicB0"]
        for info, number in zip(run.infos, run.kept, strict=True)
    }
    numbers = (table["run"] * 10_000 + table["event"])[both]
    np.testing.assert_allclose(
        [stored[number] for number in numbers],
        table["weight_feiHadronicB0"][both],
        rtol=1e-4,
    )


def test_module_in_basf2_decides_as_standalone(
    double: Any, gen_file: Path, count_model: Path, standalone_counts: dict[str, Any]
):
    """Objects read one by one give the same events and decisions as columns."""
    run = Run(double, gen_file, model=count_model, mode="sample", seed=SEED)
    assert 0 < run.filter.counts.n_kept < N_EVENTS
    counts = vars(run.filter.counts)
    # An mdst file of basf2 has no event type here: there it is inferred.
    assert counts.pop("inferred") == {"mixed": N_EVENTS}
    assert counts == {k: v for k, v in standalone_counts.items() if k != "inferred"}


@pytest.mark.parametrize("suffix", ["parquet", "root"])
@pytest.mark.parametrize("mode", ["threshold", "sample", "official"])
def test_second_pass_decides_to_the_last_bit_as_the_file(
    mode: str,
    suffix: str,
    double: Any,
    gen_file: Path,
    count_model: Path,
    tmp_path: Path,
):
    file = tmp_path / f"flags.{suffix}"
    options = ("--mode", mode, "--model", str(count_model))
    table = score(gen_file, file, *options)
    run = Run(double, gen_file, scores=file)
    assert 0 < len(run.kept) < N_EVENTS
    assert run.kept == kept_of(table)
    weights = table["weight_feiHadronicB0"]
    stored = [info["weight_feiHadronicB0"] for info in run.infos]
    assert stored == weights[table["keep"]].astype(np.float32).tolist()
    total = sum(weights.tolist())
    assert run.filter.counts.sum_weight == {"feiHadronicB0": total}
    assert run.logits == []


def test_second_pass_in_debug_mode_stores_the_scores(
    double: Any, gen_file: Path, count_model: Path, tmp_path: Path
):
    file = tmp_path / "flags.parquet"
    table = score(gen_file, file, "--model", str(count_model))
    run = Run(double, gen_file, scores=file, debug=True)
    assert len(run.kept) == N_EVENTS
    name = "SmartFilter_Prediction_feiHadronicB0"
    assert [info[name] for info in run.infos] == (table["score_feiHadronicB0"].tolist())
    skipped = [info["SmartFilter_Skip"] for info in run.infos]
    assert skipped == (~table["keep"]).astype(float).tolist()


def rewrite(table: ScoreTable, rows: Any, output: Path, **changes: Any) -> None:
    """Write some rows of a score table."""
    columns = {name: column[rows] for name, column in table.columns.items()}
    with ScoreWriter(output, table.skims, table.metadata) as writer:
        writer.write({**columns, **changes})


def test_second_pass_simulates_and_counts_what_the_file_lacks(
    double: Any, gen_file: Path, count_model: Path, tmp_path: Path
):
    table = score(gen_file, tmp_path / "all.parquet", "--model", str(count_model))
    rows = np.arange(N_EVENTS) % 3 > 0
    rewrite(table, rows, tmp_path / "some.parquet")
    run = Run(double, gen_file, scores=tmp_path / "some.parquet")
    numbers = table["run"] * 10_000 + table["event"]
    expected = numbers[table["keep"] | ~rows].tolist()
    assert run.kept == expected
    assert run.filter.counts.n_missing == N_EVENTS // 3
    assert run.infos[0] == {"weight_feiHadronicB0": 1.0}
    log = [text for level, text in double.logs.messages if level == "WARNING"]
    assert sum("not in the score file" in text for text in log) == 1
    assert any("30 of 90 events could not be scored" in text for text in log)


def test_second_pass_with_the_scores_of_other_events_stops(
    double: Any,
    gen_file: Path,
    count_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    table = score(gen_file, tmp_path / "all.parquet", "--model", str(count_model))
    other = tmp_path / "other.parquet"
    rewrite(table, slice(None), other, experiment=table["experiment"] + 1)
    with pytest.raises(Exception, match="strict mode stops"):
        Run(double, gen_file, scores=other, strict=True)
    monkeypatch.setattr("smartfilter.filter_counts.FIRST_LOOK", 10)
    with pytest.raises(Exception, match="score file of these events"):
        Run(double, gen_file, scores=other)


def test_second_pass_takes_the_production_into_account(
    double: Any, gen_file: Path, count_model: Path, tmp_path: Path
):
    """The same numbers in another production are another event."""
    table = score(gen_file, tmp_path / "all.parquet", "--model", str(count_model))
    both = tmp_path / "both.parquet"
    columns = table.columns
    with ScoreWriter(both, table.skims, table.metadata) as writer:
        writer.write({**columns, "production": table["production"] + 5})
        writer.write({**columns, "keep": ~table["keep"]})
    run = Run(double, gen_file, scores=both)
    numbers = table["run"] * 10_000 + table["event"]
    assert run.kept == numbers[~table["keep"]].tolist()


def fail_to_start(double: Any, file: Path, **settings: Any) -> str:
    """Return the errors of a job that must not start."""
    first = len(double.logs.messages)
    with pytest.raises(SystemExit, match=r"ERROR\(S\)"):
        Run(double, file, **settings)
    found = double.logs.messages[first:]
    return "\n".join(text for level, text in found if level == "ERROR")


def test_score_file_with_an_event_twice_is_refused(
    double: Any, gen_file: Path, count_model: Path, tmp_path: Path
):
    table = score(gen_file, tmp_path / "all.parquet", "--model", str(count_model))
    twice = tmp_path / "twice.parquet"
    rewrite(table, np.r_[0:N_EVENTS, 3, 70], twice)
    message = fail_to_start(double, gen_file, scores=twice)
    assert "expected each event once, got 0 / 1 / 0 / 4" in message
    assert "entry 3" in message
    assert "2 such rows" in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skims": ["TauLFV"]}, "expected feiHadronicB0, for which"),
        ({"mode": "official"}, "mode: expected sample"),
        ({"seed": 1, "threshold": 0.5}, "no threshold and no seed"),
        ({"scores": "/nowhere/flags.parquet"}, "no such file"),
    ],
)
def test_settings_that_contradict_the_score_file_are_errors(
    settings: dict[str, Any],
    message: str,
    double: Any,
    gen_file: Path,
    count_model: Path,
    tmp_path: Path,
):
    file = tmp_path / "flags.parquet"
    score(gen_file, file, "--model", str(count_model), "--mode", "sample")
    assert message in fail_to_start(double, gen_file, **{"scores": file, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skims": ["feiHadronicBO"]}, "did you mean 'feiHadronicB0'"),
        ({"mode": "sampel"}, "mode: expected one of"),
        ({"event_type": "b0"}, "event type: expected one of"),
        ({"model": "/nowhere/model.pt"}, "cannot read /nowhere/model.pt"),
        ({"payload": "NoSuchPayload"}, "payload 'NoSuchPayload': expected a file"),
        ({"payload": "A", "model": "b.pt"}, "a file or a payload, got both"),
        ({"reader": "fast"}, "reader: expected one of python, jit"),
        ({"threshold": float("nan")}, "threshold: expected a number from 0 to 1"),
    ],
)
def test_wrong_settings_are_errors_in_initialize(
    settings: dict[str, Any], message: str, double: Any, gen_file: Path
):
    """B2ERROR while initialising, upon which basf2 processes no event."""
    assert message in fail_to_start(double, gen_file, **settings)


def test_filter_without_generator_is_an_error(double: Any, count_model: Path):
    path = double.basf2.create_path()
    path.add_module("EventInfoSetter", evtNumList=[2])
    import_module("smartfilter.module").add_smartfilter(path, model=count_model)
    with pytest.raises(SystemExit):
        double.basf2.process(path)
    assert any("'MCParticles'" in text for _, text in double.logs.messages)


def test_payload_is_read_from_the_conditions_database(
    double: Any,
    gen_file: Path,
    count_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    always = double.Belle2.IntervalOfValidity(0, 0, -1, -1)
    database = double.Belle2.Database.Instance()
    database.addPayload("FilterModel", str(count_model), always)
    double.basf2.conditions.prepend_testing_payloads("localdb/database.txt")
    run = Run(double, gen_file, payload="FilterModel", seed=1)
    expected = Run(double, gen_file, model=count_model, seed=1)
    assert run.kept == expected.kept
    assert run.filter.scorer.digest == expected.filter.scorer.digest
    assert "localdb" in str(run.filter.scorer.path)


def test_event_type_that_the_event_contradicts_is_warned_about(
    double: Any, gen_file: Path, count_model: Path
):
    class Type(double.basf2.Module):
        def event(self) -> None:
            info = double.Belle2.PyStoreObj("EventExtraInfo")
            info.create()
            info.addExtraStringInfo("eventType", "charged")

    first = len(double.logs.messages)
    Run(double, gen_file, after=Type(), model=count_model, event_type="mixed")
    log = [text for level, text in double.logs.messages[first:] if level == "WARNING"]
    assert sum("expected mixed, got charged" in text for text in log) == 1


def test_skims_are_named_by_skim_objects(
    double: Any, gen_file: Path, count_model: Path
):
    fei, core = import_module("skim.WGs.fei"), import_module("skim.core")
    skim = fei.feiHadronicB0(feiPrefix="FEI")
    runs = [
        Run(double, gen_file, skims=skims, model=count_model)
        for skims in (skim, [skim], core.CombinedSkim(skim), "feiHadronicB0")
    ]
    assert {tuple(run.kept) for run in runs} == {tuple(runs[0].kept)}
    other = core.CombinedSkim(skim, fei.feiHadronicBplus(feiPrefix="FEI"))
    message = fail_to_start(double, gen_file, skims=other, model=count_model)
    assert "feiHadronicBplus" in message


def test_compiled_reader_gives_the_same_events(
    double: Any, gen_file: Path, count_model: Path
):
    """What `reader="jit"` does on the Python side; the double stands for the C++."""
    settings: dict[str, Any] = {"model": count_model, "mode": "sample", "seed": 2}
    compiled = Run(double, gen_file, reader="jit", **settings)
    expected = Run(double, gen_file, **settings)
    assert compiled.kept == expected.kept
    assert np.array_equal(compiled.logits, expected.logits)
    assert len(double.ROOT.gInterpreter.declared) == 1


def test_decisions_after_the_simulation_are_those_before_it(
    double: Any, gen_file: Path
):
    """Secondaries are left out and status bits of Geant4 do not count."""
    before = Run(double, gen_file, mode="sample", seed=4)
    simulation = double.basf2.register_module("FullSim")
    after = Run(double, gen_file, after=simulation, mode="sample", seed=4)
    assert 0 < len(before.kept) < N_EVENTS
    assert after.kept == before.kept
    assert np.array_equal(after.logits, before.logits)
    assert after.infos == before.infos


@pytest.mark.parametrize("name", MDST)
def test_real_simulated_file_decides_as_score_does(
    name: str, double: Any, shared_data: Path, tmp_path: Path
):
    """Objects with their secondaries, and the primaries of the file by uproot."""
    file = shared_data / "mdst" / name
    options = ("--mode", "sample", "--skim", "feiHadronicB0")
    table = score(file, tmp_path / "scores.parquet", *options)
    run = Run(double, file, skims=["feiHadronicB0"], mode="sample", seed=SEED)
    logits = np.array(run.logits)[:, run.filter.settings.skims[0].column]
    np.testing.assert_allclose(
        logits, table["logit_feiHadronicB0"], atol=1e-4, equal_nan=True
    )
    p = table["keep_probability_feiHadronicB0"]
    close = np.abs(uniform(open_events(file).read(), SEED) - p) < 1e-5
    assert not close.any()
    assert run.kept == kept_of(table)


def test_file_of_primaries_decides_as_the_simulated_one(
    double: Any, shared_data: Path, tmp_path: Path
):
    """The primaries of a real simulated file, written as a generator writes them."""
    file = shared_data / "mdst" / "mdst-v09-00-00.root"
    primaries = open_events(file).read()
    written = tmp_path / "gen.root"
    with MdstWriter(written) as writer:
        writer.write(primaries)
    settings: dict[str, Any] = {"mode": "sample", "seed": SEED}
    before, after = Run(double, written, **settings), Run(double, file, **settings)
    assert len(before.logits) == len(primaries) == 10
    assert before.kept == after.kept
    assert np.array_equal(before.logits, after.logits)


def test_terminate_prints_one_line(double: Any, gen_file: Path, count_model: Path):
    first = len(double.logs.messages)
    run = Run(double, gen_file, model=count_model, threshold=0.5)
    lines = [text for _, text in double.logs.messages[first:] if "generated" in text]
    share = 100 * len(run.kept) / N_EVENTS
    assert lines == [
        (
            f"SmartFilter: 90 generated, {len(run.kept)} kept ({share:.2f} %), 0 "
            "unscorable; mean weight feiHadronicB0: 1; event type inferred from the "
            "record: mixed 90"
        )
    ]
