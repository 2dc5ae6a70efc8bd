"""
A watchdog: a thread that waits for a timer of the kernel, and calls while the main thread executes a job.

A signal would need no thread.  But the app may use the only timer that sends one, SIGALRM's, for its own purposes, its
system calls would be interrupted, and code in C that releases the interpreter, such as a driver that waits for its
database, would delay the handler until it returns.  A thread that wakes every millisecond to look would cost as much as
the messages that it saves.  This one sleeps as long as the timer is set anew in time, which is a system call.

The thread waits for the interpreter while the main thread runs Python code.  The interval after which that has to let
go is 5 ms; it is shorter while the watchdog is armed, and as it was otherwise.  Code in C that neither returns nor
releases the interpreter delays the call for as long as it runs.
"""

from __future__ import annotations

import _thread
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from pirate.worker.environment import WATCHDOG_TIME

#: Seconds for which the thread waits for the interpreter, about.
SWITCH_INTERVAL = 0.0002
_CLOSE_ON_EXEC = 0o2000000


class TimerThread:
    """
    A watchdog that is a thread; see :class:`~pirate.worker.environment.Watchdog`.

    The thread is not one of the module ``threading``, which a small worker need not load, and does not keep the process
    alive.

    :param timer: a ``timerfd`` and the function that sets it, of :func:`newTimer`.
    :param call: what the thread calls.
    """

    __slots__ = ("_call", "_descriptor", "_interval", "_set")

    def __init__(self, timer: tuple[int, Callable[[float], object]], call: Callable[[], None]) -> None:
        self._descriptor, self._set = timer
        self._call = call
        self._interval = sys.getswitchinterval()
        _thread.start_new_thread(self._run, ())

    def arm(self) -> None:
        """Call in ``WATCHDOG_TIME`` seconds."""
        interval = sys.getswitchinterval()
        if interval > SWITCH_INTERVAL:
            self._interval = interval
            sys.setswitchinterval(SWITCH_INTERVAL)
        self._set(WATCHDOG_TIME)

    def disarm(self) -> None:
        """Do not call."""
        self._set(0)
        sys.setswitchinterval(self._interval)

    def _run(self) -> None:
        while True:
            # A timer that is set anew does not count before it has expired.
            os.read(self._descriptor, 8)
            self._call()
            sys.setswitchinterval(self._interval)


def newTimer() -> tuple[int, Callable[[float], object]] | None:
    """
    Return the descriptor of a new ``timerfd``, and a function that sets it to expire once, in a number of seconds.

    :return: ``None`` where there is none: it is Linux's own.
    """
    if not sys.platform.startswith("linux"):
        return None
    if sys.version_info >= (3, 13):
        descriptor = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_CLOEXEC)
        return descriptor, lambda seconds: os.timerfd_settime(descriptor, initial=seconds)
    try:
        return _timerOfLibc()
    except (ImportError, AttributeError, OSError):
        return None


def _timerOfLibc() -> tuple[int, Callable[[float], object]]:
    """Make the same from the C library, for a Python whose ``os`` does not have it."""
    import ctypes

    library: Any = ctypes.CDLL(None)
    descriptor = library.timerfd_create(time.CLOCK_MONOTONIC, _CLOSE_ON_EXEC)
    if descriptor < 0:
        raise OSError("no timerfd")
    # The interval, and the time until it expires, in seconds and nanoseconds each.
    times = {seconds: (ctypes.c_long * 4)(0, 0, 0, int(seconds * 1e9)) for seconds in (0, WATCHDOG_TIME)}
    pointers = {seconds: ctypes.byref(each) for seconds, each in times.items()}
    settime = library.timerfd_settime
    return descriptor, lambda seconds: settime(descriptor, 0, pointers[seconds], None)
