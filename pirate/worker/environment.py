"""The environment of a worker: the clock, the signals and the end of its process."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any, NoReturn, Protocol

from pirate.errors import ExitCode
from pirate.worker.startup import fail

#: Seconds after which a :class:`Watchdog` calls.
WATCHDOG_TIME = 0.0005


class Watchdog(Protocol):
    """A timer that calls although the worker's thread is executing a job."""

    def arm(self) -> None:
        """Call in :data:`WATCHDOG_TIME` seconds, and not before, even if it is armed already."""

    def disarm(self) -> None:
        """Do not call."""


class RunDelay:
    """
    The time that a thread is ready to run and has no processor, as Linux counts it; 0 where nothing counts it.

    The thread that makes it is the one that is measured.
    """

    __slots__ = ("_before", "_descriptor")

    def __init__(self) -> None:
        self._descriptor = -1
        self._before = b""
        with suppress(OSError):
            self._descriptor = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def mark(self) -> None:
        """Count from now on.  This is a system call."""
        if self._descriptor >= 0:
            self._before = os.pread(self._descriptor, 64, 0)

    def elapsed(self) -> float:
        """Return the seconds of delay since the last mark, and mark."""
        before = self._before
        self.mark()
        try:
            return (int(self._before.split()[1]) - int(before.split()[1])) / 1e9
        except (IndexError, ValueError):
            return 0.0


class WorkerEnvironment:
    """
    What a worker needs of its process.

    A simulation has another one, whose time is not real.

    :ivar clock: returns the time in seconds.
    :ivar setAlarm: has SIGALRM sent after a number of seconds; 0: not at all.
    :ivar loopFactory: makes asyncio's loop; ``None``: asyncio chooses.
    """

    loopFactory: Callable[[], Any] | None = None

    def __init__(self) -> None:
        # Functions in C, because they are called for every request.
        self.clock: Callable[[], float] = perf_counter
        self.setAlarm: Callable[[float], object] = partial(signal.setitimer, signal.ITIMER_REAL)

    def runDelay(self) -> RunDelay:
        """Return the delay of the calling thread."""
        return RunDelay()

    def watchdog(self, call: Callable[[], None]) -> Watchdog | None:
        """
        Return a watchdog.

        :param call: what it calls, in a thread of its own.
        :return: ``None`` if the system has no timer for it.
        """
        from pirate.worker.timer import TimerThread, newTimer

        timer = newTimer()
        return None if timer is None else TimerThread(timer, call)

    def handle(self, number: int, handler: Any) -> None:
        """Have a signal handled by a function, or by one of the constants of the module ``signal``."""
        signal.signal(number, handler)

    def exitAtNextTerm(self, first: Callable[[], object] | None = None) -> None:
        """
        Have the next TERM end this process at once, whatever it is doing.

        :param first: called before that.
        """
        self.handle(signal.SIGTERM, partial(self._exitAtOnce, first))

    def _exitAtOnce(self, first: Callable[[], object] | None, number: int, frame: object) -> NoReturn:
        self.handle(signal.SIGTERM, signal.SIG_IGN)
        if first is not None:
            first()
        sys.exit(128 + number)

    def fail(self, code: ExitCode, reason: str) -> NoReturn:
        """See :func:`pirate.worker.startup.fail`."""
        fail(code, reason)
