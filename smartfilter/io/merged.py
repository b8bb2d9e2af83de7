"""Join score files of one campaign, and refuse what would count events twice."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError
from smartfilter.event_hash import GOLDEN, mix
from smartfilter.events import ID_COLUMNS
from smartfilter.io.output import refuse_inputs
from smartfilter.io.score_reader import ScoreFile, ScoreSums, verify_scores
from smartfilter.io.scores import ScoreWriter
from smartfilter.progress import begin_silently

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from smartfilter.progress import Begin

__all__ = ["merge_scores"]

_SAME = ("skims", "mode", "model_digest", "max_weight")
"""Entries of the metadata that all files have to share."""

_ROWS_PER_PASS = 1 << 23
"""Rows whose hashes are in memory at once, 9 bytes each and as much to sort them; the
columns are read again for every further so many rows."""


@dataclass(frozen=True)
class _Key:
    """Columns that tell events apart, and what to do where they do not."""

    name: str
    columns: tuple[str, ...]
    remedy: str


_KEYS = (
    _Key("file / entry", ("file", "entry"), "leave one of them out"),
    _Key(
        " / ".join(ID_COLUMNS),
        ID_COLUMNS,
        "leave one of them out or, if they are jobs that number different events alike, "
        "keep them apart: a second pass could not tell which decision is whose",
    ),
)


def merge_scores(
    paths: Sequence[str | Path],
    output: str | Path,
    *,
    force: bool = False,
    begin: Begin = begin_silently,
) -> dict[str, Any]:
    """Join score files in this order; memory does not grow with them.

    Parameters
    ----------
    paths : sequence of str or Path
        Written by ``smartfilter score``.
    output : str or Path
        ``.parquet`` or ``.root``.
    force : bool
        Whether an existing output may be replaced.
    begin : Begin
        Told of the steps: verification, comparison of the events, writing.

    Returns
    -------
    dict
        The metadata of the output: counts and sums are those of all files.

    Raises
    ------
    InputError
        If a file cannot be read or its sums are not those of its rows; skims, mode, model or
        thresholds differ; or two files have an event in common: the same entry of the
        same file, or the same experiment, run, production and event number.
    UsageError
        If the output cannot be written, or is one of the files.
    """
    files = [ScoreFile(path) for path in paths]
    if not files:
        raise InputError("score files: expected at least one to merge, got none")
    for file in files[1:]:
        _require_same(files[0], file)
    thresholds = _join_thresholds(files)
    refuse_inputs(Path(output), paths)
    with ScoreWriter(output, files[0].skims, force=force) as writer:
        n_rows = sum(file.n_rows for file in files)
        advance = begin("verify", n_rows, "rows")
        sums = [verify_scores(file.path, advance=advance) for file in files]
        advance = begin("compare", len(_KEYS) * _count_passes(files) * n_rows, "rows")
        for key in _KEYS:
            _refuse_overlap(files, key, advance)
        advance = begin("write", n_rows, "rows")
        for file in files:
            for block in file.iterate():
                writer.write(block)
                advance(len(block["entry"]))
        metadata = _join_metadata(files, sums, thresholds)
        writer.close(metadata)
    return metadata


def _require_same(first: ScoreFile, other: ScoreFile) -> None:
    for name in _SAME:
        expected, found = (file.metadata.get(name) for file in (first, other))
        if expected != found:
            raise InputError(
                f"{name}: expected {expected} as in '{first.path}', got {found} in "
                f"'{other.path}'; score both with the same model and settings"
            )


def _join_thresholds(files: Sequence[ScoreFile]) -> dict[str, dict[str, float]]:
    """Return the thresholds by skim and event type; a type has to have one only."""
    joined: dict[str, dict[str, float]] = {skim: {} for skim in files[0].skims}
    for file in files:
        for skim, values in file.metadata.get("thresholds", {}).items():
            for event_type, value in values.items():
                if joined[skim].setdefault(event_type, value) != value:
                    raise InputError(
                        f"threshold of {skim} for {event_type}: expected "
                        f"{joined[skim][event_type]} as in earlier files, got {value} in "
                        f"'{file.path}'; score all with the same settings"
                    )
    return joined


def _join_metadata(
    files: Sequence[ScoreFile],
    sums: Sequence[ScoreSums],
    thresholds: dict[str, dict[str, float]],
) -> dict[str, Any]:
    skims = files[0].skims
    types: dict[str, int] = {}
    for file in files:
        for name, n_events in file.metadata.get("event_types", {}).items():
            types[name] = types.get(name, 0) + n_events

    def add(name: str) -> int:
        return sum(int(file.metadata.get(name, 0)) for file in files)

    def collect(name: str) -> list[Any]:
        """Return the different values, in order; a merged file has several."""
        found = (file.metadata.get(name) for file in files)
        values = (v if isinstance(v, list) else [v] for v in found)
        return list(dict.fromkeys(chain.from_iterable(values)))

    seeds, versions = collect("seed"), collect("version")
    return {
        "n_generated": sum(part.n_generated for part in sums),
        "n_kept": sum(part.n_kept for part in sums),
        "n_unscorable": add("n_unscorable"),
        "event_types": types,
        "n_event_type_inferred": add("n_event_type_inferred"),
        "n_event_type_contradicted": add("n_event_type_contradicted"),
        "sum_weight": {s: sum(part.sum_weight[s] for part in sums) for s in skims},
        "sum_weight2": {s: sum(part.sum_weight2[s] for part in sums) for s in skims},
        **{name: files[0].metadata.get(name) for name in _SAME if name != "skims"},
        "thresholds": thresholds,
        "seed": seeds[0] if len(seeds) == 1 else seeds,
        "version": versions[0] if len(versions) == 1 else versions,
        "merged": [str(file.path) for file in files],
    }


def _hash_rows(
    block: Mapping[str, NDArray[Any]], names: dict[str, int]
) -> NDArray[np.uint64]:
    """Return a hash of each row; ``names`` remembers those of file names."""
    state = np.zeros(len(next(iter(block.values()))), dtype=np.uint64)
    for name, column in block.items():
        if name == "file":
            for text in set(column.tolist()) - set(names):
                digest = blake2b(text.encode(), digest_size=8).digest()
                names[text] = int.from_bytes(digest, "big")
            words = np.array([names[text] for text in column], dtype=np.uint64)
        else:
            words = column.view(np.uint64)
        state = mix((state ^ words) + GOLDEN)
    return state


def _count_passes(files: Sequence[ScoreFile]) -> int:
    return 1 + sum(file.n_rows for file in files) // _ROWS_PER_PASS


def _refuse_overlap(
    files: Sequence[ScoreFile], key: _Key, advance: Callable[[int], None]
) -> None:
    """Refuse an event that two files have.

    Hashes are compared a share at a time; rows of equal hashes are looked at themselves.
    """
    n_passes = _count_passes(files)
    names: dict[str, int] = {}
    for share in range(n_passes):
        hashes, owners = [], []
        for owner, file in enumerate(files):
            for block in file.iterate(key.columns):
                found = _hash_rows(block, names)
                found = found[found % np.uint64(n_passes) == share]
                hashes.append(found)
                owners.append(np.full(len(found), owner, dtype=np.int32))
                advance(len(next(iter(block.values()))))
        suspects = _find_shared(np.concatenate(hashes), np.concatenate(owners))
        if len(suspects):
            _compare_rows(files, key, suspects, names)


def _find_shared(
    hashes: NDArray[np.uint64], owners: NDArray[np.int32]
) -> NDArray[np.uint64]:
    """Return hashes that more than one file has."""
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    shared = (hashes[1:] == hashes[:-1]) & (owners[1:] != owners[:-1])
    return np.unique(hashes[1:][shared])


def _compare_rows(
    files: Sequence[ScoreFile],
    key: _Key,
    suspects: NDArray[np.uint64],
    names: dict[str, int],
) -> None:
    """Refuse equal rows among those whose hashes are equal."""
    seen: dict[tuple[Any, ...], tuple[int, str]] = {}
    for owner, file in enumerate(files):
        for block in file.iterate((*dict.fromkeys((*key.columns, "file", "entry")),)):
            columns = {name: block[name] for name in key.columns}
            for row in np.flatnonzero(np.isin(_hash_rows(columns, names), suspects)):
                value = tuple(column[row] for column in columns.values())
                place = f"entry {block['entry'][row]} of {block['file'][row]}"
                first, where = seen.setdefault(value, (owner, place))
                if first != owner:
                    shown = " / ".join(map(str, value))
                    raise InputError(
                        f"events: expected each in one file only, got {shown} "
                        f"({key.name}) in '{files[first].path}' ({where}) and in "
                        f"'{file.path}' ({place}); {key.remedy}"
                    )
