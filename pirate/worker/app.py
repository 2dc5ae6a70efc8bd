"""The user's app: found by its import path, called with a request's frames, and its result made frames again."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from time import perf_counter
from types import MethodType
from typing import Any


class Context:
    """
    What an app may know of a request, if it has a keyword-only parameter ``context``.

    :ivar pid: the worker's process id.
    :ivar request: the broker's id of the request, in hexadecimal.
    :ivar service: the name that was asked for; empty for the unnamed service.
    :ivar attempt: 1, or more if workers have died of this request.
    :ivar client: the client's address, or ``None`` where it is not known.
    :ivar user: who the client is, by its key; ``None`` where that is not known.
    :ivar trace: the caller's W3C traceparent, or empty.
    """

    __slots__ = ("_deadline", "_isCancelled", "attempt", "client", "pid", "request", "service", "trace", "user")

    def __init__(self, request: bytes, told: dict[str, Any], isCancelled: Callable[[], bool]) -> None:
        self._isCancelled = isCancelled
        left = told.get("remaining_ms")
        self._deadline = None if left is None else perf_counter() + left / 1000
        self.trace: str = told.get("trace", "")
        self.pid = os.getpid()
        self.request = request.hex()
        self.service: str = told.get("service", "")
        self.attempt: int = told.get("attempt", 1)
        self.client: str | None = told.get("client")
        self.user: str | None = told.get("user")

    @property
    def remaining(self) -> float | None:
        """What is left of the caller's budget in seconds, 0 or more; ``None`` if there is no limit."""
        return None if self._deadline is None else max(self._deadline - perf_counter(), 0.0)

    @property
    def cancelled(self) -> bool:
        """Whether the caller does not want the answer any more."""
        return self._isCancelled()


class App:
    """
    The user's app, ready to be called.

    :param target: a callable, or a class, of which one instance is made.
    """

    def __init__(self, target: Any) -> None:
        self._made = isinstance(target, type)
        self._call = target() if self._made else target
        if not callable(self._call):
            raise TypeError(f"{target!r} is not callable")
        self.wantsContext = _wantsContext(self._call)
        self.limit(1 << 62, 1 << 31, 1 << 62)

    def limit(self, frame: int, frames: int, total: int) -> None:
        """
        Say how much an answer may be.

        :param frame: bytes of each frame.
        :param frames: how many there may be.
        :param total: bytes of all of them.
        """
        self._limits = frame, frames, total
        self._small = min(frame, total)

    def answer(self, result: Any) -> list[bytes]:
        """
        An answer's frames; see :func:`toFrames`.

        :raise ValueError: if the broker would not take them.
        """
        frames = toFrames(result)
        if len(frames) == 1 and type(frames[0]) is bytes and len(frames[0]) <= self._small:
            return frames
        most, count, limit = self._limits
        sizes = [each.nbytes if isinstance(each, memoryview) else len(each) for each in frames]
        if max(sizes) > most:
            raise ValueError(f"a frame of the answer has {max(sizes)} bytes, more than max-message-size allows")
        if len(frames) > count or sum(sizes) > limit:
            raise ValueError(
                f"the answer has {len(frames)} frames of {sum(sizes)} bytes, more than max-message-frames or "
                "max-message-total allows"
            )
        return frames

    def __call__(self, body: list[bytes], context: Context | None) -> Any:
        """
        What the app says.

        :param body: the request's frames.
        """
        return self._call(*body) if context is None else self._call(*body, context=context)

    def setup(self) -> Any:
        """
        Tell an instance that was made of a class, and has a ``setup`` method, that there will be requests.

        :return: what it says, which is to be waited for if the app is async.
        """
        setup = getattr(self._call, "setup", None) if self._made else None
        return setup() if callable(setup) else None

    def close(self) -> Any:
        """
        Tell an app that has a ``close`` method that the worker is about to end.

        :return: what it says, which is to be waited for if the app is async.
        """
        close = getattr(self._call, "close", None)
        return close() if callable(close) else None


def prepare(target: Any) -> App:
    """
    An app that is not async, made and set up.

    :raise TypeError: if it has methods that are.
    """
    app = App(target)
    for name in ("setup", "close"):
        if app._made and isAsync(getattr(app._call, name, None)):
            raise TypeError(f"{name} is async, but the app is not: make its __call__ async, or give it --loop asyncio")
    app.setup()
    return app


def toFrames(result: Any) -> list[bytes]:
    """
    An app's result as the frames of a reply.

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
    raise TypeError(f"an app must return bytes, str, None, or a list of these, not {_named(value)}")


def _named(value: Any) -> str:
    """What a value is, and what to do if it is one that should have been waited for."""
    name = type(value).__name__
    if hasattr(type(value), "addCallbacks"):
        return f"{name}: let it be waited for with --loop twisted"
    if hasattr(type(value), "__await__"):
        if hasattr(type(value), "close"):
            # It will never run; nobody needs to be warned of that, too.
            value.close()
        return f"{name}: let it be waited for with --loop asyncio"
    if hasattr(type(value), "__anext__"):
        return f"{name}: let it be waited for with --loop asyncio"
    return name


#: The flags of the code of coroutine functions, of what ``types.coroutine`` makes, and of asynchronous generators.
_ASYNC = 0x80 | 0x100 | 0x200


def isAsync(target: Any) -> bool:
    """
    Whether a callable, or an instance of a class, is async when called: without ``inspect``, which is slow to import.

    What a decorator makes counts, not what it was made of: if that is a plain function, nothing is known of its result.
    """
    function = target.__call__ if isinstance(target, type) else target
    while isinstance(function, (partial, MethodType)):
        function = function.func if isinstance(function, partial) else function.__func__
    if not hasattr(type(function), "__code__") and callable(function):
        function = type(function).__call__
    return hasattr(type(function), "__code__") and bool(function.__code__.co_flags & _ASYNC)


def isAwaitable(result: Any, deferreds: bool) -> bool:
    """
    Whether a result is to be waited for.

    :param deferreds: whether TwistedRunner can be.
    """
    kind = type(result)
    return hasattr(kind, "__await__") and (deferreds or not hasattr(kind, "addCallbacks"))


def _wantsContext(call: Any) -> bool:
    """Whether a callable has a keyword-only parameter ``context``; without ``inspect``, which is slow to import."""
    function = _innermost(call)
    if not hasattr(type(function), "__code__"):
        function = _innermost(type(function).__call__)
    if not hasattr(type(function), "__code__"):
        return False
    code = function.__code__
    first = code.co_argcount
    return "context" in code.co_varnames[first : first + code.co_kwonlyargcount]


def _innermost(call: Any) -> Any:
    """What is called in the end, under decorators, partials and methods."""
    while True:
        # Not by getattr: there are objects that have every attribute that they are asked for.
        attributes = getattr(call, "__dict__", {})
        if "__wrapped__" in attributes:
            call = attributes["__wrapped__"]
        elif isinstance(call, partial):
            call = call.func
        elif isinstance(call, MethodType):
            call = call.__func__
        else:
            return call
