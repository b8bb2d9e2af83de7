"""Run a path: initialize, events until the data end, terminate."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter_ns, process_time_ns
from typing import TYPE_CHECKING

from smartfilter.errors import UsageError
from smartfilter.framework.logs import B2ERROR, B2FATAL, B2INFO, B2WARNING, state
from smartfilter.framework.path import AfterConditionPath
from smartfilter.framework.store import EventMetaData, store
from smartfilter.framework.timing import Counter, ProcessStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smartfilter.framework.logs import LogConfig
    from smartfilter.framework.path import Module, Path
    from smartfilter.framework.store import Entry
    from smartfilter.framework.timing import Tally

__all__ = ["get_random_seed", "process", "set_random_seed", "statistics"]

META_DATA = "EventMetaData"
"""Entry that identifies the event; the module that registers it first is in control."""

statistics = ProcessStatistics()
"""Statistics of the last call of `process`."""

_seed: list[str] = [secrets.token_hex(32)]


def set_random_seed(seed: str | int) -> None:
    """Set the seed of the job, a text; without it the seed is random."""
    _seed[0] = str(seed)


def get_random_seed() -> str:
    """Return the seed of the job."""
    return _seed[0]


def process(path: Path, max_event: int = 0) -> None:
    """Process events until the module in control ends the data.

    Parameters
    ----------
    path : Path
    max_event : int
        Most events; 0 for no limit.

    Raises
    ------
    UsageError
        If modules report errors in initialize(), no module provides EventMetaData,
        or ``max_event`` is negative.
    SmartFilterError
        What modules raise; then terminate() is not called, as in basf2.
    """
    if max_event < 0:
        raise UsageError(f"max_event: expected a number >= 0, got {max_event}")
    B2INFO(f"Starting event processing, random seed is set to '{_seed[0]}'")
    modules = path.list_all_modules()
    statistics.clear()
    store.reset()
    state.n_errors = 0
    try:
        master = _initialize(modules)
        store.initialising = False
        processor = _Processor(path, modules, master)
        try:
            processor.run(max_event)
        except Exception:
            processor.report_failure()
            raise
        _call_all("terminate", Counter.TERM, modules[::-1])
    finally:
        store.initialising = False
        store.invalidate()
        state.active = None


def _call(module: Module, hook: Callable[[], None], tally: Tally) -> None:
    """Call a hook and count its times."""
    state.active = module.log_config
    cpu, wall = process_time_ns(), perf_counter_ns()
    hook()
    wall, cpu = perf_counter_ns() - wall, process_time_ns() - cpu
    state.active = None
    tally.add(wall, cpu)


@contextmanager
def _count_globally(counter: Counter) -> Iterator[None]:
    cpu, wall = process_time_ns(), perf_counter_ns()
    yield
    wall, cpu = perf_counter_ns() - wall, process_time_ns() - cpu
    statistics.get_global().tallies[counter].add(wall, cpu)


def _call_all(hook: str, counter: Counter, modules: list[Module]) -> None:
    with _count_globally(counter):
        for module in modules:
            tally = statistics.get(module).tallies[counter]
            _call(module, getattr(module, hook), tally)


def _initialize(modules: list[Module]) -> Module:
    """Initialise all modules and return the one in control of the data."""
    master = None
    with _count_globally(Counter.INIT):
        for module in modules:
            tally = statistics.register(module).tallies[Counter.INIT]
            _call(module, module.initialize, tally)
            if master is None and META_DATA in store.entries:
                master = module
    if master is None:
        B2ERROR(
            f"path: expected a module that provides event numbers ({META_DATA}), got "
            f"{', '.join(m.name() for m in modules) or 'no module'}; start with a "
            "generator or an input module"
        )
    if state.n_errors or master is None:
        raise UsageError(
            f"{state.n_errors} ERROR(S) occurred! "
            "The processing of events will not be started."
        )
    return master


@dataclass(slots=True)
class _Step:
    """A module on a path, with what the loop over events needs of it."""

    module: Module
    event: Callable[[], None]
    log_config: LogConfig
    tally: Tally
    has_condition: bool
    in_control: bool


class _Processor:
    """The loop over events."""

    def __init__(self, path: Path, modules: list[Module], master: Module) -> None:
        self._modules = modules
        self._master = master
        self._compiled: dict[int, list[_Step]] = {}
        self._steps = self._compile(path)
        self._entry: Entry = store.entries[META_DATA]
        self._previous = EventMetaData()
        self._previous.setEndOfData()
        self._in_run = False

    def _compile(self, path: Path) -> list[_Step]:
        """Return the steps of a path; those of conditional paths are kept as well."""
        if id(path) in self._compiled:
            return self._compiled[id(path)]
        steps = self._compiled[id(path)] = []
        for module in path.modules():
            steps.append(
                _Step(
                    module=module,
                    event=module.event,
                    log_config=module.log_config,
                    tally=statistics.get(module).tallies[Counter.EVENT],
                    has_condition=module.has_condition(),
                    in_control=module is self._master,
                )
            )
            for branch in module.get_all_condition_paths():
                self._compile(branch)
        return steps

    def run(self, max_event: int) -> None:
        """Process events until the data end."""
        tally = statistics.get_global().tallies[Counter.EVENT]
        n_events = 0
        done = False
        while not done:
            cpu, wall = process_time_ns(), perf_counter_ns()
            done = not self._process_event()
            store.invalidate()
            n_events += 1
            done |= 0 < max_event <= n_events
            wall, cpu = perf_counter_ns() - wall, process_time_ns() - cpu
            tally.add(wall, cpu)
        self._end_run()

    def report_failure(self) -> None:
        """Name the event in which a module failed."""
        state.active = None
        data = self._entry.value or self._previous
        if not data.isEndOfData():
            where = f"{data.experiment} / {data.run} / {data.event}"
            B2ERROR(f"Exception occurred in exp/run/evt: {where}")

    def _process_event(self) -> bool:
        """Run the path once and return whether there was an event.

        The CPU clock, a slow one, is read once per module: the little that the
        framework does in between counts for the next module.
        """
        steps, index = self._steps, 0
        waiting: list[tuple[list[_Step], int]] = []
        cpu = process_time_ns()
        while True:
            if index == len(steps):
                if not waiting:
                    break
                steps, index = waiting.pop()
                continue
            step = steps[index]
            state.active = step.log_config
            wall = perf_counter_ns()
            step.event()
            wall = perf_counter_ns() - wall
            before, cpu = cpu, process_time_ns()
            step.tally.add(wall, cpu - before)
            if step.in_control or self._entry.value != self._previous:
                state.active = None
                if not self._has_data(step):
                    return False
                cpu = process_time_ns()
            index += 1
            if not step.has_condition:
                continue
            condition = step.module.find_condition()
            if condition is not None:
                if condition.after is AfterConditionPath.CONTINUE:
                    waiting.append((steps, index))
                else:
                    waiting.clear()
                steps, index = self._compiled[id(condition.path)], 0
        state.active = None
        return True

    def _has_data(self, step: _Step) -> bool:
        """Follow the event numbers; return whether the data go on."""
        data: EventMetaData | None = self._entry.value
        if data is None:
            return not step.in_control
        if data.isEndOfData():
            if not step.in_control:
                B2WARNING(
                    f"processing: stopped by {step.module.name()}, which is not in "
                    f"control of it; {self._master.name()} provides {META_DATA}"
                )
            return False
        if step.in_control:
            self._follow_run(data)
        elif data != self._previous:
            B2FATAL(
                f"{META_DATA}: expected one module to set it, got "
                f"{self._master.name()} and {step.module.name()}"
            )
        return True

    def _follow_run(self, data: EventMetaData) -> None:
        previous = self._previous
        changed = data.run != previous.run or data.experiment != previous.experiment
        if changed:
            self._end_run()
            self._in_run = True
            _call_all("beginRun", Counter.BEGIN_RUN, self._modules)
        self._previous = replace(data)

    def _end_run(self) -> None:
        """Call endRun() with the numbers of the last event of the run."""
        if not self._in_run:
            return
        self._in_run = False
        current, self._entry.value = self._entry.value, self._previous
        _call_all("endRun", Counter.END_RUN, self._modules)
        self._entry.value = current
