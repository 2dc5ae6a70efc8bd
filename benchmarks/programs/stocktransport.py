"""A transport of two ROUTERs that use txZMQ's own reading and sending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import zmq
from twisted.internet.defer import Deferred, succeed
from txzmq import ZmqConnection, ZmqEndpoint, ZmqEndpointType, ZmqFactory
from zope.interface import implementer

from pirate.auth.rules import SocketPolicy
from pirate.settings.limits import PeerLimits
from pirate.transport.interfaces import ConnectionLimits, InProcessPeer, ITransport, TransportEvents
from pirate.wire.backend import requestFrames


class UnknownSender:
    """A sender of which nothing is known, because txZMQ keeps only the bytes of a frame."""

    def address(self) -> str | None:
        """Return ``None``."""
        return None

    def connection(self) -> int | None:
        """Return ``None``."""
        return None

    def isGone(self) -> bool:
        """Return ``False``."""
        return False

    def userId(self) -> str | None:
        """Return ``None``."""
        return None

    def asksOneByOne(self) -> bool:
        """Return ``False``."""
        return False


class StockRouter(ZmqConnection):
    """A ROUTER that reports every message, and the beginning and the end of each reading."""

    socketType = zmq.ROUTER

    def __init__(self, factory: ZmqFactory, transport: StockTransport, received: Callable[[list[bytes]], None]) -> None:
        self._transport = transport
        self._received = received
        super().__init__(factory)
        self.socket.set(zmq.ROUTER_MANDATORY, 1)

    def doRead(self) -> None:
        """Read as txZMQ does, until nothing is left."""
        if self._transport.events is not None:
            self._transport.events.turnStarted()
            super().doRead()
            self._transport.events.turnEnded()

    def messageReceived(self, message: list[bytes]) -> None:
        """Report a message."""
        self._received(message)

    def deliver(self, frames: Sequence[bytes]) -> bool:
        """Send a message; return ``False`` if that fails."""
        try:
            self.send(list(frames))
        except zmq.ZMQError:
            return False
        return True


@implementer(ITransport)
class StockTransport:
    """An :class:`~pirate.transport.interfaces.ITransport` without limits, access control or turns."""

    identifiesClients = False

    def __init__(self, reactor: Any) -> None:
        self.events: TransportEvents | None = None
        self._sender = UnknownSender()
        self._factory = ZmqFactory()
        self._factory.reactor = reactor
        self._frontend = StockRouter(self._factory, self, self._clientMessageReceived)
        self._backend = StockRouter(self._factory, self, self._workerMessageReceived)

    def start(self, events: TransportEvents, peerLimits: PeerLimits, connectionLimits: ConnectionLimits) -> None:
        """Set the receiver of events."""
        self.events = events

    def protect(
        self, frontend: SocketPolicy, backend: SocketPolicy, answer: Callable[[Sequence[bytes]], list[bytes]]
    ) -> None:
        """Admit every peer."""

    def bind(self, frontend: Sequence[str], backend: Sequence[str]) -> tuple[list[str], list[str]]:
        """Bind both sockets; return the endpoints as they were given."""
        for router, endpoints in ((self._frontend, frontend), (self._backend, backend)):
            router.addEndpoints([ZmqEndpoint(ZmqEndpointType.bind, each) for each in endpoints])
        return list(frontend), list(backend)

    def bindForOwnWorkers(self) -> None:
        """Bind nothing: the workers connect to the backend's endpoint."""

    def drainFrontend(self) -> None:
        """Do nothing: every message has been read."""

    def toClient(self, frames: Sequence[bytes]) -> bool:
        """Send to a client."""
        return self._frontend.deliver(frames)

    def postToClient(self, frames: Sequence[bytes]) -> None:
        """Send to a client."""
        if not self.toClient(frames) and self.events is not None:
            self.events.replyUndelivered()

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        """Send to a worker."""
        return self._backend.deliver(frames)

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        """Send to a worker."""
        if not self.toWorker(frames) and self.events is not None:
            self._factory.reactor.callLater(0, self.events.workerMessagesUndelivered, [frames])

    def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """Send requests to a worker, one by one."""
        for request, body in zip(requests, bodies, strict=True):
            self.postToWorker(requestFrames(worker, request, [body]))

    def workerSender(self) -> UnknownSender:
        """Return a sender of which nothing is known."""
        return self._sender

    def connectInProcess(self, peer: InProcessPeer) -> None:
        """Do nothing: no benchmark calls the server in its own process."""

    def receiveInProcess(self, frames: list[bytes]) -> None:
        """Drop a message."""

    def clientSender(self) -> UnknownSender:
        """Return a sender of which nothing is known."""
        return self._sender

    def keepWorker(self, connection: int, own: bool) -> None:
        """Do nothing: there are no limits."""

    def dropWorker(self, connection: int) -> None:
        """Do nothing: connections are not known."""

    def connectionCounts(self) -> dict[str, dict[str, int]]:
        """Return no counts."""
        return {}

    def wake(self) -> None:
        """Do nothing: there are no turns."""

    def close(self) -> Deferred[None]:
        """Close both sockets."""
        self._frontend.shutdown()
        self._backend.shutdown()
        return succeed(None)

    def _clientMessageReceived(self, frames: list[bytes]) -> None:
        if self.events is not None:
            self.events.clientMessageReceived(frames)

    def _workerMessageReceived(self, frames: list[bytes]) -> None:
        if self.events is not None:
            self.events.workerMessageReceived(frames)
