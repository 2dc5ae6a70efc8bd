# -*- test-case-name: pirate.test.test_threads -*-
"""An app in threads, without a socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.app import App, Context
from pirate.test import hostile
from pirate.threads import PARTS, Threads
from pirate.wire.words import CANCEL, ERROR, PARTIAL, RETIRE, encode

#: Ends a wait that would last for ever, in seconds.
PATIENCE = 60.0


class ThreadsTests(SynchronousTestCase):
    """Requests in, answers out; the test is the main thread."""

    def setUp(self) -> None:
        """Lists for the socket."""
        self.said: list[list[bytes]] = []
        self.woken: SimpleQueue[None] = SimpleQueue()
        self.left: list[bool] = []
        self.full = False

    def crew(self, app: Callable[..., Any], count: int = 2) -> Threads:
        """An app in so many threads, which end with the test."""
        crew = Threads(App(app), count, lambda: self.woken.put(None), self.said.append, lambda: self.full)
        crew.hand.left = lambda: self.left.append(True)
        self.addCleanup(crew.close)
        return crew

    def until(self, crew: Threads, count: int) -> None:
        """Wait until so many messages have been sent."""
        while len(self.said) < count:
            self.woken.get(timeout=PATIENCE)
            crew.finish()

    def test_atOnce(self) -> None:
        """As many run at once as there are threads, and each is answered when it is done."""
        meeting = threading.Barrier(2)

        def app(body: bytes) -> bytes:
            meeting.wait(PATIENCE)
            return body.upper()

        crew = self.crew(app)
        for request in (b"1", b"2"):
            crew.hand.received([b"", request, b"", b"x"])
        self.until(crew, 2)
        self.assertEqual(sorted(self.said), [[b"1", b"X"], [b"2", b"X"]])

    def test_error(self) -> None:
        """An exception is an answer."""
        crew = self.crew(lambda body: body.nothing)
        crew.hand.received([b"", b"1", b"", b"x"])
        self.until(crew, 1)
        self.assertEqual(self.said[0][:4], [b"", b"1", ERROR, b"app-error"])

    def test_hostile(self) -> None:
        """So is one whose own code fails: the thread lives on."""
        crew = self.crew(hostile.raising, 1)
        for count, name in enumerate(hostile.HOSTILE, 1):
            crew.hand.received([b"", b"1", b"", name.encode()])
            self.until(crew, count)
            self.assertEqual(self.said[-1][2:4], [ERROR, b"app-error"])

    def test_exit(self) -> None:
        """An app that ends the process does so in the main thread."""

        def app(body: bytes) -> None:
            raise SystemExit(3)

        crew = self.crew(app)
        crew.hand.received([b"", b"1", b"", b"x"])
        self.woken.get(timeout=PATIENCE)
        self.assertEqual(self.assertRaises(SystemExit, crew.finish).code, 3)

    def test_cancelled(self) -> None:
        """An app sees in its context that it has been cancelled."""
        begun, cancelled = threading.Event(), threading.Event()

        def app(body: bytes, *, context: Context) -> str:
            begun.set()
            cancelled.wait(PATIENCE)
            return str(context.cancelled)

        crew = self.crew(app)
        crew.hand.received([b"", b"1", encode({}), b"", b"x"])
        begun.wait(PATIENCE)
        crew.hand.received([b"", CANCEL, b"1"])
        cancelled.set()
        self.until(crew, 1)
        self.assertEqual(self.said, [[b"1", b"True"]])

    def test_parts(self) -> None:
        """A generator runs ahead of what has been sent by a few parts only, and ends at the next if it is cancelled."""
        yielded: list[int] = []

        def app(body: bytes) -> Iterator[bytes]:
            for number in range(1000):
                yielded.append(number)
                yield b"%d" % number

        crew = self.crew(app)
        crew.hand.received([b"", b"1", b"", b"x"])
        for _ in range(PARTS):
            self.woken.get(timeout=PATIENCE)
        self.assertLessEqual(len(yielded), PARTS + 1)
        crew.hand.received([b"", CANCEL, b"1"])
        crew.finish()
        self.until(crew, PARTS + 1)
        while self.said[-1][2:3] == [PARTIAL]:
            self.until(crew, len(self.said) + 1)
        self.assertEqual(self.said[0], [b"", b"1", PARTIAL, b"0"])
        self.assertLess(len(yielded), 1000)

    def test_noRoom(self) -> None:
        """While there is no room for what was sent nothing more is, and so the generator waits as well."""
        crew = self.crew(lambda body: (b"%d" % number for number in range(1000)), 1)
        crew.hand.received([b"", b"1", b"", b"x"])
        self.until(crew, 1)
        self.full = True
        crew.finish()
        already = len(self.said)
        for _ in range(PARTS):
            self.woken.get(timeout=PATIENCE)
            crew.finish()
        self.assertEqual(len(self.said), already)
        self.full = False
        self.until(crew, 1001)

    def test_leaveSoon(self) -> None:
        """After TERM, which may come at any moment, it leaves when what it has begun is answered."""
        crew = self.crew(bytes.upper)
        crew.hand.received([b"", b"1", b"", b"x"])
        crew.leaveSoon()
        self.until(crew, 1)
        crew.finish()
        self.assertEqual(self.left, [True])

    def test_retire(self) -> None:
        """The same after C{retire}."""
        crew = self.crew(bytes.upper)
        crew.hand.received([b"", b"1", b"", b"x"])
        crew.hand.received([b"", RETIRE])
        self.until(crew, 1)
        self.assertEqual(self.left, [True])
