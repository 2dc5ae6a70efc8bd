"""One request after the other: the app is run on a request's frames, and what it says is made an answer's frames."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from time import perf_counter
from typing import Any

from pirate.errors import SoftTimeout
from pirate.wire.words import ERROR, PARTIAL, Code
from pirate.worker.app import App, Context
from pirate.worker.credit import Credit
from pirate.worker.imports import describe, trail

#: Seconds after which a job has taken long, so that those which wait behind it may have been cancelled meanwhile.
LONG = 0.001
_Generator = type(_ for _ in ())


class Leave(BaseException):
    """The worker is to leave, and holds nothing that it has begun."""


class Execution:
    """
    Runs an app, which has the thread for itself.

    :param softTimeout: seconds after which :class:`~pirate.errors.SoftTimeout` is raised in the app, by SIGALRM; 0:
        never.
    :param credit: measures how many requests may be held; ``None``: their number is fixed.
    :param failed: called with each error that is an answer, while it is being handled.
    """

    def __init__(
        self,
        softTimeout: float = 0.0,
        credit: Credit | None = None,
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._softTimeout = softTimeout
        self._credit = credit
        self._failed = failed
        self._cancelled: set[bytes] = set()
        self._inMessage = False
        self._late = False
        self._tookLong = False

    def _reply(self, frames: list[bytes]) -> None:
        """Send frames, without a routing id, to the broker."""
        raise NotImplementedError

    def _isCancelled(self, request: bytes) -> bool:
        """Whether a request that is being executed has been cancelled."""
        raise NotImplementedError

    def _announceCredit(self, credit: int) -> None:
        """Tell the broker how many requests may be held."""
        raise NotImplementedError

    def _leaveMessage(self) -> None:
        """A message is whole again: if the soft time limit has passed meanwhile, it is time to say so."""
        self._inMessage = False
        if self._late:
            self._late = False
            raise self._timeout()

    def _execute(self, app: App, frames: list[bytes]) -> None:
        """Run the app on one request, and send what it says."""
        request, told = frames[1], frames[2]
        began = perf_counter()
        try:
            answer = self._run(app, frames, request, told)
        except (SystemExit, Leave):
            raise
        except BaseException as error:
            if self._failed is not None:
                self._failed(error)
            answer = failure(request, error)
        self._cancelled.discard(request)
        took = perf_counter() - began
        self._tookLong = took > LONG
        credit = self._credit
        if credit is not None and credit.note(took):
            # Before the answer, which the broker takes for a request to fill the hand again.
            credit.announced = credit.earned
            self._announceCredit(credit.announced)
        self._reply(answer)

    def _run(self, app: App, frames: list[bytes], request: bytes, told: bytes) -> list[bytes]:
        """The frames of the app's answer; those of its parts, if it is a generator, are sent as they come."""
        if self._softTimeout:
            self._late = False
            signal.setitimer(signal.ITIMER_REAL, self._softTimeout)
        try:
            if told:
                context = Context(request, json.loads(told), lambda: self._isCancelled(request))
                result = app(frames[4:], context)
            else:
                result = app(frames[3:], None)
            if type(result) is _Generator:
                result = self._stream(app, result, request)
            return [request, *app.answer(result)]
        finally:
            if self._softTimeout:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _stream(self, app: App, parts: Any, request: bytes) -> Any:
        """
        Send each value of a generator as a part.

        :return: what the generator returns.
        """
        while True:
            try:
                part = next(parts)
            except StopIteration as end:
                return end.value
            frames = app.answer(part)
            self._inMessage = True
            self._reply([b"", request, PARTIAL, *frames])
            self._leaveMessage()
            if self._isCancelled(request):
                parts.close()
                return None

    def _tooLong(self, number: int, frame: object) -> None:
        # In the middle of a message, the exception would leave half of it behind.
        if self._inMessage:
            self._late = True
        else:
            raise self._timeout()

    def _timeout(self) -> SoftTimeout:
        return softTimeoutError(self._softTimeout)


def softTimeoutError(seconds: float) -> SoftTimeout:
    """What is raised when a job has taken so many seconds."""
    return SoftTimeout(f"the job has taken {seconds:g} seconds")


def failure(request: bytes, error: BaseException) -> list[bytes]:
    """Make the frames that tell the broker that the app has ended a request with an error.  This cannot fail."""
    code = Code.TIMEOUT if issubclass(type(error), SoftTimeout) else Code.APP_ERROR
    frames = [b"", request, ERROR, code.encode(), describe(error).encode()]
    lines = trail(error)
    return [*frames, lines.encode()] if lines else frames
