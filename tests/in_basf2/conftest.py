"""The double of basf2 as importable modules, and smartfilter imported with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

DOUBLE = Path(__file__).parent / "double"
HOSTED = (
    "smartfilter.basf2_host",
    "smartfilter.event_reader",
    "smartfilter.module",
    "smartfilter.training_writer",
    "smartfilter.pipeline.block_filter",
    "smartfilter.pipeline.chain",
    "smartfilter.pipeline.measurement",
    "smartfilter.pipeline.samples",
    "smartfilter.pipeline.comparison",
)
"""Modules of smartfilter that depend on the host, some through others."""


def _is_of_double(module: ModuleType) -> bool:
    return str(DOUBLE) in str(getattr(module, "__file__", None) or "")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make ``basf2``, ``ROOT`` and so on importable, and import smartfilter with them.

    Returns the names ``basf2``, ``Belle2``, ``logs``, ``store``, ``ROOT``.
    """
    monkeypatch.syspath_prepend(str(DOUBLE))
    before = {name: sys.modules.pop(name, None) for name in HOSTED}
    basf2, root = import_module("basf2"), import_module("ROOT")
    logs, store = import_module("basf2.logs"), import_module("basf2.store")
    yield SimpleNamespace(
        basf2=basf2, ROOT=root, Belle2=root.Belle2, logs=logs, store=store.store
    )
    for name, module in list(sys.modules.items()):
        if _is_of_double(module):
            del sys.modules[name]
    for name, previous in before.items():
        _put_back(name, previous)


def _put_back(name: str, module: ModuleType | None) -> None:
    """Undo an import, or restore what was imported before."""
    parent, _, attribute = name.rpartition(".")
    if module is not None:
        sys.modules[name] = module
        setattr(sys.modules[parent], attribute, module)
    elif sys.modules.pop(name, None) is not None:
        delattr(sys.modules[parent], attribute)


@pytest.fixture
def run_steering(
    double: Any,
    project_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """Run a steering file in an empty folder and return what it prints."""
    import runpy

    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str) -> str:
        file = str(project_root / "steering" / name)
        monkeypatch.setattr(sys, "argv", [file, *arguments])
        runpy.run_path(file, run_name="__main__")
        return capsys.readouterr().out

    return run
