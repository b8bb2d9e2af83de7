"""Commands that make events: the same file for any workers, and after being killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from smartfilter.cli import main
from smartfilter.distributed import Workers, open_workers
from smartfilter.errors import InputError, UsageError
from smartfilter.io import MdstWriter, open_events, read_provenance
from smartfilter.pipeline import generate_file as generation
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.generate_file import (
    GenerationTask,
    block_seed,
    generate_file,
    plan_blocks,
)
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.labelling import label_files
from smartfilter.pipeline.simulate_files import SimulationTask, simulate_files

TASK = GenerationTask("uubar", seed=4, run=3, first_event=11, decay_table="pythia")


def run_command(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Workers]:
    """Return two workers that end with this file: they share nothing with other tests."""
    pytest.importorskip("distributed")
    with open_workers(2) as workers:
        yield workers


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "EVENTS_PER_BLOCK", 8)


def test_plan_blocks_covers_all_events_with_different_seeds(small_blocks):
    blocks = plan_blocks(20)
    assert [(block.first, block.n_events) for block in blocks] == [
        (0, 8),
        (8, 8),
        (16, 4),
    ]
    assert len({block.key for block in blocks}) == 3
    seeds = [block_seed(5, block.index) for block in blocks]
    assert seeds[0] == 5
    assert len({*seeds, *(block_seed(6, k) for k in range(3))}) == 6


def test_generate_file_holds_the_events_of_its_blocks(
    small_blocks, tmp_path, assert_same_columns
):
    path = tmp_path / "events.root"
    with open_workers() as workers:
        generate_file(path, 20, task=TASK, workers=workers, provenance={"seed": 4})
    found = open_events(path).read()
    assert found.event.tolist() == list(range(11, 31))
    assert set(found.run) == {3}
    assert read_provenance(path) == {"seed": 4}
    for k, n_events in enumerate((8, 8, 4)):
        generator = Generator("uubar", seed=block_seed(4, k), decay_table="pythia")
        part = found.take(slice(8 * k, 8 * k + n_events))
        assert_same_columns(part, generator.generate(n_events))
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def assert_same_columns():
    def check(found, expected) -> None:
        assert np.array_equal(found.offsets, expected.offsets)
        for name in ("pdg", "mother_index", "energy", "px", "x", "prod_time"):
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)

    return check


@pytest.mark.parametrize(
    ("numbers", "name"),
    [({"run": 2**31}, "run"), ({"first_event": 2**32 - 19}, "event")],
)
def test_generate_file_refuses_numbers_of_no_mdst_file_before_any_work(
    tmp_path, numbers, name
):
    path = tmp_path / "events.root"
    task = replace(TASK, **numbers)
    with (
        open_workers() as workers,
        pytest.raises(UsageError, match=f"{name} number: expected at most"),
    ):
        generate_file(path, 20, task=task, workers=workers, provenance={})
    assert list(tmp_path.iterdir()) == []


def test_generate_file_with_workers_is_the_same(
    tmp_path, two_workers, assert_same_columns
):
    with open_workers() as here:
        for name, workers in (("one", here), ("two", two_workers)):
            path = tmp_path / f"{name}.root"
            generate_file(path, 30, task=TASK, workers=workers, provenance={})
    first, second = (open_events(tmp_path / f"{n}.root").read() for n in ("one", "two"))
    assert_same_columns(first, second)


GENERATE = """
import sys
from smartfilter.cli import main
from smartfilter.pipeline import generate_file
generate_file.EVENTS_PER_BLOCK = 8
main(sys.argv[1:])
"""


def test_generate_command_that_is_killed_goes_on(
    small_blocks, tmp_path, wait_for_parts, assert_same_columns
):
    expected, output = tmp_path / "expected.root", tmp_path / "events.root"
    options = ("-n", "80", "--event-type", "uubar", "--decay-table", "pythia")
    with subprocess.Popen(
        [sys.executable, "-c", GENERATE, "generate", *options, "-o", str(output)]
    ) as process:
        wait_for_parts(output, 2)
        process.kill()
    assert not output.exists()
    parts = set((tmp_path / ".events.root.parts").glob("[!.]*.npz"))
    assert 2 <= len(parts) < 10
    assert run_command("generate", *options, "-o", output, "--resume") == 0
    assert run_command("generate", *options, "-o", expected) == 0
    assert_same_columns(open_events(output).read(), open_events(expected).read())
    assert sorted(tmp_path.iterdir()) == [output, expected]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two files with 12 events in all."""
    folder = tmp_path_factory.mktemp("generated")
    paths = [folder / "a.root", folder / "b.root"]
    for k, path in enumerate(paths):
        generator = Generator("mixed", seed=k + 1, run=k + 1, decay_table="pythia")
        with MdstWriter(path) as writer:
            writer.write(generator.generate(4 + 4 * k))
    return paths


