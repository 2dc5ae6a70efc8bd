# -*- test-case-name: pirate.test.testing.test_harness -*-
"""The tests of the harness, with apps of every kind."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Generator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from pirate.client import AppError, Cancelled, JobTimedOut, WorkerLost
from pirate.errors import SoftTimeout
from pirate.test.support import hostile
from pirate.testing import AppHarness, Streamed
from pirate.wire.words import MAX_TEXT
from pirate.worker.app import Context


def told(*words: bytes, context: Context) -> list[str]:
    """Return all fields of the context."""
    left = "" if context.remaining is None else f"{context.remaining:.0f}"
    return [context.service, str(context.client), str(context.attempt), left, context.trace, str(context.cancelled)]


def fail(text: bytes) -> None:
    """Raise an exception."""
    raise ValueError(text.decode())


async def failLater(text: bytes) -> None:
    """Raise an exception, after a turn of the loop."""
    await asyncio.sleep(0)
    fail(text)


def count(upTo: bytes) -> Generator[object, None, object]:
    """Yield parts, and return an end."""
    for number in range(int(upTo)):
        yield str(number)
    return ["the", "end"]


async def countLater(upTo: bytes) -> AsyncIterator[object]:
    """Yield parts, some of two frames."""
    for number in range(int(upTo)):
        await asyncio.sleep(0)
        yield [str(number), "!"] if number else str(number)


def leave(code: bytes) -> None:
    """End the worker."""
    sys.exit(int(code))


async def leaveLater(code: bytes) -> None:
    """End the worker, after a turn of the loop."""
    await asyncio.sleep(0)
    leave(code)


class Diary:
    """An app that is set up and closed."""

    def __init__(self) -> None:
        self.entries = ["made"]
        diaries.append(self.entries)

    def setup(self) -> None:
        """Note the setup."""
        self.entries.append("setup")

    def __call__(self, word: bytes) -> str:
        self.entries.append(word.decode())
        return " ".join(self.entries)

    def close(self) -> None:
        """Note the close."""
        self.entries.append("closed")


class AsyncDiary(Diary):
    """An app that is set up and closed, and waits for its loop in every step."""

    def __init__(self) -> None:
        asyncio.get_running_loop()
        super().__init__()

    async def setup(self) -> None:  # type: ignore[override]
        """Note the setup."""
        await asyncio.sleep(0)
        super().setup()

    async def __call__(self, word: bytes) -> str:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().__call__(word)

    async def close(self) -> None:  # type: ignore[override]
        """Note the close."""
        await asyncio.sleep(0)
        super().close()


#: The entries of each diary that was made.
diaries: list[list[str]] = []


class HarnessCase(SynchronousTestCase):
    """A case that makes harnesses."""

    def harness(self, app: Any, **options: Any) -> AppHarness:
        """Return a harness that is closed when the test ends."""
        harness = AppHarness(app, **options)
        self.addCleanup(harness.close)
        return harness


class PlainTests(HarnessCase):
    """Call apps that are not async."""

    def test_call(self) -> None:
        """A reply of one frame is ``bytes``, one of several a list."""
        self.assertEqual(self.harness(bytes.upper).call(b"x"), b"X")
        self.assertEqual(self.harness(lambda *body: list(body)).call(b"a", b"b"), [b"a", b"b"])
        self.assertEqual(self.harness(lambda body: None).call(b"a"), b"")

    def test_path(self) -> None:
        """An app may be given by its import path."""
        self.assertEqual(self.harness("pirate.echo.echo").call(b"x"), b"x")

    def test_error(self) -> None:
        """An exception of the app is raised as a client raises it, with the app's own exception as its cause."""
        harness = self.harness(fail)
        error = self.assertRaises(AppError, harness.call, b"no: good")
        self.assertEqual((error.type, error.text), ("ValueError", "no: good"))
        self.assertIsInstance(error.__cause__, ValueError)
        self.assertIn("not complex", str(self.assertRaises(AppError, self.harness(lambda body: 1j).call, b"")))

    def test_context(self) -> None:
        """The context has the fields that the test passes, and a server's defaults."""
        harness = self.harness(told)
        self.assertEqual(harness.call(b""), [b"", b"None", b"1", b"", b"", b"False"])
        self.assertEqual(
            harness.call(b"", service="s", client="10.1.2.3", attempt=2, remaining=60, trace="00-1", cancelled=True),
            [b"s", b"10.1.2.3", b"2", b"60", b"00-1", b"True"],
        )

    def test_nonsense(self) -> None:
        """A request that no client can send is refused, and so are unknown fields of the context."""
        harness = self.harness(told)
        self.assertRaises(TypeError, harness.call)
        text: Any = "text"
        self.assertIn("a frame is bytes, not str", str(self.assertRaises(TypeError, harness.call, text)))
        self.assertIn("bad-header", str(self.assertRaises(ValueError, harness.call, b"", remaining=-1)))
        unknown: Any = {"color": "red"}
        self.assertRaises(TypeError, harness.call, b"", **unknown)
        self.assertRaises(TypeError, AppHarness, 3)
        self.assertRaises(ValueError, AppHarness, told, loop="trio")
        self.assertRaises(TypeError, AppHarness, told, loop="twisted")
        self.assertRaises(TypeError, harness.begin, b"")

    def test_stream(self) -> None:
        """``stream`` returns the parts one by one, ``call`` joins them."""
        harness = self.harness(count)
        self.assertEqual(harness.stream(b"2"), Streamed([b"0", b"1"], [b"the", b"end"]))
        self.assertEqual(harness.call(b"2"), [b"0", b"1", b"the", b"end"])
        self.assertEqual(harness.stream(b"3", cancelled=True), Streamed([b"0"], b""))
        self.assertEqual(self.harness(bytes.upper).stream(b"x"), Streamed([], b"X"))

    def test_life(self) -> None:
        """A class is instantiated and set up before the first request, and closed once."""
        with AppHarness(Diary) as harness:
            self.assertEqual(harness.call(b"one"), b"made setup one")
        harness.close()
        self.assertEqual(diaries[-1], ["made", "setup", "one", "closed"])
        self.assertRaises(RuntimeError, harness.call, b"two")

    def test_exit(self) -> None:
        """An app that ends its worker loses the request; the next request finds a new worker."""
        harness = self.harness(leave)
        error = self.assertRaises(WorkerLost, harness.call, b"3")
        self.assertIn("exit code 3", str(error))
        self.assertRaises(WorkerLost, harness.call, b"4")

    def test_softTimeout(self) -> None:
        """The soft timeout is raised in the app, which may clean up or ignore it."""

        def endure(tidy: bytes) -> bytes:
            try:
                time.sleep(60)
            except SoftTimeout:
                if tidy:
                    return b"in order"
                raise
            return b"rested"

        harness = self.harness(endure, jobSoftTimeout=0.01)
        self.assertEqual(harness.call(b"tidy"), b"in order")
        self.assertIn("0.01 seconds", str(self.assertRaises(JobTimedOut, harness.call, b"")))

    def test_hints(self) -> None:
        """An awaitable result of an app that is not async is an error that names the option."""

        async def hidden() -> bytes:
            return b""

        for result, option in ((lambda: hidden(), "asyncio"), (lambda: succeed(b""), "twisted")):
            harness = self.harness(lambda body, result=result: result())
            self.assertIn(f"--loop {option}", str(self.assertRaises(AppError, harness.call, b"")))

    def test_halfAsync(self) -> None:
        """A class whose calls are not async must not have an async ``setup`` or ``close``."""
        half = type("Half", (), {"__call__": lambda self, body: body, "close": AsyncDiary.close})
        self.assertIn("close is async", str(self.assertRaises(TypeError, AppHarness, half)))


