"""The CPU time of other processes."""

from __future__ import annotations

import time

from smartfilter.errors import UsageError

__all__ = ["read_cpu_time"]

_SCHEDULER = 2  # CPUCLOCK_SCHED in Linux, include/linux/posix-timers_types.h


def read_cpu_time(pid: int) -> int:
    """Return the CPU time that all threads of a process have used, in ns.

    The clock is the one that ``clock_getcpuclockid`` of POSIX names, with the number
    that Linux gives it: the inverted process number in the upper bits.

    Raises
    ------
    UsageError
        If there is no such process or the system has no such clock.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | _SCHEDULER)
    except OSError as error:
        raise UsageError(
            f"CPU time: expected a clock of process {pid}, got none ({error}); it has "
            "ended, or the system is not Linux: use the wall clock there"
        ) from error
