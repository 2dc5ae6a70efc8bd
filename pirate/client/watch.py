"""What the thread in the lead waits for: file descriptors, and a bell that others ring."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress


class Watch:
    """
    Waits for descriptors.

    One who is about to wait says so by ``willWait``, and looks for what has been left for it after that: whoever leaves
    something first, and rings then, is never missed.

    :ivar willWait: whether somebody waits, or is about to.
    """

    def __init__(self) -> None:
        self.willWait = False
        self._acts: dict[int, Callable[[], object]] = {}
        self._poll = select.poll()
        self._alarm, self._bell = socket.socketpair()
        for each in (self._alarm, self._bell):
            each.setblocking(False)
        self.add(self._alarm.fileno(), self._silence)

    def add(self, descriptor: int, act: Callable[[], object]) -> None:
        """Have something called, in a wait, when a descriptor is readable."""
        self._poll.register(descriptor, select.POLLIN)
        self._acts[descriptor] = act

    def remove(self, descriptor: int) -> None:
        """Do so no more."""
        self._poll.unregister(descriptor)
        del self._acts[descriptor]

    def wait(self, seconds: float) -> None:
        """Wait for the first of them, and call what is to be called; give up after a time, a millisecond at least."""
        for descriptor, _ in self._poll.poll(int(seconds * 1000) + 1):
            # One may have closed another's.
            act = self._acts.get(descriptor)
            if act is not None:
                act()
        self.willWait = False

    def ring(self) -> None:
        """From any thread: wake the one that waits, if there is one."""
        if self.willWait:
            self.willWait = False
            # If it is full it wakes all the same; or all is closed.
            with suppress(OSError):
                self._bell.send(b"!")

    def close(self) -> None:
        """Let go of the bell."""
        self._alarm.close()
        self._bell.close()

    def _silence(self) -> None:
        try:
            while len(self._alarm.recv(64)) == 64:
                pass
        except BlockingIOError:
            pass
