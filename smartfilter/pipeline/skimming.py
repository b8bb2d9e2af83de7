"""Skims again: from stored tracks and clusters to labels, without a simulation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from smartfilter.errors import InputError, UsageError
from smartfilter.io.labelled import PASSES
from smartfilter.io.output import refuse_inputs
from smartfilter.io.parquet import BatchWriter
from smartfilter.io.relabelled import LabelledRows, RelabelledWriter
from smartfilter.pipeline.object_file import IDENTITY_COLUMNS, hash_content
from smartfilter.pipeline.simulation import (
    SKIM_NAMES,
    VARIABLE_NAMES,
    label_objects,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from smartfilter.pipeline.object_file import ObjectBlock, ObjectSource

__all__ = ["KIND", "skim_files"]

KIND = "labels"
"""Kind of a file of labels without events."""

SCHEMA_VERSION = 1
_BLOCK_EVENTS = 2_000
_ROWS_PER_GROUP = 100_000
_PASSES = tuple(f"{PASSES}{name}" for name in SKIM_NAMES)
_LABEL_COLUMNS: Mapping[str, pa.DataType] = {
    **IDENTITY_COLUMNS,
    **dict.fromkeys(_PASSES, pa.bool_()),
    **dict.fromkeys(VARIABLE_NAMES, pa.float32()),
}


def skim_files(
    source: ObjectSource,
    output: Path | None = None,
    *,
    events: LabelledRows | None = None,
    workers: int = 1,
    provenance: Mapping[str, Any] | None = None,
    force: bool = False,
    advance: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Reconstruct stored objects and apply all skims, in bounded memory.

    Parameters
    ----------
    source : ObjectSource
        Tracks and clusters.
    output : Path, optional
        A Parquet file. Without ``events``, one row per event: `IDENTITY_COLUMNS`,
        ``passes_<skim>`` (bool), event-level quantities (float32); a JSON document of
        kind ``labels`` in its metadata. With ``events``, a labelled file.
    events : LabelledRows, optional
        Labelled files of the same events in the same order. Their labels, and
        quantities of the same names, are replaced in ``output``.
    workers : int
        Threads.
    provenance : mapping, optional
        Kept in the output, beside the files and what they say of themselves.
    force : bool
        Whether an existing file may be replaced.
    advance : callable, optional
        Told the number of events done since its last call.

    Returns
    -------
    dict of str to int
        Passing events per skim.

    Raises
    ------
    UsageError
        If there are events and no output, no worker, or the output is an input or cannot
        be written.
    InputError
        If a file is damaged, an object cannot be reconstructed or events and objects
        do not belong together.
    """
    if workers < 1:
        raise UsageError(f"workers: expected at least 1, got {workers}")
    if events is not None:
        if output is None:
            raise UsageError("output: expected a file for the new labels, got none")
        _check_sizes(source, events)
    refuse_inputs(output, (*source.files, *(events.files if events else ())))
    document = {
        **(provenance or {}),
        "objects": list(source.files),
        "simulation": source.provenances,
    }
    passing = dict.fromkeys(SKIM_NAMES, 0)
    with ExitStack() as stack:
        write = _open_output(stack, output, events, document, force)
        batches = _label_blocks(source.iterate(_BLOCK_EVENTS), workers)
        for rows, labels in _join(events, batches, source):
            write(rows, labels)
            for name, column in zip(SKIM_NAMES, _PASSES, strict=True):
                passing[name] += labels.column(column).true_count
            if advance is not None:
                advance(len(labels))
    return passing


def _check_sizes(source: ObjectSource, events: LabelledRows) -> None:
    if events.n_events != source.n_events:
        raise InputError(
            f"events: expected the {source.n_events} events of "
            f"{', '.join(source.files)}, got {events.n_events} in "
            f"{', '.join(events.files)}; name the files that were written together, in "
            f"the same order"
        )