class AsyncTests(HarnessCase):
    """Call async apps on an asyncio loop."""

    def test_call(self) -> None:
        """Coroutines are awaited; ``loop="asyncio"`` awaits the results of a plain function, too."""

        async def app(body: bytes) -> bytes:
            await asyncio.sleep(0)
            return body.upper()

        self.assertEqual(self.harness(app).call(b"x"), b"X")
        self.assertEqual(self.harness(lambda body: app(body), loop="asyncio").call(b"x"), b"X")
        self.assertEqual(self.harness(bytes.upper, loop="asyncio").call(b"x"), b"X")

    def test_error(self) -> None:
        """Exceptions are reported as those of other apps."""
        error = self.assertRaises(AppError, self.harness(failLater).call, b"bad")
        self.assertEqual((error.type, error.text), ("ValueError", "bad"))
        self.assertIsInstance(error.__cause__, ValueError)

    def test_stream(self) -> None:
        """Asynchronous generators, and plain ones on a loop, reply in parts."""
        self.assertEqual(self.harness(countLater).stream(b"2"), Streamed([b"0", [b"1", b"!"]], b""))
        self.assertEqual(self.harness(countLater).call(b"2"), [b"0", b"1", b"!"])
        self.assertEqual(self.harness(count, loop="asyncio").stream(b"1"), Streamed([b"0"], [b"the", b"end"]))

    def test_cancel(self) -> None:
        """A cancelled request is cancelled where it waits; the app may clean up, but its reply is dropped."""
        seen: list[str] = []

        async def app(body: bytes, *, context: Context) -> bytes:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append(f"cancelled: {context.cancelled}")
                raise
            return b"rested"

        self.assertRaises(Cancelled, self.harness(app).call, b"", cancelled=True)
        self.assertEqual(seen, ["cancelled: True"])

    def test_softTimeout(self) -> None:
        """At the soft timeout the task is cancelled, and the call fails with JobTimedOut, unless the app replies."""

        async def app(tidy: bytes) -> bytes:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if tidy:
                    return b"in order"
                raise
            return b"rested"

        harness = self.harness(app, jobSoftTimeout=0.01)
        self.assertEqual(harness.call(b"tidy"), b"in order")
        error = self.assertRaises(JobTimedOut, harness.call, b"")
        self.assertIsInstance(error.__cause__, SoftTimeout)

    def test_ownCancellation(self) -> None:
        """An app that cancels itself has failed."""

        async def app(body: bytes) -> None:
            raise asyncio.CancelledError("of its own")

        self.assertIn("of its own", str(self.assertRaises(AppError, self.harness(app).call, b"")))

    def test_life(self) -> None:
        """A class is set up, called and closed on the loop."""
        with AppHarness(AsyncDiary) as harness:
            self.assertEqual(harness.call(b"one"), b"made setup one")
        self.assertEqual(diaries[-1], ["made", "setup", "one", "closed"])

    def test_exit(self) -> None:
        """An app that ends its worker loses the request; the next request finds a new worker."""
        harness = self.harness(leaveLater)
        for code in (b"3", b"4"):
            self.assertIn(f"exit code {int(code)}", str(self.assertRaises(WorkerLost, harness.call, code)))

    def test_insideLoop(self) -> None:
        """Inside another loop ``call`` is refused with a hint; in a thread it works."""
        harness = self.harness(AsyncDiary)

        async def inside() -> object:
            self.assertIn("to_thread", str(self.assertRaises(RuntimeError, harness.call, b"one")))
            return await asyncio.to_thread(harness.call, b"two")

        self.assertEqual(asyncio.run(inside()), b"made setup two")

    def test_deferred(self) -> None:
        """A Deferred cannot be awaited on an asyncio loop; the error names the option."""
        harness = self.harness(lambda body: succeed(body), loop="asyncio")
        self.assertIn("--loop twisted", str(self.assertRaises(AppError, harness.call, b"")))


