"""Somebody who knocks at a server's door, and is told at once whether it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from pirate.auth.keys import loadPair, loadPublic
from pirate.test.support.clients import contextWithoutLinger
from pirate.test.support.gate import PATIENCE

#: What ZeroMQ tells a socket whose connection has come about, or will not: also a server that just hangs up.
_NEWS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)


class Visitor:
    """
    A DEALER, connected or turned away.

    :param options: socket options, by their names in pyzmq.
    :ivar admitted: whether the handshake has succeeded.
    """

    def __init__(self, endpoint: str, **options: Any) -> None:
        self._context = contextWithoutLinger()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.rcvtimeo = int(PATIENCE * 1000)
        self.socket.ipv6 = "[" in endpoint
        for name, value in options.items():
            setattr(self.socket, name, value)
        monitor: Any = self.socket.get_monitor_socket(_NEWS)
        self.socket.connect(endpoint)
        if not monitor.poll(int(PATIENCE * 1000)):
            raise AssertionError(f"nothing happens at {endpoint}")
        self.admitted = recv_monitor_message(monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
        self.socket.disable_monitor()
        monitor.close()

    def ask(self, *body: bytes) -> list[bytes]:
        """What a plain client is answered."""
        self.socket.send_multipart([b"", *body])
        return self.socket.recv_multipart()[1:]

    def say(self, *frames: bytes) -> None:
        """Say something, as a worker does."""
        self.socket.send_multipart([b"", *frames])

    def close(self) -> None:
        """Be gone."""
        self.socket.close()
        self._context.term()


def knock(endpoint: str, **options: Any) -> bool:
    """
    Whether a client is admitted, and then answered.

    :param options: as for :class:`Visitor`.
    """
    visitor = Visitor(endpoint, **options)
    try:
        return visitor.admitted and visitor.ask(b"x") != []
    finally:
        visitor.close()


def keysOf(folder: Path, name: str, server: str = "server") -> dict[str, bytes]:
    """The options of a socket that has one of the key pairs in a folder, and knows a server by another's."""
    public, secret = loadPair(folder / f"{name}.key_secret")
    return {
        "curve_publickey": public,
        "curve_secretkey": secret,
        "curve_serverkey": loadPublic(folder / f"{server}.key_secret"),
    }
