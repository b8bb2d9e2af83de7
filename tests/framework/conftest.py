"""Modules that provide event numbers, note their calls or call a function."""

from __future__ import annotations

from typing import Any

import pytest

import smartfilter.framework as basf2
from smartfilter.framework import Module, PyStoreObj


class Source(Module):
    """Provides event numbers; ends the data after ``n_events``."""

    def __init__(
        self, n_events: int = 3, runs: tuple[int, ...] = (), end: str = "mark"
    ) -> None:
        super().__init__()
        self.n_events, self.runs, self.end = n_events, runs, end
        self.calls = 0
        self.meta_data = PyStoreObj("EventMetaData")

    def initialize(self) -> None:
        self.calls = 0
        self.meta_data.registerInDataStore()

    def event(self) -> None:
        self.calls += 1
        if self.calls > self.n_events:
            if self.end == "mark":
                self.meta_data.create()
                self.meta_data.setEndOfData()
            return
        self.meta_data.create()
        self.meta_data.setEvent(self.calls)
        if self.runs:
            self.meta_data.setRun(self.runs[self.calls - 1])


class Recorder(Module):
    """Appends (name, hook) to a list; returns the values it is given in turn."""

    def __init__(
        self, log: list[tuple[str, str]], name: str, values: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.set_name(name)
        self.log = log
        self.values = list(values)

    def initialize(self) -> None:
        self.log.append((self.name(), "initialize"))

    def beginRun(self) -> None:
        self.log.append((self.name(), "beginRun"))

    def event(self) -> None:
        self.log.append((self.name(), "event"))
        if self.values:
            self.return_value(self.values.pop(0))

    def endRun(self) -> None:
        self.log.append((self.name(), "endRun"))

    def terminate(self) -> None:
        self.log.append((self.name(), "terminate"))


class Call(Module):
    """Calls a function in a hook."""

    def __init__(self, hook: str, function: Any) -> None:
        super().__init__()
        setattr(self, hook, function)


def _run(*modules: Module, max_event: int = 0) -> None:
    path = basf2.create_path()
    for module in modules:
        path.add_module(module)
    basf2.process(path, max_event)


def _names(log: list[tuple[str, str]], hook: str) -> list[str]:
    return [name for name, called in log if called == hook]


def _branch(log: list[tuple[str, str]], name: str) -> basf2.Path:
    path = basf2.create_path()
    path.add_module(Recorder(log, name))
    return path


@pytest.fixture(scope="session")
def make_source():
    """Return the class of modules that provide event numbers."""
    return Source


@pytest.fixture(scope="session")
def make_recorder():
    """Return the class of modules that note their calls."""
    return Recorder


@pytest.fixture(scope="session")
def make_call():
    """Return the class of modules that call a function."""
    return Call


@pytest.fixture(scope="session")
def run():
    """Return the function that processes modules."""
    return _run


@pytest.fixture(scope="session")
def names():
    """Return the function that names the modules of which a hook was called."""
    return _names


@pytest.fixture(scope="session")
def branch():
    """Return the function that makes a path of one module that notes its calls."""
    return _branch
