"""A worker's socket on a loop: what asyncio and Twisted's reactor have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pirate.worker.sockets import TURN, DealerSocket


class LoopSocket:
    """
    Reads a line when there is something to read, and sends what could not be sent when there is room.

    What depends on the loop is left to subclasses: :meth:`_soon`, :meth:`_newWaiter` and :meth:`_fire`, and to call
    :meth:`look` when the line's descriptor is readable.

    :param line: the socket.
    :param received: called with each message.
    """

    def __init__(self, line: DealerSocket, received: Callable[[list[bytes]], None]) -> None:
        self._line = line
        self._received = received
        self._looking: Any = None
        self._closed = False
        self._waiting: list[Any] = []
        self._lookSoon()

    def post(self, frames: list[bytes]) -> None:
        """Send a message, as soon as there is room."""
        self._line.post(frames)
        # Sending may have taken the sign that something has come.
        self._lookSoon()

    def drained(self) -> Any:
        """What fires when all that was posted has been sent; ``None`` if it has been."""
        if not self._line.full:
            return None
        self._waiting.append(self._newWaiter())
        return self._waiting[-1]

    def look(self) -> None:
        """Something has changed."""
        count = 0
        for count, frames in enumerate(self._line.receive(TURN), 1):  # noqa: B007
            self._received(frames)
        if self._line.flush():
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                self._fire(each)
        if count == TURN:
            self._lookSoon()

    def close(self) -> None:
        """Send what is left, and look no more."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        self._line.finish()

    def _lookSoon(self) -> None:
        if self._looking is None and not self._closed:
            self._looking = self._soon(self._lookAgain)

    def _lookAgain(self) -> None:
        self._looking = None
        self.look()

    # --- what the loop does

    def _soon(self, call: Callable[[], None]) -> Any:
        """
        Call when everybody else has had a turn.

        :return: what can be cancelled.
        """
        raise NotImplementedError

    def _newWaiter(self) -> Any:
        """Something that can be waited for."""
        raise NotImplementedError

    def _fire(self, waiter: Any) -> None:
        """End the wait for it."""
        raise NotImplementedError
