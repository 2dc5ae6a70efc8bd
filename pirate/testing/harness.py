"""An app in the test's own process, called as a worker calls it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from pirate.broker.replycache import Outcome
from pirate.broker.request import NativeRequest, readRequest
from pirate.client.codecs import toFrames
from pirate.client.errors import CallError, failure
from pirate.wire.backend import ErrorReply, Part, parseWorkerMessage, requestFrames
from pirate.wire.frontend import header, parseServerReply
from pirate.wire.words import CANCEL, Code, Frames
from pirate.worker import looprunner
from pirate.worker.app import App, isAsync, prepare
from pirate.worker.asynciorunner import AsyncioLoop
from pirate.worker.credit import Credit
from pirate.worker.environment import WorkerEnvironment
from pirate.worker.imports import load
from pirate.worker.looprunner import LoopRunner
from pirate.worker.serialrunner import SerialRunner

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

#: The endpoint that errors name.
ENDPOINT = "the harness"
#: The routing ids of the client and of the worker.
CLIENT, WORKER = b"client", b"worker"
#: The first request id of the broker.
FIRST_ID = 1 << 63


class Streamed(NamedTuple):
    """
    A reply in parts.  Each part, and the end, is ``bytes``, or a list of them for several frames.

    :ivar parts: the parts that the app yielded.
    :ivar end: what the app returned; ``b""`` for nothing.
    """

    parts: list[bytes | list[bytes]]
    end: bytes | list[bytes]


class RequestOptions(TypedDict, total=False):
    """
    The keyword arguments of the methods of an :class:`AppHarness` that call the app.

    All but ``cancelled`` are fields of the app's ``context``.

    :ivar service: the name of the service that the client asks for.
    :ivar client: the client's address.
    :ivar attempt: 1, or more as if workers had died while they executed this request.
    :ivar remaining: the seconds that are left of the caller's timeout.
    :ivar trace: the caller's W3C traceparent.
    :ivar cancelled: whether to cancel the request as soon as the app has been called.
    """

    service: str
    client: str | None
    attempt: int
    remaining: float | None
    trace: str
    cancelled: bool


class AppHarness:
    """
    A harness that calls an app as a server does.

    Requests and replies are encoded, parsed and decoded exactly as between a client, a broker and a worker, and the
    worker's own code runs the app.  There is no broker: no queue, no job timeout, no second attempt after a lost
    worker, and no limit of the size of a message.  Use :func:`~pirate.testing.serving` to test those.

    ::

        with AppHarness(app) as harness:
            assert harness.call(b"hello") == b"HELLO"

    A class is instantiated and set up at once, and closed by :meth:`close`.  An async app runs on an asyncio loop of
    the harness's own, so :meth:`call` cannot be used inside another loop; ``await asyncio.to_thread(harness.call,
    b"x")`` can.

    The methods that call the app take, beside the frames of the request, :class:`~pirate.testing.RequestOptions`: the
    fields of its ``context``, and ``cancelled=True``, which cancels the request as soon as the app has been called.

    :param app: a callable, a class, or an import path.
    :param loop: ``auto``, ``asyncio`` or ``twisted``, as ``--loop``.
    :param jobSoftTimeout: seconds, as ``--job-soft-timeout``; 0 for none.
    :param reactor: for ``twisted``: a reactor, or a ``Clock``.
    :raise TypeError: if the app cannot be called.
    """

    def __init__(self, app: Any, *, loop: str = "auto", jobSoftTimeout: float = 0.0, reactor: Any = None) -> None:
        self._target = load(app) if isinstance(app, str) else app
        self._loop = loop
        self._softTimeout = jobSoftTimeout
        self._reactor = reactor
        self._lastId = FIRST_ID
        self._exchanges: dict[bytes, _Exchange] = {}
        self._lastError: BaseException | None = None
        self._closed = False
        if loop not in ("auto", "asyncio", "twisted"):
            raise ValueError(f"loop is {loop!r}, but must be auto, asyncio or twisted")
        if (loop == "twisted") != (reactor is not None):
            raise TypeError("loop='twisted' needs a reactor or a Clock, and a reactor needs loop='twisted'")
        self._worker = self._makeWorker()

    def __enter__(self) -> AppHarness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, *body: bytes, **options: Unpack[RequestOptions]) -> bytes | list[bytes]:
        """
        Return the whole reply: ``bytes``, or a list of them for several frames.

        :raise TypeError: if a frame is not bytes, or there is none.
        :raise CallError: as a client does: ``AppError`` with ``type`` and ``text``, ``JobTimedOut``, ``Cancelled``, or
            ``WorkerLost`` if the app ends its process, which loses the other requests in flight, too; the next call
            then finds a new worker.  The exception that the app raised is its ``__cause__``.
        """
        return _shown(self._run(body, options).whole())

    def stream(self, *body: bytes, **options: Unpack[RequestOptions]) -> Streamed:
        """
        Return the reply in parts.

        :raise CallError: as :meth:`call` does.
        """
        return self._run(body, options).streamed()

    def begin(self, *body: bytes, **options: Unpack[RequestOptions]) -> Deferred[bytes | list[bytes]]:
        """With ``loop="twisted"``, return a Deferred that fires with what :meth:`call` returns, or fails as it does."""
        if not isinstance(self._worker, _ReactorWorker):
            raise TypeError("begin is for loop='twisted': use call")
        exchange, cancelled = self._newExchange(body, options)
        return self._worker.begin(exchange, cancelled)

    def close(self) -> None:
        """Close the app.  A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._worker.close()

    def _makeWorker(self) -> _SerialWorker | _AsyncioWorker | _ReactorWorker:
        if self._loop == "twisted":
            return _ReactorWorker(self, self._target, self._softTimeout, self._reactor)
        if self._loop == "asyncio" or isAsync(self._target):
            return _AsyncioWorker(self, self._target, self._softTimeout)
        return _SerialWorker(self, self._target, self._softTimeout)

    def _replaceWorker(self) -> None:
        """Replace a worker whose app has ended it, as a server does."""
        self._worker.close()
        self._worker = self._makeWorker()

    def _run(self, body: tuple[bytes, ...], options: RequestOptions) -> _Exchange:
        exchange, cancelled = self._newExchange(body, options)
        try:
            self._worker.run(exchange, cancelled)
        except SystemExit as ended:
            exchange.workerLost(ended)
            self._replaceWorker()
        finally:
            self._exchanges.pop(exchange.request.brokerId, None)
        return exchange

    def _newExchange(self, body: tuple[bytes, ...], options: RequestOptions) -> tuple[_Exchange, bool]:
        if self._closed:
            raise RuntimeError("this harness is closed")
        if self._worker.hasExited:
            self._replaceWorker()
        self._lastId += 1
        request = _request(self._lastId, body, **options)
        exchange = self._exchanges[request.brokerId] = _Exchange(request, self._worker.app.wantsContext)
        return exchange, options.get("cancelled", False)

    # --- what a worker reports

    def requestLost(self, exchange: _Exchange, cause: SystemExit) -> None:
        """Fail a request, because the app has ended its worker."""
        self._exchanges.pop(exchange.request.brokerId, None)
        exchange.workerLost(cause)

    def workerMessageReceived(self, frames: list[bytes]) -> None:
        """Receive a message that the worker sends to the broker."""
        exchange = self._exchanges.get(frames[0] or frames[1])
        if exchange is not None and exchange.workerMessageReceived(frames, self._lastError):
            del self._exchanges[exchange.request.brokerId]
            self._lastError = None

    def requestFailed(self, error: BaseException) -> None:
        """Note an exception of the app; the next message is the error reply for it."""
        self._lastError = error


