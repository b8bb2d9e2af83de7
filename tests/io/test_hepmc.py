"""Reader of HepMC files against a plain parser of the text, and against known events."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartfilter.cli import main
from smartfilter.errors import InputError, MissingPackageError, UsageError
from smartfilter.event_type import infer_event_type
from smartfilter.events import EVENT_TYPES
from smartfilter.graphs import prepare
from smartfilter.io import open_events
from smartfilter.io.formats import find_format
from smartfilter.io.locations import Location

pyhepmc = pytest.importorskip("pyhepmc", reason="the extra hepmc is not installed")

C = 29.9792458


def make_particle(pdg: int, status: int, p: tuple[float, ...] = (0, 0, 0, 1)) -> Any:
    return pyhepmc.GenParticle(pyhepmc.FourVector(*p), pdg, status)


def add_vertex(event: Any, incoming: Any, outgoing: Any, position: Any = None) -> Any:
    vertex = pyhepmc.GenVertex(position or (0, 0, 0, 0))
    for particle in incoming:
        vertex.add_particle_in(particle)
    for particle in outgoing:
        vertex.add_particle_out(particle)
    event.add_vertex(vertex)
    return vertex


def make_event(number: int, momentum: str = "GEV", length: str = "CM") -> Any:
    units = pyhepmc.Units
    event = pyhepmc.GenEvent(getattr(units, momentum), getattr(units, length))
    event.event_number = number
    return event


def make_decay(number: int, momentum: str = "GEV", length: str = "CM") -> Any:
    """Y(4S) -> B0 (-> pi+ pi-) anti-B0; the pions' vertex has no position."""
    event = make_event(number, momentum, length)
    top = make_particle(300553, 2, (1, 2, 3, 11))
    mesons = [make_particle(511, 2, (4, 0, 1, 6)), make_particle(-511, 1, (0, 1, 2, 7))]
    pions = [make_particle(211, 1, (0, 0, 1, 2)), make_particle(-211, 1, (0, 1, 1, 2))]
    add_vertex(event, [top], mesons, (0.1, 0.2, 0.3, 0.6))
    add_vertex(event, mesons[:1], pions)
    return event


def write(path: Path, events: Any, file_format: str = "HepMC3") -> Path:
    plain = path.with_suffix(".txt")
    with pyhepmc.open(str(plain), "w", format=file_format) as file:
        for event in events:
            file.write(event)
    content = plain.read_bytes()
    plain.unlink()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("file_format", ["HepMC2", "HepMC3"])
@pytest.mark.parametrize("name", ["a.hepmc", "a.dat", "a.hepmc.gz"])
@pytest.mark.parametrize(("momentum", "length"), [("GEV", "CM"), ("MEV", "MM")])
def test_hepmc_decay_reads_as_written(
    tmp_path: Path, file_format: str, name: str, momentum: str, length: str
):
    events = [make_decay(7 + k, momentum, length) for k in range(3)]
    path = write(tmp_path / name, events, file_format)
    assert find_format(Location(str(path))).name == "HepMC"
    source = open_events(path, chunk_size=2)
    assert source.n_events == 3
    assert [len(chunk) for chunk in source] == [2, 1]
    found = source.read()
    assert found.event.tolist() == [7, 8, 9]
    assert found.entry.tolist() == [0, 1, 2]
    assert found.counts.tolist() == [5] * 3
    assert found["pdg"].tolist() == [300553, 511, -511, 211, -211] * 3
    assert found["mother_index"].tolist() == [-1, 0, 0, 1, 1] * 3
    assert found["array_index"].tolist() == [0, 1, 2, 3, 4] * 3
    assert found["status"].tolist() == [1, 1, 3, 3, 3] * 3
    gev, cm = (1.0, 1.0) if momentum == "GEV" else (1e-3, 0.1)
    energy = np.array([11, 6, 7, 2, 2], np.float32) * np.float32(gev)
    np.testing.assert_allclose(found["energy"][:5], energy, rtol=1e-6)
    np.testing.assert_allclose(found["pz"][:5], np.array([3, 1, 2, 1, 1]) * gev, 1e-6)
    mass = math.sqrt(36 - 17) * gev
    assert found["mass"][1] == pytest.approx(mass, rel=1e-6)
    # Y(4S): no production vertex, so where it decays. Pions: where the B0 was produced.
    for column, value in (("x", 0.1), ("y", 0.2), ("z", 0.3)):
        np.testing.assert_allclose(found[column], value * cm, rtol=1e-6)
    np.testing.assert_allclose(found["prod_time"], 0.6 * cm / C, rtol=1e-6)
    assert (found.event_type == -1).all()
    assert (infer_event_type(found) == EVENT_TYPES.index("mixed")).all()
    assert found.labels == {}
    assert found.file == str(path)


