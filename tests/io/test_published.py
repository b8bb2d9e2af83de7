"""Readers of the public data sets against plain loops over what was written."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smartfilter.cli import main
from smartfilter.errors import InputError, UsageError
from smartfilter.event_type import infer_event_type
from smartfilter.events import EVENT_TYPES
from smartfilter.graphs import Reason, prepare
from smartfilter.io import open_events
from smartfilter.io.formats import find_format
from smartfilter.io.locations import Location
from smartfilter.io.record import mothers_by_index, mothers_by_position

SKIM = "feiHadronicB0"
LAYOUTS = ("smartbkg", "basf2", "basf2-codes", "pd4ml", "erum")
FORMATS = {
    "smartbkg": "SmartBKG Parquet",
    "basf2": "basf2 training Parquet",
    "basf2-codes": "basf2 training Parquet",
    "pd4ml": "SmartBKG npz",
    "erum": "SmartBKG npz",
}


@pytest.fixture(scope="module")
def write(layouts: Any, tokens: Any) -> Any:
    """Return a function that writes a data set in any layout."""

    def call(kind: str, folder: Any, events: Any, labels: Any) -> Any:
        folder.mkdir(exist_ok=True)
        if kind == "smartbkg":
            return layouts.write_smartbkg(folder / "a.parquet", events, labels)
        if kind.startswith("basf2"):
            words = tokens if kind == "basf2" else None
            return layouts.write_basf2(
                folder / "a.parquet", events, labels, tokens=words
            )
        cut = len(events) // 2
        parts = [(events[:cut], labels[:cut]), (events[cut:], labels[cut:])]
        if kind == "erum":
            return layouts.write_erum(folder / "a.npz", parts, tokens)
        sets = dict(zip(("train", "test"), parts, strict=True))
        return layouts.write_pd4ml(folder / "a.npz", sets, tokens)

    return call


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("chunk_size", [2, 1000])
def test_published_files_say_what_was_written(
    kind: str, chunk_size: int, data_set: Any, write: Any, layouts: Any, tmp_path: Any
):
    events, labels = data_set
    path = write(kind, tmp_path, events, labels)
    assert find_format(Location(str(path))).name == FORMATS[kind]
    source = open_events(path, chunk_size=chunk_size)
    assert source.n_events == len(events)
    chunks = list(source)
    assert all(0 < len(chunk) <= chunk_size for chunk in chunks)
    found = source.read()
    layouts.assert_says(found, events)
    assert found.labels.keys() == {SKIM}
    assert found.labels[SKIM].dtype == np.bool_
    assert found.labels[SKIM].tolist() == labels.astype(bool).tolist()
    assert found.entry.tolist() == list(range(len(events)))
    first = 500 if kind.startswith("basf2") else 0
    assert found.event.tolist() == [first + k for k in range(len(events))]
    types = [EVENT_TYPES.index("mixed") if len(e) > 1 else -1 for e in events]
    assert found.event_type.tolist() == types
    assert found.event_type.tolist() == infer_event_type(found).tolist()
    assert (found["status"] & 1).all()
    assert found.file == str(path)
    if not kind.startswith("basf2"):
        assert found.variables == {}
        for row in range(found.n_particles):
            e, *p = (float(found[k][row]) for k in ("energy", "px", "py", "pz"))
            mass = max(e**2 - sum(k**2 for k in p), 0) ** 0.5
            assert found["mass"][row] == pytest.approx(mass, abs=1e-3)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_published_preset_gives_the_stated_features(
    kind: str, data_set: Any, write: Any, tmp_path: Any, tokens: Any
):
    events, labels = data_set
    graph = prepare(
        open_events(write(kind, tmp_path, events, labels)).read(), "published"
    )
    flat = [particle for event in events for particle in event]
    table = np.array([particle.features for particle in flat], dtype=np.float32)
    np.testing.assert_array_equal(graph.x, table)
    assert graph.pdg.tolist() == [tokens[particle.pdg] for particle in flat]
    starts = np.repeat(graph.offsets[:-1], np.diff(graph.offsets))
    local = np.where(graph.mother >= 0, graph.mother - starts, -1)
    expected = [-1 if p.mother is None else p.mother for p in flat]
    assert local.tolist() == expected
    assert graph.reason.tolist() == [0 if e else Reason.NO_NODE for e in events]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_published_file_without_events_is_an_empty_source(
    kind: str, write: Any, tmp_path: Any
):
    source = open_events(write(kind, tmp_path, [], np.zeros(0, np.int64)))
    assert source.n_events == 0
    assert list(source) == []
    assert tuple(source.read().labels) == (SKIM,)
    assert len(source.read()) == 0


@pytest.mark.parametrize("kind", LAYOUTS)
def test_published_files_have_no_extra_columns(
    kind: str, data_set: Any, write: Any, tmp_path: Any
):
    with pytest.raises(UsageError, match="has none"):
        open_events(write(kind, tmp_path, *data_set), extra_columns=["decay_time"])


@pytest.mark.parametrize("kind", LAYOUTS)
def test_published_not_a_number_makes_its_event_alone_unscorable(
    kind: str, data_set: Any, write: Any, tmp_path: Any, layouts: Any
):
    events = [list(event) for event in data_set[0]]
    old = events[3][4]
    bad = (old.features[0], np.nan, *old.features[2:])
    events[3][4] = layouts.Particle(old.pdg, old.mother, bad, old.number)
    found = open_events(write(kind, tmp_path, events, data_set[1])).read()
    layouts.assert_says(found, events)
    reason = prepare(found, "published").reason
    assert np.flatnonzero(reason == Reason.NON_FINITE).tolist() == [3]


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_published_truncated_file_raises_input_error(
    kind: str, share: float, data_set: Any, write: Any, tmp_path: Any
):
    path = write(kind, tmp_path, *data_set)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="damaged") as caught:
        open_events(path).read()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["smartbkg", "pd4ml", "erum"])
@pytest.mark.parametrize("value", [2, -1])
def test_published_other_labels_raise_input_error(
    kind: str, value: int, data_set: Any, write: Any, tmp_path: Any
):
    labels = data_set[1].copy()
    labels[3] = value
    with pytest.raises(InputError, match="expected labels 0 or 1"):
        open_events(write(kind, tmp_path, data_set[0], labels)).read()


# ------------------------------------------------------------------------ mothers


def test_mothers_by_index_equal_a_plain_search():
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 9, 300)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    index = np.concatenate([rng.permutation(20)[:n] for n in counts]).astype(np.int32)
    mother = rng.integers(-1, 20, len(index)).astype(np.int32)
    found = mothers_by_index(index, mother, offsets)
    assert found.dtype == np.int32
    for begin, end in pairwise(offsets.tolist()):
        numbers = index[begin:end].tolist()
        for row, number in enumerate(numbers):
            name = int(mother[begin + row])
            none = name == number or name not in numbers
            assert found[begin + row] == (-1 if none else numbers.index(name))


def test_mothers_by_index_of_a_number_given_twice_is_out_of_range():
    index = np.array([0, 4, 4, 7], dtype=np.int32)
    mother = np.array([0, 0, 4, 4], dtype=np.int32)
    offsets = np.array([0, 4])
    assert mothers_by_index(index, mother, offsets).tolist() == [-1, 0, -1, -2]
    none = np.zeros(0, dtype=np.int32)
    assert mothers_by_index(none, none, np.zeros(3, np.int64)).tolist() == []


def test_mothers_by_index_take_numbers_of_any_size():
    index = np.array([-(2**31), 2**31 - 1, 5], dtype=np.int32)
    mother = np.array([2**31 - 1, 2**31 - 1, -(2**31)], dtype=np.int32)
    found = mothers_by_index(index, mother, np.array([0, 0, 3]))
    assert found.tolist() == [1, -1, 0]


def test_mothers_by_position_keep_those_outside_the_event_visible():
    mother = np.array([0, 0, -1, 4, -2, 1, 0], dtype=np.int32)
    found = mothers_by_position(mother, np.array([0, 3, 3, 6, 7]))
    assert found.tolist() == [-1, 0, -1, -2, -2, 1, -1]


def test_smartbkg_removed_mother_leaves_none(layouts: Any, tmp_path: Any):
    events, labels = layouts.make_data_set([6])
    numbers = [particle.number for particle in events[0]]
    absent = next(k for k in range(99) if k not in numbers)
    mothers = np.array([numbers[0], absent, 10**6, -1, numbers[2], numbers[5]])
    path = layouts.write_smartbkg(
        tmp_path / "a.parquet", events, labels, mother_index=mothers
    )
    found = open_events(path).read()
    assert found["mother_index"].tolist() == [-1, -1, -1, -1, 2, -1]
    assert found["array_index"].tolist() == numbers


# ------------------------------------------------------------------------ Parquet


def test_smartbkg_without_label_has_no_labels(
    layouts: Any, data_set: Any, tmp_path: Any
):
    found = open_events(
        layouts.write_smartbkg(tmp_path / "a.parquet", data_set[0])
    ).read()
    assert found.labels == {}
    layouts.assert_says(found, data_set[0])


def test_smartbkg_written_with_pyarrow_reads_the_same(
    layouts: Any, data_set: Any, tmp_path: Any
):
    """No extension types, other integer widths, doubles, large lists."""
    events, labels = data_set
    path = layouts.write_smartbkg(tmp_path / "a.parquet", events, labels)
    rows = ak.to_list(ak.from_parquet(path))
    fields = {name: pa.float64() for name in layouts.FEATURES}
    fields |= {"pdg": pa.int64(), "index": pa.uint16(), "mother_index": pa.float64()}
    schema = pa.schema(
        {"particles": pa.large_list(pa.struct(fields)), "label": pa.float32()}
    )
    other = tmp_path / "b.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema), other)
    found = open_events(other).read()
    layouts.assert_says(found, events)
    assert found.labels[SKIM].tolist() == labels.astype(bool).tolist()


def test_basf2_files_keep_mass_status_and_variables(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    events, labels = data_set
    bias = np.linspace(0, 1, len(events))
    bias[2] = np.nan
    path = layouts.write_basf2(
        tmp_path / "a.parquet",
        events,
        labels,
        tokens=tokens,
        variables={"sphericity": bias, "Mbc": bias.astype(np.float32)},
    )
    found = open_events(path).read()
    assert set(found.variables) == {"sphericity", "Mbc"}
    np.testing.assert_array_equal(found.variables["Mbc"], bias.astype(np.float32))
    assert found.variables["sphericity"].dtype == np.float32
    assert set(found["status"].tolist()) == {1 | 256}
    assert set(found["mass"].tolist()) == {0.5}
    assert [n for e in events for n in [p.number for p in e]] == found[
        "array_index"
    ].tolist()


def test_basf2_secondaries_are_dropped_unless_asked_for(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    events, labels = data_set
    status = np.arange(sum(map(len, events)), dtype=np.int32) % 2
    path = layouts.write_basf2(
        tmp_path / "a.parquet", events, labels, tokens=tokens, status=status
    )
    assert open_events(path).read().n_particles == status.sum()
    assert open_events(path, keep_secondaries=True).read().n_particles == len(status)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"px": None}, r"'particles\.px': expected a number .* got no such field"),
        ({"pz": "text"}, r"'particles\.pz': expected a number .* got (large_)?string"),
        ({"pdg": 211.5}, "'pdg': expected integers"),
        ({"index": 2**40}, "'index': expected integers up to"),
        ({"energy": "missing"}, "'energy': expected a value in every row"),
    ],
)
def test_smartbkg_wrong_fields_raise_input_error(
    layouts: Any, data_set: Any, tmp_path: Any, change: Any, message: str
):
    events, labels = data_set
    array = ak.from_parquet(layouts.write_smartbkg(tmp_path / "a", events, labels))
    (name, value), *_ = change.items()
    particles = array["particles"]
    fields = {k: particles[k] for k in ak.fields(particles) if k != name}
    if value == "text":
        counts = ak.num(particles["px"])
        fields[name] = ak.unflatten(ak.Array(["x"] * int(sum(counts))), counts)
    elif value == "missing":
        fields[name] = ak.mask(particles[name], particles["px"] > 0)
    elif value is not None:
        fields[name] = particles[name] * 0 + value
    path = tmp_path / "b.parquet"
    content = {"particles": ak.zip(fields, depth_limit=2), "label": labels}
    ak.to_parquet(ak.zip(content, depth_limit=1), path)
    with pytest.raises(InputError, match=message) as caught:
        open_events(path).read()
    assert str(path) in str(caught.value)


# ---------------------------------------------------------------------------- npz


# ----------------------------------------------------------------------- commands


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command and returns its JSON document."""

    def call(*arguments: Any) -> Any:
        with pytest.raises(SystemExit) as stop:
            main([*(str(argument) for argument in arguments), "--json"])
        out, err = capfd.readouterr()
        assert stop.value.code == 0, err
        return json.loads(out)

    return call


