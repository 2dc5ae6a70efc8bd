"""A child of the server: its process, its routing id and token, what it writes, and how it ends."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from pirate.errors import ExitCode
from pirate.pool.child import Child, ChildExit, ChildKind, ChildStatus
from pirate.server.environment import ServerEnvironment
from pirate.server.interfaces import ChildKeys, IServerReactor, ProcessTransport
from pirate.server.output import OutputLog, WorkerOutput
from pirate.wire.backend import Status
from pirate.wire.words import DEQUEUE, WAITING
from pirate.wire.workerconfig import WorkerConfig
from pirate.worker.startup import FROM_TERMINAL

#: Seconds that the streams of an ended process stay open for the processes that inherited them.
STREAMS_GRACE = 1.0
#: The signals that count as sent from outside, the kernel's SIGKILL for lack of memory among them.
OUTSIDE_SIGNALS = frozenset(
    (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
)
#: The signals that Twisted knows by their short names.
_SHORT_NAMES = frozenset(("HUP", "STOP", "INT", "KILL", "TERM"))


class Rejection(StrEnum):
    """Why a worker's status message is dropped."""

    #: The routing id is not that of a child, and external workers are not admitted.
    UNKNOWN_WORKER = "unknown-worker"
    #: The routing id is that of a starting child, but the token is not.
    WRONG_TOKEN = "wrong-token"
    #: The token is that of a child, but the message comes from another process.
    WRONG_PROCESS = "wrong-process"
    #: The first message of a child is not the announcement that it has to be.
    NOT_READY = "not-ready"


class ChildEvents(Protocol):
    """The receiver of the ends of children: the supervisor."""

    def childExited(self, process: ChildProcess, how: ChildExit) -> None:
        """Note, once, that the process has ended."""

    def streamsClosed(self, process: ChildProcess) -> None:
        """Note that the process has ended and all that it wrote has been read."""


