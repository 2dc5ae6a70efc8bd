# -*- test-case-name: pirate.test.worker.test_threads -*-
"""An app in threads, without a socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.test.support import hostile
from pirate.wire.words import CANCEL, ERROR, PARTIAL, RETIRE, encode
from pirate.worker.app import App, Context
from pirate.worker.threads import PARTS, Threads

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

    def supervisor(self, app: Callable[..., Any], count: int = 2) -> Threads:
        """An app in so many threads, which end with the test."""
        supervisor = Threads(App(app), count, lambda: self.woken.put(None), self.said.append, lambda: self.full)
        supervisor.inFlight.left = lambda: self.left.append(True)
        self.addCleanup(supervisor.close)
        return supervisor

    def until(self, supervisor: Threads, count: int) -> None:
        """Wait until so many messages have been sent."""
        while len(self.said) < count:
            self.woken.get(timeout=PATIENCE)
            supervisor.finish()

    def test_atOnce(self) -> None:
        """As many run at once as there are threads, and each is answered when it is done."""
        meeting = threading.Barrier(2)

        def app(body: bytes) -> bytes:
            meeting.wait(PATIENCE)
            return body.upper()

        supervisor = self.supervisor(app)
        for request in (b"1", b"2"):
            supervisor.inFlight.received([b"", request, b"", b"x"])
        self.until(supervisor, 2)
        self.assertEqual(sorted(self.said), [[b"1", b"X"], [b"2", b"X"]])

    def test_error(self) -> None:
        """An exception is an answer."""
        supervisor = self.supervisor(lambda body: body.nothing)
        supervisor.inFlight.received([b"", b"1", b"", b"x"])
        self.until(supervisor, 1)
        self.assertEqual(self.said[0][:4], [b"", b"1", ERROR, b"app-error"])

    def test_hostile(self) -> None:
        """So is one whose own code fails: the thread lives on."""
        supervisor = self.supervisor(hostile.raising, 1)
        for count, name in enumerate(hostile.HOSTILE, 1):
            supervisor.inFlight.received([b"", b"1", b"", name.encode()])
            self.until(supervisor, count)
            self.assertEqual(self.said[-1][2:4], [ERROR, b"app-error"])

    def test_exit(self) -> None:
        """An app that ends the process does so in the main thread."""

        def app(body: bytes) -> None:
            raise SystemExit(3)

        supervisor = self.supervisor(app)
        supervisor.inFlight.received([b"", b"1", b"", b"x"])
        self.woken.get(timeout=PATIENCE)
        self.assertEqual(self.assertRaises(SystemExit, supervisor.finish).code, 3)

    def test_cancelled(self) -> None:
        """An app sees in its context that it has been cancelled."""
        begun, cancelled = threading.Event(), threading.Event()

        def app(body: bytes, *, context: Context) -> str:
            begun.set()
            cancelled.wait(PATIENCE)
            return str(context.cancelled)

        supervisor = self.supervisor(app)
        supervisor.inFlight.received([b"", b"1", encode({}), b"", b"x"])
        begun.wait(PATIENCE)
        supervisor.inFlight.received([b"", CANCEL, b"1"])
        cancelled.set()
        self.until(supervisor, 1)
        self.assertEqual(self.said, [[b"1", b"True"]])

    def test_parts(self) -> None:
        """A generator runs ahead of what has been sent by a few parts only, and ends at the next if it is cancelled."""
        yielded: list[int] = []

        def app(body: bytes) -> Iterator[bytes]:
            for number in range(1000):
                yielded.append(number)
                yield b"%d" % number

        supervisor = self.supervisor(app)
        supervisor.inFlight.received([b"", b"1", b"", b"x"])
        for _ in range(PARTS):
            self.woken.get(timeout=PATIENCE)
        self.assertLessEqual(len(yielded), PARTS + 1)
        supervisor.inFlight.received([b"", CANCEL, b"1"])
        supervisor.finish()
        self.until(supervisor, PARTS + 1)
        while self.said[-1][2:3] == [PARTIAL]:
            self.until(supervisor, len(self.said) + 1)
        self.assertEqual(self.said[0], [b"", b"1", PARTIAL, b"0"])
        self.assertLess(len(yielded), 1000)

    def test_noRoom(self) -> None:
        """While there is no room for what was sent nothing more is, and so the generator waits as well."""
        supervisor = self.supervisor(lambda body: (b"%d" % number for number in range(1000)), 1)
        supervisor.inFlight.received([b"", b"1", b"", b"x"])
        self.until(supervisor, 1)
        self.full = True
        supervisor.finish()
        already = len(self.said)
        for _ in range(PARTS):
            self.woken.get(timeout=PATIENCE)
            supervisor.finish()
        self.assertEqual(len(self.said), already)
        self.full = False
        self.until(supervisor, 1001)

    def test_leaveSoon(self) -> None:
        """After TERM, which may come at any moment, it leaves when what it has begun is answered."""
        supervisor = self.supervisor(bytes.upper)
        supervisor.inFlight.received([b"", b"1", b"", b"x"])
        supervisor.leaveSoon()
        self.until(supervisor, 1)
        supervisor.finish()
        self.assertEqual(self.left, [True])

    def test_retire(self) -> None:
        """The same after ``retire``."""
        supervisor = self.supervisor(bytes.upper)
        supervisor.inFlight.received([b"", b"1", b"", b"x"])
        supervisor.inFlight.received([b"", RETIRE])
        self.until(supervisor, 1)
        self.assertEqual(self.left, [True])