class _Exchange:
    """
    A request, and its reply as far as it has arrived.

    :ivar frames: the request, as the worker receives it.
    """

    def __init__(self, request: NativeRequest, wantsContext: bool) -> None:
        self.request = request
        context = request.context(monotonic()) if wantsContext else None
        self.frames = requestFrames(WORKER, request.brokerId, request.body, context)[1:]
        self._ended: list[Callable[[], None]] = []
        self._parts: list[Frames] = []
        self._body: Frames = ()
        self._error: CallError | None = None

    def whenEnded(self, call: Callable[[], None]) -> None:
        """Call a function when the reply is complete."""
        self._ended.append(call)

    def workerMessageReceived(self, frames: list[bytes], cause: BaseException | None) -> bool:
        """
        Receive a reply, a part of one, or an error.

        :param cause: the exception that the app raised, if it has.
        :return: whether the reply is complete.
        """
        message = parseWorkerMessage([WORKER, *frames])
        if isinstance(message, Part):
            self._parts.append(_bodyForClient(self.request.part(message.body)))
            return False
        if isinstance(message, tuple):
            self._body = _bodyForClient(self.request.reply(message[2]))
        elif isinstance(message, ErrorReply):
            self._fail(message.code.decode(), message.text.decode(), cause)
        else:
            raise AssertionError(f"the worker sent {message!r}")
        for call in self._ended:
            call()
        return True

    def workerLost(self, cause: BaseException) -> None:
        """Fail, because the app has ended its process."""
        code = getattr(cause, "code", 1)
        self._fail(Code.WORKER_LOST, f"the app ended its worker with exit code {code}", cause)

    def whole(self) -> Frames:
        """Return the whole reply."""
        if self._error is not None:
            raise self._error
        return Outcome(self._body, parts=self._parts).whole()

    def streamed(self) -> Streamed:
        """Return the reply in parts."""
        if self._error is not None:
            raise self._error
        return Streamed([_shown(part) for part in self._parts], _shown(self._body))

    def _fail(self, code: str, text: str, cause: BaseException | None) -> None:
        self._error = failure(code, text, ENDPOINT, self.request.requestId)
        self._error.attempts = self.request.deaths
        self._error.__cause__ = cause


