"""One page of a folder of results: complete, self-contained, escaped."""

from __future__ import annotations

import base64
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from smartfilter.cli import main
from smartfilter.errors import InputError
from smartfilter.model_file import default_model_path, read_model_info
from smartfilter.plots.page import Page, PageTable, Section, render
from smartfilter.plots.report import make_report

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)


class Reader(HTMLParser):
    """Collects tags with their attributes and the text; checks that tags are closed."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.cells: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th", "dd"):
            self.cells.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture
def folder(tmp_path: Path, project_root: Path) -> Path:
    """A measurement with its figure and a model with a history."""
    results = project_root / "benchmarks" / "results"
    shutil.copy(results / "measure.json", tmp_path / "measure.json")
    (tmp_path / "measure.png").write_bytes(PNG)
    shutil.copy(default_model_path(), tmp_path / "one.pt")
    (tmp_path / "one.csv").write_text(
        "epoch,train_loss,validation_loss,validation_auc\n0,0.5,0.4,0.8\n1,0.4,0.3,0.9\n"
    )
    return tmp_path


def call(*arguments) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def test_report_holds_the_numbers_and_needs_nothing_else(folder, capsys):
    assert call("report", folder, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["sections"] == ["Measured speedup", "Model one.pt"]
    page = Reader(Path(document["output"]).read_text())
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == document["n_figures"] == 3
    assert page.count("table") == document["n_tables"] == 6
    for image in images:
        kind, _, data = str(image["src"]).partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True).startswith(b"\x89PNG")
        assert image["alt"]
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe")
        assert "href" not in attributes or str(attributes["href"]).startswith("#")
    measured = json.loads((folder / "measure.json").read_text())
    info, digest = read_model_info(folder / "one.pt")
    assert digest in page.cells
    assert measured["model_digest"] in page.cells
    point = measured["points"][0]
    assert (
        f"{point['measured_speedup']:.2f} ± {point['measured_speedup_error']:.2f}"
        in page.cells
    )
    assert f"settings.{next(iter(info.training['config']['settings']))}" in page.cells
    metrics = info.training["metrics"]["feiHadronicB0"]
    assert f"{metrics['auc']:.4f} ± {metrics['auc_error']:.4f}" in page.cells


def test_report_page_loads_nothing_and_has_no_wide_element(folder):
    html = render(make_report(folder))
    for sign in ("http:", "https:", "url(", "@import", "srcset", "file:"):
        assert sign not in html
    page = Reader(html)
    regions = [a for tag, a in page.tags if tag == "div" and a.get("class") == "scroll"]
    assert len(regions) == page.count("table") + page.count("img")
    assert all(region["aria-label"] and region["tabindex"] for region in regions)


def test_report_stages_add_up(folder):
    page = make_report(folder)
    table = page.sections[0].tables[1]
    assert table.rows[-1][0] == "all"
    for column in (1, 2):
        parts = [float(row[column]) for row in table.rows]
        assert sum(parts[:-1]) == pytest.approx(parts[-1], abs=0.05)


def test_report_escapes_what_comes_from_files(folder):
    document = json.loads((folder / "measure.json").read_text())
    document["model"] = "<script>alert(1)</script>"
    (folder / "measure.json").write_text(json.dumps(document))
    html = render(make_report(folder))
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_render_empty_page_is_complete():
    page = Page("t", "s", [Section("one", tables=[PageTable("none", ("a",), ())])])
    assert Reader(render(page)).count("table") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "got something else"),
        ("[]", "got something else"),
        ("[" * 100_000, "deeper than 100 levels"),
        ('{"schema_version": 1}', "KeyError: 'detector'"),
        ('{"schema_version": 99}', "expected schema version 1, got 99"),
    ],
)
def test_report_of_another_document_is_an_input_error(tmp_path, content, message):
    (tmp_path / "measure.json").write_text(content)
    with pytest.raises(InputError, match=message):
        make_report(tmp_path)


def test_report_wrong_inputs_leave_no_page(folder, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert call("report", tmp_path / "missing") == 2
    assert call("report", empty) == 3
    capsys.readouterr()
    (empty / "notes.json").write_text("{}")
    assert call("report", empty) == 3
    assert (
        "expected measure.json, evaluate.json or model files" in capsys.readouterr().err
    )
    (folder / "one.pt").write_bytes(b"none")
    assert call("report", folder) == 4
    assert call("report", folder, "-o", folder / "page.txt") == 2
    (folder / "measure.png").write_text("no image")
    assert call("report", folder) == 3
    assert "expected a PNG image" in capsys.readouterr().err
    assert not list(folder.glob("*.html"))
    (folder / "report.html").write_text("mine")
    assert call("report", folder) == 2
    assert (folder / "report.html").read_text() == "mine"


def test_report_shows_the_run_of_documents_that_tell(folder):
    document = json.loads((folder / "measure.json").read_text())
    record = ("command_line", "versions", "machine")
    older = {key: value for key, value in document.items() if key not in record}
    (folder / "measure.json").write_text(json.dumps(older))
    assert "command" not in dict(make_report(folder).sections[0].facts)
    document |= {
        "command_line": "smartfilter measure -n 5",
        "versions": {"smartfilter": "0.1", "torch": "2.13.0"},
        "machine": {"cpu": "abacus", "cores": 2, "load": [0.5, 1, 2], "system": None},
    }
    (folder / "measure.json").write_text(json.dumps(document))
    facts = dict(make_report(folder).sections[0].facts)
    assert facts["command"] == "smartfilter measure -n 5"
    assert facts["versions"] == "smartfilter 0.1, torch 2.13.0"
    assert facts["machine"] == "abacus, 2 cores, load 0.5 at the start"


def test_report_of_a_damaged_run_record_is_an_input_error(folder):
    document = json.loads((folder / "measure.json").read_text())
    document["machine"] = {"load": 3.0}
    (folder / "measure.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="got something else"):
        make_report(folder)
