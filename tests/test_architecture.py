"""The rooms import in one direction, and the public names are what is promised."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import smartfilter

PACKAGE = Path(smartfilter.__file__).parent

LAYERS = (
    {
        "documents",
        "errors",
        "pdg",
        "event_hash",
        "events",
        "event_type",
        "prefetch",
        "heap",
        "progress",
        "run_record",
        "shipped",
        "sampling",
        "speedup",
    },
    {"io", "decision", "points", "presets", "working_point", "working_point_file"},
    {"graphs", "models"},
    {"model_info"},
    {"onnx_config"},
    {"onnx_file"},
    {"model_file", "onnx_export"},
    {"scoring", "model_rebuild"},
    {"cluster", "distributed", "campaign"},
    {"bulk", "rates", "decay_tree", "framework", "basf2_host", "score_lookup"},
    {"contents", "event_reader", "filter_counts", "score_files"},
    {"module", "training_writer", "pipeline", "training"},
    {"plots", "cli"},
    {"__main__"},
)
"""A room may import from its own layer and from those above it in this list."""

LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def walk_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from walk_run_time(node)


def list_imports(tree: ast.AST) -> set[str]:
    """Return the rooms of smartfilter that a file imports at run time, anywhere."""
    rooms: set[str] = set()
    for node in walk_run_time(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "smartfilter":
                names = parts[1:2] or [alias.name for alias in node.names]
                rooms.update(names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "smartfilter" and len(parts) > 1:
                    rooms.add(parts[1])
    return rooms & set(LEVEL)


@pytest.mark.parametrize(
    "file",
    [
        f
        for f in sorted(PACKAGE.rglob("*.py"))
        if f.parent != PACKAGE or f.stem != "__init__"
    ],
    ids=lambda file: str(file.relative_to(PACKAGE)),
)
def test_file_imports_from_its_own_layer_or_an_earlier_one(file: Path):
    room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in LEVEL, f"{room} has no layer yet"
    imports = list_imports(ast.parse(file.read_text()))
    back = sorted(name for name in imports if LEVEL[name] > LEVEL[room])
    assert not back, f"{file.name} imports {back}, which come later in the flow"


def test_public_names_are_the_promised_ones():
    assert dir(smartfilter) == [
        "Events",
        "Scorer",
        "SmartFilter",
        "__version__",
        "add_smartfilter",
        "open_events",
    ]
    for name in dir(smartfilter):
        assert getattr(smartfilter, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = smartfilter.nothing


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import smartfilter", {"torch", "uproot", "awkward", "numpy"}),
        ("import smartfilter.cli", {"torch", "uproot", "awkward", "pyarrow", "rich"}),
        (
            "import smartfilter.module",
            {"uproot", "pyarrow", "click", "rich", "yaml", "particle", "numba"},
        ),
    ],
)
def test_import_does_not_load_what_it_does_not_need(statement: str, absent: set[str]):
    code = f"{statement}; import sys; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not absent & set(run.stdout.split())


def test_basf2_is_imported_in_one_place():
    users = [
        file.name
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Import) and any(a.name == "basf2" for a in node.names)
    ]
    assert len(users) == 1


def test_torch_jit_is_called_in_one_place():
    users = {
        file.name
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in {"save", "load", "freeze"}
        and ast.unparse(node.value) == "torch.jit"
    }
    assert users <= {"model_file.py"}


@pytest.mark.parametrize(
    ("call", "place"),
    [("torch.onnx.export(", "onnx_export.py"), (".InferenceSession(", "onnx_file.py")],
)
def test_onnx_is_called_in_one_place(call: str, place: str):
    files = PACKAGE.rglob("*.py")
    assert [file.name for file in files if call in file.read_text()] == [place]


def test_map_of_rooms_names_every_room(project_root: Path):
    page = (project_root / "docs" / "architecture.md").read_text()
    assert [room for room in sorted(LEVEL) if f"`{room}`" not in page] == []


@pytest.mark.parametrize("room", ["smartfilter", "benchmarks", "examples", "steering"])
def test_text_files_are_utf8_whatever_the_locale(room: str, project_root: Path):
    silent = [
        f"{file.relative_to(project_root)}:{node.lineno}"
        for file in sorted((project_root / room).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"read_text", "write_text"}
        and "encoding" not in {keyword.arg for keyword in node.keywords}
    ]
    assert silent == []