class _SerialWorker:
    """The worker of an app that is not async; it implements :class:`~pirate.worker.interfaces.SerialHost`."""

    #: The call that meets the exit replaces the worker.
    hasExited = False

    def __init__(self, harness: AppHarness, target: Any, softTimeout: float) -> None:
        self._harness = harness
        self._softTimeout = softTimeout
        self._cancelled: set[bytes] = set()
        self.app: App = prepare(target)
        self._runner = SerialRunner(self.app, self, WorkerEnvironment(), softTimeout=softTimeout, credit=Credit())

    def run(self, exchange: _Exchange, cancelled: bool) -> None:
        """Execute a request."""
        if cancelled:
            self._cancelled.add(exchange.request.brokerId)
        if not self._softTimeout:
            self._runner.execute(exchange.frames)
            return
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("jobSoftTimeout works only in the main thread, unless the app is async")
        before = signal.signal(signal.SIGALRM, self._runner.alarm)
        try:
            self._runner.execute(exchange.frames)
        finally:
            signal.signal(signal.SIGALRM, before)

    def close(self) -> None:
        """Close the app."""
        self.app.close()

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker."""
        self._harness.workerMessageReceived(frames)

    def isCancelled(self, request: bytes) -> bool:
        """Return whether the test has cancelled a request."""
        return request in self._cancelled

    def creditChanged(self, credit: int) -> None:
        """Do nothing: requests come one at a time."""

    def requestFailed(self, error: BaseException) -> None:
        """Note an exception of the app."""
        self._harness.requestFailed(error)


class _AsyncioWorker:
    """The worker of an async app, on an asyncio loop; it implements :class:`~pirate.worker.interfaces.LoopHost`."""

    #: The call that meets the exit replaces the worker.
    hasExited = False

    def __init__(self, harness: AppHarness, target: Any, softTimeout: float) -> None:
        self._harness = harness
        self._ended: asyncio.Future[None] | None = None
        _refuseInsideLoop()
        self._asyncio = asyncio.Runner()
        loop = AsyncioLoop(self._asyncio.get_loop())
        try:
            self.app: App = self._run(looprunner.prepare, loop, target)
        except BaseException:
            self._asyncio.close()
            raise
        self._runner = LoopRunner(self.app, loop, self, softTimeout=softTimeout)

    def run(self, exchange: _Exchange, cancelled: bool) -> None:
        """Execute a request."""
        self._run(self._execute, exchange, cancelled)

    def close(self) -> None:
        """Close the app and the loop."""
        try:
            self._run(self._runner.close)
        finally:
            self._asyncio.close()

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker."""
        self._harness.workerMessageReceived(frames)

    def drained(self) -> None:
        """Return ``None``: no message waits."""

    def requestFailed(self, error: BaseException) -> None:
        """Note an exception of the app."""
        self._harness.requestFailed(error)

    def appExited(self, error: SystemExit) -> None:
        """End the call, because the app ends the process."""
        if self._ended is not None:
            self._ended.set_exception(error)

    def finished(self) -> None:
        """Do nothing: another call may come."""

    async def _execute(self, exchange: _Exchange, cancelled: bool) -> None:
        ended = self._ended = asyncio.get_running_loop().create_future()
        exchange.whenEnded(lambda: ended.set_result(None))
        self._runner.inFlight.received(exchange.frames)
        if cancelled:
            # Let it begin first.
            await asyncio.sleep(0)
            self._runner.inFlight.received([b"", CANCEL, exchange.request.brokerId])
        await ended

    def _run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        _refuseInsideLoop()
        return self._asyncio.run(call(*arguments))


