"""
Worker processes: the real worker, in a greenlet, so that its calls can block and take time.

A process acts only when the agenda resumes it.  Each call to the outside is a place where it can be killed, and each
wait a place where a signal can interrupt it.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from signal import Signals
from typing import Any, NoReturn

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.python.failure import Failure

from pirate.errors import START_ERROR_PREFIX, ExitCode
from pirate.testing.world.agenda import Actor, Agenda, Call
from pirate.testing.world.choices import Noise
from pirate.testing.world.eventloop import WorldEventLoop, noRunningLoop
from pirate.testing.world.journal import Journal
from pirate.testing.world.network import Network
from pirate.testing.world.sockets import Connecting, Descriptors
from pirate.wire.workerconfig import WorkerConfig
from pirate.worker.environment import WATCHDOG_TIME, RunDelay, WorkerEnvironment
from pirate.worker.worker import Worker

#: Seconds that a process takes until it connects; that its parent takes to notice its end, or its output; and that a
#: worker's own work on one message takes.
START, NOTICE, WORK = (0.02, 0.4), (0.0002, 0.01), (0.00001, 0.0002)
#: Bytes that a pipe holds before its writer blocks.
PIPE = 65536
#: Seconds that the last messages of a process have.
LINGER = 5.0


class Killed(GeneratorExit):
    """Raised in a process that is dead, to leave its code; coroutines that are closed may leave by it, too."""


class SimulatedProcess(Actor):
    """
    A worker process, and its parent's side of it: those parts of ``IProcessTransport`` that a server uses.

    It implements :class:`~pirate.testing.world.sockets.Host`.

    :param parent: the server's process.
    :param protocol: is told of the end and the output.
    :param crashAt: the call to the outside at which it dies by a signal; 0 for none.
    :param fate: what becomes of it while it starts: empty, ``slow``, ``hang``, ``crash`` or ``unloadable``.
    :ivar parent: the server's process.
    :ivar pid: the process id.
    :ivar calls: how many calls to the outside it has made.
    :ivar watched: what its watchdog calls.
    """

    def __init__(
        self,
        agenda: Agenda,
        network: Network,
        journal: Journal,
        noise: Noise,
        parent: Actor,
        protocol: Any,
        pid: int,
        *,
        crashAt: int = 0,
        fate: str = "",
    ) -> None:
        super().__init__(agenda, f"worker {pid}")
        self._network = network
        self._journal = journal
        self._noise = noise
        self.parent = parent
        self._protocol = protocol
        self._crashAt = crashAt
        self._fate = fate
        self._stdin = b""
        self._greenlet: Any = None
        self._resumeCall: Call | None = None
        self._handlers: dict[int, Any] = {}
        self._pending: deque[int] = deque()
        self._masked = False
        self._watchdogDue = False
        self._alarm: Call | None = None
        self._isRead = True
        self._unread: list[tuple[int, bytes]] | None = None
        self._openStreams = [0, 1, 2]
        self._loop: WorldEventLoop | None = None
        self._later: list[tuple[Any, ...]] = []
        self._exited = False
        self._reported = False
        self._descriptors = Descriptors(self, noise.seconds)
        self._socket: Connecting | None = None
        self.pid = pid
        self.calls = 0
        self.watched: Callable[[], None] = lambda: None

    # --- what its parent does

    def write(self, data: bytes) -> None:
        """Write to the standard input; a whole line is the configuration."""
        self._stdin += data
        if self._stdin.endswith(b"\n"):
            delay = self._noise.seconds(*START) * (20 if self._fate == "slow" else 1)
            self.callLater(delay, self._begin)

    def signalProcess(self, name: str | int) -> None:
        """
        Send it a signal.

        :raise ProcessExitedAlready: if the parent knows that it has ended.
        """
        if self._reported:
            raise ProcessExitedAlready
        number = Signals[f"SIG{name}"].value if isinstance(name, str) else int(name)
        self._journal.note(self.parent.name, "signals", self.pid, Signals(number).name)
        self.send(number)

    def loseConnection(self) -> None:
        """Close the parent's ends of its streams."""
        self._isRead = False
        self.parent.callLater(0, self._closeStreams)

    def pauseProducing(self) -> None:
        """Stop reading its output."""
        self._unread = self._unread or []

    def resumeProducing(self) -> None:
        """Read its output again."""
        unread, self._unread = self._unread or [], None
        for stream, data in unread:
            self._outputArrived(stream, data)

    # --- signals

    def send(self, number: int) -> None:
        """Send it a signal, whoever does."""
        if not self.alive:
            return
        if number == signal.SIGKILL:
            self.die(number)
        elif number == signal.SIGSTOP:
            self.stop()
        elif number == signal.SIGCONT:
            self.resume()
        elif self._handlers.get(number, signal.SIG_DFL) is signal.SIG_DFL:
            if not self.stopped:
                self.die(number)
            else:
                self._pending.append(number)
        elif self._handlers[number] is not signal.SIG_IGN:
            self._pending.append(number)
            self.wake()

    def resume(self) -> None:
        """Go on, beginning with the signals that have come meanwhile."""
        super().resume()
        pending, self._pending = self._pending, deque()
        for number in pending:
            self.send(number)
        self.wake()

    def _handleSignals(self) -> None:
        while self._pending and not self._masked:
            number = self._pending.popleft()
            self._handlers[number](number, None)

    def handle(self, number: int, handler: Any) -> None:
        """See :class:`~pirate.worker.environment.WorkerEnvironment`."""
        self.called()
        self._handlers[number] = handler

    def setAlarm(self, seconds: float) -> None:
        """See :class:`~pirate.worker.environment.WorkerEnvironment`."""
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = self.callLater(seconds, self.send, signal.SIGALRM) if seconds else None

    # --- what the code in it does

    def called(self) -> None:
        """See :class:`~pirate.testing.world.sockets.Host`."""
        if not self.alive:
            raise Killed
        self.calls += 1
        if self.calls == self._crashAt:
            self._journal.note(self.name, "crashes", self.calls)
            self.die(signal.SIGSEGV)
            raise Killed
        if self._pending:
            self._handleSignals()

    def expire(self) -> None:
        """Have the watchdog call as soon as the code in it waits for time to pass."""
        self._watchdogDue = True
        self.wake()

    def block(self, ready: Callable[[], bool]) -> None:
        """See :class:`~pirate.testing.world.sockets.Host`."""
        while not ready():
            self._switch()

    def sleep(self, seconds: float, masked: bool = False) -> None:
        """
        Let time pass.

        :param masked: whether signals wait until it has, as in code that is not Python's.
        """
        self.called()
        end = self.agenda.now + seconds
        call = self.callLater(seconds, self.wake)
        self._masked = masked
        try:
            while self.agenda.now < end:
                self._switch()
                if self._watchdogDue:
                    self._watchdogDue = False
                    self.watched()
        finally:
            self._masked = False
            if call.active():
                call.cancel()
        self._handleSignals()

    def note(self, what: str, *more: Any) -> None:
        """Note an event of this process."""
        self._journal.note(self.name, what, *more)

    def noteLater(self, what: str, *more: Any) -> None:
        """
        Note an event in a moment, together with others: asyncio cancels all tasks in an order that differs from
        process to process.
        """
        self._later.append((what, *more))

    def flushNotes(self) -> None:
        """Note these events now."""
        later, self._later = sorted(self._later), []
        for each in later:
            self.note(*each)

    def isReadable(self, number: int) -> bool:
        """Return whether the worker's socket, by its descriptor, has something new to report."""
        return self._socket is not None and self._socket.fileno() == number and self._socket.signalled

    def newLoop(self) -> WorldEventLoop:
        """Return asyncio's loop, on the world's clock."""
        self._loop = WorldEventLoop(self)
        return self._loop

    def writeOutput(self, data: bytes, stream: int = 1) -> None:
        """Write to the standard output or the standard error; wait while the pipe is full."""
        self.called()
        self.block(lambda: sum(len(each) for _, each in self._unread or ()) < PIPE)
        self.parent.callLater(self._noise.seconds(*NOTICE), self._outputArrived, stream, data)

    def wake(self) -> None:
        """Have the code go on that waits for something, to look whether it is there."""
        if self._resumeCall is None and self._greenlet is not None and self.alive:
            self._resumeCall = self.callLater(self._noise.seconds(*WORK), self._resume)

    def _switch(self) -> None:
        """Give way to the rest of the world."""
        assert self._greenlet is not None and self._greenlet.parent is not None
        self.flushNotes()
        with noRunningLoop():
            self._greenlet.parent.switch()
        if not self.alive:
            raise Killed
        self._handleSignals()

    def _resume(self) -> None:
        self._resumeCall = None
        if self._greenlet is not None and not self._greenlet.dead:
            self._greenlet.switch()

    # --- its life

    def _begin(self) -> None:
        self._greenlet = requireGreenlet()(self._main)
        self._greenlet.process = self
        self._greenlet.switch()

    def _main(self) -> None:
        try:
            code = self._run()
        except Killed:
            if self._loop is not None:
                self._loop.abandon()
            return
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException as error:
            self._journal.note(self.name, "unhandled", repr(error))
            code = 1
        if self.alive:
            self.flushNotes()
            self.end()
            self._journal.note(self.name, "exits", code)
            if self._socket is not None:
                self._socket.close()
            self._reportEnd(ProcessTerminated(code) if code else ProcessDone(0))

    def _run(self) -> int:
        config = WorkerConfig.decode(self._stdin)
        self._journal.note(self.name, "starts", config.identity)
        if self._fate == "hang":
            self.sleep(1e6)
        if self._fate == "crash":
            self.sleep(self._noise.seconds(*START))
            self.exitAtOnce(1)
        if self._fate == "unloadable":
            config.app = "pirate.testing.world.apps.nothing"
        socket = self._socket = self._descriptors.add(
            lambda number: Connecting(
                number, self._network, self, self, identity=config.identity.encode(), pid=self._pidOnSocket(config)
            )
        )
        socket.woken = self.wake
        socket.connect(config.backend)
        Worker(config, socket, WorldWorkerEnvironment(self)).run()
        self.handle(signal.SIGTERM, signal.SIG_IGN)
        end = self.agenda.now + LINGER
        while not socket.isSent() and self.agenda.now < end:
            self.sleep(0.001)
        return 0

    def _pidOnSocket(self, config: WorkerConfig) -> int:
        return self.pid if config.backend.startswith("ipc://") else 0

    def fail(self, code: int, reason: str) -> NoReturn:
        """See :class:`~pirate.worker.environment.WorkerEnvironment`."""
        self.writeOutput(f"{START_ERROR_PREFIX}{reason}\n".encode(), 2)
        self.exitAtOnce(code)

    def exitAtOnce(self, code: int) -> NoReturn:
        """End, as by ``os._exit``."""
        if self.alive:
            self.end()
            self._journal.note(self.name, "exits", code)
            self._cutSocket()
            self._reportEnd(ProcessTerminated(code) if code else ProcessDone(0))
        raise Killed

    def die(self, number: int) -> None:
        """Be killed by a signal."""
        if not self.alive:
            return
        self.end()
        self._journal.note(self.name, "dies", Signals(number).name)
        self._cutSocket()
        self._reportEnd(ProcessTerminated(None, number))
        self.agenda.after(0, self._unwind)

    def orphaned(self) -> None:
        """End, because the server has ended: the kernel sends KILL."""
        self.agenda.after(self._noise.seconds(*NOTICE), lambda: self.send(signal.SIGKILL))

    def _cutSocket(self) -> None:
        """Lose some of the last messages: the kernel has sent the others."""
        if self._socket is not None:
            link = self._socket.link
            waiting = 0 if link is None else len(link.up.transit)
            self._socket.kill(self._noise.random.randint(0, waiting))

    def _unwind(self) -> None:
        """Leave the code of a dead process, whose calls all raise now."""
        for _ in range(10):
            if self._greenlet is None or self._greenlet.dead or not self._greenlet:
                return
            self._greenlet.throw(Killed)

    def _reportEnd(self, reason: ProcessDone | ProcessTerminated) -> None:
        def exited() -> None:
            self._reported = True
            failure = Failure(reason)
            self._protocol.processExited(failure)
            self._exited = True
            self._checkStreams(failure)

        def closed() -> None:
            self._closeStreams()

        self._failure = Failure(reason)
        first = self._noise.seconds(*NOTICE)
        self.parent.callLater(first, exited)
        self.parent.callLater(first + self._noise.seconds(0.0, 0.005), closed)

    def _closeStreams(self) -> None:
        while self._openStreams:
            self._protocol.childConnectionLost(self._openStreams.pop(0))
        self._checkStreams(None)

    def _checkStreams(self, failure: Failure | None) -> None:
        if self._exited and not self._openStreams and self._protocol is not None:
            protocol, self._protocol = self._protocol, _Nobody()
            protocol.processEnded(self._failure)

    def _outputArrived(self, stream: int, data: bytes) -> None:
        if stream in self._openStreams and self._isRead:
            if self._unread is None:
                self._protocol.childDataReceived(stream, data)
            else:
                self._unread.append((stream, data))


