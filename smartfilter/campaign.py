"""Work on the chunks of a run: in order, on any workers, with what is done kept.

``score``, ``generate`` and ``simulate`` run here. Each chunk gives a part; parts are kept
beside the output as they are finished, and joined when all are there.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from smartfilter.distributed import Staged
from smartfilter.errors import InputError
from smartfilter.heap import release_memory
from smartfilter.io.output import dump_metadata
from smartfilter.io.parts import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from smartfilter.distributed import Workers
    from smartfilter.events import Events
    from smartfilter.io.chunks import Chunk
    from smartfilter.io.parts import PartStore

__all__ = [
    "Campaign",
    "Finished",
    "OnEvents",
    "Piece",
    "run_pieces",
    "stop_on_sigterm",
]

log = logging.getLogger(__name__)

_UNREADABLE = "unreadable"


class Piece(Protocol):
    """A piece of work."""

    @property
    def key(self) -> str:
        """Tells pieces apart; the same in every run."""

    @property
    def file(self) -> str:
        """The file that it is of; empty if of none."""

    @property
    def n_events(self) -> int:
        """Number of its events."""


@dataclass(frozen=True)
class OnEvents(Staged["Chunk", "Events | InputError", Part]):
    """Reads a chunk and hands its events on; runs on a worker.

    The part of a chunk that cannot be read says why.

    Parameters
    ----------
    work : callable
        What to do with the events.
    """

    work: Callable[[Events], Part]

    def read(self, chunk: Chunk) -> Events | InputError:
        """Return the events, or why they cannot be read."""
        try:
            return chunk.read()
        except InputError as error:
            return error

    def process(self, ready: Events | InputError) -> Part:
        """Return the part."""
        if isinstance(ready, InputError):
            return Part({}, {_UNREADABLE: str(ready)})
        return self.work(ready)


class Finished(NamedTuple):
    """A piece that is done."""

    key: str
    file: str
    document: str
    """JSON, a third of its size as Python objects."""


@dataclass
class Campaign:
    """What became of the pieces.

    Parameters
    ----------
    store : PartStore, optional
        Where the parts are; without, only their documents are known.
    skipped : dict of str to str
        Files that cannot be read, and why; none of their events count.
    n_resumed : int
        Events whose parts an earlier run had finished.
    finished : list of Finished
        In order; those of skipped files among them.
    """

    store: PartStore | None
    skipped: dict[str, str] = field(default_factory=dict)
    n_resumed: int = 0
    finished: list[Finished] = field(default_factory=list)

    def discard(self, file: str) -> None:
        """Remove the parts of a file: of a bad one no run can use any."""
        for piece in self.finished:
            if piece.file == file and self.store is not None:
                self.store.discard(piece.key)

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the documents of the parts, in order."""
        for piece in self.finished:
            if piece.file not in self.skipped:
                yield json.loads(piece.document)

    def parts(self) -> Iterator[Part]:
        """Yield the parts that are kept, in order.

        Raises
        ------
        InputError
            If one is damaged.
        """
        if self.store is None:
            return
        for piece in self.finished:
            if piece.file not in self.skipped:
                yield self.store.load(piece.key)


def run_pieces(
    pieces: Iterable[Piece],
    function: Callable[[Any], Part],
    *,
    workers: Workers,
    store: PartStore | None = None,
    skip_bad_files: bool = False,
    advance: Callable[[int], None] | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Campaign:
    """Work on pieces and keep their parts.

    Parameters
    ----------
    pieces : iterable of Piece
    function : callable
        A piece in, its part out; can be pickled.
    workers : Workers
    store : PartStore, optional
        Pieces that it has are not worked on again.
    skip_bad_files : bool
        Go on if a file cannot be read: none of its events are in the result.
    advance : callable, optional
        Told the number of events done since its last call.
    report : callable, optional
        Receives the document of each new part, in order.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    campaign = Campaign(store)
    tell = advance or (lambda _: None)

    def list_missing() -> Iterator[Piece]:
        for piece in pieces:
            if store is None or piece.key not in store:
                yield piece
                continue
            document = dump_metadata(store.load_document(piece.key))
            campaign.finished.append(Finished(piece.key, piece.file, document))
            campaign.n_resumed += piece.n_events
            tell(piece.n_events)

    with closing(workers.map(function, list_missing())) as results:
        for piece, part in results:
            if piece.file in campaign.skipped:
                continue
            if _UNREADABLE in part.document:
                if not skip_bad_files:
                    campaign.discard(piece.file)
                    raise InputError(part.document[_UNREADABLE])
                campaign.skipped[piece.file] = part.document[_UNREADABLE]
                continue
            if store is not None:
                store.save(piece.key, part)
            document = dict(part.document)
            if report is not None:
                report(document)
            done = Finished(piece.key, piece.file, dump_metadata(document))
            campaign.finished.append(done)
            tell(piece.n_events)
    campaign.finished.sort(key=lambda piece: piece.key)
    release_memory()  # 40 MB before the parts are joined
    return campaign


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Treat SIGTERM, with which batch systems end jobs, as an interrupt (Ctrl-C)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
