# -*- test-case-name: pirate.test.server.test_connections -*-
"""Workers and their connections."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pirate.server.connections import LAST_MESSAGES, WorkerConnections


class Surroundings:
    """A broker, a supervisor and a transport, as far as the table of connections uses them."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.number: int | None = 7
        self.known = True

    def knows(self, worker: bytes) -> bool:
        """See :class:`~pirate.broker.broker.Broker`."""
        return self.known

    def backendConnectionClosed(self, worker: bytes) -> None:
        """See :class:`~pirate.server.connections.ConnectionEvents`."""
        self.calls.append(("disconnected", worker))

    def workerSender(self) -> Surroundings:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        return self

    def connection(self) -> int | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return self.number

    def keepWorker(self, connection: int, own: bool) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self.calls.append(("kept", connection, own))

    def dropWorker(self, connection: int) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self.calls.append(("dropped", connection))


class ConnectionsTests(SynchronousTestCase):
    """The reports of workers whose connections are closed."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.around = around = Surroundings()
        self.connections = WorkerConnections(self.clock, around, around, around)  # type: ignore[arg-type]

    def closed(self) -> list[tuple[Any, ...]]:
        """
        Close the connection, and let the time for last messages pass.

        :return: the calls that follow.
        """
        self.around.calls.clear()
        self.connections.closed(7)
        self.assertEqual(self.around.calls, [])
        self.clock.advance(LAST_MESSAGES)
        return self.around.calls

    def test_closed(self) -> None:
        """The worker on a closed connection is reported when its last messages have had time to be read."""
        self.connections.announced(b"w", own=False)
        self.assertEqual(self.around.calls, [("kept", 7, False)])
        self.assertEqual(self.closed(), [("disconnected", b"w")])

    def test_own(self) -> None:
        """The connection of a child is marked as one."""
        self.connections.announced(b"w", own=True)
        self.assertEqual(self.around.calls, [("kept", 7, True)])

    def test_backInTime(self) -> None:
        """A worker that announces itself again in time, on another connection, is not reported."""
        self.connections.announced(b"w", own=False)
        self.connections.closed(7)
        self.around.number = 8
        self.connections.announced(b"w", own=False)
        self.around.calls.clear()
        self.clock.advance(LAST_MESSAGES)
        self.assertEqual(self.around.calls, [])

    def test_leftAlready(self) -> None:
        """A worker that the broker has removed already is not reported, and there is no timer for it."""
        self.connections.announced(b"w", own=False)
        self.around.known = False
        self.connections.closed(7)
        self.connections.closed(99)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_drop(self) -> None:
        """The connection of a worker whose process has ended is closed, once."""
        self.connections.announced(b"w", own=True)
        self.around.calls.clear()
        self.connections.drop(b"w")
        self.connections.drop(b"w")
        self.assertEqual(self.around.calls, [("dropped", 7)])

    def test_unknown(self) -> None:
        """A connection that is closed already, or not known, is ignored."""
        self.around.number = None
        self.connections.announced(b"w", own=True)
        self.connections.drop(b"w")
        self.assertEqual(self.around.calls, [])

    def test_stop(self) -> None:
        """A server that stops waits for no last messages."""
        self.connections.announced(b"w", own=False)
        self.connections.closed(7)
        self.connections.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
