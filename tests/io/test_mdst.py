"""Reader of mdst files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from smartfilter.errors import InputError, UsageError
from smartfilter.events import PARTICLE_COLUMNS, Events, StatusBit, offsets_from_counts
from smartfilter.io import EXTRA_COLUMNS, MdstWriter, open_events
from smartfilter.io.mdst import MEMBERS, _encode_extra_info
from smartfilter.io.record import OUT_OF_RANGE, daughter_ranges, drop_secondaries

REAL_FILES = (
    "mdst-v04-00-03",
    "mdst-v06-00-00",
    "mdst-v09-00-00",
    "analysis-tests-mdst",
    "analysis-tests-udst-v04-02-04",
    "analysis-tests-pgun-roe-mdst",
)
# Belle2::Const::EDetector: the n-th detector has bit n - 1
DETECTORS = ("PXD", "SVD", "CDC", "TOP", "ARICH", "ECL", "KLM")
ALL_EXTRA = tuple(EXTRA_COLUMNS)


def parse_dump(path: Path) -> list[list[dict[str, str]]]:
    """Return per event and particle what basf2 printed, by getter."""
    events: list[list[dict[str, str]]] = []
    getters: dict[str, str] | None = None
    for line in path.read_text().splitlines():
        if line.startswith("EventMetaData:"):
            events.append([])
        elif re.fullmatch(r"MCParticle#\d+:", line):
            getters = {}
            events[-1].append(getters)
        elif re.match(r"\w+#\d+:|[A-Z]\w+:$", line):
            getters = None
        elif getters is not None:
            match = re.match(r"  (\w+)\(\): (.*)", line)
            if match:
                getters[match[1]] = match[2]
    return events


def printed(value: float) -> float:
    """Return a float as it comes back from a text with six significant digits."""
    return float(f"{value:.6g}")


def vector(text: str) -> list[float]:
    return [float(part) for part in text.strip("()").split(",")]


def reference(text: str) -> int:
    return -1 if "NULL" in text else int(text.rpartition("#")[2])


@pytest.mark.parametrize("release", ["v06-00-00", "v09-00-00"])
def test_reader_real_file_equals_basf2_dump(shared_data, release):
    dump = parse_dump(shared_data / "mdst" / f"mdst_compatibility-{release}.out")
    events = open_events(
        shared_data / "mdst" / f"mdst-{release}.root",
        keep_secondaries=True,
        extra_columns=ALL_EXTRA,
    ).read()
    assert len(dump) == 3
    n_compared = 0
    for number, particles in enumerate(dump):
        rows = slice(events.offsets[number], events.offsets[number + 1])
        assert len(particles) == rows.stop - rows.start
        for row, getter in enumerate(particles):
            ours = {name: events[name][rows][row] for name in events.particles}
            assert ours["array_index"] == int(getter["getArrayIndex"]) == row
            assert ours["pdg"] == int(getter["getPDG"])
            assert ours["status"] == int(getter["getStatus"])
            assert ours["process"] == int(getter["getSecondaryPhysicsProcess"])
            assert ours["mother_index"] == reference(getter["getMother"])
            assert ours["first_daughter"] == int(getter["getFirstDaughter"]) - 1
            assert ours["last_daughter"] == int(getter["getLastDaughter"]) - 1
            assert ours["valid_vertex"] == (getter["hasValidVertex"] == "True")
            names = [
                name for bit, name in enumerate(DETECTORS) if ours["seen_in"] >> bit & 1
            ]
            assert getter["getSeenInDetector"] == f"<set: {','.join(names)}>"
            for name, getter_name in (
                ("mass", "getMass"),
                ("energy", "getEnergy"),
                ("prod_time", "getProductionTime"),
                ("decay_time", "getDecayTime"),
            ):
                assert printed(ours[name]) == float(getter[getter_name]), name
            for axes, getter_name in (
                (("px", "py", "pz"), "getMomentum"),
                (("x", "y", "z"), "getProductionVertex"),
                (("decay_x", "decay_y", "decay_z"), "getDecayVertex"),
            ):
                found = [printed(ours[axis]) for axis in axes]
                assert found == vector(getter[getter_name]), getter_name
            n_compared += 1
    assert n_compared > 200


def reduce_by_loop(events: Events) -> dict[str, list[list[int]]]:
    """Return array index, mother and daughters of the primaries, by dictionaries."""
    result: dict[str, list[list[int]]] = {
        "row": [],
        "mother": [],
        "first": [],
        "last": [],
    }
    for begin, end in zip(events.offsets[:-1], events.offsets[1:], strict=True):
        mothers = events["mother_index"][begin:end].tolist()
        status = events["status"][begin:end].tolist()
        kept = [row for row in range(end - begin) if status[row] & 1]
        new = {row: position for position, row in enumerate(kept)}
        new_mothers = [new.get(mothers[row], -1) for row in kept]
        daughters: dict[int, list[int]] = {}
        for position, mother in enumerate(new_mothers):
            daughters.setdefault(mother, []).append(position)
        result["row"].append(kept)
        result["mother"].append(new_mothers)
        positions = range(len(kept))
        result["first"].append([min(daughters.get(p, [-1])) for p in positions])
        result["last"].append([max(daughters.get(p, [-1])) for p in positions])
    return result


@pytest.mark.parametrize("name", REAL_FILES)
def test_reader_real_file_reduces_to_primaries_like_loop(shared_data, name):
    """Facts: secondaries are interleaved; a primary's mother is primary and precedes it."""
    path = shared_data / "mdst" / f"{name}.root"
    everything = open_events(
        path, keep_secondaries=True, extra_columns=ALL_EXTRA
    ).read()
    primaries = open_events(path, extra_columns=ALL_EXTRA).read()
    expected = reduce_by_loop(everything)
    for ours, theirs in (
        ("array_index", "row"),
        ("mother_index", "mother"),
        ("first_daughter", "first"),
        ("last_daughter", "last"),
    ):
        jagged = ak.unflatten(primaries[ours], primaries.counts).to_list()
        assert jagged == expected[theirs], ours
    assert 0.25 < primaries.n_particles / everything.n_particles < 0.8
    assert ((primaries["status"] & StatusBit.PRIMARY) != 0).all()
    starts = np.repeat(everything.offsets[:-1], everything.counts)
    primary = (everything["status"] & 1) != 0
    with_mother = primary & (everything["mother_index"] >= 0)
    assert primary[(starts + everything["mother_index"])[with_mother]].all()
    assert (everything["mother_index"] < everything["array_index"]).all()
    assert {name: c.dtype for name, c in primaries.particles.items()} == {
        **PARTICLE_COLUMNS,
        **EXTRA_COLUMNS,
    }


