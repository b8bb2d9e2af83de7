"""One event by its position: the same as reading all, and of ROOT files nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smartfilter.errors import InputError
from smartfilter.io import open_events
from smartfilter.io.mdst import MdstFile


@pytest.mark.parametrize("entry", [0, 399, 400, 432, 433])
def test_read_entry_is_that_of_all_events(example, labelled_file, entry):
    """The example has 400 events; what follows is of a file read front to back."""
    first, second = open_events(example).read(), open_events(labelled_file).read()
    expected = first.take([entry]) if entry < 400 else second.take([entry - 400])
    told: list[int] = []
    source = open_events([example, labelled_file], chunk_size=30)
    found = source.read_entry(entry, advance=told.append)
    for name, column in expected.particles.items():
        np.testing.assert_array_equal(found[name], column)
    for name in ("experiment", "run", "event", "event_type", "entry"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.file == expected.file
    assert sum(told) == (30 if entry > 429 else 0)


def test_read_entry_reads_no_other_event_of_a_root_file(
    example: Path, monkeypatch: pytest.MonkeyPatch
):
    """All events up to it were read."""
    ranges: list[tuple[int, int]] = []
    read = MdstFile._read

    def note(self, tree, branches, start, stop):
        ranges.append((start, stop))
        return read(self, tree, branches, start, stop)

    monkeypatch.setattr(MdstFile, "_read", note)
    open_events(example).read_entry(250)
    assert ranges == [(250, 251)]


def test_read_entry_beyond_the_end_raises(example: Path):
    source = open_events(example)
    with pytest.raises(InputError, match="entry below 400, got 400"):
        source.read_entry(400)
