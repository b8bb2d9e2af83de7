"""What can be in the place of a file, and what can happen to it while it is read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from smartfilter.errors import InputError, MissingPackageError
from smartfilter.io import LabelledWriter, MdstWriter, open_events

IS_ROOT = os.geteuid() == 0


def write_mdst(path, events):
    with MdstWriter(path, force=True) as writer:
        writer.write(events)


def write_labelled(path, events):
    labels = {"feiHadronicB0": np.ones(len(events), dtype=bool)}
    with LabelledWriter(path, list(labels), force=True) as writer:
        writer.write(events.with_labels(labels))


WRITERS = {"events.root": write_mdst, "events.parquet": write_labelled}


@pytest.fixture(params=WRITERS)
def file(request, tmp_path, some_events) -> Path:
    path: Path = tmp_path / request.param
    WRITERS[request.param](path, some_events)
    return path


def assert_refused(run, *arguments):
    code, out, err = run("score", *arguments)
    assert code == 3
    assert out == ""
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1
    return err


def test_score_directory_is_refused(run, tmp_path):
    assert "directory" in assert_refused(run, tmp_path)


@pytest.mark.skipif(IS_ROOT, reason="root may read everything")
def test_score_file_without_permission_is_refused(run, file):
    file.chmod(0)
    assert "Permission denied" in assert_refused(run, file)


@pytest.mark.skipif(IS_ROOT, reason="root may enter everything")
def test_score_file_in_closed_folder_is_refused(run, file):
    file.parent.chmod(0)
    try:
        assert_refused(run, file)
    finally:
        file.parent.chmod(0o700)


def test_score_file_whose_folder_cannot_be_entered_is_refused(run, file, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("pathlib.Path.exists", refuse)
    monkeypatch.setattr("pathlib.Path.stat", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        open_events(file)


def test_score_pipe_is_refused_and_does_not_wait(run, tmp_path):
    pipe = tmp_path / "events.root"
    os.mkfifo(pipe)
    assert "file" in assert_refused(run, pipe)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_score_device_is_refused(run, device):
    assert device in assert_refused(run, device)


def test_score_name_that_is_too_long_is_refused(run):
    assert_refused(run, "a" * 5000 + ".root")


def test_score_link_to_itself_is_refused(run, tmp_path):
    link = tmp_path / "events.root"
    link.symlink_to(link)
    assert "events.root" in assert_refused(run, link)


def test_score_name_that_is_no_text_is_read(run, tmp_path, some_events):
    name = os.fsdecode(b"events-\xff.root")
    write_mdst(tmp_path / name, some_events)
    output = tmp_path / "scores.parquet"
    code, _, err = run("score", tmp_path / name, "-o", output)
    assert (code, output.exists()) in ((0, True), (3, False))
    assert "Traceback" not in err


def test_score_git_lfs_pointer_says_how_to_fetch(run, tmp_path):
    path = tmp_path / "events.root"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "git lfs pull" in assert_refused(run, path)


def test_open_events_url_without_package_is_refused(monkeypatch):
    monkeypatch.setattr("smartfilter.io.locations.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"smartfilter\[xrootd\]"):
        open_events("root://server//events.root")


def test_score_file_that_vanishes_before_it_is_read_is_refused(file):
    source = open_events(file)
    file.unlink()
    with pytest.raises(InputError, match=file.name):
        list(source)


def test_score_file_that_vanishes_while_it_is_read_is_read_or_refused(
    file, some_events
):
    chunks = iter(open_events(file, chunk_size=5))
    n_read = len(next(chunks))
    file.unlink()
    refused = ""
    try:
        n_read += sum(len(chunk) for chunk in chunks)
    except InputError as error:
        refused = str(error)
    assert file.name in refused or n_read == len(some_events)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_score_file_that_is_cut_while_it_is_read_is_read_or_refused(
    file, some_events, share
):
    expected = open_events(file).read()
    chunks = iter(open_events(file, chunk_size=5))
    read = [next(chunks)]
    os.truncate(file, int(share * file.stat().st_size))
    refused = ""
    try:
        read += list(chunks)
    except InputError as error:
        refused = str(error)
    assert file.name in refused or sum(map(len, read)) == len(some_events)
    found = np.concatenate([chunk["energy"] for chunk in read])
    np.testing.assert_array_equal(found, expected["energy"][: len(found)])


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_score_file_that_is_still_written_is_refused_until_complete(
    file, some_events, share
):
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=file.name):
        list(open_events(file))
    file.write_bytes(content)
    assert open_events(file).n_events == len(some_events)


def test_score_file_that_grows_gives_the_events_it_had(file, some_events):
    source = open_events(file, chunk_size=5)
    chunks = iter(source)
    n_read = len(next(chunks))
    with file.open("ab") as handle:
        handle.write(bytes(10_000))
    n_read += sum(len(chunk) for chunk in chunks)
    assert n_read == len(some_events)


def test_score_file_replaced_by_a_shorter_one_never_mixes_silently(file, some_events):
    source = open_events(file)
    WRITERS[file.name](file, some_events.take(slice(3)))
    with pytest.raises(InputError, match="changed"):
        list(source)


def test_score_second_file_bad_leaves_no_output(run, file, tmp_path):
    bad = tmp_path / "bad.root"
    bad.write_bytes(b"root")
    output = tmp_path / "scores.parquet"
    assert "bad.root" in assert_refused(run, file, bad, "-o", output)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.root", file.name]
