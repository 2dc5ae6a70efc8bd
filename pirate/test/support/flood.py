"""A plain client that sends very many requests at once."""

from __future__ import annotations

import zmq

from pirate.service import JobServer
from pirate.test.support.gate import PATIENCE


class Flood:
    """
    An asynchronous client without a native header.

    :param requests: how many requests to send, each with its number as the first frame of the body.
    :param more: the other frames.
    """

    def __init__(self, server: JobServer, requests: int, *more: bytes) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.set_hwm(0)
        self._socket.connect(server.endpoints.frontend[0])
        for number in range(requests):
            self._socket.send_multipart([b"", b"%d" % number, *more])

    def receive(self, count: int) -> list[bytes]:
        """Return the last frames of the next replies."""
        answers = []
        for _ in range(count):
            if not self._socket.poll(int(PATIENCE * 1000)):
                raise AssertionError("no answer")
            answers.append(self._socket.recv_multipart()[-1])
        return answers

    def close(self) -> None:
        """Close the socket, and with it the connection."""
        self._context.destroy(0)
