"""What a document says of the run that made it."""

from __future__ import annotations

import json
import os
import shlex
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from smartfilter import __version__, run_record
from smartfilter.cli import main
from smartfilter.io import LabelledWriter, open_events


def test_list_versions_leaves_out_what_is_not_installed():
    found = run_record.list_versions(("numpy", "no-such-package-at-all"))
    assert found == {"numpy": version("numpy")}


def test_describe_machine_names_processor_cores_and_load():
    machine = run_record.describe_machine()
    assert machine["cpu"]
    assert 1 <= machine["cores"] <= os.cpu_count()
    assert len(machine["load"]) == 3
    assert machine["memory_gib"] > 0
    assert json.loads(json.dumps(machine)) == machine


def test_describe_machine_without_proc_still_answers(monkeypatch, tmp_path):
    monkeypatch.setattr(run_record, "_PROCESSORS", tmp_path / "none")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "getloadavg")
    monkeypatch.delattr(os, "sysconf")
    machine = run_record.describe_machine()
    assert machine["cores"] == os.cpu_count()
    assert machine["load"] is None
    assert machine["memory_gib"] is None


def test_describe_run_has_neither_user_nor_host(monkeypatch):
    monkeypatch.setenv("USER", "somebody-special")
    text = json.dumps(run_record.describe_run("smartfilter measure"))
    assert "somebody-special" not in text
    assert os.uname().nodename not in text


@pytest.fixture
def labelled_file(project_root, tmp_path) -> Path:
    """Example events of which every third one passes; a name with a space."""
    events = open_events(project_root / "examples" / "events.root").read()
    passes = np.arange(len(events)) % 3 == 0
    path: Path = tmp_path / "with a space.parquet"
    with LabelledWriter(path, ["feiHadronicB0"], provenance={}) as writer:
        writer.write(events.with_labels({"feiHadronicB0": passes}))
    return path


def test_evaluate_writes_the_command_line_as_a_shell_takes_it(
    labelled_file, capsys, count_model
):
    arguments = ["evaluate", str(count_model), str(labelled_file), "--all-events"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--json"])
    assert not stop.value.code
    document = json.loads(capsys.readouterr().out)
    assert shlex.split(document["command_line"]) == [
        "smartfilter",
        *arguments,
        "--json",
    ]
    assert document["versions"]["smartfilter"] == __version__
    assert document["versions"]["torch"] == version("torch")
    assert document["machine"]["cpu"]
