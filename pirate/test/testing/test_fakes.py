# -*- test-case-name: pirate.test.testing.test_fakes -*-
"""The public fakes: what tests of others rely on."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import BindError
from pirate.service import JobServer, ServerState
from pirate.settings.limits import PeerLimits
from pirate.testing import FakeProcess, MemoryTransport, ProcessReactor, TestBed
from pirate.transport.interfaces import ConnectionLimits


class Diary(ProcessProtocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.reason = Failure(ValueError("nothing has ended"))

    def connectionMade(self) -> None:
        self.events.append("made")

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.events.append((childFD, data))

    def childConnectionLost(self, childFD: int) -> None:
        self.events.append(childFD)

    def processExited(self, reason: Failure) -> None:
        self.reason = reason
        self.events.append("exited")

    def processEnded(self, reason: Failure) -> None:
        self.events.append("ended")


class FakeProcessTests(SynchronousTestCase):
    """A fake child keeps the promises that Twisted makes of a real one."""

    def setUp(self) -> None:
        self.reactor = ProcessReactor()
        self.diary = Diary()
        self.process: FakeProcess = self.reactor.spawnProcess(
            self.diary, "/bin/x", ["x", "y"], {"K": "v"}, childFDs={0: "w"}
        )
        self.diary.events.clear()

    def test_spawned(self) -> None:
        """A test can see how the process was started, and each has a pid of its own."""
        self.assertEqual(self.process.arguments, ["x", "y"])
        self.assertEqual(self.process.environment, {"K": "v"})
        self.assertEqual(self.process.descriptors, {0: "w"})
        other = self.reactor.spawnProcess(Diary(), "/bin/x", [])
        self.assertNotEqual(self.process.pid, other.pid)
        self.assertEqual(self.reactor.processes, [self.process, other])

    def test_stdin(self) -> None:
        """What is written to the standard input is kept, and each piece is told."""
        pieces: list[bytes] = []
        self.process.written = pieces.append
        self.process.write(b"a")
        self.process.write(b"b")
        self.assertEqual((self.process.stdin, pieces), (b"ab", [b"a", b"b"]))

    def test_ends(self) -> None:
        """An end with exit code 0 is ProcessDone; the exit comes first, the end when all streams are closed."""
        self.process.ends()
        self.assertEqual(self.diary.events, ["exited", 0, 1, 2, "ended"])
        self.assertIsNotNone(self.diary.reason.check(ProcessDone))
        self.assertFalse(self.process.alive)

    def test_exitCode(self) -> None:
        """Another exit code is ProcessTerminated with that code and no signal."""
        self.process.ends(3)
        error = self.diary.reason.value
        assert isinstance(error, ProcessTerminated)
        self.assertEqual((error.exitCode, error.signal), (3, None))

    def test_signal(self) -> None:
        """A death by signal is ProcessTerminated with its number and no code."""
        self.process.ends(signal="KILL")
        error = self.diary.reason.value
        assert isinstance(error, ProcessTerminated)
        self.assertEqual((error.exitCode, error.signal), (None, 9))

    def test_grandchild(self) -> None:
        """Streams that somebody else holds keep the end back, not the exit; and can still be read."""
        self.process.exits()
        self.process.says(b"late")
        self.assertEqual(self.diary.events, ["exited", (1, b"late")])
        self.process.closesStreams()
        self.assertEqual(self.diary.events[-1], "ended")

    def test_loseConnection(self) -> None:
        """A parent that closes the streams hears no more, and is told of the end in the next turn."""
        self.process.exits()
        self.process.loseConnection()
        self.process.says(b"lost")
        self.assertEqual(self.diary.events, ["exited"])
        self.reactor.advance(0)
        self.assertEqual(self.diary.events, ["exited", 0, 1, 2, "ended"])

    def test_streamsClosedFirst(self) -> None:
        """A process that has closed its streams ends when it exits, once."""
        self.process.closesStreams()
        self.process.ends()
        self.process.ends()
        self.assertEqual(self.diary.events, [0, 1, 2, "exited", "ended"])

    def test_kill(self) -> None:
        """KILL ends any process in the next turn, also one that ignores TERM."""
        self.process.termDelay = None
        self.process.signalProcess("TERM")
        self.reactor.advance(100)
        self.assertTrue(self.process.alive)
        self.process.signalProcess("KILL")
        self.assertTrue(self.process.alive)
        self.reactor.advance(0)
        self.assertFalse(self.process.alive)
        self.assertEqual(self.process.signals, ["TERM", "KILL"])

    def test_termDelay(self) -> None:
        """TERM ends a process after its delay, unless it has ended meanwhile."""
        self.process.termDelay = 2
        self.process.signalProcess("TERM")
        self.reactor.advance(1.9)
        self.assertTrue(self.process.alive)
        self.reactor.advance(0.1)
        error = self.diary.reason.value
        assert isinstance(error, ProcessTerminated)
        self.assertEqual(error.signal, 15)

    def test_signalTooLate(self) -> None:
        """A process that has ended cannot be sent a signal."""
        self.process.ends()
        self.assertRaises(ProcessExitedAlready, self.process.signalProcess, "TERM")

    def test_refusal(self) -> None:
        """A reactor can be told that the system refuses to start processes."""
        self.reactor.refusal = OSError(11, "Resource temporarily unavailable")
        self.assertRaises(OSError, self.reactor.spawnProcess, Diary(), "/bin/x", [])
        self.assertEqual(len(self.reactor.processes), 1)

    def test_run(self) -> None:
        """What waits for the reactor to run is done once when it does, and at once from then on."""
        calls: list[str] = []
        self.reactor.callWhenRunning(calls.append, "first")
        self.assertEqual(calls, [])
        self.reactor.run()
        self.reactor.run()
        self.reactor.callWhenRunning(calls.append, "second")
        self.assertEqual(calls, ["first", "second"])

    def test_callFromThread(self) -> None:
        """A call from a thread, or a signal handler, is made in the next turn."""
        calls: list[str] = []
        self.reactor.callFromThread(calls.append, "now")
        self.assertEqual(calls, [])
        self.reactor.advance(0)
        self.assertEqual(calls, ["now"])


class Recorder:
    """A receiver of a transport's events that keeps what workers send."""

    def __init__(self, read: list[list[bytes]]) -> None:
        self.workerMessageReceived = read.append
        self.turnStarted = self.turnEnded = lambda: None
        self.wantsRequests = lambda: True
        self.mayPeek = lambda: False
        self.secondsUntilPeek = lambda: None


