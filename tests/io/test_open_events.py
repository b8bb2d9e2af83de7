"""What open_events accepts and refuses."""

from __future__ import annotations

import numpy as np
import pytest

from smartfilter.cli import main
from smartfilter.errors import InputError, MissingPackageError, UsageError
from smartfilter.io import LabelledWriter, MdstWriter, ScoreWriter, open_events
from smartfilter.io.formats import FORMATS, FileFormat, find_format
from smartfilter.io.locations import Location, expand_paths
from smartfilter.io.parquet import BatchWriter
from smartfilter.pipeline.object_file import ObjectWriter


@pytest.fixture
def folder(tmp_path, make_events):
    for number, name in enumerate(("b.root", "a.root", "c.root")):
        with MdstWriter(tmp_path / name) as writer:
            writer.write(make_events([2] * (number + 1), seed=number))
    (tmp_path / "d.root.d").mkdir()
    (tmp_path / "note.txt").write_text("hello\n")
    (tmp_path / "empty.dat").touch()
    return tmp_path


def test_open_events_glob_is_sorted_and_skips_folders(folder):
    source = open_events(f"{folder}/*.root*")
    names = [f"{folder}/{name}" for name in ("a.root", "b.root", "c.root")]
    assert list(source.files) == names
    assert source.n_events == 6
    assert [(chunk.file, len(chunk)) for chunk in source] == [
        (names[0], 2),
        (names[1], 1),
        (names[2], 3),
    ]


def test_open_events_list_keeps_order_and_entries(folder):
    source = open_events([folder / "c.root", f"{folder}/b.root:tree"], chunk_size=2)
    found = [(chunk.file, chunk.entry.tolist()) for chunk in source]
    assert found == [
        (f"{folder}/c.root", [0, 1]),
        (f"{folder}/c.root", [2]),
        (f"{folder}/b.root:tree", [0]),
    ]


def test_open_events_can_be_iterated_twice(folder, assert_same_events):
    source = open_events(f"{folder}/*.root")
    assert_same_events(source.read(), source.read())


def test_open_events_mixed_formats(folder, make_events):
    events = make_events([3], labels=("fei",))
    with LabelledWriter(folder / "e.parquet", ["fei"]) as writer:
        writer.write(events)
    source = open_events([folder / "a.root", folder / "e.parquet"])
    assert [len(chunk.labels) for chunk in source] == [0, 1]
    assert source.read().labels == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "got the directory"),
        ("missing.root", "no such file"),
        ("missing.root:tree", "no such file"),
        ("*.hepmc", "no file matches"),
        ("note.txt", "unknown format that begins with b'hello"),
        ("empty.dat", "got an empty file"),
        ("a.root:forest", "tree 'forest': expected"),
    ],
)
def test_open_events_wrong_path_raises_input_error(folder, name, message):
    with pytest.raises(InputError, match=message) as caught:
        open_events(f"{folder}/{name}")
    assert str(folder) in str(caught.value)


def test_open_events_same_file_twice_raises_input_error(folder):
    with pytest.raises(InputError, match="given twice"):
        open_events([f"{folder}/*.root", folder / "d.root.d" / ".." / "a.root"])


def test_open_events_wrong_argument_raises_usage_error(folder):
    with pytest.raises(UsageError, match="chunk_size"):
        open_events(folder / "a.root", chunk_size=0)
    with pytest.raises(UsageError, match="at least one file"):
        open_events([])


def test_open_events_unreadable_file_raises_input_error(folder, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match="cannot be opened"):
        open_events(folder / "a.root")


def test_locations_xrootd_without_extra_raises_missing_package(monkeypatch):
    monkeypatch.setattr("smartfilter.io.locations.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"smartfilter\[xrootd\]"):
        open_events("root://server//store/a.root")


def test_locations_xrootd_with_extra_are_split(monkeypatch):
    monkeypatch.setattr("smartfilter.io.locations.find_spec", lambda _: object())
    urls = ["root://server.root:1094//x/a.root", "root://server.root:1094//x/b.root:t"]
    first, second = expand_paths(urls)
    assert (first.path, first.tree, first.is_remote) == (urls[0], None, True)
    assert (second.path, second.tree) == ("root://server.root:1094//x/b.root", "t")
    assert find_format(first) is FORMATS[0]
    with pytest.raises(InputError, match=r"expected a \.root file"):
        find_format(Location("root://server//x/a.parquet"))


def test_locations_other_url_raises_input_error():
    with pytest.raises(InputError, match="expected root://"):
        expand_paths("https://server/a.root")


def test_locations_name_with_pattern_characters_is_literal(tmp_path):
    path = tmp_path / "a[1]*.root"
    path.touch()
    assert [location.path for location in expand_paths(path)] == [str(path)]


def test_formats_first_that_recognises_wins(folder, monkeypatch):
    """A second format with the same first bytes is told apart by its module."""
    rows = (FORMATS[1], FileFormat("other", "smartfilter.io.mdst", ".x", b"PAR1"))
    monkeypatch.setattr("smartfilter.io.formats.FORMATS", rows)
    (folder / "x.parquet").write_bytes(b"PAR1 of somebody else")
    assert find_format(Location(str(folder / "x.parquet"))) is rows[1]
    with LabelledWriter(folder / "e.parquet", []):
        pass
    assert find_format(Location(str(folder / "e.parquet"))) is rows[0]


def test_open_events_columns_are_writable_and_independent(folder):
    source = open_events(folder / "c.root")
    first = source.read()
    assert all(column.flags.writeable for column in first.particles.values())
    first.particles["pdg"][:] = 0
    assert np.any(source.read()["pdg"] != 0)


@pytest.mark.parametrize(
    ("writer", "message"),
    [
        (ObjectWriter, "got one of detector objects; it is for smartfilter skim"),
        (lambda path: ScoreWriter(path, ["fei"]), "got one of scores; it is for"),
        (
            lambda path: BatchWriter(path, {}, {"kind": "labels"}, block_rows=1),
            "got one of labels; smartfilter skim --events",
        ),
    ],
)
def test_open_events_our_own_other_files_name_their_command(tmp_path, writer, message):
    """The content tells, whatever the file's name."""
    with writer(tmp_path / "a.parquet"):
        pass
    path = (tmp_path / "a.parquet").rename(tmp_path / "events.root")
    with pytest.raises(InputError, match=message) as caught:
        open_events(path)
    assert str(path) in str(caught.value)


def test_inspect_of_detector_objects_says_what_they_are(tmp_path, capfd):
    with ObjectWriter(tmp_path / "objects.parquet"):
        pass
    with pytest.raises(SystemExit) as stop:
        main(["inspect", str(tmp_path / "objects.parquet")])
    assert not stop.value.code
    assert "for smartfilter skim" in " ".join(capfd.readouterr().out.split())
