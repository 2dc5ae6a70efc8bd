"""A transport without sockets.  Its home is :mod:`pirate.testing`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from pirate.auth.rules import SocketPolicy
from pirate.errors import BindError
from pirate.settings.limits import PeerLimits
from pirate.transport.interfaces import ConnectionLimits, ITransport, TransportEvents

#: Messages that one turn of a :class:`MemoryTransport` reads from one side.
MESSAGES = 64


class MemoryRouter:
    """
    A ROUTER without a socket.  A peer is there from its first message, or :meth:`connect`, until :meth:`disconnect`.

    :ivar waiting: the messages that have not been read.
    :ivar sent: every message that was sent, with its peer's routing id in front.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._peers: dict[bytes, Callable[[list[bytes]], None]] = {}
        self.waiting: deque[list[bytes]] = deque()
        self.sent: list[list[bytes]] = []

    def connect(self, peer: bytes, received: Callable[[list[bytes]], None] = lambda frames: None) -> None:
        """
        A peer comes.

        :param received: called with each message that it is sent, without its routing id.
        """
        self._peers[peer] = received

    def disconnect(self, peer: bytes) -> None:
        """A peer is out of reach from now on; what it has sent can still be read."""
        self._peers.pop(peer, None)

    def receive(self, peer: bytes, *frames: bytes) -> None:
        """A peer sends a message, which is read in one of the transport's next turns."""
        self._peers.setdefault(peer, lambda frames: None)
        self.waiting.append([peer, *frames])
        self._wake()

    def deliver(self, frames: Sequence[bytes]) -> bool:
        """Send a message; false if its peer is out of reach."""
        received = self._peers.get(frames[0])
        if received is not None:
            self.sent.append(list(frames))
            received(list(frames[1:]))
        return received is not None

    def sentTo(self, peer: bytes) -> list[list[bytes]]:
        """All that one peer was sent, without its routing id."""
        return [frames[1:] for frames in self.sent if frames[0] == peer]


class MemorySender:
    """
    Who sent a message to a :class:`MemoryTransport`: everybody at one address.

    :param req: whether by a REQ socket.
    :param user: who it is, if that is known.
    """

    def __init__(self, address: str, client: bytes, req: bool = False, user: str | None = None) -> None:
        self._req = req
        self._user = user
        self._address = address
        self._client = client

    def address(self) -> str | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return self._address

    def connection(self) -> int | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return int.from_bytes(self._client, "big") if self._client else None

    def isGone(self) -> bool:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return False

    def userId(self) -> str | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return self._user

    def asksOneByOne(self) -> bool:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return self._req


