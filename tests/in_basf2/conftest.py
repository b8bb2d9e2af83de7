"""The double of basf2 as importable modules, smartfilter imported with it, and paths."""

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


class Recorder:
    """Makes modules that note each call of a hook in one list."""

    def __init__(self, double: Any) -> None:
        self.double = double
        self.calls: list[str] = []

    def make(self, name: str, **hooks: Any) -> Any:
        calls = self.calls

        class Noted(self.double.basf2.Module):  # type: ignore[name-defined]
            def _note(self, hook: str) -> None:
                calls.append(f"{name}.{hook}")
                if hook in hooks:
                    hooks[hook](self)

            def initialize(self) -> None:
                self._note("initialize")

            def beginRun(self) -> None:
                self._note("beginRun")

            def event(self) -> None:
                self._note("event")

            def endRun(self) -> None:
                self._note("endRun")

            def terminate(self) -> None:
                self._note("terminate")

        module = Noted()
        module.set_name(name)
        return module


@pytest.fixture
def recorder(double: Any) -> Recorder:
    """Return the maker of modules that note their calls."""
    return Recorder(double)


def _make_path(double: Any, events: int = 1, **settings: Any) -> Any:
    path = double.basf2.create_path()
    path.add_module("EventInfoSetter", evtNumList=[events], **settings)
    return path


def _run_with_info(double: Any, recorder: Any, use: Any) -> None:
    info = double.Belle2.PyStoreObj("EventExtraInfo")

    def event(_: Any) -> None:
        info.create()
        use(info)

    path = _make_path(double)
    path.add_module(
        recorder.make("a", initialize=lambda _: info.registerInDataStore(), event=event)
    )
    double.basf2.process(path)


@pytest.fixture(scope="session")
def make_path():
    """Return the function that makes a path with event numbers."""
    return _make_path


@pytest.fixture(scope="session")
def run_with_info():
    """Return the function that uses EventExtraInfo in an event."""
    return _run_with_info
