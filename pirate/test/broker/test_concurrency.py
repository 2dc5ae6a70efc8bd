# -*- test-case-name: pirate.test.broker.test_concurrency -*-
"""Workers that execute several requests at the same time, as the broker sees them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.request import NativeRequest, Request
from pirate.test.support.broker import BrokerBench
from pirate.wire.backend import Info
from pirate.wire.words import CANCEL


class CrowdBench(BrokerBench):
    """A bench with such workers."""

    def several(self, *workers: bytes, concurrency: int = 4) -> None:
        """Workers with a concurrency announce themselves."""
        for worker in workers:
            self._workers.add(worker)
            self.broker.dispatcher.workerReady(worker, Info(1, "", concurrency, concurrency=concurrency))
            self.check()

    def tick(self, now: float) -> None:
        """It is so late."""
        self.broker.tick(now)
        self.check()


class HandTests(SynchronousTestCase):
    """What is in such a hand."""

    def test_anyOrder(self) -> None:
        """Answers come in any order, and each makes room for one more."""
        bench = CrowdBench()
        bench.several(b"A", concurrency=3)
        requests = bench.ask(b"1", b"2", b"3", b"4", b"5")
        self.assertEqual([name for _, name in bench.sent()], [b"1", b"2", b"3"])
        bench.reply(b"A", requests[2])
        bench.reply(b"A", requests[0])
        self.assertEqual([name for _, name in bench.sent()], [b"4", b"5"])
        self.assertEqual([name for _, name in bench.replies()], [b"3", b"1"])

    def test_evenly(self) -> None:
        """Of two, the one with fewer in hand gets the next."""
        bench = CrowdBench()
        bench.several(b"A", b"B")
        requests = bench.ask(b"1", b"2", b"3", b"4")
        bench.reply(b"B", requests[1], requests[3])
        bench.sent()
        bench.ask(b"5", b"6")
        self.assertEqual([worker for worker, _ in bench.sent()], [b"B", b"B"])

    def test_spare(self) -> None:
        """One with less than half of what it could execute counts as spare, so that no others are started for it."""
        bench = CrowdBench()
        bench.several(b"A", concurrency=4)
        bench.ready(b"B")
        self.assertTrue(bench.broker.dispatcher.isSpare(b"A"))
        bench.ask(b"1", b"2")
        self.assertEqual((bench.broker.dispatcher.isSpare(b"A"), bench.broker.dispatcher.isSpare(b"B")), (True, False))
        bench.ask(b"3")
        self.assertFalse(bench.broker.dispatcher.isSpare(b"A"))
        self.assertFalse(bench.broker.dispatcher.isSpare(b"nobody"))


class DeathTests(SynchronousTestCase):
    """Such a worker dies."""

    def test_allAreCharged(self) -> None:
        """All that it held had been begun: each is charged, and goes to the front in the old order."""
        bench = CrowdBench()
        bench.several(b"A")
        requests = bench.ask(b"1", b"2", b"3")
        bench.gone(b"A")
        self.assertEqual([each.attempts for each in requests], [1, 1, 1])
        bench.sent()
        bench.several(b"B")
        self.assertEqual([name for _, name in bench.sent()], [b"1", b"2", b"3"])

    def test_answeredIsNotCharged(self) -> None:
        """What was answered before is answered; what was cancelled is not tried again."""
        bench = CrowdBench()
        bench.several(b"A")
        (one,) = bench.askNatively(b"1")
        (two,) = bench.ask(b"2")
        bench.broker.cancel(cancelling(one))
        bench.reply(b"A", two)
        bench.gone(b"A")
        bench.sent()
        bench.several(b"B")
        self.assertEqual(bench.sent(), [])

    def test_left(self) -> None:
        """One that leaves of its own will has begun nothing of what it still holds: nobody is charged."""
        bench = CrowdBench()
        bench.several(b"A")
        (one,) = bench.ask(b"1")
        bench.gone(b"A", "leaving", died=False)
        self.assertEqual(one.attempts, 0)

    def test_poison(self) -> None:
        """A request that kills is alone at its last attempt, so that it takes no other with it for the third time."""
        bench = CrowdBench(maxAttempts=3)
        bench.several(b"A")
        bad, good = bench.ask(b"bad", b"good")
        bench.gone(b"A")
        bench.several(b"B")
        bench.gone(b"B")
        bench.sent()
        bench.several(b"C", b"D")
        self.assertEqual(bench.sent(), [(b"C", b"bad"), (b"D", b"good")])
        bench.ask(b"next")
        self.assertEqual(bench.sent(), [])
        bench.gone(b"C")
        self.assertEqual((bad.attempts, [name for name, _, _ in bench.givenUp]), (3, [b"bad"]))
        bench.reply(b"D", good)
        self.assertEqual(bench.sent(), [(b"D", b"next")])
        self.assertEqual(bench.replies(), [(b"good", b"good")])

    def test_onlyOnce(self) -> None:
        """What may be tried only once shares the hand, because it has certainly been tried there, and ends with it."""
        bench = CrowdBench()
        bench.several(b"A")
        bench.ask(b"1")
        bench.askNatively(b"once", attempts=1)
        bench.ask(b"2")
        self.assertEqual([name for _, name in bench.sent()], [b"1", b"once", b"2"])
        bench.gone(b"A")
        self.assertEqual([told["code"] for _, told in bench.told()], ["worker-lost"])
        bench.several(b"B")
        self.assertEqual([name for _, name in bench.sent()], [b"1", b"2"])

    def test_lostOnTheWay(self) -> None:
        """What is missing when it says that all is answered is sent again; what was cancelled is not."""
        bench = CrowdBench(deliveryTimeout=1)
        bench.several(b"A")
        (one,) = bench.askNatively(b"1")
        bench.ask(b"2")
        bench.broker.cancel(cancelling(one))
        bench.sent()
        bench.tick(1)
        bench.broker.dispatcher.workerAlive(b"A")
        bench.check()
        self.assertEqual(bench.sent()[1:], [(b"A", b"2")])


class TimeTests(SynchronousTestCase):
    """Such a worker's jobs take too long."""

    def test_each(self) -> None:
        """Each has its own time: when that of one is over, others that are late too end with it, the rest goes on."""
        bench = CrowdBench(jobTimeout=10)
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
        self.assertEqual(three.attempts, 1)

    def test_answeredInTime(self) -> None:
        """The answer to the oldest makes the next oldest count, from when it was begun."""
        bench = CrowdBench(jobTimeout=10)
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

    def test_cancelKills(self) -> None:
        """Any that was cancelled has its grace; one that ends in it saves its worker, unless another does not."""
        bench = CrowdBench(cancelKills=5)
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
        self.assertEqual((one.attempts, [code for _, code, _ in bench.givenUp]), (1, ["cancelled"] * 2))

    def test_cancelIsSent(self) -> None:
        """Its worker is told, whichever of those in hand it is."""
        bench = CrowdBench()
        bench.several(b"A")
        requests = bench.askNatively(b"1", b"2")
        bench.broker.cancel(cancelling(requests[1]))
        self.assertEqual(bench.framesToWorkers[-1], [b"A", b"", CANCEL, requests[1].id])


def cancelling(request: Request) -> NativeRequest:
    """The command to cancel a native request."""
    return NativeRequest([b"c", b"", b""], [b""], request.key, {"command": "cancel"})
