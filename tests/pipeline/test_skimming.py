"""Labels from stored objects are those of the chain, and go to the right events."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smartfilter.errors import InputError, UsageError
from smartfilter.events import Events, concatenate
from smartfilter.io import LabelledWriter, MdstWriter, open_events
from smartfilter.io.relabelled import LabelledRows
from smartfilter.pipeline import skimming
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.labelling import label_files
from smartfilter.pipeline.object_file import ObjectWriter, open_objects
from smartfilter.pipeline.simulation import SKIM_NAMES, VARIABLE_NAMES, label
from smartfilter.pipeline.skimming import skim_files
from smartfilter.pipeline.skims import estimate_retention


@contextmanager
def open_detector(kind: str) -> Iterator[Any]:
    if kind == "mock":
        yield Detector(seed=3)
        return
    if find_spec("geant4_pybind") is None:
        pytest.skip("geant4-pybind is not installed")
    from smartfilter.pipeline.geant4 import Geant4Detector

    with Geant4Detector(seed=3, background=False) as detector:
        yield detector


def make_events(kind: str) -> Events:
    """Return events with others between them: empty ones, and neutrinos alone."""
    n_events = 30 if kind == "mock" else 6
    some = Generator("mixed", seed=5).generate(n_events)
    empty = Events.from_columns(
        np.zeros(2, np.int64), {name: c[:0] for name, c in some.particles.items()}
    )
    invisible = some.take([0]).with_event_type("ccbar")
    invisible["pdg"][:] = 12
    return concatenate([some.take([0, 1]), empty, some.take([2]), invisible, some])


@pytest.fixture(scope="module", params=["mock", "geant4"])
def stored(request, tmp_path_factory):
    """Return events, with their labels, and files of both and of their objects."""
    folder = tmp_path_factory.mktemp(request.param)
    events = make_events(request.param)
    labelled, objects = folder / "labelled.parquet", folder / "objects.parquet"
    with open_detector(request.param) as detector:
        label_files(
            [events.take(slice(0, 4)), events.take(slice(4, None))],
            labelled,
            detector=detector,
            provenance={"n_generated": 100},
            objects=objects,
        )
        direct = label(events, detector=detector)
    return direct, labelled, objects


def read_labels(path: Path) -> dict[str, Any]:
    table = pq.read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}


@pytest.mark.parametrize(("workers", "block"), [(1, 2000), (3, 4), (1, 1)])
def test_skim_labels_equal_those_of_the_chain(
    stored, tmp_path, workers, block, monkeypatch
):
    direct, _, objects = stored
    monkeypatch.setattr(skimming, "_BLOCK_EVENTS", block)
    output = tmp_path / "labels.parquet"
    steps: list[int] = []
    passing = skim_files(
        open_objects(objects), output, workers=workers, advance=steps.append
    )
    found = read_labels(output)
    assert sum(steps) == len(found["event"]) == len(direct)
    for name, values in direct.labels.items():
        np.testing.assert_array_equal(found[f"passes_{name}"], values)
        assert passing[name] == values.sum()
    for name, values in direct.variables.items():
        assert found[name].dtype == np.float32
        assert found[name].tobytes() == values.tobytes()
    np.testing.assert_array_equal(found["event"], direct.event)
    assert found["n_tracks"][[2, 4]].max() <= 2  # machine background at most
    document = json.loads(pq.read_schema(output).metadata[b"smartfilter"])
    assert document["kind"] == "labels"
    assert document["provenance"]["simulation"] == [{"n_generated": 100}]


def relabel_by_hand(events: Events, path: Path, **changes: Any) -> None:
    """Write a labelled file with wrong labels, an old skim and one more variable."""
    n = len(events)
    wrong = {name: ~values for name, values in events.labels.items()}
    ones = dict.fromkeys(VARIABLE_NAMES, np.ones(n, np.float32))
    weight = np.arange(n, dtype=np.float32)
    changed = events.with_labels(
        {**wrong, "old": np.ones(n, bool)}, {"sample_weight": weight, **ones}
    )
    with LabelledWriter(
        path, tuple(changed.labels), tuple(changed.variables), {"n_generated": 7}
    ) as writer:
        writer.write(changed)


@pytest.mark.parametrize("block", [2000, 3])
def test_skim_with_events_replaces_labels_and_nothing_else(
    stored, tmp_path, block, monkeypatch
):
    direct, labelled, objects = stored
    monkeypatch.setattr(skimming, "_BLOCK_EVENTS", block)
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    relabel_by_hand(direct, old)
    skim_files(open_objects(objects), new, events=LabelledRows(old))
    kept = ["experiment", "run", "production", "event", "event_type", "entry"]
    kept += ["particles", "sample_weight"]
    before, after = pq.read_table(old), pq.read_table(new)
    assert after.select(kept).equals(before.select(kept))
    right = pq.read_table(labelled)
    names = [f"passes_{name}" for name in SKIM_NAMES]
    assert after.select(names).equals(right.select(names))
    for name in VARIABLE_NAMES:  # NaN where there is no candidate
        np.testing.assert_array_equal(
            after.column(name).to_numpy(), right.column(name).to_numpy()
        )
    assert "passes_old" not in after.column_names
    found = open_events(new).read()
    assert set(found.labels) == set(SKIM_NAMES)
    assert found.variables["sample_weight"].tolist() == list(range(len(direct)))
    document = json.loads(after.schema.metadata[b"smartfilter"])
    assert document["provenance"]["n_generated"] == 7
    assert document["provenance"]["events"] == [str(old)]


# -- the mock detector is enough for the rest --------------------------------------------


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    """Return events of two kinds with the same numbers, and their files by kind."""
    folder = tmp_path_factory.mktemp("files")
    files = {}
    for kind, seed in (("a", 5), ("b", 6)):
        events = Generator("mixed", seed=seed).generate(4)
        paths = folder / f"{kind}.parquet", folder / f"{kind}-objects.parquet"
        label_files(
            [events],
            paths[0],
            detector=Detector(seed=3),
            provenance={},
            objects=paths[1],
        )
        files[kind] = paths
    return files


def test_skim_several_files_in_order(mock, tmp_path):
    output = tmp_path / "new.parquet"
    (a, a_objects), (b, b_objects) = mock["a"], mock["b"]
    skim_files(
        open_objects([a_objects, b_objects]), output, events=LabelledRows([a, b])
    )
    found = pq.read_table(output).drop_columns(VARIABLE_NAMES)
    expected = pa.concat_tables([pq.read_table(a), pq.read_table(b)])
    assert found.equals(expected.drop_columns(VARIABLE_NAMES))
    document = json.loads(found.schema.metadata[b"smartfilter"])
    assert "n_generated" not in document["provenance"]


def test_skim_with_events_of_the_same_numbers_but_others_is_refused(mock, tmp_path):
    """Runs and event numbers repeat from job to job: the particles tell."""
    (a, _), (b, b_objects) = mock["a"], mock["b"]
    assert np.array_equal(open_events(a).read().event, open_events(b).read().event)
    with pytest.raises(InputError, match=r"expected in row 0 the .* \(hash"):
        skim_files(
            open_objects(b_objects), tmp_path / "x.parquet", events=LabelledRows(a)
        )
    assert list(tmp_path.iterdir()) == []


def test_skim_with_events_in_another_order_is_refused(mock, tmp_path):
    a, objects = mock["a"]
    swapped = tmp_path / "swapped.parquet"
    table = pq.read_table(a)
    pq.write_table(table.take([0, 1, 3, 2]), swapped)
    with pytest.raises(InputError, match=r"expected in row 2 .* event 3, .* event 4"):
        skim_files(
            open_objects(objects), tmp_path / "x.parquet", events=LabelledRows(swapped)
        )
    assert list(tmp_path.iterdir()) == [swapped]


def test_skim_with_fewer_events_is_refused(mock, tmp_path):
    (a, a_objects), (b, _) = mock["a"], mock["b"]
    with pytest.raises(InputError, match=r"expected the 4 events of .*, got 8 in"):
        skim_files(
            open_objects(a_objects),
            tmp_path / "x.parquet",
            events=LabelledRows([a, b]),
        )


def test_labelled_rows_of_other_variables_are_refused(mock, tmp_path):
    relabel_by_hand(open_events(mock["a"][0]).read(), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="label the files one by one"):
        LabelledRows([mock["a"][0], tmp_path / "other.parquet"])


def test_skim_wrong_use_is_refused(mock, tmp_path):
    a, objects = mock["a"]
    with pytest.raises(UsageError, match="workers: expected at least 1, got 0"):
        skim_files(open_objects(objects), workers=0)
    with pytest.raises(UsageError, match="output: expected a file"):
        skim_files(open_objects(objects), events=LabelledRows(a))
    with pytest.raises(UsageError, match="use --force"):
        skim_files(open_objects(objects), a)


def test_skim_without_events_is_an_empty_file(tmp_path):
    with ObjectWriter(tmp_path / "none.parquet"):
        pass
    output = tmp_path / "labels.parquet"
    passing = skim_files(open_objects(tmp_path / "none.parquet"), output)
    assert set(passing.values()) == {0}
    assert len(pq.read_table(output)) == 0


def test_skim_of_objects_that_are_not_finite_names_the_rows(mock, tmp_path):
    path = tmp_path / "nan.parquet"
    (block,) = open_objects(mock["a"][1]).iterate()
    block.detected.tracks["px"][-1] = np.nan
    events = open_events(mock["a"][0]).read()
    with ObjectWriter(path) as writer:
        writer.write(events, block.detected)
    with pytest.raises(InputError, match=rf"finite values.*rows 0 to 3 of '{path}'"):
        skim_files(open_objects(path))


@pytest.mark.parametrize("kept", ["labelled.parquet", "objects.parquet"])
def test_label_files_that_fail_leave_what_was_there(tmp_path, kept):
    (tmp_path / kept).write_text("mine")
    events = Generator("mixed", seed=5).generate(2)
    with pytest.raises(InputError, match="loop"):
        label_files(
            [events, break_mothers(events)],
            tmp_path / "labelled.parquet",
            detector=Detector(),
            provenance={},
            objects=tmp_path / "objects.parquet",
            force=True,
        )
    assert [path.name for path in tmp_path.iterdir()] == [kept]
    assert (tmp_path / kept).read_text() == "mine"


def break_mothers(events: Events) -> Events:
    broken = events.take([0, 1])
    broken["mother_index"][:2] = 1, 0
    return broken


def test_label_files_into_one_file_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    with pytest.raises(UsageError, match="expected two files"):
        label_files([], path, detector=Detector(), provenance={}, objects=path)


def test_label_files_without_events_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="expected at least one"):
        label_files(
            [],
            tmp_path / "x.parquet",
            detector=Detector(),
            provenance={},
            objects=tmp_path / "y.parquet",
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (40, 1000)])
def test_estimate_retention_is_the_spread_of_the_posterior(k, n):
    share, error = estimate_retention(k, n)
    assert share == k / n
    p = np.linspace(0.0, 1.0, 200_001)
    posterior = p**k * (1 - p) ** (n - k)
    posterior /= np.trapezoid(posterior, p)
    mean = np.trapezoid(p * posterior, p)
    spread = np.sqrt(np.trapezoid((p - mean) ** 2 * posterior, p))
    assert error == pytest.approx(spread, rel=1e-4)


def test_estimate_retention_of_nothing_is_nan():
    assert np.isnan(estimate_retention(0, 0)).all()


# -- as a user types it ------------------------------------------------------------------


def test_simulate_objects_and_skim_as_commands(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with MdstWriter("events.root", provenance={"decay_table": "belle2"}) as writer:
        writer.write(Generator("mixed", seed=5).generate(12))
    simulate = ("simulate", "events.root", "-o", "labelled.parquet")
    code, out, _ = run(*simulate, "--objects", "objects.parquet", "--json")
    assert code == 0
    made = json.loads(out)
    assert made["objects"] == "objects.parquet"
    (provenance,) = open_objects("objects.parquet").provenances
    assert provenance["generation"]["events.root"]["decay_table"] == "belle2"
    assert provenance["detector"] == "mock"
    assert provenance["step_cm"] == 1.0
    assert "numba" in provenance["versions"]
    code, out, _ = run("skim", "objects.parquet", "-o", "labels.parquet", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["n_events"] == 12
    assert found["n_passing"] == made["n_passing"]
    assert found["events_per_second"] > 0
    for name, n_passing in found["n_passing"].items():
        assert found["retention_rate"][name] == n_passing / 12
        assert found["retention_rate_error"][name] > 0
    code, _, err = run("skim", "objects.parquet", "-o", "labels.parquet")
    assert code == 2
    assert "--force" in err
    code, out, _ = run(
        *("skim", "objects.parquet", "--events", "labelled.parquet"),
        *("-o", "again.parquet"),
    )
    assert code == 0
    assert "feiHadronicB0" in out
    assert "±" in out
    assert open_events("again.parquet").n_events == 12
    code, _, err = run("skim", "objects.parquet", "--events", "labelled.parquet")
    assert code == 2
    assert "-o" in err


def test_skim_of_wrong_files_is_one_sentence_and_exit_code_3(run, mock, tmp_path):
    a, objects = mock["a"]
    damaged, text = tmp_path / "damaged.parquet", tmp_path / "text.parquet"
    damaged.write_bytes(objects.read_bytes()[:-100])
    text.write_text("not Parquet")
    cases = [
        (a,),
        (damaged,),
        (text,),
        (tmp_path / "absent.parquet",),
        (objects, "--events", objects, "-o", tmp_path / "x.parquet"),
        (objects, "--events", mock["b"][0], "-o", tmp_path / "x.parquet"),
    ]
    for arguments in cases:
        code, out, err = run("skim", *arguments)
        assert (code, out) == (3, ""), arguments
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
    assert not (tmp_path / "x.parquet").exists()


def test_skim_says_when_candidates_do_not_fit(mock, caplog, tmp_path):
    """What `reconstruct` warns of reaches the user from stored objects, too."""
    (block,) = open_objects(mock["a"][1]).iterate()
    (tracks, clusters) = block.detected.tracks, block.detected.clusters
    everything = np.array([0, tracks.offsets[-1]])
    n_tracks = int(tracks.offsets[-1])
    many = type(tracks)(
        np.array([0, 8 * n_tracks]),
        {name: np.tile(values, 8) for name, values in tracks.columns.items()},
    )
    none = type(clusters)(
        np.zeros_like(everything), {n: c[:0] for n, c in clusters.columns.items()}
    )
    events = open_events(mock["a"][0]).read().take([0])
    with ObjectWriter(tmp_path / "many.parquet") as writer:
        writer.write(events, type(block.detected)(many, none))
    with caplog.at_level(logging.WARNING):
        skim_files(open_objects(tmp_path / "many.parquet"))
    assert "more candidates than the buffers hold" in caplog.text
