# -*- test-case-name: pirate.test.worker.test_serialrunner -*-
"""Tests of a worker that executes one request after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

import zmq
from twisted.trial.unittest import SynchronousTestCase

from pirate.test.support.quietenvironment import QuietEnvironment
from pirate.wire.backend import PackedReplies, pack, parseWorkerMessage
from pirate.wire.words import CANCEL, HEARTBEAT, MAX_PACKED, PACK, PACKED_SIZE, RETIRE
from pirate.worker.app import App, prepare
from pirate.worker.environment import WorkerEnvironment
from pirate.worker.serialrunner import HELD, SerialWorker


class IgnoredEvents:
    """The events of an app, none of which matters here."""

    def appReady(self, app: App, packs: bool = False) -> None:
        pass

    def appFailed(self, error: BaseException) -> NoReturn:
        raise error

    def creditChanged(self, credit: int) -> None:
        pass


class LookingWorker(SerialWorker):
    """
    A worker that counts.

    :ivar looks: how often it has looked whether a request is cancelled.
    """

    looks = 0

    def isCancelled(self, request: bytes) -> bool:
        """Count, and look."""
        self.looks += 1
        return super().isCancelled(request)


class SerialWorkerTests(SynchronousTestCase):
    """A worker whose messages have all arrived before it starts."""

    def setUp(self) -> None:
        """Connect two sockets, and make a clock that only the app moves."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.addCleanup(context.destroy, linger=0)
        self.broker, self.socket = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
        self.broker.bind("inproc://backend")
        self.socket.connect("inproc://backend")
        self.environment = QuietEnvironment()

    def work(self, seconds: bytes) -> bytes:
        """Take so many seconds."""
        self.environment.time += float(seconds)
        return seconds

    def serve(self, *messages: list[bytes]) -> LookingWorker:
        """Have a worker receive these messages, and ``retire``."""
        for message in (*messages, [RETIRE]):
            self.broker.send_multipart([b"", *message])
        app = prepare(self.work)
        worker = LookingWorker(app, self.socket, IgnoredEvents(), self.environment, softTimeout=0, prefetch=1)
        worker.serve()
        return worker

    def cancelOneOf(self, *durations: bytes, cancelled: int) -> LookingWorker:
        """Have a worker receive requests that take so many seconds, and then that one of them is cancelled."""
        ids = [bytes([0x80, *[0] * 6, number]) for number in range(len(durations))]
        requests = [[each, b"", duration] for each, duration in zip(ids, durations, strict=True)]
        return self.serve(*requests, [CANCEL, ids[cancelled]])

    def sent(self) -> list[bytes]:
        """Return the last frame of each message that the worker has sent."""
        frames = []
        while self.broker.poll(0):
            frames.append(self.broker.recv_multipart()[-1])
        return frames

    def test_afterLongJob(self) -> None:
        """A request that is cancelled while the one before it takes long is not begun; the others are."""
        for cancelled in (1, 2):
            replies = [b"0.5", b"0.0001", b"0.0002", b"0.0003"]
            self.cancelOneOf(*replies, cancelled=cancelled)
            replies[cancelled] = b"it was cancelled"
            self.assertEqual(self.sent(), replies)

    def test_afterTinyJob(self) -> None:
        """Between tiny jobs the worker does not look for a cancel, which would take as long as they do."""
        worker = self.cancelOneOf(b"0.0001", b"0.0001", b"0.0001", cancelled=1)
        self.assertEqual((self.sent(), worker.looks), ([b"0.0001"] * 3, 0))

    def test_tooLate(self) -> None:
        """A cancelled request that has its reply already is not noted."""
        worker = self.cancelOneOf(b"0.5", b"0.5", cancelled=0)
        self.assertEqual((self.sent(), worker._cancelled), ([b"0.5"] * 2, set()))

    def test_heartbeat(self) -> None:
        """A heartbeat is answered in its turn; a word that is not known is ignored."""
        self.serve([b"\x80------1", b"", b"0.5"], [HEARTBEAT], [b"unknown"], [b"\x80------2", b"", b"0.1"])
        self.assertEqual(self.sent(), [b"0.5", HEARTBEAT, b"0.1"])


