"""Several requests at once on an asyncio loop: each is a task."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from pirate.worker.looprunner import serve

if TYPE_CHECKING:
    import zmq

    from pirate.worker.environment import WorkerEnvironment
    from pirate.worker.interfaces import AppEvents


class AsyncioLoop:
    """An asyncio loop, as a :class:`~pirate.worker.interfaces.Loop`."""

    cancellation: type[BaseException] = asyncio.CancelledError
    awaitsDeferreds = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._descriptor = -1

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine as a task."""
        return self._loop.create_task(coroutine)

    def callLater(self, seconds: float, call: Callable[..., None], *arguments: Any) -> asyncio.TimerHandle:
        """Call a function after a delay, in seconds."""
        return self._loop.call_later(seconds, call, *arguments)

    def callSoon(self, call: Callable[[], None]) -> asyncio.Handle:
        """Call a function in the next turn."""
        return self._loop.call_soon(call)

    def newWaiter(self) -> asyncio.Future[None]:
        """Return a future."""
        return self._loop.create_future()

    def fire(self, waiter: asyncio.Future[None]) -> None:
        """Set the result of a future that is not done, nor cancelled."""
        if not waiter.done():
            waiter.set_result(None)

    def pause(self) -> Awaitable[None]:
        """Let every other task run."""
        return asyncio.sleep(0)

    def addReader(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call a function whenever a descriptor is readable."""
        self._descriptor = descriptor
        self._loop.add_reader(descriptor, call)

    def removeReader(self) -> None:
        """Stop calling the function that :meth:`addReader` was given."""
        self._loop.remove_reader(self._descriptor)

    def watchTerm(self, call: Callable[[], None]) -> None:
        """Call a function, in a turn of the loop, when the process gets TERM."""
        self._loop.add_signal_handler(signal.SIGTERM, call)

    def unwatchTerm(self) -> None:
        """Stop calling what :meth:`watchTerm` was given."""
        self._loop.remove_signal_handler(signal.SIGTERM)


def run(
    target: Any, socket: zmq.Socket[bytes], events: AppEvents, environment: WorkerEnvironment, *, softTimeout: float
) -> None:
    """
    Serve on an asyncio loop until the worker is told to leave.

    :param target: the app, a callable or a class.
    :param socket: the worker's DEALER.
    :param events: told about the app.
    :param environment: the environment of the process.
    :param softTimeout: seconds after which a request is cancelled; 0 for never.
    :raise SystemExit: if the app has raised it.
    """

    async def serveOnLoop() -> None:
        loop = AsyncioLoop(asyncio.get_running_loop())
        await serve(target, loop, socket, events, environment, softTimeout=softTimeout)

    with asyncio.Runner(loop_factory=environment.loopFactory) as runner:
        runner.run(serveOnLoop())
