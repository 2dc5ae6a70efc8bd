"""Clients: functions and classes for single requests, and a load of many."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import closing
from time import monotonic
from typing import Any

import zmq

from pirate.test.support.gate import PATIENCE
from pirate.wire.frontend import header, parseHeader


def ask(endpoint: str, *body: bytes, within: float = PATIENCE, **options: Any) -> list[bytes]:
    """
    Send a request as a REQ client, and return its reply.

    :param within: seconds to wait for the reply.
    :param options: socket options, by their names in pyzmq.
    :return: the reply's frames; ``[]`` if there is none in time.
    """
    with contextWithoutLinger() as context, context.socket(zmq.REQ) as req:
        req.ipv6 = "[" in endpoint
        for name, value in options.items():
            setattr(req, name, value)
        req.connect(endpoint)
        req.send_multipart(body)
        return req.recv_multipart() if req.poll(int(within * 1000)) else []


class NativeClient:
    """A client with a native header, one request at a time or several."""

    def __init__(self, endpoint: str) -> None:
        self._context = contextWithoutLinger()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.rcvtimeo = int(PATIENCE * 1000)
        self._socket.connect(endpoint)
        self._asked: set[bytes] = set()
        self._answers: dict[bytes, tuple[dict[str, Any], list[bytes]]] = {}

    def send(self, *body: bytes, **options: Any) -> bytes:
        """
        Ask.

        :param options: the header's JSON keys.
        :return: the request's id.
        """
        requestId = os.urandom(16)
        self._asked.add(requestId)
        self._socket.send_multipart([header(requestId, options), b"", *body])
        return requestId

    def receive(self, requestId: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """Return the JSON keys and the body of the reply to a request; keep other replies for later."""
        while requestId not in self._answers:
            frame, delimiter, *reply = self._socket.recv_multipart()
            parsed = parseHeader(frame)
            if parsed is None or delimiter or parsed[0] not in self._asked - self._answers.keys():
                raise AssertionError(f"{frame!r} {delimiter!r} answers nothing, or for the second time")
            self._answers[parsed[0]] = parsed[1], reply
        return self._answers[requestId]

    def backlog(self) -> int:
        """Return the server's backlog, after all that this client has sent so far has arrived."""
        told, _ = self.receive(self.send(b"", command="ping"))
        return int(told["backlog"])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._context.term()


def askNative(endpoint: str, *body: bytes, **options: Any) -> tuple[dict[str, Any], list[bytes]]:
    """Send one request with a native header; see :class:`NativeClient`."""
    with closing(NativeClient(endpoint)) as client:
        return client.receive(client.send(*body, **options))


def contextWithoutLinger() -> zmq.Context[zmq.Socket[bytes]]:
    """Return a context that can be closed at once, because its sockets drop unsent messages."""
    context = zmq.Context()
    context.linger = 0
    return context


class Load:
    """
    REQ clients in a thread of their own, each of which sends its next request after each reply.

    :param clients: how many.
    :param total: how many requests in all; ``None``: until :meth:`finish` or :meth:`cut`.
    :ivar asked: the requests, which all differ.
    :ivar answers: the replies, by request.
    """

    def __init__(self, endpoint: str, clients: int, total: int | None = None) -> None:
        self._endpoint = endpoint
        self._clients = clients
        self._total = total
        self.asked: list[bytes] = []
        self.answers: dict[bytes, list[bytes]] = {}
        self._answered = threading.Condition()
        self._wake, self._woken = socket.socketpair()
        self._asking = True
        self._patient = True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def until(self, count: int) -> None:
        """Wait for a number of replies in all."""
        with self._answered:
            if not self._answered.wait_for(lambda: len(self.answers) >= count, PATIENCE):
                raise AssertionError(f"{len(self.answers)} of {count} answers have come")

    def more(self, count: int) -> None:
        """Wait for a number of replies from now on."""
        self.until(len(self.answers) + count)

    def finish(self) -> None:
        """Send no more requests, and wait for the replies to all that were sent."""
        self._asking = False
        self._end()

    def cut(self) -> None:
        """Send no more requests, and wait for no reply.  A second call does nothing."""
        self._asking = self._patient = False
        self._end()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._wake.send(b"x")
        self._thread.join()
        self._wake.close()
        self._woken.close()

    def _run(self) -> None:
        context = zmq.Context()
        poller = zmq.Poller()
        poller.register(self._woken, zmq.POLLIN)
        waiting: dict[zmq.Socket[bytes], bytes] = {}
        for _ in range(self._clients):
            req = context.socket(zmq.REQ)
            req.connect(self._endpoint)
            poller.register(req, zmq.POLLIN)
            self._ask(req, waiting)
        deadline = monotonic() + PATIENCE
        while waiting and self._patient and monotonic() < deadline:
            ready = dict(poller.poll(int(PATIENCE * 1000)))
            if ready.pop(self._woken.fileno(), None):
                self._woken.recv(1)
            elif ready:
                deadline = monotonic() + PATIENCE
            replies = {waiting.pop(req): req.recv_multipart() for req in ready}
            with self._answered:
                self.answers.update(replies)
                self._answered.notify_all()
            for req in ready:
                self._ask(req, waiting)
        context.destroy(linger=0)

    def _ask(self, req: zmq.Socket[bytes], waiting: dict[zmq.Socket[bytes], bytes]) -> None:
        count = len(self.asked)
        if self._asking and count != self._total:
            waiting[req] = b"request-%d" % count
            self.asked.append(waiting[req])
            req.send(waiting[req])
