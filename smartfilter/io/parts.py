"""Finished parts of an output, kept beside it until all are there.

A run that writes ``out.parquet`` keeps each finished part as an npz file in the hidden
folder ``.out.parquet.parts``; at the end they are joined and the folder is removed. A run
that is interrupted leaves it, and the same run with ``resume`` goes on from there. The
file ``run.json`` in it holds a fingerprint of what the parts follow from, so that parts of
different runs never mix.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import stat
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from smartfilter import __version__
from smartfilter.errors import InputError, UsageError
from smartfilter.events import ID_COLUMNS, Events
from smartfilter.io.formats import reading
from smartfilter.io.lock import OutputLock
from smartfilter.io.output import (
    check_output,
    dump_metadata,
    find_temporaries,
    name_temporary,
    translate_write_errors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["Part", "PartStore", "pack_events", "unpack_events"]

log = logging.getLogger(__name__)

_RUN = "run.json"
_DOCUMENT = "document"
_MAX_HEADER = 1_000_000
"""Bytes of a block's description; 51 skims take more than NumPy's 10,000."""

_PART = re.compile(r"[^.].*\.npz")
_GROUPS = ("particles", "labels", "variables")


@dataclass(frozen=True, eq=False)
class Part:
    """What was made of one chunk of the input.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        No Python objects.
    document : mapping
        JSON values.
    """

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)


class PartStore:
    """Context manager: the parts of one output, which no other run writes meanwhile.

    If the block fails, parts that are finished stay; else the folder is removed.

    Parameters
    ----------
    output : Path
        The output that they will be joined to.
    settings : mapping
        All that the parts follow from; JSON values.
    resume : bool
        Use the parts of an earlier run; else they are removed.
    force : bool
        Whether an existing output may be replaced.

    Raises
    ------
    UsageError
        If another run writes the output, it exists and ``force`` is false, it cannot be
        written, or the parts are of a run with other settings.
    """

    def __init__(
        self,
        output: Path,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        force: bool = False,
    ) -> None:
        self.output = output
        self.folder = output.with_name(f".{output.name}.parts")
        self._settings = dump_metadata({**settings, "version": __version__})
        self._resume, self._force = resume, force
        self._keys: set[str] = set()
        self._stack = ExitStack()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings."""
        return sha256(self._settings.encode()).hexdigest()

    @property
    def n_parts(self) -> int:
        """Number of finished parts."""
        return len(self._keys)

    def __enter__(self) -> Self:
        """Take the lock, and find the parts that are there."""
        check_output(self.output, force=self._force)
        with ExitStack() as stack:
            stack.enter_context(OutputLock(self.output))
            check_output(self.output, force=self._force)
            with translate_write_errors(self.output):
                name = re.escape(self.output.stem), self.output.suffix
                for path in find_temporaries(self.output.parent, *name):
                    path.unlink(missing_ok=True)
                self._find_parts()
            self._stack = stack.pop_all()
        return self

    def _find_parts(self) -> None:
        if not self._resume:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        found = self.folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise UsageError(
                f"output: expected '{self.folder}' to be a folder of this user, got "
                "another; remove it"
            )
        run = self.folder / _RUN
        if not run.exists():
            for path in self.folder.iterdir():
                path.unlink()
            self._write(run, dump_metadata({"fingerprint": self.fingerprint}).encode())
        with reading(run):
            fingerprint = json.loads(run.read_text(encoding="utf-8"))["fingerprint"]
        if fingerprint != self.fingerprint:
            raise UsageError(
                f"resume: expected the parts of a run with these inputs and options "
                f"beside '{self.output}', got those of another; without --resume they are "
                "removed and the run starts anew"
            )
        for path in self.folder.iterdir():
            if _PART.fullmatch(path.name) and zipfile.is_zipfile(path):
                self._keys.add(path.stem)
            elif path != run:
                path.unlink()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the parts, unless the run failed and there are some."""
        with self._stack:
            if kind is None or not self._keys:
                shutil.rmtree(self.folder, ignore_errors=True)
            else:
                log.warning(
                    "%d finished parts of %s are kept: the same command with --resume "
                    "continues",
                    len(self._keys),
                    self.output,
                )

    def __contains__(self, key: str) -> bool:
        """Whether a part is finished."""
        return key in self._keys

    def clear(self) -> None:
        """Forget all parts: they are removed at the end of the block."""
        self._keys.clear()

    def discard(self, key: str) -> None:
        """Remove a part, if it is there."""
        self._keys.discard(key)
        (self.folder / f"{key}.npz").unlink(missing_ok=True)

    def save(self, key: str, part: Part) -> None:
        """Keep a part; complete or not at all.

        Raises
        ------
        UsageError
            If it cannot be written.
        """
        path = self.folder / f"{key}.npz"
        document = np.frombuffer(dump_metadata(part.document).encode(), dtype=np.uint8)
        temporary = name_temporary(path)
        with translate_write_errors(path):
            with temporary.open("wb") as file:
                np.savez(file, **{**_stack(part.arrays), _DOCUMENT: document})
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        self._keys.add(key)

    def load(self, key: str) -> Part:
        """Return a part.

        Raises
        ------
        InputError
            If it is damaged.
        """
        with self._open(key) as file:
            blocks = {name: file[name] for name in file.files}
            document = json.loads(blocks.pop(_DOCUMENT).tobytes())
            return Part(_unstack(blocks), document)

    def load_document(self, key: str) -> dict[str, Any]:
        """Return the document of a part, without reading the rest.

        Raises
        ------
        InputError
            If it is damaged.
        """
        with self._open(key) as file:
            document: dict[str, Any] = json.loads(file[_DOCUMENT].tobytes())
        return document

    @contextmanager
    def _open(self, key: str) -> Iterator[Any]:
        path = self.folder / f"{key}.npz"
        with reading(path), np.load(path, max_header_size=_MAX_HEADER) as file:
            yield file

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        temporary = name_temporary(path)
        temporary.write_bytes(content)
        temporary.replace(path)


def _stack(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return the arrays as fields of one block per length: a file has some 50 of them."""
    names: dict[int, list[str]] = {}
    for name, array in arrays.items():
        names.setdefault(len(array), []).append(name)
    blocks = {}
    for length, fields in names.items():
        kinds = [(name, arrays[name].dtype, arrays[name].shape[1:]) for name in fields]
        block = np.empty(length, dtype=kinds)
        for name in fields:
            block[name] = arrays[name]
        blocks[f"rows_{length}"] = block
    return blocks


