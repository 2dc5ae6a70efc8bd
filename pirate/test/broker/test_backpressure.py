# -*- test-case-name: pirate.test.broker.test_backpressure -*-
"""Whether more requests are read, and the share of each client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker import replies as replies
from pirate.broker.backpressure import INTERVAL, MESSAGES, Throttle
from pirate.broker.request import NativeRequest, Request
from pirate.test.support.broker import BrokerBench
from pirate.wire.words import Code


class ThrottleTests(SynchronousTestCase):
    """How many messages are read, and when."""

    def setUp(self) -> None:
        """Make a throttle."""
        self.throttle = Throttle()

    def peek(self, now: float, used: float = 0.0, crowds: int = 1, others: int = 1000) -> int:
        """
        Read as many messages as are allowed.

        :param others: messages that come before one that should have been held back, each time.
        :return: how many messages were read.
        """
        count = crowding = 0
        while self.throttle.mayRead(now, used, crowding, crowds):
            count += 1
            crowding += count % (others + 1) == 0
        return count

    def test_most(self) -> None:
        """A peek has a limited number of messages, and the next one has to wait."""
        self.assertEqual([self.peek(now) for now in (1.0, 1.0, 1.0 + INTERVAL / 2)], [MESSAGES, 0, 0])
        self.assertEqual(self.peek(1.0 + INTERVAL), MESSAGES)

    def test_crowds(self) -> None:
        """A peek ends when each client that should be held back has had its turn."""
        self.assertEqual([self.peek(1.0, others=0), self.peek(2.0, others=3)], [1, 4])
        self.assertEqual([self.peek(3.0, others=0, crowds=3), self.peek(4.0, others=2, crowds=2)], [3, 6])

    def test_room(self) -> None:
        """The less room is left, the rarer are peeks; without room there are none."""
        due = []
        for now, used in ((1.0, 0.0), (2.0, 0.5), (3.0, 0.99)):
            self.peek(now, used)
            due.append(self.throttle.due - now)
        self.assertEqual([round(each / INTERVAL) for each in due], [1, 16, 128])
        self.assertEqual([self.peek(9.0, 1.0), self.peek(10.0, 1.5), self.peek(10.0)], [0, 0, MESSAGES])


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
        # A request of the client that is held back ends the peek; those of others do not.
        self.assertTrue(broker.backpressure.mayReadExtra())
        bench.ask(b"1")
        self.assertTrue(broker.backpressure.mayReadExtra())
        bench.ask(b"F")
        self.assertFalse(broker.backpressure.mayReadExtra())
        self.assertAlmostEqual(broker.backpressure.secondsUntilExtraRead() or 0.0, 0.01)
        bench.ready(b"A", credit=3)
        self.assertTrue(broker.backpressure.wantsRequests())

    def test_full(self) -> None:
        """A full backlog takes a few more requests, at last none; first requests of other clients are among them."""
        bench = BrokerBench(backlog=4, clientShare=1.0)
        broker = bench.broker
        bench.ask(b"1", b"1", b"2", b"2")
        self.assertFalse(broker.backpressure.wantsRequests())
        broker.deadlines.now = 1.0
        for name in (b"3", b"4", b"1"):
            self.assertTrue(broker.backpressure.mayReadExtra())
            bench.ask(name)
        self.assertFalse(broker.backpressure.mayReadExtra())
        self.assertEqual(broker.queues.waiting, 7)
        peeks = 0
        while broker.backpressure.secondsUntilExtraRead() is not None:
            peeks += 1
            broker.deadlines.now = broker.backpressure._throttle.due
            while broker.backpressure.mayReadExtra():
                bench.ask(b"1")
        self.assertEqual(broker.queues.waiting, 1004)
        # At the end peeks were rare: all of them took longer than any job should.
        self.assertGreater(broker.deadlines.now, 300)
        bench.ready(b"A", credit=64)
        self.assertIsNotNone(broker.backpressure.secondsUntilExtraRead())

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
