# -*- test-case-name: pirate.test.twistd.test_daemon -*-
"""Tests of the service of ``twistd pirate``, on a test bed in place of the reactor and the sockets."""

from __future__ import annotations

import atexit
import io
import os
import pwd
import shutil
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import twisted.internet
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

import pirate.transport.sockets
import pirate.twistd.daemon
from pirate.errors import Fatal
from pirate.hooks import Hooks
from pirate.service import JobServer, ServerState
from pirate.settings.limits import PoolLimits
from pirate.settings.settings import Settings
from pirate.testing import TestBed
from pirate.twistd.daemon import UNCHANGED, IdentityChange, TwistdService
from pirate.twistd.terminal import Terminal

HOOKS = """
from pirate.hooks import Hooks

class Mine(Hooks):
    calls = []
    def serverStarting(self, server):
        self.calls.append(server.state.value)
"""

#: Hooks during which the user presses Ctrl-C: at import, or when the sockets are bound.
CTRL_C = {
    "loading": """
import signal
from pirate.hooks import Hooks
signal.raise_signal(signal.SIGINT)
class Mine(Hooks):
    pass
""",
    "starting": """
import signal
from pirate.hooks import Hooks
class Mine(Hooks):
    def serverStarting(self, server):
        signal.raise_signal(signal.SIGINT)
""",
}


class DaemonCase(SynchronousTestCase):
    """A test case whose test bed takes the place of the reactor."""

    def setUp(self) -> None:
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
        for number in numbers:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.bed = TestBed()
        self.titles: list[str] = []
        self.collected: list[str] = []
        tidy = {name: partial(self.collected.append, name) for name in ("collect", "freeze")}
        self.patch(pirate.twistd.daemon, "gc", SimpleNamespace(**tidy))
        self.patch(twisted.internet, "reactor", self.bed.reactor)
        self.patch(pirate.transport.sockets, "SocketTransport", self.bed.makeTransport)
        titles = mock.patch.dict(sys.modules, {"setproctitle": SimpleNamespace(setproctitle=self.titles.append)})
        titles.start()
        self.addCleanup(titles.stop)

    def make(
        self, change: IdentityChange = UNCHANGED, terminal: Terminal | None = None, waits: bool = True, **given: Any
    ) -> TwistdService:
        """Make the service."""
        given.setdefault("limits", PoolLimits(minServers=1, maxServers=1))
        return TwistdService(Settings(**given), change, terminal, waits)

    def run_(self, service: TwistdService) -> JobServer:
        """
        Start the service as twistd does, and run the reactor.

        :return: the server.
        """
        service.privilegedStartService()
        service.startService()
        self.bed.reactor.run()
        self.bed.reactor.advance(0)
        [server] = [each for each in service if isinstance(each, JobServer)]
        return server

    def fatal(self, service: TwistdService) -> str:
        """Return the one-line message with which the service refuses to start."""
        error = self.assertRaises(Fatal, service.privilegedStartService)
        line = error.code
        assert isinstance(line, str)
        self.assertTrue(line.startswith("pirate: "))
        self.assertNotIn("\n", line)
        self.assertEqual(self.bed.reactor.processes, [])
        return line


