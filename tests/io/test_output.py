"""Outputs appear complete, and never in place of what another run made."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from smartfilter.errors import UsageError
from smartfilter.io.output import OutputFile, TextFile, find_temporaries


class WordFile(OutputFile):
    """Writes one word."""

    def __init__(self, path: Path, word: str, *, force: bool = False) -> None:
        super().__init__(path, force=force)
        self._word = word

    def _finish(self) -> None:
        self._temporary.write_text(self._word)

    def _abandon(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_output_of_two_runs_is_that_of_the_first_to_finish(tmp_path):
    path = tmp_path / "out.txt"
    first, second = WordFile(path, "first"), WordFile(path, "second")
    second.close()
    with pytest.raises(UsageError, match="made by another run meanwhile"):
        first.close()
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_output_with_force_replaces_what_appears(tmp_path):
    path = tmp_path / "out.txt"
    first = WordFile(path, "first", force=True)
    WordFile(path, "second").close()
    first.close()
    assert path.read_text() == "first"


def test_output_where_there_are_no_links_is_moved(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "out.txt"
    WordFile(path, "word").close()
    assert path.read_text() == "word"
    assert list(tmp_path.iterdir()) == [path]


def test_output_on_a_full_disk_is_a_usage_error_and_leaves_nothing(tmp_path):
    with pytest.raises(UsageError, match="No space left on device"):  # noqa: PT012, SIM117
        with WordFile(tmp_path / "out.txt", "word") as file:
            assert file.path.name == "out.txt"
            raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_find_temporaries_finds_those_of_this_output_alone(tmp_path):
    mine = tmp_path / f".a.{'0f' * 16}.part.root"
    other = tmp_path / f".ab.{'0f' * 16}.part.root"
    for path in (mine, other, tmp_path / "a.root", tmp_path / ".a.0f.part.root"):
        path.touch()
    assert find_temporaries(tmp_path, "a", ".root") == [mine]
    assert set(find_temporaries(tmp_path, r"\w+", ".root")) == {mine, other}


def test_text_file_is_complete_or_absent(tmp_path):
    path = tmp_path / "a.txt"
    with TextFile(path) as file:
        file.text = "Bücher\n"
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "Bücher\n"
    file = TextFile(path, force=True)
    file.text = "other"
    file.discard()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text(encoding="utf-8") == "Bücher\n"
    with pytest.raises(UsageError, match="exists"):
        TextFile(path)
