# -*- test-case-name: pirate.test.testing.test_zmtp -*-
"""Tests of the peer that speaks ZMTP on a plain socket, with a listening socket as the server."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from pirate.testing import zmtp
from pirate.testing.zmtp import RawPeer, message


class RawPeerTests(SynchronousTestCase):
    """Tell a closed connection from a slow server."""

    def setUp(self) -> None:
        """Connect a peer."""
        self.patch(zmtp, "PATIENCE", 0.01)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.peer = RawPeer(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
            self.addCleanup(self.peer.close)
            self.server, _ = listener.accept()
        self.addCleanup(self.server.close)

    def test_end(self) -> None:
        """Each way to read notices the end of the connection."""
        self.server.sendall(message(b"a", b"b") + b"raw")
        self.server.shutdown(socket.SHUT_WR)
        self.assertEqual(self.peer.receive(), [b"a", b"b"])
        self.assertEqual(self.peer.receiveRaw(), b"raw")
        self.assertFalse(self.peer.closed)
        for read, result in (
            (self.peer.receiveRaw, b""),
            (self.peer.receive, []),
            (lambda: self.peer.awaitEnd(60), True),
            (self.peer.handshake, False),
        ):
            self.peer.closed = False
            self.assertEqual(read(), result)
            self.assertTrue(self.peer.closed)

    def test_slow(self) -> None:
        """A server that sends or reads nothing in time has not closed the connection."""
        self.assertEqual(self.peer.receiveRaw(), b"")
        self.assertEqual(self.peer.receive(), [])
        self.assertFalse(self.peer.handshake())
        self.assertFalse(self.peer.awaitEnd(0.001))
        self.assertFalse(self.peer.send(bytes(1 << 26)))
        self.assertFalse(self.peer.closed)
