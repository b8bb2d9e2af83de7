"""The Markdown tables of the measurements."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from smartfilter.errors import InputError

NAMES = ("measure-geant4", "measure", "measure-geant4-gcn", "measure-gcn")


@pytest.fixture
def table(project_root, monkeypatch):
    monkeypatch.syspath_prepend(str(project_root / "benchmarks"))
    return pytest.importorskip("measurement_table")


@pytest.fixture
def read_result(project_root):
    def read(name):
        file = project_root / "benchmarks" / "results" / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8"))

    return read


@pytest.mark.parametrize("name", NAMES)
def test_render_has_each_point_once_with_both_ways(name, table, read_result):
    document = read_result(name)
    rows = table.render(document).splitlines()[4:]
    blocks = [p for p in document["points"] if p["filter_in_blocks"]]
    assert len(rows) == len(blocks)
    for row, point in zip(rows, blocks, strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert float(cells[1]) == pytest.approx(point["tpr"], abs=0.005)
        assert float(cells[3].split()[0]) == pytest.approx(
            point["measured_speedup"], abs=0.005
        )
        single = [
            p["measured_speedup"]
            for p in document["points"]
            if not p["filter_in_blocks"]
            and (p["threshold"], p["sampling_constant"])
            == (point["threshold"], point["sampling_constant"])
        ]
        shown = [] if cells[9] == "-" else [float(cells[9].split()[0])]
        assert shown == pytest.approx(single, abs=0.005)


@pytest.mark.parametrize("name", NAMES)
def test_render_measured_over_predicted_is_the_ratio(name, table, read_result):
    for row in table.render(read_result(name)).splitlines()[4:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        ratio = float(cells[3].split()[0]) / float(cells[4])
        assert float(cells[5].split()[0]) == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize(
    ("options", "document"), [([], "docs/measurement.md"), (["--short"], "README.md")]
)
def test_tables_of_the_documents_are_those_of_the_results(
    options, document, table, project_root, tmp_path
):
    text = (project_root / document).read_text(encoding="utf-8")
    copy = tmp_path / "copy.md"
    copy.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(table.command, [*options, "--into", str(copy)])
    assert result.exit_code == 0, result.output
    assert copy.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"points": [{}]}', "# text"])
def test_what_is_no_result_is_refused(content, table, tmp_path):
    file = tmp_path / "result.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"result: expected .*result\.json"):
        table.command.main([str(file)], standalone_mode=False)