def read_rows(path: Path) -> str:
    """Return the content of a Parquet file (NaN equals NaN)."""
    table = pq.read_table(path)
    return repr((table.schema.metadata, table.to_pydict()))


def test_simulate_files_equals_labelling_here(generated, tmp_path, two_workers):
    source = open_events(generated, chunk_size=3)
    pairs = [[tmp_path / f"{n}-{kind}.parquet" for kind in "lo"] for n in (0, 1, 2)]
    detector = Detector(seed=2)
    passing = label_files(
        source, pairs[0][0], detector=detector, provenance={}, objects=pairs[0][1]
    )
    task = SimulationTask(seed=2, keep_objects=True)
    for n_workers, (output, objects) in zip((1, 2), pairs[1:], strict=True):
        with open_workers() as here:
            run = simulate_files(
                source,
                output,
                task=task,
                workers=here if n_workers == 1 else two_workers,
                provenance={},
                objects=objects,
            )
        assert run.passing == passing
        assert run.n_events == 12
        assert read_rows(output) == read_rows(pairs[0][0])
        assert read_rows(objects) == read_rows(pairs[0][1])
    assert len(list(tmp_path.iterdir())) == 6


def test_simulate_files_interrupted_between_its_outputs_goes_on(
    generated, tmp_path, monkeypatch
):
    """The objects have their name, the labels have not."""
    source = open_events(generated, chunk_size=3)
    output, objects = tmp_path / "labelled.parquet", tmp_path / "objects.parquet"
    task = SimulationTask(keep_objects=True)

    def simulate(**options: Any) -> int:
        with open_workers() as workers:
            return simulate_files(
                source,
                output,
                task=task,
                workers=workers,
                provenance={},
                objects=objects,
                **options,
            ).n_resumed

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("smartfilter.io.labelled.LabelledWriter._finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            simulate()
    assert objects.exists()
    assert not output.exists()
    with pytest.raises(UsageError, match=r"objects\.parquet' exists"):
        simulate()
    assert simulate(resume=True) == 12
    assert open_events(output).n_events == 12
    assert sorted(tmp_path.iterdir()) == [output, objects]


def test_simulate_files_of_no_events_is_refused(tmp_path):
    with MdstWriter(tmp_path / "none.root") as writer:
        writer.write(Generator("uubar", seed=1, decay_table="pythia").generate(0))
    with open_workers() as workers, pytest.raises(InputError, match="at least one"):
        simulate_files(
            open_events(tmp_path / "none.root"),
            tmp_path / "labelled.parquet",
            task=SimulationTask(),
            workers=workers,
            provenance={},
        )
    assert [path.name for path in tmp_path.iterdir()] == ["none.root"]


SIMULATE = """
import sys, time
from smartfilter.cli import main
from smartfilter.pipeline import simulate_files
label = simulate_files.label_objects
def label_slowly(detected):
    time.sleep(0.3)
    return label(detected)
simulate_files.label_objects = label_slowly
main(sys.argv[1:])
"""


def test_simulate_command_that_is_ended_goes_on(generated, tmp_path, wait_for_parts):
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(8):
        (folder / f"{k}.root").hardlink_to(generated[0])
    output, objects = tmp_path / "labelled.parquet", tmp_path / "objects.parquet"
    inputs = ("simulate", f"{folder}/*.root")
    arguments = (*inputs, "-o", str(output), "--objects", str(objects))
    with subprocess.Popen([sys.executable, "-c", SIMULATE, *arguments]) as process:
        wait_for_parts(output, 2)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 130
    assert not output.exists()
    assert not objects.exists()
    assert run_command(*arguments, "--resume") == 0
    others = [tmp_path / "other.parquet", tmp_path / "other-objects.parquet"]
    assert run_command(*inputs, "-o", others[0], "--objects", others[1]) == 0
    assert read_rows(output) == read_rows(others[0])
    assert read_rows(objects) == read_rows(others[1])
    assert len(list(tmp_path.iterdir())) == 5
