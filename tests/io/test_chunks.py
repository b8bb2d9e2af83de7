"""Chunks: the same events as reading the file, and never fewer in silence."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from smartfilter.errors import InputError
from smartfilter.io import LabelledWriter, MdstWriter, open_events


@pytest.fixture
def files(tmp_path: Path, make_events) -> list[Path]:
    """Return a file that is read anywhere, and one that is read front to back."""
    events = make_events([3, 0, 2, 1, 4, 2, 5], labels=("A",))
    paths = [tmp_path / "a.root", tmp_path / "b.parquet"]
    with MdstWriter(paths[0]) as writer:
        writer.write(events)
    with LabelledWriter(paths[1], ["A"]) as labelled:
        labelled.write(events)
    return paths


def test_chunks_hold_the_events_of_the_files_in_order(
    files, monkeypatch, assert_same_events
):
    monkeypatch.chdir(files[0].parent)
    source = open_events(["a.root", "b.parquet"], chunk_size=3)
    expected, chunks = list(source), list(source.chunks())
    assert [chunk.n_events for chunk in chunks] == [3, 3, 1] * 2
    monkeypatch.chdir("/")  # a worker runs somewhere else
    for chunk, events in zip(chunks, expected, strict=True):
        found = pickle.loads(pickle.dumps(chunk)).read()
        assert_same_events(found, events)
        assert found.entry.tolist() == events.entry.tolist()
        assert found.file == chunk.file == events.file
    keys = [chunk.key for chunk in chunks]
    assert keys == sorted(set(keys))


def test_chunk_of_a_file_that_shrank_or_vanished_is_an_input_error(files, make_events):
    chunks = list(open_events(files[0], chunk_size=5).chunks())
    with MdstWriter(files[0], force=True) as writer:
        writer.write(make_events([1] * 6))
    for chunk in chunks:
        with pytest.raises(InputError, match="changed while it was in use"):
            chunk.read()
    files[0].unlink()
    with pytest.raises(InputError, match=r"a\.root"):
        chunks[0].read()


def test_chunk_of_damaged_data_is_an_input_error_of_that_file(files):
    content = bytearray(files[1].read_bytes())
    middle = len(content) // 4
    content[middle : middle + 300] = bytes(300)
    files[1].write_bytes(content)
    source = open_events(files, chunk_size=3)
    chunks = list(source.chunks())
    assert [chunk.file for chunk in chunks] == [str(files[0])] * 3 + [str(files[1])]
    with pytest.raises(InputError, match=r"b\.parquet"):
        chunks[3].read()


def test_describe_changes_with_the_file(files):
    before = open_events(files).describe()
    assert open_events(files).describe() == before
    assert open_events(files, chunk_size=2).describe() != before
    assert open_events(files[::-1]).describe() != before
    files[0].touch()
    assert open_events(files).describe() != before


def test_open_events_leaves_out_bad_files_if_told(files, tmp_path):
    bad = tmp_path / "c.root"
    bad.write_bytes(b"root, but no ROOT file")
    with pytest.raises(InputError, match=r"c\.root"):
        open_events([bad, *files])
    source = open_events([bad, *files], skip_bad_files=True)
    assert source.files == tuple(map(str, files))
    assert list(source.skipped) == [str(bad)]
    assert np.concatenate([chunk.read().event for chunk in source.chunks()]).size == 14
    with pytest.raises(InputError, match=r"got none; .*c\.root"):
        open_events([bad], skip_bad_files=True)
    with pytest.raises(InputError, match="no such file"):
        open_events([tmp_path / "absent.root", *files], skip_bad_files=True)
