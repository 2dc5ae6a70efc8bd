# -*- test-case-name: pirate.test.testing.test_fakeprocess -*-
"""The tests of the fake processes, which tests of other projects rely on."""

from __future__ import annotations

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pirate.testing import FakeProcess, ProcessReactor


class RecordingProtocol(ProcessProtocol):
    """A process protocol that records its events."""

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
    """Behave as Twisted documents for a real child process."""

    def setUp(self) -> None:
        self.reactor = ProcessReactor()
        self.protocol = RecordingProtocol()
        self.process: FakeProcess = self.reactor.spawnProcess(
            self.protocol, "/bin/x", ["x", "y"], {"K": "v"}, childFDs={0: "w"}
        )
        self.protocol.events.clear()

    def test_spawned(self) -> None:
        """A process shows how it was spawned, and has its own pid."""
        self.assertEqual(self.process.arguments, ["x", "y"])
        self.assertEqual(self.process.environment, {"K": "v"})
        self.assertEqual(self.process.descriptors, {0: "w"})
        other = self.reactor.spawnProcess(RecordingProtocol(), "/bin/x", [])
        self.assertNotEqual(self.process.pid, other.pid)
        self.assertEqual(self.reactor.processes, [self.process, other])

    def test_stdin(self) -> None:
        """What is written to the standard input is kept, and the program gets each piece."""
        pieces: list[bytes] = []
        self.patch(self.process.program, "inputReceived", pieces.append)
        self.process.write(b"a")
        self.process.write(b"b")
        self.assertEqual((self.process.stdin, pieces), (b"ab", [b"a", b"b"]))

    def test_ends(self) -> None:
        """Exit code 0 is ProcessDone; the exit is reported first, the end when all streams are closed."""
        self.process.end()
        self.assertEqual(self.protocol.events, ["exited", 0, 1, 2, "ended"])
        self.assertIsNotNone(self.protocol.reason.check(ProcessDone))
        self.assertFalse(self.process.alive)

    def test_exitCode(self) -> None:
        """Any other exit code is ProcessTerminated with that code and no signal."""
        self.process.end(3)
        error = self.protocol.reason.value
        assert isinstance(error, ProcessTerminated)
        self.assertEqual((error.exitCode, error.signal), (3, None))

    def test_signal(self) -> None:
        """Death by a signal is ProcessTerminated with its number and no exit code."""
        self.process.end(signal="KILL")
        error = self.protocol.reason.value
        assert isinstance(error, ProcessTerminated)
        self.assertEqual((error.exitCode, error.signal), (None, 9))

    def test_grandchild(self) -> None:
        """Streams that a grandchild holds open delay the end, not the exit, and can still be read."""
        self.process.exit()
        self.process.writeOutput(b"late")
        self.assertEqual(self.protocol.events, ["exited", (1, b"late")])
        self.process.closeStreams()
        self.assertEqual(self.protocol.events[-1], "ended")

    def test_loseConnection(self) -> None:
        """A parent that closes the streams reads nothing more, and the end is reported in the next turn."""
        self.process.exit()
        self.process.loseConnection()
        self.process.writeOutput(b"lost")
        self.assertEqual(self.protocol.events, ["exited"])
        self.reactor.advance(0)
        self.assertEqual(self.protocol.events, ["exited", 0, 1, 2, "ended"])

    def test_streamsClosedFirst(self) -> None:
        """The end of a process that has closed its streams is reported when it exits, once."""
        self.process.closeStreams()
        self.process.end()
        self.process.end()
        self.assertEqual(self.protocol.events, [0, 1, 2, "exited", "ended"])

    def test_kill(self) -> None:
        """KILL ends every process in the next turn, even one that ignores TERM."""
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
        """TERM ends a process after its delay."""
        self.process.termDelay = 2
        self.process.signalProcess("TERM")
        self.reactor.advance(1.9)
        self.assertTrue(self.process.alive)
        self.reactor.advance(0.1)
        error = self.protocol.reason.value
        assert isinstance(error, ProcessTerminated)
        self.assertEqual(error.signal, 15)

    def test_signalTooLate(self) -> None:
        """A signal to a process that has ended raises ProcessExitedAlready."""
        self.process.end()
        self.assertRaises(ProcessExitedAlready, self.process.signalProcess, "TERM")

    def test_refusal(self) -> None:
        """A reactor with a spawnError spawns no process."""
        self.reactor.spawnError = OSError(11, "Resource temporarily unavailable")
        self.assertRaises(OSError, self.reactor.spawnProcess, RecordingProtocol(), "/bin/x", [])
        self.assertEqual(len(self.reactor.processes), 1)

    def test_run(self) -> None:
        """Calls that wait for the reactor to run are made once, and later ones at once."""
        calls: list[str] = []
        self.reactor.callWhenRunning(calls.append, "first")
        self.assertEqual(calls, [])
        self.reactor.run()
        self.reactor.run()
        self.reactor.callWhenRunning(calls.append, "second")
        self.assertEqual(calls, ["first", "second"])

    def test_callFromThread(self) -> None:
        """A call from a thread or a signal handler is made in the next turn."""
        calls: list[str] = []
        self.reactor.callFromThread(calls.append, "now")
        self.assertEqual(calls, [])
        self.reactor.advance(0)
        self.assertEqual(calls, ["now"])
