"""Reader and writer of labelled Parquet files."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smartfilter.errors import InputError, UsageError
from smartfilter.events import EVENT_TYPES, Events
from smartfilter.io import LabelledWriter, ScoreWriter, open_events
from smartfilter.io.labelled import read_labelled_metadata

SKIMS, VARIABLES = ("feiHadronicB0", "other"), ("m_bc", "sample_weight")


@pytest.fixture
def events(make_events):
    sizes = [3, 0, 1, 12, 40, 5, 0]
    return make_events(sizes, labels=SKIMS, variables=VARIABLES)


@pytest.fixture
def path(tmp_path, events, monkeypatch):
    """Write the events one by one in several row groups."""
    monkeypatch.setattr("smartfilter.io.labelled._BLOCK_ROWS", 10)
    path = tmp_path / "labelled.parquet"
    provenance = {"n_generated": np.int64(70), "seed": 3}
    with LabelledWriter(path, SKIMS, VARIABLES, provenance) as writer:
        for number in range(len(events)):
            writer.write(events.take([number]))
    return path


@pytest.mark.parametrize("chunk_size", [1, 2, 1000])
def test_labelled_written_file_reads_back_equal(
    path, events, chunk_size, assert_same_events
):
    assert pq.ParquetFile(path).num_row_groups == 3
    source = open_events(path, keep_secondaries=True, chunk_size=chunk_size)
    chunks = list(source)
    assert all(0 < len(chunk) <= chunk_size for chunk in chunks)
    found = source.read()
    assert_same_events(found, events)
    assert source.n_events == 7
    assert found.entry.tolist() == list(range(7))
    assert found.file == str(path)
    assert all(column.flags.writeable for column in found.particles.values())


def test_labelled_events_written_at_once_give_the_same_file(path, events, tmp_path):
    again = tmp_path / "again.parquet"
    provenance = {"n_generated": 70, "seed": 3}
    with LabelledWriter(again, SKIMS, VARIABLES, provenance) as writer:
        writer.write(events)
    assert again.read_bytes() == path.read_bytes()


def test_labelled_file_is_readable_with_pyarrow_alone(path, events):
    table = pq.read_table(path)
    rows = table.to_pylist()
    names = [EVENT_TYPES[code] if code >= 0 else None for code in events.event_type]
    assert [row["event_type"] for row in rows] == names
    assert [row["event"] for row in rows] == events.event.tolist()
    assert [row["entry"] for row in rows] == events.entry.tolist()
    passes = [row["passes_feiHadronicB0"] for row in rows]
    assert passes == events.labels["feiHadronicB0"].tolist()
    pdg = [[particle["pdg"] for particle in row["particles"]] for row in rows]
    assert [len(codes) for codes in pdg] == events.counts.tolist()
    assert [code for codes in pdg for code in codes] == events["pdg"].tolist()
    document = json.loads(table.schema.metadata[b"smartfilter"])
    assert document == read_labelled_metadata(path)
    assert document["skims"] == list(SKIMS)
    assert document["provenance"] == {"n_generated": 70, "seed": 3}


def test_labelled_secondaries_are_dropped(tmp_path, make_events):
    events = make_events([10, 20], primary_share=0.5)
    with LabelledWriter(tmp_path / "a.parquet", []) as writer:
        writer.write(events)
    found = open_events(tmp_path / "a.parquet").read()
    assert found.n_particles == (events["status"] & 1).sum()


def test_labelled_nothing_written_is_empty_source(tmp_path):
    with LabelledWriter(tmp_path / "a.parquet", SKIMS, VARIABLES):
        pass
    source = open_events(tmp_path / "a.parquet")
    assert source.n_events == 0
    assert list(source) == []
    assert tuple(source.read().labels) == SKIMS


@pytest.mark.parametrize(
    ("skims", "variables"),
    [(["a", "a"], []), ([], ["event"]), (["a"], ["passes_a"]), ([], ["x", "x"])],
)
def test_labelled_repeated_name_raises_usage_error(tmp_path, skims, variables):
    with pytest.raises(UsageError, match="each once"):
        LabelledWriter(tmp_path / "a.parquet", skims, variables)
    assert list(tmp_path.iterdir()) == []


def test_labelled_missing_label_raises_input_error(tmp_path, make_events):
    with (
        pytest.raises(InputError, match="missing other, sample_weight, got fei"),
        LabelledWriter(
            tmp_path / "a.parquet", ["fei", "other"], VARIABLES[1:]
        ) as writer,
    ):
        writer.write(make_events([1], labels=("fei",)))
    assert list(tmp_path.iterdir()) == []


def test_labelled_existing_file_needs_force(path, events):
    with pytest.raises(UsageError, match="use --force"):
        LabelledWriter(path, SKIMS)
    with LabelledWriter(path, SKIMS, force=True) as writer:
        writer.write(events)
    assert open_events(path).read().variables == {}


def test_labelled_extra_columns_raise_usage_error(path):
    with pytest.raises(UsageError, match="has none"):
        open_events(path, extra_columns=["decay_time"])


@pytest.mark.parametrize("kind", ["foreign", "scores"])
def test_labelled_other_parquet_raises_input_error(tmp_path, kind):
    path = tmp_path / "x.parquet"
    if kind == "foreign":
        pq.write_table(pa.table({"x": [1], "y": [2]}), path)
    else:
        with ScoreWriter(path, ["fei"]):
            pass
    with pytest.raises(InputError, match="expected a labelled file of smartfilter"):
        open_events(path)


def rewrite(path, change) -> None:
    """Replace a file by one with other content but the same metadata."""
    table = pq.read_table(path)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns("particles"), "'particles': expected list"),
        (lambda t: t.drop_columns("passes_other"), "got no such column"),
        (
            lambda t: t.set_column(0, "experiment", pa.array([1.5] * 7)),
            "'experiment': expected int64, got double",
        ),
        (
            lambda t: t.set_column(0, "experiment", pa.array([1] * 6 + [None])),
            "got 1 missing",
        ),
    ],
)
def test_labelled_changed_columns_raise_input_error(path, change, message):
    rewrite(path, change)
    with pytest.raises(InputError, match=message):
        open_events(path).read()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_labelled_truncated_file_raises_input_error(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="truncated or damaged"):
        open_events(path)


def test_labelled_damaged_particles_are_noticed(tmp_path, make_events):
    """Pages have check sums: damage within them never gives other numbers."""
    path = tmp_path / "a.parquet"
    with LabelledWriter(path, []) as writer:
        writer.write(make_events([200] * 20))
    content = path.read_bytes()
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = {
        group.column(i).path_in_schema: group.column(i)
        for i in range(group.num_columns)
    }
    column = columns["particles.list.element.energy"]
    begin = column.data_page_offset + 200
    for position in range(begin, begin + column.total_compressed_size - 400, 997):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            open_events(path).read()


def test_labelled_labels_of_integers_are_written_as_bool(tmp_path, make_events):
    events = make_events([1, 1])
    labelled = Events.from_columns(
        events.offsets,
        events.particles,
        labels={"fei": np.array([True, False])},
        variables={"w": np.array([0.5, 2.0])},
    )
    with LabelledWriter(tmp_path / "a.parquet", ["fei"], ["w"]) as writer:
        writer.write(labelled)
    found = open_events(tmp_path / "a.parquet").read()
    assert found.labels["fei"].tolist() == [True, False]
    assert found.variables["w"].dtype == np.float32
