"""The plain clients whose requests wait: if one goes away, or gives up, its request need not be run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pirate.wire.frontend import Request, State


class Sender(Protocol):
    """What a transport knows of who sent a message; each question costs about a microsecond."""

    def address(self) -> str | None:
        """The address that it came from, where that is known."""

    def connection(self) -> int | None:
        """A number for the connection that it came by, which others have after it is closed."""

    def userId(self) -> str | None:
        """Who it is, if it had to prove that."""

    def asksOneByOne(self) -> bool:
        """Whether it came from a REQ socket, which waits for one answer at a time."""


class Waiting:
    """
    Who waits, by connection and by routing id.

    A native client is not among them: it may come back and ask for its answer.

    :param withdraw: called with a request that nobody waits for any more.
    """

    def __init__(self, withdraw: Callable[[Request], None]) -> None:
        self._withdraw = withdraw
        self._byConnection: dict[int, list[Request]] = {}
        self._byClient: dict[bytes, Request] = {}

    def __len__(self) -> int:
        return sum(map(len, self._byConnection.values()))

    def add(self, request: Request, sender: Sender) -> None:
        """A plain request has begun to wait.  An older one of the same REQ socket is not waited for any more."""
        if sender.asksOneByOne():
            older = self._byClient.get(request.route[0])
            if older is not None:
                self._withdraw(older)
            self._byClient[request.route[0]] = request
        connection = sender.connection()
        if connection is not None:
            waiting = self._byConnection.setdefault(connection, [])
            if len(waiting) > 8 and waiting[0].state is not State.QUEUED:
                waiting[:] = [each for each in waiting if each.state is State.QUEUED]
            waiting.append(request)

    def gone(self, connection: int) -> None:
        """A connection has been closed."""
        for request in self._byConnection.pop(connection, ()):
            if self._byClient.get(request.route[0]) is request:
                del self._byClient[request.route[0]]
            self._withdraw(request)