class _Nobody:
    """A protocol that has been told of the end."""

    def childDataReceived(self, stream: int, data: bytes) -> None:
        pass

    def childConnectionLost(self, stream: int) -> None:
        pass


class NoDelay(RunDelay):
    """The delay of a thread that never waits for a processor."""

    def __init__(self) -> None:
        pass

    def mark(self) -> None:
        """Do nothing."""

    def elapsed(self) -> float:
        """Return 0."""
        return 0.0


class SimulatedWatchdog:
    """A watchdog that calls between two moments of a job, as another thread does between two steps of the code."""

    def __init__(self, process: SimulatedProcess) -> None:
        self._process = process
        self._call: Call | None = None

    def arm(self) -> None:
        """See :class:`~pirate.worker.environment.Watchdog`."""
        self.disarm()
        self._call = self._process.callLater(WATCHDOG_TIME, self._process.expire)

    def disarm(self) -> None:
        """See :class:`~pirate.worker.environment.Watchdog`."""
        if self._call is not None and self._call.active():
            self._call.cancel()


class WorldWorkerEnvironment(WorkerEnvironment):
    """The process of a worker, as its code sees it."""

    def __init__(self, process: SimulatedProcess) -> None:
        self._process = process
        self.clock = process.seconds
        self.setAlarm = process.setAlarm
        self.loopFactory = process.newLoop

    def runDelay(self) -> NoDelay:
        """Return a delay of 0: a processor is free whenever a process wants one."""
        return NoDelay()

    def watchdog(self, call: Callable[[], None]) -> SimulatedWatchdog:
        """See :class:`~pirate.worker.environment.WorkerEnvironment`."""
        self._process.watched = call
        return SimulatedWatchdog(self._process)

    def handle(self, number: int, handler: Any) -> None:
        """See :class:`~pirate.worker.environment.WorkerEnvironment`."""
        self._process.handle(number, handler)

    def fail(self, code: ExitCode, reason: str) -> NoReturn:
        """See :class:`~pirate.worker.environment.WorkerEnvironment`."""
        self._process.fail(code, reason)


def requireGreenlet() -> Any:
    """
    Return the class of greenlets.

    :raise ImportError: if the package is not installed; it says what to install.
    """
    try:
        from greenlet import greenlet
    except ImportError as error:
        raise ImportError("the simulation needs the package greenlet: pip install 'pirate[world]'") from error
    return greenlet


def current() -> SimulatedProcess:
    """Return the process whose code is running."""
    from greenlet import getcurrent

    process: SimulatedProcess = getcurrent().process
    return process