def test_hepmc_mother_is_the_first_incoming_particle(tmp_path: Path):
    event = make_event(1)
    beams = [make_particle(11, 4), make_particle(-11, 4)]
    boson, quark = make_particle(23, 22), make_particle(4, 23)
    pion, other = make_particle(211, 1), make_particle(-4, 71)
    add_vertex(event, beams, [boson], (0, 0, 0.5, 0))
    add_vertex(event, [boson], [quark, other])
    add_vertex(event, [quark, other], [pion])
    found = open_events(write(tmp_path / "a.hepmc", [event])).read()
    assert found["pdg"].tolist() == [11, -11, 23, 4, -4, 211]
    assert found["mother_index"].tolist() == [-1, -1, 0, 2, 2, 3]
    assert found["status"].tolist() == [17, 17, 17, 17, 17, 3]
    assert EVENT_TYPES[infer_event_type(found)[0]] == "ccbar"


def test_hepmc_status_21_is_left_out_and_daughters_go_to_its_mother(tmp_path: Path):
    event = make_event(1)
    beam, inner = make_particle(11, 4), make_particle(11, 21)
    deeper, boson = make_particle(-11, 21), make_particle(23, 22)
    root, pion = make_particle(21, 21), make_particle(211, 1)
    add_vertex(event, [beam], [inner])
    add_vertex(event, [inner], [deeper])
    add_vertex(event, [deeper], [boson])
    add_vertex(event, [root], [pion])
    events = [make_decay(0), event, make_decay(2)]
    found = open_events(write(tmp_path / "a.hepmc", events)).read()
    assert found.counts.tolist() == [5, 3, 5]
    one = found.take([1])
    mother = dict(zip(one["pdg"].tolist(), one["mother_index"].tolist(), strict=True))
    assert mother == {11: -1, 23: one["pdg"].tolist().index(11), 211: -1}
    assert found["mother_index"][8:].tolist() == [-1, 0, 0, 1, 1]


def test_hepmc_event_position_is_that_of_particles_without_a_vertex(tmp_path: Path):
    text = write(tmp_path / "a.hepmc", [make_decay(1)]).read_text()
    head = next(line for line in text.splitlines() if line.startswith("E "))
    moved = text.replace(head, f"{head} @ 1.0 2.0 3.0 4.0")
    (tmp_path / "a.hepmc").write_text(moved)
    found = open_events(tmp_path / "a.hepmc").read()
    assert [float(found[name][0]) for name in "xyz"] == [1.0, 2.0, 3.0]
    assert found["prod_time"][0] == pytest.approx(4.0 / C)


def test_hepmc_empty_events_stay_in_their_place(tmp_path: Path):
    events = [make_event(0), make_decay(1), make_event(2), make_decay(3), make_event(4)]
    path = write(tmp_path / "a.hepmc", events)
    for chunk_size in (1, 100):
        found = open_events(path, chunk_size=chunk_size).read()
        assert found.event.tolist() == [0, 1, 2, 3, 4]
        assert found.counts.tolist() == [0, 5, 0, 5, 0]
        assert prepare(found).scorable.tolist() == [False, True, False, True, False]


def test_hepmc_file_without_events_is_an_empty_source(tmp_path: Path):
    text = write(tmp_path / "a.hepmc", [make_decay(1)]).read_text()
    lines = [k for k in text.splitlines() if k.startswith("HepMC")]
    (tmp_path / "a.hepmc").write_text("\n".join(lines) + "\n\n")
    source = open_events(tmp_path / "a.hepmc")
    assert source.n_events == 0
    assert list(source) == []
    assert len(source.read()) == 0


