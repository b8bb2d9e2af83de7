"""Files of detector objects: what goes in comes out, and damage is noticed."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smartfilter.errors import InputError, UsageError
from smartfilter.events import PARTICLE_COLUMNS, Events, offsets_from_counts
from smartfilter.io import LabelledWriter, open_events
from smartfilter.pipeline.object_file import ObjectWriter, hash_content, open_objects
from smartfilter.pipeline.objects import CLUSTER_COLUMNS, TRACK_COLUMNS, Detected, Table
from smartfilter.pipeline.simulation import label_objects

COUNTS = {"tracks": [3, 0, 2, 0, 0], "clusters": [2, 4, 0, 0, 1]}
"""An event without tracks, one without clusters, an empty one."""

LIMITS = {"f": (-1e30, 1e30), "i": (-100, 100)}


def make_table(counts, columns, seed):
    rng = np.random.default_rng(seed)
    n = sum(counts)
    values = {
        name: rng.uniform(*LIMITS[dtype.kind], n).astype(dtype)
        for name, dtype in columns.items()
    }
    return Table(offsets_from_counts(np.array(counts, dtype=np.int64)), values)


def make_events(n_events, *, pdg=22):
    columns = {
        name: np.zeros(n_events, kind) for name, kind in PARTICLE_COLUMNS.items()
    }
    columns["pdg"][:] = pdg
    columns["mother_index"][:] = -1
    number = np.arange(n_events)
    return Events.from_columns(
        np.arange(n_events + 1),
        columns,
        experiment=number + 1,
        run=number + 2,
        production=number + 3,
        event=number + 4,
        entry=number + 5,
        event_type=np.array([-1, 0, 1, 3, 6], dtype=np.int8)[:n_events],
        file="some.root",
    )


@pytest.fixture
def events():
    return make_events(5)


@pytest.fixture
def detected():
    return Detected(
        make_table(COUNTS["tracks"], TRACK_COLUMNS, 1),
        make_table(COUNTS["clusters"], CLUSTER_COLUMNS, 2),
    )


@pytest.fixture
def path(tmp_path, events, detected):
    path = tmp_path / "objects.parquet"
    with ObjectWriter(path, {"seed": np.int64(3)}) as writer:
        writer.write(events, detected)
    return path


def test_objects_read_back_bit_for_bit(path, events, detected):
    source = open_objects(path)
    assert source.n_events == 5
    assert source.provenances == [{"seed": 3}]
    (block,) = source.iterate()
    for name in ("tracks", "clusters"):
        found, expected = getattr(block.detected, name), getattr(detected, name)
        assert found.offsets.tolist() == expected.offsets.tolist()
        assert found.columns.keys() == expected.columns.keys()
        for column in expected.columns:
            assert found[column].dtype == expected[column].dtype
            assert found[column].tobytes() == expected[column].tobytes()
    identity = block.identity.to_pydict()
    for name in ("experiment", "run", "production", "event", "entry"):
        assert identity[name] == getattr(events, name).tolist()
    assert identity["event_type"] == [None, "ccbar", "charged", "mixed", "uubar"]
    assert identity["file"] == ["some.root"] * 5
    assert identity["content"] == hash_content(events).tolist()


def test_objects_are_readable_with_pyarrow_alone(path, detected):
    table = pq.read_table(path)
    document = json.loads(table.schema.metadata[b"smartfilter"])
    assert (document["kind"], document["schema_version"]) == ("detector objects", 1)
    rows = table.to_pylist()
    assert [len(row["tracks"]) for row in rows] == COUNTS["tracks"]
    assert [len(row["clusters"]) for row in rows] == COUNTS["clusters"]
    energies = [c["energy"] for row in rows for c in row["clusters"]]
    assert energies == detected.clusters["energy"].tolist()


@pytest.mark.parametrize("block_events", [1, 2, 3, 100])
@pytest.mark.parametrize("block_rows", [1, 3])
def test_objects_do_not_depend_on_blocks(
    tmp_path, events, detected, path, block_events, block_rows, monkeypatch
):
    monkeypatch.setattr("smartfilter.pipeline.object_file._BLOCK_EVENTS", block_rows)
    again = tmp_path / "again.parquet"
    with ObjectWriter(again) as writer:
        for block in open_objects(path).iterate(2):
            first = block.start
            writer.write(events.take(slice(first, first + len(block))), block.detected)
    assert pq.ParquetFile(again).num_row_groups > 1
    assert pq.read_table(again).equals(pq.read_table(path))
    blocks = list(open_objects([again, path]).iterate(block_events))
    assert all(0 < len(block) <= block_events for block in blocks)
    for name in ("tracks", "clusters"):
        parts = [getattr(block.detected, name) for block in blocks]
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        assert counts.tolist() == COUNTS[name] * 2
        for column, values in getattr(detected, name).columns.items():
            found = np.concatenate([part[column] for part in parts])
            assert found.tolist() == values.tolist() * 2


def test_objects_without_events_are_a_file_without_blocks(tmp_path):
    with ObjectWriter(tmp_path / "none.parquet") as writer:
        writer.write(make_events(0), Detected(*([make_empty(0)] * 2)))
    source = open_objects(tmp_path / "none.parquet")
    assert source.n_events == 0
    assert list(source.iterate()) == []


def make_empty(n_events):
    columns = {**TRACK_COLUMNS, **CLUSTER_COLUMNS}
    values = {name: np.empty(0, dtype) for name, dtype in columns.items()}
    return Table(np.zeros(n_events + 1, np.int64), values)


def test_objects_of_empty_events_pass_no_skim(tmp_path):
    path = tmp_path / "empty.parquet"
    with ObjectWriter(path) as writer:
        writer.write(make_events(3), Detected(*([make_empty(3)] * 2)))
    (block,) = open_objects(path).iterate()
    labels, variables = label_objects(block.detected)
    assert not np.any(list(labels.values()))
    assert variables["n_tracks"].tolist() == [0, 0, 0]


def test_hash_content_tells_events_of_one_identity_apart():
    one, other = hash_content(make_events(5)), hash_content(make_events(5, pdg=11))
    assert len({*one.tolist(), *other.tolist()}) == 10


def test_writer_unequal_numbers_of_events_are_refused(tmp_path, events, detected):
    with (
        pytest.raises(UsageError, match="expected 4 events, got tracks of 5"),
        ObjectWriter(tmp_path / "x.parquet") as writer,
    ):
        writer.write(events.take(slice(0, 4)), detected)
    assert list(tmp_path.iterdir()) == []


def test_writer_existing_file_needs_force(path):
    with pytest.raises(UsageError, match="use --force"):
        ObjectWriter(path)


def test_open_objects_of_labelled_events_is_refused_and_the_reverse(path, tmp_path):
    labelled = tmp_path / "labelled.parquet"
    with LabelledWriter(labelled, []):
        pass
    with pytest.raises(InputError, match="expected a detector objects file"):
        open_objects(labelled)
    with pytest.raises(InputError, match="expected a labelled file"):
        open_events(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.drop_columns("tracks"),
            "'tracks': expected list.* no such column",
        ),
        (lambda t: t.drop_columns("content"), "'content': expected uint64"),
        (
            lambda t: t.set_column(
                t.schema.get_field_index("clusters"),
                "clusters",
                pa.array([[{"energy": 1.0}]] * 5),
            ),
            "'clusters': expected list",
        ),
        (
            lambda t: t.set_column(1, "entry", pa.array([1, 2, 3, 4, None])),
            "'entry': .* got 1 missing",
        ),
        (
            lambda t: t.set_column(
                t.schema.get_field_index("tracks"),
                t.schema.field("tracks"),
                pa.array([None] * 5, t.schema.field("tracks").type),
            ),
            "'tracks': .* got 5 missing",
        ),
    ],
)
def test_objects_changed_columns_raise_input_error(path, change, message):
    table = pq.read_table(path)
    changed = change(table).replace_schema_metadata(table.schema.metadata)
    pq.write_table(changed, path)
    with pytest.raises(InputError, match=message):
        list(open_objects(path).iterate())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_objects_truncated_file_raises_input_error(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="truncated or damaged"):
        open_objects(path)


def test_objects_damaged_pages_are_noticed(path):
    content = path.read_bytes()
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    energy = next(c for c in columns if c.path_in_schema.endswith("energy"))
    damaged = bytearray(content)
    damaged[energy.data_page_offset + energy.total_compressed_size - 3] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="damaged"):
        list(open_objects(path).iterate())


def test_open_objects_url_is_refused(monkeypatch):
    monkeypatch.setattr("smartfilter.io.locations.find_spec", lambda _: object())
    with pytest.raises(InputError, match="expected a local file, got the URL"):
        open_objects("root://server//objects.parquet")
