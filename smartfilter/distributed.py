"""Work on many items, here or on Dask workers: results in order, few of them at once.

Everything is the same however many workers there are: the items, what is computed for
each, and the order of the results. A worker that is lost loses time only, as the scheduler
gives its items to others.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from smartfilter.cluster import (
    LOST_WORKERS,
    START_SECONDS,
    WHY_NO_WORKERS,
    connect,
    import_dask,
)
from smartfilter.errors import (
    DeviceError,
    SmartFilterError,
    UsageError,
)
from smartfilter.heap import keep_memory
from smartfilter.prefetch import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
    from concurrent.futures import Future

__all__ = ["DaskWorkers", "Staged", "Workers", "open_workers", "remember"]

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Result = TypeVar("Result")

ITEMS_PER_WORKER = 2
"""Items that a worker holds: one in work and one that waits, so that it is never idle.
Results whose turn has not come are held as well, so that this bounds memory."""

_LOOK_SECONDS = 5.0
"""After this wait for a result it is seen whether there are workers."""


_REMEMBERED = threading.local()
_SHARED: dict[str, tuple[Hashable, Any]] = {}
_SHARING = threading.Lock()


def remember(
    name: str, key: Hashable, make: Callable[[], Result], *, shared: bool = False
) -> Result:
    """Return what ``make`` makes, made once per thread as long as the key is the same.

    For what is costly to make. The latest thing of each name is kept.

    Parameters
    ----------
    name : str
    key : hashable
        What the thing depends on.
    make : callable
    shared : bool
        Made once for all threads, which may use it at the same time, as a model.
    """
    if not shared:
        return _recall(_REMEMBERED.__dict__, name, key, make)
    with _SHARING:
        return _recall(_SHARED, name, key, make)


def _recall(
    kept: dict[str, tuple[Hashable, Any]],
    name: str,
    key: Hashable,
    make: Callable[[], Result],
) -> Result:
    if name not in kept or kept[name][0] != key:
        kept[name] = key, make()
    thing: Result = kept[name][1]
    return thing


class Staged(ABC, Generic[Item, Ready, Result]):
    """A function of two stages; the first one may run ahead, in another thread."""

    @abstractmethod
    def read(self, item: Item) -> Ready:
        """Return what the second stage needs."""

    @abstractmethod
    def process(self, ready: Ready) -> Result:
        """Return the result."""

    def __call__(self, item: Item) -> Result:
        """Return the result of both."""
        return self.process(self.read(item))


class Workers(ABC):
    """What works on items; made by `open_workers`."""

    @abstractmethod
    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result]]:
        """Yield each item with its result, in order.

        Items are taken as they are needed, or a few ahead, so that they may be many and
        large; not necessarily in this thread. Close it if not all results are taken: it
        forgets the rest.

        Parameters
        ----------
        function : callable
            Can be pickled; depends on nothing but the item. Of one that is `Staged`
            the first stage overlaps with the second one of earlier items.
        items : iterable

        Raises
        ------
        SmartFilterError
            That of the function, for the first item that fails.
        DeviceError
            If the workers are lost.
        """


class _Here(Workers):
    """Works in this process; a thread reads ahead of those that process.

    Parameters
    ----------
    threads : int
        Items in the second stage at the same time.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result]]:
        if not isinstance(function, Staged):
            for item in items:
                yield item, function(item)
            return
        ahead = ((item, function.read(item)) for item in items)
        with read_ahead(ahead) as pairs:
            if self._threads == 1:
                yield from ((item, function.process(ready)) for item, ready in pairs)
            else:
                yield from self._process(function, pairs)

    def _process(
        self,
        function: Staged[Item, Ready, Result],
        pairs: Iterator[tuple[Item, Ready]],
    ) -> Generator[tuple[Item, Result]]:
        """Yield each item with its result; an error of reading follows earlier results."""
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        failed: Exception | None = None
        pool = ThreadPoolExecutor(self._threads, "process")
        try:
            while True:
                try:
                    item, ready = next(pairs)
                except StopIteration:
                    break
                except Exception as error:  # noqa: BLE001  raised when it is its turn
                    failed = error
                    break
                waiting.append((item, pool.submit(function.process, ready)))
                if len(waiting) > self._threads:  # one waits, so that none is idle
                    item, future = waiting.popleft()
                    yield item, future.result()
            for item, future in waiting:
                yield item, future.result()
            if failed is not None:
                raise failed
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Outcome(Generic[Result]):
    """A result, or the class and message of an error: exceptions may not unpickle."""

    result: Result | None
    kind: type[SmartFilterError] | None = None
    message: str = ""

    def get(self) -> Result:
        if self.kind is not None:
            error = self.kind.__new__(self.kind)
            error.args = (self.message,)
            raise error
        result: Result = self.result  # type: ignore[assignment]
        return result


