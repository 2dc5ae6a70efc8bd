"""What stands in for the worker, and for the broker, when an app is called in a test's own process."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from pirate.broker.replycache import Outcome
from pirate.broker.request import NativeRequest
from pirate.client.errors import CallError, failure
from pirate.wire.backend import Failure, Part, parseWorkerMessage, requestFrames
from pirate.wire.frontend import parseServerReply
from pirate.wire.words import CANCEL, Code, Frames
from pirate.worker import looprunner
from pirate.worker.app import App, prepare
from pirate.worker.asynciorunner import AsyncioLoop
from pirate.worker.credit import Credit
from pirate.worker.looprunner import LoopRunner
from pirate.worker.serialrunner import SerialRunner

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

#: Where the errors say that they come from.
ENDPOINT = "the harness"
#: The routing id of the worker.
WORKER = b"worker"

#: Called with frames that the worker's side has sent.
Said = Callable[[list[bytes]], None]
#: Called with an error that is an answer.
Failed = Callable[[BaseException], None]


class Streamed(NamedTuple):
    """
    An answer in parts; each of them, and the end, is ``bytes``, or a list of them for several frames.

    :ivar parts: what was yielded.
    :ivar end: what was returned: ``b""`` for nothing.
    """

    parts: list[bytes | list[bytes]]
    end: bytes | list[bytes]


class Asked:
    """
    A request under way.

    :ivar frames: what the worker gets.
    :ivar ended: called when there is an answer.
    """

    def __init__(self, request: NativeRequest, wantsContext: bool) -> None:
        self.request = request
        self.frames = requestFrames(
            WORKER, request.id, request.body, request.context(monotonic()) if wantsContext else None
        )[1:]
        self.ended: Callable[[], None] = lambda: None
        self._parts: list[Frames] = []
        self._body: Frames = ()
        self._error: CallError | None = None

    def hear(self, frames: list[bytes], cause: BaseException | None) -> bool:
        """
        The app has answered, or a part.

        :return: whether that was all.
        """
        message = parseWorkerMessage([WORKER, *frames])
        if isinstance(message, Part):
            self._parts.append(self._carried(self.request.part(message.body)))
            return False
        if isinstance(message, tuple):
            self._body = self._carried(self.request.reply(message[2]))
        elif isinstance(message, Failure):
            self._fail(message.code.decode(), message.text.decode(), cause)
        else:
            raise AssertionError(f"the worker has said {message!r}")
        self.ended()
        return True

    def lost(self, cause: BaseException) -> None:
        """The app has ended its process."""
        code = getattr(cause, "code", 1)
        self._fail(Code.WORKER_LOST, f"the app has ended its worker: exit code {code}", cause)

    def whole(self) -> Frames:
        """The answer as one."""
        if self._error is not None:
            raise self._error
        return Outcome(self._body, parts=self._parts).whole()

    def streamed(self) -> Streamed:
        """The answer in parts."""
        if self._error is not None:
            raise self._error
        return Streamed([shown(part) for part in self._parts], shown(self._body))

    def _carried(self, frames: list[bytes]) -> Frames:
        """The body of what a client receives."""
        answer = parseServerReply(frames[1:])
        assert answer is not None
        return answer.body

    def _fail(self, code: str, text: str, cause: BaseException | None) -> None:
        self._error = failure(code, text, ENDPOINT, self.request.key)
        self._error.attempts = self.request.attempts
        self._error.__cause__ = cause


def shown(body: Frames) -> bytes | list[bytes]:
    """A body, as a client shows it."""
    frames = [bytes(each) for each in body]
    return frames[0] if len(frames) == 1 else frames


class OneByOne:
    """An app that is not async, run as :mod:`pirate.worker.serialrunner` does."""

    def __init__(self, target: Any, softTimeout: float, said: Said, failed: Failed) -> None:
        self._said = said
        self._failed = failed
        self._softTimeout = softTimeout
        self._cancelled: set[bytes] = set()
        self.app = prepare(target)
        self._runner = SerialRunner(self.app, self, softTimeout=softTimeout, credit=Credit())

    def run(self, asked: Asked, cancelled: bool) -> None:
        """Run the app on a request."""
        if cancelled:
            self._cancelled.add(asked.request.id)
        if not self._softTimeout:
            self._runner.execute(asked.frames)
            return
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("jobSoftTimeout works in the main thread only, unless the app is async")
        before = signal.signal(signal.SIGALRM, self._runner.alarm)
        try:
            self._runner.execute(asked.frames)
        finally:
            signal.signal(signal.SIGALRM, before)

    def close(self) -> None:
        """Close the app."""
        self.app.close()

    # --- what the runner asks for

    def post(self, frames: list[bytes]) -> None:
        """Take a message for the broker."""
        self._said(frames)

    def isCancelled(self, request: bytes) -> bool:
        """Tell whether the test has cancelled a request."""
        return request in self._cancelled

    def creditChanged(self, credit: int) -> None:
        """Do nothing: requests come one by one."""

    def requestFailed(self, error: BaseException) -> None:
        """Note an error of the app."""
        self._failed(error)


class OnLoop:
    """An async app, on an asyncio loop of its own."""

    def __init__(self, target: Any, softTimeout: float, said: Said, failed: Failed) -> None:
        self._said = said
        self._failed = failed
        self._ended: asyncio.Future[None] | None = None
        refuseInsideLoop()
        self._runner = asyncio.Runner()
        loop = AsyncioLoop(self._runner.get_loop())
        try:
            self.app: App = self._do(looprunner.prepare, loop, target)
        except BaseException:
            self._runner.close()
            raise
        self._tasks = LoopRunner(self.app, loop, self, softTimeout=softTimeout)

    def run(self, asked: Asked, cancelled: bool) -> None:
        """Run the app on a request."""
        self._do(self._call, asked, cancelled)

    def close(self) -> None:
        """Close the app, and the loop."""
        try:
            self._do(self._tasks.close)
        finally:
            self._runner.close()

    # --- what the runner asks for

    def post(self, frames: list[bytes]) -> None:
        """Take a message for the broker."""
        self._said(frames)

    def drained(self) -> None:
        """Return ``None``: there is always room."""

    def requestFailed(self, error: BaseException) -> None:
        """Note an error of the app."""
        self._failed(error)

    def appExited(self, error: SystemExit) -> None:
        """End the call, because the app ends the process."""
        if self._ended is not None:
            self._ended.set_exception(error)

    def finished(self) -> None:
        """Do nothing: there may be another call."""

    async def _call(self, asked: Asked, cancelled: bool) -> None:
        ended = self._ended = asyncio.get_running_loop().create_future()
        asked.ended = lambda: ended.set_result(None)
        self._tasks.inFlight.received(asked.frames)
        if cancelled:
            # Not before it has begun.
            await asyncio.sleep(0)
            self._tasks.inFlight.received([b"", CANCEL, asked.request.id])
        await ended

    def _do(self, call: Callable[..., Any], *arguments: Any) -> Any:
        refuseInsideLoop()
        return self._runner.run(call(*arguments))


def refuseInsideLoop() -> None:
    """
    Make sure that no asyncio loop is running in this thread.

    :raise RuntimeError: if one is.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("this app's loop cannot run inside another: use asyncio.to_thread(harness.call, ...)")


