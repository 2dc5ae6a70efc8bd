# -*- test-case-name: pirate.test.worker.test_inflight -*-
"""Tests of the requests in flight in a worker, with lists for its socket and its loop."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.wire.words import CANCEL, HEARTBEAT, RETIRE
from pirate.worker.app import cancelledReply
from pirate.worker.inflight import InFlight, RunningRequest


class ListHost:
    """
    A runner that executes nothing.

    :ivar begun: the requests that it was given.
    :ivar interrupted: the requests that it was to interrupt.
    :ivar posted: the messages that it was to send.
    :ivar finishes: how often it was told that the worker leaves.
    """

    def __init__(self) -> None:
        self.begun: list[RunningRequest] = []
        self.interrupted: list[RunningRequest] = []
        self.posted: list[list[bytes]] = []
        self.finishes = 0

    def begin(self, request: RunningRequest) -> None:
        self.begun.append(request)

    def interrupt(self, request: RunningRequest) -> None:
        self.interrupted.append(request)

    def post(self, frames: list[bytes]) -> None:
        self.posted.append(frames)

    def finished(self) -> None:
        self.finishes += 1


class InFlightTests(SynchronousTestCase):
    """Messages of the broker are received, and replies posted, by the rules."""

    def setUp(self) -> None:
        self.host = ListHost()
        self.inFlight = InFlight(self.host)

    def send(self, *requests: bytes) -> None:
        """Receive requests, by their ids."""
        for request in requests:
            self.inFlight.received([b"", request, b"", b"body"])

    def reply(self, number: int) -> None:
        """End one of the requests with a reply."""
        request = self.host.begun[number]
        self.inFlight.ended(request, [b"", request.id, b"", b"reply"])

    def test_anyOrder(self) -> None:
        """Each request is begun when it arrives, and its reply is sent when it has ended."""
        self.send(b"1", b"2", b"3")
        self.assertEqual(
            [request.frames for request in self.host.begun], [[b"", each, b"", b"body"] for each in (b"1", b"2", b"3")]
        )
        for number in (1, 2, 0):
            self.reply(number)
        self.assertEqual([frames[1] for frames in self.host.posted], [b"2", b"3", b"1"])

    def test_cancel(self) -> None:
        """Only a request in flight can be cancelled, and only once; it is marked and interrupted."""
        self.send(b"1", b"2")
        for request in (b"2", b"2", b"3"):
            self.inFlight.received([b"", CANCEL, request])
        self.assertEqual(self.host.interrupted, [self.host.begun[1]])
        self.assertEqual([request.isCancelled() for request in self.host.begun], [False, True])
        self.inFlight.ended(self.host.begun[1], cancelledReply(b"2"))
        self.inFlight.received([b"", CANCEL, b"2"])
        self.assertEqual(len(self.host.interrupted), 1)

    def test_heartbeat(self) -> None:
        """A heartbeat is answered at once, or when every request that was in flight when it arrived has a reply."""
        self.inFlight.received([b"", HEARTBEAT])
        self.assertEqual(self.host.posted, [[b"", HEARTBEAT]])
        self.send(b"1", b"2")
        self.inFlight.received([b"", HEARTBEAT])
        self.send(b"3")
        self.reply(1)
        self.assertNotIn([b"", HEARTBEAT], self.host.posted[1:])
        self.reply(0)
        self.assertEqual(self.host.posted[-1], [b"", HEARTBEAT])
        self.reply(2)
        self.assertEqual(self.host.posted.count([b"", HEARTBEAT]), 2)

    def test_retire(self) -> None:
        """After ``retire`` the worker finishes when no request is in flight; until then they can be cancelled."""
        self.send(b"1", b"2")
        self.inFlight.received([b"", RETIRE])
        self.reply(0)
        self.assertEqual(self.host.finishes, 0)
        self.inFlight.received([b"", CANCEL, b"2"])
        self.assertEqual(self.host.interrupted, [self.host.begun[1]])
        self.reply(1)
        self.assertEqual(self.host.finishes, 1)

    def test_retireIdle(self) -> None:
        """After ``retire`` an idle worker finishes at once."""
        self.inFlight.received([b"", RETIRE])
        self.assertEqual(self.host.finishes, 1)

    def test_leave(self) -> None:
        """After TERM no request is begun; the broker gives those that arrive to another worker."""
        self.send(b"1")
        self.inFlight.leave()
        self.send(b"2")
        self.assertEqual([request.id for request in self.host.begun], [b"1"])
        self.reply(0)
        self.assertEqual(self.host.finishes, 1)
