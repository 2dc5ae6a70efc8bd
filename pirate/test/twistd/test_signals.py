# -*- test-case-name: pirate.test.twistd.test_signals -*-
"""Tests of the signal handlers, with a server that records its commands."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import Fatal, ReloadError
from pirate.settings.limits import PoolLimits
from pirate.testing import ProcessReactor
from pirate.twistd.signals import EarlySignals, Signals, withoutTerminal

SIGNALS = ("TERM", "INT", "QUIT", "HUP", "TTIN", "TTOU")


class Recorder:
    """A stand-in for a JobServer that records its commands."""

    limits = PoolLimits(stopTimeout=7.0)

    def __init__(self) -> None:
        self.commands: list[object] = []
        self.stopped: Deferred[None] = Deferred()

    def stop(self, grace: float | None) -> Deferred[None]:
        """Record the command."""
        self.commands.append(("stop", grace))
        return self.stopped

    def reload(self) -> Deferred[None]:
        """Record the command, and fail."""
        self.commands.append("reload")
        return fail(ReloadError("a new worker could not start"))

    def __getattr__(self, name: str) -> Any:
        return lambda: self.commands.append(name)


class SignalsTests(SynchronousTestCase):
    """The handlers from the start of the reactor to the end of the service."""

    def setUp(self) -> None:
        self.before = {name: signal.getsignal(getattr(signal, f"SIG{name}")) for name in SIGNALS}
        self.addCleanup(self.restore)
        self.reactor = ProcessReactor()
        self.server = Recorder()
        self.terminal = True
        self.early = EarlySignals()
        server: Any = self.server
        self.service = Signals(self.reactor, server, self.early, lambda: not self.terminal)

    def restore(self) -> None:
        """Restore the handlers."""
        for name, handler in self.before.items():
            signal.signal(getattr(signal, f"SIG{name}"), handler)

    def current(self) -> dict[str, Any]:
        """Return the current handlers."""
        return {name: signal.getsignal(getattr(signal, f"SIG{name}")) for name in SIGNALS}

    def start(self) -> None:
        """Start the service on a running reactor."""
        self.service.startService()
        self.reactor.run()

    def send(self, *names: str) -> list[object]:
        """
        Send signals to this process.

        :return: all commands so far.
        """
        for name in names:
            number = getattr(signal, f"SIG{name}")
            self.assertIsNot(signal.getsignal(number), self.before[name])
            signal.raise_signal(number)
            self.reactor.advance(0)
        return self.server.commands

    def test_installed(self) -> None:
        """The handlers are installed when the reactor runs, not before."""
        self.service.startService()
        self.assertEqual(self.current(), self.before)
        self.reactor.run()
        self.assertEqual([name for name in SIGNALS if self.current()[name] is self.before[name]], [])

    def test_restored(self) -> None:
        """The previous handlers are restored when the service stops."""
        self.start()
        self.service.stopService()
        self.assertEqual(self.current(), self.before)

    def test_inReactor(self) -> None:
        """A handler only schedules the command: it may interrupt any code."""
        self.start()
        signal.raise_signal(signal.SIGTTIN)
        self.assertEqual(self.server.commands, [])
        self.reactor.advance(0)
        self.assertEqual(self.server.commands, ["grow"])

    def test_term(self) -> None:
        """TERM and INT stop the server within stop-timeout, and then the reactor."""
        for name in ("TERM", "INT"):
            self.setUp()
            self.start()
            self.assertEqual(self.send(name), [("stop", 7.0)])
            self.assertFalse(self.reactor.hasStopped)
            self.server.stopped.callback(None)
            self.assertTrue(self.reactor.hasStopped)
            self.service.stopService()

    def test_currentLimits(self) -> None:
        """The current value of stop-timeout counts."""
        self.start()
        self.server.limits = PoolLimits(stopTimeout=1.5)
        self.assertEqual(self.send("TERM"), [("stop", 1.5)])

    def test_quit(self) -> None:
        """QUIT stops the server without a time limit."""
        self.start()
        self.assertEqual(self.send("QUIT"), [("stop", None)])
        self.server.stopped.callback(None)
        self.assertTrue(self.reactor.hasStopped)

    def test_second(self) -> None:
        """A second signal of any of these kinds stops the server at once; the reactor stops once."""
        for first, second in (("TERM", "TERM"), ("QUIT", "INT"), ("INT", "QUIT")):
            self.setUp()
            self.start()
            self.assertEqual(self.send(first, second)[1:], ["abort"])
            self.server.stopped.callback(None)
            self.assertTrue(self.reactor.hasStopped)
            self.service.stopService()

    def test_hup(self) -> None:
        """HUP reloads; a failure, which the server has logged, causes no unhandled error."""
        self.start()
        self.assertEqual(self.send("HUP", "HUP"), ["reload", "reload"])
        self.assertFalse(self.reactor.hasStopped)

    def test_hangUp(self) -> None:
        """HUP after the loss of the terminal stops the server."""
        self.start()
        self.terminal = False
        self.assertEqual(self.send("HUP"), [("stop", 7.0)])

    def test_noTerminal(self) -> None:
        """HUP reloads a server that never had a terminal."""
        self.terminal = False
        self.start()
        self.assertEqual(self.send("HUP"), ["reload"])

    def test_nohup(self) -> None:
        """A server started with nohup outlives its terminal."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.start()
        self.assertEqual(self.send("HUP"), ["reload"])
        self.terminal = False
        self.assertEqual(self.send("HUP"), ["reload"])

    def test_early(self) -> None:
        """A signal that has arrived before is obeyed when the reactor runs."""
        for name, command in (("INT", ("stop", 7.0)), ("TERM", ("stop", 7.0)), ("HUP", "reload")):
            self.setUp()
            self.early.hold()
            signal.raise_signal(getattr(signal, f"SIG{name}"))
            self.start()
            self.assertEqual(self.server.commands, [command])
            self.service.stopService()
            self.assertEqual(self.current(), self.before)

    def test_workers(self) -> None:
        """TTIN adds a worker, TTOU removes one."""
        self.start()
        self.assertEqual(self.send("TTIN", "TTOU", "TTIN"), ["grow", "shrink", "grow"])