def _unstack(blocks: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays of `_stack`, each contiguous."""
    return {
        name: np.ascontiguousarray(block[name])
        for block in blocks.values()
        for name in block.dtype.names or ()
    }


def pack_events(events: Events) -> dict[str, NDArray[Any]]:
    """Return all columns of events by a name; ``file`` is not among them."""
    arrays: dict[str, NDArray[Any]] = {
        name: getattr(events, name)
        for name in (*ID_COLUMNS, "event_type", "entry", "offsets")
    }
    for group in _GROUPS:
        columns: Mapping[str, NDArray[Any]] = getattr(events, group)
        arrays |= {f"{group}.{name}": column for name, column in columns.items()}
    return arrays


def unpack_events(arrays: Mapping[str, NDArray[Any]], file: str) -> Events:
    """Return the events of `pack_events`.

    Raises
    ------
    InputError
        If a column is missing.
    """
    groups: dict[str, dict[str, NDArray[Any]]] = {group: {} for group in _GROUPS}
    per_event: dict[str, NDArray[Any]] = {}
    for name, column in arrays.items():
        group, _, column_name = name.partition(".")
        if group in groups:
            groups[group][column_name] = column
        elif name in (*ID_COLUMNS, "event_type", "entry", "offsets"):
            per_event[name] = column
    if "offsets" not in per_event:
        raise InputError(
            f"part: expected the column 'offsets', got {', '.join(arrays) or 'none'}"
        )
    return Events(**groups, **per_event, file=file)  # type: ignore[arg-type]