def _open_output(
    stack: ExitStack,
    output: Path | None,
    events: LabelledRows | None,
    provenance: dict[str, Any],
    force: bool,
) -> Callable[[pa.RecordBatch | None, pa.RecordBatch], None]:
    """Return what writes rows of labels; it does nothing without an output."""
    if output is None:
        return lambda _rows, _labels: None
    if events is not None:
        provenance = {**provenance, "events": list(events.files)}
        if events.n_generated is not None:
            provenance["n_generated"] = events.n_generated
        relabelled = stack.enter_context(
            RelabelledWriter(
                output,
                SKIM_NAMES,
                VARIABLE_NAMES,
                kept=[v for v in events.variables if v not in VARIABLE_NAMES],
                provenance=provenance,
                force=force,
            )
        )
        return relabelled.write
    writer = stack.enter_context(
        BatchWriter(
            output,
            _LABEL_COLUMNS,
            {
                "kind": KIND,
                "schema_version": SCHEMA_VERSION,
                "skims": SKIM_NAMES,
                "variables": VARIABLE_NAMES,
                "provenance": provenance,
            },
            block_rows=_ROWS_PER_GROUP,
            force=force,
        )
    )

    def write(_: pa.RecordBatch | None, labels: pa.RecordBatch) -> None:
        writer.write_columns({name: labels.column(name) for name in _LABEL_COLUMNS})

    return write


def _label_blocks(
    blocks: Iterator[ObjectBlock], workers: int
) -> Iterator[pa.RecordBatch]:
    """Yield identity and labels of blocks, ``workers`` blocks side by side."""
    with ThreadPoolExecutor(workers) as pool:
        while group := list(islice(blocks, workers)):
            yield from pool.map(_label_block, group)


def _label_block(block: ObjectBlock) -> pa.RecordBatch:
    try:
        labels, variables = label_objects(block.detected)
    except InputError as error:
        last = block.start + len(block) - 1
        raise InputError(
            f"{error} (rows {block.start} to {last} of '{block.file}')"
        ) from error
    batch = block.identity
    return pa.RecordBatch.from_arrays(
        [
            *batch.columns,
            *(pa.array(values) for values in labels.values()),
            *(pa.array(values) for values in variables.values()),
        ],
        [*batch.schema.names, *(f"{PASSES}{name}" for name in labels), *variables],
    )


def _join(
    events: LabelledRows | None,
    batches: Iterator[pa.RecordBatch],
    source: ObjectSource,
) -> Iterator[tuple[pa.RecordBatch | None, pa.RecordBatch]]:
    """Yield rows of events, if there are any, with the labels of the same events."""
    if events is None:
        for batch in batches:
            yield None, batch
        return
    start = 0
    for rows, labels in _align(_hash_rows(events), batches):
        _check_same(rows, labels, start, events, source)
        yield rows, labels
        start += len(rows)


def _hash_rows(events: LabelledRows) -> Iterator[pa.RecordBatch]:
    """Yield rows with one more column, ``content``."""
    for rows, chunk in events.iterate(_BLOCK_EVENTS):
        yield pa.RecordBatch.from_arrays(
            [*rows.columns, pa.array(hash_content(chunk))],
            [*rows.schema.names, "content"],
        )


def _align(
    left: Iterator[pa.RecordBatch], right: Iterator[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Yield the rows of two streams of equal length in pairs of equal length."""
    a, b = next(left, None), next(right, None)
    while a is not None and b is not None:
        n = min(len(a), len(b))
        yield a.slice(0, n), b.slice(0, n)
        a = a.slice(n) if n < len(a) else next(left, None)
        b = b.slice(n) if n < len(b) else next(right, None)


def _check_same(
    rows: pa.RecordBatch,
    labels: pa.RecordBatch,
    start: int,
    events: LabelledRows,
    source: ObjectSource,
) -> None:
    """Refuse rows that are not about the same events."""
    pairs = [
        (rows.column(name).to_numpy(), labels.column(name).to_numpy())
        for name in ("content", "entry")
    ]
    bad = np.flatnonzero(np.any([a != b for a, b in pairs], axis=0))
    if len(bad):
        found, expected = (_name_event(t, int(bad[0])) for t in (rows, labels))
        raise InputError(
            f"events: expected in row {start + bad[0]} the particles of {expected} as in "
            f"{', '.join(source.files)}, got those of {found} in "
            f"{', '.join(events.files)}; name the files that were written together, in "
            f"the same order"
        )


def _name_event(table: pa.RecordBatch, row: int) -> str:
    names = ("experiment", "run", "event", "entry", "content")
    values = [table.column(name)[row].as_py() for name in names]
    return "experiment {}, run {}, event {}, entry {} (hash {:016x})".format(*values)
