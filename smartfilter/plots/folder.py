"""A folder of numbers and figures that appear together, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from smartfilter.errors import UsageError
from smartfilter.io.output import OutputFile, dump_metadata
from smartfilter.plots.style import require_packages, use_style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from matplotlib.figure import Figure

__all__ = ["ReportFolder", "save_figure"]

_KINDS = ("png", "pdf")


class _DeferredFile(OutputFile):
    """A file that a function writes when it is complete.

    Parameters
    ----------
    path : Path
    force : bool
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        super().__init__(path, force=force)
        self.save: Callable[[Path], object] | None = None

    def _finish(self) -> None:
        if self.save is None:
            self._temporary.unlink(missing_ok=True)
            raise UsageError(f"output: expected content for '{self.path}', got none")
        self.save(self._temporary)

    def _abandon(self) -> None:
        """There is nothing open."""


class ReportFolder:
    """Context manager: ``<name>.json`` and a PNG and PDF per figure, or none of them.

    What can be wrong with the folder is found before the work starts.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    name : str
        Of the file with the numbers.
    figures : sequence of str
        Names of the figures.
    force : bool
        Whether existing files may be replaced.

    Raises
    ------
    UsageError
        If the folder cannot be made or a file exists and ``force`` is false.
    MissingPackageError
        If matplotlib or mplhep is not installed.
    """

    def __init__(
        self, folder: Path, name: str, figures: Sequence[str], *, force: bool = False
    ) -> None:
        require_packages()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"folder '{folder}': cannot be made ({error})") from error
        self.figures = tuple(figures)
        drawn = [folder / f"{f}.{kind}" for f in self.figures for kind in _KINDS]
        self.paths = (folder / f"{name}.json", *drawn)
        self._files = [_DeferredFile(path, force=force) for path in self.paths]

    def write(
        self,
        document: Mapping[str, Any],
        figures: Mapping[str, Figure],
        advance: Callable[[int], None] | None = None,
    ) -> None:
        """Write numbers and figures.

        Parameters
        ----------
        document : mapping
            JSON document.
        figures : mapping
            Name -> figure, one for each of ``self.figures``.
        advance : callable, optional
            Told the number of files, of ``self.paths``, since its last call.
        """
        numbers, *drawn = self._files
        text = dump_metadata(document)
        numbers.save = lambda path: path.write_text(text + "\n", encoding="utf-8")
        kinds = [(name, kind) for name in self.figures for kind in _KINDS]
        for file, (name, kind) in zip(drawn, kinds, strict=True):
            file.save = _saver(figures[name], kind)
        with use_style():
            for file in self._files:
                file.close()
                if advance is not None:
                    advance(1)

    def __enter__(self) -> Self:
        """Return the folder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what is not complete."""
        for file in self._files:
            file.discard()


def save_figure(figure: Figure, path: Path, *, force: bool = False) -> None:
    """Write a figure as the kind that its suffix names, complete or not at all.

    Raises
    ------
    UsageError
        If the file exists and ``force`` is false, or it cannot be written.
    """
    with use_style(), _DeferredFile(path, force=force) as file:
        file.save = _saver(figure, path.suffix.lower().removeprefix("."))


def _saver(figure: Figure, kind: str) -> Callable[[Path], object]:
    return lambda path: figure.savefig(path, dpi=150, format=kind)
