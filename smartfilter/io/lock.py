"""Locks of outputs: of two runs into the same output one works, the other says why.

The lock is a hidden file beside the output that says who holds it, and is locked itself
(``flock``), so that the lock of a process that died is free at once, on any machine that
shares the file system. Where the file system has no locks, a run of this machine that
is no longer there, and nothing else, is seen to be gone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["OutputLock"]

log = logging.getLogger(__name__)

_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class OutputLock:
    """Context manager: the only run that writes an output.

    Parameters
    ----------
    output : Path
        A file or folder; the lock lies beside it.

    Raises
    ------
    UsageError
        On entering, if another run has it or no file can be made there.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.path = output.with_name(f".{output.name}.lock")
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock."""
        while self._descriptor < 0:
            self._descriptor = self._try()
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(holder).encode(), 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the lock."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def _try(self) -> int:
        """Return the descriptor of the locked file, -1 if it was removed meanwhile."""
        try:
            descriptor = os.open(
                self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644
            )
        except OSError as error:
            raise UsageError(
                f"output: '{self.path}' cannot be written ({error.strerror})"
            ) from error
        try:
            holder = _read_holder(descriptor)
            self._lock(descriptor, holder)
            if not self._is_current(descriptor):
                os.close(descriptor)
                return -1
        except BaseException:
            os.close(descriptor)
            raise
        if holder:
            log.info("lock of %s: taken over from %s", self.output, holder)
        return descriptor

    def _lock(self, descriptor: int, holder: dict[str, Any]) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY or _may_live(holder):
                raise self._refuse(holder) from error

    def _is_current(self, descriptor: int) -> bool:
        """Whether the file is still there: its holder may have removed it."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(descriptor))

    def _refuse(self, holder: dict[str, Any]) -> UsageError:
        who = (
            f"process {holder.get('pid')} on {holder.get('host')} since "
            f"{holder.get('since')}"
            if holder
            else "another process"
        )
        return UsageError(
            f"output: expected no other run that writes '{self.output}', got {who}; "
            "wait for it or name another output"
        )


def _read_holder(descriptor: int) -> dict[str, Any]:
    """Return who wrote the lock; nothing if it is new or unreadable."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _may_live(holder: dict[str, Any]) -> bool:
    """Whether the holder may still work, as far as this machine can tell."""
    if not holder:
        return False
    if holder.get("host") != socket.gethostname():
        return True
    return Path(f"/proc/{holder.get('pid')}").exists()
