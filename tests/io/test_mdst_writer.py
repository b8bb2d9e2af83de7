"""Writer of mdst files."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot

from smartfilter.errors import InputError, UsageError
from smartfilter.events import Events
from smartfilter.io import EXTRA_COLUMNS, MdstWriter, open_events, read_provenance
from smartfilter.io.mdst import MEMBERS
from smartfilter.io.record import OUT_OF_RANGE


def test_writer_written_file_reads_back_equal(
    tmp_path, make_events, assert_same_events
):
    parts = [make_events([3, 0, 1, 12], seed=1), make_events([], seed=2)]
    parts.append(make_events([40, 5, 0], seed=3))
    path = tmp_path / "events.root"
    with MdstWriter(path, provenance={"seed": np.int64(3)}) as writer:
        for part in parts:
            writer.write(part)
    source = open_events(path, keep_secondaries=True, chunk_size=2)
    assert source.n_events == 7
    events = source.read()
    assert_same_events(events.take(slice(0, 4)), parts[0])
    assert_same_events(events.take(slice(4, 7)), parts[2])
    assert events.entry.tolist() == list(range(7))
    assert read_provenance(path) == {"seed": 3}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["events.root"]


@pytest.mark.parametrize("n_at_once", [1, 2, 4, 7])
def test_writer_several_blocks_read_back_equal(
    tmp_path, monkeypatch, make_events, assert_same_events, n_at_once
):
    monkeypatch.setattr("smartfilter.io.mdst_writer._BLOCK_ROWS", 10)
    events = make_events([3, 9, 0, 1, 12, 30, 2])
    with MdstWriter(tmp_path / "a.root") as writer:
        for first in range(0, len(events), n_at_once):
            writer.write(events.take(slice(first, first + n_at_once)))
    with uproot.open(tmp_path / "a.root") as file:
        edges = file["tree/MCParticles"].entry_offsets
    assert edges == [0, 2, 5, 6, 7]
    for chunk_size in (1, 3, 100):
        found = open_events(tmp_path / "a.root", chunk_size=chunk_size).read()
        assert_same_events(found, events)


def test_writer_keys_and_types_equal_those_of_basf2(shared_data, tmp_path, make_events):
    with MdstWriter(tmp_path / "a.root", provenance={"n_generated": 9}) as writer:
        writer.write(make_events([3, 2]))
    left_out = ("fUniqueID", "fBits", "m_parentLfn", "TObject")
    with (
        uproot.open(tmp_path / "a.root") as ours,
        uproot.open(shared_data / "mdst" / "mdst-v09-00-00.root") as theirs,
    ):
        expected = {
            name: kind
            for name, kind in theirs["tree"].typenames().items()
            if name.startswith(("MCParticles", "EventMetaData/"))
            and not name.endswith(left_out)
        }
        found = ours["tree"].typenames()
        assert found.pop("event_type") == "int8_t"
        assert found == expected
        theirs_types = theirs["persistent"].typenames()
        for name, kind in ours["persistent"].typenames().items():
            assert theirs_types[name] == kind
        pdg = ours["tree"]["MCParticles/MCParticles.m_pdg"].array()
        assert ak.num(pdg).to_list() == ours["tree"]["MCParticles"].array().to_list()
        assert ours["persistent"]["FileMetaData/m_nEvents"].array().to_list() == [2]
        assert ours["persistent"]["FileMetaData/m_mcEvents"].array().to_list() == [9]


def test_writer_copy_of_real_file_has_the_same_members(shared_data, tmp_path):
    """Whatever basf2 stored comes back, daughter ranges included."""
    source = open_events(
        shared_data / "mdst" / "mdst-v09-00-00.root",
        keep_secondaries=True,
        extra_columns=tuple(EXTRA_COLUMNS),
    )
    events = source.read()
    with MdstWriter(tmp_path / "copy.root") as writer:
        writer.write(events)
    with (
        uproot.open(tmp_path / "copy.root") as ours,
        uproot.open(source.files[0]) as theirs,
    ):
        for member in MEMBERS.values():
            key = f"MCParticles/MCParticles.{member}"
            left, right = ours["tree"][key].array(), theirs["tree"][key].array()
            assert ak.array_equal(left, right, equal_nan=True), key


def test_writer_decay_follows_from_daughters(tmp_path, make_events):
    """A chain 0 -> 1, 3 with a gap, 1 -> 2; 4 alone; 5 points outside."""
    events = make_events([1, 6])
    mothers = np.array([-1, -1, 0, 1, 0, -1, OUT_OF_RANGE], np.int32)
    status = np.array([1, 1, 1, 1, 1, 33, 1], np.uint16)
    columns = {**events.particles, "mother_index": mothers, "status": status}
    with MdstWriter(tmp_path / "a.root") as writer:
        writer.write(Events.from_columns(events.offsets, columns))
    back = open_events(tmp_path / "a.root", extra_columns=tuple(EXTRA_COLUMNS)).read()
    assert back["mother_index"].tolist() == mothers.tolist()
    assert back["first_daughter"].tolist() == [-1, -1, 3 - 1, -1, -1, -1, -1]
    assert back["last_daughter"].tolist() == [-1, -1, 2, -1, -1, -1, -1]
    assert back["decay_time"][[0, 3, 4, 5, 6]].tolist() == [np.inf] * 5
    assert back["decay_time"][[1, 2]].tolist() == back["prod_time"][[2, 3]].tolist()
    assert back["decay_x"][[1, 2]].tolist() == back["x"][[2, 3]].tolist()
    assert back["decay_z"][[0, 3]].tolist() == [0.0, 0.0]
    assert back["valid_vertex"].tolist() == [True] * 5 + [False, True]


def test_writer_keeps_infinities_and_nan(tmp_path, make_events, assert_same_events):
    events = make_events([4])
    events.particles["energy"][:3] = np.nan, np.inf, -np.inf
    with MdstWriter(tmp_path / "a.root") as writer:
        writer.write(events)
    assert_same_events(open_events(tmp_path / "a.root").read(), events)


def test_writer_nothing_written_is_empty_source(tmp_path):
    with MdstWriter(tmp_path / "a.root"):
        pass
    source = open_events(tmp_path / "a.root")
    assert source.n_events == 0
    assert len(source.read()) == 0


def test_writer_existing_file_needs_force(tmp_path, make_events):
    path = tmp_path / "a.root"
    path.write_text("precious")
    with pytest.raises(UsageError, match="use --force"):
        MdstWriter(path)
    assert path.read_text() == "precious"
    with MdstWriter(path, force=True) as writer:
        writer.write(make_events([1]))
    assert open_events(path).n_events == 1


def test_writer_failure_leaves_nothing_behind(tmp_path, make_events):
    (tmp_path / "a.root").write_text("precious")
    bad = make_events([1, 1])
    bad.event[0] = -1
    writer = MdstWriter(tmp_path / "a.root", force=True)
    writer.write(bad)
    with pytest.raises(InputError), writer:
        writer.write(make_events([1]))
    assert [file.name for file in tmp_path.iterdir()] == ["a.root"]
    assert (tmp_path / "a.root").read_text() == "precious"


@pytest.mark.parametrize("number", [-1, 2**32])
def test_writer_event_number_too_large_raises_input_error(
    tmp_path, make_events, number
):
    events = make_events([1, 1])
    events.event[1] = number
    with (
        pytest.raises(
            InputError, match=rf"event: expected 0 to 4294967295, got {number}"
        ),
        MdstWriter(tmp_path / "a.root") as writer,
    ):
        writer.write(events)
    assert list(tmp_path.iterdir()) == []


def test_writer_bad_provenance_raises_usage_error(tmp_path):
    for provenance in ({"x": float("nan")}, {"x": object()}, {"n_generated": -1}):
        with pytest.raises(UsageError):
            MdstWriter(tmp_path / "a.root", provenance=provenance)
    assert list(tmp_path.iterdir()) == []


def test_writer_differing_columns_raise_input_error(tmp_path, make_events):
    events = make_events([2])
    more = Events.from_columns(
        events.offsets, {**events.particles, "decay_x": np.zeros(2, np.float32)}
    )
    writer = MdstWriter(tmp_path / "a.root")
    writer.write(events)
    with pytest.raises(InputError, match="as in earlier events"), writer:
        writer.write(more)
    assert list(tmp_path.iterdir()) == []


def test_provenance_of_basf2_file_raises_input_error(shared_data):
    with pytest.raises(InputError, match="smartfilter did not write it"):
        read_provenance(shared_data / "mdst" / "mdst-v09-00-00.root")
