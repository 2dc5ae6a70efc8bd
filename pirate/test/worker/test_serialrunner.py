# -*- test-case-name: pirate.test.worker.test_serialrunner -*-
"""Tests of a worker that executes one request after the other."""

from __future__ import annotations

from typing import NoReturn

import zmq
from twisted.trial.unittest import SynchronousTestCase

from pirate.test.support.workerprocess import QuietProcess
from pirate.wire.words import CANCEL, HEARTBEAT, RETIRE
from pirate.worker.app import App, prepare
from pirate.worker.serialrunner import SerialWorker


class IgnoredEvents:
    """The events of an app, none of which matters here."""

    def appReady(self, app: App) -> None:
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
        self.process = QuietProcess()

    def work(self, seconds: bytes) -> bytes:
        """Take so many seconds."""
        self.process.time += float(seconds)
        return seconds

    def serve(self, *messages: list[bytes]) -> LookingWorker:
        """Have a worker receive these messages, and ``retire``."""
        for message in (*messages, [RETIRE]):
            self.broker.send_multipart([b"", *message])
        app = prepare(self.work)
        worker = LookingWorker(app, self.socket, IgnoredEvents(), self.process, softTimeout=0, prefetch=1)
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
