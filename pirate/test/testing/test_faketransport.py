# -*- test-case-name: pirate.test.testing.test_faketransport -*-
"""The tests of the memory transport, apart from the suite that it shares with the real one."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import BindError
from pirate.settings.limits import PeerLimits
from pirate.testing import MemoryTransport, ProcessReactor
from pirate.transport.interfaces import ConnectionLimits


class Recorder:
    """A receiver of events that records the messages of workers."""

    def __init__(self, read: list[list[bytes]]) -> None:
        self.workerMessageReceived = read.append
        self.turnStarted = self.turnEnded = lambda: None
        self.wantsRequests = lambda: True
        self.mayPeek = lambda: False
        self.secondsUntilPeek = lambda: None


class MemoryTransportTests(SynchronousTestCase):
    """Do what only the fake can do; the suite of both transports is in ``test.support.transport``."""

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

    def test_closed(self) -> None:
        """Sending after close() raises, because it is a mistake that a test should show."""
        transport = MemoryTransport(ProcessReactor())
        transport.close()
        self.assertRaises(ValueError, transport.toClient, [b"c", b"", b"x"])
