"""The broker's two ROUTERs as txZMQ has them: its own reading, its own sending, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import zmq
from twisted.internet.defer import Deferred, succeed
from txzmq import ZmqConnection, ZmqEndpoint, ZmqEndpointType, ZmqFactory


class Stranger:
    """A sender of whom nothing is known: txZMQ keeps of a frame nothing but its bytes."""

    def address(self) -> str | None:
        """Not known."""
        return None

    def connection(self) -> int | None:
        """Not known."""
        return None

    def asksOneByOne(self) -> bool:
        """Not known."""
        return False


class StockRouter(ZmqConnection):
    """
    One ROUTER.

    :ivar owner: who is told when reading begins and ends; ``None``: nobody yet.
    :ivar received: called with each message.
    """

    socketType = zmq.ROUTER

    def __init__(self, factory: ZmqFactory) -> None:
        self.owner: Any = None
        self.received: Callable[[list[bytes]], None] = lambda frames: None
        super().__init__(factory)
        self.socket.set(zmq.ROUTER_MANDATORY, 1)

    def doRead(self) -> None:
        """Read as txZMQ does: as long as there is something."""
        if self.owner is not None:
            self.owner.turning()
            super().doRead()
            self.owner.turned()

    def messageReceived(self, message: list[bytes]) -> None:
        """A message has come."""
        self.received(message)

    def deliver(self, frames: Sequence[bytes]) -> bool:
        """Send a message; false if that is not possible."""
        try:
            self.send(list(frames))
        except zmq.ZMQError:
            return False
        return True


class StockTransport:
    """What ``JobServer`` expects of a transport; see ``pirate.transport.sockets.Transport``."""

    def __init__(self, reactor: Any) -> None:
        self._factory = ZmqFactory()
        self._factory.reactor = reactor
        self._frontend, self._backend = StockRouter(self._factory), StockRouter(self._factory)
        self.toClient, self.toWorker = self._frontend.deliver, self._backend.deliver

    def start(self, owner: Any) -> None:
        """Say who is to be told."""
        stranger = Stranger()
        self._owner = self._frontend.owner = self._backend.owner = owner
        self._frontend.received = lambda frames: owner.fromClient(frames, stranger)
        self._backend.received = owner.fromWorker

    def protect(self, *rules: object) -> None:
        """Nobody is refused here."""

    def speaker(self) -> str | None:
        """Not known here."""
        return None

    def bind(self, frontend: Sequence[str], backend: Sequence[str]) -> tuple[list[str], list[str]]:
        """
        Bind both sockets.

        :return: the endpoints.
        """
        for router, endpoints in ((self._frontend, frontend), (self._backend, backend)):
            router.addEndpoints([ZmqEndpoint(ZmqEndpointType.bind, each) for each in endpoints])
        return list(frontend), list(backend)

    def post(self, frames: Sequence[bytes]) -> None:
        """Send to a client."""
        if not self.toClient(frames):
            self._owner.undelivered()

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        """Send to a worker."""
        if not self.toWorker(frames):
            self._factory.reactor.callLater(0, self._owner.missed, [frames])

    def lastCall(self) -> None:
        """There is nothing that has not been read."""

    def wake(self) -> None:
        """There are no turns to take."""

    def close(self) -> Deferred[None]:
        """Close both sockets."""
        self._frontend.shutdown()
        self._backend.shutdown()
        return succeed(None)
