# -*- test-case-name: pirate.test.server.test_childprocess -*-
"""The process of a child: its start, its proof of identity, and its end."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

import pirate
from pirate.errors import START_ERROR_PREFIX
from pirate.pool.child import ChildExit, ChildKind
from pirate.server.childprocess import STREAMS_GRACE, Rejection, importPath
from pirate.server.logs import ServerLog
from pirate.server.output import OutputLog
from pirate.test.support.children import CONFIG, RecordingSupervisor, spawnChild
from pirate.testing import FakeProcess, FakeProgram, ProcessReactor
from pirate.wire.backend import Announcement, Status
from pirate.wire.words import DEQUEUE, WAITING
from pirate.wire.workerconfig import WorkerConfig


class ChildProcessCase(SynchronousTestCase):
    """A child that has been spawned on a fake reactor."""

    def setUp(self) -> None:
        self.events = self.enterContext(capturedLogs())
        self.anew()

    def anew(self) -> None:
        """Spawn a child on a new reactor."""
        self.reactor = ProcessReactor()
        self.supervisor = RecordingSupervisor()
        self.exits, self.ended = self.supervisor.exits, self.supervisor.ended
        self.spawn()

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Return the logged lines, each with its stream."""
        return [(event["line"], event["stream"]) for event in self.events if "line" in event]

    def spawn(self) -> None:
        """Spawn a child."""
        log = OutputLog(self.reactor, ServerLog(2))
        self.child, self.process = spawnChild(self.reactor, log, self.supervisor)


class EndTests(ChildProcessCase):
    """How and when the end of a child is reported."""

    def test_ready(self) -> None:
        """The end of a ready child is reported at once, even if a process of its own still holds its streams."""
        self.child.becameReady()
        self.process.exit(signal="KILL")
        self.assertEqual(self.exits, [ChildExit("signal SIGKILL", killed=True)])
        self.process.closeStreams()
        self.assertEqual(len(self.exits), 1)

    def test_notReady(self) -> None:
        """The end of a child that was never ready is reported when all that it wrote has been read."""
        self.process.exit(4)
        self.assertEqual(self.exits, [])
        self.process.writeOutput(f"{START_ERROR_PREFIX}there is no module 'x'\n".encode(), 2)
        self.process.closeStreams()
        self.assertEqual(self.exits, [ChildExit("exit code 4", message="there is no module 'x'", fatal=True)])

    def test_grandchild(self) -> None:
        """A process that inherited the streams can keep them open for a second and no longer."""
        self.process.exit(1)
        self.reactor.advance(STREAMS_GRACE - 0.01)
        self.assertEqual((self.exits, self.ended), ([], []))
        self.process.writeOutput(b"from the grandchild\n")
        self.reactor.advance(0.01)
        self.assertEqual(self.exits, [ChildExit("exit code 1")])
        self.assertEqual(self.lines, [("from the grandchild", "stdout")])
        self.assertEqual(self.ended, [self.child])

    def test_noTimerLeft(self) -> None:
        """After a normal end no timer is left."""
        self.process.end()
        self.assertEqual(self.ended, [self.child])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_lastWords(self) -> None:
        """The reason why a child could not start is taken out of its output; the rest is logged."""
        self.process.writeOutput(b"Traceback\n" + f"{START_ERROR_PREFIX}no good\n".encode(), 2)
        self.process.writeOutput(f"{START_ERROR_PREFIX}only on stderr\n".encode(), 1)
        self.process.end(3)
        self.assertEqual(self.exits, [ChildExit("exit code 3", message="no good")])
        self.assertEqual(self.lines, [("Traceback", "stderr"), (f"{START_ERROR_PREFIX}only on stderr", "stdout")])

    def test_clean(self) -> None:
        """Exit code 0 is a clean end."""
        self.process.end()
        self.assertEqual(self.exits, [ChildExit("exit code 0", clean=True)])

    def test_hopeless(self) -> None:
        """Only the exit code of an app that cannot be loaded is fatal."""
        for code, hopeless in ((1, False), (3, False), (4, True)):
            self.anew()
            self.process.end(code)
            self.assertEqual([exit.fatal for exit in self.exits], [hopeless])

    def test_signalNames(self) -> None:
        """A death by signal is described by the name of the signal."""
        for name in ("SEGV", "TERM", "ABRT"):
            self.anew()
            self.process.end(signal=name)
            self.assertEqual(str(self.exits[0]), f"signal SIG{name}")

    def test_signalTooLate(self) -> None:
        """A signal to a process that has ended does nothing."""
        self.process.exit()
        self.child.signal("TERM")
        self.assertEqual(self.process.signals, [])


