# -*- test-case-name: pirate.test.testing.test_faketransport -*-
"""
The tests of the memory transport.

``pirate.test.integration.test_transport`` runs the same suite on ZeroMQ sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pirate.errors import BindError
from pirate.settings.limits import PeerLimits
from pirate.test.support.transport import Peer, TransportTests
from pirate.testing import MemoryRouter, MemoryTransport, ProcessReactor
from pirate.testing.faketransport import MAX_MESSAGES, connectionOf
from pirate.transport.interfaces import ConnectionLimits


class MemoryPeer:
    """A peer of a memory transport."""

    def __init__(self, router: MemoryRouter, name: bytes) -> None:
        self._router = router
        self._name = name
        self.received: list[list[bytes]] = []
        router.connect(name, self.received.append)

    def say(self, *frames: bytes) -> None:
        """Send a message."""
        self._router.receive(self._name, *frames)


class SuiteTests(TransportTests, TestCase):
    """Pass the suite of all transports."""

    def setUp(self) -> None:
        self.reactor = ProcessReactor()
        self.taken: dict[str, str] = {}
        super().setUp()
        self.taken[self.endpoints[0][0]] = "Address already in use"

    def makeTransport(self) -> MemoryTransport:
        return MemoryTransport(self.reactor, self.taken)

    def connect(self, side: str, name: bytes) -> Peer:
        return MemoryPeer(getattr(self.transport, side), name)

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        self.reactor.advance(0.01)
        self.assertTrue(condition(), "nothing more happens")
        return succeed(None)

    def fired(self, *deferreds: Deferred[None]) -> Deferred[Any]:
        self.reactor.advance(0)
        return succeed([self.successResultOf(each) for each in deferreds])


class Recorder:
    """
    A receiver of events that records the messages of workers.

    :ivar late: whether a deadline has passed.
    :ivar turns: the number of turns that were started.
    :ivar ended: the number of messages that had been read at the end of each turn.
    """

    late = False

    def __init__(self, read: list[list[bytes]]) -> None:
        self.workerMessageReceived = read.append
        self.turns = 0
        self.ended: list[int] = []
        self.turnEnded = lambda: self.ended.append(len(read))
        self.wantsRequests = lambda: True
        self.mayReadExtra = lambda: False
        self.secondsUntilExtraRead = lambda: 1.0

    def turnStarted(self) -> bool:
        """Count a turn."""
        self.turns += 1
        return self.late


class FakeTests(SynchronousTestCase):
    """Do what only the memory transport can do."""

    def test_disconnect(self) -> None:
        """A disconnected peer is sent nothing more; what it had sent is still read."""
        reactor = ProcessReactor()
        transport = MemoryTransport(reactor)
        read: list[list[bytes]] = []
        events: Any = Recorder(read)
        transport.start(events, PeerLimits(), ConnectionLimits(10, 10))
        transport.backend.receive(b"w", b"", b"waiting")
        transport.backend.disconnect(b"w")
        self.assertFalse(transport.toWorker([b"w", b"", b"retire"]))
        reactor.advance(0)
        self.assertEqual(read, [[b"w", b"", b"waiting"]])

    def test_bindErrors(self) -> None:
        """An endpoint with a bind error raises BindError with its reason, and nothing stays bound."""
        transport = MemoryTransport(ProcessReactor(), {"tcp://127.0.0.1:2": "no luck"})
        error = self.assertRaises(BindError, transport.bind, ["tcp://127.0.0.1:1"], ["tcp://127.0.0.1:2"])
        self.assertEqual(str(error), "backend tcp://127.0.0.1:2: no luck")
        self.assertEqual(transport.bound, [])

    def test_late(self) -> None:
        """When a deadline has passed, a turn reads all that workers have sent."""
        reactor = ProcessReactor()
        for late, count in ((False, MAX_MESSAGES), (True, 3 * MAX_MESSAGES)):
            transport = MemoryTransport(reactor)
            recorder = Recorder([])
            recorder.late = late
            events: Any = recorder
            transport.start(events, PeerLimits(), ConnectionLimits(10, 10))
            for _ in range(3 * MAX_MESSAGES):
                transport.backend.receive(b"w", b"", b"waiting")
            reactor.advance(0)
            self.assertEqual(recorder.ended[0], count)

    def test_drainFrontend(self) -> None:
        """Draining the frontend starts a turn, so that its messages have the right time."""
        transport = MemoryTransport(ProcessReactor())
        recorder = Recorder([])
        events: Any = recorder
        transport.start(events, PeerLimits(), ConnectionLimits(10, 10))
        transport.drainFrontend()
        self.assertEqual(recorder.turns, 1)

    def test_dropped(self) -> None:
        """The routing ids of dropped workers are recorded whole; each has a connection of its own."""
        transport = MemoryTransport(ProcessReactor())
        peers = [b"\0\0w", b"w", b"\0"]
        for peer in peers:
            transport.dropWorker(connectionOf(peer))
        self.assertEqual(transport.dropped, peers)

    def test_closed(self) -> None:
        """Sending after close() raises, because it is a mistake that a test should show."""
        transport = MemoryTransport(ProcessReactor())
        transport.close()
        self.assertRaises(ValueError, transport.toClient, [b"c", b"", b"x"])
