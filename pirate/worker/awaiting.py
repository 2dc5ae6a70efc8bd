"""Several requests at once on a loop: what asyncio and Twisted's reactor have in common."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from pirate.wire.words import PARTIAL
from pirate.worker.app import App, Context, isAwaitable
from pirate.worker.duty import ServeContext
from pirate.worker.execution import failure, softTimeoutError
from pirate.worker.inflight import InFlight, RunningRequest, cancelled

_Generator = type(_ for _ in ())


class AsyncRunner:
    """
    Runs an app whose answers are waited for.

    What depends on the loop is left to subclasses: :meth:`_start`, ``_stop``, :meth:`_later`, :meth:`_breathe` and
    ``cancellation``.

    :param softTimeout: seconds after which a job is cancelled; 0: never.
    :param post: sends frames, without a routing id, to the broker.
    :param failed: called with each error that is an answer, while it is being handled.
    :ivar app: the app, once it is there.
    :ivar inFlight: what is being executed.
    :ivar exits: called with the exception by which an app ends the process.
    """

    #: What is raised where a job waits when it is cancelled.
    cancellation: type[BaseException]
    #: Whether Deferreds can be waited for.
    takesDeferreds = False

    def __init__(
        self,
        softTimeout: float,
        post: Callable[[list[bytes]], None],
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._softTimeout = softTimeout
        self._post = post
        self._failed = failed
        self.app: App
        self.inFlight = InFlight(self._begin, self._interrupt, self._answered)
        self.exits: Callable[[SystemExit], None] = lambda error: None
        self._silent = False

    async def prepare(self, target: Any) -> App:
        """
        Make the app ready.

        :param target: a callable, or a class, of which one instance is made.
        """
        self.app = App(target)
        await self._whatever(self.app.setup())
        return self.app

    async def takeUp(self, serving: ServeContext, end: Callable[[SystemExit | None], None]) -> None:
        """
        Make the app ready, and say so.

        :param end: called when the worker is to leave and holds nothing more, with ``None``, or with the exception by
            which the app ends the process.
        """
        try:
            app = await self.prepare(serving.target)
        except BaseException as error:
            serving.refuse(error)
        self.inFlight.left = lambda: end(None)
        self.exits = end
        serving.ready(app)

    async def close(self) -> None:
        """Tell the app that it is over; what it has not answered is answered by nobody."""
        self._silent = True
        await self._whatever(self.app.close())

    # --- what the loop does

    def _start(self, job: RunningRequest) -> Any:
        """
        Begin to :meth:`perform` a job.

        :return: what can be cancelled.
        """
        raise NotImplementedError

    def _later(self, seconds: float, call: Callable[[RunningRequest], None], job: RunningRequest) -> Any:
        """
        Call later.

        :return: what can be cancelled.
        """
        raise NotImplementedError

    def _breathe(self) -> Awaitable[None]:
        """Fires when everybody else has had a turn, and what was posted has been sent."""
        raise NotImplementedError

    # --- one job

    def _begin(self, job: RunningRequest) -> None:
        if self._softTimeout:
            job.timer = self._later(self._softTimeout, self._tooLong, job)
        job.task = self._start(job)

    def _tooLong(self, job: RunningRequest) -> None:
        job.timer = None
        job.late = True
        self._interrupt(job)

    def _interrupt(self, job: RunningRequest) -> None:
        # One that has not begun sees for itself that it has been cancelled.
        if job.begun and job.task is not None:
            job.task.cancel()

    def _answered(self, frames: list[bytes]) -> None:
        if not self._silent:
            self._post(frames)

    async def perform(self, job: RunningRequest) -> None:
        """Run the app on one request, and send what it says."""
        job.begun = True
        try:
            answer = cancelled(job.request) if job.cancelled else await self._run(job)
        except SystemExit as error:
            # The process ends: what else is in hand is not answered, and so given to another worker.
            self._silent = True
            self.exits(error)
            return
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            answer = self._failure(job, error)
        if job.timer is not None:
            job.timer.cancel()
        self.inFlight.ended(job, answer)

    def _failure(self, job: RunningRequest, error: BaseException) -> list[bytes]:
        if self._silent:
            return []
        if issubclass(type(error), self.cancellation):
            if job.cancelled:
                return cancelled(job.request)
            if job.late:
                error = softTimeoutError(self._softTimeout).with_traceback(error.__traceback__)
        if self._failed is not None:
            self._failed(error)
        return failure(job.request, error)

    async def _run(self, job: RunningRequest) -> list[bytes]:
        frames, told = job.frames, job.frames[2]
        if told:
            result = self.app(frames[4:], Context(job.request, json.loads(told), job.isCancelled))
        else:
            result = self.app(frames[3:], None)
        if hasattr(type(result), "__anext__"):
            await self._streamed(result, job)
            result = None
        elif type(result) is _Generator:
            result = await self._yielded(result, job)
        else:
            result = await self._whatever(result)
        return [job.request, *self.app.answer(result)]

    async def _whatever(self, result: Any) -> Any:
        """What something gives in the end, if it must be waited for, or what it is."""
        return await result if isAwaitable(result, self.takesDeferreds) else result

    async def _streamed(self, parts: Any, job: RunningRequest) -> None:
        """Send each value of an asynchronous generator as a part."""
        try:
            async for part in parts:
                await self._sendPart(part, job)
                if job.cancelled:
                    return
        finally:
            if hasattr(parts, "aclose"):
                await parts.aclose()

    async def _yielded(self, parts: Any, job: RunningRequest) -> Any:
        """
        The same for a plain generator.

        :return: what it returns.
        """
        try:
            while True:
                try:
                    part = next(parts)
                except StopIteration as end:
                    return end.value
                await self._sendPart(part, job)
                if job.cancelled:
                    return None
        finally:
            parts.close()

    async def _sendPart(self, part: Any, job: RunningRequest) -> None:
        self._answered([b"", job.request, PARTIAL, *self.app.answer(part)])
        await self._breathe()

    # --- the end

    def terminated(self) -> None:
        """TERM: leave after what is in hand; a second one: leave at once."""
        leaveAtNextTerm()
        self.inFlight.leave()


def leaveAtNextTerm() -> None:
    """The next TERM makes this process end at once, whatever it is doing."""
    signal.signal(signal.SIGTERM, _leaveAtOnce)


def _leaveAtOnce(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)
