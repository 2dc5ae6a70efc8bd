"""ZAP (RFC 27) in the reactor: ZeroMQ asks whether a peer may connect, and only that peer's handshake waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import zmq
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from txzmq import ZmqConnection, ZmqFactory

from pirate.transport.rawsocket import EVENTS, NOBLOCK, POLLIN, rawCalls

#: The endpoint on the sockets' own context where ZeroMQ sends its requests.
ENDPOINT = "inproc://zeromq.zap.01"
#: Requests answered in one turn of the reactor, at most.
MAX_REQUESTS = 64


class Zap(ZmqConnection):
    """
    The socket that answers ZAP requests for all sockets of a context that have a ZAP domain.

    :param factory: the owner of the context.  No socket with a domain may be bound yet.
    :param answer: returns the reply to a request.
    """

    _log = Logger()
    socketType = zmq.REP
    _constructed = False

    def __init__(self, factory: ZmqFactory, answer: Callable[[Sequence[bytes]], list[bytes]]) -> None:
        self._answer = answer
        self._again: IDelayedCall | None = None
        super().__init__(factory)
        self._reactor = factory.reactor
        self.socket.bind(ENDPOINT)
        self._get = rawCalls(self.socket).get
        self._constructed = True

    def logPrefix(self) -> str:
        """Return the name that the reactor logs errors under."""
        return "pirate"

    def doRead(self) -> None:
        """Answer some requests; leave the others for the reactor's next turn."""
        if not self._constructed:
            return
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._again = None
        for _ in range(MAX_REQUESTS):
            if self.factory is None or not self._get(EVENTS) & POLLIN:
                return
            # ZeroMQ waits for this reply alone, so the queue has room for it.
            self.socket.send_multipart(self._reply(self.socket.recv_multipart(NOBLOCK)), NOBLOCK)
        self._again = self._reactor.callLater(0, self.doRead)

    def _reply(self, request: list[bytes]) -> list[bytes]:
        try:
            return self._answer(request)
        except Exception:
            # Without a reply this socket would never be readable again, and no peer could connect any more.
            self._log.failure("refused a peer, because the access rules failed")
            return [b"1.0", request[1] if len(request) > 1 else b"", b"500", b"", b"", b""]

    def shutdown(self) -> None:
        """Close the socket, after the sockets that it answers for."""
        if self.factory is not None:
            if self._again is not None and self._again.active():
                self._again.cancel()
            self._again = None
            super().shutdown()
