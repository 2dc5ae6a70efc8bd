"""ZAP in the reactor: ZeroMQ asks here who may connect, and waits for the answer with the handshake alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import zmq
from twisted.logger import Logger
from txzmq import ZmqConnection, ZmqFactory

#: Where ZeroMQ looks for it, on the context of the socket that is to be guarded.
ENDPOINT = "inproc://zeromq.zap.01"
#: Questions answered in one turn of the reactor.
MAX_QUESTIONS = 64

_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)


class Zap(ZmqConnection):
    """
    Answers the questions of all sockets of a context that have a ZAP domain.

    :param factory: whose context it is; no guarded socket may be bound before.
    :param answer: gives the reply to a request.
    """

    _log = Logger()
    socketType = zmq.REP

    def __init__(self, factory: ZmqFactory, answer: Callable[[Sequence[bytes]], list[bytes]]) -> None:
        self._answer = answer
        self._get: Callable[[int], int] = lambda option: 0
        self._again: Any = None
        super().__init__(factory)
        self._reactor = factory.reactor
        self.socket.bind(ENDPOINT)
        plain: Any = super(zmq.Socket, self.socket)
        self._get = plain.get

    def logPrefix(self) -> str:
        """What the reactor calls this."""
        return "pirate"

    def doRead(self) -> None:
        """Answer some questions; if there are more, let others have a turn before."""
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._again = None
        for _ in range(MAX_QUESTIONS):
            if self.factory is None or not self._get(_EVENTS) & _POLLIN:
                return
            # It is the only side that waits, so there is room for its answer.
            self.socket.send_multipart(self._reply(self.socket.recv_multipart(_NOBLOCK)), _NOBLOCK)
        self._again = self._reactor.callLater(0, self.doRead)

    def _reply(self, question: list[bytes]) -> list[bytes]:
        try:
            return self._answer(question)
        except Exception:
            # Nobody could ever connect again if this were not read any more.
            self._log.failure("somebody was not let in, because it could not be told whether to")
            return [b"1.0", question[1] if len(question) > 1 else b"", b"500", b"", b"", b""]

    def shutdown(self) -> None:
        """Answer no more, once the guarded sockets are closed."""
        if self.factory is not None:
            if self._again is not None and self._again.active():
                self._again.cancel()
            self._again = None
            super().shutdown()
