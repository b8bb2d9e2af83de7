"""Read ahead in a thread, so that reading and computing overlap."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["read_ahead"]

Item = TypeVar("Item")

_PATIENCE = 0.05
"""Seconds after which a waiting thread looks whether it is still wanted."""


class _End(NamedTuple):
    """What follows the last item: the error that ended the reading, if any."""

    error: BaseException | None


@contextmanager
def read_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Iterator[Item]]:
    """Take items in a thread of its own, before they are asked for.

    The order stays. An error of the iteration is raised where its item would have
    come. At the end of the ``with`` block, however it comes, the thread has ended and
    the iteration is closed.

    Parameters
    ----------
    items : iterable
        Iterated over in the thread; it gains where it waits or leaves Python's lock,
        as uproot does when it decompresses.
    depth : int
        Most items that wait or are being made; one more is in use. As each may be large,
        the next one is begun when the earlier one is taken.

    Yields
    ------
    iterator
        The same items.
    """
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    room, stop = threading.Semaphore(depth), threading.Event()
    thread = threading.Thread(
        target=_fill, args=(items, waiting, room, stop), name="read_ahead", daemon=True
    )
    thread.start()
    try:
        yield _drain(waiting, room)
    finally:
        stop.set()
        thread.join()


def _fill(
    items: Iterable[Any],
    waiting: queue.SimpleQueue[Any],
    room: threading.Semaphore,
    stop: threading.Event,
) -> None:
    """Put all items and an `_End` into the queue, until told to stop."""
    error: BaseException | None = None
    iterator: Iterator[Any] = iter(())
    try:
        iterator = iter(items)
        while _find_room(room, stop):
            waiting.put(next(iterator))
    except StopIteration:
        pass
    except BaseException as caught:  # noqa: BLE001  raised again by the other thread
        error = caught
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
        waiting.put(_End(error))


def _find_room(room: threading.Semaphore, stop: threading.Event) -> bool:
    """Return whether there was room for an item before the stop."""
    while not stop.is_set():
        if room.acquire(timeout=_PATIENCE):
            return True
    return False


def _drain(waiting: queue.SimpleQueue[Any], room: threading.Semaphore) -> Iterator[Any]:
    while True:
        item = waiting.get()
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        room.release()
        yield item
        del item