def test_reader_real_files_have_known_first_particles(shared_data):
    old = open_events(shared_data / "mdst" / "mdst-v06-00-00.root").read()
    new = open_events(
        shared_data / "mdst" / "mdst-v09-00-00.root", extra_columns=["valid_vertex"]
    ).read()
    assert (old["pdg"][old.offsets[:-1]] == 300553).all()
    roots = np.add.reduceat(old["mother_index"] == -1, old.offsets[:-1])
    assert (roots == 1).all()
    assert (new["pdg"][new.offsets[:-1]] == 11).all()
    assert (new["pdg"][new.offsets[:-1] + 1] == -11).all()
    assert (new["pdg"][new.offsets[:-1] + 2] == 300553).all()
    assert (new["status"][new.offsets[:-1]] == 35).all()
    assert not new["valid_vertex"][new.offsets[:-1]].any()


def test_reader_real_file_keeps_time_offset_per_event(shared_data):
    """Production times carry a common offset per event from release 06 on."""
    for release, spread in (("v04-00-03", False), ("v06-00-00", True)):
        events = open_events(shared_data / "mdst" / f"mdst-{release}.root").read()
        first = events["prod_time"][events.offsets[:-1]]
        assert bool(np.ptp(first) > 1.0) == spread


def test_reader_event_numbers_are_not_positions(shared_data):
    path = shared_data / "mdst" / "analysis-tests-udst-v04-02-04.root"
    events = open_events(path).read()
    assert events.event.tolist() == [30480021, 30480024, 30480026]
    assert events.event.dtype == np.int64
    assert events.entry.tolist() == [0, 1, 2]
    assert events.file == str(path)
    assert (events.event_type == -1).all()


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_reader_chunk_size_does_not_matter(shared_data, chunk_size, assert_same_events):
    paths = [shared_data / "mdst" / f"{name}.root" for name in REAL_FILES[1:3]]
    expected = open_events(paths, chunk_size=13).read()
    source = open_events(paths, chunk_size=chunk_size)
    chunks = list(source)
    assert all(0 < len(chunk) <= chunk_size for chunk in chunks)
    assert [chunk.file for chunk in chunks] == sorted(chunk.file for chunk in chunks)
    assert sum(len(chunk) for chunk in chunks) == source.n_events == len(expected)
    assert_same_events(source.read(), expected)
    assert np.array_equal(np.concatenate([c.entry for c in chunks]), expected.entry)


