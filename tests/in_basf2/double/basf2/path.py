"""Modules, conditions and paths (contract, section 3.1 and 3.2)."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Any, ClassVar

from basf2.logs import Fatal, LogLevel

_OPERATORS = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}


class AfterConditionPath(Enum):
    END = 0
    CONTINUE = 1


class ModulePropFlags(IntFlag):
    INPUT = 1
    OUTPUT = 2
    PARALLELPROCESSINGCERTIFIED = 4
    HISTOGRAMMANAGER = 8
    INTERNALSERIALIZER = 16
    TERMINATEINALLPROCESSES = 32


@dataclass
class Condition:
    sign: str
    value: int
    path: Path
    after: AfterConditionPath

    def get_operator(self) -> str:
        return self.sign

    def get_value(self) -> int:
        return self.value

    def get_path(self) -> Path:
        return self.path

    def get_after_path(self) -> AfterConditionPath:
        return self.after


class Module:
    """Base class of Python modules; ``log_level`` and the like are kept, not used."""

    def __init__(self) -> None:
        self._name = type(self).__name__
        self._flags = 0
        self._value: int | None = None
        self._conditions: list[Condition] = []
        self._log: dict[str, int] = {}

    def initialize(self) -> None: ...

    def beginRun(self) -> None: ...

    def event(self) -> None: ...

    def endRun(self) -> None: ...

    def terminate(self) -> None: ...

    def name(self) -> str:
        return self._name

    def set_name(self, name: str) -> None:
        if type(name) is not str:
            raise TypeError(f"set_name(str), got {type(name).__name__}")
        self._name = name

    def type(self) -> str:
        return "PyModule"

    def set_log_level(self, level: LogLevel) -> None:
        self._log["level"] = level

    def set_debug_level(self, level: int) -> None:
        self._log["debug"] = level

    def set_abort_level(self, level: LogLevel) -> None:
        self._log["abort"] = level

    def set_property_flags(self, flags: int) -> None:
        self._flags = int(flags)

    def has_properties(self, flags: int) -> bool:
        return (self._flags & flags) == flags

    def return_value(self, value: int) -> None:
        if not isinstance(value, int):  # bool is an int, NumPy's numbers are not
            raise TypeError(f"return_value(int), got {type(value).__name__}")
        self._value = int(value)

    def if_value(
        self,
        expression: str,
        condition_path: Path,
        after_condition_path: AfterConditionPath = AfterConditionPath.END,
    ) -> None:
        match = re.fullmatch(r"(<=|>=|==|!=|<|>|=)(-?\d+)", expression.replace(" ", ""))
        if match is None:
            raise RuntimeError(f"condition: cannot parse '{expression}'")
        if not isinstance(condition_path, Path):
            raise TypeError(f"if_value(str, Path), got {type(condition_path).__name__}")
        self._conditions.append(
            Condition(match[1], int(match[2]), condition_path, after_condition_path)
        )

    def if_false(
        self,
        condition_path: Path,
        after_condition_path: AfterConditionPath = AfterConditionPath.END,
    ) -> None:
        self.if_value("<1", condition_path, after_condition_path)

    def if_true(
        self,
        condition_path: Path,
        after_condition_path: AfterConditionPath = AfterConditionPath.END,
    ) -> None:
        self.if_value(">=1", condition_path, after_condition_path)

    def has_condition(self) -> bool:
        return bool(self._conditions)

    def get_all_conditions(self) -> list[Condition]:
        return list(self._conditions)

    def get_all_condition_paths(self) -> list[Path]:
        return [condition.path for condition in self._conditions]

    def evaluate(self) -> Condition | None:
        """Return the first condition that holds; a value must have been set once."""
        if not self._conditions:
            return None
        value = self._value
        if value is None:
            raise Fatal(f"{self._name}: condition set, but no return value")
        for condition in self._conditions:
            if _OPERATORS[condition.sign](value, condition.value):
                return condition
        return None


class CppModule(Module):
    """A module of the library: its parameters are declared, others are refused."""

    parameters: ClassVar[dict[str, Any]] = {}
    type_name: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__()
        self._name = self.type_name
        self.values = dict(self.parameters)

    def type(self) -> str:
        return self.type_name

    def param(self, name: str | dict[str, Any], value: Any = None) -> None:
        for key, entry in (name if isinstance(name, dict) else {name: value}).items():
            if key not in self.parameters:
                raise RuntimeError(f"{self.type_name}: no parameter '{key}'")
            self.values[key] = entry

    def available_params(self) -> list[str]:
        return list(self.parameters)


LIBRARY: dict[str, type[CppModule]] = {}
"""C++ modules by their type name; `basf2.library` fills it."""


def register_module(
    name_or_module: str | Module,
    shared_lib_path: str | None = None,
    logLevel: LogLevel | None = None,
    debugLevel: int | None = None,
    **kwargs: Any,
) -> Module:
    if isinstance(name_or_module, Module):
        module = name_or_module
        if not hasattr(module, "_conditions"):
            raise RuntimeError(
                f"{type(module).__name__}: super().__init__() not called"
            )
        if kwargs:
            raise RuntimeError(f"{module.name()}: a Python module has no parameters")
    elif name_or_module in LIBRARY:
        cpp = LIBRARY[name_or_module]()
        cpp.param(kwargs)
        module = cpp
    else:
        raise RuntimeError(f"no module of the name '{name_or_module}'")
    if logLevel is not None:
        module.set_log_level(logLevel)
    if debugLevel is not None:
        module.set_debug_level(debugLevel)
    return module


class Path:
    def __init__(self) -> None:
        self._elements: list[Module | Path] = []

    def add_module(
        self,
        module: str | Module,
        logLevel: LogLevel | None = None,
        debugLevel: int | None = None,
        **kwargs: Any,
    ) -> Module:
        new = register_module(
            module, logLevel=logLevel, debugLevel=debugLevel, **kwargs
        )
        self._elements.append(new)
        return new

    def add_path(self, path: Path) -> None:
        self._elements.append(path)

    def modules(self) -> list[Module]:
        found: list[Module] = []
        for element in self._elements:
            found += element.modules() if isinstance(element, Path) else [element]
        return found

    def __contains__(self, type_name: str) -> bool:
        return any(module.type() == type_name for module in self.modules())

    def __str__(self) -> str:
        return "[" + " -> ".join(module.name() for module in self.modules()) + "]"


def create_path() -> Path:
    return Path()


def collect(path: Path) -> list[Module]:
    """Return all modules once, those of conditional paths after the module."""
    found: list[Module] = []
    for module in path.modules():
        if module not in found:
            found.append(module)
        for branch in module.get_all_condition_paths():
            found += [other for other in collect(branch) if other not in found]
    return found
