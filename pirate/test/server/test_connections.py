# -*- test-case-name: pirate.test.server.test_connections -*-
"""Workers and their connections."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pirate.server.connections import LAST_MESSAGES, WorkerConnections


class Others:
    """A broker, a supervisor and a transport, as far as they are asked."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.number: int | None = 7
        self.busy = self.known = True
        self.own = False

    def knows(self, worker: bytes) -> bool:
        """Tell whether a worker is known."""
        return self.known

    def isIdle(self, worker: bytes) -> bool:
        """Tell whether a worker holds nothing."""
        return not self.busy

    def workerGone(self, worker: bytes, why: str) -> None:
        """Move what a worker holds."""
        self.told.append(("gone", worker))

    def disconnected(self, worker: bytes, why: str) -> bool:
        """Stop a child."""
        if self.own:
            self.told.append(("stopped", worker))
        return self.own

    def workerSender(self) -> Any:
        """Return a sender whose connection is the number."""
        return self

    def connection(self) -> int | None:
        """Return the number."""
        return self.number

    def keepWorker(self, connection: int, own: bool) -> None:
        """Keep a connection."""
        self.told.append(("kept", connection, own))

    def dropWorker(self, connection: int) -> None:
        """Close a connection."""
        self.told.append(("dropped", connection))


class ConnectionsTests(SynchronousTestCase):
    """What becomes of workers when connections are closed."""

    def setUp(self) -> None:
        """Join the parts."""
        self.clock = Clock()
        self.others = others = Others()
        self.connections = WorkerConnections(self.clock, others, others, others)  # type: ignore[arg-type]

    def closed(self) -> list[tuple[Any, ...]]:
        """
        Close the connection.

        :return: what is told then, when the last messages have had their time.
        """
        self.others.told.clear()
        self.connections.closed(7)
        self.assertEqual(self.others.told, [])
        self.clock.advance(LAST_MESSAGES)
        return self.others.told

    def test_external(self) -> None:
        """What an external worker holds is moved; one that holds nothing stays, and may come back."""
        self.connections.announced(b"w", own=False)
        self.assertEqual(self.others.told, [("kept", 7, False)])
        self.assertEqual(self.closed(), [("gone", b"w")])
        self.connections.announced(b"w", own=False)
        self.others.busy = False
        self.assertEqual(self.closed(), [])

    def test_child(self) -> None:
        """A child that cannot be reached is stopped, whatever it holds."""
        self.others.own, self.others.busy = True, False
        self.connections.announced(b"w", own=True)
        self.assertEqual(self.others.told, [("kept", 7, True)])
        self.assertEqual(self.closed(), [("stopped", b"w")])

    def test_backInTime(self) -> None:
        """One that has announced itself again meanwhile, on another connection, is not gone."""
        self.connections.announced(b"w", own=False)
        self.connections.closed(7)
        self.others.number = 8
        self.connections.announced(b"w", own=False)
        self.others.told.clear()
        self.clock.advance(LAST_MESSAGES)
        self.assertEqual(self.others.told, [])

    def test_leftAlready(self) -> None:
        """One that the broker does not know any more is nobody's concern, and there is no timer for it."""
        self.connections.announced(b"w", own=False)
        self.others.known = False
        self.connections.closed(7)
        self.connections.closed(99)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ended(self) -> None:
        """The connection of a worker whose process has ended is closed, once."""
        self.connections.announced(b"w", own=True)
        self.others.told.clear()
        self.connections.ended(b"w")
        self.connections.ended(b"w")
        self.assertEqual(self.others.told, [("dropped", 7)])

    def test_unknown(self) -> None:
        """A connection that is closed already, or not known, is not noted."""
        self.others.number = None
        self.connections.announced(b"w", own=True)
        self.connections.ended(b"w")
        self.assertEqual(self.others.told, [])

    def test_stop(self) -> None:
        """When the server stops, nobody is waited for."""
        self.connections.announced(b"w", own=False)
        self.connections.closed(7)
        self.connections.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
