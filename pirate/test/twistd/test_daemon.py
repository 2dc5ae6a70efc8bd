# -*- test-case-name: pirate.test.twistd.test_daemon -*-
"""A server that has a process to itself, on a stage in place of that process's reactor and sockets."""

from __future__ import annotations

import atexit
import io
import os
import pwd
import signal
import sys
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
from pirate.twistd.daemon import STAYS, Change, ServerProcess
from pirate.twistd.launch import ITerminal

HOOKS = """
from pirate.hooks import Hooks

class Mine(Hooks):
    calls = []
    def serverStarting(self, server):
        self.calls.append(server.state.value)
"""

#: Hooks in whose course Ctrl-C is pressed: while they are loaded, or when the sockets are bound.
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
    """A stage that is the process's own."""

    def setUp(self) -> None:
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
        for number in numbers:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.bed = TestBed()
        self.titles: list[str] = []
        self.tidied: list[str] = []
        tidy = {name: partial(self.tidied.append, name) for name in ("collect", "freeze")}
        self.patch(pirate.twistd.daemon, "gc", SimpleNamespace(**tidy))
        self.patch(twisted.internet, "reactor", self.bed.reactor)
        self.patch(pirate.transport.sockets, "SocketTransport", self.bed.makeTransport)
        titles = mock.patch.dict(sys.modules, {"setproctitle": SimpleNamespace(setproctitle=self.titles.append)})
        titles.start()
        self.addCleanup(titles.stop)

    def make(
        self, change: Change = STAYS, terminal: ITerminal | None = None, waits: bool = True, **given: Any
    ) -> ServerProcess:
        """The service of a process."""
        given.setdefault("limits", PoolLimits(minServers=1, maxServers=1))
        return ServerProcess(Settings(**given), change, terminal, waits)

    def run_(self, process: ServerProcess) -> JobServer:
        """
        Start it as twistd does, and let the reactor run.

        :return: its server.
        """
        process.privilegedStartService()
        process.startService()
        self.bed.reactor.run()
        self.bed.reactor.advance(0)
        [server] = [service for service in process if isinstance(service, JobServer)]
        return server

    def fatal(self, process: ServerProcess) -> str:
        """The one line with which it refuses to start."""
        error = self.assertRaises(Fatal, process.privilegedStartService)
        line = error.code
        assert isinstance(line, str)
        self.assertTrue(line.startswith("pirate: "))
        self.assertNotIn("\n", line)
        self.assertEqual(self.bed.reactor.processes, [])
        return line


class StartTests(DaemonCase):
    """How a process starts."""

    def test_made(self) -> None:
        """Until it is started there are no sockets, because the process may have to fork before."""
        self.make()
        self.assertEqual(self.bed.transports, [])

    def test_twistd(self) -> None:
        """twistd binds with privileges, then starts: the sockets are bound once."""
        server = self.run_(self.make())
        self.assertIs(server.state, ServerState.RUNNING)
        self.assertEqual(len(self.bed.transports), 1)

    def test_twist(self) -> None:
        """twist knows no privileged start: the sockets are bound all the same."""
        process = self.make()
        process.startService()
        self.assertEqual(len(self.bed.transports[0].bound), 2)

    def test_garbage(self) -> None:
        """What is loaded when the server starts is never looked through for garbage again, which takes 10 ms a time."""
        self.run_(self.make())
        self.assertEqual(self.tidied, ["collect", "freeze"])

    def test_settings(self) -> None:
        """The settings of the command line reach the server."""
        server = self.run_(self.make(frontend=7000, limits=PoolLimits(minServers=3, maxServers=3)))
        self.assertEqual(server.endpoints.frontend, ("tcp://127.0.0.1:7000",))
        self.assertEqual(len(server.workers), 3)

    def test_bindFails(self) -> None:
        """A port in use is one line that names it, and no worker."""
        self.bed.refusals["tcp://127.0.0.1:6661"] = "Address already in use"
        self.assertEqual(self.fatal(self.make()), "pirate: backend tcp://127.0.0.1:6661: Address already in use")

    def test_title(self) -> None:
        """The process is called after its ports."""
        self.run_(self.make(frontend=[7000, 7001], backend="ipc:///tmp/b"))
        self.assertEqual(self.titles, ["zmq broker 7000-b"])

    def test_noTitle(self) -> None:
        """Without setproctitle it goes without a title."""
        with mock.patch.dict(sys.modules, {"setproctitle": None}):
            server = self.run_(self.make())
        self.assertIs(server.state, ServerState.RUNNING)


