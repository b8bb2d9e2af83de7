"""The pages name files, headings, commands and options that exist."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from smartfilter.cli import cli, main
from smartfilter.events import PARTICLE_COLUMNS
from smartfilter.io.scores import score_columns

ROOT = Path(__file__).parents[1]
FOLDERS = (".", "docs", "examples", "benchmarks", "steering")
PAGES = [page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md"))]
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT))
)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
FOR_THRESHOLDS = {"printed_formula", "substituted_formula"}
FILE = re.compile(r"(?:smartfilter|tests|docs|examples|benchmarks|steering)/[\w./-]+")


def list_anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    anchors: list[str] = []
    for heading in re.findall(r"^#+ +(.+?) *$", FENCE.sub("", text), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        count = sum(re.fullmatch(rf"{anchor}(-\d+)?", a) is not None for a in anchors)
        anchors.append(f"{anchor}-{count}" if count else anchor)
    return set(anchors)


def list_code(text: str) -> list[str]:
    """Return the lines of code blocks, and the code within lines."""
    text = text.replace("\\\n", " ")
    blocks = FENCE.findall(text)
    text = FENCE.sub("", text)
    inline = [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", text)]
    indented = re.findall(r"^    .*", text, re.MULTILINE)
    return [*"\n".join(blocks).splitlines(), *indented, *inline]


def list_commands(text: str, start: str) -> Iterator[list[str]]:
    """Yield the words of all commands of a page that match this."""
    for line in list_code(text):
        found = re.search(rf"(?<![\w/.-]){start}.*", line)
        if found:
            yield shlex.split(found[0].replace("|", " | "), comments=True)


def list_options(command: click.Command) -> set[str]:
    """Return the options of a command, and what all of them take."""
    own = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    return own | {"--help", "-h"}


def test_anchors_are_those_of_github():
    text = "# One\n## A (B), `c_d`: e - f\n```sh\n# no heading\n```\n## [One](x.md)\n"
    assert list_anchors(text) == {"one", "a-b-c_d-e---f", "one-1"}


@each_page
def test_links_lead_to_files_and_headings(page: Path):
    text = FENCE.sub("", page.read_text())
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{link} in {page.name}"
        if anchor:
            assert anchor in list_anchors(target.read_text()), f"{link} in {page.name}"


@each_page
def test_files_in_the_text_exist(page: Path):
    text = FENCE.sub("", page.read_text())
    for code in re.findall(r"`([^`\n]+)`", text):
        for name in FILE.findall(code):
            assert (ROOT / name).exists(), f"{name} in {page.name}"


@each_page
def test_commands_and_their_options_exist(page: Path):
    known = click.Context(cli)
    for words in list_commands(page.read_text(), r"smartfilter +(?!import )[a-z-]"):
        name = next(word for word in words[1:] if word != "-v")
        command = cli.get_command(known, name)
        assert isinstance(command, click.Command), f"{words} in {page.name}"
        options = {w.split("=")[0] for w in words if re.match(r"--?[a-z]", w)} - {"-v"}
        assert options <= list_options(command), f"{words} in {page.name}"


@each_page
def test_options_of_scripts_exist(page: Path):
    for words in list_commands(page.read_text(), r"(?:python|basf2) +[a-z]+/\w+\.py"):
        script = ROOT / words[1]
        sources = [source.read_text() for source in script.parent.glob("*.py")]
        own = words[2:]
        if "--" in own:
            split = own.index("--")
            own = own[split + 1 :] if words[0] == "basf2" else own[:split]
        for option in (word for word in own if re.match(r"--?[a-z]", word)):
            found = any(f'"{option}"' in text for text in sources)
            assert found, f"{option} of {words[1]} in {page.name}"


def read_keys(start: str) -> list[str]:
    """Return the code in the first cells, or behind them, of rows of docs/files.md."""
    page = (ROOT / "docs" / "files.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(start))
    return re.findall(r"`([^`]+)`", row)


def test_files_page_has_the_columns_that_are_written():
    page = (ROOT / "docs" / "files.md").read_text()
    table = page.split("| column |")[1].split("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert re.findall(r"`([^`]+)`", "".join(first)) == list(score_columns(["<skim>"]))
    particle = re.search(r"a list of structs: (.*?);", page, re.DOTALL)
    assert particle is not None
    assert re.findall(r"`([^`]+)`", particle[1]) == list(PARTICLE_COLUMNS)


@pytest.mark.parametrize("command", ["score", "speedup", "measure", "evaluate"])
def test_files_page_has_keys_that_documents_have(
    command: str, capsys: pytest.CaptureFixture[str]
):
    arguments = {
        "score": [str(ROOT / "examples" / "events.root")],
        "speedup": ["--tpr", "0.8", "--fpr", "0.1"],
    }
    if command in arguments:
        with pytest.raises(SystemExit):
            main([command, *arguments[command], "--json"])
        document = json.loads(capsys.readouterr().out)
    else:
        results = ROOT / "benchmarks" / "results"
        document = json.loads((results / f"{command}.json").read_text())
    own, *keys = read_keys(f"| `{command}` |")
    assert own == command
    assert keys
    assert {"schema_version", *keys} <= set(document)
    for point in document.get("points", []):
        only = set() if point["mode"] == "threshold" else FOR_THRESHOLDS
        assert set(keys) - {"points"} - only <= set(point)
