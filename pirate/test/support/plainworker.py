"""A worker that uses nothing but a DEALER socket."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import zmq

from pirate.service import JobServer
from pirate.test.support.clients import contextWithoutLinger

#: The function that a plain worker applies to a body.
Work = Callable[[list[bytes]], list[bytes]]


class PlainWorker:
    """
    The plain worker of the wire protocol's documentation, in a thread.

    :param last: how many requests it takes before it sends ``exiting``; ``None``: until it is closed.
    :param options: socket options, by their names in pyzmq.
    """

    def __init__(
        self, server: JobServer, identity: bytes, work: Work, last: int | None = None, options: Any = None
    ) -> None:
        self._work = work
        self._last = last
        self._context = contextWithoutLinger()
        socket = self._context.socket(zmq.DEALER)
        socket.identity = identity
        for name, value in (options or {}).items():
            setattr(socket, name, value)
        socket.connect(server.endpoints.backend[0])
        self._thread = threading.Thread(target=self._run, args=(socket,))
        self._thread.start()

    def _run(self, s: zmq.Socket[bytes]) -> None:
        try:
            self._serve(s)
        except zmq.ContextTerminated:
            s.close()

    def _serve(self, s: zmq.Socket[bytes]) -> None:
        s.send_multipart([b"", b"waiting"])
        answered = 0
        while True:
            _, request, _, *body = s.recv_multipart()
            s.send_multipart([b"", b"processing"])
            s.send_multipart([b"", request, b"", *self._work(body)])
            answered += 1
            if answered == self._last:
                s.send_multipart([b"", b"exiting"])
            else:
                s.send_multipart([b"", b"waiting"])

    def close(self) -> None:
        """Stop without ``exiting``.  A second call does nothing."""
        self._context.term()
        self._thread.join()


def upper(body: list[bytes]) -> list[bytes]:
    """Return a body in capitals."""
    return [*map(bytes.upper, body)]
