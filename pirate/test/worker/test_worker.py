# -*- test-case-name: pirate.test.worker.test_worker -*-
"""The worker's pure parts: results to frames, what an app wants to know, and how a load error is told."""

from __future__ import annotations

import functools
import importlib
import io
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import zmq
from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import LAST_WORDS, ConfigurationError, ExitCode
from pirate.wire.job import Job
from pirate.wire.words import CANCEL, RETIRE
from pirate.worker import execution
from pirate.worker.app import App, Context, isAsync, prepare, toFrames
from pirate.worker.execution import Execution
from pirate.worker.imports import describe
from pirate.worker.worker import Worker


class FramesTests(SynchronousTestCase):
    """What an app may return."""

    def test_one(self) -> None:
        """Bytes of any kind, text and nothing at all are one frame."""
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
        """A list or a tuple is several, in order, each by the same rules; an empty one is still an answer."""
        self.assertEqual(toFrames([b"a", "b", None]), [b"a", b"b", b""])
        self.assertEqual(toFrames((b"a",)), [b"a"])
        self.assertEqual(toFrames([]), [b""])

    def test_notCopied(self) -> None:
        """A large result is passed on as it is."""
        large = bytes(1 << 20)
        self.assertIs(toFrames(large)[0], large)
        self.assertIs(toFrames([large])[0], large)

    def test_wrong(self) -> None:
        """Anything else is refused by the name of its type, also within a list."""
        for result in (1, {"a": 1}, [b"x", 2.5], [[b"x"]], object()):
            error = self.assertRaises(TypeError, toFrames, result)
            self.assertIn("must return bytes, str, None", str(error))
        self.assertIn("float", str(self.assertRaises(TypeError, toFrames, [b"x", 2.5])))


def plain(*body: bytes) -> bytes:
    """Wants nothing."""
    return b"".join(body)


def asking(*body: bytes, context: Context) -> str:
    """Wants the context."""
    return f"{context.request} {len(body)}"


def positional(context: bytes, other: bytes = b"") -> bytes:
    """Has a parameter of that name, but for the body."""
    return context


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as everybody writes it."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        return function(*arguments, **keywords)

    return wrapper


class Asking:
    """An app with a state, whose instances want the context."""

    made = 0

    def __init__(self) -> None:
        Asking.made += 1
        self.closed = 0

    def __call__(self, *body: bytes, context: Context) -> str:
        return context.request

    def method(self, *body: bytes, context: Context) -> str:
        """Wants it, too."""
        return context.request

    @decorated
    def wrapped(self, *body: bytes, context: Context) -> str:
        """Wants it under a decorator."""
        return context.request

    @classmethod
    def ofClass(cls, *body: bytes, context: Context) -> str:
        """Wants it without an instance."""
        return context.request

    def close(self) -> None:
        """Counts."""
        self.closed += 1


class Proxy:
    """Has every attribute that it is asked for, and is callable."""

    def __getattr__(self, name: str) -> Proxy:
        return self

    def __call__(self, *body: bytes) -> bytes:
        return b"proxy"


class AppTests(SynchronousTestCase):
    """An app, ready to be called."""

    def call(self, target: Any, *body: bytes) -> list[bytes]:
        """Call it as a worker does, with the context if it wants one."""
        app = App(target)
        return toFrames(app(list(body), Context(b"\x80\x01", {}, lambda: False) if app.wantsContext else None))

    def test_context(self) -> None:
        """Whatever kind of callable it is, one with a keyword-only parameter for it gets the context."""
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
        """Others are called with the body alone."""
        for target in (plain, decorated(plain), functools.partial(plain, b""), functools.lru_cache(plain), positional):
            self.assertEqual(self.call(target, b"x"), [b"x"], target)
        self.assertEqual(self.call(bytes.upper, b"x"), [b"X"])
        self.assertEqual(self.call(Proxy(), b"x"), [b"proxy"])

    def test_frames(self) -> None:
        """Each frame of the body is an argument."""
        self.assertEqual(self.call(lambda first, second: [second, first], b"a", b"b"), [b"b", b"a"])

    def test_once(self) -> None:
        """A class is instantiated once, however many requests there are."""
        before = Asking.made
        app = App(Asking)
        for _ in range(3):
            app([b"x"], Context(b"\x80", {}, lambda: False))
        self.assertEqual(Asking.made - before, 1)

    def test_close(self) -> None:
        """An app that can be closed is; others need not have anything of the kind."""
        instance = Asking()
        App(instance).close()
        self.assertEqual(instance.closed, 1)
        App(plain).close()

    def test_notCallable(self) -> None:
        """What cannot be called is refused at once, not at the first request."""
        for target in (3, b"x", type("Empty", (), {})):
            error = self.assertRaises(TypeError, App, target)
            self.assertIn("is not callable", str(error))


