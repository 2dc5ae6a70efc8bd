# -*- test-case-name: pirate.test.worker.test_app -*-
"""Tests of the user's app: its results as frames, the context that it may want, whether it is async."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.worker.app import App, Context, isAsync, toFrames


class FramesTests(SynchronousTestCase):
    """An app's result is made the frames of a reply."""

    def test_one(self) -> None:
        """Bytes of any kind, text and ``None`` are one frame."""
        for result, frame in (
            (b"x", b"x"),
            (b"", b""),
            (bytearray(b"x"), b"x"),
            (memoryview(b"x"), b"x"),
            ("gr\u00fc\u00df", "gr\u00fc\u00df".encode()),
            (None, b""),
        ):
            self.assertEqual([bytes(each) for each in toFrames(result)], [frame])

    def test_several(self) -> None:
        """Each item of a list or tuple is a frame, by the same rules; an empty one is one empty frame."""
        self.assertEqual(toFrames([b"a", "b", None]), [b"a", b"b", b""])
        self.assertEqual(toFrames((b"a",)), [b"a"])
        self.assertEqual(toFrames([]), [b""])

    def test_notCopied(self) -> None:
        """A large result is passed on without a copy."""
        large = bytes(1 << 20)
        self.assertIs(toFrames(large)[0], large)
        self.assertIs(toFrames([large])[0], large)

    def test_wrong(self) -> None:
        """Anything else is refused with the name of its type, also within a list."""
        for result in (1, {"a": 1}, [b"x", 2.5], [[b"x"]], object()):
            error = self.assertRaises(TypeError, toFrames, result)
            self.assertIn("must return bytes, str, None", str(error))
        self.assertIn("float", str(self.assertRaises(TypeError, toFrames, [b"x", 2.5])))


def plain(*body: bytes) -> bytes:
    """Take no context."""
    return b"".join(body)


def asking(*body: bytes, context: Context) -> str:
    """Take the context."""
    return f"{context.request} {len(body)}"


def positional(context: bytes, other: bytes = b"") -> bytes:
    """Take a frame of the body as a positional parameter ``context``."""
    return context


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function in the usual way."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        return function(*arguments, **keywords)

    return wrapper


class Asking:
    """An app with a state, whose instances take the context."""

    made = 0

    def __init__(self) -> None:
        Asking.made += 1
        self.closed = 0

    def __call__(self, *body: bytes, context: Context) -> str:
        return context.request

    def method(self, *body: bytes, context: Context) -> str:
        """Take the context in a method."""
        return context.request

    @decorated
    def wrapped(self, *body: bytes, context: Context) -> str:
        """Take the context under a decorator."""
        return context.request

    @classmethod
    def ofClass(cls, *body: bytes, context: Context) -> str:
        """Take the context in a class method."""
        return context.request

    def close(self) -> None:
        """Count."""
        self.closed += 1


class Proxy:
    """A callable that has every attribute that it is asked for."""

    def __getattr__(self, name: str) -> Proxy:
        return self

    def __call__(self, *body: bytes) -> bytes:
        return b"proxy"


class AppTests(SynchronousTestCase):
    """An app is made ready and called."""

    def call(self, target: Any, *body: bytes) -> list[bytes]:
        """Call an app as a worker does, with the context if it wants one."""
        app = App(target)
        context = [b"{}"] if app.wantsContext else []
        return app.reply(app.call([b"", b"\x80\x01", *context, b"", *body], lambda: False))

    def test_context(self) -> None:
        """A callable of any kind gets the context if it has a keyword-only parameter ``context``."""
        instance = Asking()
        for target in (
            asking,
            decorated(asking),
            decorated(decorated(asking)),
            functools.partial(asking, b"first"),
            functools.partial(decorated(asking)),
            functools.lru_cache(asking),
            instance,
            instance.method,
            instance.wrapped,
            Asking,
            Asking.ofClass,
            lambda *body, context: context.request,
        ):
            self.assertTrue(self.call(target, b"x")[0].startswith(b"8001"), target)

    def test_noContext(self) -> None:
        """Other callables are called with the body alone."""
        for target in (plain, decorated(plain), functools.partial(plain, b""), functools.lru_cache(plain), positional):
            self.assertEqual(self.call(target, b"x"), [b"x"], target)
        self.assertEqual(self.call(bytes.upper, b"x"), [b"X"])
        self.assertEqual(self.call(Proxy(), b"x"), [b"proxy"])

    def test_frames(self) -> None:
        """Each frame of the body is an argument."""
        self.assertEqual(self.call(lambda first, second: [second, first], b"a", b"b"), [b"b", b"a"])

    def test_once(self) -> None:
        """A class is instantiated once for all requests."""
        before = Asking.made
        app = App(Asking)
        for _ in range(3):
            app.call([b"", b"\x80", b"{}", b"", b"x"], lambda: False)
        self.assertEqual(Asking.made - before, 1)

    def test_close(self) -> None:
        """An app's ``close`` method is called if there is one."""
        instance = Asking()
        App(instance).close()
        self.assertEqual(instance.closed, 1)
        App(plain).close()

    def test_notCallable(self) -> None:
        """An app that cannot be called is refused at once, not at the first request."""
        for target in (3, b"x", type("Empty", (), {})):
            error = self.assertRaises(TypeError, App, target)
            self.assertIn("is not callable", str(error))


class AsyncTests(SynchronousTestCase):
    """An async app is recognised."""

    def test_async(self) -> None:
        """Coroutine functions and asynchronous generators are async, as functions, methods, classes and decorators."""

        async def coroutine(*body: bytes) -> bytes:
            return plain(*body)

        async def parts(*body: bytes) -> AsyncIterator[bytes]:
            yield plain(*body)

        @functools.wraps(plain)
        async def around(*body: bytes) -> bytes:
            return plain(*body)

        owner = type("Owner", (), {"__call__": coroutine, "method": parts})
        for target in (coroutine, parts, around, functools.partial(coroutine, b""), owner, owner(), owner().method):
            self.assertTrue(isAsync(target), target)

    def test_plain(self) -> None:
        """All others are not async, not even a plain decorator of a coroutine function."""

        async def coroutine(*body: bytes) -> bytes:
            return plain(*body)

        for target in (plain, decorated(coroutine), Asking, Asking(), Asking().method, bytes.upper, Proxy(), 3, int):
            self.assertFalse(isAsync(target), target)


class ContextTests(SynchronousTestCase):
    """The context has what the broker tells of a request."""

    def test_told(self) -> None:
        """It has everything that the broker has told, and the process id."""
        context = Context(b"\x80\xab", {"service": "s", "attempt": 2, "client": "127.0.0.1"}, lambda: False)
        self.assertEqual((context.request, context.service, context.attempt), ("80ab", "s", 2))
        self.assertEqual((context.client, context.pid), ("127.0.0.1", os.getpid()))

    def test_little(self) -> None:
        """A context without information from the broker has defaults."""
        context = Context(b"\x80", {}, lambda: False)
        self.assertEqual((context.service, context.attempt, context.client), ("", 1, None))
