"""Outputs never replace what they are made from, and wrong ones are refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartfilter.errors import UsageError
from smartfilter.io import MdstWriter, open_events
from smartfilter.io.output import refuse_inputs


@pytest.fixture
def folder(tmp_path: Path, project_root: Path, run, monkeypatch) -> Path:
    """Return a folder with four events, their labels, objects and scores."""
    monkeypatch.chdir(tmp_path)
    events = open_events(project_root / "examples" / "events.root").read()
    with MdstWriter("events.root", provenance={}) as writer:
        writer.write(events.take(slice(0, 4)))
    simulate = ("simulate", "events.root", "-o", "labelled.parquet")
    assert run(*simulate, "--objects", "objects.parquet")[0] == 0
    for name in ("scores.parquet", "scores.root"):
        assert run("score", "events.root", "-o", name, "--model", "gcn")[0] == 0
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("score", "events.root", "-o", "events.root"),
        ("score", "events.root:tree", "-o", "./events.root"),
        ("score", "labelled.parquet", "-o", "labelled.parquet"),
        ("simulate", "labelled.parquet", "-o", "labelled.parquet"),
        (
            "simulate",
            "labelled.parquet",
            "-o",
            "x.parquet",
            "--objects",
            "link.parquet",
        ),
        ("skim", "objects.parquet", "-o", "objects.parquet"),
        (
            *("skim", "objects.parquet", "--events", "labelled.parquet"),
            *("-o", "labelled.parquet"),
        ),
        ("merge", "scores.root", "-o", "scores.root"),
    ],
)
def test_output_that_is_an_input_is_refused_even_with_force(folder, run, arguments):
    Path("link.parquet").symlink_to("labelled.parquet")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, _, err = run(*arguments, "--force")
    assert code == 2
    assert "than the input" in err
    assert "name another file" in err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_refuse_inputs_passes_over_absent_files_and_urls(tmp_path):
    path = tmp_path / "a.root"
    refuse_inputs(path, [path])
    path.touch()
    refuse_inputs(path, [tmp_path / "b.root", "root://host//a.root"])
    refuse_inputs(None, [path])
    with pytest.raises(UsageError, match="than the input"):
        refuse_inputs(path, [str(path)])


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "labelled.parquet", "-o", "absent/model.pt"),
        ("calibrate", "gcn", "labelled.parquet", "-o", "absent/model.pt"),
        ("rebuild", "gcn", "-o", "absent/model.pt"),
    ],
)
def test_model_for_an_absent_folder_is_refused_before_the_data_are_read(
    run, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments)
    assert code == 2
    assert err == "Error: output: expected an existing folder, got 'absent'; make it\n"


def test_train_does_not_replace_a_table_beside_the_model(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.csv").write_text("mine")
    code, _, err = run("train", "labelled.parquet", "-o", "model.pt")
    assert code == 2
    assert "'model.csv' exists; use --force" in err
    assert Path("model.csv").read_text() == "mine"


LONG, ALMOST = "y" * 300, "y" * 230


@pytest.mark.parametrize(
    "arguments",
    [
        ("score", "EVENTS", "-o", f"{LONG}.parquet"),
        ("score", "EVENTS", "-o", f"{ALMOST}.parquet"),
        ("score", "EVENTS", "-o", f"{LONG}/scores.parquet"),
        ("score", f"{LONG}.root", "-o", "scores.parquet"),
        ("generate", "-n", "2", "--event-type", "mixed", "-o", f"{ALMOST}.root"),
        ("rebuild", "gcn", "-o", f"{LONG}.pt"),
        ("export", "gcn", "--onnx", f"{LONG}.onnx"),
        ("inspect", "EVENTS", "--event", "3", "-o", f"{LONG}.png"),
        ("inspect", LONG),
    ],
)
def test_names_that_are_too_long_are_one_sentence(
    run, example, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*(example if a == "EVENTS" else a for a in arguments))
    assert code in (2, 3)
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "y" * 50 in err
    assert list(tmp_path.iterdir()) == []


def test_longest_name_is_written(run, example, tmp_path):
    output = tmp_path / f"{'y' * (216 - len('.parquet'))}.parquet"
    assert run("score", example, "-o", output, "--model", "gcn")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