class Told:
    """A terminal that keeps what it is told."""

    def __init__(self, showsLog: bool = False) -> None:
        self.showsLog = showsLog
        self.words: list[str] = []

    def starting(self) -> None:
        """Keep it."""
        self.words.append("starting")

    def ready(self) -> None:
        """Keep it."""
        self.words.append("ready")

    def refused(self, line: str) -> None:
        """Keep it."""
        self.words.append(f"refused: {line}")

    def failed(self, line: str) -> None:
        """Keep it."""
        self.words.append(f"failed: {line}")


class TerminalTests(DaemonCase):
    """What the terminal is told."""

    def setUp(self) -> None:
        super().setUp()
        self.bed.announcing = False
        self.told = Told()
        self.lines: list[str] = []
        publisher: Any = globalLogPublisher
        publisher.addObserver(self.log)
        self.addCleanup(publisher.removeObserver, self.log)

    def log(self, event: dict[str, Any]) -> None:
        """Keep a line of the server's log."""
        if event.get("log_namespace") == "pirate":
            self.lines.append(formatEvent(event))

    def test_ready(self) -> None:
        """It is told that the server has started when the workers are ready, and no sooner."""
        self.run_(self.make(terminal=self.told))
        self.assertEqual(self.told.words, ["starting"])
        self.bed.workers[0].announce()
        self.bed.reactor.advance(0)
        self.assertEqual(self.told.words, ["starting", "ready"])

    def test_noWait(self) -> None:
        """Or when the sockets are bound, if that is what was asked for."""
        self.run_(self.make(terminal=self.told, waits=False))
        self.assertEqual(self.told.words, ["starting", "ready"])

    def test_refused(self) -> None:
        """It is told what is in the way of binding."""
        self.bed.refusals["tcp://127.0.0.1:6661"] = "Address already in use"
        line = self.fatal(self.make(terminal=self.told))
        self.assertEqual(self.told.words, ["starting", f"refused: {line}"])

    def test_failed(self) -> None:
        """It is told why no worker can start; so is the log, unless that is the same."""
        for showsLog in (False, True):
            self.bed = TestBed()
            self.bed.announcing = False
            self.patch(twisted.internet, "reactor", self.bed.reactor)
            self.patch(pirate.transport.sockets, "SocketTransport", self.bed.makeTransport)
            told = Told(showsLog)
            self.lines.clear()
            self.run_(self.make(terminal=told, limits=PoolLimits(minServers=4, maxServers=4)))
            self.bed.workers[0].cannotStart("cannot load 'mod.fn': no")
            self.bed.reactor.advance(0)
            self.assertEqual(told.words, ["starting", "failed: pirate: cannot load 'mod.fn': no"])
            causes = [] if showsLog else ["the workers cannot start: cannot load 'mod.fn': no"]
            self.assertEqual(self.lines[1:], causes)

    def test_stopped(self) -> None:
        """A server that is stopped before it is ready has not started, and has not failed."""
        self.run_(self.make(terminal=self.told))
        signal.raise_signal(signal.SIGTERM)
        self.bed.reactor.advance(0)
        self.assertEqual(self.told.words, ["starting"])


class EarlyTests(DaemonCase):
    """Signals that arrive before the reactor runs."""

    def hooks(self, moment: str) -> str:
        """Hooks in whose course Ctrl-C is pressed."""
        root = Path(self.mktemp()).absolute()
        root.mkdir(parents=True)
        (root / "ctrl_c.py").write_text(CTRL_C[moment])
        self.patch(sys, "path", [str(root), *sys.path])
        self.addCleanup(sys.modules.pop, "ctrl_c", None)
        return "ctrl_c.Mine"

    def test_loading(self) -> None:
        """While the hooks are loaded: nothing is bound, and the process ends as a shell expects."""
        process = self.make(hooks=self.hooks("loading"))
        self.assertEqual(self.assertRaises(Fatal, process.privilegedStartService).code, 130)
        self.assertEqual(self.bed.transports, [])

    def test_bound(self) -> None:
        """When the sockets are bound: no worker is started, and the server is stopped before the reactor is."""
        process = self.make(hooks=self.hooks("starting"))
        server = self.run_(process)
        self.assertEqual(self.bed.reactor.processes, [])
        self.assertIs(server.state, ServerState.STOPPED)
        self.assertTrue(self.bed.reactor.hasStopped)


