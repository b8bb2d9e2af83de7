"""Labelled files with new labels: the events stay as they are, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smartfilter.errors import InputError
from smartfilter.io.formats import ReadOptions
from smartfilter.io.labelled import (
    DICTIONARY_COLUMNS,
    PASSES,
    LabelledFile,
    describe_labelled,
    labelled_columns,
)
from smartfilter.io.locations import expand_paths
from smartfilter.io.parquet import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from smartfilter.events import Events

__all__ = ["LabelledRows", "RelabelledWriter"]

_BLOCK_EVENTS = 5_000


class LabelledRows:
    """Rows of one or more labelled files, as they are in the files.

    Parameters
    ----------
    paths : str, Path or sequence of them
        Paths or globs.

    Raises
    ------
    UsageError
        If no path is given.
    InputError
        If a path names no file, or one that cannot be read, is of another kind, lacks a
        column or has other event-level variables than the first.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path]) -> None:
        locations = expand_paths(paths)
        options = ReadOptions()
        self._files = [LabelledFile(location, options) for location in locations]
        self.files = tuple(str(location) for location in locations)
        self.variables = self._files[0].variables
        for name, file in zip(self.files, self._files, strict=True):
            if set(file.variables) != set(self.variables):
                raise InputError(
                    f"variables: expected {', '.join(self.variables) or 'none'} as in "
                    f"'{self.files[0]}', got {', '.join(file.variables) or 'none'} in "
                    f"'{name}'; label the files one by one"
                )

    @property
    def n_events(self) -> int:
        """Number of events in all files."""
        return sum(file.n_events for file in self._files)

    @property
    def n_generated(self) -> int | None:
        """Number of generated events that the files speak of, if all do."""
        found = [file.provenance.get("n_generated") for file in self._files]
        counts = [count for count in found if isinstance(count, int)]
        return sum(counts) if len(counts) == len(found) else None

    def iterate(self, chunk_size: int) -> Iterator[tuple[pa.RecordBatch, Events]]:
        """Yield consecutive rows, and the same as events.

        Raises
        ------
        InputError
            If a file is damaged or has missing values.
        """
        for file in self._files:
            yield from file.iterate_rows(chunk_size)


class RelabelledWriter(BatchWriter):
    """Writes a labelled file from rows of another and new labels.

    Parameters
    ----------
    path : str or Path
        Where the file will be; written to a temporary name and moved when complete.
    skims : sequence of str
        Names of the new labels, in place of all old ones.
    variables : sequence of str
        Names of the new variables, in place of the old ones of the same names.
    kept : sequence of str
        Further variables of the old rows.
    provenance : mapping
        What made the labels; JSON values.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    UsageError
        As `BatchWriter`.
    """

    def __init__(
        self,
        path: str | Path,
        skims: Sequence[str],
        variables: Sequence[str],
        *,
        kept: Sequence[str],
        provenance: Mapping[str, Any],
        force: bool = False,
    ) -> None:
        names = (*variables, *kept)
        self._replaced = {*variables, *(f"{PASSES}{skim}" for skim in skims)}
        super().__init__(
            path,
            labelled_columns(skims, names),
            describe_labelled(skims, names, provenance),
            block_rows=_BLOCK_EVENTS,
            force=force,
            use_dictionary=DICTIONARY_COLUMNS,
        )

    def write(self, rows: pa.RecordBatch, labels: pa.RecordBatch) -> None:
        """Append rows, with the columns in ``labels`` in place of their own."""
        self.write_columns(
            {
                name: (labels if name in self._replaced else rows).column(name)
                for name in self.columns
            }
        )
