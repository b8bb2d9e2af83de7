"""Threads, file handles, network and temporary names."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import smartfilter
from smartfilter.errors import ModelFileError, SmartFilterError
from smartfilter.events import Events
from smartfilter.io import LabelledWriter, MdstWriter, open_events, read_scores
from smartfilter.model_file import default_model_path, load_model

PACKAGE = Path(smartfilter.__file__).parent

MONITOR = """
import json, os, sys, threading
from pathlib import Path

def work():
    seconds = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        seconds[int(task.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds

from smartfilter.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert not stop.code, stop.code
seconds = work()
own = seconds.pop(os.getpid())
names = [t.name for t in threading.enumerate()]
print(json.dumps({"own": own, "others": sum(seconds.values()), "python": names}), file=sys.stderr)
"""

NO_NETWORK = """
import socket, sys

def refuse(*arguments, **options):
    raise AssertionError("network")

class Refused(socket.socket):
    def __new__(cls, *arguments, **options):
        raise AssertionError("network")

socket.socket, socket.create_connection = Refused, refuse
socket.getaddrinfo = socket.gethostbyname = refuse

def audit(name, arguments):
    if name.startswith("socket.") and name != "socket.gethostname":
        raise AssertionError(f"network: {name}")

sys.addaudithook(audit)
from smartfilter.cli import main
main(sys.argv[1:])
"""


def run_python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def labelled(some_events, tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("labelled") / "events.parquet"
    labels = {"feiHadronicB0": np.arange(len(some_events)) % 7 == 0}
    with LabelledWriter(path, list(labels)) as writer:
        writer.write(some_events.with_labels(labels))
    return path


def write_many(path: Path, some_events: Events) -> Path:
    """Write 6,000 events, labelled or not."""
    labels = {"feiHadronicB0": np.arange(len(some_events)) % 7 == 0}
    writer: LabelledWriter | MdstWriter = (
        MdstWriter(path)
        if path.suffix == ".root"
        else LabelledWriter(path, list(labels))
    )
    with writer:
        for _ in range(200):
            writer.write(some_events.with_labels(labels))
    return path


@pytest.mark.parametrize("suffix", [".root", ".parquet"])
def test_score_uses_one_thread(some_events, tmp_path, suffix):
    """The processor time of all other threads is a small part of that of the first."""
    path = write_many(tmp_path / f"events{suffix}", some_events)
    done = run_python(MONITOR, "score", path, "-o", tmp_path / f"scores{suffix}")
    assert done.returncode == 0, done.stderr
    used = json.loads(done.stderr.splitlines()[-1])
    assert used["python"] == ["MainThread"]
    assert used["others"] < 0.2 * used["own"]


def test_score_with_threads_ends_them(some_events, tmp_path):
    path = write_many(tmp_path / "events.root", some_events)
    output = tmp_path / "scores.root"
    done = run_python(MONITOR, "score", path, "-o", output, "--threads", "2")
    assert done.returncode == 0, done.stderr
    used = json.loads(done.stderr.splitlines()[-1])
    assert used["python"] == ["MainThread"]
    assert len(read_scores(output)) == 6_000


def count_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_scorer_starts_no_thread(scorer, some_events):
    scorer.score(some_events)
    before = count_threads()
    for _ in range(5):
        scorer.score(some_events)
    assert count_threads() == before


def open_handles_of_others() -> set[str]:
    """Return the handles that are open for good, once what other tests dropped is gone.

    A refused file hangs on its traceback, which the collector may take at any moment.
    """
    gc.collect()
    return open_handles()


def open_handles() -> set[str]:
    """Return what the open descriptors of this process name, but pipes and sockets."""
    names = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            names.add(f"{entry.name} {entry.readlink()}")
        except FileNotFoundError:  # the one that listed the folder
            continue
    return {name for name in names if "/proc/" not in name}


@pytest.mark.parametrize("kind", ["mdst", "labelled"])
def test_open_events_many_files_leave_no_handle(example, labelled, tmp_path, kind):
    source = example if kind == "mdst" else labelled
    content = source.read_bytes()
    for number in range(25):
        (tmp_path / f"{number}{source.suffix}").write_bytes(content)
    open_events(source).read()
    before = open_handles_of_others()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        source_of_all = open_events(str(tmp_path / f"*{source.suffix}"))
        assert open_handles() == before
        assert sum(len(chunk) for chunk in source_of_all) == 25 * len(
            open_events(source).read()
        )
        gc.collect()
    assert open_handles() == before


@pytest.mark.parametrize("kind", ["mdst", "labelled"])
def test_open_events_bad_files_leave_no_handle(example, labelled, tmp_path, kind):
    source = example if kind == "mdst" else labelled
    content, rng = source.read_bytes(), np.random.default_rng(3)
    path = tmp_path / source.name
    open_events(source).read()
    before = open_handles_of_others()
    n_refused = 0
    for _ in range(30):
        damaged = bytearray(content[: int(rng.integers(4, len(content)))])
        damaged[int(rng.integers(len(damaged)))] ^= 255
        path.write_bytes(damaged)
        try:
            open_events(path).read()
        except SmartFilterError:
            n_refused += 1
    gc.collect()
    assert n_refused > 20
    assert open_handles() == before


def test_open_events_given_up_half_way_leaves_no_handle(example, labelled):
    before = open_handles_of_others()
    for path in (example, labelled):
        chunks = iter(open_events(path, chunk_size=3))
        next(chunks)
        del chunks
    gc.collect()
    assert open_handles() == before


def test_readers_of_scores_and_models_leave_no_handle(run, example, tmp_path):
    for suffix in (".parquet", ".root"):
        run("score", example, "-o", tmp_path / f"scores{suffix}")
    load_model(default_model_path())
    before = open_handles_of_others()
    for suffix in (".parquet", ".root"):
        path = tmp_path / f"scores{suffix}"
        read_scores(path)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(SmartFilterError):
            read_scores(path)
    load_model(default_model_path())
    broken = tmp_path / "model.pt"
    broken.write_bytes(default_model_path().read_bytes()[:-99])
    with pytest.raises(ModelFileError):
        load_model(broken)
    gc.collect()
    assert open_handles() == before


def test_score_opens_no_socket(example, tmp_path):
    output = tmp_path / "scores.root"
    done = run_python(NO_NETWORK, "score", example, "-o", output)
    assert done.returncode == 0, done.stderr
    assert output.exists()
    assert "network" not in done.stderr


def test_no_network_check_notices_a_socket():
    code = NO_NETWORK.replace("main(sys.argv[1:])", "")
    for statement in (
        "import socket; socket.socket()",
        "import _socket; _socket.socket()",
        "import urllib.request as r; r.urlopen('http://example.org')",
    ):
        done = run_python(f"{code}\n{statement}")
        assert done.returncode == 1
        assert "AssertionError: network" in done.stderr


def watch_names(monkeypatch) -> list[str]:
    """Return a list that receives the name of every file that is moved to another."""
    names: list[str] = []
    replace = os.replace

    def note(source, target, **options):
        names.append(Path(source).name)
        replace(source, target, **options)

    monkeypatch.setattr("os.replace", note)
    return names


def test_temporary_names_cannot_be_guessed(run, example, tmp_path, monkeypatch):
    names = watch_names(monkeypatch)
    for _ in range(3):
        run("score", example, "-o", tmp_path / "scores.parquet", "--force")
    assert len(names) == len(set(names))
    assert Counter(re.sub(r"\.[0-9a-f]{32}\.", ".X.", name) for name in names) == {
        ".scores.X.part.parquet": 3,
        ".000000-000000000000.X.part.npz": 3,
        ".run.X.part.json": 3,
    }


def test_package_uses_no_guessable_temporary_file():
    text = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert "mktemp(" not in text
    assert "'/tmp" not in text
    assert '"/tmp' not in text
