"""Several requests at once on a loop: what asyncio's loop and Twisted's reactor have in common."""

from __future__ import annotations

from types import GeneratorType
from typing import TYPE_CHECKING, Any

from pirate.wire.words import PARTIAL
from pirate.worker.app import App, cancelledReply, errorReply, isAwaitable, softTimeoutError
from pirate.worker.inflight import InFlight, RunningRequest
from pirate.worker.sockets import DealerSocket, LoopSocket

if TYPE_CHECKING:
    import zmq

    from pirate.worker.environment import WorkerEnvironment
    from pirate.worker.interfaces import AppEvents, Loop, LoopHost


async def resolve(loop: Loop, result: Any) -> Any:
    """Return a result of an app, which is awaited first if it must be."""
    return await result if isAwaitable(result, loop.awaitsDeferreds) else result


async def prepare(loop: Loop, target: Any) -> App:
    """
    Make an app, and set it up.

    :param target: a callable, or a class, of which one instance is made.
    :raise TypeError: if it cannot be called.
    """
    app = App(target)
    await resolve(loop, app.setup())
    return app


class LoopRunner:
    """
    A runner of an app whose results are awaited.

    :param app: the app.
    :param loop: the loop.
    :param host: the worker around this.
    :param softTimeout: seconds after which a request is cancelled; 0 for never.
    :ivar inFlight: the requests that are being executed.
    """

    def __init__(self, app: App, loop: Loop, host: LoopHost, *, softTimeout: float = 0.0) -> None:
        self._app = app
        self._loop = loop
        self._host = host
        self._softTimeout = softTimeout
        self._silent = False
        self.inFlight = InFlight(self)

    def silence(self) -> None:
        """Reply to no request in flight: the process ends, and the broker gives them to another worker."""
        self._silent = True

    async def close(self) -> None:
        """Close the app.  Requests in flight get no reply any more."""
        self.silence()
        await resolve(self._loop, self._app.close())

    # --- InFlightHost

    def begin(self, request: RunningRequest) -> None:
        """Start a task for a request."""
        if self._softTimeout:
            request.timer = self._loop.callLater(self._softTimeout, self._tooLong, request)
        request.task = self._loop.start(self.perform(request))

    def interrupt(self, request: RunningRequest) -> None:
        """Cancel the task of a request; one that has not begun finds out by itself."""
        if request.begun and request.task is not None:
            request.task.cancel()

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker, unless the app is being closed, or ends the process."""
        if not self._silent:
            self._host.post(frames)

    def finished(self) -> None:
        """Tell the host that no request is in flight, and none will be."""
        self._host.finished()

    # --- one request

    def _tooLong(self, request: RunningRequest) -> None:
        request.timer = None
        request.late = True
        self.interrupt(request)

    async def perform(self, request: RunningRequest) -> None:
        """Run the app on a request, and send the reply."""
        request.begun = True
        try:
            reply = cancelledReply(request.id) if request.cancelled else await self._run(request)
        except SystemExit as error:
            # The process ends.  The other requests in flight get no reply, so the broker gives them to another worker.
            self._silent = True
            self._host.appExited(error)
            return
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            reply = self._errorReply(request, error)
        if request.timer is not None:
            request.timer.cancel()
        self.inFlight.ended(request, reply)

    def _errorReply(self, request: RunningRequest, error: BaseException) -> list[bytes]:
        if self._silent:
            return []
        if issubclass(type(error), self._loop.cancellation):
            if request.cancelled:
                return cancelledReply(request.id)
            if request.late:
                error = softTimeoutError(self._softTimeout).with_traceback(error.__traceback__)
        self._host.requestFailed(error)
        return errorReply(request.id, error)

    async def _run(self, request: RunningRequest) -> list[bytes]:
        """Run the app on a request, and return the frames of the reply."""
        result = self._app.call(request.frames, request.isCancelled)
        if hasattr(type(result), "__anext__"):
            await self._sendAsyncParts(result, request)
            result = None
        elif type(result) is GeneratorType:
            result = await self._sendParts(result, request)
        else:
            result = await resolve(self._loop, result)
        return [request.id, *self._app.reply(result)]

    async def _sendAsyncParts(self, parts: Any, request: RunningRequest) -> None:
        """Send each value of an asynchronous generator as a part."""
        try:
            async for part in parts:
                await self._sendPart(part, request)
                if request.cancelled:
                    return
        finally:
            if hasattr(parts, "aclose"):
                await parts.aclose()

    async def _sendParts(self, parts: Any, request: RunningRequest) -> Any:
        """
        Send each value of a generator as a part.

        :return: what the generator returns.
        """
        try:
            while True:
                try:
                    part = next(parts)
                except StopIteration as end:
                    return end.value
                await self._sendPart(part, request)
                if request.cancelled:
                    return None
        finally:
            parts.close()

    async def _sendPart(self, part: Any, request: RunningRequest) -> None:
        """Send a part, and wait until it has been sent and other tasks have run."""
        self.post([b"", request.id, PARTIAL, *self._app.reply(part)])
        drained = self._host.drained()
        await (self._loop.pause() if drained is None else drained)


class LoopWorker:
    """
    A worker on a loop: its socket and its runner, until it leaves.

    :param app: the app.
    :param loop: the loop, which is running.
    :param socket: the worker's DEALER.
    :param environment: the environment of the process.
    :param softTimeout: seconds after which a request is cancelled; 0 for never.
    """

    def __init__(
        self, app: App, loop: Loop, socket: zmq.Socket[bytes], environment: WorkerEnvironment, *, softTimeout: float
    ) -> None:
        self._loop = loop
        self._environment = environment
        self._socket = LoopSocket(loop, DealerSocket(socket))
        self._runner = LoopRunner(app, loop, self, softTimeout=softTimeout)
        self._left = loop.newWaiter()
        self._exit: SystemExit | None = None

    async def serve(self) -> None:
        """
        Execute requests until the worker is told to leave, and close the app.

        :raise SystemExit: if the app has raised it.
        """
        self._loop.watchTerm(self._terminated)
        self._socket.start(self._runner.inFlight)
        try:
            await self._left
            if self._exit is not None:
                raise self._exit
        finally:
            # A loop that still watches TERM restores the default when it is closed, and the next TERM would kill this
            # process while it sends its last messages.
            self._loop.unwatchTerm()
            self._environment.exitAtNextTerm()
            self._socket.close()
            await self._runner.close()

    # --- LoopHost

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker, as soon as there is room."""
        self._socket.post(frames)

    def drained(self) -> Any:
        """Return what fires when all messages have been sent; ``None`` if they have been."""
        return self._socket.drained()

    def requestFailed(self, error: BaseException) -> None:
        """Do nothing: the server logs errors of the app."""

    def appExited(self, error: SystemExit) -> None:
        """Leave at once, and end the process as the app wants it."""
        self._exit = self._exit or error
        self._loop.fire(self._left)

    def finished(self) -> None:
        """Leave."""
        self._loop.fire(self._left)

    def _terminated(self) -> None:
        """Leave after the requests in flight; at a second TERM, at once."""
        # asyncio then cancels the tasks that are left, in any order: none may report that as an error of the app.
        self._environment.exitAtNextTerm(self._runner.silence)
        self._runner.inFlight.leave()


async def serve(
    target: Any,
    loop: Loop,
    socket: zmq.Socket[bytes],
    events: AppEvents,
    environment: WorkerEnvironment,
    *,
    softTimeout: float,
) -> None:
    """
    Make the app ready, and serve until the worker is told to leave.

    :param target: the app, a callable or a class.
    :param loop: the loop, which is running.
    :param socket: the worker's DEALER.
    :param events: told about the app.
    :param environment: the environment of the process.
    :param softTimeout: seconds after which a request is cancelled; 0 for never.
    :raise SystemExit: if the app has raised it.
    """
    try:
        app = await prepare(loop, target)
    except BaseException as error:
        events.appFailed(error)
    events.appReady(app)
    await LoopWorker(app, loop, socket, environment, softTimeout=softTimeout).serve()