@implementer(ITransport)
class MemoryTransport:
    """
    A transport without sockets; :class:`~pirate.transport.interfaces.ITransport` describes its methods.

    :param reactor: gives it its turns: advance it to have messages read.
    :param refusals: endpoints that cannot be bound, and why.
    :param firstPort: the port that is bound for the first ``*``.
    :ivar events: the receiver of events; a test may call it, too.
    :ivar frontend: the clients' side, whose peers' address is ``address``.
    :ivar req: whether clients are REQ sockets, which wait for one answer at a time.
    :ivar users: who each client is, by routing id, where that is known.
    :ivar backend: the workers' side.
    :ivar bound: the endpoints that are bound now.
    :ivar policies: the rules of both sides.
    :ivar answer: answers ZAP's questions about peers.
    :ivar dropped: the workers whose connections the server closed.
    :ivar turns: how many turns there have been.
    """

    _log = Logger()
    events: TransportEvents
    identifiesClients = True
    address = "127.0.0.1"
    req = False

    def __init__(self, reactor: Any, refusals: Mapping[str, str] | None = None, firstPort: int = 49152) -> None:
        self._reactor = reactor
        self._refusals = refusals or {}
        self._ports = count(firstPort)
        self._again: Any = None
        self._nextLook: Any = None
        self.frontend = MemoryRouter(self.wake)
        self.backend = MemoryRouter(self.wake)
        self.users: dict[bytes, str] = {}
        self.bound: list[str] = []
        self.policies: tuple[Any, Any] = (None, None)
        self.answer: Callable[[Sequence[bytes]], list[bytes]] = list
        self.closed = False
        self.turns = 0
        self.dropped: list[bytes] = []
        self._client: bytes = b""
        self._worker: bytes = b""

    def start(self, events: TransportEvents, peerLimits: PeerLimits, connectionLimits: ConnectionLimits) -> None:
        """Set the receiver of events; there are no limits here."""
        self.events = events

    def protect(
        self, frontend: SocketPolicy, backend: SocketPolicy, answer: Callable[[Sequence[bytes]], list[bytes]]
    ) -> None:
        """Say whom to let in.  Whoever is made a peer here has been let in."""
        self.policies, self.answer = (frontend, backend), answer

    def keepWorker(self, connection: int, own: bool) -> None:
        """Keep a connection of the backend."""

    def dropWorker(self, connection: int) -> None:
        """Close a connection of the backend."""
        self.dropped.append(connection.to_bytes((connection.bit_length() + 7) // 8, "big"))

    def hangUp(self, worker: bytes) -> None:
        """Close a worker's connection, as happens when its process ends; what it has sent can still be read."""
        self.backend.disconnect(worker)
        self.events.workerDisconnected(int.from_bytes(worker, "big"))

    def clientSender(self) -> MemorySender:
        """Return the sender of the client message that is being processed."""
        return MemorySender(self.address, self._client, self.req, self.users.get(self._client))

    def workerSender(self) -> MemorySender:
        """Return what is known of who sent the worker's message that is being read."""
        return MemorySender(self.address, self._worker, self.req)

    def bind(self, frontend: Sequence[str], backend: Sequence[str]) -> tuple[list[str], list[str]]:
        """
        Bind both sides.

        :raise BindError: if an endpoint is to be refused; nothing stays bound.
        """
        for name, endpoint in [("frontend", each) for each in frontend] + [("backend", each) for each in backend]:
            if endpoint in self._refusals:
                self._shut()
                raise BindError(f"{name} {endpoint}: {self._refusals[endpoint]}")
            self.bound.append(f"{endpoint[:-1]}{next(self._ports)}" if endpoint.endswith(":*") else endpoint)
        return self.bound[: len(frontend)], self.bound[len(frontend) :]

    def bindForOwnWorkers(self) -> None:
        """There are no UNIX sockets here."""

    def connectionCounts(self) -> dict[str, dict[str, int]]:
        """The counts of connections: there are none."""
        return {}

    def drainFrontend(self) -> None:
        """Read what clients have sent so far."""
        while self.events.wantsRequests() and self.frontend.waiting:
            self._read(self.frontend, self._fromClient)
        self.wake()

    def toClient(self, frames: Sequence[bytes]) -> bool:
        """Send to a client; false if it is out of reach."""
        return self._opened(self.frontend).deliver(frames)

    def postToClient(self, frames: Sequence[bytes]) -> None:
        """Send to a client; ``replyUndelivered`` is called if it is out of reach."""
        if not self.toClient(frames):
            self.events.replyUndelivered()

    def vanish(self, client: bytes) -> None:
        """A client's connection is closed."""
        self.frontend.disconnect(client)
        self.events.clientDisconnected(int.from_bytes(client, "big"))

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        """Send to a worker; false if it is out of reach."""
        return self._opened(self.backend).deliver(frames)

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        """Send to a worker; ``workerMessagesUndelivered`` is called in the next turn if it is out of reach."""
        if not self.toWorker(frames):
            self._reactor.callLater(0, self.events.workerMessagesUndelivered, [frames])

    def wake(self) -> None:
        """Take a turn soon."""
        if self._again is None and not self.closed:
            self._again = self._reactor.callLater(0, self._turn)

    def close(self) -> Deferred[None]:
        """
        Close both sides.

        :return: fires in the reactor's next turn.
        """
        self._shut()
        return deferLater(self._reactor, 0)

    def _shut(self) -> None:
        self.bound, self.closed = [], True
        again, self._again = self._again, None
        look, self._nextLook = self._nextLook, None
        for each in (again, look):
            if each is not None:
                each.cancel()

    def _opened(self, side: MemoryRouter) -> MemoryRouter:
        if self.closed:
            raise ValueError("nothing can be sent any more: the transport is closed")
        return side

    def _turn(self) -> None:
        self._again = None
        self.turns += 1
        events = self.events
        events.turnStarted()
        self._read(self.backend, self._fromWorker)
        if not self.closed and events.wantsRequests():
            self._read(self.frontend, self._fromClient)
        while not self.closed and self.frontend.waiting and not events.wantsRequests() and events.mayPeek():
            self._read(self.frontend, self._fromClient, 1)
        if self.closed:
            return
        events.turnEnded()
        if self.backend.waiting or (self.frontend.waiting and events.wantsRequests()):
            self.wake()
        elif self.frontend.waiting and self._nextLook is None and (delay := events.secondsUntilPeek()) is not None:
            self._nextLook = self._reactor.callLater(delay, self._takeLook)

    def _takeLook(self) -> None:
        self._nextLook = None
        self.wake()

    def _fromClient(self, frames: list[bytes]) -> None:
        outer, self._client = self._client, frames[0]
        try:
            self.events.clientMessageReceived(frames)
        finally:
            self._client = outer

    def _fromWorker(self, frames: list[bytes]) -> None:
        self._worker = frames[0]
        try:
            self.events.workerMessageReceived(frames)
        finally:
            self._worker = b""

    def _read(self, side: MemoryRouter, received: Callable[[list[bytes]], None], most: int = MESSAGES) -> None:
        for _ in range(min(len(side.waiting), most)):
            try:
                if not self.closed:
                    received(side.waiting.popleft())
            except Exception:
                self._log.failure("a message was dropped")
