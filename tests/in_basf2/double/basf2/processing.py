"""The loop over events and its statistics (contract, sections 3.1 to 3.3)."""

from __future__ import annotations

import time
from typing import Any

from basf2 import logs
from basf2.path import AfterConditionPath, Module, Path, collect
from basf2.store import store

_state: dict[str, Any] = {"seed": "double"}

END = 2**32 - 1


def set_random_seed(seed: str | int) -> None:
    _state["seed"] = str(seed)


def get_random_seed() -> str:
    return str(_state["seed"])


class ModuleStatistics:
    """Calls and wall clock (ns) per hook."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._calls = dict.fromkeys(range(5), 0)
        self._time = dict.fromkeys(range(5), 0)

    def add(self, counter: int, nanoseconds: int) -> None:
        self._calls[counter] += 1
        self._time[counter] += nanoseconds

    def calls(self, counter: int = 5) -> float:
        return float(
            sum(self._calls.values()) if counter == 5 else self._calls[counter]
        )

    def time_sum(self, counter: int = 5) -> float:
        return float(sum(self._time.values()) if counter == 5 else self._time[counter])

    def time_mean(self, counter: int = 5) -> float:
        return self.time_sum(counter) / max(self.calls(counter), 1.0)


class Statistics:
    INIT, BEGIN_RUN, EVENT, END_RUN, TERM, TOTAL = range(6)

    def __init__(self) -> None:
        self._modules: dict[int, tuple[Module, ModuleStatistics]] = {}

    def clear(self) -> None:
        self._modules.clear()

    def get(self, module: Module) -> ModuleStatistics:
        if id(module) not in self._modules:
            self._modules[id(module)] = (module, ModuleStatistics(module.name()))
        return self._modules[id(module)][1]

    @property
    def modules(self) -> list[ModuleStatistics]:
        return [entry for _, entry in self._modules.values()]

    def __call__(self, *arguments: Any) -> str:
        return str(self)

    def __str__(self) -> str:
        return "\n".join(
            f"{m.name} | {m.calls(self.EVENT):.0f} | {m.time_sum(self.EVENT) / 1e9:.3f}"
            for m in self.modules
        )


statistics = Statistics()


def _call(module: Module, hook: str, counter: int) -> None:
    start = time.time_ns()
    getattr(module, hook)()
    statistics.get(module).add(counter, time.time_ns() - start)


def process(path: Path, max_event: int = 0) -> None:
    """Process a path; Python modules are not cloned when it is called again."""
    modules = collect(path)
    statistics.clear()
    logs.reset_counter()
    store.reset()
    store.initializing = True
    master: Module | None = None
    for module in modules:
        _call(module, "initialize", statistics.INIT)
        if master is None and "EventMetaData" in store.entries:
            master = module
    store.initializing = False
    if logs.n_errors:
        logs.B2FATAL(
            f"{logs.n_errors} ERROR(S) occurred! "
            "The processing of events will not be started."
        )
    if master is None:
        logs.B2FATAL("no module provides EventMetaData")
    _Loop(path, modules, master).run(max_event)
    for module in reversed(modules):
        _call(module, "terminate", statistics.TERM)
    store.invalidate()


class _Loop:
    def __init__(self, path: Path, modules: list[Module], master: Module) -> None:
        self.path, self.modules, self.master = path, modules, master
        self.run_number: tuple[int, int] | None = None

    def run(self, max_event: int) -> None:
        done = 0
        while not max_event or done < max_event:
            going = self._event()
            store.invalidate()
            if not going:
                break
            done += 1
        if self.run_number is not None:
            self._all("endRun", statistics.END_RUN)

    def _all(self, hook: str, counter: int) -> None:
        for module in self.modules:
            _call(module, hook, counter)

    def _event(self) -> bool:
        steps = list(self.path.modules())
        while steps:
            module = steps.pop(0)
            _call(module, "event", statistics.EVENT)
            if module is self.master and not self._follow_run():
                return False
            condition = module.evaluate()
            if condition is not None:
                branch = condition.path.modules()
                if condition.after is AfterConditionPath.END:
                    steps = branch
                else:
                    steps = branch + steps
        return True

    def _follow_run(self) -> bool:
        data = store.entries["EventMetaData"].value
        if data is None:
            return False
        if data.isEndOfData():
            return False
        number = (data.getExperiment(), data.getRun())
        if number != self.run_number:
            if self.run_number is not None:
                self._all("endRun", statistics.END_RUN)
            self.run_number = number
            self._all("beginRun", statistics.BEGIN_RUN)
        return True