class ChildProcess(ProcessProtocol):
    """
    A child and its process.

    :param child: the pool's record of it.
    :param reactor: spawns the process.
    :param environment: makes its token.
    :param output: the log of what workers write.
    :param events: is told of the end: at once if the child was ready, otherwise when all that it wrote has been read,
        or :data:`STREAMS_GRACE` later.
    :ivar pid: the process id; 0 before the process is spawned.
    :ivar identity: the child's routing id on the backend.
    :ivar token: the secret by which it proves that it is the child.
    :ivar keys: its CURVE keys; empty without CURVE.
    :ivar reportedStatus: the status that was reported last.
    :ivar left: whether it has said that it is leaving.
    :ivar closedStatus: its status when its connection was closed, if that was before its process ended.
    :ivar spawnCall: the next attempt to spawn it, if the server had no file descriptors left.
    :ivar stopCall: the call that stops it, if its connection is closed and its process has not ended.
    :ivar settleCall: the call that settles its requests, if its last replies may still arrive.
    """

    # Twisted declares an interface that lacks pauseProducing.
    transport: ProcessTransport  # type: ignore[assignment]

    def __init__(
        self,
        child: Child,
        reactor: IServerReactor,
        environment: ServerEnvironment,
        output: OutputLog,
        events: ChildEvents,
    ) -> None:
        self.child = child
        self._reactor = reactor
        self._environment = environment
        self._output = WorkerOutput(output)
        self._events = events
        self.token = environment.secret(16).hex()
        self._ready = False
        self._reason: Failure | None = None
        self._exitReported = False
        self._closeCall: IDelayedCall | None = None
        self.pid = 0
        self.identity = b""
        self.keys: dict[str, str] = {}
        self.reportedStatus = ChildStatus.STARTING
        self.left = False
        self.closedStatus: ChildStatus | None = None
        self.spawnCall: IDelayedCall | None = None
        self.stopCall: IDelayedCall | None = None
        self.settleCall: IDelayedCall | None = None

    def spawn(self, config: WorkerConfig, keys: ChildKeys) -> None:
        """
        Start the process, and give it its configuration.

        :param config: the configuration of all workers.
        :param keys: makes the child's CURVE keys.
        :raise OSError: if the system refuses to start a process.
        """
        # -P: the working directory may hold another checkout of pirate.
        arguments = [sys.executable, "-P", "-m", "pirate.worker"]
        # The child inherits the blocked signals, and unblocks them when it ignores them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FROM_TERMINAL)
        try:
            self._reactor.spawnProcess(
                self, sys.executable, arguments, env=_environment(), childFDs={0: "w", 1: "r", 2: "r"}
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid = self.transport.pid
        self._output.begin(self.pid, self.transport)
        self.identity = f"child_{self.pid}_{self._environment.secret(8).hex()}".encode()
        self.keys = keys.issue(self.identity)
        dequeue = self.child.kind is ChildKind.DEQUEUE
        self.transport.write(config.forChild(self.identity, self.token, self.keys, dequeue=dequeue).encode())

    def authenticate(self, status: Status, address: str | None) -> Rejection | None:
        """
        Check that a status message is the announcement of this child.

        :param address: where it came from; from a UNIX socket, ``localhost:uid:gid:pid``.
        :return: why it is not; ``None`` if it is.
        """
        token = "" if status.info is None else status.info.token
        if not secrets.compare_digest(token.encode(errors="replace"), self.token.encode()):
            return Rejection.WRONG_TOKEN
        if address is not None and address.startswith("localhost:") and address.rpartition(":")[2] != str(self.pid):
            return Rejection.WRONG_PROCESS
        announcement = WAITING if self.child.kind is ChildKind.WORKER else DEQUEUE
        return None if status.word == announcement else Rejection.NOT_READY

    def becameReady(self) -> None:
        """Note that the child has announced itself; from now on its end is reported at once."""
        self._ready = True

    def signal(self, name: str) -> None:
        """
        Send a signal; do nothing if the process has ended.

        :param name: such as ``TERM``.
        """
        self._output.resume()
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(name if name in _SHORT_NAMES else getattr(signal, f"SIG{name}"))

    # --- what Twisted reports

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Log what the process writes, within limits."""
        self._output.received(childFD, data)

    def childConnectionLost(self, childFD: int) -> None:
        """Log the last line of a stream, which may have no line end."""
        if childFD:
            self._output.closed(childFD)

    def processExited(self, reason: Failure) -> None:
        """Note that the process has ended; its streams may still be open."""
        self._reason = reason
        self._output.exited()
        self._closeCall = self._reactor.callLater(STREAMS_GRACE, self._closeStreams)
        if self._ready:
            self._reportExit(reason)

    def processEnded(self, reason: Failure) -> None:
        """Note that the process has ended and its streams are closed."""
        cancel(self._closeCall)
        self._output.close()
        if self._reason is not None:
            self._reportExit(self._reason)
        self._events.streamsClosed(self)

    def _closeStreams(self) -> None:
        self.transport.loseConnection()

    def _reportExit(self, reason: Failure) -> None:
        if not self._exitReported:
            self._exitReported = True
            self._events.childExited(self, describeExit(reason, self._output.startError))


def cancel(call: IDelayedCall | None) -> None:
    """Cancel a delayed call, if there is one that has not been made."""
    if call is not None and call.active():
        call.cancel()


def describeExit(reason: Failure, startError: str) -> ChildExit:
    """
    Return how a process ended.

    :param reason: what Twisted reports.
    :param startError: why the worker could not start, if it said so.
    """
    if reason.check(ProcessDone):
        return ChildExit("exit code 0", clean=True)
    error: Any = reason.value
    if error.signal is not None:
        return ChildExit(f"signal {_signalName(error.signal)}", killed=error.signal in OUTSIDE_SIGNALS)
    fatal = error.exitCode == ExitCode.APP_NOT_LOADED
    return ChildExit(f"exit code {error.exitCode}", message=startError, fatal=fatal)


def _signalName(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def importPath() -> list[str]:
    """Return where this process finds modules, the working directory first, as absolute paths."""
    absolute = [os.path.abspath(each) if os.path.exists(each or ".") else each for each in ["", *sys.path]]
    return list(dict.fromkeys(absolute))


def _environment() -> dict[str, str]:
    """
    Return an environment in which a child imports this very package.

    The configuration that the child reads brings the import path and the value of ``PYTHONPATH`` that hold from then
    on, so ``PYTHONPATH`` only has to lead to the package here.
    """
    before = os.environ.get("PYTHONPATH")
    home = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": home if before is None else os.pathsep.join((home, before))}
