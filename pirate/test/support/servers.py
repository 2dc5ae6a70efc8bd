"""Test cases with servers: in processes of their own, and in this one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pirate.hooks import Hooks
from pirate.service import JobServer
from pirate.settings.limits import PoolLimits
from pirate.test.support import apps
from pirate.test.support.clients import Load, NativeClient, ask
from pirate.test.support.gate import PATIENCE, Gate
from pirate.test.support.processes import processesIn, remaining
from pirate.test.support.program import Program, script, shareBytecode

# Untyped, because the observer is a plain method.
_publisher: Any = globalLogPublisher

#: The module of the apps.
APPS = "pirate.test.support.apps"
#: The log lines that a server without trouble does not write.
TROUBLE = re.compile(r"#(warn|error|critical)\]|Traceback| stderr: |SIGKILL|Unhandled")
#: The hooks that a :class:`Witness` has.
MOMENTS = (
    *("serverStarting", "serverStarted", "serverStopping", "serverStopped"),
    *("spawning", "childStarted", "childExited", "idle"),
)


def executions(record: str) -> list[str]:
    """Return the lines that ``apps.note`` has written so far."""
    return Path(record).read_text().splitlines() if os.path.exists(record) else []


class ProgramCase(SynchronousTestCase):
    """
    A test case with servers in processes of their own, which must not leave any process behind.

    :ivar folder: their working directory, made for this test.
    :ivar record: the file in which their apps keep a record.
    :ivar broken: a file that keeps ``apps.Fragile`` from being made.
    """

    def setUp(self) -> None:
        """Make the folder."""
        self.folder = os.path.realpath(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.addCleanup(self._sweep)
        self.record = os.path.join(self.folder, "record")
        self.broken = os.path.join(self.folder, "broken")
        self._threads = ThreadPoolExecutor()
        self.addCleanup(self._threads.shutdown)
        self.gate = Gate()
        self.addCleanup(self.gate.close)

    def launch(self, *command: str) -> Program:
        """Start a process that is killed when the test ends, if it still runs then."""
        environment = {apps.RECORD: self.record, apps.BROKEN: self.broken, apps.DEQUEUE_GATE: self.gate.path.decode()}
        program = Program(command, self.folder, environment)
        self.addCleanup(program.kill)
        return program

    def twistd(self, app: str, *arguments: str, options: Iterable[str] = ("-n", "--pidfile=")) -> Program:
        """
        Start a server under twistd, on free ports.

        :param app: one of :func:`~pirate.test.support.apps`.
        :param arguments: the options of ``pirate``.
        :param options: the options of twistd.
        """
        ports = () if any(each.startswith("--frontend") for each in arguments) else ("--frontend=*", "--backend=*")
        return self.launch(*script("twistd"), *options, "pirate", f"--app={APPS}.{app}", *ports, *arguments)

    def load(self, endpoint: str, clients: int, total: int | None = None) -> Load:
        """Start a load that is cut off when the test ends."""
        load = Load(endpoint, clients, total)
        self.addCleanup(load.cut)
        return load

    def native(self, endpoint: str) -> NativeClient:
        """Return a native client that is closed when the test ends."""
        client = NativeClient(endpoint)
        self.addCleanup(client.close)
        return client

    def asking(self, endpoint: str, *body: bytes) -> Future[list[bytes]]:
        """Send a request in a thread; see :func:`~pirate.test.support.clients.ask`."""
        return self._threads.submit(ask, endpoint, *body)

    def assertStops(self, program: Program) -> None:
        """Check that a server stops on TERM with status 0, without trouble, and leaves no process behind."""
        self.assertEqual(program.stop(), 0)
        self.assertUntroubled(program)

    def assertUntroubled(self, program: Program) -> None:
        """Check that a server has ended without trouble, and has left no process behind."""
        self.assertEqual(program.err.all(), [])
        self.assertEqual([line for line in program.out.all() if TROUBLE.search(line)], [])
        self.assertEqual(processesIn(self.folder), [])

    def _sweep(self) -> None:
        left = remaining(processesIn(self.folder), 1.0)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(left, [], "processes were left behind")


class Witness(Hooks):
    """
    Hooks that report every call to a test, except the changes of status, which change the broker's path.

    :param seen: is called with a hook's name and its arguments.
    """

    def __init__(self, seen: Callable[..., None]) -> None:
        for name in MOMENTS:
            setattr(self, name, self._teller(seen, name))

    def _teller(self, seen: Callable[..., None], name: str) -> Callable[..., None]:
        return lambda server, *arguments: seen(name, *arguments)


class ServerCase(TestCase):
    """
    A test case with servers in this process, on its reactor.

    :ivar folder: a directory made for this test.
    :ivar record: the file in which apps keep a record.
    :ivar broken: a file that keeps ``apps.Fragile`` from being made.
    :ivar moments: the calls of hooks, each with its arguments, except ``idle``.
    :ivar times: the time of each call.
    :ivar lines: the lines that the servers have logged.
    """

    timeout = 2 * PATIENCE

    def setUp(self) -> None:
        """Collect the log, and set the environment of the workers."""
        shareBytecode()
        self.moments: list[tuple[Any, ...]] = []
        self.times: list[float] = []
        self.lines: list[str] = []
        self._conditions: list[tuple[Callable[[], object], Deferred[None]]] = []
        self._look: IDelayedCall | None = None
        _publisher.addObserver(self._logged)
        self.addCleanup(self._deafen)
        self.gate = Gate()
        self.addCleanup(self.gate.close)
        self.folder = os.path.realpath(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.record = os.path.join(self.folder, "record")
        self.broken = os.path.join(self.folder, "broken")
        for name, value in (
            (apps.RECORD, self.record),
            (apps.BROKEN, self.broken),
            (apps.DEQUEUE_GATE, self.gate.path.decode()),
        ):
            self.addCleanup(os.environ.pop, name)
            os.environ[name] = value

    def server(self, app: str | None = "perform", workers: int = 1, **given: Any) -> JobServer:
        """
        Return a server on free ports that is not started, and is stopped when the test ends.

        :param app: one of :func:`~pirate.test.support.apps`, or an import path; ``None``: the server is not told of
            any.
        :param given: limits, and other arguments of :class:`~pirate.service.JobServer`.
        """
        limits = {name: given.pop(name) for name in list(given) if name in PoolLimits.__dataclass_fields__}
        fixed = {"minServers": workers, "maxServers": workers, "stopTimeout": PATIENCE}
        given.setdefault("limits", PoolLimits(**{**fixed, **limits}))
        given.setdefault("hooks", Witness(self._happened))
        given = {"frontend": "*", "backend": "*", "logLevel": 3, **given}
        if app is not None:
            given["app"] = app if "." in app else f"{APPS}.{app}"
        server = JobServer(reactor, **given)
        self.addCleanup(self._end, server)
        return server

    async def serve(self, app: str | None = "perform", workers: int = 1, **given: Any) -> JobServer:
        """Start a server, and wait until its workers are ready; see :meth:`server`."""
        server = self.server(app, workers, **given)
        server.startService()
        await server.whenReady()
        return server

    def ask(self, server: JobServer, *body: bytes, **options: Any) -> Deferred[list[bytes]]:
        """Send a request as a REQ client; see :func:`~pirate.test.support.clients.ask`."""
        return deferToThread(ask, server.endpoints.frontend[0], *body, **options)

    def load(self, server: JobServer, clients: int, total: int | None = None) -> Load:
        """Start a load that is cut off when the test ends."""
        load = Load(server.endpoints.frontend[0], clients, total)
        self.addCleanup(load.cut)
        return load

    def assertUntroubled(self) -> None:
        """Check that the servers have had no trouble so far."""
        self.assertEqual([line for line in self.lines if TROUBLE.search(line)], [])

    async def assertFails(self, result: Deferred[Any], kind: type[Exception]) -> str:
        """Return the message of the error with which a Deferred must fail."""
        return str(await self.assertFailure(result, kind))

    def until(self, condition: Callable[[], object]) -> Deferred[None]:
        """Return a Deferred that fires when a condition holds, which is checked after each hook and each log line."""
        met: Deferred[None] = Deferred()
        self._conditions.append((condition, met))
        self._happened("idle")
        return met

    def logged(self, pattern: str) -> list[re.Match[str]]:
        """Return the log lines so far that match."""
        return [found for line in self.lines if (found := re.search(pattern, line))]

    async def _end(self, server: JobServer) -> None:
        self.gate.close()
        pids = list(server.workers)
        await server.stopService()
        self.assertEqual(remaining(pids, 0), [], "a stopped server has left workers behind")

    def _logged(self, event: dict[str, Any]) -> None:
        if event.get("log_namespace") == "pirate":
            level = event["log_level"].name
            self.lines.append(f"#{level}] {formatEvent(event)}")
            self._happened("idle")

    def _happened(self, name: str, *arguments: Any) -> None:
        if name != "idle":
            self.moments.append((name, *arguments))
            self.times.append(monotonic())
        if self._look is None and self._conditions:
            self._look = reactor.callLater(0, self._lookAgain)

    def _lookAgain(self) -> None:
        self._look = None
        conditions, self._conditions = self._conditions, []
        for condition, met in conditions:
            if condition():
                met.callback(None)
            else:
                self._conditions.append((condition, met))

    def _deafen(self) -> None:
        _publisher.removeObserver(self._logged)
        if self._look is not None:
            self._look.cancel()