class SpawnTests(ChildProcessCase):
    """How a child is started."""

    def test_commandLine(self) -> None:
        """The child is this Python, with pipes to all three standard streams, and its pid is known."""
        self.assertEqual(self.process.arguments, [sys.executable, "-P", "-m", "pirate.worker"])
        self.assertEqual(self.process.descriptors, {0: "w", 1: "r", 2: "r"})
        self.assertEqual(self.child.pid, self.process.pid)

    def test_terminal(self) -> None:
        """The child starts with the signals of a terminal blocked; in this process they are not."""
        blocked: list[set[Any]] = []
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [])

        def program(process: FakeProcess) -> FakeProgram:
            blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
            return FakeProgram(process)

        self.reactor.makeProgram = program
        self.spawn()
        self.assertEqual(blocked, [before | {signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}])
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, []), before)

    def test_environment(self) -> None:
        """The child gets this environment, with this package first on its import path."""
        self.patch(os, "environ", {"HOME": "/home/x", "PYTHONPATH": "/a:/b"})
        self.spawn()
        home = str(Path(pirate.__file__).resolve().parent.parent)
        self.assertEqual(self.process.environment, {"HOME": "/home/x", "PYTHONPATH": f"{home}:/a:/b"})

    def test_job(self) -> None:
        """The configuration is all that is written to the standard input."""
        config = WorkerConfig.decode(self.process.stdin)
        self.assertEqual((config.identity, len(config.token)), (self.child.identity.decode(), 32))
        self.assertEqual(config, CONFIG.forChild(self.child.identity, config.token, {}, dequeue=False))

    def test_refused(self) -> None:
        """The caller is told when the system refuses to start a process."""
        self.reactor.spawnError = OSError(11, "Resource temporarily unavailable")
        self.assertRaises(OSError, self.spawn)

    def test_importPath(self) -> None:
        """The import path begins with the working directory, and holds absolute paths, each once."""
        here = os.getcwd()
        self.patch(sys, "path", ["", ".", "/usr", here])
        self.assertEqual(importPath(), [here, "/usr"])


class AuthenticationTests(ChildProcessCase):
    """How a child proves that it is the one that was spawned."""

    def rejection(self, word: bytes = WAITING, token: str | None = None, address: str | None = None) -> Any:
        """Return why a message is not the announcement of the child."""
        info = Announcement(token=WorkerConfig.decode(self.process.stdin).token if token is None else token)
        return self.child.authenticate(Status(self.child.identity, word, info), address)

    def test_accepted(self) -> None:
        """The token is enough over TCP; on a UNIX socket the process has to be the child's as well."""
        self.assertIs(self.rejection(), None)
        self.assertIs(self.rejection(address="127.0.0.1"), None)
        self.assertIs(self.rejection(address=f"localhost:0:0:{self.process.pid}"), None)
        self.assertIs(self.rejection(address="localhost:0:0:7"), Rejection.WRONG_PROCESS)

    def test_wrongToken(self) -> None:
        """Another token, or none, is rejected before anything else is looked at."""
        for token in ("", "x" * 32, "\udc80"):
            self.assertIs(self.rejection(token=token), Rejection.WRONG_TOKEN)
        self.assertIs(self.child.authenticate(Status(self.child.identity, WAITING), None), Rejection.WRONG_TOKEN)

    def test_announcement(self) -> None:
        """The first message has to be the announcement for which the child was spawned."""
        self.assertIs(self.rejection(DEQUEUE), Rejection.NOT_READY)
        log = OutputLog(self.reactor, ServerLog(2))
        self.child, self.process = spawnChild(self.reactor, log, self.supervisor, ChildKind.DEQUEUE)
        self.assertIs(self.rejection(DEQUEUE), None)
        self.assertIs(self.rejection(WAITING), Rejection.NOT_READY)
