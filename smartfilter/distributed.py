"""Work on many items, here or on Dask workers: results in order, few of them at once.

Everything is the same however many workers there are: the items, what is computed for
each, and the order of the results. A worker that is lost loses time only, as the scheduler
gives its items to others.
"""

from __future__ import annotations

import logging
import re
import socket
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections import deque
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from smartfilter.documents import parse_json
from smartfilter.errors import (
    DeviceError,
    MissingPackageError,
    SmartFilterError,
    UsageError,
)
from smartfilter.prefetch import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Iterator

__all__ = ["Staged", "Workers", "open_workers", "remember"]

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Result = TypeVar("Result")

ITEMS_PER_WORKER = 2
"""Items that a worker holds: one in work and one that waits, so that it is never idle.
Results whose turn has not come are held as well, so that this bounds memory."""

_IGNORE_INTERRUPTS = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
"""
"""What a local worker does first: Ctrl-C reaches all processes of a terminal, and this
one ends the others."""

_CONNECT_SECONDS = 20

_START_SECONDS = 120.0
"""How long local workers may take to start, or to come back after all of them died."""

_END_SECONDS = 20.0
_LOOK_SECONDS = 5.0
"""After this wait for a result it is seen whether there are workers."""

_ADDRESS = re.compile(r"(?:(?:tcp|tls)://)?(?P<host>[^/]+):(?P<port>\d{1,5})")
_LOST_WORKERS = 5
"""Workers that may die with an item before the item is held to be the cause."""

_WHY_NO_WORKERS = (
    "is there memory for them, and may this user start processes (ulimit -u)? "
    "--workers 1 needs none"
)

_REMEMBERED = threading.local()


def remember(name: str, key: Hashable, make: Callable[[], Result]) -> Result:
    """Return what ``make`` makes, made once per thread as long as the key is the same.

    For what is costly to make and belongs to one thread, such as a model in memory. The
    latest thing of each name is kept.
    """
    kept: dict[str, tuple[Hashable, Any]] = _REMEMBERED.__dict__
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
    """Works in this process, one item after the other; a thread reads ahead."""

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result]]:
        if not isinstance(function, Staged):
            for item in items:
                yield item, function(item)
            return
        ahead = ((item, function.read(item)) for item in items)
        with read_ahead(ahead) as pairs:
            for item, ready in pairs:
                yield item, function.process(ready)


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


class _Dask(Workers):
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
                if future.done():
                    raise
            if self._client.nthreads():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > self._patience:
                raise DeviceError(
                    "workers: expected those that died to be started again, got none "
                    f"for {self._patience:g} s; {_WHY_NO_WORKERS}"
                )


@contextmanager
def _translating(client: Any) -> Iterator[None]:
    """Say in our words that workers or scheduler are lost."""
    _, distributed = _import_dask()
    try:
        yield
    except distributed.KilledWorker as error:
        raise DeviceError(
            f"workers: expected them to survive, but {_LOST_WORKERS + 1} of them died "
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
def open_workers(n_workers: int = 1, address: str | None = None) -> Iterator[Workers]:
    """Provide workers: this process, a local Dask cluster or those of a scheduler.

    Parameters
    ----------
    n_workers : int
        Processes of a local cluster, each with one thread; 1: this process.
    address : str, optional
        Of a Dask scheduler, such as ``tcp://host:8786``, or the path of its
        ``--scheduler-file``. Its workers need this package and see the same files.

    Raises
    ------
    UsageError
        If there is less than one worker, both are given, or no scheduler answers.
    MissingPackageError
        If dask or distributed is not installed.
    """
    if n_workers < 1:
        raise UsageError(f"workers: expected at least 1, got {n_workers}")
    if address is not None and n_workers > 1:
        raise UsageError("workers: expected --workers or --dask, got both")
    if address is None and n_workers == 1:
        yield _Here()
        return
    with ExitStack() as stack:
        client = stack.enter_context(_connect(n_workers, address))
        yield _Dask(client, _START_SECONDS if address is None else None)


def _import_dask() -> tuple[Any, Any]:
    """Return the packages dask and distributed."""
    try:
        packages = import_module("dask"), import_module("distributed")
    except ImportError as error:
        raise MissingPackageError("distributed", "dask") from error
    logging.getLogger("distributed").setLevel(logging.ERROR)
    return packages


@contextmanager
def _connect(n_workers: int, address: str | None) -> Iterator[Any]:
    dask, distributed = _import_dask()
    settings = {
        "distributed.scheduler.allowed-failures": _LOST_WORKERS,
        "distributed.comm.timeouts.connect": _CONNECT_SECONDS,
        "distributed.admin.large-graph-warning-threshold": "1GB",
        "distributed.scheduler.http.routes": [],
    }
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        if address is None:
            yield stack.enter_context(_start_cluster(n_workers))
            return
        found = _find_scheduler(address)
        try:
            client = stack.enter_context(
                distributed.Client(
                    found, timeout=_CONNECT_SECONDS, set_as_default=False
                )
            )
        except (OSError, ValueError) as error:
            raise _refuse_scheduler(address, str(error) or "no answer") from error
        if not client.nthreads():
            log.warning("dask: no worker yet at %s, waiting for the first", address)
        yield client


def _find_scheduler(address: str) -> str:
    """Return the address of a scheduler that listens.

    Raises
    ------
    UsageError
        If nothing does.
    """
    try:
        if address.endswith(".json"):
            address = str(parse_json(Path(address).read_text())["address"])
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise _refuse_scheduler(address, "no tcp://HOST:PORT or tls://HOST:PORT")
        where = match["host"].strip("[]"), int(match["port"])
        socket.create_connection(where, timeout=_CONNECT_SECONDS).close()
    except UsageError:
        raise
    except (OSError, OverflowError, KeyError, TypeError, ValueError) as error:
        raise _refuse_scheduler(address, str(error)) from error
    return address


def _refuse_scheduler(address: str, reason: str) -> UsageError:
    return UsageError(
        f"dask: expected a scheduler at '{address}', got {reason}; is it running?"
    )


@contextmanager
def _start_cluster(n_workers: int) -> Iterator[Any]:
    """Start processes on this machine that talk to each other encrypted.

    Without that, whoever can reach the port on a shared machine could run code in them.

    Raises
    ------
    DeviceError
        If not all of them start within `_START_SECONDS`.
    """
    _, distributed = _import_dask()
    try:
        security = distributed.Security.temporary()
    except ImportError as error:
        raise MissingPackageError("cryptography", "dask") from error
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(
                prefix="smartfilter-dask-", ignore_cleanup_errors=True
            )
        )
        start = partial(
            distributed.LocalCluster,
            n_workers=n_workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            local_directory=folder,
            preload=[_IGNORE_INTERRUPTS],
            security=security,
            silence_logs=logging.CRITICAL,
            death_timeout=_START_SECONDS,
        )
        try:
            cluster = _in_time(start, _START_SECONDS + _END_SECONDS)
            stack.callback(_end_cluster, cluster)
            client = distributed.Client(
                cluster,
                security=security,
                set_as_default=False,
                timeout=_CONNECT_SECONDS,
            )
            stack.enter_context(client)
            client.wait_for_workers(n_workers, timeout=_START_SECONDS)
        except Exception as error:
            raise DeviceError(
                f"workers: expected {n_workers} processes on this machine within "
                f"{_START_SECONDS:g} s, got an error ({_find_reason(error)}); "
                f"{_WHY_NO_WORKERS}"
            ) from error
        yield client


def _in_time(function: Callable[[], Result], seconds: float) -> Result:
    """Return what a function returns; whatever it waits for, it is not waited for longer.

    Raises
    ------
    TimeoutError
        If it takes longer; its thread ends with this process.
    """
    done: Future[Result] = Future()

    def call() -> None:
        try:
            done.set_result(function())
        except BaseException as error:  # noqa: BLE001  raised in the other thread
            done.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return done.result(seconds)


def _end_cluster(cluster: Any) -> None:
    """Close a cluster; a part of it that does not answer ends with this process."""
    with suppress(TimeoutError):
        cluster.close(timeout=_END_SECONDS)


def _find_reason(error: BaseException) -> str:
    """Return what began it: Dask's own errors say no more than that it failed."""
    reason = "no answer"
    earlier: BaseException | None = error
    while earlier is not None:
        if not isinstance(earlier, AssertionError):
            reason = " ".join(str(earlier).split()) or reason
        earlier = earlier.__cause__ or earlier.__context__
    return reason
