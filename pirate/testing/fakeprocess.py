"""Child processes without a process, and a reactor on a clock that spawns them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from signal import Signals
from typing import Any, AnyStr

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from pirate.server.interfaces import IServerReactor


class FakeProgram:
    """
    The program that a fake process runs.  It ignores its standard input, and ends on TERM.

    :param process: the process.
    """

    def __init__(self, process: FakeProcess) -> None:
        self.process = process

    def inputReceived(self, data: bytes) -> None:
        """Read from the standard input."""

    def terminate(self) -> None:
        """End, because of a TERM."""
        self.process.end(signal="TERM")


class FakeProcess:
    """
    A child process that does what the test says.

    It implements those parts of ``IProcessTransport`` that a server uses.

    :ivar pid: its process id.
    :ivar program: the program that it runs.
    :ivar arguments: its command line.
    :ivar environment: its environment.
    :ivar descriptors: its ``childFDs``.
    :ivar stdin: all that was written to its standard input.
    :ivar signals: the names of the signals that it was sent.
    :ivar termDelay: the seconds from a TERM to the program's reaction; ``None``: it ignores TERM.
    """

    def __init__(
        self,
        reactor: ProcessReactor,
        protocol: Any,
        pid: int,
        arguments: Sequence[Any],
        environment: Mapping[Any, Any] | None,
        childFDs: Mapping[int, int | str] | None,
    ) -> None:
        self._reactor = reactor
        self._protocol = protocol
        self._reason: Failure | None = None
        self._openStreams = [0, 1, 2]
        self._isRead = True
        self._unread: list[tuple[int, bytes]] | None = None
        self._hasEnded = False
        self.pid = pid
        self.arguments, self.environment, self.descriptors = arguments, environment, childFDs
        self.stdin = b""
        self.signals: list[str] = []
        self.termDelay: float | None = 0.0
        self.program = reactor.makeProgram(self)

    @property
    def alive(self) -> bool:
        """Whether it has not exited."""
        return self._reason is None

    @property
    def paused(self) -> bool:
        """Whether its output is not read for now."""
        return self._unread is not None

    # --- what the test makes it do

    def writeOutput(self, data: bytes, stream: int = 1) -> None:
        """
        Write to its standard output or standard error.

        :param stream: 1 or 2.
        """
        if stream in self._openStreams and self._isRead:
            if self._unread is None:
                self._protocol.childDataReceived(stream, data)
            else:
                self._unread.append((stream, data))

    def exit(self, code: int = 0, *, signal: str = "") -> None:
        """
        Exit, but leave its streams open, as a process does whose own child has inherited them.

        :param code: the exit code.
        :param signal: the name of the signal that killed it, such as ``KILL``; empty for none.
        """
        if self.alive:
            number = Signals[f"SIG{signal}"].value if signal else None
            done = ProcessTerminated(None if number else code, number) if code or number else ProcessDone(0)
            self._reason = Failure(done)
            self._protocol.processExited(self._reason)
            self._checkEnd()

    def closeStreams(self) -> None:
        """Close its streams."""
        while self._openStreams:
            self._protocol.childConnectionLost(self._openStreams.pop(0))
        self._checkEnd()

    def end(self, code: int = 0, *, signal: str = "") -> None:
        """Exit and close its streams; the arguments are those of :meth:`exit`."""
        self.exit(code, signal=signal)
        self.closeStreams()

    def endSoon(self, code: int = 0, *, signal: str = "") -> None:
        """Call :meth:`end` in the reactor's next turn."""
        self._reactor.callLater(0, self.end, code, signal=signal)

    def _checkEnd(self) -> None:
        if not self._openStreams and self._reason is not None and not self._hasEnded:
            self._hasEnded = True
            self._protocol.processEnded(self._reason)

    # --- what its parent does

    def write(self, data: bytes) -> None:
        """Write to its standard input."""
        self.stdin += data
        self.program.inputReceived(data)

    def signalProcess(self, name: str) -> None:
        """
        Send it a signal.

        KILL ends it in the reactor's next turn; TERM reaches its program after ``termDelay``.
        """
        if not self.alive:
            raise ProcessExitedAlready
        self.signals.append(name)
        if name == "KILL":
            self.endSoon(signal="KILL")
        elif name == "TERM" and self.termDelay is not None:
            self._reactor.callLater(self.termDelay, self._terminate)

    def _terminate(self) -> None:
        if self.alive:
            self.program.terminate()

    def pauseProducing(self) -> None:
        """Stop reading its output."""
        self._unread = self._unread or []

    def resumeProducing(self) -> None:
        """Read its output again, beginning with what it has written meanwhile."""
        unread, self._unread = self._unread or [], None
        for stream, data in unread:
            self.writeOutput(data, stream)

    def loseConnection(self) -> None:
        """Close the parent's ends of its streams; later output is lost."""
        self._isRead = False
        self._reactor.callLater(0, self.closeStreams)


@implementer(IServerReactor)
class ProcessReactor(MemoryReactorClock):
    """
    A reactor on a clock whose child processes are :class:`FakeProcess` objects.

    :param makeProgram: makes the program of the next process.
    :ivar makeProgram: the same; assignable.
    :ivar processes: all processes that were spawned, oldest first.
    :ivar spawnError: the error that the next calls of ``spawnProcess`` raise; ``None`` for none.
    """

    def __init__(self, makeProgram: Callable[[FakeProcess], FakeProgram] = FakeProgram) -> None:
        super().__init__()
        # Twisted before 26 sets these.
        self.hasRun = self.hasStopped = self.hasCrashed = False
        self._pids = count(1001)
        self.makeProgram = makeProgram
        self.processes: list[FakeProcess] = []
        self.spawnError: OSError | None = None

    def run(self) -> None:
        """Make the calls that wait for the reactor to run; then return, unlike a real reactor."""
        self.running = self.hasRun = True
        waiting, self.whenRunningHooks = self.whenRunningHooks, []
        for call, arguments, keywords in waiting:
            call(*arguments, **keywords)

    def callWhenRunning(self, callable: Callable[..., object], *args: Any, **kw: Any) -> None:
        """Make a call in :meth:`run`, or at once if the reactor has run already."""
        # Twisted before 26 only notes the call.
        if self.hasRun:
            callable(*args, **kw)
        else:
            self.whenRunningHooks.append((callable, args, kw))

    def callFromThread(self, callable: Callable[..., object], *args: Any, **kw: Any) -> None:
        """Make a call in the next turn."""
        self.callLater(0, callable, *args, **kw)

    def spawnProcess(
        self,
        processProtocol: IProcessProtocol,
        executable: bytes | str,
        args: Sequence[bytes | str] = (),
        env: Mapping[AnyStr, AnyStr] | None = None,
        path: bytes | str | None = None,
        uid: int | None = None,
        gid: int | None = None,
        usePTY: bool | tuple[int, int, str] = False,
        childFDs: Mapping[int, int | str] | None = None,
    ) -> Any:
        """
        Make a :class:`FakeProcess`.

        :raise OSError: if ``spawnError`` is set.
        """
        if self.spawnError is not None:
            raise self.spawnError
        # It has only those parts of IProcessTransport that a server uses.
        process: Any = FakeProcess(self, processProtocol, next(self._pids), args, env, childFDs)
        self.processes.append(process)
        processProtocol.makeConnection(process)
        return process
