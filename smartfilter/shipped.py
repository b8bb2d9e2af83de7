"""The model files that come with the package; loads nothing else."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

__all__ = ["DEFAULT_MODEL", "find_shipped"]

DEFAULT_MODEL = "subtree"
"""The one that is taken where none is named."""


def find_shipped() -> dict[str, Path]:
    """Return the paths of the shipped models by name, in alphabetical order."""
    folder = Path(str(resources.files("smartfilter") / "data"))
    return {path.stem: path for path in sorted(folder.glob("*.pt"))}
