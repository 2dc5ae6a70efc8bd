"""Several requests at once on Twisted's reactor: each is a Deferred."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorFromThreads, IReactorTime, IReadDescriptor
from twisted.internet.task import deferLater
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from pirate.worker.looprunner import serve

if TYPE_CHECKING:
    import zmq

    from pirate.worker.environment import WorkerEnvironment
    from pirate.worker.interfaces import AppEvents


class ReactorLoop:
    """
    A reactor, as a :class:`~pirate.worker.interfaces.Loop`.

    :param reactor: a reactor; a ``Clock`` is enough for an app that is called without a socket.
    :param environment: the environment of the process.
    """

    cancellation: type[BaseException] = CancelledError
    awaitsDeferreds = True

    def __init__(self, reactor: IReactorTime, environment: WorkerEnvironment) -> None:
        self._reactor = reactor
        self._environment = environment
        self._reader: Reader | None = None

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Run a coroutine as a Deferred."""
        return Deferred.fromCoroutine(coroutine)

    def callLater(self, seconds: float, call: Callable[..., None], *arguments: Any) -> IDelayedCall:
        """Call a function after a delay, in seconds."""
        return self._reactor.callLater(seconds, call, *arguments)

    def callSoon(self, call: Callable[[], None]) -> IDelayedCall:
        """Call a function in the next turn."""
        return self._reactor.callLater(0, call)

    def newWaiter(self) -> Deferred[None]:
        """Return a Deferred."""
        return Deferred()

    def fire(self, waiter: Deferred[None]) -> None:
        """Fire a Deferred that has not fired, nor been cancelled."""
        if not waiter.called:
            waiter.callback(None)

    def pause(self) -> Awaitable[None]:
        """Let everything else run that is due."""
        return deferLater(self._reactor, 0)

    def addReader(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call a function whenever a descriptor is readable."""
        self._reader = Reader(descriptor, call)
        IReactorFDSet(self._reactor).addReader(self._reader)

    def removeReader(self) -> None:
        """Stop calling the function that :meth:`addReader` was given."""
        if self._reader is not None:
            IReactorFDSet(self._reactor).removeReader(self._reader)

    def watchTerm(self, call: Callable[[], None]) -> None:
        """
        Call a function, in a turn of the reactor, when the process gets TERM.

        The reactor must be running, because it installs a handler of its own when it starts.
        """
        reactor = IReactorFromThreads(self._reactor)
        self._environment.handle(signal.SIGTERM, lambda number, frame: reactor.callFromThread(call))

    def unwatchTerm(self) -> None:
        """Do nothing: the caller's handler replaces this one."""


@implementer(IReadDescriptor)
class Reader:
    """
    A descriptor that the reactor watches.

    :param descriptor: the descriptor.
    :param call: called when it is readable.
    """

    def __init__(self, descriptor: int, call: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._call = call

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Return the name that the reactor uses for this in its log."""
        return "backend"

    def doRead(self) -> None:
        """Call the function."""
        self._call()

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing when the reactor reads no more."""


def run(
    target: Any, socket: zmq.Socket[bytes], events: AppEvents, environment: WorkerEnvironment, *, softTimeout: float
) -> None:
    """
    Serve on Twisted's reactor until the worker is told to leave.

    :param target: the app, a callable or a class.
    :param socket: the worker's DEALER.
    :param events: told about the app.
    :param environment: the environment of the process.
    :param softTimeout: seconds after which a request is cancelled; 0 for never.
    :raise SystemExit: if the app has raised it.
    """
    from twisted.internet import reactor

    _logErrors()
    loop: Any = reactor
    errors: list[BaseException] = []

    def begin() -> None:
        served = serve(target, ReactorLoop(loop, environment), socket, events, environment, softTimeout=softTimeout)
        Deferred.fromCoroutine(served).addBoth(end)

    def end(result: object) -> None:
        if isinstance(result, Failure) and result.value is not None:
            errors.append(result.value)
        loop.stop()

    loop.callWhenRunning(begin)
    loop.run()
    if errors:
        raise errors[0]


def _logErrors() -> None:
    """Write Twisted's warnings and errors, unhandled ones in Deferreds above all, to the standard error."""
    observer = FilteringLogObserver(
        textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)]
    )
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
