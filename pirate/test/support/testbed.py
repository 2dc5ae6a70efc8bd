"""Test cases with a server on the test bed: without processes and sockets, and with a clock."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from pirate.service import JobServer
from pirate.settings.limits import PoolLimits
from pirate.testing import FakeWorker, TestBed
from pirate.wire.frontend import header, parseHeader


class TestBedCase(SynchronousTestCase):
    """A test bed, servers on it, and what they log."""

    def setUp(self) -> None:
        self.bed = TestBed()
        self.reactor = self.bed.reactor
        self.events = self.enterContext(capturedLogs())

    def make(self, workers: int = 2, **given: Any) -> JobServer:
        """Make a server that keeps a number of workers."""
        given.setdefault("limits", PoolLimits(minServers=workers, maxServers=workers))
        return JobServer(self.reactor, transport=self.bed.makeTransport, **given)

    def serve(self, workers: int = 2, **given: Any) -> JobServer:
        """Return a running server, whose workers are ready unless the bed says otherwise."""
        server = self.make(workers, **given)
        server.startService()
        self.reactor.run()
        self.settle()
        return server

    def settle(self, seconds: float = 0, steps: int = 1) -> None:
        """Let everything happen that is due; with ``steps``, in several turns."""
        self.reactor.pump([seconds / steps] * steps)

    def log(self) -> list[str]:
        """Return the logged lines."""
        return [formatEvent(event) for event in self.events]

    def busy(self) -> FakeWorker:
        """Return the one worker that holds a request."""
        [worker] = [worker for worker in self.bed.livingWorkers() if worker.inFlight]
        return worker

    def pids(self) -> list[int]:
        """Return the process ids of the living workers."""
        return [worker.process.pid for worker in self.bed.livingWorkers()]


REQUEST_ID = bytes(range(16))


class ProtocolCase(TestBedCase):
    """A server with one worker that replies when it is told to."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def begin(self, workers: int = 1, **given: Any) -> None:
        """Start the server."""
        self.bed.autoReply = False
        self.server = self.serve(workers, frontend="*", backend="*", **given)
        self.frontend = self.bed.transports[-1].frontend
        self.backend = self.bed.transports[-1].backend

    def native(self, options: dict[str, Any], client: bytes = b"n", requestId: bytes = REQUEST_ID) -> None:
        """Send a request of a native client."""
        self.frontend.receive(client, header(requestId, options), b"", b"body")
        self.settle()

    def told(self, client: bytes = b"n", requestId: bytes = REQUEST_ID) -> dict[str, Any]:
        """Return the JSON of the last native reply to a client."""
        parsed = parseHeader(self.frontend.sentTo(client)[-1][0])
        assert parsed is not None
        self.assertEqual(parsed[0], requestId)
        return parsed[1]

    def dropped(self) -> dict[str, int]:
        """Return the counts of dropped messages by reason."""
        counts: dict[str, int] = self.server.stats()["dropped"]
        return counts
