"""The user's app: calls of it with the frames of a request, and the frames of a reply from its result or error."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from functools import partial
from time import perf_counter
from types import MethodType
from typing import Any

from pirate.errors import SoftTimeout
from pirate.wire.words import ERROR, Code
from pirate.worker.errortext import describe, trail


class Context:
    """
    Facts about a request, for an app that has a keyword-only parameter ``context``.

    :ivar pid: the worker's process id.
    :ivar request: the server's id of the request, in hexadecimal.
    :ivar service: the name of the service that the client asks for; empty for the unnamed service.
    :ivar attempt: 1, or more if workers were lost that may have been executing this request.
    :ivar client: the client's address; ``None`` where it is not known.
    :ivar user: the name that goes with the client's key; ``None`` where there is none.
    :ivar trace: the caller's W3C traceparent; empty if it sent none.
    """

    __slots__ = ("_deadline", "_isCancelled", "attempt", "client", "pid", "request", "service", "trace", "user")

    def __init__(self, request: bytes, fields: dict[str, Any], isCancelled: Callable[[], bool]) -> None:
        self._isCancelled = isCancelled
        left = fields.get("remaining_ms")
        self._deadline = None if left is None else perf_counter() + left / 1000
        self.trace: str = fields.get("trace", "")
        self.pid = os.getpid()
        self.request = request.hex()
        self.service: str = fields.get("service", "")
        self.attempt: int = fields.get("attempt", 1)
        self.client: str | None = fields.get("client")
        self.user: str | None = fields.get("user")

    @property
    def remaining(self) -> float | None:
        """The seconds that are left of the caller's timeout, 0 or more; ``None`` if there is no limit."""
        return None if self._deadline is None else max(self._deadline - perf_counter(), 0.0)

    @property
    def cancelled(self) -> bool:
        """True if the caller has cancelled the request, so that the reply is not wanted any more."""
        return self._isCancelled()


class App:
    """
    The user's app, ready to be called.

    :param target: a callable, or a class, of which one instance is made.
    :raise TypeError: if it cannot be called.
    :ivar wantsContext: whether it has a keyword-only parameter ``context``.
    """

    def __init__(self, target: Any) -> None:
        self._made = isinstance(target, type)
        self._target = target() if self._made else target
        if not callable(self._target):
            raise TypeError(f"{target!r} is not callable")
        self.wantsContext = _wantsContext(self._target)
        self.limit(1 << 62, 1 << 31, 1 << 62)

    def limit(self, maxFrame: int, maxFrames: int, maxTotal: int) -> None:
        """
        Set the limits of a reply.

        :param maxFrame: bytes that a frame may have.
        :param maxFrames: frames that a reply may have.
        :param maxTotal: bytes that all frames may have together.
        """
        self._limits = maxFrame, maxFrames, maxTotal
        self._small = min(maxFrame, maxTotal)

    def reply(self, result: Any) -> list[bytes]:
        """
        Return the body of a reply; see :func:`toFrames`.

        :raise TypeError: if the result cannot be sent.
        :raise ValueError: if it exceeds a limit.
        """
        frames = toFrames(result)
        if len(frames) == 1 and type(frames[0]) is bytes and len(frames[0]) <= self._small:
            return frames
        maxFrame, maxFrames, maxTotal = self._limits
        sizes = [each.nbytes if isinstance(each, memoryview) else len(each) for each in frames]
        if max(sizes) > maxFrame:
            raise ValueError(f"a frame of the reply has {max(sizes)} bytes, more than max-message-size allows")
        if len(frames) > maxFrames or sum(sizes) > maxTotal:
            raise ValueError(
                f"the reply has {len(frames)} frames of {sum(sizes)} bytes, more than max-message-frames or "
                "max-message-total allows"
            )
        return frames

    def sendParts(self, parts: Generator[Any, Any, Any], send: Callable[[list[bytes]], bool]) -> Any:
        """
        Send each value of a generator as a part of the reply, until the request is cancelled.

        :param send: sends the body of a part, and returns whether the request has been cancelled.
        :return: what the generator returns; ``None`` if the request has been cancelled.
        """
        while True:
            try:
                part = next(parts)
            except StopIteration as end:
                return end.value
            if send(self.reply(part)):
                parts.close()
                return None

    def call(self, frames: list[bytes], isCancelled: Callable[[], bool]) -> Any:
        """
        Call the app with a request, and return its result.

        :param frames: the broker's message: a delimiter, the id, the context if the app wants one, a delimiter, and the
            body.
        :param isCancelled: tells the context whether the request has been cancelled.
        """
        if frames[2]:
            context = Context(frames[1], json.loads(frames[2]), isCancelled)
            return self._target(*frames[4:], context=context)
        return self._target(*frames[3:])

    def setup(self) -> Any:
        """
        Call the ``setup`` method of an instance that was made of a class, if there is one.

        :return: its result, to be awaited if the app is async.
        """
        setup = getattr(self._target, "setup", None) if self._made else None
        return setup() if callable(setup) else None

    def close(self) -> Any:
        """
        Call the app's ``close`` method, if there is one, because the worker is about to end.

        :return: its result, to be awaited if the app is async.
        """
        close = getattr(self._target, "close", None)
        return close() if callable(close) else None


