"""The SmartFilter module in the standalone framework."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import smartfilter.framework as basf2
from smartfilter.basf2_host import list_skim_names
from smartfilter.cli import cli
from smartfilter.decision import uniform
from smartfilter.errors import InputError, ModelFileError, UsageError
from smartfilter.events import (
    PARTICLE_COLUMNS,
    Events,
    offsets_from_counts,
)
from smartfilter.framework import Module, PyStoreArray, PyStoreObj
from smartfilter.graphs import PRESETS
from smartfilter.io import MdstWriter, ScoreWriter, read_scores
from smartfilter.model_file import save_model
from smartfilter.model_info import Calibration, ModelInfo, SkimInfo
from smartfilter.module import SmartFilter, add_smartfilter
from smartfilter.pdg import load_vocabulary
from smartfilter.scoring import Scorer
from smartfilter.working_point_file import (
    SavedWorkingPoint,
    TypeWorkingPoint,
    WorkingPointWriter,
)

SKIM_NAMES = ("feiHadronicB0", "TauLFV")
SEED = 11


class CountNodes(nn.Module):
    """The logits are (n - 6) / 2 and (6 - n) / 2, n the number of nodes."""

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        logit = ((offsets[1:] - offsets[:-1]).to(torch.float32) - 6.0) / 2.0
        return torch.stack([logit, -logit], dim=1)


def make_info() -> ModelInfo:
    preset = PRESETS["smart_background"]
    constants = Calibration(1.0, -1.0, 0.05, 0.4, 1.2, 0.5, 0.3)
    skims = tuple(
        SkimInfo(name, None, {"default": constants, "mixed": replace(constants)})
        for name in SKIM_NAMES
    )
    return ModelInfo(
        preset=preset.name,
        features=tuple((f.name, f.unit) for f in preset.features),
        vocabulary=load_vocabulary(preset.vocabulary),
        skims=skims,
        network="count",
        settings={},
        n_parameters=0,
    )


def logistic(logit: float) -> float:
    return 1.0 / (1.0 + float(np.exp(-(logit - 1.0))))


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("model") / "count.pt"
    save_model(path, CountNodes(), make_info())
    return path


def make_events(counts: list[int], **changes: Any) -> Events:
    """Events whose particles are all nodes: pions, each the daughter of the first."""
    offsets = offsets_from_counts(np.array(counts))
    rng = np.random.default_rng(5)
    n = int(offsets[-1])
    columns = {
        name: rng.uniform(0.1, 1.0, n).astype(dtype)
        for name, dtype in PARTICLE_COLUMNS.items()
    }
    rows = np.arange(n) - np.repeat(offsets[:-1], counts)
    columns["array_index"] = rows.astype(np.int32)
    columns["mother_index"] = np.where(rows == 0, -1, 0).astype(np.int32)
    columns["status"] = np.ones(n, np.uint16)
    columns["pdg"] = np.where(rows % 2, 211, -211).astype(np.int32)
    return Events.from_columns(
        offsets,
        {**columns, **changes},
        run=np.ones(len(counts), np.int64),
        experiment=np.full(len(counts), 1003),
        event=np.arange(100, 100 + len(counts)),
    )


COUNTS = [1, 3, 5, 6, 7, 9, 12, 8, 2, 10] * 8


class Source(Module):
    """Emits given events one by one."""

    def __init__(self, events: Events, event_type: str = "") -> None:
        super().__init__()
        self.events, self.event_type = events, event_type
        self.index = 0
        self.meta_data = PyStoreObj("EventMetaData")
        self.extra_info = PyStoreObj("EventExtraInfo")
        self.particles = PyStoreArray("MCParticles")

    def initialize(self) -> None:
        self.index = 0
        for entry in (self.meta_data, self.extra_info):
            entry.registerInDataStore()
        self.particles.registerInDataStore()

    def event(self) -> None:
        self.meta_data.create()
        if self.index == len(self.events):
            self.meta_data.setEndOfData()
            return
        event = self.events.take([self.index])
        self.index += 1
        self.particles.assign(event)
        for name in ("experiment", "run", "event"):
            setattr(self.meta_data.obj(), name, int(getattr(event, name)[0]))
        if self.event_type:
            self.extra_info.create()
            self.extra_info.addExtraStringInfo("eventType", self.event_type)


class Sink(Module):
    """Keeps the event number and EventExtraInfo of each event that reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []
        self.infos: list[dict[str, float]] = []

    def initialize(self) -> None:
        self.numbers, self.infos = [], []

    def event(self) -> None:
        info = PyStoreObj("EventExtraInfo").obj()
        self.numbers.append(PyStoreObj("EventMetaData").getEvent())
        self.infos.append({name: info.getExtraInfo(name) for name in info.getNames()})


