"""smartfilter: skip hopeless Belle II Monte Carlo events before detector simulation."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smartfilter.events import Events
    from smartfilter.io import open_events
    from smartfilter.module import SmartFilter, add_smartfilter
    from smartfilter.scoring import Scorer

__all__ = [
    "Events",
    "Scorer",
    "SmartFilter",
    "__version__",
    "add_smartfilter",
    "open_events",
]

try:
    __version__ = version("smartfilter")
except PackageNotFoundError:  # a checkout on the path of a basf2 environment
    __version__ = "0+unknown"

_HOMES = {
    "Events": "smartfilter.events",
    "Scorer": "smartfilter.scoring",
    "SmartFilter": "smartfilter.module",
    "add_smartfilter": "smartfilter.module",
    "open_events": "smartfilter.io",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing the package is cheap."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'smartfilter' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
