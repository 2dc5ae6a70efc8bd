# -*- test-case-name: pirate.test.twistd.test_terminal -*-
"""Tests of the terminal from which a server is started."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.twistd.terminal import INTERRUPTED, DaemonTerminal, ForegroundTerminal, Launcher, findTerminal


class ExitCase(SynchronousTestCase):
    """A test case that records what the process would do at its exit."""

    def setUp(self) -> None:
        self.exitCalls: list[Any] = []
        self.codes: list[int] = []
        self.patch(atexit, "register", lambda *call: self.exitCalls.append(call))
        self.patch(os, "_exit", self.codes.append)

    def end(self) -> None:
        """Run what has been registered for the exit of the process."""
        for call, *arguments in self.exitCalls:
            call(*arguments)


class ForegroundTests(ExitCase):
    """A process in the foreground."""

    def setUp(self) -> None:
        super().setUp()
        self.errors = io.StringIO()
        self.patch(sys, "__stderr__", self.errors)

    def test_failed(self) -> None:
        """A failed start is reported at the exit, with status 1."""
        ForegroundTerminal().failed("pirate: no")
        self.assertEqual(self.errors.getvalue(), "")
        self.end()
        self.assertEqual((self.errors.getvalue(), self.codes), ("pirate: no\n", [1]))

    def test_refused(self) -> None:
        """A refused start is reported unless the terminal shows the log, which has the message already."""
        ForegroundTerminal(True).refused("pirate: no")
        self.assertEqual(self.exitCalls, [])
        ForegroundTerminal(False).refused("pirate: no")
        self.end()
        self.assertEqual((self.errors.getvalue(), self.codes), ("pirate: no\n", [1]))

    def test_log(self) -> None:
        """The options of twistd and of twist tell whether the terminal shows the log."""
        for given, shows in (
            ({}, True),
            ({"nodaemon": True, "logfile": None, "syslog": 0}, True),
            ({"nodaemon": True, "logfile": "-"}, True),
            ({"nodaemon": True, "logfile": "file"}, False),
            ({"nodaemon": True, "syslog": 1}, False),
            ({"nodaemon": True, "logger": print}, False),
            ({"logFile": sys.stdout}, True),
            ({"logFile": io.StringIO()}, False),
        ):
            self.assertEqual(findTerminal(given, 1).showsLog, shows, given)


class LauncherTests(ExitCase):
    """A launcher and a daemon with a pipe between them."""

    def setUp(self) -> None:
        super().setUp()
        readEnd, self.pipe = os.pipe()
        self.addCleanup(os.close, readEnd)
        self.launcher = Launcher(readEnd, 0)
        self.daemon = DaemonTerminal(self.pipe)
        self.killed: list[tuple[int, int]] = []
        self.patch(os, "kill", lambda pid, number: self.killed.append((pid, number)))

    def close(self) -> None:
        """Close the daemon's end of the pipe."""
        os.close(self.pipe)

    def test_ready(self) -> None:
        """The launcher exits silently with status 0 when the server is ready."""
        self.daemon.starting()
        self.daemon.ready()
        self.assertEqual(self.launcher.wait(), (0, ""))
        self.assertEqual(self.launcher.pid, os.getpid())

    def test_failed(self) -> None:
        """The launcher shows the whole reason of a failure, in place of twistd's report."""
        line = "pirate: cannot load 'mod.fn': " + "é" * 3000
        self.daemon.starting()
        os.write(self.pipe, b"An error has occurred: 'pirate: cann'\n")
        self.daemon.failed(line)
        self.end()
        self.assertEqual(self.launcher.wait(), (1, line))
        self.assertEqual(self.codes, [1])
        self.close()

    def test_refused(self) -> None:
        """The launcher shows why a server refuses to start."""
        self.daemon.refused("pirate: frontend: Address already in use\0")
        self.end()
        self.assertEqual(self.launcher.wait(), (1, "pirate: frontend: Address already in use"))
        self.close()

    def test_twistd(self) -> None:
        """The launcher shows the output of twistd if the daemon has reported nothing."""
        os.write(self.pipe, b"Traceback:\nOSError\n")
        self.close()
        self.assertEqual(self.launcher.wait(), (1, "Traceback:\nOSError"))

    def test_killed(self) -> None:
        """A daemon that ends without a report has failed."""
        self.daemon.starting()
        self.close()
        status, line = self.launcher.wait()
        self.assertEqual(status, 1)
        self.assertIn("ended before it was ready", line)

    def test_timeout(self) -> None:
        """The launcher waits for a limited time."""
        status, line = self.launcher.wait()
        self.assertEqual(status, 1)
        self.assertIn("not ready after 0 seconds", line)
        self.close()

    def interrupt(self, then: Callable[[], object]) -> None:
        """Press Ctrl-C while the launcher waits, right after a call."""
        read = self.launcher._read
        calls: list[Callable[[], object]] = [then]

        def interrupted(seconds: float) -> bytes | None:
            if calls:
                calls.pop()()
                raise KeyboardInterrupt
            return read(1)

        self.patch(self.launcher, "_read", interrupted)

    def test_interrupted(self) -> None:
        """Ctrl-C stops the daemon as soon as its process id is known, and waits for its end."""

        def go() -> None:
            self.daemon.starting()
            self.close()

        self.interrupt(go)
        self.assertEqual(self.launcher.wait(), (INTERRUPTED, ""))
        self.assertEqual(self.killed, [(os.getpid(), signal.SIGTERM)])

    def test_interruptedTwice(self) -> None:
        """A second Ctrl-C ends the launcher at once."""

        def interrupted(seconds: float) -> bytes:
            raise KeyboardInterrupt

        self.patch(self.launcher, "_read", interrupted)
        self.assertEqual(self.launcher.wait(), (INTERRUPTED, ""))
        self.close()

    def test_terminalerGone(self) -> None:
        """A daemon whose launcher has ended continues."""
        readEnd, writeEnd = os.pipe()
        os.close(readEnd)
        DaemonTerminal(writeEnd).ready()
