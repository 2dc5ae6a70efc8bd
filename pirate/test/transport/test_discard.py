# -*- test-case-name: pirate.test.transport.test_discard -*-
"""The tests of dropping the rest of a message."""

from __future__ import annotations

import errno
import signal
from typing import Any

import zmq
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import pirate.transport.discard
from pirate.transport.discard import discardRest

#: Milliseconds after which a receive has failed.
PATIENCE = 30_000


class DiscardTests(SynchronousTestCase):
    """Drop the rest of a message that was sent to a ROUTER."""

    def setUp(self) -> None:
        """Connect two peers to a ROUTER in this process."""
        self.context = zmq.Context()
        self.addCleanup(self.context.destroy, 0)
        self.router = self.socket(zmq.ROUTER)
        self.router.bind("inproc://router")
        self.peers = [self.socket(zmq.DEALER) for _ in range(2)]
        for number, each in enumerate(self.peers):
            each.identity = b"%d" % number
            each.connect("inproc://router")

    def socket(self, kind: int) -> Any:
        """Return a socket that does not wait for ever."""
        socket = self.context.socket(kind)
        socket.linger, socket.rcvtimeo, socket.sndhwm, socket.rcvhwm = 0, PATIENCE, 0, 0
        return socket

    def requireQueue(self) -> None:
        """Skip the test where pyzmq has no monitored_queue in C."""
        if pirate.transport.discard.monitored_queue is None:
            raise SkipTest("this pyzmq has no monitored_queue in C")

    def left(self) -> list[list[bytes]]:
        """Return all messages that can be read now."""
        messages = []
        while self.router.poll(0):
            messages.append(self.router.recv_multipart())
        return messages

    def test_rest(self) -> None:
        """Nothing is left of the message, and the next messages of both peers are complete."""
        frames = [b"%d" % number for number in range(5000)]
        self.requireQueue()
        self.peers[0].send_multipart([*frames, b"x" * 5000, b""])
        self.peers[0].send_multipart([b"full", b"rest"])
        self.peers[1].send_multipart([b"", b"other"])
        self.assertEqual([self.router.recv() for _ in range(3)], [b"0", b"0", b"1"])
        self.assertTrue(discardRest(self.router))
        self.assertEqual(sorted(self.left()), [[b"0", b"full", b"rest"], [b"1", b"", b"other"]])

    def test_alone(self) -> None:
        """Dropping does not wait for another message, and works twice."""
        self.requireQueue()
        for _ in range(2):
            self.peers[0].send_multipart([b"x"] * 5000)
            self.router.recv()
            self.assertTrue(discardRest(self.router))
            self.assertEqual(self.left(), [])

    def test_signals(self) -> None:
        """The signal mask is restored."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self.test_alone()
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, []), before)

    def test_cannot(self) -> None:
        """Without monitored_queue, or without file descriptors, nothing is dropped."""
        self.peers[0].send_multipart([b"", b"x"])
        self.router.recv()
        self.patch(self.context, "socket", self.noSocket)
        self.assertFalse(discardRest(self.router))
        self.patch(pirate.transport.discard, "monitored_queue", None)
        self.assertFalse(discardRest(self.router))
        self.assertEqual(self.router.recv_multipart(), [b"", b"x"])

    def noSocket(self, kind: int) -> Any:
        """Raise the error of a process that has too many open files."""
        raise zmq.ZMQError(errno.EMFILE)