class TwistedTests(HarnessCase):
    """Call apps that return Deferreds."""

    def setUp(self) -> None:
        """Make a clock."""
        self.clock = Clock()

    def begin(self, app: Any, *body: bytes, **options: Any) -> Deferred[bytes | list[bytes]]:
        """Call an app on the clock."""
        soft = options.pop("jobSoftTimeout", 0)
        harness = self.harness(app, loop="twisted", reactor=self.clock, jobSoftTimeout=soft)
        return harness.begin(*body, **options)

    def later(self, body: bytes) -> Deferred[bytes]:
        """Reply after a second."""
        return deferLater(self.clock, 1, lambda: body.upper())

    def test_deferred(self) -> None:
        """Deferreds are awaited, and coroutines that await Deferreds."""

        async def app(body: bytes) -> bytes:
            return await self.later(body) + b"!"

        for each, reply in ((self.later, b"X"), (app, b"X!")):
            result = self.begin(each, b"x")
            self.assertNoResult(result)
            self.clock.advance(1)
            self.assertEqual(self.successResultOf(result), reply)

    def test_atOnce(self) -> None:
        """``call`` returns a reply that is there at once, and refuses to wait for one."""
        harness = self.harness(lambda body: succeed(body), loop="twisted", reactor=self.clock)
        self.assertEqual(harness.call(b"x"), b"x")
        self.assertIn("use begin", str(self.assertRaises(RuntimeError, self.harnessOf(self.later).call, b"x")))

    def harnessOf(self, app: Any) -> AppHarness:
        """Return a harness on the clock."""
        return self.harness(app, loop="twisted", reactor=self.clock)

    def test_error(self) -> None:
        """A Failure is reported as an exception."""
        result = self.begin(lambda body: deferLater(self.clock, 1, fail, body), b"bad")
        self.clock.advance(1)
        self.assertEqual(self.failureResultOf(result, AppError).value.type, "ValueError")

    def test_stream(self) -> None:
        """An asynchronous generator that awaits Deferreds replies in parts, one in each turn of the reactor."""

        async def app(body: bytes) -> AsyncIterator[bytes]:
            yield await self.later(body)
            yield await self.later(b"y")

        result = self.begin(app, b"x")
        self.clock.pump([1, 0, 1, 0])
        self.assertEqual(self.successResultOf(result), [b"X", b"Y"])

    def test_cancel(self) -> None:
        """Cancelling a request cancels the Deferred that its app awaits."""
        cancels: list[object] = []
        result = self.begin(lambda body: Deferred(cancels.append), b"x", cancelled=True)
        self.failureResultOf(result, Cancelled)
        self.assertEqual(len(cancels), 1)

    def test_softTimeout(self) -> None:
        """At the soft timeout the Deferred is cancelled, and the call fails, unless the app replies."""

        def tidy(body: bytes) -> Deferred[bytes]:
            resting: Deferred[bytes] = Deferred()
            return resting.addErrback(lambda reason: reason.trap(CancelledError) and b"in order")

        untidy = self.begin(lambda body: Deferred(), b"x", jobSoftTimeout=3)
        tidied = self.begin(tidy, b"x", jobSoftTimeout=3)
        self.clock.advance(2.9)
        self.assertNoResult(untidy)
        self.clock.advance(0.1)
        self.assertIsInstance(self.failureResultOf(untidy, JobTimedOut).value.__cause__, SoftTimeout)
        self.assertEqual(self.successResultOf(tidied), b"in order")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_inTime(self) -> None:
        """A reply in time leaves no delayed call behind."""
        result = self.begin(self.later, b"x", jobSoftTimeout=3)
        self.clock.advance(1)
        self.successResultOf(result)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_exit(self) -> None:
        """An app that ends its worker loses the request."""
        result = self.begin(lambda body: deferLater(self.clock, 1, leave, body), b"3")
        self.clock.advance(1)
        self.assertIn("exit code 3", str(self.failureResultOf(result, WorkerLost).value))

    def test_exitWithOthers(self) -> None:
        """An app that ends its worker loses all requests in flight; the next request finds a new worker."""

        class App(Diary):
            def __call__(self, word: bytes) -> Any:
                if word == b"wait":
                    return Deferred()
                return leave(b"3") if word == b"leave" else super().__call__(word)

        harness = self.harnessOf(App)
        waiting = harness.begin(b"wait")
        followed = harness.begin(b"wait").addErrback(lambda reason: harness.begin(b"again"))
        self.assertRaises(WorkerLost, harness.call, b"leave")
        self.assertIn("exit code 3", str(self.failureResultOf(waiting, WorkerLost).value))
        self.assertEqual(self.successResultOf(followed), b"made setup again")
        self.assertEqual(harness.call(b"once more"), b"made setup again once more")
        self.assertEqual(diaries[-2], ["made", "setup", "closed"])


class HostileTests(SynchronousTestCase):
    """Report exceptions whose own methods fail, however the app is run."""

    def assertAnswered(self, app: Any, **how: Any) -> None:
        """Each exception becomes an error, and the next request gets its reply."""
        with AppHarness(app, **how) as harness:
            for name in hostile.HOSTILE:
                error = self.assertRaises(AppError, harness.call, name.encode())
                self.assertLessEqual(len(error.detail.encode()), MAX_TEXT, name)

    def test_plain(self) -> None:
        """Functions and generators."""
        self.assertAnswered(hostile.raising)
        self.assertAnswered(hostile.yielding)

    def test_async(self) -> None:
        """Coroutines and asynchronous generators."""
        self.assertAnswered(hostile.awaiting)
        self.assertAnswered(hostile.streaming)

    def test_deferred(self) -> None:
        """Deferreds."""
        self.assertAnswered(hostile.deferring, loop="twisted", reactor=Clock())