def _call(function: Callable[[Item], Result], item: Item) -> _Outcome[Result]:
    """Work on one item, on a worker."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    keep_memory()
    try:
        return _Outcome(function(item))
    except SmartFilterError as error:
        return _Outcome(None, type(error), str(error))


def _make_opener() -> Callable[[bytes], Any]:
    """Return a function that unpacks a call and makes it.

    It is pickled by value and imports nothing of ours before it runs. Dask unpickles calls
    in the thread that talks to the scheduler: a module that is absent there would end the
    worker without a word, and one that is slow to import would keep it from answering.
    """

    def call_packed(packed: bytes) -> Any:
        import pickle

        call, function, item = pickle.loads(packed)
        return call(function, item)

    return call_packed


class DaskWorkers(Workers):
    """Works on the workers of a Dask client.

    Parameters
    ----------
    client : distributed.Client
    patience : float, optional
        Seconds without any worker after which the work is given up; by default it waits,
        as batch systems may start workers hours later.
    """

    def __init__(self, client: Any, patience: float | None = None) -> None:
        self._client = client
        self._patience = patience

    def _limit(self) -> int:
        """Return how many items may be under way; workers come and go."""
        threads: dict[str, int] = self._client.nthreads()
        return ITEMS_PER_WORKER * max(1, sum(threads.values()))

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result]]:
        """Yield each item with its result; see `Workers`."""
        waiting: deque[tuple[Item, Any]] = deque()
        cloudpickle, call_packed = import_module("cloudpickle"), _make_opener()
        with _translating(self._client):
            try:
                for item in items:
                    # A new key each time: nothing is taken from an earlier run.
                    packed = cloudpickle.dumps((_call, function, item))
                    future = self._client.submit(call_packed, packed, pure=False)
                    waiting.append((item, future))
                    if len(waiting) >= self._limit():
                        yield self._next(waiting)
                while waiting:
                    yield self._next(waiting)
            finally:
                self._client.cancel([future for _, future in waiting])

    def _next(self, waiting: deque[tuple[Item, Any]]) -> tuple[Item, Any]:
        item, future = waiting[0]
        outcome = self._wait(future)
        waiting.popleft()
        return item, outcome.get()

    def _wait(self, future: Any) -> Any:
        """Return the result of a future, as long as there may be one."""
        if self._patience is None:
            return future.result()
        last_seen = time.monotonic()
        while True:
            try:
                return future.result(timeout=_LOOK_SECONDS)
            except TimeoutError:
                if future.done():  # meanwhile, or the work itself timed out
                    return future.result()
            if self._client.nthreads():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > self._patience:
                raise DeviceError(
                    "workers: expected those that died to be started again, got none "
                    f"for {self._patience:g} s; {WHY_NO_WORKERS}"
                )


@contextmanager
def _translating(client: Any) -> Iterator[None]:
    """Say in our words that workers or scheduler are lost."""
    _, distributed = import_dask()
    try:
        yield
    except distributed.KilledWorker as error:
        raise DeviceError(
            f"workers: expected them to survive, but {LOST_WORKERS + 1} of them died "
            f"with the same work ({error.task}); do they have enough memory?"
        ) from error
    except ModuleNotFoundError as error:
        raise DeviceError(
            f"workers: expected the packages of this process, got none called "
            f"'{error.name}'; start them in the same environment"
        ) from error
    except (CancelledError, distributed.client.FutureCancelledError, OSError) as error:
        if client.status == "running" and isinstance(error, OSError):
            raise
        raise DeviceError(
            f"scheduler: lost the connection ({type(error).__name__}); is it still "
            "running? --resume continues"
        ) from error


@contextmanager
def open_workers(
    n_workers: int = 1, address: str | None = None, *, threads: int = 1
) -> Iterator[Workers]:
    """Provide workers: this process, a local Dask cluster or those of a scheduler.

    Parameters
    ----------
    n_workers : int
        Processes of a local cluster, each with one thread; 1: this process.
    address : str, optional
        Of a Dask scheduler, such as ``tcp://host:8786``, or the path of its
        ``--scheduler-file``. Its workers need this package and see the same files.
    threads : int
        Of this process, without other workers: how many items are in the second stage of
        a `Staged` function at the same time, which must be safe.

    Raises
    ------
    UsageError
        If there is less than one worker or thread, more than one of the three is given,
        or no scheduler answers.
    MissingPackageError
        If dask or distributed is not installed.
    """
    if n_workers < 1:
        raise UsageError(f"workers: expected at least 1, got {n_workers}")
    if address is not None and n_workers > 1:
        raise UsageError("workers: expected --workers or --dask, got both")
    if threads < 1:
        raise UsageError(f"threads: expected at least 1, got {threads}")
    if threads > 1 and (address is not None or n_workers > 1):
        raise UsageError(
            "threads: expected one with --workers or --dask, whose processes have one each, "
            f"got {threads}"
        )
    if address is None and n_workers == 1:
        yield _Here(threads)
        return
    with ExitStack() as stack:
        client = stack.enter_context(connect(n_workers, address))
        yield DaskWorkers(client, START_SECONDS if address is None else None)
