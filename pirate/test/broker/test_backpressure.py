# -*- test-case-name: pirate.test.broker.test_backpressure -*-
"""Whether more requests are read, and the share of each client."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import count, cycle

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker import replies as replies
from pirate.broker.backpressure import (
    EXTRA_REQUESTS,
    FULL,
    INTERVAL,
    LISTEN,
    LONG_PAUSE,
    MAX_ROUND,
    MESSAGES,
    SHORT_PAUSE,
    Throttle,
)
from pirate.broker.request import NativeRequest, Request
from pirate.test.support.broker import BrokerBench
from pirate.wire.words import Code


class ThrottleTests(SynchronousTestCase):
    """How many messages are read, and when."""

    def setUp(self) -> None:
        """Make a throttle, and a time."""
        self.throttle = Throttle()
        self.now = 100.0

    def read(self, turns: Iterator[str], used: float = 0.0) -> list[str]:
        """
        Read as many messages as are allowed now.

        :param turns: whose messages come; clients in upper case should be held back, ``f`` sends first requests.
        :param used: which part is used of the room for such requests.
        :return: whose messages were read.
        """
        read = []
        while self.throttle.mayRead(self.now):
            client = next(turns)
            read.append(client)
            if client.isupper():
                self.throttle.noteCrowding(client.encode(), used)
            elif client == "f":
                self.throttle.noteFirst()
        return read

    def pause(self, used: float, turns: str = "A") -> float:
        """Read one round, and return the seconds until the next."""
        self.now = self.throttle.due
        self.assertEqual(self.read(cycle(turns), used)[-1], "A")
        return round(self.throttle.due - self.now, 6)

    def test_most(self) -> None:
        """In each interval a limited number of messages is read."""
        self.assertEqual(len(self.read(cycle("a"))), MESSAGES)
        self.now += INTERVAL * 0.9
        self.assertEqual(self.read(cycle("a")), [])
        self.now += INTERVAL * 0.2
        self.assertTrue(self.throttle.mayRead(self.now))
        self.now += INTERVAL / 2
        self.assertEqual(len(self.read(cycle("a"))), MESSAGES - 1)

    def test_round(self) -> None:
        """A round ends with the second turn of a client that should be held back, and not before."""
        turns = cycle("aABbC")
        self.assertEqual("".join(self.read(turns)), "aABbCaA")
        self.now += INTERVAL / 2
        self.assertEqual(self.read(turns), [])
        self.now += INTERVAL
        self.assertEqual("".join(self.read(turns)), "BbCaAB")

    def test_longRound(self) -> None:
        """A round of many clients goes on in the next intervals, so that each of 400 is heard in half a second."""
        turns = cycle(f"C{number}" for number in range(400))
        heard: dict[str, float] = {}
        longest = 0.0
        while self.now < 103:
            for client in self.read(turns, 1.0):
                longest = max(longest, self.now - heard.get(client, self.now))
                heard[client] = self.now
            self.now = self.throttle.due
        self.assertEqual(len(heard), 400)
        self.assertTrue(0.2 < longest < 0.5, longest)

    def test_pause(self) -> None:
        """The less room is left, the longer is the pause between two rounds; without room it is still short."""
        self.assertEqual([self.pause(0.0), self.pause(0.0)], [INTERVAL] * 2)
        pauses = [self.pause(used) for used in (0.0, 0.12, 0.13, 0.25, 0.5, 0.75, 0.99, 1.0, 1.5, 1e9)]
        self.assertEqual(pauses, [0.01, 0.01, 0.02, 0.04, 0.16, *[LONG_PAUSE] * 5])

    def test_others(self) -> None:
        """The pause is shorter for some time after a first request of a client has been read."""
        self.pause(0.0)
        pauses = [self.pause(1.0, turns) for turns in ("A", "aA", "fA", "A")]
        self.assertEqual(pauses, [*[LONG_PAUSE] * 2, *[SHORT_PAUSE] * 2])
        end = self.now + LISTEN
        while self.throttle.due < end - SHORT_PAUSE:
            self.assertEqual(self.pause(1.0), SHORT_PAUSE)
        self.now = end
        self.assertEqual([self.pause(1.0) for _ in range(4)][-1], LONG_PAUSE)

    def test_forEver(self) -> None:
        """Reading goes on for ever, at a limited rate; if every client has one turn only, not all are remembered."""
        newcomers = (f"C{number}" for number in count())
        for turns in (cycle("A"), newcomers):
            read, begin = 0, self.now
            while self.now < begin + 10:
                read += len(self.read(turns, 1.0))
                self.now = max(self.throttle.due, self.now)
            self.assertTrue(50 <= read <= 10 / INTERVAL * MESSAGES + MESSAGES, read)
        self.assertTrue(0 < len(self.throttle._round) <= MAX_ROUND)


class BacklogTests(SynchronousTestCase):
    """Requests that wait."""

    def test_inOrder(self) -> None:
        """Requests are served in the order of their arrival."""
        bench = BrokerBench()
        bench.ask(b"1", b"2", b"3")
        self.assertEqual((bench.broker.queues.waiting, bench.sent()), (3, []))
        bench.ready(b"A", b"B")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"2")])
        self.assertEqual((bench.broker.queues.waiting, bench.broker.dispatcher.inFlight), (1, 2))

    def test_replyFreesWorker(self) -> None:
        """A reply is enough for a worker to get its next request."""
        bench = BrokerBench()
        bench.ready(b"A")
        one, two, _ = bench.ask(b"1", b"2", b"3")
        bench.reply(b"A", one)
        bench.fail(b"A", two)
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"A", b"2"), (b"A", b"3")])

    def test_noOvertaking(self) -> None:
        """A new request waits behind those that wait already, even if a worker has just come."""
        bench = BrokerBench()
        bench.ready(b"A", credit=2)
        (one,) = bench.ask(b"1")
        bench.gone(b"A")
        bench.ask(b"2")
        bench.ready(b"B", credit=8)
        bench.ask(b"3")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"1")])
        bench.reply(b"B", one)
        self.assertEqual(bench.sent(), [(b"B", b"2"), (b"B", b"3")])

    def test_fullByCount(self) -> None:
        """With the full number of requests waiting no more are wanted, until one is sent to a worker."""
        bench = BrokerBench(backlog=2)
        bench.ready(b"A")
        one, *_ = bench.ask(b"1", b"2")
        self.assertFalse(bench.broker.backpressure.isFull())
        bench.ask(b"3")
        self.assertTrue(bench.broker.backpressure.isFull())
        bench.reply(b"A", one)
        self.assertFalse(bench.broker.backpressure.isFull())

    def test_fullByBytes(self) -> None:
        """The same is true of the bytes that wait; requests in flight do not count."""
        bench = BrokerBench(backlogMib=100 / 2**20)
        bench.ready(b"A")
        requests = [bench.receive(Request([b"c", b""], [b"x" * 30, b"x" * 30])) for _ in range(2)]
        self.assertFalse(bench.broker.backpressure.isFull())
        requests.append(bench.receive(Request([b"c", b""], [b"x" * 40])))
        self.assertTrue(bench.broker.backpressure.isFull())
        bench.reply(b"A", requests[0])
        self.assertFalse(bench.broker.backpressure.isFull())
        bench.gone(b"A")
        self.assertTrue(bench.broker.backpressure.isFull())
        bench.broker.dispatcher.abandon("stopped")
        self.assertFalse(bench.broker.backpressure.isFull())

    def test_fullStillAccepts(self) -> None:
        """A request that has been read is accepted, even if the backlog is full."""
        bench = BrokerBench(backlog=1)
        bench.ask(b"1", b"2", b"3")
        bench.ready(b"A", credit=3)
        self.assertEqual(len(bench.sent()), 3)


class FairTests(SynchronousTestCase):
    """The flood of one client beside the requests of others."""

    def test_flood(self) -> None:
        """
        Under a flood of 20,000 requests every other client waits for the jobs in flight, and one job of each client.

        Two workers, jobs of 2 ms: the time is counted in jobs.
        """
        bench = BrokerBench(backlog=50_000, clientShare=1.0)
        bench.ready(b"A", b"B")
        holding: dict[bytes, bytes] = {}
        others = [b"a", b"b", b"c", b"d"]

        def finish() -> None:
            """Both workers are done with a job."""
            for worker, client in bench.sent():
                holding[worker] = client
            for worker in list(holding):
                inFlight = next(iter(bench.broker.dispatcher.workers[worker].inFlight.values()))
                bench.broker.dispatcher.replyReceived(worker, inFlight.brokerId, inFlight.body)

        for _ in range(20_000):
            bench.broker.requestReceived(Request([b"F", b""], [b"F"]))
        bench.check()
        for round in range(20):
            bench.ask(*others[: round % 4 + 1])
            clients = round % 4 + 1
            answered: list[bytes] = []
            bench.replies()
            for _ in range((2 + clients + 1 + 1) // 2):
                finish()
                answered += [client for client, _ in bench.replies()]
            self.assertEqual([each for each in answered if each != b"F"], others[:clients])

    def longestWait(self, job: float, seconds: float) -> float:
        """
        Return the longest wait of a client that asks again and again while twenty others flood a small backlog.

        Two workers take one request each.  The frontend is a ROUTER's: it has a message of each client in turn.
        """
        bench = BrokerBench(backlog=100)
        broker, backpressure = bench.broker, bench.broker.backpressure
        bench.ready(b"A", b"B")
        turns = deque([*(b"F%d" % number for number in range(20)), b"c"])
        ends: dict[bytes, float] = {}
        asked = longest = 0.0
        for step in range(int(seconds * 1000)):
            now = broker.deadlines.now = step / 1000
            for worker in [each for each, end in ends.items() if end <= now]:
                del ends[worker]
                record = broker.dispatcher.workers[worker]
                broker.dispatcher.replyReceived(worker, next(iter(record.inFlight)), [b"done"])
            if backpressure.wantsRequests():
                for _ in range(64):
                    self.readOne(bench, turns)
            while not backpressure.wantsRequests() and backpressure.mayReadExtra():
                self.readOne(bench, turns)
            for worker, _ in bench.sent():
                ends[worker] = now + job
            for client, _ in bench.replies():
                if client == b"c":
                    longest = max(longest, now - asked)
                    asked = now
                    turns.append(b"c")
        return longest

    def readOne(self, bench: BrokerBench, turns: deque[bytes]) -> None:
        """Read one message of the client whose turn it is, which keeps it unless it waits for its reply."""
        client = turns.popleft()
        bench.broker.requestReceived(Request([client, b""], [client]))
        if client != b"c":
            turns.append(client)

    def test_turn(self) -> None:
        """
        Beside twenty floods that fill the backlog and the room beyond it, a client waits for its turn, and 50 ms.

        That is the time of the jobs in flight, and of one job of each client, however long jobs take.
        """
        for job in (0.002, 0.01, 0.05, 0.25):
            self.assertLess(self.longestWait(job, 10 + 40 * job), (2 + 21 + 1) // 2 * job + 0.05, job)

    def test_shareOfNative(self) -> None:
        """A native client beyond its share of the backlog gets ``busy``, and may send again later."""
        bench = BrokerBench(backlog=8)
        for number in range(6):
            bench.receive(NativeRequest([b"F", b"", b""], [b"x"], b"%16d" % number, {}))
        self.assertEqual([(client, told["code"]) for client, told in bench.told()], [(b"F", "busy")] * 2)
        bench.askNatively(b"1")
        bench.ask(b"2")
        self.assertEqual(
            (bench.told(), bench.broker.queues.waiting, bench.broker.backpressure.wantsRequests()), ([], 6, True)
        )
        bench.ready(b"A")
        bench.receive(NativeRequest([b"F", b"", b""], [b"x"], b"y" * 16, {}))
        self.assertEqual((bench.told(), bench.broker.counters.failed), ([], {Code.BUSY: 2}))

    def test_shareInBytes(self) -> None:
        """The share counts bytes as well; one request may wait, whatever its size."""
        bench = BrokerBench(backlogMib=0.001)
        for name in (b"1", b"2"):
            bench.receive(NativeRequest([b"F", b"", b""], [bytes(600)], name * 16, {}))
        self.assertEqual([told["code"] for _, told in bench.told()], ["busy"])
        self.assertEqual(bench.broker.queues.waiting, 1)

    def test_shareOfPlain(self) -> None:
        """A plain client beyond its share is held back: nothing is refused, and only a few messages are read."""
        bench = BrokerBench(backlog=8)
        broker = bench.broker
        bench.ask(*[b"F"] * 4)
        self.assertTrue(broker.backpressure.wantsRequests())
        bench.ask(b"F")
        self.assertEqual(
            (broker.backpressure.wantsRequests(), broker.queues.waiting, broker.counters.failed), (False, 5, {})
        )
        broker.deadlines.now = 1.0
        # The second turn of the client that is held back ends the round; those of others do not.
        for client in (b"1", b"2", b"F"):
            self.assertTrue(broker.backpressure.mayReadExtra())
            bench.ask(client)
        self.assertFalse(broker.backpressure.mayReadExtra())
        self.assertAlmostEqual(broker.backpressure.secondsUntilExtraRead(), 0.01)
        bench.ready(b"A", credit=4)
        self.assertTrue(broker.backpressure.wantsRequests())

    def readExtra(self, bench: BrokerBench, clients: Iterator[bytes], seconds: float, body: bytes = b"") -> int:
        """Read for some seconds as much as is allowed, and return the number of requests."""
        backpressure, deadlines = bench.broker.backpressure, bench.broker.deadlines
        read, end = 0, deadlines.now + seconds
        while deadlines.now < end:
            while backpressure.mayReadExtra():
                client = next(clients)
                bench.receive(Request([client, b""], [body or client]))
                read += 1
            deadlines.now += max(backpressure.secondsUntilExtraRead(), 0.001)
        return read

    def test_full(self) -> None:
        """A full backlog takes a few more requests, which are held back; with no room left they are given up."""
        bench = BrokerBench(backlog=4, clientShare=1.0)
        broker = bench.broker
        bench.ask(b"1", b"1", b"2", b"2")
        self.assertFalse(broker.backpressure.wantsRequests())
        broker.deadlines.now = 1.0
        for name in (b"3", b"4", b"1", b"2", b"1"):
            self.assertTrue(broker.backpressure.mayReadExtra())
            bench.ask(name)
        self.assertFalse(broker.backpressure.mayReadExtra())
        self.assertEqual(broker.queues.waiting, 9)
        # One flooder fills the room in about a minute.
        self.assertTrue(200 < self.readExtra(bench, cycle([b"1"]), 5) < 500)
        self.readExtra(bench, cycle([b"1"]), 40)
        self.assertEqual((bench.givenUp, broker.counters.overflowed), ([], 0))
        self.readExtra(bench, cycle([b"1"]), 120)
        self.assertEqual(broker.queues.waiting, 4 + EXTRA_REQUESTS)
        self.assertEqual({*bench.givenUp}, {(b"1", Code.BUSY, FULL)})
        self.assertEqual(broker.counters.overflowed, len(bench.givenUp))
        self.assertEqual(broker.counters.failed, {Code.BUSY: len(bench.givenUp)})
        # Nothing is left of what was given up.
        self.assertEqual(len(broker.queues.services[""].queues[b"1"].rest or ()), 4 + EXTRA_REQUESTS - 6)
        # The first request of another client is accepted, a native one beyond the room gets ``busy``.
        bench.ask(b"5")
        self.assertEqual(broker.queues.waiting, 5 + EXTRA_REQUESTS)
        bench.receive(NativeRequest([b"5", b"", b""], [b"x"], b"y" * 16, {}))
        self.assertEqual([(client, told["code"]) for client, told in bench.told()], [(b"5", "busy")])
        self.assertEqual(broker.counters.overflowed, len(bench.givenUp) - 1)
        given = len(bench.givenUp)
        bench.ready(b"A", credit=64)
        self.readExtra(bench, cycle([b"1"]), 0.5)
        self.assertEqual(len(bench.givenUp), given)

    def test_fullOfMany(self) -> None:
        """However many clients crowd, and however long jobs take, a newcomer is read within half a second."""
        bench = BrokerBench(backlog=20, clientShare=1.0)
        flooders = [b"F%d" % number for number in range(20)]
        bench.ask(*flooders)
        while not bench.givenUp:
            self.readExtra(bench, cycle(flooders), 1)
        for number in range(20):
            self.readExtra(bench, cycle(flooders), 0.017 * number)
            newcomer = b"%d" % number
            self.readExtra(bench, cycle([*flooders, newcomer]), 0.4)
            self.assertTrue(bench.broker.queues.services[""].queues[newcomer].share.waiting)

    def test_fullOfBytes(self) -> None:
        """
        The room and the reserve are limited in bytes, too: what waits is at most a message above twice the backlog.

        A request that is too large for the rest of the room is kept; otherwise large ones would never be.
        """
        bench = BrokerBench(backlogMib=1, clientShare=1.0)
        queues = bench.broker.queues
        body = bytes(100_000)
        self.readExtra(bench, cycle([b"1", b"2"]), 60, body)
        self.assertTrue(1.25 <= queues.waitingBytes / 2**20 < 1.25 + 0.1, queues.waitingBytes)
        self.assertEqual({client for client, _, _ in bench.givenUp}, {b"1", b"2"})
        for number in range(100):
            bench.receive(Request([b"C%d" % number, b""], [body]))
        self.assertTrue(2 <= queues.waitingBytes / 2**20 < 2 + 0.1, queues.waitingBytes)
        self.assertEqual(bench.givenUp[-1], (b"C99", Code.BUSY, FULL))
        # Nor is the queue of a client kept in its place whose only request was given up.
        self.assertNotIn(None, [each.first for each in queues.services[""].ring])
        self.assertEqual(len(queues.services[""].ring), len({each.route[0] for each in queues.queued()}))

    def test_refusedWithRoom(self) -> None:
        """A request that is given up leaves those before it in their places, also those of its own client."""
        bench = BrokerBench(backlog=6)
        for number in range(5):
            bench.receive(NativeRequest([b"N", b"", b""], [b"%d" % number], b"%16d" % number, {}))
        bench.ask(b"1")
        bench.ready(b"A", credit=9)
        self.assertEqual([name for _, name in bench.sent()], [b"0", b"1", b"1", b"2"])

    def test_rejects(self) -> None:
        """With the policy ``reject`` plain clients are refused beyond their share, too, and everything is read."""
        bench = BrokerBench(backlog=8, backlogPolicy="reject")
        bench.ask(*[b"F"] * 6)
        self.assertEqual(
            (bench.broker.backpressure.wantsRequests(), bench.broker.counters.failed), (True, {Code.BUSY: 2})
        )

    def test_retryKeepsItsPlace(self) -> None:
        """A native request that is sent again while it waits keeps its place."""
        bench = BrokerBench()
        bench.askNatively(b"1", b"2", b"3")
        bench.askNatively(b"1")
        bench.ready(b"A", credit=3)
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"A", b"2"), (b"A", b"3")])

    def test_withdrawn(self) -> None:
        """A native request whose client has gone is not executed, and is forgotten."""
        bench = BrokerBench()
        (one,) = bench.askNatively(b"1")
        bench.broker.withdraw(one)
        bench.check()
        bench.ready(b"A")
        self.assertEqual((bench.sent(), bench.broker.counters.withdrawn), ([], 1))
        bench.askNatively(b"1")
        self.assertEqual(bench.sent(), [(b"A", b"1")])