def prepare(target: Any) -> App:
    """
    Make an app that is not async, and set it up.

    :param target: a callable, or a class, of which one instance is made.
    :raise TypeError: if it cannot be called, or if its ``setup`` or ``close`` is async.
    """
    app = App(target)
    for name in ("setup", "close"):
        if app._made and isAsync(getattr(app._target, name, None)):
            raise TypeError(f"{name} is async, but the app is not: make its __call__ async, or use --loop asyncio")
    app.setup()
    return app


# --- replies


def toFrames(result: Any) -> list[bytes]:
    """
    Return an app's result as the frames of a reply.

    :param result: bytes (or another buffer), str (sent as UTF-8), ``None`` (one empty frame), or a list or tuple of
        these for several frames.
    :raise TypeError: if it is anything else.
    """
    if isinstance(result, bytes):
        return [result]
    if isinstance(result, (list, tuple)):
        return [_toFrame(each) for each in result] or [b""]
    return [_toFrame(result)]


def _toFrame(value: Any) -> Any:
    if isinstance(value, memoryview):
        return value if value.c_contiguous else bytes(value)
    if isinstance(value, (bytes, bytearray)):
        return value
    if isinstance(value, str):
        return value.encode()
    if value is None:
        return b""
    raise TypeError(f"an app must return bytes, str, None, or a list of these, not {_nameOf(value)}")


def _nameOf(value: Any) -> str:
    """Return the name of a value's type, with advice if the value should have been awaited."""
    name = type(value).__name__
    if hasattr(type(value), "addCallbacks"):
        return f"{name}: use --loop twisted to have it awaited"
    if hasattr(type(value), "__await__"):
        if hasattr(type(value), "close"):
            # It will never run, and the error says so already: avoid Python's warning.
            value.close()
        return f"{name}: use --loop asyncio to have it awaited"
    if hasattr(type(value), "__anext__"):
        return f"{name}: use --loop asyncio to have it iterated"
    return name


def errorReply(request: bytes, error: BaseException) -> list[bytes]:
    """
    Return the message that tells the broker that the app has raised an error.  This cannot fail.

    :param request: the broker's id of the request.
    """
    code = Code.TIMEOUT if issubclass(type(error), SoftTimeout) else Code.APP_ERROR
    frames = [b"", request, ERROR, code.encode(), describe(error).encode()]
    lines = trail(error)
    return [*frames, lines.encode()] if lines else frames


def cancelledReply(request: bytes) -> list[bytes]:
    """
    Return the message that tells the broker that a request was cancelled, as its caller has asked.

    :param request: the broker's id of the request.
    """
    return [b"", request, ERROR, Code.CANCELLED.encode(), b"it was cancelled"]


def softTimeoutError(seconds: float) -> SoftTimeout:
    """Return the error of a request that has taken longer than the soft time limit, in seconds."""
    return SoftTimeout(f"the job has taken {seconds:g} seconds")


# --- what kind of app it is

#: The flags of the code of coroutine functions, of what ``types.coroutine`` makes, and of asynchronous generators.
_ASYNC = 0x80 | 0x100 | 0x200


def isAsync(target: Any) -> bool:
    """
    Return whether a callable, or an instance of a class, is async when called.

    A decorated function counts as what its decorator has made: if that is a plain function, nothing is known of its
    result.  This does without ``inspect``, which is slow to import.
    """
    function = target.__call__ if isinstance(target, type) else target
    while isinstance(function, (partial, MethodType)):
        function = function.func if isinstance(function, partial) else function.__func__
    if not hasattr(type(function), "__code__") and callable(function):
        function = type(function).__call__
    return hasattr(type(function), "__code__") and bool(function.__code__.co_flags & _ASYNC)


def isAwaitable(result: Any, deferreds: bool) -> bool:
    """
    Return whether a result must be awaited.

    :param deferreds: whether a Deferred can be.
    """
    kind = type(result)
    return hasattr(kind, "__await__") and (deferreds or not hasattr(kind, "addCallbacks"))


def _wantsContext(call: Any) -> bool:
    """Return whether a callable has a keyword-only parameter ``context``, without ``inspect``."""
    function = _innermost(call)
    if not hasattr(type(function), "__code__"):
        function = _innermost(type(function).__call__)
    if not hasattr(type(function), "__code__"):
        return False
    code = function.__code__
    first = code.co_argcount
    return "context" in code.co_varnames[first : first + code.co_kwonlyargcount]


def _innermost(call: Any) -> Any:
    """Return the function under decorators, partials and methods."""
    while True:
        # Not by getattr: some objects have every attribute that they are asked for.
        attributes = getattr(call, "__dict__", {})
        if "__wrapped__" in attributes:
            call = attributes["__wrapped__"]
        elif isinstance(call, partial):
            call = call.func
        elif isinstance(call, MethodType):
            call = call.__func__
        else:
            return call
