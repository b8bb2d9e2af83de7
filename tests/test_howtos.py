"""The pages that say how to add something, followed literally in a copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import smartfilter

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"(?:^In `(?P<file>[^`]+)`, behind `(?P<line>[^`]+)`:\n\n)?"
    r"^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The parts of the repository that the pages name."""
    shutil.copytree(Path(smartfilter.__file__).parent, tmp_path / "smartfilter")
    for part in ("examples", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part)
    return tmp_path


def insert(file: Path, line: str, code: str) -> None:
    text = file.read_text()
    assert text.count(f"\n{line}\n") == 1, f"{line!r} is not one line of {file}"
    file.write_text(text.replace(f"\n{line}\n", f"\n{line}\n{code}"))


def run(code: str, folder: Path) -> str:
    """Run shell commands with the copy in place of the installed package."""
    path = folder / "bin"
    path.mkdir(exist_ok=True)
    for name, call in (
        ("python", '"$@"'),
        ("smartfilter", '-m smartfilter "$@"'),
    ):
        script = path / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call}\n')
        script.chmod(0o755)
    done = subprocess.run(
        ["sh", "-e", "-c", code],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(folder),
            "PATH": f"{path}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def follow(page: Path, folder: Path) -> str:
    """Do what a page says, block by block; return what the commands print."""
    printed = []
    for block in BLOCK.finditer(page.read_text()):
        code = block["code"]
        name = re.match(r"# (\S+\.\w+)\n", code)
        if block["file"]:
            insert(folder / block["file"], block["line"], code)
        elif block["language"] == "sh":
            printed.append(run(code, folder))
        else:
            assert name, f"a block of {page.name} does not say where it goes"
            (folder / name[1]).write_text(code.split("\n", 1)[1])
    return "\n".join(printed)


def test_adding_a_skim_followed_literally(copy: Path):
    printed = follow(ROOT / "docs" / "adding-a-skim.md", copy)
    assert "TwoKShort" in printed


def test_adding_a_network_followed_literally(copy: Path):
    printed = follow(ROOT / "docs" / "adding-a-network.md", copy)
    passed = re.search(r"(\d+) passed", printed)
    assert passed
    assert int(passed[1]) > 5
    assert "momentum_sum" not in printed.split("passed")[0]
    assert re.search(r"feiHadronicB0", printed.split("passed")[1])


def test_adding_a_reader_followed_literally(copy: Path):
    printed = follow(ROOT / "docs" / "adding-a-reader.md", copy)
    direct = run("smartfilter score examples/events.root", copy)
    assert re.search(r"events\s+400", printed)

    def read_kept(text: str) -> str:
        found = re.search(r"kept +\d+ \(.*", text)
        assert found
        return found[0]

    assert read_kept(printed) == read_kept(direct)


def test_following_notices_a_line_that_is_gone(tmp_path: Path):
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(AssertionError, match="is not one line"):
        insert(tmp_path / "a.py", "y = 1", "z = 2\n")
