"""Readers of the public data sets against plain loops over what was written."""

from __future__ import annotations

import json
import zipfile
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
from smartfilter.io.published import UNKNOWN_PDG, decode_tokens
from smartfilter.io.record import mothers_by_index, mothers_by_position

SKIM = "feiHadronicB0"
SIZES = [5, 0, 1, 12, 100, 7, 3]
LAYOUTS = ("smartbkg", "basf2", "basf2-codes", "pd4ml", "erum")
FORMATS = {
    "smartbkg": "SmartBKG Parquet",
    "basf2": "basf2 training Parquet",
    "basf2-codes": "basf2 training Parquet",
    "pd4ml": "SmartBKG npz",
    "erum": "SmartBKG npz",
}


@pytest.fixture(scope="module")
def data_set(layouts: Any) -> Any:
    """Return events of all sizes and their labels."""
    return layouts.make_data_set(SIZES)


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
    status = np.arange(sum(SIZES), dtype=np.int32) % 2
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


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("n_slots", [100, 120])
def test_pd4ml_sets_can_be_read_alone(
    layouts: Any, tokens: Any, tmp_path: Any, compress: bool, n_slots: int
):
    train, test = layouts.make_data_set([3, 100, 4]), layouts.make_data_set([0, 6], 2)
    path = layouts.write_pd4ml(
        tmp_path / "a.npz",
        {"test": test, "train": train},
        tokens,
        compress=compress,
        n_slots=n_slots,
    )
    for name, (events, labels) in (("train", train), ("test", test)):
        source = open_events(f"{path}:{name}")
        layouts.assert_says(source.read(), events)
        assert source.read().labels[SKIM].tolist() == labels.astype(bool).tolist()
        assert source.files == (f"{path}:{name}",)
    layouts.assert_says(open_events(path).read(), train[0] + test[0])
    with pytest.raises(InputError, match="expected one of train, test"):
        open_events(f"{path}:validation")


def test_erum_features_are_ordered_by_their_names(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    events, labels = data_set
    names = ("energy", "px", "py", "pz", "prodTime", "x", "y", "z")
    path = layouts.write_erum(tmp_path / "a.npz", [(events, labels)], tokens, names)
    layouts.assert_says(open_events(f"{path}:0").read(), events)
    wrong = ("mass", *names[1:])
    content = dict(np.load(path))
    np.savez(path, **{**content, "feature_names": np.array(wrong)})
    with pytest.raises(InputError, match="expected prodTime, energy"):
        open_events(path)


def test_erum_blocks_come_in_the_order_of_their_numbers(
    layouts: Any, tokens: Any, tmp_path: Any
):
    blocks = [layouts.make_data_set([n], n) for n in range(1, 12)]
    path = layouts.write_erum(tmp_path / "a.npz", blocks, tokens)
    assert open_events(path).read().counts.tolist() == list(range(1, 12))


def test_npz_in_fortran_order_reads_the_same(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    path = layouts.write_erum(tmp_path / "a.npz", [data_set], tokens)
    content: dict[str, Any] = {
        k: np.asfortranarray(v) for k, v in np.load(path).items()
    }
    np.savez(path, **content)
    layouts.assert_says(open_events(path, chunk_size=2).read(), data_set[0])


def test_npz_without_labels_or_with_labels_in_a_column(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    events, labels = data_set
    path = tmp_path / "a.npz"
    layouts.write_pd4ml(path, {"train": (events, None)}, tokens)
    assert open_events(path).read().labels == {}
    layouts.write_pd4ml(path, {"train": (events, labels[:, None] * 1.0)}, tokens)
    found = open_events(path).read().labels[SKIM]
    assert found.tolist() == labels.astype(bool).tolist()


def test_npz_padding_ends_behind_the_last_slot_in_use(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    """A zero row in front of a particle is a particle; token 0 with energy is one."""
    path = layouts.write_erum(tmp_path / "a.npz", [data_set], tokens)
    content = dict(np.load(path))
    content["x_feature_0"][1, 3, 1] = 2.0
    np.savez(path, **content)
    found = open_events(path).read()
    assert found.counts.tolist() == [5, 4, 1, 12, 100, 7, 3]
    assert found.take([1])["pdg"].tolist() == [0, 0, 0, 0]
    assert found.take([1])["energy"].tolist() == [0, 0, 0, 2]


def test_npz_unknown_token_is_a_code_in_no_vocabulary(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    path = layouts.write_erum(tmp_path / "a.npz", [data_set], tokens)
    content = dict(np.load(path))
    content["x_pdg_0"][0, 2] = 540
    content["x_pdg_0"][0, 3] = -7
    np.savez(path, **content)
    found = open_events(path).read()
    assert found["pdg"][2:4].tolist() == [UNKNOWN_PDG] * 2
    assert UNKNOWN_PDG not in tokens
    graph = prepare(found, "published")
    assert graph.pdg[2:4].tolist() == [540, 540]
    assert graph.scorable[0]
    assert prepare(found, "smart_background").pdg[2:4].tolist() == [0, 0]
    assert decode_tokens(np.arange(540)).tolist() == list(tokens)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("x_pdg_0", 3.5, "'x_pdg_0': expected integers"),
        ("x_pdg_0", np.nan, "'x_pdg_0': expected integers"),
        ("x_adjacency_0", 0.25, "'x_adjacency_0': expected integers"),
    ],
)
def test_npz_values_that_make_no_sense_raise_input_error(
    layouts: Any,
    data_set: Any,
    tokens: Any,
    tmp_path: Any,
    key: str,
    value: float,
    message: str,
):
    path = layouts.write_erum(tmp_path / "a.npz", [data_set], tokens)
    content = dict(np.load(path))
    content[key] = content[key].astype(float)
    content[key][3, 2] = value
    np.savez(path, **content)
    with pytest.raises(InputError, match=message):
        open_events(path).read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("x_pdg_0"), "array 'x_pdg_0': not found"),
        (lambda c: c.update(y_0=c["y_0"][:-1]), r"'y_0': expected shape \(7,\)"),
        (lambda c: c.update(x_pdg_0=c["x_pdg_0"][:, :9]), r"shape \(7, 100\)"),
        (
            lambda c: c.update(x_feature_0=c["x_feature_0"][:, :, :7]),
            r"expected shape \(events, slots, 8\), got \(7, 100, 7\)",
        ),
        (
            lambda c: c.update(y_0=np.array(["yes"] * 7, dtype=object)),
            "got Python objects",
        ),
        (lambda c: [c.pop(k) for k in list(c)], "got a zip archive with -"),
    ],
)
def test_npz_arrays_that_do_not_fit_raise_input_error(
    layouts: Any,
    data_set: Any,
    tokens: Any,
    tmp_path: Any,
    change: Any,
    message: str,
):
    path = layouts.write_erum(tmp_path / "a.npz", [data_set], tokens)
    content = dict(np.load(path))
    change(content)
    np.savez(path, **content)
    with pytest.raises(InputError, match=message) as caught:
        open_events(path)
    assert str(path) in str(caught.value)


def test_npz_changed_byte_is_noticed(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    path = layouts.write_pd4ml(tmp_path / "a.npz", {"train": data_set}, tokens)
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo("X_train_0.npy").header_offset
    content = bytearray(path.read_bytes())
    content[begin + 5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        open_events(path).read()


def test_other_zip_archives_are_refused_by_what_they_hold(tmp_path: Any):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", "x")
    with pytest.raises(InputError, match=r"zip archive with model/data\.pkl"):
        open_events(path)


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