class StartTests(DaemonCase):
    """The start of the service."""

    def test_made(self) -> None:
        """No socket is bound before the start, because twistd may still fork."""
        self.make()
        self.assertEqual(self.bed.transports, [])

    def test_twistd(self) -> None:
        """twistd calls the privileged start and then the start: the sockets are bound once."""
        server = self.run_(self.make())
        self.assertIs(server.state, ServerState.RUNNING)
        self.assertEqual(len(self.bed.transports), 1)

    def test_twist(self) -> None:
        """twist calls only the start, which binds the sockets too."""
        service = self.make()
        service.startService()
        self.assertEqual(len(self.bed.transports[0].bound), 2)

    def test_garbage(self) -> None:
        """The modules that are loaded at the start are exempt from garbage collection."""
        self.run_(self.make())
        self.assertEqual(self.collected, ["collect", "freeze"])

    def test_settings(self) -> None:
        """The server gets the settings."""
        server = self.run_(self.make(frontend=7000, limits=PoolLimits(minServers=3, maxServers=3)))
        self.assertEqual(server.endpoints.frontend, ("tcp://127.0.0.1:7000",))
        self.assertEqual(len(server.workers), 3)

    def test_bindFails(self) -> None:
        """A port in use is reported in one line, and no worker is started."""
        self.bed.bindErrors["tcp://127.0.0.1:6661"] = "Address already in use"
        self.assertEqual(self.fatal(self.make()), "pirate: backend tcp://127.0.0.1:6661: Address already in use")

    def test_title(self) -> None:
        """The process title has the ports."""
        self.run_(self.make(frontend=[7000, 7001], backend="ipc:///tmp/b"))
        self.assertEqual(self.titles, ["zmq broker 7000-b"])

    def test_noTitle(self) -> None:
        """The server also runs without setproctitle."""
        with mock.patch.dict(sys.modules, {"setproctitle": None}):
            server = self.run_(self.make())
        self.assertIs(server.state, ServerState.RUNNING)


class RecordingTerminal:
    """A terminal that records the reports."""

    def __init__(self, showsLog: bool = False) -> None:
        self.showsLog = showsLog
        self.words: list[str] = []

    def starting(self) -> None:
        """Record the report."""
        self.words.append("starting")

    def ready(self) -> None:
        """Record the report."""
        self.words.append("ready")

    def refused(self, line: str) -> None:
        """Record the report."""
        self.words.append(f"refused: {line}")

    def failed(self, line: str) -> None:
        """Record the report."""
        self.words.append(f"failed: {line}")


class TerminalTests(DaemonCase):
    """Reports to the terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.bed.autoAnnounce = False
        self.terminal = RecordingTerminal()
        self.lines: list[str] = []
        publisher: Any = globalLogPublisher
        publisher.addObserver(self.log)
        self.addCleanup(publisher.removeObserver, self.log)

    def log(self, event: dict[str, Any]) -> None:
        """Record a line of the server's log."""
        if event.get("log_namespace") == "pirate":
            self.lines.append(formatEvent(event))

    def test_ready(self) -> None:
        """The server has started when the workers are ready, not before."""
        self.run_(self.make(terminal=self.terminal))
        self.assertEqual(self.terminal.words, ["starting"])
        self.bed.workers[0].announce()
        self.bed.reactor.advance(0)
        self.assertEqual(self.terminal.words, ["starting", "ready"])

    def test_noWait(self) -> None:
        """With ``--no-wait`` the server has started when the sockets are bound."""
        self.run_(self.make(terminal=self.terminal, waits=False))
        self.assertEqual(self.terminal.words, ["starting", "ready"])

    def test_refused(self) -> None:
        """A failure to bind is reported."""
        self.bed.bindErrors["tcp://127.0.0.1:6661"] = "Address already in use"
        line = self.fatal(self.make(terminal=self.terminal))
        self.assertEqual(self.terminal.words, ["starting", f"refused: {line}"])

    def test_failed(self) -> None:
        """A failure of the workers to start is reported, and logged unless the terminal shows the log."""
        for showsLog in (False, True):
            self.bed = TestBed()
            self.bed.autoAnnounce = False
            self.patch(twisted.internet, "reactor", self.bed.reactor)
            self.patch(pirate.transport.sockets, "SocketTransport", self.bed.makeTransport)
            terminal = RecordingTerminal(showsLog)
            self.lines.clear()
            self.run_(self.make(terminal=terminal, limits=PoolLimits(minServers=4, maxServers=4)))
            self.bed.workers[0].failToStart("cannot load 'mod.fn': no")
            self.bed.reactor.advance(0)
            self.assertEqual(terminal.words, ["starting", "failed: pirate: cannot load 'mod.fn': no"])
            causes = [] if showsLog else ["the workers cannot start: cannot load 'mod.fn': no"]
            self.assertEqual(self.lines[1:], causes)

    def test_stopped(self) -> None:
        """A server that stops before it is ready has neither started nor failed."""
        self.run_(self.make(terminal=self.terminal))
        signal.raise_signal(signal.SIGTERM)
        self.bed.reactor.advance(0)
        self.assertEqual(self.terminal.words, ["starting"])


