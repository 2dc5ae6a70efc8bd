# -*- test-case-name: pirate.test.worker.test_inflight -*-
"""What a worker has in hand that runs several requests at once, with lists for its socket and its loop."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.wire.words import CANCEL, HEARTBEAT, RETIRE
from pirate.worker.inflight import InFlight, RunningRequest, cancelled


class HandTests(SynchronousTestCase):
    """Frames in, frames out."""

    def setUp(self) -> None:
        """A hand."""
        self.jobs: list[RunningRequest] = []
        self.interrupted: list[RunningRequest] = []
        self.said: list[list[bytes]] = []
        self.leavings: list[bool] = []
        self.inFlight = InFlight(self.jobs.append, self.interrupted.append, self.said.append)
        self.inFlight.left = lambda: self.leavings.append(True)

    def send(self, *requests: bytes) -> None:
        """The broker sends requests."""
        for request in requests:
            self.inFlight.received([b"", request, b"", b"body"])

    def answer(self, number: int) -> None:
        """One of the jobs has an answer."""
        job = self.jobs[number]
        self.inFlight.ended(job, [b"", job.request, b"", b"reply"])

    def test_anyOrder(self) -> None:
        """Each is begun when it comes, and answered when it is done."""
        self.send(b"1", b"2", b"3")
        self.assertEqual([job.frames for job in self.jobs], [[b"", each, b"", b"body"] for each in (b"1", b"2", b"3")])
        for number in (1, 2, 0):
            self.answer(number)
        self.assertEqual([frames[1] for frames in self.said], [b"2", b"3", b"1"])

    def test_cancel(self) -> None:
        """Only what is in hand can be cancelled, and only once; it knows, and whoever executes it does."""
        self.send(b"1", b"2")
        for request in (b"2", b"2", b"3"):
            self.inFlight.received([b"", CANCEL, request])
        self.assertEqual(self.interrupted, [self.jobs[1]])
        self.assertEqual([job.isCancelled() for job in self.jobs], [False, True])
        self.inFlight.ended(self.jobs[1], cancelled(b"2"))
        self.inFlight.received([b"", CANCEL, b"2"])
        self.assertEqual(len(self.interrupted), 1)

    def test_heartbeat(self) -> None:
        """Who holds nothing answers at once; who does, when all that was sent before is answered."""
        self.inFlight.received([b"", HEARTBEAT])
        self.assertEqual(self.said, [[b"", HEARTBEAT]])
        self.send(b"1", b"2")
        self.inFlight.received([b"", HEARTBEAT])
        self.send(b"3")
        self.answer(1)
        self.assertNotIn([b"", HEARTBEAT], self.said[1:])
        self.answer(0)
        self.assertEqual(self.said[-1], [b"", HEARTBEAT])
        self.answer(2)
        self.assertEqual(self.said.count([b"", HEARTBEAT]), 2)

    def test_retire(self) -> None:
        """It leaves when it has answered all that it holds, and can still be told to stop one of them."""
        self.send(b"1", b"2")
        self.inFlight.received([b"", RETIRE])
        self.answer(0)
        self.assertEqual(self.leavings, [])
        self.inFlight.received([b"", CANCEL, b"2"])
        self.assertEqual(self.interrupted, [self.jobs[1]])
        self.answer(1)
        self.assertEqual(self.leavings, [True])

    def test_retireIdle(self) -> None:
        """It leaves at once when it holds nothing."""
        self.inFlight.received([b"", RETIRE])
        self.assertEqual(self.leavings, [True])

    def test_leave(self) -> None:
        """After TERM nothing is begun that comes: the broker gives it to another."""
        self.send(b"1")
        self.inFlight.leave()
        self.send(b"2")
        self.assertEqual([job.request for job in self.jobs], [b"1"])
        self.answer(0)
        self.assertEqual(self.leavings, [True])
