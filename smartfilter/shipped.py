"""The model files that come with the package; loads nothing else."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

__all__ = ["DEFAULT_MODEL", "find_shipped", "name_model"]

DEFAULT_MODEL = "subtree"
"""The one that is taken where none is named."""


def find_shipped() -> dict[str, Path]:
    """Return the paths of the shipped models by name, in alphabetical order."""
    folder = Path(str(resources.files("smartfilter") / "data"))
    return {path.stem: path for path in sorted(folder.glob("*.pt"))}


def name_model(path: Path) -> str:
    """Return what results call a model file: a shipped one by its name alone.

    Where it is installed says nothing on another machine.
    """
    return path.name if path in find_shipped().values() else str(path)
