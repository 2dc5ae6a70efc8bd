"""The plain clients whose requests wait: if one goes away, or gives up, its request need not be run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from pirate.wire.frontend import Request, State

#: Requests of one client that has gone which are withdrawn at once, at most.
FEW = 8
#: Of those with more, requests which are withdrawn at a time; each takes about a microsecond.
MOST = 500


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


class _Client:
    """A plain client.  :ivar requests: those of its requests that wait, and perhaps some that do not any more."""

    __slots__ = ("connection", "name", "oneByOne", "requests")

    def __init__(self, name: bytes, connection: int, oneByOne: bool) -> None:
        self.name = name
        self.connection = connection
        self.oneByOne = oneByOne
        self.requests: list[Request] = []


class Waiting:
    """
    Who waits, by connection and by routing id.

    A name that ZeroMQ made, whose first byte is 0, belongs to one connection only, so such a client is asked once where
    it comes from; one that names itself may come back by another connection, and is asked each time.  A native client
    is not among them: it may come back and ask for its answer.

    :param withdraw: called with a request that nobody waits for any more.
    :ivar orphans: requests of clients that have gone which are to be withdrawn.
    """

    def __init__(self, withdraw: Callable[[Request], None]) -> None:
        self._withdraw = withdraw
        self._byConnection: dict[int, _Client] = {}
        self._byName: dict[bytes, _Client] = {}
        self.orphans: deque[Request] = deque()

    def __len__(self) -> int:
        return sum(len(client.requests) for client in self._byConnection.values())

    def add(self, request: Request, sender: Sender) -> None:
        """A plain request has begun to wait.  An older one of the same REQ socket is not waited for any more."""
        name = request.route[0]
        client = self._byName.get(name)
        if client is None or name[0]:
            client = self._ask(name, sender)
            if client is None:
                return
        requests = client.requests
        if client.oneByOne:
            self._giveUp(client)
        elif len(requests) > 8 and requests[0].state is not State.QUEUED:
            requests[:] = [each for each in requests if each.state is State.QUEUED]
        requests.append(request)

    def gone(self, connection: int) -> None:
        """A connection has been closed.  If much waits that came by it, that is for L{withdraw}."""
        client = self._byConnection.pop(connection, None)
        if client is not None:
            if self._byName.get(client.name) is client:
                del self._byName[client.name]
            if len(client.requests) > FEW:
                self.orphans.extend(client.requests)
            else:
                self._giveUp(client)

    def withdraw(self) -> None:
        """Withdraw some of the orphans, the oldest first."""
        orphans, withdraw = self.orphans, self._withdraw
        for _ in range(min(len(orphans), MOST)):
            withdraw(orphans.popleft())

    def _ask(self, name: bytes, sender: Sender) -> _Client | None:
        """Find out where a client comes from; C{None} if that is not known."""
        connection = sender.connection()
        if connection is None:
            return None
        # To ask for it may have told of some that are gone.
        client = self._byName.get(name)
        if client is None or client.connection != connection:
            before, client = client, _Client(name, connection, sender.asksOneByOne())
            if before is not None and client.oneByOne:
                self._giveUp(before)
            self._byName[name] = self._byConnection[connection] = client
        return client

    def _giveUp(self, client: _Client) -> None:
        for request in client.requests:
            self._withdraw(request)
        client.requests.clear()
