"""Several requests at once on Twisted's reactor: each is a Deferred."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

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

from pirate.worker.awaiting import AsyncRunner, leaveAtNextTerm
from pirate.worker.duty import ServeContext
from pirate.worker.inflight import RunningRequest
from pirate.worker.loopline import LoopSocket
from pirate.worker.sockets import DealerSocket


class TwistedRunner(AsyncRunner):
    """
    Runs an app whose answers the reactor waits for: TwistedRunner, and what can wait for TwistedRunner.

    :param drained: called for a Deferred that fires when all that was posted has been sent; ``None``: it has been.
    :param failed: see :class:`~pirate.worker.awaiting.AsyncRunner`.
    """

    cancellation = CancelledError
    takesDeferreds = True

    def __init__(
        self,
        reactor: Any,
        softTimeout: float,
        post: Callable[[list[bytes]], None],
        drained: Callable[[], Deferred[None] | None] = lambda: None,
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        super().__init__(softTimeout, post, failed)
        self._reactor = reactor
        self._drained = drained

    def _start(self, job: RunningRequest) -> Deferred[None]:
        return Deferred.fromCoroutine(self.perform(job))

    def _later(self, seconds: float, call: Callable[[RunningRequest], None], job: RunningRequest) -> Any:
        return self._reactor.callLater(seconds, call, job)

    def _breathe(self) -> Awaitable[None]:
        return self._drained() or deferLater(self._reactor, 0, lambda: None)


class ReactorSocket(LoopSocket):
    """See :class:`~pirate.worker.loopline.LoopSocket`; on a reactor."""

    def __init__(self, reactor: Any, line: DealerSocket, received: Callable[[list[bytes]], None]) -> None:
        self._reactor = reactor
        super().__init__(line, received)
        reactor.addReader(self)

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._line.descriptor

    def logPrefix(self) -> str:
        """What the reactor calls this in its log."""
        return "backend"

    def doRead(self) -> None:
        """The descriptor is readable."""
        self.look()

    def connectionLost(self, reason: object) -> None:
        """The reactor reads no more."""

    def close(self) -> None:
        """See :class:`~pirate.worker.loopline.LoopSocket`."""
        self._reactor.removeReader(self)
        super().close()

    def _soon(self, call: Callable[[], None]) -> Any:
        return self._reactor.callLater(0, call)

    def _newWaiter(self) -> Deferred[None]:
        return Deferred()

    def _fire(self, waiter: Deferred[None]) -> None:
        # One that was cancelled does not mind.
        waiter.callback(None)


def run(serving: ServeContext, softTimeout: float) -> None:
    """
    Serve on Twisted's reactor.

    :param softTimeout: seconds after which a job is cancelled; 0: never.
    :raise SystemExit: if the app has raised it.
    """
    from twisted.internet import reactor

    _logErrors()
    loop: Any = reactor
    failed: list[BaseException] = []

    def begin() -> None:
        Deferred.fromCoroutine(_live(loop, serving, softTimeout)).addBoth(end)

    def end(result: object) -> None:
        if isinstance(result, Failure) and result.value is not None:
            failed.append(result.value)
        loop.stop()

    loop.callWhenRunning(begin)
    loop.run()
    if failed:
        raise failed[0]


def _logErrors() -> None:
    """What Twisted has to complain of, unhandled errors in TwistedRunner above all, goes to the standard error."""
    observer = FilteringLogObserver(
        textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)]
    )
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


async def _live(reactor: Any, serving: ServeContext, softTimeout: float) -> None:
    left: Deferred[None] = Deferred()

    def end(error: SystemExit | None = None) -> None:
        if not left.called:
            left.callback(None) if error is None else left.errback(error)

    deferreds = TwistedRunner(reactor, softTimeout, lambda frames: wire.post(frames), lambda: wire.drained())
    await deferreds.takeUp(serving, end)
    # Not before the reactor has put its own in place.
    signal.signal(signal.SIGTERM, lambda number, frame: reactor.callFromThread(deferreds.terminated))
    wire = ReactorSocket(reactor, DealerSocket(serving.socket), deferreds.inFlight.received)
    try:
        await left
    finally:
        leaveAtNextTerm()
        wire.close()
        await deferreds.close()
