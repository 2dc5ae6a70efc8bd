"""A worker process, as its parent sees it: what it says on its standard streams, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from pirate.errors import ConfigurationError, ExitCode
from pirate.pool.child import ChildExit
from pirate.server.output import Output, OutputLog
from pirate.wire.job import Job
from pirate.worker.startup import FROM_TERMINAL

#: Seconds that the streams of an ended process stay open for those who inherited them.
STREAMS_GRACE = 1.0
#: Signals that somebody sends, the kernel that has no memory left among them; a fault of the process itself has others.
OUTSIDE = frozenset(
    (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
)


class WorkerProcess(ProcessProtocol):
    """
    One worker process.

    :param reactor: which also keeps time.
    :param output: the log of what it writes.
    :param exited: called once with how it ended: at once if it was ready, and otherwise when it has said all that it
        had to say, or a second later.
    """

    transport: Any

    def __init__(self, reactor: Any, output: OutputLog, exited: Callable[[ChildExit], None]) -> None:
        self._clock: IReactorTime = reactor
        self._output = Output(output)
        self._exited: Callable[[ChildExit], None] | None = exited
        self._ready = False
        self._closing: IDelayedCall | None = None
        self._reason: Failure | None = None
        self.pid = 0
        self.ended: Callable[[], None] = lambda: None

    def spawn(self, reactor: IReactorProcess) -> None:
        """
        Start the process, which waits for its job.

        :raise OSError: if the system refuses.
        """
        # -P: another checkout of pirate in the working directory is not this one.
        arguments = [sys.executable, "-P", "-m", "pirate.worker"]
        # It inherits what is blocked, and lets it in when it ignores it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FROM_TERMINAL)
        try:
            reactor.spawnProcess(self, sys.executable, arguments, env=_environment(), childFDs={0: "w", 1: "r", 2: "r"})
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid = self.transport.pid
        self._output.begin(self.pid, self.transport)

    def begin(self, job: Job) -> None:
        """Give the process its job."""
        self.transport.write(job.encode())

    def signal(self, name: str) -> None:
        """
        Send it a signal; one that has ended already is left alone.

        :param name: such as ``TERM``.
        """
        self._output.resume()
        known = name in ("HUP", "STOP", "INT", "KILL", "TERM")
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(name if known else getattr(signal, f"SIG{name}"))

    def becameReady(self) -> None:
        """It has announced itself: from now on its end is told at once."""
        self._ready = True

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Log what it writes, within limits."""
        self._output.received(childFD, data)

    def childConnectionLost(self, childFD: int) -> None:
        """The last line may have no end."""
        if childFD:
            self._output.closed(childFD)

    def processExited(self, reason: Failure) -> None:
        """The process is gone; its streams may be open still."""
        self._reason = reason
        self._output.exited()
        self._closing = self._clock.callLater(STREAMS_GRACE, self.closeStreams)
        if self._ready:
            self._tell()

    def processEnded(self, reason: Failure) -> None:
        """The process is gone, and all has been read that it wrote."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._output.close()
        self._tell()
        self.ended()

    def closeStreams(self) -> None:
        """Read no more of what is written to the standard streams."""
        self.transport.loseConnection()

    def _tell(self) -> None:
        exited, self._exited = self._exited, None
        if exited is not None and self._reason is not None:
            exited(howItEnded(self._reason, self._output.lastWords))


def howItEnded(reason: Failure, lastWords: str) -> ChildExit:
    """
    A process's end, from what Twisted says about it.

    :param lastWords: what the worker itself said, if it could not start.
    """
    if reason.check(ProcessDone):
        return ChildExit("exit code 0", clean=True)
    error: Any = reason.value
    if error.signal is not None:
        return ChildExit(f"signal {_signalName(error.signal)}", killed=error.signal in OUTSIDE)
    hopeless = error.exitCode == ExitCode.APP_NOT_LOADED
    return ChildExit(f"exit code {error.exitCode}", message=lastWords, fatal=hopeless)


def _signalName(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def residentMemory(pid: int) -> float:
    """The memory of a process that is resident, in MiB; 0 where that cannot be told."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def requireMemory(limit: float) -> None:
    """
    Make sure that a limit to the workers' memory can be held.

    :param limit: in MiB; 0: there is none.
    :raise ConfigurationError: if the system does not tell how much memory a process has.
    """
    if limit and not residentMemory(os.getpid()):
        raise ConfigurationError(
            f"max-memory is {limit:g}, but this system does not tell how much memory a worker has: it is read from "
            "/proc, which is not there; leave it out, and use --max-requests or --max-age"
        )


def isStopped(pid: int) -> bool:
    """Whether a process has been stopped by a signal, or by a debugger; false where that cannot be told."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False


def sweep() -> None:
    """Collect children whose end nobody was told of, because this process has no handler for SIGCHLD."""
    from twisted.internet.process import reapAllProcesses

    reapAllProcesses()


def importPath() -> list[str]:
    """Where this process finds modules, the working directory first, in a form that holds in any directory."""
    absolute = [os.path.abspath(each) if os.path.exists(each or ".") else each for each in ["", *sys.path]]
    return list(dict.fromkeys(absolute))


def _environment() -> dict[str, str]:
    """
    The environment in which a child finds this very package.

    The child takes over the import path that its job brings, so ``PYTHONPATH`` need only lead to its first import; the
    job also brings its value from before.
    """
    before = os.environ.get("PYTHONPATH")
    home = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": home if before is None else os.pathsep.join((home, before))}
