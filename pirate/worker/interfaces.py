"""
The interfaces between the parts of a worker.

They are imported for the type checker only, not when a worker starts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

if TYPE_CHECKING:
    from pirate.worker.app import App
    from pirate.worker.inflight import RunningRequest


class AppEvents(Protocol):
    """The worker, as a runner tells it about its app."""

    def appReady(self, app: App, packs: bool = False) -> None:
        """
        Tell the broker that the worker waits for requests.

        :param packs: whether it reads requests that are packed, and may pack replies.
        """

    def appFailed(self, error: BaseException) -> NoReturn:
        """End the process, because the app cannot be made ready."""

    def creditChanged(self, credit: int) -> None:
        """Tell the broker how many requests the worker may hold from now on."""


class SerialHost(Protocol):
    """The worker around a :class:`~pirate.worker.serialrunner.SerialRunner`."""

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker."""

    def isCancelled(self, request: bytes) -> bool:
        """Return whether the broker has cancelled a request, by its id."""

    def creditChanged(self, credit: int) -> None:
        """Tell the broker how many requests the worker may hold from now on."""

    def requestFailed(self, error: BaseException) -> None:
        """
        Note an error of the app, which becomes the reply.

        Called inside the except block, so ``sys.exc_info()`` has it.
        """


class InFlightHost(Protocol):
    """The runner that executes the requests of an :class:`~pirate.worker.inflight.InFlight`."""

    def begin(self, request: RunningRequest) -> None:
        """Execute a request, and call :meth:`InFlight.ended` when there is a reply."""

    def interrupt(self, request: RunningRequest) -> None:
        """Interrupt a request that has been cancelled, if that is possible."""

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker."""

    def finished(self) -> None:
        """Leave: the worker begins no more requests, and has none in flight."""


class LoopHost(Protocol):
    """The worker around a :class:`~pirate.worker.looprunner.LoopRunner`."""

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker, as soon as there is room."""

    def drained(self) -> Awaitable[None] | None:
        """Return what fires when all messages have been sent; ``None`` if they have been."""

    def requestFailed(self, error: BaseException) -> None:
        """
        Note an error of the app, which becomes the reply.

        Called inside the except block, so ``sys.exc_info()`` has it.
        """

    def appExited(self, error: SystemExit) -> None:
        """End the process, because the app has raised this."""

    def finished(self) -> None:
        """Leave: the worker begins no more requests, and has none in flight."""


class ThreadHost(Protocol):
    """The main thread around a :class:`~pirate.worker.threads.ThreadRunner`."""

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker, as soon as there is room."""

    def isFull(self) -> bool:
        """Return whether messages wait for room."""

    def wake(self) -> None:
        """Have the main thread call :meth:`ThreadRunner.runCalls`.  Any thread, and a signal handler, may call this."""

    def finished(self) -> None:
        """Leave: the worker begins no more requests, and has none in flight."""


class Receiver(Protocol):
    """A receiver of the broker's messages."""

    def received(self, frames: list[bytes]) -> None:
        """Receive a message, without a routing id."""


class Cancellable(Protocol):
    """A task, or a call that has been scheduled."""

    def cancel(self) -> Any:
        """Cancel it."""


class Loop(Protocol):
    """
    An event loop: asyncio's, or Twisted's reactor.

    :ivar cancellation: the exception that is raised in a task that is cancelled.
    :ivar awaitsDeferreds: whether a coroutine may await a Deferred.
    """

    cancellation: type[BaseException]
    awaitsDeferreds: bool

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Cancellable:
        """Run a coroutine as a task."""

    def callLater(self, seconds: float, call: Callable[..., None], *arguments: Any) -> Cancellable:
        """Call a function after a delay, in seconds."""

    def callSoon(self, call: Callable[[], None]) -> Cancellable:
        """Call a function in the next turn."""

    def newWaiter(self) -> Any:
        """Return something to await, which :meth:`fire` ends."""

    def fire(self, waiter: Any) -> None:
        """End the wait for something that :meth:`newWaiter` has made; do nothing if it has ended."""

    def pause(self) -> Awaitable[None]:
        """Return something to await, which ends in the next turn."""

    def addReader(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call a function whenever a descriptor is readable."""

    def removeReader(self) -> None:
        """Stop calling the function that :meth:`addReader` was given."""

    def watchTerm(self, call: Callable[[], None]) -> None:
        """Call a function, in a turn of the loop, when the process gets TERM."""

    def unwatchTerm(self) -> None:
        """Stop calling what :meth:`watchTerm` was given.  The caller must set another handler at once."""