class EarlySignalsTests(SynchronousTestCase):
    """Signals that arrive while the sockets are being bound."""

    def setUp(self) -> None:
        for name in SIGNALS:
            number = getattr(signal, f"SIG{name}")
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.early = EarlySignals()
        self.early.hold()

    def test_held(self) -> None:
        """A stop signal waits until it is checked or released."""
        self.early.check()
        signal.raise_signal(signal.SIGINT)
        self.assertTrue(self.early.hasStopSignal())
        self.assertEqual(self.assertRaises(Fatal, self.early.check).code, 130)
        self.assertEqual(self.early.release(), signal.SIGINT)
        self.assertIs(self.early.release(), None)

    def test_hup(self) -> None:
        """HUP does not stop the start."""
        signal.raise_signal(signal.SIGHUP)
        self.early.check()
        self.assertFalse(self.early.hasStopSignal())

    def test_second(self) -> None:
        """The second signal has its usual effect."""
        signal.raise_signal(signal.SIGTERM)
        self.early.release()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.early.hold()
        signal.raise_signal(signal.SIGTERM)
        self.assertRaises(KeyboardInterrupt, signal.raise_signal, signal.SIGINT)

    def test_others(self) -> None:
        """A handler that other code has installed meanwhile stays."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.early.release()
        self.assertIs(signal.getsignal(signal.SIGTERM), signal.SIG_IGN)


class TerminalTests(SynchronousTestCase):
    """The check for a controlling terminal."""

    def test_errors(self) -> None:
        """Only the errors ENXIO and EIO mean that there is no terminal."""
        for number, without in ((errno.ENXIO, True), (errno.EIO, True), (errno.EMFILE, False), (errno.ENOENT, False)):

            def fail(path: str, flags: int, number: int = number) -> int:
                raise OSError(number, os.strerror(number))

            with mock.patch("os.open", fail):
                self.assertIs(withoutTerminal(), without)