class AsyncTests(SynchronousTestCase):
    """What is async when it is called."""

    def test_async(self) -> None:
        """Coroutine functions and asynchronous generators, as functions, methods and classes, and decorators."""

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
        """All others are not, not even what decorates a coroutine function without being one."""

        async def coroutine(*body: bytes) -> bytes:
            return plain(*body)

        for target in (plain, decorated(coroutine), Asking, Asking(), Asking().method, bytes.upper, Proxy(), 3, int):
            self.assertFalse(isAsync(target), target)


class ContextTests(SynchronousTestCase):
    """What an app may know."""

    def test_told(self) -> None:
        """Everything that the broker has told, and who we are."""
        context = Context(b"\x80\xab", {"service": "s", "attempt": 2, "client": "127.0.0.1"}, lambda: False)
        self.assertEqual((context.request, context.service, context.attempt), ("80ab", "s", 2))
        self.assertEqual((context.client, context.pid), ("127.0.0.1", os.getpid()))

    def test_little(self) -> None:
        """What it has not told has a value that can be relied on."""
        context = Context(b"\x80", {}, lambda: False)
        self.assertEqual((context.service, context.attempt, context.client), ("", 1, None))


class DescribeTests(SynchronousTestCase):
    """An error in one line."""

    def test_lines(self) -> None:
        """It is its type and its text, in one line however many it had."""
        self.assertEqual(describe(ValueError("no\n  good")), "ValueError: no good")
        self.assertEqual(describe(KeyError("k")), "KeyError: 'k'")
        self.assertEqual(describe(ZeroDivisionError()), "ZeroDivisionError")

    def test_ours(self) -> None:
        """One of our own says enough without its type."""
        self.assertEqual(describe(ConfigurationError("there is no module 'x'")), "there is no module 'x'")


class Ended(BaseException):
    """Stands in for the end of this process."""


class LoadTests(SynchronousTestCase):
    """An app that cannot be loaded ends its worker, with one line that says what and where."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()
        self.patch(sys, "path", [str(self.root), *sys.path])
        self.patch(sys, "dont_write_bytecode", True)
        self.patch(os, "_exit", self.end)
        self.codes: list[int] = []

    def end(self, code: int) -> None:
        """The process ends."""
        self.codes.append(code)
        raise Ended

    def load(self, text: str, path: str = "stowaway.app", **job: Any) -> str:
        """What a worker writes whose app is in a module with this text."""
        (self.root / "stowaway.py").write_text(text)
        importlib.invalidate_caches()
        self.addCleanup(sys.modules.pop, "stowaway", None)
        told: dict[str, Any] = {
            "backend": "inproc://nobody",
            "identity": "child_1",
            "app": path,
            "prefetch": 1,
            "importPath": sys.path,
            "parent": os.getppid(),
            "title": "worker",
        }
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        self.assertRaises(Ended, Worker(Job(**{**told, **job})).run)
        self.assertEqual(self.codes, [ExitCode.APP_NOT_LOADED])
        return errors.getvalue()

    def lastWords(self, text: str, path: str = "stowaway.app") -> str:
        """The one line of which all that it writes consists."""
        written = self.load(text, path)
        self.assertEqual(written.count("\n"), 1)
        self.assertTrue(written.startswith(LAST_WORDS))
        return written.removeprefix(LAST_WORDS).rstrip("\n")

    def test_missing(self) -> None:
        """A name that is not there is named; there is no line of the user's to point at."""
        line = self.lastWords("", "stowaway.nothing")
        self.assertIn("cannot load 'stowaway.nothing'", line)
        self.assertNotIn("line", line)

    def test_raises(self) -> None:
        """A module that raises is pointed at by file and line."""
        line = self.lastWords("import os\n\n1 / 0\n")
        self.assertIn("ZeroDivisionError", line)
        self.assertIn(f"({self.root / 'stowaway.py'}, line 3)", line)

    def test_syntax(self) -> None:
        """So is one that is no Python."""
        line = self.lastWords("x = 1\ndef app(:\n")
        self.assertIn("SyntaxError", line)
        self.assertIn("stowaway.py, line 2", line)

    def test_constructor(self) -> None:
        """So is a class whose instance cannot be made."""
        line = self.lastWords("class app:\n    def __init__(self):\n        raise OSError('no database')\n")
        self.assertIn("OSError: no database", line)
        self.assertIn("stowaway.py, line 3", line)

    def test_exits(self) -> None:
        """One that ends the process on import has not been loaded, either."""
        self.assertIn("SystemExit", self.lastWords("raise SystemExit(0)\n"))

    def test_notCallable(self) -> None:
        """Nor has one that cannot be called."""
        self.assertIn("is not callable", self.lastWords("app = 3\n"))

    def test_unfit(self) -> None:
        """Nor has one that does not fit what it is to be run by: the line names what would."""
        plainly, later = "def app(body): pass\n", "async def app(body): pass\n"
        for text, job, words in (
            (plainly, {"concurrency": 100}, "concurrency (100) needs an async app, and this is a plain function"),
            (later, {"threads": 4}, "threads (4) are for plain functions: say --concurrency"),
            (later, {"prefetch": 4}, "prefetch (4) is for plain functions: for this app say --concurrency"),
            (plainly, {"prefetch": 4, "loop": "asyncio"}, "prefetch (4) is for plain functions"),
        ):
            self.codes.clear()
            sys.modules.pop("stowaway", None)
            written = self.load(text, **job)
            self.assertIn(f"cannot load 'stowaway.app': {words}", written)
            self.assertEqual(written.count("\n"), 1)

    def test_setup(self) -> None:
        """An async class that cannot be set up has not been loaded, either."""
        written = self.load(
            "class app:\n"
            "    async def setup(self):\n"
            "        raise OSError('no database')\n"
            "    async def __call__(self, body):\n"
            "        pass\n"
        )
        self.assertIn("cannot load 'stowaway.app': OSError: no database", written)
        self.assertIn("stowaway.py, line 3", written)

    def test_dequeue(self) -> None:
        """A dequeue callable is told of in the same way."""
        written = self.load("1 / 0\n", dequeue="stowaway.dequeue")
        self.assertIn("cannot load 'stowaway.dequeue': ZeroDivisionError", written)

    def test_traceback(self) -> None:
        """Whoever debugs gets the traceback in front."""
        written = self.load("1 / 0\n", showTraceback=True)
        self.assertTrue(written.startswith("Traceback"))
        self.assertTrue(written.splitlines()[-1].startswith(LAST_WORDS))