def run(
    events: Events, stored_type: str = "", **settings: Any
) -> tuple[SmartFilter, Sink]:
    path = basf2.create_path()
    path.add_module(Source(events, stored_type))
    module = add_smartfilter(path, **{"seed": SEED, **settings})
    sink = Sink()
    path.add_module(sink)
    basf2.process(path)
    return module, sink


def test_threshold_keeps_what_reaches_it(model_path: Path):
    events = make_events(COUNTS)
    module, sink = run(events, model=model_path, skims=["feiHadronicB0"])
    expected = [
        int(events.event[i])
        for i, n in enumerate(COUNTS)
        if logistic((n - 6) / 2) >= 0.4
    ]
    assert sink.numbers == expected
    assert all(info == {"weight_feiHadronicB0": 1.0} for info in sink.infos)
    assert module.counts.n_generated == len(COUNTS)
    assert module.counts.n_kept == len(expected)
    assert module.counts.sum_weight == {"feiHadronicB0": float(len(expected))}


def test_threshold_argument_wins(model_path: Path):
    everything = run(make_events(COUNTS), model=model_path, threshold=0.0)[1]
    nothing = run(make_events(COUNTS), model=model_path, threshold=1.0)[1]
    assert len(everything.numbers) == len(COUNTS)
    assert nothing.numbers == []


def save_working_point(path: Path, digest: str) -> Path:
    """One where the model's own threshold of 0.4 becomes 0.6."""
    point = SavedWorkingPoint({SKIM_NAMES[0]: 0.6}, {SKIM_NAMES[0]: 0.5}, 100.0, digest)
    with WorkingPointWriter(path) as writer:
        writer.write(point, {})
    return path


def test_working_point_replaces_the_thresholds_of_the_model(
    model_path: Path, tmp_path: Path
):
    settings: dict[str, Any] = {"model": model_path, "skims": SKIM_NAMES[:1]}
    point = save_working_point(tmp_path / "p.json", Scorer(model_path).digest)
    kept = run(make_events(COUNTS), **settings, working_point=point)[1].numbers
    same = run(make_events(COUNTS), **settings, threshold=0.6)[1].numbers
    own = run(make_events(COUNTS), **settings)[1].numbers
    assert 0 < len(kept) < len(own)
    assert kept == same


