"""The double of basf2 as importable modules, and smartfilter imported with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import smartfilter

DOUBLE = Path(__file__).parent / "double"
HOSTED = ("basf2_host", "event_reader", "module", "training_writer")
"""Modules of smartfilter that depend on the host."""


def _is_of_double(module: ModuleType) -> bool:
    return str(DOUBLE) in str(getattr(module, "__file__", None) or "")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make ``basf2``, ``ROOT`` and so on importable, and import smartfilter with them.

    Returns the names ``basf2``, ``Belle2``, ``logs``, ``store``, ``ROOT``.
    """
    monkeypatch.syspath_prepend(str(DOUBLE))
    for name in HOSTED:
        monkeypatch.delitem(sys.modules, f"smartfilter.{name}", raising=False)
        monkeypatch.delattr(smartfilter, name, raising=False)
    basf2, root = import_module("basf2"), import_module("ROOT")
    logs, store = import_module("basf2.logs"), import_module("basf2.store")
    yield SimpleNamespace(
        basf2=basf2, ROOT=root, Belle2=root.Belle2, logs=logs, store=store.store
    )
    for name, module in list(sys.modules.items()):
        if _is_of_double(module) or name in [f"smartfilter.{n}" for n in HOSTED]:
            del sys.modules[name]
    for name in HOSTED:
        if hasattr(smartfilter, name):
            delattr(smartfilter, name)


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
