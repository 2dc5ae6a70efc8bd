"""The process that a worker runs in: its clock, its signals, and its end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, NoReturn

from pirate.errors import ExitCode
from pirate.worker.startup import fail


class Process:
    """
    A worker's process, as far as its parts use it.

    A simulation has another one, whose time is not real.

    :ivar clock: returns the time in seconds.
    :ivar setAlarm: has SIGALRM sent after a number of seconds; 0: not at all.
    """

    def __init__(self) -> None:
        # Functions in C, because they are called for every request.
        self.clock: Callable[[], float] = perf_counter
        self.setAlarm: Callable[[float], object] = partial(signal.setitimer, signal.ITIMER_REAL)

    def handle(self, number: int, handler: Any) -> None:
        """Have a signal handled by a function, or by one of the constants of the module ``signal``."""
        signal.signal(number, handler)

    def exitAtNextTerm(self) -> None:
        """Have the next TERM end this process at once, whatever it is doing."""
        self.handle(signal.SIGTERM, self._exitAtOnce)

    def _exitAtOnce(self, number: int, frame: object) -> NoReturn:
        self.handle(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + number)

    def fail(self, code: ExitCode, reason: str) -> NoReturn:
        """See :func:`pirate.worker.startup.fail`."""
        fail(code, reason)
