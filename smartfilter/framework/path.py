"""Modules, their conditions, and the path they are on."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import TYPE_CHECKING, Any

from smartfilter.errors import UsageError
from smartfilter.framework.logs import B2FATAL, LogConfig, LogLevel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "AfterConditionPath",
    "Module",
    "ModuleCondition",
    "ModulePropFlags",
    "Path",
    "create_path",
]

_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_EXPRESSION = re.compile(r"(>=|<=|==|!=|=|>|<)([+-]?\d+)")


class AfterConditionPath(Enum):
    """What follows the path of a condition."""

    END = 0
    """The event is done."""
    CONTINUE = 1
    """Go on after the module with the condition."""


class ModulePropFlags(IntFlag):
    """Properties of a module (basf2 ``framework/core/Module.h``)."""

    INPUT = 1
    OUTPUT = 2
    PARALLELPROCESSINGCERTIFIED = 4
    HISTOGRAMMANAGER = 8
    INTERNALSERIALIZER = 16
    TERMINATEINALLPROCESSES = 32


@dataclass(frozen=True, eq=False)
class ModuleCondition:
    """A comparison with a module's return value, and the path to take if it holds."""

    operator: str
    value: int
    path: Path
    after: AfterConditionPath

    def evaluate(self, return_value: int) -> bool:
        """Return whether the comparison holds."""
        return _OPERATORS[self.operator](return_value, self.value)

    def get_operator(self) -> str:
        """Return the operator as text."""
        return self.operator

    def get_value(self) -> int:
        """Return the number that is compared with."""
        return self.value

    def get_path(self) -> Path:
        """Return the path to take."""
        return self.path

    def get_after_path(self) -> AfterConditionPath:
        """Return what follows the path."""
        return self.after


class Module:
    """A step of the processing; override the hooks, their results are ignored.

    `initialize` is called once in the order of the path, also on conditional paths;
    `beginRun` and `endRun` when experiment or run changes; `event` for each event that
    reaches the module; `terminate` once, in reverse order.
    """

    def __init__(self) -> None:
        self.log_config = LogConfig(type(self).__name__)
        self._type = "PyModule"
        self._flags = ModulePropFlags(0)
        self._return_value: int | None = None
        self._conditions: list[ModuleCondition] = []

    def initialize(self) -> None:
        """Prepare; the only place to register in the data store."""

    def beginRun(self) -> None:
        """Begin a run."""

    def event(self) -> None:
        """Process an event."""

    def endRun(self) -> None:
        """End a run."""

    def terminate(self) -> None:
        """Finish."""

    def name(self) -> str:
        """Return the name, by default that of the class."""
        return self.log_config.name

    def set_name(self, name: str) -> None:
        """Set the name."""
        self.log_config.name = name

    def type(self) -> str:
        """Return ``PyModule``."""
        return self._type

    def set_log_level(self, level: LogLevel) -> None:
        """Set the lowest level of this module's messages that is reported."""
        self.log_config.level = level

    def set_debug_level(self, level: int) -> None:
        """Set the highest level of this module's debug messages that is reported."""
        self.log_config.debug_level = level

    def set_abort_level(self, level: LogLevel) -> None:
        """Set the level of this module's messages that stops the processing."""
        self.log_config.abort_level = level

    def set_property_flags(self, flags: int) -> None:
        """Set the properties."""
        self._flags = ModulePropFlags(flags)

    def has_properties(self, flags: int) -> bool:
        """Return whether the module has all of these properties."""
        return self._flags & flags == flags

    def return_value(self, value: int) -> None:
        """Set the value for the conditions; it stays until it is set again.

        Raises
        ------
        UsageError
            If it is not an int; basf2 refuses NumPy's numbers, too.
        """
        if not isinstance(value, int):
            raise UsageError(
                f"return value of {self.name()}: expected an int, "
                f"got {type(value).__name__}; use int(...)"
            )
        self._return_value = int(value)

    def if_value(
        self,
        expression: str,
        condition_path: Path,
        after_condition_path: AfterConditionPath = AfterConditionPath.END,
    ) -> None:
        """Take a path if the return value compares so; the first that holds is taken.

        Parameters
        ----------
        expression : str
            One of ``> < >= <= = == !=`` and an integer.
        condition_path : Path
        after_condition_path : AfterConditionPath
            Whether the event is done after that path.

        Raises
        ------
        UsageError
            If it is no such expression.
        """
        match = _EXPRESSION.fullmatch(expression.replace(" ", ""))
        if match is None:
            raise UsageError(
                f"condition of {self.name()}: expected one of "
                f"{' '.join(_OPERATORS)} and an integer, got '{expression}'"
            )
        sign, value = match.groups()
        self._conditions.append(
            ModuleCondition(sign, int(value), condition_path, after_condition_path)
        )

    def if_false(
        self,
        condition_path: Path,
        after_condition_path: AfterConditionPath = AfterConditionPath.END,
    ) -> None:
        """Take a path if the return value is below 1."""
        self.if_value("<1", condition_path, after_condition_path)

    def if_true(
        self,
        condition_path: Path,
        after_condition_path: AfterConditionPath = AfterConditionPath.END,
    ) -> None:
        """Take a path if the return value is at least 1."""
        self.if_value(">=1", condition_path, after_condition_path)

    def has_condition(self) -> bool:
        """Return whether there is a condition."""
        return bool(self._conditions)

    def get_all_conditions(self) -> list[ModuleCondition]:
        """Return the conditions in the order in which they were added."""
        return list(self._conditions)

    def get_all_condition_paths(self) -> list[Path]:
        """Return the paths of the conditions."""
        return [condition.path for condition in self._conditions]

    def find_condition(self) -> ModuleCondition | None:
        """Return the first condition that holds, None if none does.

        Raises
        ------
        SmartFilterError
            If there are conditions and no return value was ever set.
        """
        value = self._return_value
        if value is None:
            if not self._conditions:
                return None
            B2FATAL(
                f"condition of {self.name()}: expected a return value, got none; "
                "call return_value(...) in event()"
            )
        for condition in self._conditions:
            if condition.evaluate(value):
                return condition
        return None


