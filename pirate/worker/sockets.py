"""A worker's socket, read and written without blocking, and the same on a loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import zmq

from pirate.worker.rawsocket import EVENTS, NOBLOCK, POLLIN, SNDMORE, rawCalls

if TYPE_CHECKING:
    from pirate.worker.interfaces import Cancellable, Loop, Receiver

#: Messages that are read before anything else has its turn.
MAX_MESSAGES = 100


class DealerSocket:
    """
    A DEALER that keeps, in order, the messages for which ZeroMQ has no room.

    ZeroMQ's descriptor says only that something has changed, and says it once.  After each time it does, and after each
    message sent, :meth:`receive` and :meth:`flush` must be called until there is nothing more to do.

    :param socket: a DEALER.
    :ivar descriptor: the descriptor that becomes readable when something has changed.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._receive, self._send, self._get = rawCalls(socket)
        self._unsent: deque[list[bytes]] = deque()
        self.descriptor: int = self._get(zmq.FD)

    @property
    def full(self) -> bool:
        """True while messages wait for room."""
        return bool(self._unsent)

    def post(self, frames: list[bytes]) -> None:
        """Send a message of two frames or more, as soon as there is room."""
        if self._unsent or not self._trySend(frames):
            self._unsent.append(frames)

    def flush(self) -> bool:
        """
        Send waiting messages, as far as there is room.

        :return: whether none is left.
        """
        while self._unsent and self._trySend(self._unsent[0]):
            self._unsent.popleft()
        return not self._unsent

    def receive(self, most: int) -> Iterator[list[bytes]]:
        """Yield messages that have arrived, up to a number."""
        for _ in range(most):
            if not self._get(EVENTS) & POLLIN:
                return
            frame = self._receive(NOBLOCK, False)
            frames = [frame.bytes]
            while frame.more:
                frame = self._receive(0, False)
                frames.append(frame.bytes)
            yield frames

    def finish(self) -> None:
        """Send all waiting messages, however long that takes."""
        while self._unsent:
            self._socket.send_multipart(self._unsent.popleft())

    def _trySend(self, frames: list[bytes]) -> bool:
        """
        Send a message if there is room.

        :return: whether there was.
        """
        # Only the first frame can find no room: ZeroMQ counts whole messages.
        try:
            self._send(frames[0], SNDMORE | NOBLOCK)
        except zmq.Again:
            return False
        for frame in frames[1:-1]:
            self._send(frame, SNDMORE)
        self._send(frames[-1])
        return True


class LoopSocket:
    """
    A DEALER on a loop: it reads when there is something to read, and sends waiting messages when there is room.

    :param loop: the loop.
    :param socket: the DEALER.
    """

    def __init__(self, loop: Loop, socket: DealerSocket) -> None:
        self._loop = loop
        self._socket = socket
        self._receiver: Receiver | None = None
        self._scheduled: Cancellable | None = None
        self._waiters: list[Any] = []

    def start(self, receiver: Receiver) -> None:
        """Pass what arrives on to a receiver, until :meth:`close`."""
        self._receiver = receiver
        self._loop.addReader(self._socket.descriptor, self.look)
        self._lookSoon()

    def post(self, frames: list[bytes]) -> None:
        """Send a message, as soon as there is room."""
        self._socket.post(frames)
        # Sending can consume ZeroMQ's edge notification, so look again.
        self._lookSoon()

    def drained(self) -> Any:
        """Return what fires when all posted messages have been sent; ``None`` if they have been."""
        if not self._socket.full:
            return None
        self._waiters.append(self._loop.newWaiter())
        return self._waiters[-1]

    def look(self) -> None:
        """Read what has arrived, and send what there is room for."""
        if self._receiver is None:
            return
        count = 0
        for count, frames in enumerate(self._socket.receive(MAX_MESSAGES), 1):  # noqa: B007
            self._receiver.received(frames)
        if self._socket.flush():
            waiters, self._waiters = self._waiters, []
            for each in waiters:
                self._loop.fire(each)
        if count == MAX_MESSAGES:
            self._lookSoon()

    def close(self) -> None:
        """Send what waits for room, however long that takes, and read nothing more."""
        self._receiver = None
        self._loop.removeReader()
        if self._scheduled is not None:
            self._scheduled.cancel()
        self._socket.finish()

    def _lookSoon(self) -> None:
        if self._scheduled is None and self._receiver is not None:
            self._scheduled = self._loop.callSoon(self._lookAgain)

    def _lookAgain(self) -> None:
        self._scheduled = None
        self.look()
