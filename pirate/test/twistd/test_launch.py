# -*- test-case-name: pirate.test.twistd.test_launch -*-
"""How the terminal learns of a server's start."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.twistd.launch import INTERRUPTED, Daemon, Foreground, Launcher, terminalOf


class LaunchCase(SynchronousTestCase):
    """A process that does not end: what it would do at its end is kept."""

    def setUp(self) -> None:
        self.ends: list[Any] = []
        self.codes: list[int] = []
        self.patch(atexit, "register", lambda *call: self.ends.append(call))
        self.patch(os, "_exit", self.codes.append)

    def end(self) -> None:
        """Do what is done when the process ends."""
        for call, *arguments in self.ends:
            call(*arguments)


class ForegroundTests(LaunchCase):
    """A process that keeps its terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.errors = io.StringIO()
        self.patch(sys, "__stderr__", self.errors)

    def test_failed(self) -> None:
        """A server that could not start is one line at the very end, and status 1."""
        Foreground().failed("pirate: no")
        self.assertEqual(self.errors.getvalue(), "")
        self.end()
        self.assertEqual((self.errors.getvalue(), self.codes), ("pirate: no\n", [1]))

    def test_refused(self) -> None:
        """What Python writes about a fatal error goes to the log; so the terminal is told, unless that is the same."""
        Foreground(True).refused("pirate: no")
        self.assertEqual(self.ends, [])
        Foreground(False).refused("pirate: no")
        self.end()
        self.assertEqual((self.errors.getvalue(), self.codes), ("pirate: no\n", [1]))

    def test_log(self) -> None:
        """Whether the log goes to the terminal is told by the options of twistd and of twist."""
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
            self.assertEqual(terminalOf(given, 1).showsLog, shows, given)


class LauncherTests(LaunchCase):
    """A launcher and a daemon, joined by a pipe."""

    def setUp(self) -> None:
        super().setUp()
        readEnd, self.pipe = os.pipe()
        self.addCleanup(os.close, readEnd)
        self.launcher = Launcher(readEnd, 0)
        self.daemon = Daemon(self.pipe)
        self.killed: list[tuple[int, int]] = []
        self.patch(os, "kill", lambda pid, number: self.killed.append((pid, number)))

    def close(self) -> None:
        """End the daemon, and all else that has the pipe open."""
        os.close(self.pipe)

    def test_ready(self) -> None:
        """It ends well, without a word, when the server is ready."""
        self.daemon.starting()
        self.daemon.ready()
        self.assertEqual(self.launcher.wait(), (0, ""))
        self.assertEqual(self.launcher.pid, os.getpid())

    def test_failed(self) -> None:
        """It tells why the server could not start, in full, and instead of what twistd writes about it."""
        line = "pirate: cannot load 'mod.fn': " + "é" * 3000
        self.daemon.starting()
        os.write(self.pipe, b"An error has occurred: 'pirate: cann'\n")
        self.daemon.failed(line)
        self.end()
        self.assertEqual(self.launcher.wait(), (1, line))
        self.assertEqual(self.codes, [1])
        self.close()

    def test_refused(self) -> None:
        """So it does if the server does not start at all."""
        self.daemon.refused("pirate: frontend: Address already in use\0")
        self.end()
        self.assertEqual(self.launcher.wait(), (1, "pirate: frontend: Address already in use"))
        self.close()

    def test_twistd(self) -> None:
        """What twistd itself writes is shown if the daemon has told nothing."""
        os.write(self.pipe, b"Traceback:\nOSError\n")
        self.close()
        self.assertEqual(self.launcher.wait(), (1, "Traceback:\nOSError"))

    def test_killed(self) -> None:
        """A daemon that ends without a word has not started."""
        self.daemon.starting()
        self.close()
        status, line = self.launcher.wait()
        self.assertEqual(status, 1)
        self.assertIn("ended before it was ready", line)

    def test_bounded(self) -> None:
        """It does not wait for ever."""
        status, line = self.launcher.wait()
        self.assertEqual(status, 1)
        self.assertIn("not ready after 0 seconds", line)
        self.close()

    def interrupt(self, then: Callable[[], object]) -> None:
        """Press Ctrl-C while the launcher waits, then let something happen."""
        read = self.launcher._read
        whats: list[Callable[[], object]] = [then]

        def interrupted(seconds: float) -> bytes | None:
            if whats:
                whats.pop()()
                raise KeyboardInterrupt
            return read(1)

        self.patch(self.launcher, "_read", interrupted)

    def test_interrupted(self) -> None:
        """Ctrl-C stops the daemon, once it has told its process id, and waits for its end."""

        def go() -> None:
            self.daemon.starting()
            self.close()

        self.interrupt(go)
        self.assertEqual(self.launcher.wait(), (INTERRUPTED, ""))
        self.assertEqual(self.killed, [(os.getpid(), signal.SIGTERM)])

    def test_interruptedTwice(self) -> None:
        """A second one does not wait."""

        def interrupted(seconds: float) -> bytes:
            raise KeyboardInterrupt

        self.patch(self.launcher, "_read", interrupted)
        self.assertEqual(self.launcher.wait(), (INTERRUPTED, ""))
        self.close()

    def test_deafLauncher(self) -> None:
        """A launcher that is gone does the daemon no harm."""
        readEnd, writeEnd = os.pipe()
        os.close(readEnd)
        Daemon(writeEnd).ready()
