# -*- test-case-name: pirate.test.worker.test_threads -*-
"""Tests of an app in threads, without a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, NoReturn

import zmq
from twisted.trial.unittest import SynchronousTestCase

from pirate.test.support import hostile
from pirate.test.support.quietenvironment import QuietEnvironment
from pirate.wire.words import CANCEL, ERROR, PARTIAL, RETIRE, encode
from pirate.worker.app import App, Context
from pirate.worker.threads import PARTS, ThreadRunner, ThreadWorker, run

#: Seconds after which a wait that does not end fails.
PATIENCE = 60.0


class ListHost:
    """
    A worker's main thread, which a test is.

    :ivar posted: the messages that were sent.
    :ivar wakes: holds a value for each time that a thread has woken the main thread.
    :ivar full: whether there is no room for messages.
    :ivar finishes: how often it was told that the worker leaves.
    """

    def __init__(self) -> None:
        self.posted: list[list[bytes]] = []
        self.wakes: SimpleQueue[None] = SimpleQueue()
        self.full = False
        self.finishes = 0

    def post(self, frames: list[bytes]) -> None:
        self.posted.append(frames)

    def isFull(self) -> bool:
        return self.full

    def wake(self) -> None:
        self.wakes.put(None)

    def finished(self) -> None:
        self.finishes += 1


class ThreadRunnerTests(SynchronousTestCase):
    """Requests are received, and replies posted; the test is the main thread."""

    def setUp(self) -> None:
        self.host = ListHost()

    def runner(self, app: Callable[..., Any], count: int = 2) -> ThreadRunner:
        """Return a runner with so many threads, which end with the test."""
        runner = ThreadRunner(App(app), count, self.host)
        self.addCleanup(runner.close)
        return runner

    def until(self, runner: ThreadRunner, count: int) -> None:
        """Wait until so many messages have been sent."""
        while len(self.host.posted) < count:
            self.host.wakes.get(timeout=PATIENCE)
            runner.runCalls()

    def test_atOnce(self) -> None:
        """As many requests run at once as there are threads, and each reply is sent when it is there."""
        meeting = threading.Barrier(2)

        def app(body: bytes) -> bytes:
            meeting.wait(PATIENCE)
            return body.upper()

        runner = self.runner(app)
        for request in (b"1", b"2"):
            runner.inFlight.received([b"", request, b"", b"x"])
        self.until(runner, 2)
        self.assertEqual(sorted(self.host.posted), [[b"1", b"X"], [b"2", b"X"]])

    def test_error(self) -> None:
        """An exception of the app becomes the reply."""
        runner = self.runner(lambda body: body.nothing)
        runner.inFlight.received([b"", b"1", b"", b"x"])
        self.until(runner, 1)
        self.assertEqual(self.host.posted[0][:4], [b"", b"1", ERROR, b"app-error"])

    def test_hostile(self) -> None:
        """So does an exception whose own code fails; the thread goes on."""
        runner = self.runner(hostile.raising, 1)
        for count, name in enumerate(hostile.HOSTILE, 1):
            runner.inFlight.received([b"", b"1", b"", name.encode()])
            self.until(runner, count)
            self.assertEqual(self.host.posted[-1][2:4], [ERROR, b"app-error"])

    def test_exit(self) -> None:
        """``SystemExit`` is raised in the main thread."""

        def app(body: bytes) -> None:
            raise SystemExit(3)

        runner = self.runner(app)
        runner.inFlight.received([b"", b"1", b"", b"x"])
        self.host.wakes.get(timeout=PATIENCE)
        self.assertEqual(self.assertRaises(SystemExit, runner.runCalls).code, 3)

    def test_cancelled(self) -> None:
        """The context tells the app that its request has been cancelled."""
        begun, cancelled = threading.Event(), threading.Event()

        def app(body: bytes, *, context: Context) -> str:
            begun.set()
            cancelled.wait(PATIENCE)
            return str(context.cancelled)

        runner = self.runner(app)
        runner.inFlight.received([b"", b"1", encode({}), b"", b"x"])
        begun.wait(PATIENCE)
        runner.inFlight.received([b"", CANCEL, b"1"])
        cancelled.set()
        self.until(runner, 1)
        self.assertEqual(self.host.posted, [[b"1", b"True"]])

    def test_parts(self) -> None:
        """A generator runs a few parts ahead of what has been sent; it is closed at the next if it is cancelled."""
        yielded: list[int] = []

        def app(body: bytes) -> Iterator[bytes]:
            for number in range(1000):
                yielded.append(number)
                yield b"%d" % number

        runner = self.runner(app)
        runner.inFlight.received([b"", b"1", b"", b"x"])
        for _ in range(PARTS):
            self.host.wakes.get(timeout=PATIENCE)
        self.assertLessEqual(len(yielded), PARTS + 1)
        runner.inFlight.received([b"", CANCEL, b"1"])
        runner.runCalls()
        self.until(runner, PARTS + 1)
        while self.host.posted[-1][2:3] == [PARTIAL]:
            self.until(runner, len(self.host.posted) + 1)
        self.assertEqual(self.host.posted[0], [b"", b"1", PARTIAL, b"0"])
        self.assertLess(len(yielded), 1000)

    def test_noRoom(self) -> None:
        """While there is no room nothing is sent, and so the generator waits."""
        runner = self.runner(lambda body: (b"%d" % number for number in range(1000)), 1)
        runner.inFlight.received([b"", b"1", b"", b"x"])
        self.until(runner, 1)
        self.host.full = True
        runner.runCalls()
        already = len(self.host.posted)
        for _ in range(PARTS):
            self.host.wakes.get(timeout=PATIENCE)
            runner.runCalls()
        self.assertEqual(len(self.host.posted), already)
        self.host.full = False
        self.until(runner, 1001)

    def test_leaveSoon(self) -> None:
        """After TERM, the worker leaves when no request is in flight."""
        runner = self.runner(bytes.upper)
        runner.inFlight.received([b"", b"1", b"", b"x"])
        runner.leaveSoon()
        self.until(runner, 1)
        runner.runCalls()
        self.assertEqual(self.host.finishes, 1)

    def test_retire(self) -> None:
        """After ``retire``, the worker leaves when no request is in flight."""
        runner = self.runner(bytes.upper)
        runner.inFlight.received([b"", b"1", b"", b"x"])
        runner.inFlight.received([b"", RETIRE])
        self.until(runner, 1)
        self.assertEqual(self.host.finishes, 1)


class Events:
    """The worker, as it is told about its app."""

    def appReady(self, app: App, packs: bool = False) -> None:
        """Do nothing."""

    def appFailed(self, error: BaseException) -> NoReturn:
        """Raise the error."""
        raise error

    def creditChanged(self, credit: int) -> None:
        """Do nothing."""


class ThreadWorkerTests(SynchronousTestCase):
    """A worker reads requests from a DEALER in the test's own process."""

    def test_exitOfOne(self) -> None:
        """After ``SystemExit`` in one thread, another can end its request: the pipe that it wakes with is open."""
        begun, ended = threading.Event(), threading.Event()
        wakes: SimpleQueue[OSError | None] = SimpleQueue()
        original = ThreadWorker.wake

        def app(word: bytes) -> bytes:
            if word == b"exit":
                begun.wait(PATIENCE)
                raise SystemExit(3)
            begun.set()
            ended.wait(PATIENCE)
            return word

        def wake(worker: ThreadWorker) -> None:
            try:
                original(worker)
            except OSError as error:
                wakes.put(error)
            else:
                wakes.put(None)

        self.patch(ThreadWorker, "wake", wake)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.addCleanup(context.destroy, 0)
        router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        router.bind("inproc://backend")
        dealer.identity = b"w"
        dealer.connect("inproc://backend")
        for number, word in ((b"1", b"work"), (b"2", b"exit")):
            router.send_multipart([b"w", b"", number, b"", word])
        self.assertEqual(
            self.assertRaises(SystemExit, run, app, dealer, Events(), QuietEnvironment(), threads=2).code, 3
        )
        self.assertIsNone(wakes.get(timeout=PATIENCE))
        ended.set()
        self.assertIsNone(wakes.get(timeout=PATIENCE))