def test_working_point_of_the_event_type_is_used(model_path: Path, tmp_path: Path):
    name = SKIM_NAMES[0]
    own = {"uubar": TypeWorkingPoint({name: 0.8}, {name: 0.5})}
    point = SavedWorkingPoint({name: 0.6}, {name: 0.5}, 100.0, by_event_type=own)
    with WorkingPointWriter(tmp_path / "p.json") as writer:
        writer.write(point, {})
    known: dict[str, Any] = {"model": model_path, "skims": SKIM_NAMES[:1]}
    for event_type, threshold in (("uubar", 0.8), ("ccbar", 0.6)):
        known["event_type"] = event_type
        kept = run(make_events(COUNTS), **known, working_point=tmp_path / "p.json")
        same = run(make_events(COUNTS), **known, threshold=threshold)
        assert 0 < len(kept[1].numbers) < len(COUNTS)
        assert kept[1].numbers == same[1].numbers


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0.5}, "expected it or a working point"),
        ({"scores": "flags.parquet"}, "expected them or a working point"),
        ({"skims": SKIM_NAMES}, "skims: expected those of the working point"),
    ],
)
def test_working_point_that_does_not_fit_is_an_error(
    settings: dict[str, Any],
    message: str,
    model_path: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    point = save_working_point(tmp_path / "p.json", Scorer(model_path).digest)
    known = {"model": model_path, "skims": SKIM_NAMES[:1], "working_point": point}
    with pytest.raises(UsageError, match=r"1 ERROR\(S\)"):
        run(make_events([3]), **{**known, **settings})
    assert message in caplog.text


def test_sampling_equals_a_plain_loop(model_path: Path):
    """One u per event, one p for all skims, weight 1 / p."""
    events = make_events(COUNTS)
    module, sink = run(events, model=model_path, mode="sample")
    u = uniform(events, SEED)
    expected = {}
    for i, n in enumerate(COUNTS):
        scores = [logistic((n - 6) / 2), logistic((6 - n) / 2)]
        p = min(1.0, max(1.2 * (sum(scores) / 2) ** 0.5, 0.01))
        if u[i] < p:
            expected[int(events.event[i])] = 1 / p
    assert sink.numbers == list(expected)
    for info, weight in zip(sink.infos, expected.values(), strict=True):
        assert set(info) == {f"weight_{name}" for name in SKIM_NAMES}
        assert info["weight_TauLFV"] == pytest.approx(weight, rel=1e-5)
        assert info["weight_feiHadronicB0"] == info["weight_TauLFV"]
    assert 0 < len(expected) < len(COUNTS)
    assert module.counts.sum_weight["TauLFV"] == pytest.approx(sum(expected.values()))


def test_official_mode_gives_each_skim_its_weight(model_path: Path):
    _, sink = run(make_events(COUNTS), model=model_path, mode="official")
    weights = np.array(
        [[info[f"weight_{n}"] for n in SKIM_NAMES] for info in sink.infos]
    )
    assert (weights.max(axis=1) >= 1).all()
    assert (weights == 0).any()


def test_debug_keeps_all_and_stores_what_it_thinks(model_path: Path):
    """In debug mode always 1; the skip flag is that of the mode it would run in."""
    events = make_events(COUNTS)
    _, kept = run(events, model=model_path, mode="sample")
    module, sink = run(events, model=model_path, mode="sample", debug=True)
    assert sink.numbers == events.event.tolist()
    skipped = [info["SmartFilter_Skip"] for info in sink.infos]
    assert [n for n, s in zip(sink.numbers, skipped, strict=True) if not s] == (
        kept.numbers
    )
    assert module.counts.n_kept == len(kept.numbers)
    for info, n in zip(sink.infos, COUNTS, strict=True):
        score = info["SmartFilter_Prediction_feiHadronicB0"]
        assert score == pytest.approx(logistic((n - 6) / 2), rel=1e-5)
        assert not any(name.startswith("weight_") for name in info)


def test_debug_mode_by_name_is_threshold(model_path: Path):
    _, sink = run(
        make_events([2, 12]), model=model_path, mode="debug", skims=["TauLFV"]
    )
    assert [info["SmartFilter_Skip"] for info in sink.infos] == [0.0, 1.0]


def test_skipped_events_enter_the_given_path(model_path: Path):
    skipped = Sink()
    empty = basf2.create_path()
    empty.add_module(skipped)
    _, sink = run(
        make_events([2, 12]), model=model_path, skims="TauLFV", empty_path=empty
    )
    assert (sink.numbers, skipped.numbers) == ([100], [101])
    assert skipped.infos == [{"weight_TauLFV": 0.0}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skims": ["feiHadronicBO"]}, "did you mean 'feiHadronicB0'"),
        ({"mode": "sampel"}, "mode: expected one of"),
        ({"threshold": 1.5}, "threshold: expected a number from 0 to 1"),
        ({"event_type": "b0"}, "event type: expected one of"),
        ({"model": "/nowhere/model.pt"}, "cannot read /nowhere/model.pt"),
        ({"device": "tpu"}, "device: expected auto"),
        ({"threads": 0}, "threads: expected at least 1"),
    ],
)
def test_wrong_setting_is_an_error_before_the_first_event(
    settings: dict[str, Any],
    message: str,
    model_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    with pytest.raises(UsageError, match=r"1 ERROR\(S\)"):
        run(make_events([3]), **{"model": model_path, **settings})
    assert message in caplog.text


def test_no_generator_before_the_filter_is_an_error(
    model_path: Path, caplog: pytest.LogCaptureFixture
):
    path = basf2.create_path()
    add_smartfilter(path, model=model_path)
    path.add_module(Source(make_events([3])))
    with pytest.raises(UsageError):
        basf2.process(path)
    assert "'MCParticles'" in caplog.text


def test_initialize_resets_all_state(model_path: Path):
    """Modules are not cloned: a second process() starts from zero."""
    path = basf2.create_path()
    path.add_module(Source(make_events(COUNTS)))
    module = add_smartfilter(path, model=model_path, seed=1, mode="sample")
    sink = Sink()
    path.add_module(sink)
    basf2.process(path)
    first = (module.counts, sink.numbers)
    basf2.process(path)
    assert (module.counts, sink.numbers) == first
    assert module.counts is not first[0]


def test_filter_twice_with_the_same_skim_raises(model_path: Path):
    """AddExtraInfo refuses a name that is set."""
    path = basf2.create_path()
    path.add_module(Source(make_events([12])))
    for _ in range(2):
        add_smartfilter(path, ["feiHadronicB0"], model=model_path, seed=1)
    with pytest.raises(UsageError, match="same module run twice"):
        basf2.process(path)


def test_seed_comes_from_the_job(model_path: Path):
    events = make_events(COUNTS)
    before = basf2.get_random_seed()
    try:
        basf2.set_random_seed("job 7")
        from_job = run(events, model=model_path, mode="sample", seed=None)[1].numbers
        digest = hashlib.sha256(b"job 7").digest()
        same = int.from_bytes(digest[:8], "big")
        assert (
            from_job
            == run(events, model=model_path, mode="sample", seed=same)[1].numbers
        )
        basf2.set_random_seed("job 8")
        other = run(events, model=model_path, mode="sample", seed=None)[1].numbers
        assert other != from_job
    finally:
        basf2.set_random_seed(before)


def with_bad_event(counts: list[int], index: int) -> Events:
    """Events of which one has a mother loop."""
    events = make_events(counts)
    mother = events["mother_index"].copy()
    mother[events.offsets[index]] = counts[index] - 1
    return replace(events, particles={**events.particles, "mother_index": mother})


def test_unscorable_event_is_kept_with_weight_one(
    model_path: Path, caplog: pytest.LogCaptureFixture
):
    module, sink = run(
        with_bad_event([2, 3, 12], 1), model=model_path, skims=["feiHadronicB0"]
    )
    assert sink.numbers == [101, 102]
    assert sink.infos[0] == {"weight_feiHadronicB0": 1.0}
    assert module.counts.n_unscorable == 1
    assert "mother loop" in caplog.text
    assert "1 of 3 events could not be scored" in caplog.text


def test_empty_event_is_kept(model_path: Path):
    module, sink = run(make_events([2, 0]), model=model_path, skims=["feiHadronicB0"])
    assert sink.numbers == [101]
    assert module.counts.n_unscorable == 1


def test_unscorable_event_in_debug_mode_has_nan(model_path: Path):
    _, sink = run(with_bad_event([5], 0), model=model_path, debug=True)
    assert sink.infos[0]["SmartFilter_Skip"] == 0.0
    assert np.isnan(sink.infos[0]["SmartFilter_Prediction_TauLFV"])


def test_strict_stops_at_the_first_unscorable_event(model_path: Path):
    with pytest.raises(InputError, match="event 1003/1/101: cannot be scored"):
        run(with_bad_event([2, 3], 1), model=model_path, strict=True)


def test_nothing_scorable_stops_early(
    model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr("smartfilter.filter_counts.FIRST_LOOK", 4)
    with pytest.raises(InputError, match="none of the first 4 events"):
        run(make_events([0] * 9), model=model_path)
    run(make_events([0] * 3), model=model_path)
    assert "no event could be scored" in caplog.text


def test_failing_network_stops_unless_fail_open(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_event_before_initialize_says_so(model_path: Path):
    with pytest.raises(UsageError, match="before initialize"):
        SmartFilter(model=model_path).judge(make_events([2]))


def test_event_type_argument_wins_and_mismatch_warns(
    model_path: Path, caplog: pytest.LogCaptureFixture
):
    module, _ = run(
        make_events([2, 3]), "charged", model=model_path, event_type="mixed"
    )
    assert caplog.text.count("expected mixed, got charged") == 1
    assert module.counts.inferred == {}


def test_event_type_of_the_event_needs_no_inference(
    model_path: Path, caplog: pytest.LogCaptureFixture
):
    module, _ = run(make_events([2, 3]), "charged", model=model_path)
    assert module.counts.inferred == {}
    assert "expected" not in caplog.text


def test_event_type_is_inferred_and_reported(
    model_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="smartfilter.framework")
    events = make_events([3, 3])
    pdg = np.array([300553, 511, -511, 300553, 521, -521], np.int32)
    module, _ = run(
        replace(events, particles={**events.particles, "pdg": pdg}), model=model_path
    )
    assert module.counts.inferred == {"mixed": 1, "charged": 1}
    assert "inferred from the record: mixed 1, charged 1" in caplog.text


def test_event_type_selects_the_calibration(tmp_path: Path):
    """The scores use the constants of the event's type."""
    info = make_info()
    default = info.skims[0].get_calibration()
    mixed = replace(default, intercept=2.0)
    skim = replace(info.skims[0], calibration={"default": default, "mixed": mixed})
    path = tmp_path / "model.pt"
    save_model(path, CountNodes(), replace(info, skims=(skim, info.skims[1])))
    name = "SmartFilter_Prediction_feiHadronicB0"
    found = {
        event_type: run(make_events([6]), event_type, model=path, debug=True)[1].infos[
            0
        ][name]
        for event_type in ("mixed", "charged")
    }
    assert found["mixed"] == pytest.approx(1 / (1 + np.exp(-2.0)), rel=1e-5)
    assert found["charged"] == pytest.approx(1 / (1 + np.exp(1.0)), rel=1e-5)


BLOCKED = (
    "uproot pyarrow click rich yaml particle numba pythia8mc vector matplotlib sklearn "
    "lightning scipy pandas"
)


def test_filter_needs_torch_numpy_and_awkward_alone(model_path: Path):
    """Everything else is blocked: the filter runs, and says what a look-up needs."""
    code = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
import numpy as np
import smartfilter.framework as basf2
from smartfilter.events import PARTICLE_COLUMNS, Events
from smartfilter.module import add_smartfilter
class Source(basf2.Module):
    def initialize(self):
        self.data = basf2.PyStoreObj("EventMetaData")
        self.particles = basf2.PyStoreArray("MCParticles")
        self.data.registerInDataStore()
        self.particles.registerInDataStore()
        self.left = 5
    def event(self):
        self.data.create()
        if not self.left:
            self.data.setEndOfData()
            return
        self.left -= 1
        columns = {{k: np.ones(3, d) for k, d in PARTICLE_COLUMNS.items()}}
        columns["mother_index"] = np.array([-1, 0, 0], np.int32)
        columns["pdg"] = np.full(3, 211, np.int32)
        self.particles.assign(Events.from_columns(np.array([0, 3]), columns))
def run(**settings):
    path = basf2.create_path()
    path.add_module(Source())
    module = add_smartfilter(path, **settings)
    basf2.process(path)
    return module.counts
print(run(model={str(model_path)!r}).describe())
try:
    run(scores="flags.parquet")
except ValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "5 generated" in done.stdout
    assert "1 ERROR(S)" in done.stdout
    assert "needs the package 'pyarrow'" in done.stderr


def test_broken_basf2_is_not_taken_for_none():
    """If basf2 is there but does not import, that is an error, not standalone."""
    code = """
import sys, types
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "basf2":
            raise ModuleNotFoundError("No module named 'pybasf2'", name="pybasf2")
sys.meta_path.insert(0, Broken())
import smartfilter.module
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "pybasf2" in done.stderr


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


def test_scores_are_looked_up_whatever_the_order(tmp_path: Path):
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
    mode: str, model_path: Path, tmp_path: Path
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


def test_scores_of_events_without_particles_are_found(tmp_path: Path):
    events = make_events([0, 0])
    write_scores(tmp_path / "s.parquet", events, [False, True])
    _, sink = run(events, scores=tmp_path / "s.parquet", seed=None)
    assert sink.numbers == [101]


def test_scores_of_other_events_with_the_same_numbers_decide_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Jobs number their events alike; what tells them apart is in the event."""
    write_scores(tmp_path / "s.parquet", make_events([3, 4, 5]), [False, False, True])
    module, sink = run(make_events([5, 4, 6]), scores=tmp_path / "s.parquet", seed=None)
    assert sink.numbers == [100, 102]
    assert sink.infos == [dict.fromkeys((f"weight_{n}" for n in SKIM_NAMES), 1.0)] * 2
    assert (module.counts.n_unscorable, module.counts.n_missing) == (2, 2)
    assert caplog.text.count("another number of particles in the score file") == 1


def test_unscorable_row_of_the_score_file_is_kept_and_counted(tmp_path: Path):
    events = make_events([3, 4])
    nan = np.array([np.nan, 0.0])
    changes = {f"{k}_{s}": nan for k in ("logit", "score") for s in SKIM_NAMES}
    write_scores(tmp_path / "s.parquet", events, [True, False], **changes)
    module, sink = run(events, scores=tmp_path / "s.parquet", seed=None)
    assert sink.numbers == [100]
    assert (module.counts.n_unscorable, module.counts.n_missing) == (1, 0)


def test_event_type_that_the_score_file_contradicts_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    events = make_events([3, 4])
    write_scores(tmp_path / "s.parquet", events, [True, False])
    run(events, scores=tmp_path / "s.parquet", seed=None, event_type="charged")
    assert caplog.text.count("expected charged, got mixed") == 1


def test_payload_needs_basf2(model_path: Path, caplog: pytest.LogCaptureFixture):
    with pytest.raises(UsageError, match=r"1 ERROR\(S\)"):
        run(make_events([3]), payload="SmartFilterModel")
    assert "the conditions database needs basf2" in caplog.text


def test_skim_names_from_names_and_objects():
    single = SimpleNamespace(name="feiHadronicB0")
    assert list_skim_names("TauLFV") == ("TauLFV",)
    assert list_skim_names(single) == ("feiHadronicB0",)
    assert list_skim_names([single, "TauLFV"]) == ("feiHadronicB0", "TauLFV")
    assert list_skim_names(()) == ()
