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
        Most items that wait. One more is being made and one in use.

    Yields
    ------
    iterator
        The same items.
    """
    waiting: queue.Queue[Any] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(
        target=_fill, args=(items, waiting, stop), name="read_ahead", daemon=True
    )
    thread.start()
    try:
        yield _drain(waiting)
    finally:
        stop.set()
        thread.join()


def _fill(
    items: Iterable[Any], waiting: queue.Queue[Any], stop: threading.Event
) -> None:
    """Put all items and an `_End` into the queue, until told to stop."""
    error: BaseException | None = None
    iterator: Iterator[Any] = iter(())
    try:
        iterator = iter(items)
        for item in iterator:
            if not _put(item, waiting, stop):
                break
    except BaseException as caught:  # noqa: BLE001  raised again by the other thread
        error = caught
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
        _put(_End(error), waiting, stop)


def _put(item: Any, waiting: queue.Queue[Any], stop: threading.Event) -> bool:
    """Return whether there was room for the item before the stop."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=_PATIENCE)
        except queue.Full:
            continue
        return True
    return False


def _drain(waiting: queue.Queue[Any]) -> Iterator[Any]:
    while True:
        item = waiting.get()
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        yield item