class EarlyTests(DaemonCase):
    """Signals that arrive before the reactor runs."""

    def hooks(self, moment: str) -> str:
        """Write hooks during which the user presses Ctrl-C, and return their import path."""
        root = Path(self.mktemp()).absolute()
        root.mkdir(parents=True)
        (root / "ctrl_c.py").write_text(CTRL_C[moment])
        self.patch(sys, "path", [str(root), *sys.path])
        self.addCleanup(sys.modules.pop, "ctrl_c", None)
        return "ctrl_c.Mine"

    def test_loading(self) -> None:
        """Ctrl-C while the hooks are imported: no socket is bound, and the exit status is that of a shell."""
        service = self.make(hooks=self.hooks("loading"))
        self.assertEqual(self.assertRaises(Fatal, service.privilegedStartService).code, 130)
        self.assertEqual(self.bed.transports, [])

    def test_bound(self) -> None:
        """Ctrl-C when the sockets are bound: no worker is started, and the server stops before the reactor."""
        service = self.make(hooks=self.hooks("starting"))
        server = self.run_(service)
        self.assertEqual(self.bed.reactor.processes, [])
        self.assertIs(server.state, ServerState.STOPPED)
        self.assertTrue(self.bed.reactor.hasStopped)


class ChangeTests(DaemonCase):
    """A change of user and group after the sockets are bound."""

    def setUp(self) -> None:
        super().setUp()
        self.given: list[tuple[str, int, int]] = []
        self.patch(os, "chown", lambda path, uid, gid, follow_symlinks: self.given.append((path, uid, gid)))

    def test_owner(self) -> None:
        """The UNIX sockets get the new user and its primary group as their owners."""
        group = pwd.getpwuid(os.getuid()).pw_gid
        self.run_(self.make(IdentityChange(os.getuid()), frontend=["ipc:///tmp/f", 7000], backend="ipc:///tmp/b"))
        self.assertEqual(self.given, [("/tmp/f", os.getuid(), group), ("/tmp/b", os.getuid(), group)])

    def test_user(self) -> None:
        """The transport learns the new user, under which the children connect."""
        self.run_(self.make(IdentityChange(os.getuid())))
        self.assertEqual(self.bed.uids, [os.getuid()])

    def test_group(self) -> None:
        """A given group takes precedence, and an unknown user has no primary group."""
        self.assertEqual(
            [IdentityChange(os.getuid(), 7).group(), IdentityChange(gid=7).group(), IdentityChange(1 << 30).group()],
            [7, 7, -1],
        )

    def test_unchanged(self) -> None:
        """Without a change the sockets keep their owner."""
        self.run_(self.make(backend="ipc:///tmp/b"))
        self.assertEqual(self.given, [])

    def test_refused(self) -> None:
        """If the owner cannot change, one line names the socket, and no file stays behind."""
        # The path of a UNIX socket must be short.
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = f"{folder}/socket"
        Path(path).touch()

        def refuse(*ignored: object, **alike: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(os, "chown", refuse)
        line = self.fatal(self.make(IdentityChange(99), backend=f"ipc://{path}"))
        self.assertEqual(line, f"pirate: ipc://{path} cannot be given to user 99: Operation not permitted")
        self.assertFalse(os.path.exists(path))

    def test_chroot(self) -> None:
        """A root directory without this Python is refused before a socket is bound."""
        self.patch(sys, "executable", "/no/such/python")
        line = self.fatal(self.make(IdentityChange(chroot="/srv/jail")))
        self.assertIn("chroot is /srv/jail, but must contain /no/such/python", line)
        self.assertEqual(self.bed.transports, [])


class SignalTests(DaemonCase):
    """The service and its signals."""

    def test_term(self) -> None:
        """TERM stops the server and then the reactor; the handlers are restored when the service stops."""
        before = signal.getsignal(signal.SIGTERM)
        service = self.make()
        server = self.run_(service)
        self.assertIsNot(signal.getsignal(signal.SIGTERM), before)
        signal.raise_signal(signal.SIGTERM)
        self.bed.reactor.advance(0)
        self.assertIs(server.state, ServerState.STOPPED)
        self.assertTrue(self.bed.reactor.hasStopped)
        service.stopService()
        self.assertIs(signal.getsignal(signal.SIGTERM), before)


class HooksTests(DaemonCase):
    """The hooks that the settings name."""

    def test_workingDirectory(self) -> None:
        """Hooks are found in the working directory and called; ``sys.path`` is restored."""
        root = Path(self.mktemp())
        root.mkdir()
        (root / "own_hooks.py").write_text(HOOKS)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(root)
        path = list(sys.path)
        self.addCleanup(sys.modules.pop, "own_hooks", None)
        self.run_(self.make(hooks="own_hooks.Mine"))
        self.assertEqual(sys.modules["own_hooks"].Mine.calls, ["bound"])
        self.assertEqual(sys.path, path)

    def test_base(self) -> None:
        """The base class is accepted."""
        self.run_(self.make(hooks=f"{Hooks.__module__}.Hooks"))

    def test_notHooks(self) -> None:
        """Anything but a subclass of Hooks is refused before a socket is bound."""
        for path in (
            "pirate.echo.echo",
            "pirate.hooks",
            "pirate.errors.START_ERROR_PREFIX",
            "pirate.broker.broker.Broker",
        ):
            line = self.fatal(self.make(hooks=path))
            self.assertIn(f"hooks is {path}" if "cannot load" not in line else f"hooks: cannot load {path!r}", line)
            self.assertIn("pirate.hooks.Hooks", line)
        self.assertEqual(self.bed.transports, [])

    def test_missing(self) -> None:
        """A missing module or name is refused."""
        path = list(sys.path)
        self.assertIn("no_such_module", self.fatal(self.make(hooks="no_such_module.Hooks")))
        self.assertIn("'Nothing'", self.fatal(self.make(hooks="pirate.hooks.Nothing")))
        self.assertEqual(sys.path, path)


class FailureTests(DaemonCase):
    """Workers that cannot start."""

    def setUp(self) -> None:
        super().setUp()
        self.exits: list[tuple[Any, ...]] = []
        self.patch(atexit, "register", lambda *call: self.exits.append(call))
        self.bed.autoAnnounce = False

    def test_status(self) -> None:
        """If the app cannot be loaded, the reactor stops, and the process exits with one line and status 1."""
        server = self.run_(self.make())
        self.bed.workers[0].failToStart("cannot load 'mod.fn': there is no module 'mod'")
        self.bed.reactor.advance(0)
        self.assertIs(server.state, ServerState.STOPPED)
        self.assertTrue(self.bed.reactor.hasStopped)
        codes: list[int] = []
        errors = io.StringIO()
        self.patch(os, "_exit", codes.append)
        self.patch(sys, "__stderr__", errors)
        [(call, *arguments)] = self.exits
        call(*arguments)
        self.assertEqual(codes, [1])
        self.assertEqual(errors.getvalue(), "pirate: cannot load 'mod.fn': there is no module 'mod'\n")

    def test_stoppedBefore(self) -> None:
        """A server that stops before it is ready has not failed."""
        self.run_(self.make())
        signal.raise_signal(signal.SIGTERM)
        self.bed.reactor.advance(0)
        self.assertTrue(self.bed.reactor.hasStopped)
        self.assertEqual(self.exits, [])
