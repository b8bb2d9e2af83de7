"""Dask clusters: those of a scheduler, and processes on this machine."""

from __future__ import annotations

import logging
import re
import socket
import tempfile
import threading
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from smartfilter.documents import parse_json
from smartfilter.errors import DeviceError, MissingPackageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LOST_WORKERS", "START_SECONDS", "WHY_NO_WORKERS", "connect", "import_dask"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_IGNORE_INTERRUPTS = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
"""
"""What a local worker does first: Ctrl-C reaches all processes of a terminal, and this
one ends the others."""

_LEAN = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
}
"""Settings that leave the cores to the work: Dask looks at itself 50 times a second."""

_CONNECT_SECONDS = 20

START_SECONDS = 120.0
"""How long local workers may take to start, or to come back after all of them died."""

_END_SECONDS = 20.0

_ADDRESS = re.compile(r"(?:(?:tcp|tls)://)?(?P<host>[^/]+):(?P<port>\d{1,5})")

LOST_WORKERS = 5
"""Workers that may die with an item before the item is held to be the cause."""

WHY_NO_WORKERS = (
    "is there memory for them, and may this user start processes (ulimit -u)? "
    "--workers 1 needs none"
)


def import_dask() -> tuple[Any, Any]:
    """Return the packages dask and distributed.

    Raises
    ------
    MissingPackageError
        If one of them is not installed.
    """
    try:
        packages = import_module("dask"), import_module("distributed")
    except ImportError as error:
        raise MissingPackageError("distributed", "dask") from error
    logging.getLogger("distributed").setLevel(logging.ERROR)
    # Callbacks that an interruption cuts short: what matters is an error of the client, too.
    logging.getLogger("tornado").setLevel(logging.CRITICAL)
    return packages


@contextmanager
def connect(n_workers: int, address: str | None) -> Iterator[Any]:
    """Provide a client of a Dask cluster.

    Parameters
    ----------
    n_workers : int
        Processes to start here if there is no address.
    address : str or None
        As of `smartfilter.distributed.open_workers`.

    Raises
    ------
    UsageError
        If no scheduler answers.
    DeviceError
        If not all processes start.
    MissingPackageError
        If dask, distributed or cryptography is not installed.
    """
    dask, distributed = import_dask()
    settings = {
        "distributed.scheduler.allowed-failures": LOST_WORKERS,
        "distributed.comm.timeouts.connect": _CONNECT_SECONDS,
        "distributed.admin.large-graph-warning-threshold": "1GB",
        "distributed.scheduler.http.routes": [],
        **_LEAN,
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
            address = str(
                parse_json(Path(address).read_text(encoding="utf-8"))["address"]
            )
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
        If not all of them start within `START_SECONDS`.
    """
    _, distributed = import_dask()
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
            death_timeout=START_SECONDS,
        )
        try:
            cluster = _in_time(start, START_SECONDS + _END_SECONDS)
            stack.callback(_end_cluster, cluster)
            client = distributed.Client(
                cluster,
                security=security,
                set_as_default=False,
                timeout=_CONNECT_SECONDS,
            )
            stack.enter_context(client)
            client.wait_for_workers(n_workers, timeout=START_SECONDS)
        except Exception as error:
            raise DeviceError(
                f"workers: expected {n_workers} processes on this machine within "
                f"{START_SECONDS:g} s, got an error ({_find_reason(error)}); "
                f"{WHY_NO_WORKERS}"
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
