"""A worker's socket, read and written without ever waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import zmq

#: Messages that are read before anything else has its turn.
TURN = 100

# Plain ints, because an enumeration's member costs more than the call that it is for.
_SNDMORE = int(zmq.SNDMORE)
_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)


class DealerSocket:
    """
    What is sent when ZeroMQ has no room is kept, in order, until :meth:`flush` finds room.

    ZeroMQ's descriptor says only that something has changed, and only once: after each time it does, and after
    anything was sent, :meth:`receive` and :meth:`flush` are to be tried until there is nothing more to do.

    :param socket: a DEALER.
    :ivar descriptor: becomes readable when something has changed.
    """

    def __init__(self, socket: Any) -> None:
        plain: Any = super(zmq.Socket, socket)
        self._socket = socket
        self._receive, self._send, self._get = plain.recv, plain.send, plain.get
        self._unsent: deque[list[bytes]] = deque()
        self.descriptor: int = socket.fd

    @property
    def full(self) -> bool:
        """Whether something is kept because there is no room for it."""
        return bool(self._unsent)

    def post(self, frames: list[bytes]) -> None:
        """Send a message of two frames or more, as soon as there is room."""
        if self._unsent or not self._try(frames):
            self._unsent.append(frames)

    def flush(self) -> bool:
        """
        Send what is kept, as far as there is room.

        :return: whether nothing is left.
        """
        while self._unsent and self._try(self._unsent[0]):
            self._unsent.popleft()
        return not self._unsent

    def receive(self, most: int) -> Iterator[list[bytes]]:
        """The messages that are there, but no more than so many."""
        for _ in range(most):
            if not self._get(_EVENTS) & _POLLIN:
                return
            frame = self._receive(_NOBLOCK, False)
            frames = [frame.bytes]
            while frame.more:
                frame = self._receive(0, False)
                frames.append(frame.bytes)
            yield frames

    def finish(self) -> None:
        """Send what is kept, however long that takes."""
        while self._unsent:
            self._socket.send_multipart(self._unsent.popleft())

    def _try(self, frames: list[bytes]) -> bool:
        # Only the first frame can find no room: ZeroMQ counts whole messages.
        try:
            self._send(frames[0], _SNDMORE | _NOBLOCK)
        except zmq.Again:
            return False
        for frame in frames[1:-1]:
            self._send(frame, _SNDMORE)
        self._send(frames[-1])
        return True