CONFIG = """
network: gcn
settings: {n_embedding: 4, n_units: 8, n_layers: 1, count: true}
learning_rate: 1.0e-2
batch_size: 32
preset: published
skims: {feiHadronicB0: 11180100}
retention_rate: {feiHadronicB0: 0.05}
epochs: 6
"""


@pytest.mark.parametrize("kind", LAYOUTS)
def test_commands_take_published_files(
    kind: str, layouts: Any, write: Any, run: Any, tmp_path: Any
):
    sizes = np.random.default_rng(3).integers(3, 12, 300).tolist()
    events, labels = layouts.make_data_set(sizes)
    path = write(kind, tmp_path, events, labels)
    model, config = tmp_path / "m.pt", tmp_path / "c.yaml"
    config.write_text(CONFIG)
    shipped = kind == "smartbkg"
    name = "gcn-single" if shipped else config
    run("train", path, "-o", model, "--config", name, "--epochs", 6)
    metrics = run("evaluate", model, path)
    assert metrics["event_type"] == "mixed"
    assert metrics["auc"] > 0.6
    rate = labels.mean() if shipped else 0.05
    assert metrics["retention_rate"] == pytest.approx(rate)
    assert run("evaluate", model, path, "--all-events")["n_events"] == 300
    scored = run("score", path, "--model", model)
    assert scored["event_types"] == {"mixed": 300}
    assert scored["n_unscorable"] == 0
    shown = run("inspect", path)
    assert shown["n_passing"] == {SKIM: int(labels.sum())}
    assert shown["event_types"] == {"mixed": 300}
    point = run("working-point", path, "--model", model, "--all-events")
    assert point["source"] == "labels"