class WatchedEnvironment(QuietEnvironment):
    """
    A process whose watchdog calls when a test says so.

    :ivar expire: the watchdog's call.
    :ivar armed: how often it was armed.
    """

    expire: Callable[[], None]
    armed = 0

    def watchdog(self, call: Callable[[], None]) -> WatchedEnvironment:
        """Return this process."""
        self.expire = call
        return self

    def arm(self) -> None:
        """Count."""
        self.armed += 1

    def disarm(self) -> None:
        """Do nothing."""


def idOf(number: int) -> bytes:
    """Return the id of a request."""
    return bytes([0x80, *[0] * 6, number])


class BurstTests(SynchronousTestCase):
    """A worker that packs its replies."""

    def setUp(self) -> None:
        """Connect two sockets, and make a clock that only the app moves."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.addCleanup(context.destroy, linger=0)
        self.broker, self.socket = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
        self.broker.bind("inproc://backend")
        self.socket.connect("inproc://backend")
        self.environment = WatchedEnvironment()
        self.seen: list[list[int]] = []
        self.worker: SerialWorker | None = None

    def work(self, what: bytes) -> object:
        """Take so many seconds, or do what the word says."""
        if what == b"look":
            # As another thread would.
            self.environment.expire()
            self.seen += self.replies()
        elif what == b"parts":
            return (each for each in [b"a"])
        elif what == b"raise":
            raise ValueError
        elif what == b"exit":
            raise SystemExit(3)
        elif what.startswith(b"x"):
            return b"x" * int(what[1:])
        elif what in (b"wait", b"compute"):
            self._work(what)
        elif what == b"frames":
            return [b"a", b"b"]
        else:
            self.environment.time += float(what)
        return what

    def serve(
        self,
        *messages: list[bytes],
        packs: bool = True,
        prefetch: int | None = None,
        environment: WorkerEnvironment | None = None,
    ) -> None:
        """Have a worker receive these messages, and ``retire``."""
        for message in (*messages, [RETIRE]):
            self.broker.send_multipart([b"", *message])
        app = prepare(self.work)
        self.worker = SerialWorker(
            app,
            self.socket,
            IgnoredEvents(),
            environment or self.environment,
            softTimeout=0,
            prefetch=prefetch,
            packs=packs,
        )
        # The watchdog exists before the first reply is held.
        self.worker._watchdog = self.worker._environment.watchdog(self.worker._sendHeld)
        self.worker.serve()

    def packed(self, *bodies: bytes) -> list[bytes]:
        """Return the message with requests of these bodies, numbered from 0."""
        return [PACK, pack([idOf(number) for number in range(len(bodies))], bodies)]

    def replies(self) -> list[list[int]]:
        """Return the numbers of the requests in each message that the worker has sent; -1 for another message."""
        found = []
        while self.broker.poll(0):
            message = parseWorkerMessage([b"w", *self.broker.recv_multipart()])
            if isinstance(message, PackedReplies):
                found.append([name[7] for name in message.requests])
            else:
                found.append([message[1][7]] if isinstance(message, tuple) else [-1])
        return found

    def test_together(self) -> None:
        """The replies to requests that came together go together, when the last is done."""
        self.serve(self.packed(b"0", b"0", b"0"), [idOf(9), b"", b"0"])
        self.assertEqual(self.replies(), [[0, 1, 2], [9]])

    def test_notPacked(self) -> None:
        """Without the broker's word nothing is packed."""
        self.serve(self.packed(b"0", b"0", b"0"), packs=False)
        self.assertEqual(self.replies(), [[0], [1], [2]])

    def test_afterLongJob(self) -> None:
        """After a job of more than 100 us its reply is sent at once, with those before it."""
        self.serve(self.packed(b"0", b"0", b"0.00011", b"0", b"0"))
        self.assertEqual(self.replies(), [[0, 1, 2], [3, 4]])

    def test_afterSomeTime(self) -> None:
        """No reply is held for much more than 200 us while short jobs follow."""
        self.serve(self.packed(*[b"0.00009"] * 8))
        self.assertEqual(self.replies(), [[0, 1, 2, 3], [4, 5, 6, 7]])
        self.assertGreater(3 * 0.00009, HELD)

    def test_others(self) -> None:
        """What cannot be packed is sent by itself, after what came before it."""
        large = b"x%d" % (PACKED_SIZE + 1)
        self.serve(
            self.packed(b"0", large, b"0", b"frames", b"0", b"raise", b"0", b"parts", b"x%d" % PACKED_SIZE, b"0")
        )
        self.assertEqual(self.replies(), [[0], [1], [2], [3], [4], [-1], [6], [-1], [7, 8, 9]])

    def test_heartbeat(self) -> None:
        """A heartbeat comes after all replies before it."""
        self.serve(self.packed(b"0", b"0"), [HEARTBEAT])
        self.assertEqual(self.replies(), [[0, 1], [-1]])

    def test_most(self) -> None:
        """Never more than 64 go in one message."""
        self.serve(self.packed(*[b"0"] * MAX_PACKED), prefetch=64)
        self.assertEqual([len(each) for each in self.replies()], [MAX_PACKED])

    def test_watchdog(self) -> None:
        """While a job takes long, the watchdog sends the replies that are held."""
        self.serve(self.packed(b"0", b"0", b"look", b"0"))
        self.assertEqual((self.seen, self.replies()), ([[0, 1]], [[2, 3]]))

    def test_armedOnce(self) -> None:
        """The watchdog is armed once for each burst, and not for a single request."""
        self.serve(self.packed(b"0", b"0", b"0", b"0"), self.packed(b"0"), self.packed(b"0", b"0"))
        self.assertEqual(self.environment.armed, 2)

    def test_watchdogWithoutLock(self) -> None:
        """Between two jobs the watchdog leaves the socket alone, and is armed again before the next."""
        self.serve()
        assert self.worker is not None
        self.worker._lock.acquire()
        self.worker._armed = True
        self.worker._ids.append(idOf(1))
        self.environment.expire()
        self.assertEqual((self.worker._armed, self.worker._ids), (False, [idOf(1)]))

    def test_exit(self) -> None:
        """An app that exits takes no finished reply with it."""
        self.assertRaises(SystemExit, self.serve, self.packed(b"0", b"0", b"exit", b"0"))
        self.assertEqual(self.replies(), [[0, 1]])

    def test_cancelInPack(self) -> None:
        """A request in a packed message that is cancelled during a long job is not begun."""
        self.serve(self.packed(b"0.5", b"0", b"0"), [CANCEL, idOf(2)])
        self.assertEqual(self.replies(), [[0], [1], [-1]])

    def test_malformed(self) -> None:
        """A malformed packed message is ignored."""
        self.serve([PACK, b"\xff"], self.packed(b"0"))
        self.assertEqual(self.replies(), [[0]])

    def test_realWatchdog(self) -> None:
        """A finished reply arrives while the next job waits, or computes, for as long as the job likes."""
        for job in (b"wait", b"compute"):
            self.seen = []
            self.serve(self.packed(b"0", b"0", job), environment=QuietEnvironment())
            self.assertEqual((self.seen, self.replies()), ([[0, 1]], [[2]]), job)

    def _work(self, job: bytes) -> None:
        """Work until a reply arrives: wait in code that releases the interpreter, or do not."""
        end = time.monotonic() + 60
        while not self.broker.poll(10 if job == b"wait" else 0) and time.monotonic() < end:
            if job == b"compute":
                sum(range(1000))
        self.seen += self.replies()
