# -*- test-case-name: pirate.test.broker.test_deadlines -*-
"""Requests that expire, and jobs that take too long."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker import replies as replies
from pirate.test.support.broker import BrokerBench, ConcurrencyBench, cancelling
from pirate.wire.backend import Announcement
from pirate.wire.words import CANCEL


class ExpiryTests(SynchronousTestCase):
    """Requests whose deadline passes before they are begun."""

    def test_noTime(self) -> None:
        """A request whose deadline has passed when it comes is not begun."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.askNatively(b"1", timeout_ms=0)
        ((_, told),) = bench.told()
        self.assertEqual((told["code"], bench.sent()), ("expired", []))

    def test_behindAnother(self) -> None:
        """
        A request whose deadline passes while its worker executes another fails then, and the worker is told.

        The request that is being executed does not fail, whatever its deadline, nor does one that has time left.
        """
        bench = BrokerBench()
        bench.ready(b"A", credit=4)
        one, two = bench.askNatively(b"1", b"2", timeout_ms=1000)
        (three,) = bench.askNatively(b"3", timeout_ms=5000)
        bench.ask(b"4")
        bench.sent()
        self.assertEqual(bench.broker.deadlines.due, 1.0)
        bench.tick(0.99)
        self.assertEqual(bench.told(), [])
        self.assertEqual(bench.tick(1.0), 5.0)
        self.assertEqual([(client, told["code"]) for client, told in bench.told()], [(b"2", "expired")])
        self.assertEqual(bench.sent(), [(b"A", two.brokerId)])
        bench.reply(b"A", one)
        bench.fail(b"A", two)
        bench.tick(5.0)
        bench.reply(b"A", three)
        self.assertEqual(bench.replies(), [(b"1", b"1"), (b"3", b"3")])

    def test_behindAnotherOften(self) -> None:
        """However many deadlines there are, the workers are searched at most once in a hundredth of a second."""
        bench = BrokerBench()
        bench.ready(b"A", credit=64)
        for number in range(60):
            bench.askNatively(b"%d" % number, timeout_ms=1000 + number)
        ticks = 0
        while bench.broker.deadlines.due < 2.0:
            bench.tick(bench.broker.deadlines.due)
            ticks += 1
        self.assertEqual((len(bench.told()), bench.broker.dispatcher.inFlight), (59, 1))
        self.assertLess(ticks, 10)

    def test_atTheSameTime(self) -> None:
        """A worker with a concurrency has begun all its requests: none of them expires."""
        bench = BrokerBench()
        bench.broker.dispatcher.workerReady(b"A", Announcement("", 4, False, concurrency=4))
        bench.askNatively(b"1", b"2", timeout_ms=1000)
        bench.tick(1.0)
        self.assertEqual((bench.told(), bench.broker.dispatcher.inFlight), ([], 2))


class ConcurrencyTests(SynchronousTestCase):
    """Jobs of a worker with a concurrency that take too long."""

    def test_each(self) -> None:
        """Each job has its own time: when that of one is over, others that are late end too, and the rest is moved."""
        bench = ConcurrencyBench(jobTimeout=10)
        bench.several(b"A")
        bench.ask(b"1")
        bench.tick(2)
        bench.ask(b"2")
        bench.tick(9)
        (three,) = bench.ask(b"3")
        bench.tick(9.5)
        self.assertEqual(bench.stopped, [])
        bench.tick(10)
        self.assertEqual(
            (bench.stopped, [(name, code) for name, code, _ in bench.givenUp]), ([b"A"], [(b"1", "timeout")])
        )
        self.assertEqual(three.deaths, 1)

    def test_repliedInTime(self) -> None:
        """After the reply to the oldest, the next oldest counts, from when it was begun."""
        bench = ConcurrencyBench(jobTimeout=10)
        bench.several(b"A")
        (one,) = bench.ask(b"1")
        bench.tick(4)
        bench.ask(b"2")
        bench.tick(9)
        bench.reply(b"A", one)
        bench.tick(13.9)
        self.assertEqual(bench.givenUp, [])
        self.assertEqual(bench.broker.deadlines.due, 14)
        bench.tick(14)
        self.assertEqual([name for name, _, _ in bench.givenUp], [b"2"])

    def test_cancelGrace(self) -> None:
        """Each cancelled job has its grace; one that ends in it saves its worker, unless another does not."""
        bench = ConcurrencyBench(cancelGrace=5)
        bench.several(b"A")
        one, two, three = bench.askNatively(b"1", b"2", b"3")
        bench.broker.cancel(cancelling(three))
        bench.tick(2)
        bench.broker.cancel(cancelling(two))
        bench.tick(4)
        bench.reply(b"A", three)
        bench.tick(5)
        self.assertEqual(bench.stopped, [])
        bench.tick(7)
        self.assertEqual(bench.stopped, [b"A"])
        self.assertEqual((one.deaths, [code for _, code, _ in bench.givenUp]), (1, ["cancelled"] * 2))

    def test_cancelIsSent(self) -> None:
        """The worker is told, whichever of its requests is cancelled."""
        bench = ConcurrencyBench()
        bench.several(b"A")
        requests = bench.askNatively(b"1", b"2")
        bench.broker.cancel(cancelling(requests[1]))
        self.assertEqual(bench.framesToWorkers[-1], [b"A", b"", CANCEL, requests[1].brokerId])