class Path:
    """An ordered list of modules and of further paths."""

    def __init__(self) -> None:
        self._elements: list[Module | Path] = []

    def add_module(
        self,
        module: Module | str,
        logLevel: LogLevel | None = None,
        debugLevel: int | None = None,
        **parameters: Any,
    ) -> Module:
        """Append a module and return it.

        Raises
        ------
        UsageError
            If it is a name, as there are no C++ modules here, or no module.
        """
        if not isinstance(module, Module):
            raise UsageError(
                f"path: expected an instance of smartfilter.framework.Module, got "
                f"{module!r}; C++ modules and those of basf2 need basf2's own path"
            )
        if parameters:
            raise UsageError(
                f"module {module.name()}: expected its settings in the constructor, "
                f"got parameters {', '.join(parameters)}"
            )
        if not hasattr(module, "log_config"):
            raise UsageError(
                f"module {type(module).__name__}: expected its constructor to call "
                "super().__init__()"
            )
        if logLevel is not None:
            module.set_log_level(logLevel)
        if debugLevel is not None:
            module.set_debug_level(debugLevel)
        self._elements.append(module)
        return module

    def add_path(self, path: Path) -> None:
        """Append all modules of another path, also those that it gets later.

        Raises
        ------
        UsageError
            If the path is, or holds, this one.
        """
        if path is self or self in path.iterate_paths():
            raise UsageError("path: expected another path to add, got itself")
        self._elements.append(path)

    def modules(self) -> list[Module]:
        """Return the modules in order, without those of conditional paths."""
        flat: list[Module] = []
        for element in self._elements:
            flat.extend([element] if isinstance(element, Module) else element.modules())
        return flat

    def iterate_paths(self) -> Iterator[Path]:
        """Yield the paths that were added, directly or not."""
        for element in self._elements:
            if isinstance(element, Path):
                yield element
                yield from element.iterate_paths()

    def list_all_modules(self) -> list[Module]:
        """Return every module once, those of a condition's path after its module."""
        found: dict[int, Module] = {}
        self._collect(found)
        return list(found.values())

    def _collect(self, found: dict[int, Module]) -> None:
        for module in self.modules():
            if id(module) not in found:
                found[id(module)] = module
                for path in module.get_all_condition_paths():
                    path._collect(found)

    def __contains__(self, module_type: str) -> bool:
        """Return whether a module has this type."""
        return any(module.type() == module_type for module in self.modules())

    def __repr__(self) -> str:
        """Return the names of the modules, as basf2 prints a path."""
        return f"[{' -> '.join(_describe(element) for element in self._elements)}]"


def _describe(element: Module | Path) -> str:
    if isinstance(element, Path):
        return repr(element)
    branches = "".join(
        f" ({c.operator}{c.value}: {c.path!r})" for c in element.get_all_conditions()
    )
    return element.name() + branches


def create_path() -> Path:
    """Return a new path."""
    return Path()
