"""Many files scored: the same rows for any workers, bad files, interrupted or not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartfilter.cli import main
from smartfilter.decision import DecisionSettings
from smartfilter.distributed import Workers, open_workers
from smartfilter.errors import InputError, ModelFileError, UsageError
from smartfilter.io import LabelledWriter, open_events, read_scores, verify_scores
from smartfilter.io.lock import OutputLock
from smartfilter.score_files import ScoreRun, ScoreTask, score_files
from smartfilter.scoring import Scorer

SKIM = "feiHadronicB0"


@pytest.fixture(scope="module")
def scorer(count_model: Path) -> Scorer:
    return Scorer(count_model, device="cpu")


@pytest.fixture
def here() -> Iterator[Workers]:
    with open_workers() as workers:
        yield workers


@pytest.fixture
def files(tmp_path: Path, project_root: Path) -> list[Path]:
    """Return two files of 400 events that any worker reads and one of 60 that none does."""
    folder = tmp_path / "in"
    folder.mkdir()
    example = project_root / "examples" / "events.root"
    paths = [folder / "a.root", folder / "b.parquet", folder / "c.root"]
    for path in (paths[0], paths[2]):
        shutil.copy(example, path)
    events = open_events(example).read().take(slice(0, 60))
    with LabelledWriter(paths[1], []) as writer:
        writer.write(events)
    return paths


def damage(path: Path) -> None:
    """Overwrite the end of the data of a ROOT file: it opens, but not all is readable."""
    content = bytearray(path.read_bytes())
    middle = len(content) * 2 // 3
    content[middle : middle + 40_000] = bytes(40_000)
    path.write_bytes(content)


def score(
    files: list[Path],
    output: Path | None,
    scorer: Scorer,
    workers: Workers,
    **options: Any,
) -> ScoreRun:
    settings = DecisionSettings.for_each_type(scorer.info, mode="sample", seed=3)
    skip = options.get("skip_bad_files", False)
    return score_files(
        open_events(files, chunk_size=110, skip_bad_files=skip),
        scorer=scorer,
        settings=settings,
        workers=workers,
        describe=lambda run: run.summary.to_metadata(),
        output=output,
        **options,
    )


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_score_files_is_the_same_for_any_workers(
    files, tmp_path, scorer, here, two_workers, suffix
):
    run = score(files, tmp_path / f"one{suffix}", scorer, here)
    again = score(files, tmp_path / f"two{suffix}", scorer, two_workers)
    first, second = (read_scores(tmp_path / f"{n}{suffix}") for n in ("one", "two"))
    events = [open_events(file).read() for file in files]
    assert first["event"].tolist() == [e for part in events for e in part.event]
    assert (
        first["file"].tolist()
        == [str(f) for f in files for _ in range(400)][:400]
        + [str(files[1])] * 60
        + [str(files[2])] * 400
    )
    for name, column in first.columns.items():
        np.testing.assert_array_equal(column, second[name], err_msg=name)
    assert first.metadata == second.metadata
    assert run.summary.to_metadata() == again.summary.to_metadata()
    assert verify_scores(tmp_path / f"two{suffix}").n_generated == 860
    assert {path.name for path in tmp_path.iterdir()} == {
        "in",
        f"one{suffix}",
        f"two{suffix}",
    }


def test_score_files_without_output_counts_the_same(files, scorer, here, two_workers):
    counts = [
        score(files, None, scorer, workers).summary.to_metadata()
        for workers in (here, two_workers)
    ]
    assert counts[0] == counts[1]
    assert counts[0]["n_generated"] == 860


def test_score_files_tells_the_progress(files, tmp_path, scorer, two_workers):
    steps: list[int] = []
    score(files, tmp_path / "a.root", scorer, two_workers, advance=steps.append)
    assert steps == [110, 110, 110, 70, 60, 110, 110, 110, 70]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_score_files_with_a_bad_file_stops_or_leaves_it_out(
    files, tmp_path, scorer, here, two_workers, n_workers
):
    workers = here if n_workers == 1 else two_workers
    damage(files[0])
    assert len(open_events(files[0], chunk_size=110).files) == 1
    output = tmp_path / "scores.parquet"
    with pytest.raises(InputError, match=r"a\.root"):
        score(files, output, scorer, workers)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    run = score(files, output, scorer, workers, skip_bad_files=True)
    assert list(run.skipped) == [str(files[0])]
    assert "cannot be read" in run.skipped[str(files[0])]
    table = read_scores(output)
    assert set(table["file"]) == {str(files[1]), str(files[2])}
    assert len(table) == run.summary.n_events == 460


def test_score_files_resumed_are_those_of_an_undisturbed_run(
    files, tmp_path, scorer, here, two_workers
):
    """Interrupted within the first file, at its end, and near the end."""
    expected = tmp_path / "expected.parquet"
    score(files, expected, scorer, here)
    for n_chunks in (1, 4, 8):
        output = tmp_path / f"{n_chunks}.parquet"
        steps: list[int] = []

        def interrupt(n_events: int, steps: list[int] = steps, stop: int = n_chunks):
            steps.append(n_events)
            if len(steps) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            score(files, output, scorer, here, advance=interrupt)
        assert not output.exists()
        run = score(files, output, scorer, two_workers, resume=True)
        assert run.n_resumed == sum(steps)
        assert output.read_bytes() == expected.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_score_files_with_a_bad_file_keeps_the_parts_of_others(
    files, tmp_path, scorer, here
):
    damage(files[2])
    output = tmp_path / "scores.parquet"
    with pytest.raises(InputError, match=r"c\.root"):
        score(files, output, scorer, here)
    run = score(files, output, scorer, here, resume=True, skip_bad_files=True)
    assert run.n_resumed == len(read_scores(output)) == 460


def test_score_files_resumed_with_other_settings_is_refused(
    files, tmp_path, scorer, here
):
    output = tmp_path / "scores.parquet"

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(files, output, scorer, here, advance=interrupt)
    for changed in ({"event_type": "ccbar"}, {"device": "cpu"}):
        with pytest.raises(UsageError, match="another"):
            score(files, output, scorer, here, resume=True, **changed)
    with pytest.raises(UsageError, match="another"):
        score(files[:2], output, scorer, here, resume=True)
    files[2].touch()
    with pytest.raises(UsageError, match="another"):
        score(files, output, scorer, here, resume=True)
    assert score(files, output, scorer, here).n_resumed == 0


def test_score_files_that_nobody_can_score_leaves_nothing(
    tmp_path, make_bad, scorer, here
):
    output = tmp_path / "scores.parquet"
    with pytest.raises(InputError, match="none of 230"):
        score([make_bad(230)], output, scorer, here)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.parquet"]


@pytest.fixture
def make_bad(tmp_path: Path, project_root: Path) -> Any:
    """Return a function that writes events of which none can be scored."""

    def make(n_events: int) -> Path:
        events = open_events(project_root / "examples" / "events.root").read()
        events = events.take(slice(0, n_events))
        events.particles["px"][:] = np.nan
        with LabelledWriter(tmp_path / "bad.parquet", []) as writer:
            writer.write(events)
        return tmp_path / "bad.parquet"

    return make


def test_score_task_refuses_a_model_that_changed(scorer):
    settings = DecisionSettings.for_each_type(scorer.info)
    task = ScoreTask(str(scorer.path), "0" * 64, "cpu", None, settings)
    with pytest.raises(ModelFileError, match="it changed since the run began"):
        task.load_scorer()


def run_command(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_score_command_reports_files_that_it_leaves_out(
    files, tmp_path, capfd, count_model
):
    damage(files[0])
    files[2].write_bytes(b"root" + bytes(100))
    output = tmp_path / "scores.parquet"
    options = ("--model", count_model, "-o", output, "--json")
    assert run_command("score", *files, *options) == 3
    assert "c.root" in capfd.readouterr().err
    assert run_command("score", *files, *options, "--skip-bad-files") == 0
    out, err = capfd.readouterr()
    assert set(json.loads(out)["skipped_files"]) == {str(files[0]), str(files[2])}
    assert "2 files were left out" in err
    assert "a.root" in err
    assert "c.root" in err
    table = read_scores(output)
    assert set(table.metadata["skipped_files"]) == {str(files[0]), str(files[2])}
    assert set(table["file"]) == {str(files[1])}


def test_score_command_into_an_output_that_is_being_written_says_why(
    files, tmp_path, capfd, count_model
):
    output = tmp_path / "scores.parquet"
    with OutputLock(output):
        assert run_command("score", *files, "--model", count_model, "-o", output) == 2
    assert f"process {os.getpid()}" in capfd.readouterr().err
    assert not output.exists()


def test_score_command_needs_an_output_to_resume(files, capfd):
    assert run_command("score", *files, "--resume") == 2
    assert "--resume needs an output" in capfd.readouterr().err


FULL_DISK = """
import resource, sys
from smartfilter.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("suffix", "size"), [(".parquet", 1000), (".parquet", 12_000), (".root", 12_000)]
)
def test_score_command_on_a_full_disk_is_one_sentence(
    files, tmp_path, count_model, suffix, size
):
    """A limit on file size stands for the disk: reached by a part or by the output."""
    output = tmp_path / f"scores{suffix}"
    arguments = ("score", *files[:2], "--model", count_model, "-o", output)
    command = [sys.executable, "-c", FULL_DISK, str(size), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert "cannot be written" in done.stderr
    assert not output.exists()
    assert not list(tmp_path.glob(f".*.part{suffix}"))


SLOW = """
import sys, time
from smartfilter import score_files
from smartfilter.cli import main
score = score_files.score_chunk
def score_slowly(*arguments, **options):
    time.sleep(0.3)
    return score(*arguments, **options)
score_files.score_chunk = score_slowly
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_score_command_that_is_ended_goes_on(
    tmp_path, project_root, count_model, wait_for_parts, number, code
):
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(6):
        (folder / f"{k:02}.root").hardlink_to(project_root / "examples" / "events.root")
    options = ("--model", count_model, "--mode", "sample")
    expected, output = tmp_path / "expected.parquet", tmp_path / "scores.parquet"
    assert run_command("score", folder / "*.root", *options, "-o", expected) == 0
    arguments = ("score", folder / "*.root", *options, "-o", output)
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, arguments)], stderr=subprocess.PIPE
    ) as process:
        wait_for_parts(output, 2)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert not output.exists()
    assert not list(tmp_path.glob(".*.part.parquet"))
    assert run_command(*arguments, "--resume") == 0
    assert output.read_bytes() == expected.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "expected.parquet",
        "in",
        "scores.parquet",
    ]


def test_score_command_interrupted_with_its_workers_says_one_line(
    tmp_path, project_root, count_model, wait_for_parts
):
    """Ctrl-C in a terminal reaches the workers, too."""
    pytest.importorskip("distributed")
    for k in range(100):
        (tmp_path / f"{k:02}.root").hardlink_to(project_root / "examples/events.root")
    output = tmp_path / "scores.parquet"
    options = ("--model", str(count_model), "--workers", "2", "-o", str(output))
    code = "from smartfilter.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "score", f"{tmp_path}/*.root", *options],
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        wait_for_parts(output, 2)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "--resume continues" in said
    assert not output.exists()
