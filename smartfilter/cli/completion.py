"""What the shell completes; it answers while somebody waits and loads little."""

from __future__ import annotations

import glob
import json
import zipfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from smartfilter.shipped import DEFAULT_MODEL, find_shipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import click

__all__ = [
    "complete_configs",
    "complete_devices",
    "complete_files",
    "complete_models",
    "complete_skim_codes",
    "complete_skims",
]

_DOCUMENT = "extra/smartfilter.json"
"""Record of a model file, see `smartfilter.model_file`, which loads torch."""


def complete_files(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Let the shell complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]


def complete_models(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Complete the names of the shipped models, and files."""
    return _complete_names_and_files(find_shipped(), incomplete)


def complete_configs(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Complete the names of the shipped training configurations, and files."""
    folder = Path(str(resources.files("smartfilter") / "training" / "configs"))
    names = sorted(
        file.relative_to(folder).with_suffix("").as_posix()
        for file in folder.rglob("*.yaml")
    )
    return _complete_names_and_files(names, incomplete)


def complete_skims(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Complete the skims of the model that the line names; by default the shipped one."""
    return _complete(_list_skims(ctx.params.get("model")), incomplete)


def complete_skim_codes(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Complete the skim of ``NAME=CODE``."""
    names = _list_skims(ctx.params.get("model"))
    return _complete([f"{name}=" for name in names], incomplete)


def complete_devices(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Complete the names of devices."""
    return _complete(("auto", "cpu", "cuda"), incomplete)


def _complete(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _complete_names_and_files(
    names: Iterable[str], incomplete: str
) -> list[CompletionItem]:
    """Return names and files; without a name the shell looks for files by itself.

    Shells take no files of their own beside the names that they are told.
    """
    found = _complete(names, incomplete)
    if not found:
        return [CompletionItem(incomplete, type="file")]
    return found + [
        CompletionItem(f"{path}/" if Path(path).is_dir() else path)
        for path in sorted(glob.glob(glob.escape(incomplete) + "*"))  # noqa: PTH207
    ]


def _list_skims(model: str | None) -> Sequence[str]:
    """Return the skims of a model file or a shipped model; none if it cannot be read."""
    name = model or DEFAULT_MODEL
    path = find_shipped().get(name, Path(name))
    try:
        with zipfile.ZipFile(path) as archive:
            (record,) = (n for n in archive.namelist() if n.endswith(_DOCUMENT))
            document = json.loads(archive.read(record))
        return [str(skim["name"]) for skim in document["skims"]]
    except Exception:  # noqa: BLE001, a damaged file: nothing to complete
        return []