class ChangeTests(DaemonCase):
    """A process that becomes somebody else once its sockets are bound."""

    def setUp(self) -> None:
        super().setUp()
        self.given: list[tuple[str, int, int]] = []
        self.patch(os, "chown", lambda path, uid, gid, follow_symlinks: self.given.append((path, uid, gid)))

    def test_given(self) -> None:
        """Its UNIX sockets are given to the new user and its own group; those on TCP are nobody's."""
        group = pwd.getpwuid(os.getuid()).pw_gid
        self.run_(self.make(Change(os.getuid()), frontend=["ipc:///tmp/f", 7000], backend="ipc:///tmp/b"))
        self.assertEqual(self.given, [("/tmp/f", os.getuid(), group), ("/tmp/b", os.getuid(), group)])

    def test_own(self) -> None:
        """The sockets are told of the new user, as whom our own workers come."""
        self.run_(self.make(Change(os.getuid())))
        self.assertEqual(self.bed.users, [os.getuid()])

    def test_group(self) -> None:
        """A group that is named goes before, and an unknown user has none."""
        self.assertEqual([Change(os.getuid(), 7).group(), Change(gid=7).group(), Change(1 << 30).group()], [7, 7, -1])

    def test_stays(self) -> None:
        """If nothing changes, nothing is given away."""
        self.run_(self.make(backend="ipc:///tmp/b"))
        self.assertEqual(self.given, [])

    def test_refused(self) -> None:
        """What cannot be given away is one line that names it, and nothing is left behind."""
        path = os.path.abspath(self.mktemp())
        Path(path).touch()

        def refuse(*ignored: object, **alike: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(os, "chown", refuse)
        line = self.fatal(self.make(Change(99), backend=f"ipc://{path}"))
        self.assertEqual(line, f"pirate: ipc://{path} cannot be given to user 99: Operation not permitted")
        self.assertFalse(os.path.exists(path))

    def test_chroot(self) -> None:
        """A root directory without this Python is refused before anything is bound."""
        self.patch(sys, "executable", "/no/such/python")
        line = self.fatal(self.make(Change(chroot="/srv/jail")))
        self.assertIn("chroot is /srv/jail, but must hold /no/such/python", line)
        self.assertEqual(self.bed.transports, [])


class SignalTests(DaemonCase):
    """A whole process and its signals."""

    def test_term(self) -> None:
        """TERM stops the server, then the reactor; the handlers are there only as long as the service."""
        before = signal.getsignal(signal.SIGTERM)
        process = self.make()
        server = self.run_(process)
        self.assertIsNot(signal.getsignal(signal.SIGTERM), before)
        signal.raise_signal(signal.SIGTERM)
        self.bed.reactor.advance(0)
        self.assertIs(server.state, ServerState.STOPPED)
        self.assertTrue(self.bed.reactor.hasStopped)
        process.stopService()
        self.assertIs(signal.getsignal(signal.SIGTERM), before)


class HooksTests(DaemonCase):
    """Hooks that are named on the command line."""

    def test_workingDirectory(self) -> None:
        """They are found in the working directory, and called; the import path is left as it was."""
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
        """The base class itself may be named, and does nothing."""
        self.run_(self.make(hooks=f"{Hooks.__module__}.Hooks"))

    def test_noHooks(self) -> None:
        """What is no Hooks is refused by name, before anything is bound."""
        for path in ("pirate.echo.echo", "pirate.hooks", "pirate.errors.LAST_WORDS", "pirate.broker.broker.Broker"):
            line = self.fatal(self.make(hooks=path))
            self.assertIn(f"hooks is {path}" if "cannot load" not in line else f"hooks: cannot load {path!r}", line)
            self.assertIn("pirate.hooks.Hooks", line)
        self.assertEqual(self.bed.transports, [])

    def test_missing(self) -> None:
        """What is not there is refused by name, too."""
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
        self.bed.announcing = False

    def test_status(self) -> None:
        """If the app cannot be loaded, the reactor stops, and the process ends with one line and status 1."""
        server = self.run_(self.make())
        self.bed.workers[0].cannotStart("cannot load 'mod.fn': there is no module 'mod'")
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
        """A server that is stopped before it is ready has not failed."""
        self.run_(self.make())
        signal.raise_signal(signal.SIGTERM)
        self.bed.reactor.advance(0)
        self.assertTrue(self.bed.reactor.hasStopped)
        self.assertEqual(self.exits, [])
