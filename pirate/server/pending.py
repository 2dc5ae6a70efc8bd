"""The clients whose requests wait: if one goes away, or a plain one gives up, its request need not be run."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from pirate.broker.interfaces import Sender
from pirate.broker.request import NativeRequest, Request, State

#: Requests of one client that has gone which are withdrawn at once, at most; and notes of its requests that are kept at
#: least before those that do not wait any more are looked for.
FEW = 8
#: Of those with more, requests which are withdrawn at a time; each takes about a microsecond.
MOST = 500
#: Names of clients that have gone which are known, at most, each with its connection.
NAMES = 1000
#: Names that ZeroMQ makes are this byte and a number that goes up, and round.
_MADE, _MADE_LENGTH = 0, 5
_HALF = 1 << 31


class _Client:
    """
    A client.

    :ivar requests: those that it waits for, by the broker's id, and perhaps some that do not wait any more.
    :ivar most: how many there may be before the latter are looked for.
    """

    __slots__ = ("connection", "most", "name", "oneByOne", "requests")

    def __init__(self, name: bytes, connection: int, oneByOne: bool) -> None:
        self.name = name
        self.connection = connection
        self.oneByOne = oneByOne
        self.requests: dict[bytes, Request] = {}
        self.most = FEW


class Waiting:
    """
    Who waits, by connection and by routing id.

    A name that ZeroMQ made, whose first byte is 0, belongs to one connection only, so such a client is asked once where
    it comes from; one that names itself may come back by another connection, and is asked each time.

    A native request may be waited for by several clients, if it was sent again: it is withdrawn when the last has gone.

    :param withdraw: called with a request that nobody waits for any more.
    :ivar departed: clients that have gone, each with its connection, which is another's by now perhaps.
    :ivar heldBack: the connections of clients from which more has come than their share of the backlog.
    :ivar orphans: requests of clients that have gone which are to be withdrawn.
    """

    def __init__(self, withdraw: Callable[[Request], None]) -> None:
        self._withdraw = withdraw
        self._byConnection: dict[int, _Client] = {}
        self._byName: dict[bytes, _Client] = {}
        self.departed: OrderedDict[bytes, int] = OrderedDict()
        self.heldBack: set[int] = set()
        self._hungUp: dict[int, bytes] = {}
        self.orphans: deque[Request] = deque()

    def __len__(self) -> int:
        return sum(len(client.requests) for client in self._byConnection.values())

    def add(self, request: Request, sender: Sender, name: bytes | None = None) -> bool:
        """
        A request has begun to wait.  An older plain one of the same REQ socket is not waited for any more.

        :param name: the routing id of a client that has sent it again; ``None``: it is the first.
        :return: false if the client has gone already, and its message was among those that had not been read.
        """
        if name is None:
            name = request.route[0]
        client = self._byName.get(name)
        if client is None or name[0] != _MADE:
            connection = sender.connection()
            # To ask for it may have told of some that are gone.
            if self._isStale(name, connection) if connection is not None else sender.isGone():
                return False
            client = None if connection is None else self._meet(name, connection, sender)
            if client is None:
                return True
        requests = client.requests
        if client.oneByOne:
            self._giveUp(client)
        elif len(requests) >= client.most:
            client.requests = requests = {key: each for key, each in requests.items() if each.state is State.QUEUED}
            client.most = max(2 * len(requests), FEW)
        requests[request.id] = request
        if request.share is not None and request.share.over:
            self.heldBack.add(client.connection)
        return True

    def gone(self, connection: int) -> None:
        """A connection has been closed.  If much waits that came by it, that is for :meth:`withdraw`."""
        name = self._hungUp.pop(connection, None)
        if name is not None and name[0] != _MADE:
            # It may come back under its name.
            self.departed.pop(name, None)
        client = self._byConnection.pop(connection, None)
        if client is not None:
            self._leave(client)

    def hungUp(self, connection: int) -> None:
        """A client has closed its connection, although what it has sent before has not all been read."""
        client = self._byConnection.pop(connection, None)
        if client is not None:
            self._hungUp[connection] = client.name
            self.departed[client.name] = connection
            self._leave(client)

    def hasDeparted(self, name: bytes, sender: Sender) -> bool:
        """Whether a message that has just been read is one of a client in ``departed``."""
        connection = sender.connection()
        return self.departed.get(name) == connection if connection is not None else sender.isGone()

    def takeHeldBack(self) -> set[int]:
        """Return the connections of clients that are held back, and forget them."""
        heldBack = set(self.heldBack)
        self.heldBack.clear()
        return heldBack

    def withdraw(self) -> None:
        """Withdraw some of the orphans, the oldest first."""
        orphans = self.orphans
        for _ in range(min(len(orphans), MOST)):
            self._drop(orphans.popleft())

    def _leave(self, client: _Client) -> None:
        self.heldBack.discard(client.connection)
        if self._byName.get(client.name) is client:
            del self._byName[client.name]
        if client.name[0] == _MADE:
            self.departed[client.name] = client.connection
            if len(self.departed) > NAMES:
                self.departed.popitem(last=False)
        if len(client.requests) > FEW:
            self.orphans.extend(client.requests.values())
        else:
            self._giveUp(client)

    def _isStale(self, name: bytes, connection: int) -> bool:
        """Whether a connection's number has passed on to a client that came after this one."""
        if self.departed.get(name) == connection:
            return True
        holder = self._byConnection.get(connection)
        return holder is not None and _isOlder(name, holder.name)

    def _meet(self, name: bytes, connection: int, sender: Sender) -> _Client:
        """Return the client of this name, as it has come by this connection."""
        client = self._byName.get(name)
        if client is None or client.connection != connection:
            holder = self._byConnection.get(connection)
            if holder is not None and _isOlder(holder.name, name):
                # It has gone before it was known: its number is this one's now.
                self.gone(connection)
            before, client = client, _Client(name, connection, sender.asksOneByOne())
            if before is not None and client.oneByOne:
                self._giveUp(before)
            self._byName[name] = self._byConnection[connection] = client
        return client

    def _giveUp(self, client: _Client) -> None:
        for request in client.requests.values():
            self._drop(request)
        client.requests.clear()

    def _drop(self, request: Request) -> None:
        """Withdraw a request, unless it is a native one which another client waits for that is there."""
        if isinstance(request, NativeRequest):
            byName = self._byName
            if request.route[0] in byName or any(each.route[0] in byName for each in request.joined):
                return
        self._withdraw(request)


def _isOlder(name: bytes, other: bytes) -> bool:
    """Whether ZeroMQ has made one name before another; false if it has not made both."""
    if name == other or not len(name) == len(other) == _MADE_LENGTH or name[0] != _MADE or other[0] != _MADE:
        return False
    return (int.from_bytes(other[1:], "big") - int.from_bytes(name[1:], "big")) % (1 << 32) < _HALF
