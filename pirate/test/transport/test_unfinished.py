# -*- test-case-name: pirate.test.transport.test_unfinished -*-
"""Tests of finding connections whose message never ends, with plain numbers."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from pirate.transport.unfinished import (
    COMMANDS_RATE,
    IN_DECODER,
    MOST_EXAMINED,
    SUPPORTED,
    WATCH_AFTER,
    UnfinishedMessages,
    bytesReceived,
)

#: Bytes of a whole message, and bytes that the kernel keeps.
LIMIT, UNREAD = 1000, 100


class ExamineTests(SynchronousTestCase):
    """Examine connections whose bytes a test sets."""

    def setUp(self) -> None:
        """Let connection 5 have received just so much that it is watched from the first examination."""
        self.bytes: dict[int, int] = {5: 1}
        self.empty = True
        self.unfinished = UnfinishedMessages(self.received)
        self.unfinished.limit = LIMIT
        self.examine()
        self.bytes[5] = self.start = WATCH_AFTER + 1
        self.examine()

    def received(self, connection: int) -> tuple[int, int] | None:
        """Return the bytes that a test has set."""
        return (self.bytes[connection], UNREAD) if connection in self.bytes else None

    def examine(self, now: float = 0.0) -> list[int]:
        """Examine all connections that have received anything."""
        return self.unfinished.examine(list(self.bytes), lambda: self.empty, now)

    def test_endless(self) -> None:
        """More bytes than a whole message has, after which the socket is found empty, are an unfinished message."""
        self.bytes[5] = self.start + LIMIT + UNREAD + IN_DECODER
        self.assertEqual([self.examine() for _ in range(3)], [[]] * 3)
        self.bytes[5] += 1
        self.assertEqual([self.examine() for _ in range(2)], [[], [5]])

    def test_heldBack(self) -> None:
        """As long as the socket is not found empty, complete messages may wait, however many bytes come."""
        self.empty = False
        for _ in range(10):
            self.bytes[5] += 100 * LIMIT
            self.assertEqual(self.examine(), [])
        self.unfinished.messageRead(5)
        self.empty = True
        self.assertEqual([self.examine() for _ in range(3)], [[]] * 3)

    def test_messageRead(self) -> None:
        """A message that is read ends the watch, and another one starts only after many more bytes."""
        self.bytes[5] = self.start + 1000 * LIMIT
        self.examine()
        self.unfinished.messageRead(5)
        self.assertEqual((self.examine(), list(self.unfinished.watched)), ([], []))
        self.bytes[5] += WATCH_AFTER
        self.assertEqual((self.examine(), list(self.unfinished.watched)), ([], []))
        self.bytes[5] += 1
        self.assertEqual((self.examine(), list(self.unfinished.watched)), ([], [5]))

    def test_slow(self) -> None:
        """A message within the limit may take any time; so may a connection with nothing but heartbeats."""
        for hour in range(1, 100):
            self.bytes[5] = self.start + LIMIT + 3600 * hour * COMMANDS_RATE
            self.assertEqual(self.examine(3600.0 * hour), [])

    def test_closed(self) -> None:
        """A closed connection is forgotten, and a later one with its number starts anew."""
        self.bytes[5] = self.start + 1000 * LIMIT
        self.examine()
        self.unfinished.forget(5)
        self.bytes[5] = LIMIT
        self.assertEqual((self.examine(), list(self.unfinished.watched)), ([], []))

    def test_unknown(self) -> None:
        """A connection without a count of bytes is never closed, nor one whose count is no longer known."""
        del self.bytes[5]
        self.assertEqual(self.unfinished.examine([5, 6], lambda: True, 0.0), [])
        self.unfinished.messageRead(5)
        self.assertEqual(self.unfinished.watched, {})

    def test_many(self) -> None:
        """Of many connections, some are looked at each time, and all in turn."""
        self.bytes = dict.fromkeys(range(3 * MOST_EXAMINED - 1), WATCH_AFTER + 1)
        seen = []
        for _ in range(3):
            self.examine()
            seen.append(len(self.unfinished.watched))
        self.assertEqual(seen, [MOST_EXAMINED, 2 * MOST_EXAMINED, 3 * MOST_EXAMINED - 1])


class BytesReceivedTests(SynchronousTestCase):
    """Ask the kernel."""

    def setUp(self) -> None:
        """Skip the tests where the kernel does not tell."""
        if not SUPPORTED:
            raise SkipTest("this system does not count the bytes of a connection")

    def test_tcp(self) -> None:
        """The bytes of a connection are counted, and a closed one has none."""
        server = socket.create_server(("127.0.0.1", 0))
        peer = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        for each in (server, peer, accepted):
            self.addCleanup(each.close)
        for total in (1000, 2000):
            peer.sendall(b"x" * 1000)
            accepted.recv(1000, socket.MSG_WAITALL | socket.MSG_PEEK)
            self.assertEqual(bytesReceived(accepted.fileno()), (total, 1000))
            accepted.recv(1000, socket.MSG_WAITALL)
            self.assertEqual(bytesReceived(accepted.fileno()), (total, 0))
        number = accepted.fileno()
        accepted.close()
        self.assertIsNone(bytesReceived(number))

    def test_other(self) -> None:
        """Other sockets have no such count."""
        for each in socket.socketpair():
            self.addCleanup(each.close)
            self.assertIsNone(bytesReceived(each.fileno()))
