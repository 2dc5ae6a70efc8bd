"""Cases of a server on the test bed: no process, no socket, and a clock."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from pirate.service import JobServer
from pirate.settings.limits import PoolLimits
from pirate.testing import FakeWorker, TestBed
from pirate.wire.frontend import header, parseHeader


class TestBedCase(SynchronousTestCase):
    """A stage, servers on it, and what they log."""

    def setUp(self) -> None:
        self.bed = TestBed()
        self.reactor = self.bed.reactor
        self.events = self.enterContext(capturedLogs())

    def make(self, workers: int = 2, **given: Any) -> JobServer:
        """A server that keeps so many workers."""
        given.setdefault("limits", PoolLimits(minServers=workers, maxServers=workers))
        return JobServer(self.reactor, transport=self.bed.makeTransport, **given)

    def serve(self, workers: int = 2, **given: Any) -> JobServer:
        """A server that runs, with workers that are ready unless they were told to be slow."""
        server = self.make(workers, **given)
        server.startService()
        self.reactor.run()
        self.settle()
        return server

    def settle(self, seconds: float = 0, steps: int = 1) -> None:
        """Let everything happen that is due; with ``steps``, not all of it in one turn."""
        self.reactor.pump([seconds / steps] * steps)

    def log(self) -> list[str]:
        """What was logged so far."""
        return [formatEvent(event) for event in self.events]

    def busy(self) -> FakeWorker:
        """The one worker that holds a request."""
        [worker] = [worker for worker in self.bed.living() if worker.held]
        return worker

    def pids(self) -> list[int]:
        """The process ids of the workers that are alive."""
        return [worker.process.pid for worker in self.bed.living()]


KEY = bytes(range(16))


class ProtocolCase(TestBedCase):
    """A server with one worker that answers when it is told to."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def begin(self, workers: int = 1, **given: Any) -> None:
        """Start it."""
        self.bed.answering = False
        self.server = self.serve(workers, frontend="*", backend="*", **given)
        self.frontend = self.bed.transports[-1].frontend
        self.backend = self.bed.transports[-1].backend

    def native(self, options: dict[str, Any], client: bytes = b"n", key: bytes = KEY) -> None:
        """A native client sends a request."""
        self.frontend.receive(client, header(key, options), b"", b"body")
        self.settle()

    def told(self, client: bytes = b"n", key: bytes = KEY) -> dict[str, Any]:
        """The JSON keys of the last native answer to a client."""
        parsed = parseHeader(self.frontend.sentTo(client)[-1][0])
        assert parsed is not None
        self.assertEqual(parsed[0], key)
        return parsed[1]

    def dropped(self) -> dict[str, int]:
        """The messages that were dropped, by reason."""
        counts: dict[str, int] = self.server.stats()["dropped"]
        return counts
