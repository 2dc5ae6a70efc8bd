"""Tests of the messages to clients that are sent later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pirate.transport.outbox import MAX_POSTPONED, RETRY_INTERVAL, RETRY_TIME, Outbox, WorkerOutbox
from pirate.transport.router import Router
from pirate.wire.backend import idsOf, requestFrames
from pirate.wire.frontend import REPLY_BATCH_HEADER, SmallReply, header, parseReplies
from pirate.wire.words import MAX_BATCH, MAX_PACKED


class FakeRouter:
    """
    A frontend in memory.

    :ivar refusals: how many of the next messages to a client find its queue full, by its routing id.
    :ivar gone: the routing ids of the clients that are not connected.
    :ivar sent: the delivered messages.
    """

    def __init__(self) -> None:
        self.factory = object()
        self.full = False
        self.refusals: dict[bytes, int] = {}
        self.gone: set[bytes] = set()
        self.sent: list[Sequence[bytes]] = []

    def deliver(self, frames: Sequence[bytes]) -> bool:
        """Deliver a message, unless its client is gone or its queue is full."""
        client = frames[0]
        self.full = client not in self.gone and self.refusals.get(client, 0) > 0
        if self.full:
            self.refusals[client] -= 1
        if self.full or client in self.gone:
            return False
        self.sent.append(frames)
        return True


class OutboxTests(SynchronousTestCase):
    """Messages to clients with full queues."""

    def setUp(self) -> None:
        """Make an outbox whose router is in memory."""
        self.clock = Clock()
        self.router = FakeRouter()
        self.undelivered = self.turns = 0
        self.outbox = Outbox(self.clock, cast(Router, self.router), self)

    def replyUndelivered(self) -> None:
        """See :class:`~pirate.transport.outbox.OutboxEvents`."""
        self.undelivered += 1

    def wake(self) -> None:
        """See :class:`~pirate.transport.outbox.OutboxEvents`."""
        self.turns += 1

    def post(self, *messages: Sequence[bytes]) -> None:
        """Send messages at the end of a turn."""
        self.outbox.posted.extend(messages)
        self.outbox.flush()

    def test_order(self) -> None:
        """A message that finds a queue full once keeps its place before the later ones to the same client."""
        self.router.refusals[b"a"] = 1
        self.post([b"a", b"part 1"], [b"a", b"end"])
        self.clock.advance(RETRY_INTERVAL)
        self.assertEqual(self.router.sent, [[b"a", b"part 1"], [b"a", b"end"]])

    def small(self, client: bytes, number: int) -> SmallReply:
        """Return a small reply."""
        return SmallReply([client, header(bytes([number]) * 16, {}), b"", b"%d" % number])

    def test_together(self) -> None:
        """The small replies to one client go in as few messages as possible, and a single one as it is."""
        many = [self.small(b"a", number) for number in range(MAX_BATCH + 1)]
        self.post(many[0], self.small(b"b", 7), [b"a", b"", b"other"], *many[1:])
        other, together, last, single = self.router.sent
        self.assertEqual(other, [b"a", b"", b"other"])
        self.assertEqual(together[:3], (b"a", REPLY_BATCH_HEADER, b""))
        expected = [(bytes([number]) * 16, b"%d" % number) for number in range(MAX_BATCH)]
        self.assertEqual(parseReplies(together[3:]), expected)
        self.assertEqual([last, single], [many[-1], self.small(b"b", 7)])

    def test_togetherUndelivered(self) -> None:
        """If a client is gone or has a full queue, each small reply counts, and those that can wait go singly."""
        replies = [self.small(b"a", number) for number in range(3)]
        self.router.gone.add(b"a")
        self.post(*replies)
        self.assertEqual(self.undelivered, 3)
        self.router.gone.clear()
        self.router.refusals[b"a"] = 1
        self.post(*replies)
        self.assertEqual((self.router.sent, self.undelivered), ([], 3))
        self.post(self.small(b"a", 3), self.small(b"a", 4))
        self.assertEqual(self.router.sent[:3], replies)
        self.assertEqual(len(self.router.sent), 4)

    def test_orderOfSend(self) -> None:
        """A message outside of a turn waits too until the earlier ones to its client are delivered."""
        self.router.refusals[b"a"] = 2
        self.outbox.send([b"a", b"1"])
        self.outbox.send([b"a", b"2"])
        self.assertEqual(self.router.sent, [])
        self.clock.advance(RETRY_INTERVAL)
        self.assertEqual((self.router.sent, self.turns), ([[b"a", b"1"], [b"a", b"2"]], 1))

    def test_orderOfRetries(self) -> None:
        """A retry that fails holds back the later messages to the same client."""
        self.router.refusals[b"a"] = 3
        self.post([b"a", b"1"], [b"a", b"2"])
        self.clock.advance(RETRY_INTERVAL)
        self.assertEqual(self.router.sent, [])
        self.clock.advance(RETRY_INTERVAL)
        self.assertEqual(self.router.sent, [[b"a", b"1"], [b"a", b"2"]])

    def test_room(self) -> None:
        """The next message to a client that has read on sends the postponed ones at once, with no retry left."""
        self.router.refusals[b"a"] = 1
        self.post([b"a", b"1"])
        self.post([b"a", b"2"])
        self.assertEqual(self.router.sent, [[b"a", b"1"], [b"a", b"2"]])
        self.clock.advance(RETRY_INTERVAL)
        self.assertEqual((len(self.router.sent), self.undelivered, self.clock.getDelayedCalls()), (2, 0, []))

    def test_otherClients(self) -> None:
        """A client with a full queue holds back no other client."""
        self.router.refusals[b"a"] = 2
        self.post([b"a", b"1"], [b"b", b"1"], [b"a", b"2"], [b"b", b"2"])
        self.assertEqual(self.router.sent, [[b"b", b"1"], [b"b", b"2"]])

    def test_givenUp(self) -> None:
        """Each message is given up and counted once its client has not read on in time."""
        self.router.refusals[b"a"] = 1_000_000
        self.post([b"a", b"1"])
        self.clock.pump([RETRY_INTERVAL] * 50)
        self.post([b"a", b"2"])
        self.clock.pump([RETRY_INTERVAL] * 52)
        self.assertEqual(self.undelivered, 1)
        self.clock.pump([RETRY_INTERVAL] * int(RETRY_TIME / RETRY_INTERVAL))
        self.assertEqual((self.undelivered, self.clock.getDelayedCalls()), (2, []))

    def test_gone(self) -> None:
        """All messages that are postponed for a client are counted when it disconnects."""
        self.router.refusals[b"a"] = 2
        self.post([b"a", b"1"], [b"a", b"2"])
        self.router.gone.add(b"a")
        self.clock.advance(RETRY_INTERVAL)
        self.assertEqual((self.router.sent, self.undelivered), ([], 2))

    def test_limit(self) -> None:
        """A bounded number of messages is postponed, and there is room again once they are delivered."""
        self.router.refusals[b"a"] = MAX_POSTPONED + 5
        self.post(*[[b"a", b"%d" % number] for number in range(MAX_POSTPONED + 5)])
        self.assertEqual(self.undelivered, 5)
        self.clock.advance(RETRY_INTERVAL)
        self.assertEqual(len(self.router.sent), MAX_POSTPONED)
        self.router.refusals[b"a"] = 1
        self.post([b"a", b"more"])
        self.assertEqual(self.undelivered, 5)

    def test_sendNow(self) -> None:
        """A message that must go at once waits only while earlier ones to its client cannot be delivered."""
        self.router.refusals[b"a"] = 2
        self.post([b"a", b"1"])
        self.assertTrue(self.outbox.sendPostponed(b"a"))
        self.assertFalse(self.outbox.sendPostponed(b"a"))
        self.assertEqual((self.router.sent, self.outbox.sendPostponed(b"b")), ([[b"a", b"1"]], False))


class WorkerOutboxTests(SynchronousTestCase):
    """Messages to workers that are sent together."""

    def setUp(self) -> None:
        """Make an outbox, and ids."""
        self.outbox = WorkerOutbox()
        self.ids = [b"\x80------%c" % number for number in range(200)]

    def post(self, worker: bytes, *numbers: int) -> None:
        """Post small requests with these ids."""
        self.outbox.postRequests(worker, [self.ids[each] for each in numbers], [b"x"] * len(numbers))

    def taken(self) -> list[tuple[bytes, list[int]]]:
        """Take the messages; return the worker of each, and the numbers of its requests."""
        return [(each[0], [self.ids.index(name) for name in idsOf(each)]) for each in self.outbox.take()]

    def test_together(self) -> None:
        """Requests to one worker go in one message, those to several in one for each."""
        self.post(b"A", 1)
        self.post(b"B", 2)
        self.post(b"A", 3, 4)
        self.assertEqual(self.taken(), [(b"A", [1, 3, 4]), (b"B", [2])])
        self.assertEqual(self.taken(), [])

    def test_order(self) -> None:
        """No request overtakes a message of another form."""
        self.post(b"A", 1)
        self.outbox.post(requestFrames(b"A", self.ids[2], [b"large"]))
        self.post(b"A", 3)
        self.post(b"A", 4)
        self.assertEqual(self.taken(), [(b"A", [1]), (b"A", [2]), (b"A", [3, 4])])

    def test_most(self) -> None:
        """No message has more requests than one may have."""
        self.post(b"A", *range(MAX_PACKED - 1))
        self.post(b"A", 100, 101)
        self.post(b"A", 102)
        self.assertEqual([len(numbers) for _, numbers in self.taken()], [MAX_PACKED - 1, 3])
