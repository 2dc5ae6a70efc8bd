"""
The clients whose requests wait for a worker: a request need not run if its client disconnects or sends another.

A client *disconnects* when its connection is closed; it has *hung up* if messages that it sent before are still unread.
A request is *withdrawn* when no client waits for its reply any more: the broker removes it, unless a worker has it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Protocol

from pirate.broker.interfaces import Sender
from pirate.broker.request import Request, State

#: The least number of a client's requests at which those that no longer wait are forgotten.
PRUNE_MIN = 8
#: Requests of a disconnected client that are withdrawn at once; of more, all are withdrawn in batches.
WITHDRAW_AT_ONCE = 8
#: Requests in a batch; withdrawing one takes about a microsecond.
BATCH = 500
#: Disconnected clients whose connections are remembered.
MAX_CLOSED = 1000
#: A routing id that ZeroMQ generates is this byte and a number that increases, modulo 2^32.
_GENERATED, _GENERATED_LENGTH = 0, 5
_HALF_RANGE = 1 << 31


class RequestOwner(Protocol):
    """The broker, as far as waiting clients use it."""

    def withdraw(self, request: Request) -> None:
        """Remove a request that no client waits for, if no worker has it."""


class _Client:
    """
    A client with requests that wait.

    :ivar routingId: the routing id of the client.
    :ivar connection: the number of its connection.
    :ivar oneByOne: whether it is a REQ socket, which waits for one reply at a time.
    :ivar requests: its requests that wait, by the broker's id, and perhaps some that no longer do.
    :ivar pruneAt: the number of requests at which the latter are forgotten.
    """

    __slots__ = ("connection", "oneByOne", "pruneAt", "requests", "routingId")

    def __init__(self, routingId: bytes, connection: int, oneByOne: bool) -> None:
        self.routingId = routingId
        self.connection = connection
        self.oneByOne = oneByOne
        self.requests: dict[bytes, Request] = {}
        self.pruneAt = PRUNE_MIN


class WaitingClients:
    """
    The clients whose requests wait for a worker, by connection and by routing id.

    A routing id that ZeroMQ generated belongs to one connection only, so the connection of such a client is looked up
    once.  A client that sets its own routing id may come back on another connection, so its connection is looked up for
    each request.

    Several clients may wait for a native request that was sent again.  It is withdrawn when the last has disconnected.

    :param broker: withdraws requests.
    :ivar closedConnections: the numbers of the connections of clients that have disconnected, by routing id; the
        connection of a later client may have the same number.
    :ivar heldBack: the connections of clients whose requests exceed their share of the backlog, or were given up.
    :ivar toWithdraw: requests of disconnected clients that are yet to be withdrawn.
    """

    def __init__(self, broker: RequestOwner) -> None:
        self._broker = broker
        self._byConnection: dict[int, _Client] = {}
        self._byRoutingId: dict[bytes, _Client] = {}
        self.closedConnections: OrderedDict[bytes, int] = OrderedDict()
        self.heldBack: set[int] = set()
        self._hungUp: dict[int, bytes] = {}
        self.toWithdraw: deque[Request] = deque()

    def __len__(self) -> int:
        return sum(len(client.requests) for client in self._byConnection.values())

    def add(self, request: Request, sender: Sender, routingId: bytes | None = None) -> bool:
        """
        Note that a request waits, and withdraw an older one of the same REQ socket.

        :param sender: the sender of the request.
        :param routingId: the routing id of a client that has sent the request again; ``None`` for the first.
        :return: ``False`` if the client has disconnected, so that the request need not run.
        """
        if routingId is None:
            routingId = request.route[0]
        client = self._byRoutingId.get(routingId)
        if client is None or routingId[0] != _GENERATED:
            connection = sender.connection()
            # Looking the connection up may have reported that some are closed.
            if self._isReused(routingId, connection) if connection is not None else sender.isGone():
                return False
            client = None if connection is None else self._clientOn(connection, routingId, sender)
            if client is None:
                return True
        requests = client.requests
        if client.oneByOne:
            self._withdrawAll(client)
        elif len(requests) >= client.pruneAt:
            client.requests = requests = {key: each for key, each in requests.items() if each.state is State.QUEUED}
            client.pruneAt = max(2 * len(requests), PRUNE_MIN)
        requests[request.brokerId] = request
        if request.share is not None and request.share.over:
            self.heldBack.add(client.connection)
        return True

    def noteRefused(self, routingId: bytes) -> None:
        """Note that a request was given up: its client may have closed its connection, and others still wait."""
        client = self._byRoutingId.get(routingId)
        if client is not None:
            self.heldBack.add(client.connection)

    def disconnected(self, connection: int) -> None:
        """Withdraw the requests of the client on a connection that is closed; if they are many, in batches."""
        routingId = self._hungUp.pop(connection, None)
        if routingId is not None and routingId[0] != _GENERATED:
            # The client may come back under its routing id.
            self.closedConnections.pop(routingId, None)
        client = self._byConnection.pop(connection, None)
        if client is not None:
            self._remove(client)

    def hungUp(self, connection: int) -> None:
        """Withdraw the requests of a client that has closed its connection while messages of it are still unread."""
        client = self._byConnection.pop(connection, None)
        if client is not None:
            self._hungUp[connection] = client.routingId
            self.closedConnections[client.routingId] = connection
            self._remove(client)

    def hasDisconnected(self, routingId: bytes, sender: Sender) -> bool:
        """Return whether the client that sent a message with this routing id has disconnected since."""
        connection = sender.connection()
        return self.closedConnections.get(routingId) == connection if connection is not None else sender.isGone()

    def takeHeldBack(self) -> set[int]:
        """Return the connections of clients that are held back, and forget them."""
        heldBack = set(self.heldBack)
        self.heldBack.clear()
        return heldBack

    def withdrawBatch(self) -> None:
        """Withdraw a batch of the requests in ``toWithdraw``, the oldest first."""
        toWithdraw = self.toWithdraw
        for _ in range(min(len(toWithdraw), BATCH)):
            self._withdraw(toWithdraw.popleft())

    def _remove(self, client: _Client) -> None:
        self.heldBack.discard(client.connection)
        if self._byRoutingId.get(client.routingId) is client:
            del self._byRoutingId[client.routingId]
        if client.routingId[0] == _GENERATED:
            self.closedConnections[client.routingId] = client.connection
            if len(self.closedConnections) > MAX_CLOSED:
                self.closedConnections.popitem(last=False)
        if len(client.requests) > WITHDRAW_AT_ONCE:
            self.toWithdraw.extend(client.requests.values())
        else:
            self._withdrawAll(client)

    def _isReused(self, routingId: bytes, connection: int) -> bool:
        """Return whether a client has disconnected, and the number of its connection may be that of a later client."""
        if self.closedConnections.get(routingId) == connection:
            return True
        holder = self._byConnection.get(connection)
        return holder is not None and _isOlder(routingId, holder.routingId)

    def _clientOn(self, connection: int, routingId: bytes, sender: Sender) -> _Client:
        """Return the client with a routing id on a connection, which may be new."""
        client = self._byRoutingId.get(routingId)
        if client is None or client.connection != connection:
            holder = self._byConnection.get(connection)
            if holder is not None and _isOlder(holder.routingId, routingId):
                # That client has disconnected, unnoticed: the number has passed on to this one.
                self.disconnected(connection)
            before, client = client, _Client(routingId, connection, sender.asksOneByOne())
            if before is not None and client.oneByOne:
                self._withdrawAll(before)
            self._byRoutingId[routingId] = self._byConnection[connection] = client
        return client

    def _withdrawAll(self, client: _Client) -> None:
        for request in client.requests.values():
            self._withdraw(request)
        client.requests.clear()

    def _withdraw(self, request: Request) -> None:
        """Withdraw a request, unless it is a native one for which a connected client waits."""
        if request.requestId:
            connected = self._byRoutingId
            if request.route[0] in connected or any(each.route[0] in connected for each in request.joined):
                return
        self._broker.withdraw(request)


def _isOlder(routingId: bytes, other: bytes) -> bool:
    """Return whether ZeroMQ generated a routing id before another; ``False`` if it did not generate both."""
    if routingId == other or not len(routingId) == len(other) == _GENERATED_LENGTH:
        return False
    if routingId[0] != _GENERATED or other[0] != _GENERATED:
        return False
    return (int.from_bytes(other[1:], "big") - int.from_bytes(routingId[1:], "big")) % (1 << 32) < _HALF_RANGE
