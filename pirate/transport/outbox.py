"""
Messages that are sent later: at the end of a turn, or when a client with a full queue reads on.

Small requests that go to one worker in the same turn go in one message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pirate.wire.backend import packedRequests
from pirate.wire.frontend import REPLY_BATCH_HEADER, SmallReply, packReplies
from pirate.wire.words import MAX_BATCH, MAX_PACKED

#: The number of messages that wait for clients with full queues, at most.
MAX_POSTPONED = 1000
#: Seconds between two tries to send such a message, and after which it is given up.
RETRY_INTERVAL, RETRY_TIME = 0.1, 10.0


class OutboxRouter(Protocol):
    """
    The ROUTER that the messages are sent with; see :class:`~pirate.transport.router.Router`.

    :ivar factory: ``None`` once it is closed.
    :ivar full: whether the last failed delivery may be retried.
    """

    factory: Any
    full: bool

    def deliver(self, frames: Sequence[bytes]) -> bool:
        """Send a message; return ``False`` if its peer is not connected, or its queue is full."""


class OutboxEvents(Protocol):
    """The receiver of what happens to messages that are sent later."""

    def replyUndelivered(self) -> None:
        """Count a message whose client is gone or has not read on in time."""

    def wake(self) -> None:
        """Schedule a turn, because a message may have been sent outside of one."""


class Outbox:
    """
    The messages on their way to clients, each client's in their order.

    :param clock: gives the time, and schedules the next try.
    :param router: the frontend.
    :param events: the receiver of events.
    :ivar posted: the messages to send at the end of the turn.
    :ivar postponed: the messages for clients with full queues, oldest first, by the client's routing id; each with the
        time at which it is given up.
    """

    def __init__(self, clock: IReactorTime, router: OutboxRouter, events: OutboxEvents) -> None:
        self._clock = clock
        self._router = router
        self._events = events
        self.posted: list[Sequence[bytes]] = []
        self.postponed: dict[bytes, deque[tuple[float, Sequence[bytes]]]] = {}
        self._postponedCount = 0
        self._retry: IDelayedCall | None = None

    def flush(self) -> None:
        """Send the posted messages."""
        messages = self.posted[:]
        self.posted.clear()
        if self._router.factory is not None:
            deliver, postponed = self._router.deliver, self.postponed
            small: dict[bytes, list[SmallReply]] = {}
            for frames in messages:
                if type(frames) is SmallReply:
                    small.setdefault(frames[0], []).append(frames)
                elif (postponed and self.sendPostponed(frames[0])) or not deliver(frames):
                    self._postpone(frames)
            for client, replies in small.items():
                for at in range(0, len(replies), MAX_BATCH):
                    self._sendTogether(client, replies[at : at + MAX_BATCH])

    def _sendTogether(self, client: bytes, replies: list[SmallReply]) -> None:
        """Send small replies to one client in one message."""
        if self.postponed and self.sendPostponed(client):
            delivered = False
        elif len(replies) == 1:
            delivered = self._router.deliver(replies[0])
        else:
            body = packReplies([(header[4:], body) for _, header, _, body in replies])
            delivered = self._router.deliver((client, REPLY_BATCH_HEADER, b"", body))
        if not delivered:
            for each in replies:
                self._postpone(each)

    def send(self, frames: Sequence[bytes]) -> None:
        """Send a message at once, or as soon as its client reads on."""
        if self.sendPostponed(frames[0]) or not self._router.deliver(frames):
            self._postpone(frames)

    def sendPostponed(self, client: bytes) -> bool:
        """
        Send the postponed messages of a client as far as it has read on, and give up those whose time is over.

        :param client: its routing id.
        :return: whether any is left, so that a later message must wait behind it.
        """
        waiting = self.postponed.get(client)
        while waiting:
            deadline, frames = waiting[0]
            delivered = self._router.deliver(frames)
            if not delivered and self._router.full and self._clock.seconds() < deadline:
                return True
            waiting.popleft()
            self._postponedCount -= 1
            if not delivered:
                self._events.replyUndelivered()
        self.postponed.pop(client, None)
        return False

    def _postpone(self, frames: Sequence[bytes]) -> None:
        """Send a message later that could not be delivered, unless its client is gone."""
        if not self._router.full or self._postponedCount >= MAX_POSTPONED:
            self._events.replyUndelivered()
            return
        self.postponed.setdefault(frames[0], deque()).append((self._clock.seconds() + RETRY_TIME, frames))
        self._postponedCount += 1
        if self._retry is None:
            self._retry = self._clock.callLater(RETRY_INTERVAL, self._retryAll)

    def close(self) -> None:
        """Send the posted messages, and give up the others."""
        self.flush()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _retryAll(self) -> None:
        self._retry = None
        for client in list(self.postponed):
            self.sendPostponed(client)
        if self.postponed:
            self._retry = self._clock.callLater(RETRY_INTERVAL, self._retryAll)
        self._events.wake()


class RequestPack:
    """
    Small requests that go to one worker.

    :ivar ids: the broker's ids of the requests.
    :ivar bodies: their bodies, of one frame each.
    """

    __slots__ = ("bodies", "ids", "worker")

    def __init__(self, worker: bytes) -> None:
        self.worker = worker
        self.ids: list[bytes] = []
        self.bodies: list[bytes] = []


class WorkerOutbox:
    """
    The messages on their way to workers, each worker's in their order.

    :ivar waiting: the messages.
    """

    __slots__ = ("_packs", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Sequence[bytes] | RequestPack] = []
        self._packs: dict[bytes, RequestPack] = {}

    def post(self, frames: Sequence[bytes]) -> None:
        """Send a message later."""
        # Later requests to the same worker must not overtake it.
        self._packs.pop(frames[0], None)
        self.waiting.append(frames)

    def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """Send small requests later, together with the last ones to the same worker if they fit."""
        pack = self._packs.get(worker)
        if pack is None or len(pack.ids) + len(requests) > MAX_PACKED:
            pack = self._packs[worker] = RequestPack(worker)
            self.waiting.append(pack)
        pack.ids.extend(requests)
        pack.bodies.extend(bodies)

    def take(self) -> list[Sequence[bytes]]:
        """Return the messages to send now, and forget them."""
        waiting, self.waiting = self.waiting, []
        self._packs.clear()
        return [
            packedRequests(each.worker, each.ids, each.bodies) if isinstance(each, RequestPack) else each
            for each in waiting
        ]
