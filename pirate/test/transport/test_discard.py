# -*- test-case-name: pirate.test.transport.test_discard -*-
"""The rest of a message, dropped in one go."""

from __future__ import annotations

import errno
import signal
from typing import Any

import zmq
from twisted.trial.unittest import SynchronousTestCase

import pirate.transport.discard
from pirate.transport.discard import discardRest

#: Milliseconds for what takes none.
PATIENCE = 30_000


class DiscardTests(SynchronousTestCase):
    """What happens to the frames of a ROUTER's messages."""

    def setUp(self) -> None:
        """Connect two peers to a ROUTER, within this process."""
        self.context = zmq.Context()
        self.addCleanup(self.context.destroy, 0)
        self.router = self.socket(zmq.ROUTER)
        self.router.bind("inproc://router")
        self.peers = [self.socket(zmq.DEALER) for _ in range(2)]
        for number, each in enumerate(self.peers):
            each.identity = b"%d" % number
            each.connect("inproc://router")

    def socket(self, kind: int) -> Any:
        """A socket that does not wait for ever."""
        socket = self.context.socket(kind)
        socket.linger, socket.rcvtimeo, socket.sndhwm, socket.rcvhwm = 0, PATIENCE, 0, 0
        return socket

    def left(self) -> list[list[bytes]]:
        """All messages that can be read now."""
        messages = []
        while self.router.poll(0):
            messages.append(self.router.recv_multipart())
        return messages

    def test_rest(self) -> None:
        """Nothing is left of the message, and nothing is missing of those behind it, of its peer and of another."""
        frames = [b"%d" % number for number in range(5000)]
        self.peers[0].send_multipart([*frames, b"x" * 5000, b""])
        self.peers[0].send_multipart([b"full", b"rest"])
        self.peers[1].send_multipart([b"", b"other"])
        self.assertEqual([self.router.recv() for _ in range(3)], [b"0", b"0", b"1"])
        self.assertTrue(discardRest(self.router))
        self.assertEqual(sorted(self.left()), [[b"0", b"full", b"rest"], [b"1", b"", b"other"]])

    def test_alone(self) -> None:
        """It does not wait for another message, and can be done again."""
        for _ in range(2):
            self.peers[0].send_multipart([b"x"] * 5000)
            self.router.recv()
            self.assertTrue(discardRest(self.router))
            self.assertEqual(self.left(), [])

    def test_signals(self) -> None:
        """The signals that may come are the same afterwards."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self.test_alone()
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, []), before)

    def test_cannot(self) -> None:
        """Without pyzmq's loop in C, or descriptors, nothing is dropped, and that is told."""
        self.peers[0].send_multipart([b"", b"x"])
        self.router.recv()
        self.patch(self.context, "socket", self.noSocket)
        self.assertFalse(discardRest(self.router))
        self.patch(pirate.transport.discard, "monitored_queue", None)
        self.assertFalse(discardRest(self.router))
        self.assertEqual(self.router.recv_multipart(), [b"", b"x"])

    def noSocket(self, kind: int) -> Any:
        """Fail as a process does that has too many files open."""
        raise zmq.ZMQError(errno.EMFILE)
