"""Messages to clients that are sent later: at the end of a turn, or when a client with a full queue reads on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pirate.transport.router import Router

#: The number of messages that wait for clients with full queues, at most.
MAX_POSTPONED = 1000
#: Seconds between two tries to send such a message, and after which it is given up.
RETRY_INTERVAL, RETRY_TIME = 0.1, 10.0


class OutboxEvents(Protocol):
    """The receiver of what happens to messages that are sent later."""

    def replyUndelivered(self) -> None:
        """Count a message whose client is gone or has not read on in time."""

    def wake(self) -> None:
        """Schedule a turn, because a message may have been sent outside of one."""


class Outbox:
    """
    The messages on their way to clients.

    :param clock: gives the time, and schedules the next try.
    :param router: the frontend.
    :param events: the receiver of events.
    :ivar posted: the messages to send at the end of the turn.
    """

    def __init__(self, clock: IReactorTime, router: Router, events: OutboxEvents) -> None:
        self._clock = clock
        self._router = router
        self._events = events
        self.posted: list[Sequence[bytes]] = []
        self._postponed: list[tuple[float, Sequence[bytes]]] = []
        self._retry: IDelayedCall | None = None

    def flush(self) -> None:
        """Send the posted messages."""
        messages = self.posted[:]
        self.posted.clear()
        if self._router.factory is not None:
            for frames in messages:
                if not self._router.deliver(frames):
                    self._postpone(frames)

    def send(self, frames: Sequence[bytes]) -> None:
        """Send a message at once, or as soon as its client reads on."""
        if not self._router.deliver(frames):
            self._postpone(frames)

    def _postpone(self, frames: Sequence[bytes]) -> None:
        """Send a message later that could not be delivered, unless its client is gone."""
        if not self._router.full or len(self._postponed) >= MAX_POSTPONED:
            self._events.replyUndelivered()
            return
        self._postponed.append((self._clock.seconds() + RETRY_TIME, frames))
        if self._retry is None:
            self._retry = self._clock.callLater(RETRY_INTERVAL, self._sendPostponed)

    def close(self) -> None:
        """Send the posted messages, and give up the others."""
        self.flush()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _sendPostponed(self) -> None:
        self._retry = None
        postponed, self._postponed = self._postponed, []
        for deadline, frames in postponed:
            if self._router.deliver(frames):
                continue
            if self._router.full and self._clock.seconds() < deadline:
                self._postponed.append((deadline, frames))
            else:
                self._events.replyUndelivered()
        if self._postponed:
            self._retry = self._clock.callLater(RETRY_INTERVAL, self._sendPostponed)
        self._events.wake()
