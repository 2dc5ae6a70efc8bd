# -*- test-case-name: pirate.test.testing.test_testbed -*-
"""The tests of the test bed: whole servers without sockets and child processes."""

from __future__ import annotations

from twisted.internet.protocol import ProcessProtocol
from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import BindError
from pirate.service import JobServer, ServerState
from pirate.testing import TestBed
from pirate.wire.words import CANCEL, HEARTBEAT


class TestBedTests(SynchronousTestCase):
    """Run a whole server without sockets and child processes."""

    def test_example(self) -> None:
        """The example of the docs: the reply to a request is its echo."""
        bed = TestBed()
        server = JobServer(bed.reactor, transport=bed.makeTransport)
        server.startService()
        bed.reactor.run()
        bed.reactor.advance(0)
        self.assertEqual(bed.request(b"client", b"question"), [[b"", b"question"]])
        stopped = server.stopService()
        bed.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertIs(server.state, ServerState.STOPPED)
        self.assertEqual(bed.livingWorkers(), [])

    def test_noAutomatism(self) -> None:
        """Workers without autoAnnounce and autoReply act only when the test calls them."""
        bed = TestBed()
        bed.autoAnnounce = bed.autoReply = False
        server = JobServer(bed.reactor, transport=bed.makeTransport)
        server.reconfigure(minServers=1, maxServers=1, minSpareServers=0, maxSpareServers=0)
        server.startService()
        bed.reactor.run()
        bed.reactor.advance(0)
        [worker] = bed.workers
        self.assertEqual(server.workers, {worker.process.pid: "starting"})
        worker.announce()
        bed.reactor.advance(0)
        self.assertEqual(server.workers, {worker.process.pid: "waiting"})
        self.assertEqual(bed.request(b"c", b"a", b"b"), [])
        self.assertEqual(worker.inFlight[0][1:], [b"", b"a", b"b"])
        worker.reply(b"other", b"frames")
        self.assertEqual(bed.request(b"d", b"x"), [])
        worker.fail(b"ValueError: no")
        bed.reactor.advance(0)
        self.assertEqual(bed.transports[0].frontend.sent, [[b"c", b"", b"other", b"frames"]])
        self.assertEqual(server.stats()["failed"], {"app-error": 1})

    def test_term(self) -> None:
        """A worker that gets TERM replies to its requests before it ends, as a real one does."""
        bed = TestBed()
        bed.autoReply = False
        server = JobServer(bed.reactor, transport=bed.makeTransport)
        server.startService()
        bed.reactor.run()
        bed.reactor.advance(0)
        bed.request(b"c", b"x")
        [busy] = [worker for worker in bed.workers if worker.inFlight]
        busy.process.signalProcess("TERM")
        bed.reactor.advance(0)
        self.assertTrue(busy.process.alive)
        busy.reply()
        bed.reactor.advance(0)
        self.assertFalse(busy.process.alive)
        self.assertEqual(bed.transports[0].frontend.sentTo(b"c"), [[b"", b"x"]])

    def test_heartbeat(self) -> None:
        """A worker answers a heartbeat after the requests that came before it, and notes what is cancelled."""
        bed = TestBed()
        bed.autoReply = False
        server = JobServer(bed.reactor, transport=bed.makeTransport)
        server.startService()
        bed.reactor.run()
        bed.reactor.advance(0)
        bed.request(b"c", b"x")
        backend = bed.transports[0].backend
        [busy] = [worker for worker in bed.workers if worker.inFlight]
        idle = next(worker for worker in bed.workers if not worker.inFlight)
        for worker in (busy, idle):
            backend.deliver([worker.identity, b"", HEARTBEAT])
        backend.deliver([busy.identity, b"", CANCEL, busy.inFlight[0][0]])
        self.assertEqual(list(backend.unread), [[idle.identity, b"", HEARTBEAT]])
        self.assertEqual(busy.cancelled, [busy.inFlight[0][0]])
        busy.reply()
        self.assertEqual(backend.unread[-1], [busy.identity, b"", HEARTBEAT])

    def test_tooEarly(self) -> None:
        """A worker that has no job yet cannot send; the error says why."""
        bed = TestBed()
        process = bed.reactor.spawnProcess(ProcessProtocol(), "worker")
        for call in (process.program.announce, lambda: process.program.send(HEARTBEAT)):
            self.assertIn("not been given its configuration", str(self.assertRaises(RuntimeError, call)))

    def test_addressInUse(self) -> None:
        """Two servers on one test bed cannot bind the same endpoint."""
        bed = TestBed()
        for port in (1, 2):
            JobServer(bed.reactor, frontend="*", backend=port, transport=bed.makeTransport).startService()
        third = JobServer(bed.reactor, frontend="*", backend=2, transport=bed.makeTransport)
        error = self.assertRaises(BindError, third.startService)
        self.assertEqual(str(error), "backend tcp://127.0.0.1:2: Address already in use")