class LookingWorker(Worker):
    """
    A worker whose messages have all come already.

    :ivar looks: how often it has looked whether something has come.
    :ivar answers: what it has sent.
    """

    def __init__(self, messages: list[list[bytes]], clock: list[float]) -> None:
        Execution.__init__(self)
        self._messages = deque(messages)
        self._waiting = deque()
        self._looksAhead = self._leaving = False
        self._get = self._look
        self._clock = clock
        self.looks = 0
        self.answers: list[list[bytes]] = []

    def serve(self) -> None:
        """Answer all that has come."""
        self._answer(prepare(self._work))

    def _work(self, seconds: bytes) -> bytes:
        self._clock[0] += float(seconds)
        return seconds

    def _look(self, option: int) -> int:
        self.looks += 1
        return int(zmq.POLLIN) if self._messages else 0

    def _next(self, flags: int) -> list[bytes]:
        return self._messages.popleft()

    def _reply(self, frames: list[bytes]) -> None:
        self.answers.append(frames)


class CancelledTests(SynchronousTestCase):
    """Requests that wait behind another in a worker's hand."""

    def serve(self, *durations: bytes, cancelled: int) -> LookingWorker:
        """Have a worker execute jobs of so many seconds, one of which was cancelled."""
        clock = [0.0]
        self.patch(execution, "perf_counter", lambda: clock[0])
        self.patch(signal, "signal", lambda number, action: None)
        ids = [bytes([0x80, *[0] * 6, number]) for number in range(len(durations))]
        requests = [[b"", each, b"", duration] for each, duration in zip(ids, durations, strict=True)]
        worker = LookingWorker([*requests, [b"", CANCEL, ids[cancelled]], [b"", RETIRE]], clock)
        worker.serve()
        return worker

    def answersOf(self, worker: LookingWorker) -> list[bytes]:
        """Return the last frame of each answer."""
        return [frames[-1] for frames in worker.answers]

    def test_afterLongJob(self) -> None:
        """What has been cancelled while the job before it took long is not begun; the others are."""
        for cancelled in (1, 2):
            answers = [b"0.5", b"0.0001", b"0.0002", b"0.0003"]
            worker = self.serve(*answers, cancelled=cancelled)
            answers[cancelled] = b"it was cancelled"
            self.assertEqual(self.answersOf(worker), answers)

    def test_afterTinyJob(self) -> None:
        """Between tiny jobs a worker does not look, which would take as long as they do."""
        worker = self.serve(b"0.0001", b"0.0001", b"0.0001", cancelled=1)
        self.assertEqual((self.answersOf(worker), worker.looks), ([b"0.0001"] * 3, 0))

    def test_tooLate(self) -> None:
        """A worker keeps no note of a cancelled request that it has answered already."""
        worker = self.serve(b"0.5", b"0.5", cancelled=0)
        self.assertEqual((self.answersOf(worker), worker._cancelled), ([b"0.5"] * 2, set()))
