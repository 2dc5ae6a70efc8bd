"""Child processes that do what a test says, and a reactor on a clock that makes them: part of :mod:`pirate.testing`."""

from __future__ import annotations

import signal as signals
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, AnyStr

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from pirate.server.interfaces import IServerReactor


class FakeProcess:
    """
    A child that does what a test says: those parts of ``IProcessTransport`` that a server needs.

    :ivar arguments: its command line.
    :ivar environment: its environment.
    :ivar descriptors: its ``childFDs``.
    :ivar stdin: what was written to its standard input; ``written`` is called with each piece.
    :ivar signals: the names of the signals that it was sent.
    :ivar termDelay: seconds from a TERM to what it does then, ``terminated``: to die of it; ``None``: it ignores TERM.
    """

    def __init__(self, reactor: Any, protocol: Any, pid: int, arguments: Any, environment: Any, childFDs: Any) -> None:
        self._reactor = reactor
        self._protocol = protocol
        self._reason: Failure | None = None
        self._streams = [0, 1, 2]
        self._reading = True
        self._unread: list[tuple[int, bytes]] | None = None
        self._ended = False
        self.pid = pid
        self.arguments, self.environment, self.descriptors = arguments, environment, childFDs
        self.stdin = b""
        self.written: Callable[[bytes], None] = lambda data: None
        self.signals: list[str] = []
        self.termDelay: float | None = 0.0
        self.terminated: Callable[[], None] = lambda: self.ends(signal="TERM")

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._reason is None

    def says(self, data: bytes, stream: int = 1) -> None:
        """It writes to its standard output or, with ``stream`` 2, to its standard error, unless nobody reads that."""
        if stream in self._streams and self._reading:
            if self._unread is None:
                self._protocol.childDataReceived(stream, data)
            else:
                self._unread.append((stream, data))

    def exits(self, code: int = 0, *, signal: str = "") -> None:
        """It is gone, by an exit code or a signal; its streams stay open, as if a child of its own held them."""
        if self.alive:
            number = signals.Signals[f"SIG{signal}"].value if signal else None
            done = ProcessTerminated(None if number else code, number) if code or number else ProcessDone(0)
            self._reason = Failure(done)
            self._protocol.processExited(self._reason)
            self._endIfOver()

    def closesStreams(self) -> None:
        """Nobody holds its streams any more."""
        while self._streams:
            self._protocol.childConnectionLost(self._streams.pop(0))
        self._endIfOver()

    def ends(self, code: int = 0, *, signal: str = "") -> None:
        """It is gone, and so are its streams."""
        self.exits(code, signal=signal)
        self.closesStreams()

    def endsSoon(self, code: int = 0, *, signal: str = "") -> None:
        """The same, in the reactor's next turn."""
        self._reactor.callLater(0, self.ends, code, signal=signal)

    def write(self, data: bytes) -> None:
        """Write to its standard input."""
        self.stdin += data
        self.written(data)

    def signalProcess(self, name: str) -> None:
        """Send it a signal: in the reactor's next turn it dies of KILL, and later does what it does with TERM."""
        if not self.alive:
            raise ProcessExitedAlready
        self.signals.append(name)
        if name == "KILL":
            self.endsSoon(signal="KILL")
        elif name == "TERM" and self.termDelay is not None:
            self._reactor.callLater(self.termDelay, lambda: self.alive and self.terminated())

    @property
    def paused(self) -> bool:
        """Whether what it writes is not read for now."""
        return self._unread is not None

    def pauseProducing(self) -> None:
        """Read nothing more of what it writes, until :meth:`resumeProducing`."""
        self._unread = self._unread or []

    def resumeProducing(self) -> None:
        """Read again, first what it has written meanwhile."""
        unread, self._unread = self._unread or [], None
        for stream, data in unread:
            self.says(data, stream)

    def loseConnection(self) -> None:
        """Close its streams; nothing of what it says from now on is read."""
        self._reading = False
        self._reactor.callLater(0, self.closesStreams)

    def _endIfOver(self) -> None:
        if not self._streams and self._reason is not None and not self._ended:
            self._ended = True
            self._protocol.processEnded(self._reason)


@implementer(IServerReactor)
class ProcessReactor(MemoryReactorClock):
    """
    A reactor on a clock, each of whose processes is a :class:`FakeProcess`.

    :ivar processes: all that were ever spawned, oldest first; ``spawned`` is called with each.
    :ivar refusal: raised instead of spawning, if there is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pids = count(1001)
        self.processes: list[FakeProcess] = []
        self.spawned: Callable[[FakeProcess], None] = lambda process: None
        self.refusal: OSError | None = None

    def run(self) -> None:
        """Begin to run, and do what was to be done then; unlike a real reactor's, this returns."""
        self.running = self.hasRun = True
        waiting, self.whenRunningHooks = self.whenRunningHooks, []
        for call, arguments, keywords in waiting:
            call(*arguments, **keywords)

    def callFromThread(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call something in the next turn."""
        self.callLater(0, call, *arguments)

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

        :raise OSError: if it is to be refused.
        """
        if self.refusal is not None:
            raise self.refusal
        # It has only those parts of IProcessTransport that a server needs.
        process: Any = FakeProcess(self, processProtocol, next(self._pids), args, env, childFDs)
        self.processes.append(process)
        processProtocol.makeConnection(process)
        self.spawned(process)
        return process