class MemoryTransportTests(SynchronousTestCase):
    """What only the fake can be told; its likeness to the real transport is in test_transport."""

    def test_disconnect(self) -> None:
        """A peer that is told to go is out of reach; what it had sent is still read."""
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

    def test_refusals(self) -> None:
        """An endpoint that is to be refused raises BindError with its reason, and nothing is left bound."""
        transport = MemoryTransport(ProcessReactor(), {"tcp://127.0.0.1:2": "no luck"})
        error = self.assertRaises(BindError, transport.bind, ["tcp://127.0.0.1:1"], ["tcp://127.0.0.1:2"])
        self.assertEqual(str(error), "backend tcp://127.0.0.1:2: no luck")
        self.assertEqual(transport.bound, [])

    def test_closed(self) -> None:
        """To send after close() is a mistake that a test should see."""
        transport = MemoryTransport(ProcessReactor())
        transport.close()
        self.assertRaises(ValueError, transport.toClient, [b"c", b"", b"x"])


class TestBedTests(SynchronousTestCase):
    """A whole server without sockets and children."""

    def test_example(self) -> None:
        """The example in the module's docstring: a request is answered by an echo."""
        bed = TestBed()
        server = JobServer(bed.reactor, transport=bed.makeTransport)
        server.startService()
        bed.reactor.run()
        bed.reactor.advance(0)
        self.assertEqual(bed.ask(b"client", b"question"), [[b"", b"question"]])
        stopped = server.stopService()
        bed.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertIs(server.state, ServerState.STOPPED)
        self.assertEqual(bed.living(), [])

    def test_byHand(self) -> None:
        """Workers that are told not to do anything by themselves do it when they are told to."""
        bed = TestBed()
        bed.announcing = bed.answering = False
        server = JobServer(bed.reactor, transport=bed.makeTransport)
        server.setLimits(minServers=1, maxServers=1, minSpareServers=0, maxSpareServers=0)
        server.startService()
        bed.reactor.run()
        bed.reactor.advance(0)
        [worker] = bed.workers
        self.assertEqual(server.workers, {worker.process.pid: "starting"})
        worker.announce()
        bed.reactor.advance(0)
        self.assertEqual(server.workers, {worker.process.pid: "waiting"})
        self.assertEqual(bed.ask(b"c", b"a", b"b"), [])
        self.assertEqual(worker.held[0][1:], [b"", b"a", b"b"])
        worker.answer(b"other", b"frames")
        self.assertEqual(bed.ask(b"d", b"x"), [])
        worker.fail(b"ValueError: no")
        bed.reactor.advance(0)
        self.assertEqual(bed.transports[0].frontend.sent, [[b"c", b"", b"other", b"frames"]])
        self.assertEqual(server.stats()["failed"], {"app-error": 1})

    def test_term(self) -> None:
        """A fake worker answers what it holds before it obeys TERM, as a real one does."""
        bed = TestBed()
        bed.answering = False
        server = JobServer(bed.reactor, transport=bed.makeTransport)
        server.startService()
        bed.reactor.run()
        bed.reactor.advance(0)
        bed.ask(b"c", b"x")
        [busy] = [worker for worker in bed.workers if worker.held]
        busy.process.signalProcess("TERM")
        bed.reactor.advance(0)
        self.assertTrue(busy.process.alive)
        busy.answer()
        bed.reactor.advance(0)
        self.assertFalse(busy.process.alive)
        self.assertEqual(bed.transports[0].frontend.sentTo(b"c"), [[b"", b"x"]])

    def test_addressInUse(self) -> None:
        """Two servers on one stage cannot bind the same endpoint, as on a real machine."""
        bed = TestBed()
        for port in (1, 2):
            JobServer(bed.reactor, frontend="*", backend=port, transport=bed.makeTransport).startService()
        third = JobServer(bed.reactor, frontend="*", backend=2, transport=bed.makeTransport)
        error = self.assertRaises(BindError, third.startService)
        self.assertEqual(str(error), "backend tcp://127.0.0.1:2: Address already in use")
