"""The guides in ``docs/`` do what they say when they are followed to the letter.

Of each page, in order: blocks behind "Create `FILE`" become that file, ``diff`` blocks are
applied, ``sh`` blocks run, all in a copy of the checkout. Blocks marked ``console`` take
minutes or need files that the reader has, and are not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import smartfilter

GUIDES = ("adding-a-network", "adding-a-reader", "adding-a-skim")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CREATE = re.compile(r"[Cc]reate\s+`([^`]+)`")
NAME_OF_A_FILE = {"python", "yaml"}


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    file: str


def read_blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, each with the file that the text before names."""
    blocks, text, end = [], page.read_text(), 0
    for match in BLOCK.finditer(text):
        files = CREATE.findall(text[end : match.start()])
        blocks.append(Block(match[1], match[2], files[-1] if files else ""))
        end = match.end()
    return blocks


def copy_package(target: Path) -> None:
    """Copy the package as it is; compiled kernels are found where they are."""
    source = Path(smartfilter.__file__).parent
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for cache in source.rglob("__pycache__"):
        (target / cache.relative_to(source)).symlink_to(cache)


@pytest.fixture
def checkout(tmp_path: Path, project_root: Path) -> Path:
    """Return a copy of the checkout with the package that the tests see."""
    folder = tmp_path / "checkout"
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("tests", "examples"):
        shutil.copytree(project_root / name, folder / name, ignore=skip)
    shutil.copy2(project_root / "pyproject.toml", folder)
    copy_package(folder / "smartfilter")
    return folder


def run(arguments: list[str], folder: Path, text: str = "") -> str:
    """Run in the copy with its package; return what is printed."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": programs,
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
    }
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def follow(page: Path, folder: Path) -> str:
    """Do what a page says; return what its commands print."""
    printed = ""
    for block in read_blocks(page):
        if block.kind in NAME_OF_A_FILE:
            assert block.file, f"no file is named before:\n{block.text}"
            path = folder / block.file
            assert not path.exists()
            path.write_text(block.text)
        elif block.kind == "diff":
            run(["git", "apply", "--verbose", "-"], folder, block.text)
        elif block.kind == "sh":
            printed += run(["bash", "-e", "-c", block.text], folder)
        else:
            assert block.kind == "console", f"a block of unknown kind: {block.kind}"
    return printed


def test_guide_to_networks_ends_in_a_network_that_the_common_tests_accept(
    checkout: Path, project_root: Path
):
    printed = follow(project_root / "docs" / "adding-a-network.md", checkout)
    passed = re.search(r"(\d+) passed", printed)
    assert passed is not None
    assert int(passed[1]) >= 5
    assert "failed" not in printed


def test_guide_to_skims_ends_in_a_skim_that_passes_its_test(
    checkout: Path, project_root: Path
):
    printed = follow(project_root / "docs" / "adding-a-skim.md", checkout)
    assert "passed" in printed
    assert "failed" not in printed


def test_guide_to_readers_ends_in_the_scores_of_the_same_events(
    checkout: Path, project_root: Path
):
    printed = follow(project_root / "docs" / "adding-a-reader.md", checkout)
    example = "smartfilter score examples/events.root --skim feiHadronicB0"
    expected = run(["bash", "-c", example], checkout)
    kept = re.compile(r"kept +\d+ .*|sum of weights.*|unscorable.*")
    assert kept.findall(expected)
    assert kept.findall(printed)[-3:] == kept.findall(expected)
    assert "generator particles" in printed


def test_every_guide_is_followed(project_root: Path):
    pages = sorted(file.stem for file in (project_root / "docs").glob("adding-*.md"))
    assert pages == list(GUIDES)


@pytest.mark.parametrize("folder", [".", "docs", "examples", "benchmarks", "steering"])
def test_links_between_pages_lead_somewhere(project_root: Path, folder: str):
    for page in (project_root / folder).glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{target} in {page.name}"
