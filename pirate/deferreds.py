"""Several requests at once on Twisted's reactor: each is a Deferred."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure

from pirate.app import App
from pirate.awaiting import TURN, Awaiting, leaveAtNextTerm
from pirate.hand import Job
from pirate.line import Line


class Deferreds(Awaiting):
    """
    Runs an app whose answers the reactor waits for: Deferreds, and what can wait for Deferreds.

    :param drained: called for a Deferred that fires when all that was posted has been sent; C{None}: it has been.
    """

    cancellation = CancelledError
    takesDeferreds = True

    def __init__(
        self,
        reactor: Any,
        softTimeout: float,
        post: Callable[[list[bytes]], None],
        drained: Callable[[], Deferred[None] | None] = lambda: None,
    ) -> None:
        super().__init__(softTimeout, post)
        self._reactor = reactor
        self._drained = drained

    def _start(self, job: Job) -> Deferred[None]:
        return Deferred.fromCoroutine(self.perform(job))

    def _later(self, seconds: float, call: Callable[[Job], None], job: Job) -> Any:
        return self._reactor.callLater(seconds, call, job)

    def _breathe(self) -> Awaitable[None]:
        return self._drained() or deferLater(self._reactor, 0, lambda: None)


class DeferredLine:
    """
    A worker's socket on a reactor.

    :param line: the socket.
    :param received: called with each message.
    """

    def __init__(self, reactor: Any, line: Line, received: Callable[[list[bytes]], None]) -> None:
        self._reactor = reactor
        self._line = line
        self._received = received
        self._call: Any = None
        self._waiting: list[Deferred[None]] = []
        reactor.addReader(self)
        self._lookSoon()

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._line.descriptor

    def logPrefix(self) -> str:
        """What the reactor calls this in its log."""
        return "backend"

    def connectionLost(self, reason: object) -> None:
        """The reactor reads no more."""

    def post(self, frames: list[bytes]) -> None:
        """Send a message, as soon as there is room."""
        self._line.post(frames)
        # Sending may have taken the sign that something has come.
        self._lookSoon()

    def drained(self) -> Deferred[None] | None:
        """What fires when all that was posted has been sent; C{None} if it has been."""
        if not self._line.full:
            return None
        self._waiting.append(Deferred(lambda waiter: self._waiting.remove(waiter)))
        return self._waiting[-1]

    def close(self) -> None:
        """Send what is left, and look no more."""
        self._reactor.removeReader(self)
        if self._call is not None:
            self._call.cancel()
        self._line.finish()

    def doRead(self) -> None:
        """Something has changed."""
        count = 0
        for count, frames in enumerate(self._line.receive(TURN), 1):  # noqa: B007
            self._received(frames)
        if self._line.flush():
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)
        if count == TURN:
            self._lookSoon()

    def _lookSoon(self) -> None:
        if self._call is None:
            self._call = self._reactor.callLater(0, self._lookAgain)

    def _lookAgain(self) -> None:
        self._call = None
        self.doRead()


def run(
    target: Any,
    socket: Any,
    ready: Callable[[App], None],
    refuse: Callable[[BaseException], NoReturn],
    softTimeout: float,
) -> None:
    """
    Serve with an app on Twisted's reactor, until the worker is to leave.

    :param target: the app, a callable or a class.
    :param socket: the worker's DEALER.
    :param ready: called with the app once it is ready: the broker is to be told.
    :param refuse: called with the error if it cannot be made ready: this process is to end.
    :param softTimeout: seconds after which a job is cancelled; 0: never.
    :raise SystemExit: if the app has raised it.
    """
    from twisted.internet import reactor

    _logErrors()
    loop: Any = reactor
    failed: list[BaseException] = []

    def begin() -> None:
        Deferred.fromCoroutine(_live(loop, target, Line(socket), ready, refuse, softTimeout)).addBoth(end)

    def end(result: object) -> None:
        if isinstance(result, Failure) and result.value is not None:
            failed.append(result.value)
        loop.stop()

    loop.callWhenRunning(begin)
    loop.run()
    if failed:
        raise failed[0]


def _logErrors() -> None:
    """What Twisted has to complain of, unhandled errors in Deferreds above all, goes to the standard error."""
    observer = FilteringLogObserver(
        textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)]
    )
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


async def _live(
    reactor: Any,
    target: Any,
    line: Line,
    ready: Callable[[App], None],
    refuse: Callable[[BaseException], NoReturn],
    softTimeout: float,
) -> None:
    deferreds = Deferreds(reactor, softTimeout, lambda frames: wire.post(frames), lambda: wire.drained())
    try:
        app = await deferreds.prepare(target)
    except BaseException as error:
        refuse(error)
    left: Deferred[None] = Deferred()
    deferreds.hand.left = lambda: None if left.called else left.callback(None)
    deferreds.exits = lambda error: None if left.called else left.errback(error)
    ready(app)
    # Not before the reactor has put its own in place.
    signal.signal(signal.SIGTERM, lambda number, frame: reactor.callFromThread(deferreds.terminated))
    wire = DeferredLine(reactor, line, deferreds.hand.received)
    try:
        await left
    finally:
        signal.signal(signal.SIGTERM, lambda number, frame: leaveAtNextTerm())
        wire.close()
        await deferreds.close()
