"""A transport without sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from pirate.auth.rules import SocketPolicy
from pirate.errors import BindError
from pirate.settings.limits import PeerLimits
from pirate.transport.interfaces import IN_PROCESS, ConnectionLimits, InProcessPeer, ITransport, TransportEvents
from pirate.wire.backend import requestFrames

#: Messages that a :class:`MemoryTransport` reads from one side in one turn, at most, unless a deadline has passed.
MAX_MESSAGES = 64


class MemoryRouter:
    """
    A ROUTER without a socket.

    A peer is connected from its first message, or from :meth:`connect`, until :meth:`disconnect`.

    :param transport: the transport that reads it.
    :ivar unread: the messages that have not been read.
    :ivar sent: all messages that were sent, each with its peer's routing id in front.
    """

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._peers: dict[bytes, Callable[[list[bytes]], None] | None] = {}
        self.unread: deque[list[bytes]] = deque()
        self.sent: list[list[bytes]] = []

    def connect(self, peer: bytes, received: Callable[[list[bytes]], None] | None = None) -> None:
        """
        Connect a peer.

        :param received: called with each message that the peer is sent, without its routing id.
        """
        self._peers[peer] = received

    def disconnect(self, peer: bytes) -> None:
        """Disconnect a peer.  What it has sent can still be read."""
        self._peers.pop(peer, None)

    def receive(self, peer: bytes, *frames: bytes) -> None:
        """Send a message as a peer; the transport reads it in one of its next turns."""
        self._peers.setdefault(peer, None)
        self.unread.append([peer, *frames])
        self._transport.wake()

    def deliver(self, frames: Sequence[bytes]) -> bool:
        """Send a message to a peer; return ``False`` if it is not connected."""
        if frames[0] not in self._peers:
            return False
        self.sent.append(list(frames))
        received = self._peers[frames[0]]
        if received is not None:
            received(list(frames[1:]))
        return True

    def sentTo(self, peer: bytes) -> list[list[bytes]]:
        """Return all messages that were sent to a peer, without its routing id."""
        return [frames[1:] for frames in self.sent if frames[0] == peer]


class MemorySender:
    """
    The sender of a message to a :class:`MemoryTransport`.

    :param address: its address, if it has one.
    :param peer: its routing id; empty for a sender whose connection is unknown.
    :param req: whether it is a REQ socket.
    :param user: its user id, if it has one.
    """

    def __init__(self, address: str | None, peer: bytes, req: bool = False, user: str | None = None) -> None:
        self._req = req
        self._user = user
        self._address = address
        self._peer = peer

    def address(self) -> str | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return self._address

    def connection(self) -> int | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return connectionOf(self._peer) if self._peer else None

    def isGone(self) -> bool:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return False

    def userId(self) -> str | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return self._user

    def asksOneByOne(self) -> bool:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return self._req


def connectionOf(peer: bytes) -> int:
    """Return the number of the connection of a peer of a :class:`MemoryTransport`."""
    # The first byte keeps leading zeros.
    return int.from_bytes(b"\1" + peer, "big")


def _peerOf(connection: int) -> bytes:
    """Return the routing id of the peer on a connection."""
    return connection.to_bytes((connection.bit_length() + 7) // 8, "big")[1:]


@implementer(ITransport)
class MemoryTransport:
    """
    A transport without sockets; :class:`~pirate.transport.interfaces.ITransport` describes its methods.

    It reads in the turns of a reactor on a clock: advance that to have messages read.

    :param clock: the reactor.
    :param bindErrors: the reasons why endpoints cannot be bound, by endpoint.
    :param firstPort: the port that is bound for the first ``*``.
    :ivar events: the receiver of events; a test may call it, too.
    :ivar frontend: the clients' side.
    :ivar backend: the workers' side.
    :ivar address: the address of every peer.
    :ivar req: whether clients are REQ sockets, which have one request at a time.
    :ivar users: the user ids of clients, by routing id.
    :ivar bound: the endpoints that are bound.
    :ivar policies: the policies of both sides.
    :ivar answer: returns the reply to a ZAP request.
    :ivar dropped: the routing ids of the workers whose connections the server closed.
    :ivar closed: whether it is closed, or could not be bound.
    :ivar turns: the number of turns so far.
    """

    _log = Logger()
    events: TransportEvents
    identifiesClients = True
    address = "127.0.0.1"
    req = False

    def __init__(
        self, clock: IReactorTime, bindErrors: Mapping[str, str] | None = None, firstPort: int = 49152
    ) -> None:
        self._clock = clock
        self._bindErrors = bindErrors or {}
        self._ports = count(firstPort)
        self._nextTurn: IDelayedCall | None = None
        self._nextExtraRead: IDelayedCall | None = None
        self.frontend = MemoryRouter(self)
        self.backend = MemoryRouter(self)
        self.users: dict[bytes, str] = {}
        self.bound: list[str] = []
        self.policies = (SocketPolicy(), SocketPolicy())
        self.answer: Callable[[Sequence[bytes]], list[bytes]] = list
        self.closed = False
        self.turns = 0
        self.dropped: list[bytes] = []
        self._client = self._worker = b""

    # --- before it is bound

    def start(self, events: TransportEvents, peerLimits: PeerLimits, connectionLimits: ConnectionLimits) -> None:
        """Set the receiver of events; the limits are ignored."""
        self.events = events

    def protect(
        self, frontend: SocketPolicy, backend: SocketPolicy, answer: Callable[[Sequence[bytes]], list[bytes]]
    ) -> None:
        """Keep the policies; every peer is admitted."""
        self.policies, self.answer = (frontend, backend), answer

    def bind(self, frontend: Sequence[str], backend: Sequence[str]) -> tuple[list[str], list[str]]:
        """
        Bind both sides.

        :raise BindError: for an endpoint in ``bindErrors``; nothing stays bound.
        """
        for name, endpoint in [("frontend", each) for each in frontend] + [("backend", each) for each in backend]:
            if endpoint in self._bindErrors:
                self._shut()
                raise BindError(f"{name} {endpoint}: {self._bindErrors[endpoint]}")
            self.bound.append(f"{endpoint[:-1]}{next(self._ports)}" if endpoint.endswith(":*") else endpoint)
        return self.bound[: len(frontend)], self.bound[len(frontend) :]

    def bindForOwnWorkers(self) -> None:
        """Return ``None``: there are no UNIX sockets."""

    # --- sending

    def toClient(self, frames: Sequence[bytes]) -> bool:
        """Send to a client; return ``False`` if it is not connected."""
        return self._open(self.frontend).deliver(frames)

    def postToClient(self, frames: Sequence[bytes]) -> None:
        """Send to a client."""
        if not self.toClient(frames):
            self.events.replyUndelivered()

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        """Send to a worker; return ``False`` if it is not connected."""
        return self._open(self.backend).deliver(frames)

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        """Send to a worker; a failure is reported in the next turn."""
        if not self.toWorker(frames):
            self._clock.callLater(0, self.events.workerMessagesUndelivered, [frames])

    def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """Send requests to a worker, one by one."""
        for request, body in zip(requests, bodies, strict=True):
            self.postToWorker(requestFrames(worker, request, [body]))

    def _open(self, side: MemoryRouter) -> MemoryRouter:
        if self.closed:
            raise ValueError("the transport is closed, so nothing can be sent")
        return side

    # --- peers

    def clientSender(self) -> MemorySender:
        """Return the sender of the client message that is being processed."""
        if self._client == IN_PROCESS:
            return MemorySender(None, b"")
        return MemorySender(self.address, self._client, self.req, self.users.get(self._client))

    def workerSender(self) -> MemorySender:
        """Return the sender of the worker message that is being processed."""
        return MemorySender(self.address, self._worker, self.req)

    def connectInProcess(self, peer: InProcessPeer) -> None:
        """Connect the client in this process."""
        self.frontend.connect(IN_PROCESS, peer.messageReceived)

    def receiveInProcess(self, frames: list[bytes]) -> None:
        """Send a message as the client in this process."""
        self.frontend.receive(IN_PROCESS, *frames)

    def keepWorker(self, connection: int, own: bool) -> None:
        """Do nothing: the number of connections is not limited."""

    def dropWorker(self, connection: int) -> None:
        """Note that the server closes a connection of the backend."""
        self.dropped.append(_peerOf(connection))

    def connectionCounts(self) -> dict[str, dict[str, int]]:
        """Return no counts."""
        return {}

    def disconnectClient(self, client: bytes) -> None:
        """Close a client's connection, as the client does."""
        self.frontend.disconnect(client)
        self.events.clientDisconnected(connectionOf(client))

    def disconnectWorker(self, worker: bytes) -> None:
        """Close a worker's connection, as the end of its process does; what it has sent can still be read."""
        self.backend.disconnect(worker)
        self.events.backendConnectionClosed(connectionOf(worker))

    # --- turns

    def wake(self) -> None:
        """Schedule a turn."""
        if self._nextTurn is None and not self.closed:
            self._nextTurn = self._clock.callLater(0, self._takeTurn)

    def drainFrontend(self) -> None:
        """Read what clients have sent so far."""
        self.events.turnStarted()
        while self.events.wantsRequests() and self.frontend.unread:
            self._read(self.frontend, self._clientMessageReceived)
        self.wake()

    def _takeTurn(self) -> None:
        self._nextTurn = None
        self.turns += 1
        frontend, events = self.frontend, self.events
        deadlinePassed = events.turnStarted()
        self._read(self.backend, self._workerMessageReceived)
        while deadlinePassed and self.backend.unread and not self.closed:
            self._read(self.backend, self._workerMessageReceived)
        if not self.closed and events.wantsRequests():
            self._read(frontend, self._clientMessageReceived)
        while not self.closed and frontend.unread and not events.wantsRequests() and events.mayReadExtra():
            self._read(frontend, self._clientMessageReceived, 1)
        if self.closed:
            return
        events.turnEnded()
        if self.backend.unread or (frontend.unread and events.wantsRequests()):
            self.wake()
        elif frontend.unread and self._nextExtraRead is None:
            self._nextExtraRead = self._clock.callLater(events.secondsUntilExtraRead(), self._takeExtraTurn)

    def _takeExtraTurn(self) -> None:
        self._nextExtraRead = None
        self.wake()

    def _clientMessageReceived(self, frames: list[bytes]) -> None:
        outer, self._client = self._client, frames[0]
        try:
            self.events.clientMessageReceived(frames)
        finally:
            self._client = outer

    def _workerMessageReceived(self, frames: list[bytes]) -> None:
        self._worker = frames[0]
        try:
            self.events.workerMessageReceived(frames)
        finally:
            self._worker = b""

    def _read(self, side: MemoryRouter, received: Callable[[list[bytes]], None], most: int = MAX_MESSAGES) -> None:
        for _ in range(min(len(side.unread), most)):
            try:
                if not self.closed:
                    received(side.unread.popleft())
            except Exception:
                self._log.failure("dropped a message")

    # --- the end

    def close(self) -> Deferred[None]:
        """
        Close both sides.

        :return: fires in the next turn.
        """
        self._shut()
        return deferLater(self._clock, 0)

    def _shut(self) -> None:
        self.bound, self.closed = [], True
        for call in (self._nextTurn, self._nextExtraRead):
            if call is not None:
                call.cancel()
        self._nextTurn = self._nextExtraRead = None