BAD_FILES = {
    "bad-input/header-only.root": "without any object",
    "bad-input/git-lfs-pointer.root": "git lfs pull",
    "bad-input/tree-without-mcparticles.root": "'MCParticles': not found",
    "other/bacon-genparticle.root": "'GenParticle'",
    "other/bacon-genparticle.root:Events": "'GenParticle'",
}


@pytest.mark.parametrize("name", list(BAD_FILES))
def test_reader_bad_file_raises_one_clear_sentence(shared_data, name):
    with pytest.raises(InputError) as caught:
        open_events(str(shared_data / name))
    message = str(caught.value)
    assert BAD_FILES[name] in message
    assert name.partition(":")[0] in message
    assert "\n" not in message


def test_reader_no_entries_is_empty_source(shared_data):
    path = shared_data / "bad-input" / "zero-events-no-mcparticles.root"
    source = open_events(path, extra_columns=["decay_time"])
    assert source.n_events == 0
    assert list(source) == []
    events = source.read()
    assert len(events) == 0
    assert "decay_time" in events.particles


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_reader_truncated_file_raises_input_error(shared_data, tmp_path, share):
    content = (shared_data / "mdst" / "mdst-v06-00-00.root").read_bytes()
    path = tmp_path / "cut.root"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"cut\.root"):
        open_events(path).read()


def test_reader_damaged_bytes_raise_nothing_but_input_error(tmp_path, make_events):
    """Anywhere; where a name of a column is lost the file is refused.

    Places follow from the content: the layout of a ROOT file depends on the length of the
    name that it was written under.
    """
    path = tmp_path / "good.root"
    with MdstWriter(path) as writer:
        writer.write(make_events([30] * 20))
    content = path.read_bytes()
    names = [match.start() for match in re.finditer(rb"MCParticles\.m_pdg", content)]
    assert len(names) > 2
    rng = np.random.default_rng(7)
    anywhere = rng.integers(4, len(content) - 50, 40).tolist()
    refused = []
    for position in [0, *names, *anywhere]:
        damaged = bytearray(content)
        damaged[position : position + 50] = rng.bytes(50)
        path.write_bytes(damaged)
        try:
            open_events(path).read()
        except InputError:
            refused.append(position)
    assert {0, *names} <= set(refused)


def test_reader_unknown_extra_column_raises_usage_error(tmp_path, make_events):
    with MdstWriter(tmp_path / "a.root") as writer:
        writer.write(make_events([2]))
    with pytest.raises(UsageError, match=r"decay_time.*got charge"):
        open_events(tmp_path / "a.root", extra_columns=["charge"])


def write_tree(file: Any, name: str, branches: dict[str, Any]) -> None:
    """Write a tree in which each jagged branch has its own counter."""
    types = {
        key: array.type.content if isinstance(array, ak.Array) else array.dtype
        for key, array in branches.items()
    }
    tree = file.mktree(name, types, counter_name=lambda key: f"n_{key}")
    tree.extend(branches)


def write_columns(path: Path, columns: dict[str, Any], counts: list[int]) -> None:
    """Write the tree ``tree`` with these particle branches."""
    with uproot.recreate(path) as file:
        write_tree(file, "tree", {**event_columns(counts), **columns})


def event_columns(counts: list[int]) -> dict[str, Any]:
    numbers = np.arange(len(counts), dtype=np.int32)
    names = ("event", "run", "experiment", "production")
    return {
        "MCParticles": np.array(counts, np.int32),
        **{f"EventMetaData/m_{name}": numbers for name in names},
    }


def jagged_columns(counts: list[int]) -> dict[str, Any]:
    offsets = offsets_from_counts(np.array(counts))
    return {
        f"MCParticles/MCParticles.{MEMBERS[name]}": ak.unflatten(
            np.zeros(offsets[-1], PARTICLE_COLUMNS[name]), counts
        )
        for name in PARTICLE_COLUMNS
        if name in MEMBERS
    }


def test_reader_disagreeing_counts_raise_input_error(tmp_path):
    path, counts = tmp_path / "a.root", [2, 0, 3]
    columns = jagged_columns(counts)
    columns["MCParticles/MCParticles.m_pdg"] = ak.unflatten(
        np.zeros(5, np.int32), [2, 1, 2]
    )
    write_columns(path, columns, counts)
    with pytest.raises(InputError, match=r"m_pdg.*expected as many particles"):
        open_events(path).read()


def test_reader_wrong_type_raises_input_error(tmp_path):
    path, counts = tmp_path / "a.root", [2, 0, 3]
    columns = jagged_columns(counts)
    columns["MCParticles/MCParticles.m_pdg"] = np.zeros(3, np.int32)
    write_columns(path, columns, counts)
    with pytest.raises(InputError, match=r"m_pdg.*expected a jagged array of int32"):
        open_events(path)


