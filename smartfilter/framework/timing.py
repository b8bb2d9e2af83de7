"""What each module cost: calls, wall clock and CPU time, in nanoseconds."""

from __future__ import annotations

from enum import IntEnum
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from smartfilter.framework.path import Module

__all__ = ["Counter", "ModuleStatistics", "ProcessStatistics", "Tally"]


class Counter(IntEnum):
    """The hook that is counted; TOTAL is all of them."""

    INIT = 0
    BEGIN_RUN = 1
    EVENT = 2
    END_RUN = 3
    TERM = 4
    TOTAL = 5


class Tally:
    """Calls and times of one hook of one module.

    Parameters
    ----------
    keep_times : bool
        Whether to keep the times of each call.
    """

    __slots__ = ("calls", "cpu", "cpu2", "times", "wall", "wall2")

    def __init__(self, *, keep_times: bool = False) -> None:
        self.calls = self.wall = self.wall2 = self.cpu = self.cpu2 = 0
        self.times: list[tuple[int, int]] | None = [] if keep_times else None

    def add(self, wall: int, cpu: int) -> None:
        """Count one call."""
        self.calls += 1
        self.wall += wall
        self.wall2 += wall * wall
        self.cpu += cpu
        self.cpu2 += cpu * cpu
        if self.times is not None:
            self.times.append((wall, cpu))

    def include(self, other: Tally) -> None:
        """Count the calls of another tally as well."""
        for name in ("calls", "wall", "wall2", "cpu", "cpu2"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def _mean(total: int, calls: int) -> float:
    return total / calls if calls else 0.0


def _stddev(total: int, squares: int, calls: int) -> float:
    """Return the population standard deviation, as basf2's statistics do."""
    if calls == 0:
        return 0.0
    return sqrt(max(squares * calls - total * total, 0)) / calls


class ModuleStatistics:
    """Times and calls of a module; times in ns.

    Parameters
    ----------
    name : str
        Name of the module.
    keep_times : bool
        Whether to keep the times of each event.
    """

    def __init__(self, name: str, *, keep_times: bool = False) -> None:
        self.name = name
        self.tallies: dict[Counter, Tally] = {
            counter: Tally(keep_times=keep_times and counter == Counter.EVENT)
            for counter in Counter
            if counter != Counter.TOTAL
        }

    def _tally(self, counter: Counter) -> Tally:
        if counter != Counter.TOTAL:
            return self.tallies[counter]
        total = Tally()
        for tally in self.tallies.values():
            total.include(tally)
        return total

    def calls(self, counter: Counter = Counter.TOTAL) -> float:
        """Return the number of calls."""
        return float(self._tally(counter).calls)

    def time_sum(self, counter: Counter = Counter.TOTAL) -> float:
        """Return the wall clock time of all calls."""
        return float(self._tally(counter).wall)

    def time_mean(self, counter: Counter = Counter.TOTAL) -> float:
        """Return the mean wall clock time of a call, 0 without calls."""
        tally = self._tally(counter)
        return _mean(tally.wall, tally.calls)

    def time_stddev(self, counter: Counter = Counter.TOTAL) -> float:
        """Return the standard deviation of the wall clock time of a call."""
        tally = self._tally(counter)
        return _stddev(tally.wall, tally.wall2, tally.calls)

    def cpu_sum(self, counter: Counter = Counter.TOTAL) -> float:
        """Return the CPU time of all calls, of all threads of the process."""
        return float(self._tally(counter).cpu)

    def cpu_mean(self, counter: Counter = Counter.TOTAL) -> float:
        """Return the mean CPU time of a call, 0 without calls."""
        tally = self._tally(counter)
        return _mean(tally.cpu, tally.calls)

    def cpu_stddev(self, counter: Counter = Counter.TOTAL) -> float:
        """Return the standard deviation of the CPU time of a call."""
        tally = self._tally(counter)
        return _stddev(tally.cpu, tally.cpu2, tally.calls)

    def get_event_times(self) -> NDArray[np.int64]:
        """Return wall clock and CPU time of each call of event(), shape (calls, 2).

        Raises
        ------
        UsageError
            If they were not kept, see `ProcessStatistics.keep_times`.
        """
        times = self.tallies[Counter.EVENT].times
        if times is None:
            raise UsageError(
                "event times: expected statistics.keep_times = True before process()"
            )
        return np.array(times, dtype=np.int64).reshape(-1, 2)


class ProcessStatistics:
    """Statistics of the last processing; ``print(statistics)`` shows a table.

    Attributes
    ----------
    keep_times : bool
        Whether the next processing keeps the times of each event.
    """

    INIT = Counter.INIT
    BEGIN_RUN = Counter.BEGIN_RUN
    EVENT = Counter.EVENT
    END_RUN = Counter.END_RUN
    TERM = Counter.TERM
    TOTAL = Counter.TOTAL

    def __init__(self) -> None:
        self.keep_times = False
        self._modules: dict[int, tuple[Module, ModuleStatistics]] = {}
        self._global = ModuleStatistics("Total")

    def clear(self) -> None:
        """Forget everything but the settings."""
        self._modules.clear()
        self._global = ModuleStatistics("Total", keep_times=self.keep_times)

    def register(self, module: Module) -> ModuleStatistics:
        """Return the statistics of a module, new if it has none."""
        entry = self._modules.get(id(module))
        if entry is None:
            found = ModuleStatistics(module.name(), keep_times=self.keep_times)
            entry = self._modules[id(module)] = (module, found)
        return entry[1]

    def get(self, module: Module) -> ModuleStatistics:
        """Return the statistics of a module.

        Raises
        ------
        UsageError
            If it was not on the path.
        """
        if id(module) not in self._modules:
            raise UsageError(f"statistics: {module.name()} was not processed")
        return self._modules[id(module)][1]

    def get_global(self) -> ModuleStatistics:
        """Return the statistics of whole events, the framework's own work included."""
        return self._global

    @property
    def modules(self) -> list[ModuleStatistics]:
        """Statistics of all modules in the order of the path."""
        return [found for _, found in self._modules.values()]

    def __call__(
        self,
        modules: Sequence[Module] | Counter = Counter.EVENT,
        counter: Counter = Counter.EVENT,
    ) -> str:
        """Return a table of all modules, or of these, for one counter."""
        if isinstance(modules, Counter):
            return _make_table([*self.modules, self._global], modules)
        return _make_table([self.get(module) for module in modules], counter)

    def __str__(self) -> str:
        """Return a table of the calls of event()."""
        return self(Counter.EVENT)


def _make_table(rows: Sequence[ModuleStatistics], counter: Counter) -> str:
    width = max([len(row.name) for row in rows] + [len("Name")])
    head = (
        f"{'Name':<{width}} | {'Calls':>9} | {'Wall (s)':>10} | "
        f"{'Wall/call (ms)':>19} | {'CPU (s)':>10} | {'CPU/call (ms)':>13}"
    )
    line = "-" * len(head)
    body = [
        f"{row.name:<{width}} | {row.calls(counter):>9.0f} | "
        f"{row.time_sum(counter) / 1e9:>10.3f} | "
        f"{row.time_mean(counter) / 1e6:>8.3f} +-{row.time_stddev(counter) / 1e6:>8.3f}"
        f" | {row.cpu_sum(counter) / 1e9:>10.3f} | {row.cpu_mean(counter) / 1e6:>13.3f}"
        for row in rows
    ]
    return "\n".join([line, head, line, *body, line])
