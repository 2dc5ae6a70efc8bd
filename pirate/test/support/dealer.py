"""A DEALER socket that knows whether the server has admitted it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from pirate.auth.keys import loadPair, loadPublic
from pirate.test.support.clients import contextWithoutLinger
from pirate.test.support.gate import PATIENCE

#: The events of a connection that has been admitted or refused; some servers only disconnect.
_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)


class Dealer:
    """
    A DEALER socket that has tried to connect.

    :param options: the socket options, by their names in pyzmq.
    :ivar admitted: whether the handshake has succeeded.
    """

    def __init__(self, endpoint: str, **options: Any) -> None:
        self._context = contextWithoutLinger()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.rcvtimeo = int(PATIENCE * 1000)
        self.socket.ipv6 = "[" in endpoint
        for name, value in options.items():
            setattr(self.socket, name, value)
        monitor: Any = self.socket.get_monitor_socket(_EVENTS)
        self.socket.connect(endpoint)
        if not monitor.poll(int(PATIENCE * 1000)):
            raise AssertionError(f"no reaction of {endpoint}")
        self.admitted = recv_monitor_message(monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
        self.socket.disable_monitor()
        monitor.close()

    def ask(self, *body: bytes) -> list[bytes]:
        """Send a plain request, and return the reply."""
        self.socket.send_multipart([b"", *body])
        return self.socket.recv_multipart()[1:]

    def send(self, *frames: bytes) -> None:
        """Send a message as a worker does."""
        self.socket.send_multipart([b"", *frames])

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
        self._context.term()


def isServed(endpoint: str, **options: Any) -> bool:
    """
    Return whether a client is admitted and gets a reply.

    :param options: the same as for :class:`Dealer`.
    """
    dealer = Dealer(endpoint, **options)
    try:
        return dealer.admitted and dealer.ask(b"x") != []
    finally:
        dealer.close()


def keysOf(folder: Path, name: str, server: str = "server") -> dict[str, bytes]:
    """Return the options of a socket with a key pair from a folder, and with the public key of a server."""
    public, secret = loadPair(folder / f"{name}.key_secret")
    return {
        "curve_publickey": public,
        "curve_secretkey": secret,
        "curve_serverkey": loadPublic(folder / f"{server}.key_secret"),
    }