def test_reader_missing_member_names_nearest(tmp_path):
    path, counts = tmp_path / "a.root", [1]
    columns = jagged_columns(counts)
    columns["MCParticles/MCParticles.m_pdgCode"] = columns.pop(
        "MCParticles/MCParticles.m_pdg"
    )
    write_columns(path, columns, counts)
    with pytest.raises(InputError, match=r"nearest: 'MCParticles.m_pdgCode'"):
        open_events(path)


def test_reader_other_tree_name_is_read_and_named(tmp_path):
    counts = [1, 1]
    with uproot.recreate(tmp_path / "a.root") as file:
        write_tree(file, "other", {"n": np.arange(3)})
        write_tree(file, "mine", {**event_columns(counts), **jagged_columns(counts)})
    location = f"{tmp_path / 'a.root'}:mine"
    events = open_events(location).read()
    assert len(events) == 2
    assert events.file == location
    with pytest.raises(InputError, match=r"tree 'tree'.*got other, mine"):
        open_events(tmp_path / "a.root")


def test_reader_several_cycles_reads_the_last(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        for counts in ([1], [1, 2, 3]):
            write_tree(
                file, "tree", {**event_columns(counts), **jagged_columns(counts)}
            )
    assert open_events(tmp_path / "a.root").n_events == 3
    assert open_events(f"{tmp_path / 'a.root'}:tree;1").n_events == 1


def test_reader_histogram_under_the_name_of_the_tree_raises_input_error(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file["tree"] = np.histogram(np.arange(4))
    with pytest.raises(InputError, match=r"expected a TTree.*got tree;1 \(TH1D\)"):
        open_events(tmp_path / "a.root")


@pytest.mark.parametrize("stored", [-5, -1, 4, 2**31 - 1, -(2**31)])
def test_reader_mother_outside_event_stays_visible(tmp_path, stored):
    path, counts = tmp_path / "a.root", [3, 3]
    columns = jagged_columns(counts)
    mothers = ak.unflatten(np.array([0, 1, stored, 0, 0, 3], np.int32), counts)
    columns["MCParticles/MCParticles.m_mother"] = mothers
    write_columns(path, columns, counts)
    everything = open_events(path, keep_secondaries=True).read()
    assert everything["mother_index"].tolist() == [-1, 0, OUT_OF_RANGE, -1, -1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_reduction_random_events_equals_loop(make_events, seed):
    events = make_events([0, 7, 1, 40, 0, 0, 90], seed=seed, primary_share=0.5)
    first, last, _ = daughter_ranges(events.offsets, events["mother_index"])
    columns = {**events.particles, "first_daughter": first, "last_daughter": last}
    offsets, reduced = drop_secondaries(events.offsets, columns)
    expected = reduce_by_loop(events)
    counts = np.diff(offsets)
    for ours, theirs in (("array_index", "row"), ("mother_index", "mother")):
        assert ak.unflatten(reduced[ours], counts).to_list() == expected[theirs]
    kept = (events["status"] & 1) != 0
    np.testing.assert_array_equal(reduced["energy"], events["energy"][kept])


def test_reduction_mother_out_of_range_survives(make_events):
    events = make_events([3])
    columns = {
        **events.particles,
        "status": np.array([0, 1, 1], np.uint16),
        "mother_index": np.array([-1, 0, OUT_OF_RANGE], np.int32),
    }
    _, reduced = drop_secondaries(events.offsets, columns)
    assert reduced["mother_index"].tolist() == [-1, OUT_OF_RANGE]


@pytest.mark.parametrize("seed", range(5))
def test_daughter_ranges_equal_loop(make_events, seed):
    events = make_events([0, 5, 1, 30, 0], seed=seed)
    first, last, contiguous = daughter_ranges(events.offsets, events["mother_index"])
    row = 0
    for begin, end in zip(events.offsets[:-1], events.offsets[1:], strict=True):
        mothers = events["mother_index"][begin:end].tolist()
        for position in range(end - begin):
            found = [p for p, mother in enumerate(mothers) if mother == position]
            assert (first[row], last[row]) == (
                (found[0], found[-1]) if found else (-1, -1)
            )
            whole = not found or found == list(range(found[0], found[-1] + 1))
            assert contiguous[row] == whole
            row += 1


def test_event_type_from_extra_info():
    names = ak.Array([["a", "eventType"], [], ["eventType"], ["eventType"], ["b"]])
    values = ak.Array([["x", "mixed"], [], ["tau+tau-"], ["signal"], ["mixed"]])
    assert _encode_extra_info(names, values).tolist() == [3, -1, 5, -1, -1]
