"""What a run can be repeated with: command line, versions, machine.

Documents that a command writes carry it, so that a number can be traced to the code and
the machine that made it. Neither user nor host names are recorded.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartfilter import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PACKAGES", "describe_machine", "describe_run", "list_versions"]

PACKAGES = (
    "torch",
    "onnxruntime",
    "numpy",
    "numba",
    "awkward",
    "uproot",
    "pyarrow",
    "pythia8mc",
    "geant4-pybind",
)
"""Packages that numbers and times depend on."""

_PROCESSORS = Path("/proc/cpuinfo")


def list_versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of those packages that are installed, by name."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def describe_machine() -> dict[str, Any]:
    """Return what times depend on.

    Returns
    -------
    dict
        ``cpu`` (name), ``cores`` (that this process may use), ``memory_gib``, ``load``
        (1, 5 and 15 minutes) and ``system``; None where the system does not tell.
    """
    return {
        "cpu": _read_cpu_name(),
        "cores": _count_cores(),
        "memory_gib": _read_memory(),
        "load": _read_load(),
        "system": platform.platform(),
    }


def describe_run(command_line: str) -> dict[str, Any]:
    """Return what a document says of the run that made it.

    Parameters
    ----------
    command_line : str
        As a shell would take it.

    Returns
    -------
    dict
        ``command_line``, ``versions`` of smartfilter, Python and `PACKAGES`, and
        ``machine``.
    """
    return {
        "command_line": command_line,
        "versions": {
            "smartfilter": __version__,
            "python": platform.python_version(),
            **list_versions(),
        },
        "machine": describe_machine(),
    }


def _read_cpu_name() -> str | None:
    """Return the name of the first core; of other systems the architecture."""
    try:
        lines = _PROCESSORS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine() or None


def _count_cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _read_memory() -> float | None:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return round(size / 2**30, 1)


def _read_load() -> list[float] | None:
    try:
        return [round(load, 2) for load in os.getloadavg()]
    except (AttributeError, OSError):
        return None