class OnReactor:
    """An app that returns Deferreds."""

    def __init__(self, target: Any, softTimeout: float, said: Said, failed: Failed, reactor: Any) -> None:
        from twisted.internet.defer import Deferred

        from pirate.worker.twistedrunner import ReactorLoop

        self._Deferred = Deferred
        self._said = said
        self._failed = failed
        self._lost: Callable[[SystemExit], None] | None = None
        loop = ReactorLoop(reactor)
        self.app: App = self._now(looprunner.prepare(loop, target), "setup")
        self._deferreds = LoopRunner(self.app, loop, self, softTimeout=softTimeout)

    def begin(self, asked: Asked, cancelled: bool) -> Deferred[bytes | list[bytes]]:
        """
        Run the app on a request.

        :return: fires with the reply, whole.
        """
        ended: Deferred[bytes | list[bytes]] = self._Deferred()

        def end() -> None:
            try:
                reply = shown(asked.whole())
            except CallError:
                ended.errback()
            else:
                ended.callback(reply)

        def lost(error: SystemExit) -> None:
            asked.lost(error)
            end()

        asked.ended = end
        self._lost = lost
        self._deferreds.inFlight.received(asked.frames)
        if cancelled:
            self._deferreds.inFlight.received([b"", CANCEL, asked.request.id])
        return ended

    def run(self, asked: Asked, cancelled: bool) -> None:
        """The same for a reply that does not have to be waited for."""
        ended = self.begin(asked, cancelled)
        if not ended.called:
            raise RuntimeError("the app has not answered at once: use begin, which returns a Deferred")
        ended.addErrback(lambda reason: None)

    def close(self) -> None:
        """Close the app."""
        self._now(self._deferreds.close(), "close")

    # --- what the runner asks for

    def post(self, frames: list[bytes]) -> None:
        """Take a message for the broker."""
        self._said(frames)

    def drained(self) -> None:
        """Return ``None``: there is always room."""

    def requestFailed(self, error: BaseException) -> None:
        """Note an error of the app."""
        self._failed(error)

    def appExited(self, error: SystemExit) -> None:
        """End the last call, because the app ends the process."""
        if self._lost is not None:
            self._lost(error)

    def finished(self) -> None:
        """Do nothing: there may be another call."""

    def _now(self, coroutine: Any, name: str) -> Any:
        done = self._Deferred.fromCoroutine(coroutine)
        results: list[Any] = []
        done.addBoth(results.append)
        if not results:
            raise RuntimeError(f"{name} must not have to wait in a harness with loop='twisted'")
        if results[0] is not None and hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]
