# -*- test-case-name: pirate.test.broker.test_broker -*-
"""The broker as a whole: the end of a server, and what is kept of requests."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker import replies as replies
from pirate.broker.request import Request
from pirate.test.support.broker import BrokerBench


class EndTests(SynchronousTestCase):
    """The server stops."""

    def test_refuse(self) -> None:
        """New requests are refused, and those that have been accepted are still served."""
        bench = BrokerBench()
        bench.ready(b"A")
        one, two = bench.ask(b"1", b"2")
        bench.broker.stopAccepting("the server is stopping")
        bench.askNatively(b"3")
        ((client, told),) = bench.told()
        self.assertEqual((client, told["code"], told["message"]), (b"3", "stopping", "the server is stopping"))
        bench.reply(b"A", one, two)
        self.assertEqual((len(bench.replies()), bench.broker.isQuiet()), (2, True))

    def test_abandon(self) -> None:
        """All requests are given up; the code tells whether a request may have been executed."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", credit=2)
        inFlight = bench.askNatively(b"1", b"2", b"3")
        bench.ready(b"C", services=("c",))
        bench.askNatively(b"4", service="c")
        bench.gone(b"B")
        bench.askNatively(b"5", b"6")
        bench.reply(b"A", inFlight[0])
        bench.replies()
        counts = bench.broker.dispatcher.abandon("stopped")
        bench.check()
        self.assertEqual(counts, (2, 3))
        told = bench.told()
        self.assertEqual({each["message"] for _, each in told}, {"stopped"})
        self.assertEqual(
            sorted((client, each["code"]) for client, each in told),
            [(b"2", "stopping"), (b"3", "worker-lost"), (b"4", "worker-lost"), (b"5", "stopping"), (b"6", "stopping")],
        )
        self.assertTrue(bench.broker.isQuiet())

    def test_abandonExpired(self) -> None:
        """Requests whose deadline had passed, and that have not been told yet, expire then."""
        bench = BrokerBench()
        bench.ready(b"A")
        (inFlight,) = bench.askNatively(b"1")
        bench.askNatively(b"2", b"3", timeout_ms=1000)
        bench.broker.deadlines.now = 2.0
        bench.reply(b"A", inFlight)
        bench.replies()
        self.assertEqual(bench.broker.dispatcher.abandon("stopped"), (0, 2))
        self.assertEqual(
            [(client, each["code"]) for client, each in bench.told()], [(b"2", "expired"), (b"3", "expired")]
        )
        self.assertTrue(bench.broker.isQuiet())

    def test_afterAbandon(self) -> None:
        """No request comes back: not by a late reply, nor by a worker that dies or comes."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        one, _, _ = bench.ask(b"1", b"2", b"3")
        bench.broker.dispatcher.abandon("stopped")
        bench.sent()
        bench.reply(b"A", one)
        bench.gone(b"B")
        bench.ready(b"C")
        self.assertEqual((bench.sent(), bench.replies(), bench.broker.counters.late), ([], [], 1))
        self.assertEqual(bench.broker.dispatcher.abandon("again"), (0, 0))

    def test_abandonTwice(self) -> None:
        """A request that was moved from a dead worker and has had a late reply is not given up a second time."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        (one,) = bench.ask(b"1")
        bench.gone(b"A")
        bench.reply(b"A", one)
        self.assertEqual(bench.broker.dispatcher.abandon("stopped"), (0, 0))


class MemoryTests(SynchronousTestCase):
    """What the broker keeps."""

    def test_forgets(self) -> None:
        """Nothing is kept of a request that has ended, however it ended."""

        def count() -> int:
            gc.collect()
            return sum(issubclass(type(each), Request) for each in gc.get_objects())

        before, bench = count(), BrokerBench(maxAttempts=2)
        for _ in range(10):
            bench.ready(b"A", b"B", credit=3)
            requests = bench.ask(*[b"x"] * 6)
            bench.gone(b"A")
            bench.reply(b"A", requests[0])
            bench.gone(b"B")
            bench.ready(b"A", b"B")
            bench.gone(b"A")
            for request in requests:
                bench.reply(b"B", request)
            bench.gone(b"B")
            bench.broker.dispatcher.abandon("stopped")
        self.assertTrue(bench.broker.isQuiet())
        del requests, request
        bench.ready(b"A")
        bench.reply(b"A", *bench.ask(b"1"))
        self.assertEqual(count() - before, 0)

    def test_bodies(self) -> None:
        """No body is kept once its request has ended, even if the request waited and had a deadline."""
        bench = BrokerBench()
        bench.ready(b"A")
        requests = bench.askNatively(b"1", b"2", timeout_ms=60_000)
        for request in requests:
            bench.reply(b"A", request, body=b"answer")
        self.assertEqual([request.body for request in requests], [[], []])