@pytest.mark.parametrize("name", ["a.hepmc", "a.hepmc.gz"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_hepmc_truncated_file_raises_input_error(
    tmp_path: Path, name: str, share: float
):
    path = write(tmp_path / name, [make_decay(k) for k in range(20)])
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="truncated") as caught:
        open_events(path)
    assert str(path) in str(caught.value)


def test_hepmc_line_that_cannot_be_parsed_raises_input_error(tmp_path: Path):
    path = write(tmp_path / "a.hepmc", [make_decay(k) for k in range(3)])
    lines = path.read_text().splitlines()
    bad = [k for k, line in enumerate(lines) if line.startswith("P 3")][1]
    lines[bad] = lines[bad].replace("P 3", "P x")
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="cannot be parsed at entry 1"):
        open_events(path).read()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"HepMC::IO_Ascii-START_EVENT_LISTING\n", "HepMC::Asciiv3 or HepMC::IO_Gen"),
        (gzip.compress(b"hello\n" * 99, mtime=0), "HepMC::Asciiv3 or HepMC::IO_Gen"),
        (b"\x1f\x8bnot gzip", "cannot be read"),
    ],
)
def test_other_text_raises_input_error(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "a.hepmc"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_events(path)


def test_hepmc_has_no_extra_columns(tmp_path: Path):
    path = write(tmp_path / "a.hepmc", [make_decay(1)])
    with pytest.raises(UsageError, match="has none"):
        open_events(path, extra_columns=["decay_time"])


def test_hepmc_without_the_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(tmp_path / "a.hepmc", [make_decay(1)])
    monkeypatch.setitem(__import__("sys").modules, "pyhepmc", None)
    with pytest.raises(MissingPackageError, match=r"smartfilter\[hepmc\]"):
        open_events(path)


def parse_hepmc2(path: Path) -> list[dict[str, Any]]:
    """Return the particles of the only event by a loop over the lines; GeV and cm."""
    vertex: dict[int, Any] = {}
    particles: list[dict[str, Any]] = []
    barcode = 0
    for line in path.read_text().splitlines():
        words = line.split()
        if line.startswith("V "):
            barcode = int(words[1])
            vertex[barcode] = [float(word) for word in words[3:7]]
        elif line.startswith("P "):
            particles.append(
                {
                    "pdg": int(words[2]),
                    "p": [float(word) for word in words[3:7]],
                    "status": int(words[8]),
                    "end": int(words[11]),
                    "at": vertex[barcode],
                    "vertex": barcode,
                }
            )
    for particle in particles:
        above = [k for k, p in enumerate(particles) if p["end"] == particle["vertex"]]
        particle["mother"] = above[0] if above else -1
    return particles


def test_real_upsilon_event_equals_a_plain_parser(shared_data: Path):
    path = shared_data / "other" / "upsilon4s.hepmc2"
    if not path.exists():
        pytest.skip("no real HepMC file: ../shared/data/other/upsilon4s.hepmc2")
    found = open_events(path).read()
    expected = parse_hepmc2(path)
    assert found.event.tolist() == [955110002]
    assert found["pdg"].tolist() == [p["pdg"] for p in expected]
    assert found["mother_index"].tolist() == [p["mother"] for p in expected]
    for row, particle in enumerate(expected):
        momentum = [found[name][row] for name in ("px", "py", "pz", "energy")]
        np.testing.assert_allclose(momentum, particle["p"], rtol=1e-6)
        place = [found[name][row] for name in ("x", "y", "z")]
        np.testing.assert_allclose(place, particle["at"][:3], rtol=1e-6)
        time = particle["at"][3] / C
        assert found["prod_time"][row] == pytest.approx(time, rel=1e-6)
        stable = particle["status"] == 1 and particle["end"] == 0
        assert found["status"][row] == (3 if stable else 1)
    assert EVENT_TYPES[infer_event_type(found)[0]] == "mixed"
    assert prepare(found).scorable.all()


def test_commands_take_hepmc_files(
    tmp_path: Path, count_model: Path, capfd: pytest.CaptureFixture[str]
):
    path = write(tmp_path / "a.hepmc.gz", [make_decay(k) for k in range(4)])
    for arguments in (["inspect", path], ["score", path, "--model", count_model]):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments), "--json"])
        assert stop.value.code == 0
        document = json.loads(capfd.readouterr().out)
        assert document["n_events"] == 4
        assert document["event_types"] == {"mixed": 4}
        assert document["n_event_type_inferred"] == 4
        assert document["n_unscorable"] == 0
