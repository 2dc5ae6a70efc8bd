"""Answers that are sent a little later: together with others, or when a client with too much unread has read on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from pirate.transport.router import Router

#: Answers that wait for clients with too much unread, at most; seconds between two tries, and for which it is tried.
MAX_POSTPONED = 1000
RETRY, PATIENCE = 0.1, 10.0


class Outbox:
    """
    What is on its way to clients.

    :param clock: tells when to try again.
    :param router: the frontend.
    :param tried: called when something was sent later.
    :ivar together: those that are to be sent together.
    :ivar lost: called for each answer whose client is not there, or has not read on in time.
    """

    def __init__(self, clock: Any, router: Router, tried: Callable[[], None]) -> None:
        self._clock = clock
        self._router = router
        self._tried = tried
        self.lost: Callable[[], None] = lambda: None
        self.together: list[Sequence[bytes]] = []
        self._postponed: list[tuple[float, Sequence[bytes]]] = []
        self._retry: IDelayedCall | None = None
        self.add = self.together.append

    def flush(self) -> None:
        """Send those that were added."""
        several = self.together[:]
        self.together.clear()
        if self._router.factory is not None:
            for frames in several:
                self.send(frames)

    def send(self, frames: Sequence[bytes]) -> None:
        """Send one at once, or later, if its client reads on."""
        if self._router.deliver(frames):
            return
        if not self._router.full or len(self._postponed) >= MAX_POSTPONED:
            self.lost()
            return
        self._postponed.append((self._clock.seconds() + PATIENCE, frames))
        if self._retry is None:
            self._retry = self._clock.callLater(RETRY, self._tryAgain)

    def close(self) -> None:
        """Send what was added, and try nothing again."""
        self.flush()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _tryAgain(self) -> None:
        self._retry = None
        postponed, self._postponed = self._postponed, []
        for until, frames in postponed:
            if self._router.deliver(frames):
                continue
            if self._router.full and self._clock.seconds() < until:
                self._postponed.append((until, frames))
            else:
                self.lost()
        if self._postponed:
            self._retry = self._clock.callLater(RETRY, self._tryAgain)
        self._tried()
