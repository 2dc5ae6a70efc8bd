"""The broker's two ROUTERs as txZMQ has them: its own reading, its own sending, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import zmq
from twisted.internet.defer import Deferred, succeed
from txzmq import ZmqConnection, ZmqEndpoint, ZmqEndpointType, ZmqFactory


class StockRouter(ZmqConnection):
    """One ROUTER.  :ivar received: called with each message."""

    socketType = zmq.ROUTER

    def __init__(self, factory: ZmqFactory) -> None:
        self.received: Callable[[list[bytes]], None] = lambda frames: None
        super().__init__(factory)
        self.socket.set(zmq.ROUTER_MANDATORY, 1)

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
    """What C{JobServer} expects of a transport; see C{pirate.transport.Transport}."""

    def __init__(self, reactor: Any) -> None:
        self.wantsPeers = False
        self._factory = ZmqFactory()
        self._factory.reactor = reactor
        self._frontend, self._backend = StockRouter(self._factory), StockRouter(self._factory)
        self.toClient, self.toWorker = self._frontend.deliver, self._backend.deliver

    def start(
        self,
        fromClient: Callable[[list[bytes], str | None], None],
        fromWorker: Callable[[list[bytes]], None],
        wanted: Callable[[], bool],
        turned: Callable[[], None],
    ) -> None:
        """
        Say who is to be told.

        :param wanted: not asked: txZMQ reads as long as there is something.
        :param turned: called after each message, because there is no other end of a turn.
        """

        def clientSaid(frames: list[bytes]) -> None:
            fromClient(frames, None)
            turned()

        def workerSaid(frames: list[bytes]) -> None:
            fromWorker(frames)
            turned()

        self._frontend.received, self._backend.received = clientSaid, workerSaid

    def bind(self, frontend: Sequence[str], backend: Sequence[str]) -> tuple[list[str], list[str]]:
        """Bind both sockets.  :return: the endpoints."""
        for router, endpoints in ((self._frontend, frontend), (self._backend, backend)):
            router.addEndpoints([ZmqEndpoint(ZmqEndpointType.bind, each) for each in endpoints])
        return list(frontend), list(backend)

    def lastCall(self) -> None:
        """There is nothing that has not been read."""

    def wake(self) -> None:
        """There are no turns to take."""

    def close(self) -> Deferred[None]:
        """Close both sockets."""
        self._frontend.shutdown()
        self._backend.shutdown()
        return succeed(None)