class _ReactorWorker:
    """
    The worker of an app that returns Deferreds; it implements :class:`~pirate.worker.interfaces.LoopHost`.

    :ivar hasExited: whether the app has ended it, so that the next request needs a new worker.
    """

    def __init__(self, harness: AppHarness, target: Any, softTimeout: float, reactor: Any) -> None:
        from twisted.internet.defer import Deferred

        from pirate.worker.twistedrunner import ReactorLoop

        self._Deferred = Deferred
        self._harness = harness
        self._inFlight: dict[_Exchange, Callable[[], None]] = {}
        self.hasExited = False
        loop = ReactorLoop(reactor, WorkerEnvironment())
        self.app: App = self._runNow(looprunner.prepare(loop, target), "setup")
        self._runner = LoopRunner(self.app, loop, self, softTimeout=softTimeout)

    def begin(self, exchange: _Exchange, cancelled: bool) -> Deferred[bytes | list[bytes]]:
        """
        Execute a request.

        :return: fires with the whole reply.
        """
        result: Deferred[bytes | list[bytes]] = self._Deferred()

        def end() -> None:
            self._inFlight.pop(exchange, None)
            try:
                reply = _shown(exchange.whole())
            except CallError:
                result.errback()
            else:
                result.callback(reply)

        exchange.whenEnded(end)
        self._inFlight[exchange] = end
        self._runner.inFlight.received(exchange.frames)
        if cancelled:
            self._runner.inFlight.received([b"", CANCEL, exchange.request.brokerId])
        return result

    def run(self, exchange: _Exchange, cancelled: bool) -> None:
        """
        Execute a request that has its reply at once.

        :raise RuntimeError: if it has not.
        """
        result = self.begin(exchange, cancelled)
        if not result.called:
            self._inFlight.pop(exchange, None)
            raise RuntimeError("the app has not replied at once: use begin, which returns a Deferred")
        result.addErrback(lambda reason: None)

    def close(self) -> None:
        """Close the app."""
        self._runNow(self._runner.close(), "close")

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker."""
        self._harness.workerMessageReceived(frames)

    def drained(self) -> None:
        """Return ``None``: no message waits."""

    def requestFailed(self, error: BaseException) -> None:
        """Note an exception of the app."""
        self._harness.requestFailed(error)

    def appExited(self, error: SystemExit) -> None:
        """End all requests in flight, because the app ends the process."""
        self.hasExited = True
        # A callback of one may begin another request, which finds a new worker.
        while self._inFlight:
            exchange, end = next(iter(self._inFlight.items()))
            self._harness.requestLost(exchange, error)
            end()

    def finished(self) -> None:
        """Do nothing: another call may come."""

    def _runNow(self, coroutine: Any, name: str) -> Any:
        done = self._Deferred.fromCoroutine(coroutine)
        results: list[Any] = []
        done.addBoth(results.append)
        if not results:
            raise RuntimeError(f"with loop='twisted', {name} must be done at once in a harness")
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]


def _refuseInsideLoop() -> None:
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("this app's loop cannot run inside another: use asyncio.to_thread(harness.call, ...)")


def _bodyForClient(frames: list[bytes]) -> Frames:
    """Return the body of a message, as the client that it is sent to parses it."""
    reply = parseServerReply(frames[1:])
    assert reply is not None
    return reply.body


def _shown(body: Frames) -> bytes | list[bytes]:
    """Return the one frame of a body, or the list of several."""
    frames = [bytes(each) for each in body]
    return frames[0] if len(frames) == 1 else frames


def _request(
    number: int,
    body: tuple[bytes, ...],
    *,
    service: str = "",
    client: str | None = None,
    attempt: int = 1,
    remaining: float | None = None,
    trace: str = "",
    cancelled: bool = False,
) -> NativeRequest:
    """Return a request as the broker parses it from a client's frames; only the worker is told if it is cancelled."""
    options: dict[str, Any] = {"service": service, "trace": trace, "partial": True}
    if remaining is not None:
        options["timeout_ms"] = remaining * 1000
    request = readRequest([CLIENT, header(os.urandom(16), options), b"", *toFrames(body)])
    if not isinstance(request, NativeRequest):
        raise ValueError(f"no client can send this request: {request!r}")
    request.brokerId = number.to_bytes(8, "big")
    request.peer = client
    request.deaths = attempt - 1
    if request.timeout is not None:
        request.deadline = monotonic() + request.timeout
    return request
