# -*- test-case-name: pirate.test.broker.test_broker -*-
"""Who gets which request, with lists for sockets."""

from __future__ import annotations

import gc
import json

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker import replies as replies
from pirate.broker.request import NativeRequest, Request
from pirate.test.support.broker import BrokerBench
from pirate.wire.backend import Info
from pirate.wire.words import HEARTBEAT, RETIRE, Code


class DispatchTests(SynchronousTestCase):
    """Which worker gets a request."""

    def test_leastRecentlyUsed(self) -> None:
        """Of idle workers, the one gets it that has waited longest."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", b"C")
        one, two = bench.ask(b"1", b"2")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"2")])
        bench.reply(b"B", two)
        bench.reply(b"A", one)
        bench.ask(b"3", b"4", b"5")
        self.assertEqual(bench.sent(), [(b"C", b"3"), (b"B", b"4"), (b"A", b"5")])

    def test_fewestInHand(self) -> None:
        """Nobody gets a second request while another has none, nor a third while another has one."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", credit=3)
        bench.ask(b"1", b"2", b"3", b"4", b"5")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"2"), (b"A", b"3"), (b"B", b"4"), (b"A", b"5")])

    def test_fewestFirstThenLongest(self) -> None:
        """Of those with equally many, the one gets it that has had so many for longest."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", b"C", credit=2)
        one, two, three = bench.ask(b"1", b"2", b"3")
        bench.reply(b"B", two)
        bench.ask(b"4", b"5", b"6")
        self.assertEqual(bench.sent()[3:], [(b"B", b"4"), (b"A", b"5"), (b"C", b"6")])
        bench.reply(b"C", three)
        bench.reply(b"A", one)
        bench.ask(b"7", b"8", b"9")
        self.assertEqual(bench.sent(), [(b"B", b"7"), (b"C", b"8"), (b"A", b"9")])

    def test_frames(self) -> None:
        """A worker sees the broker's id where the client's address was, and the whole body."""
        bench = BrokerBench()
        bench.ready(b"A")
        request = bench.receive(Request([b"c", b"hop", b""], [b"a", b"", b"b"]))
        self.assertEqual(bench.framesToWorkers, [[b"A", b"", request.id, b"", b"a", b"", b"b"]])
        self.assertEqual(bench.framesToClients, [])

    def test_ids(self) -> None:
        """Each request has an id of 8 bytes of its own, which can never be a word."""
        bench = BrokerBench()
        ids = [request.id for request in bench.ask(*[b"x"] * 1000)]
        self.assertEqual(len(set(ids)), 1000)
        self.assertTrue(all(len(each) == 8 and each[0] >= 0x80 for each in ids))

    def test_firstId(self) -> None:
        """The numbering starts where it is told, so that a worker that knew another broker knows none of our ids."""
        first, second = BrokerBench(firstId=1000), BrokerBench(firstId=(1 << 62) - 1)
        ids = {request.id for bench in (first, second) for request in bench.ask(*[b"x"] * 100)}
        self.assertEqual(len(ids), 200)
        self.assertTrue(all(len(each) == 8 and each[0] >= 0x80 for each in ids))

    def test_context(self) -> None:
        """Only a worker whose app wants the context is sent it, and only then is it worth finding out."""
        bench = BrokerBench()
        bench.ready(b"A")
        self.assertFalse(bench.broker.dispatcher.wantsContext)
        bench.broker.dispatcher.workerReady(b"B", Info(1, "", 1, True))
        self.assertTrue(bench.broker.dispatcher.wantsContext)
        for name in (b"1", b"2"):
            bench.broker.requestReceived(Request([name, b""], [name], "", "10.0.0.1"))
        plain, told = bench.framesToWorkers
        self.assertEqual(len(plain), 5)
        self.assertEqual(json.loads(told[3]), {"client": "10.0.0.1", "service": "", "attempt": 1})


class BacklogTests(SynchronousTestCase):
    """Requests that wait."""

    def test_inOrder(self) -> None:
        """They are served in the order in which they came."""
        bench = BrokerBench()
        bench.ask(b"1", b"2", b"3")
        self.assertEqual((bench.broker.queues.waiting, bench.sent()), (3, []))
        bench.ready(b"A", b"B")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"2")])
        self.assertEqual((bench.broker.queues.waiting, bench.broker.dispatcher.inFlight), (1, 2))

    def test_answerMakesRoom(self) -> None:
        """A worker of our own needs no other word than its answer to get the next."""
        bench = BrokerBench()
        bench.ready(b"A")
        one, two, _ = bench.ask(b"1", b"2", b"3")
        bench.reply(b"A", one)
        bench.fail(b"A", two)
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"A", b"2"), (b"A", b"3")])

    def test_noOvertaking(self) -> None:
        """Who comes while others wait, waits behind them, also when a worker has just come."""
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
        """At so many requests waiting no more should be read, until one is given out."""
        bench = BrokerBench(backlog=2)
        bench.ready(b"A")
        one, *_ = bench.ask(b"1", b"2")
        self.assertFalse(bench.broker.backpressure.isFull())
        bench.ask(b"3")
        self.assertTrue(bench.broker.backpressure.isFull())
        bench.reply(b"A", one)
        self.assertFalse(bench.broker.backpressure.isFull())

    def test_fullByBytes(self) -> None:
        """The same for the bytes that wait; those in hand do not count."""
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
        """What has been read already is not lost for being one too many."""
        bench = BrokerBench(backlog=1)
        bench.ask(b"1", b"2", b"3")
        bench.ready(b"A", credit=3)
        self.assertEqual(len(bench.sent()), 3)


class FairTests(SynchronousTestCase):
    """One client's flood beside the requests of others."""

    def test_flood(self) -> None:
        """
        Under a flood of 20,000 requests each other client waits for what is in hand, and one job of each that waits.

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
                bench.broker.dispatcher.replyReceived(worker, inFlight.id, inFlight.body)

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
        """Beyond its share of the backlog a native client is told ``busy``; others are not, and it can go on later."""
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
        """Beyond it a plain client is held back: nothing is refused, and only a few messages are read at a time."""
        bench = BrokerBench(backlog=8)
        broker = bench.broker
        bench.ask(*[b"F"] * 4)
        self.assertTrue(broker.backpressure.wantsRequests())
        bench.ask(b"F")
        self.assertEqual(
            (broker.backpressure.wantsRequests(), broker.queues.waiting, broker.counters.failed), (False, 5, {})
        )
        broker.deadlines.now = 1.0
        # One of the client that is held back ends the look; those of others do not.
        self.assertTrue(broker.backpressure.mayPeek())
        bench.ask(b"1")
        self.assertTrue(broker.backpressure.mayPeek())
        bench.ask(b"F")
        self.assertFalse(broker.backpressure.mayPeek())
        self.assertAlmostEqual(broker.backpressure.secondsUntilPeek() or 0.0, 0.01)
        bench.ready(b"A", credit=3)
        self.assertTrue(broker.backpressure.wantsRequests())

    def test_full(self) -> None:
        """A full backlog takes a few more, at last nothing; first requests of other clients are among the few."""
        bench = BrokerBench(backlog=4, clientShare=1.0)
        broker = bench.broker
        bench.ask(b"1", b"1", b"2", b"2")
        self.assertFalse(broker.backpressure.wantsRequests())
        broker.deadlines.now = 1.0
        for name in (b"3", b"4", b"1"):
            self.assertTrue(broker.backpressure.mayPeek())
            bench.ask(name)
        self.assertFalse(broker.backpressure.mayPeek())
        self.assertEqual(broker.queues.waiting, 7)
        looks = 0
        while broker.backpressure.secondsUntilPeek() is not None:
            looks += 1
            broker.deadlines.now = broker.backpressure._throttle.due
            while broker.backpressure.mayPeek():
                bench.ask(b"1")
        self.assertEqual(broker.queues.waiting, 1004)
        # At the end they were rare: all of it took longer than any job should.
        self.assertGreater(broker.deadlines.now, 300)
        bench.ready(b"A", credit=64)
        self.assertIsNotNone(broker.backpressure.secondsUntilPeek())

    def test_rejects(self) -> None:
        """With the policy ``reject`` a plain client is refused beyond its share, too, and everything is read."""
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
        """A native request whose client has gone is not run, and is not known any more."""
        bench = BrokerBench()
        (one,) = bench.askNatively(b"1")
        bench.broker.withdraw(one)
        bench.check()
        bench.ready(b"A")
        self.assertEqual((bench.sent(), bench.broker.counters.withdrawn), ([], 1))
        bench.askNatively(b"1")
        self.assertEqual(bench.sent(), [(b"A", b"1")])


class CreditTests(SynchronousTestCase):
    """How many requests a worker may hold."""

    def test_one(self) -> None:
        """With a credit of 1 nothing waits behind another in a worker's hand."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.ask(b"1", b"2")
        self.assertEqual(bench.sent(), [(b"A", b"1")])

    def test_raised(self) -> None:
        """A worker that raises its credit gets at once what it may hold now."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.ask(b"1", b"2", b"3", b"4")
        bench.ready(b"A", credit=3)
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"A", b"2"), (b"A", b"3")])

    def test_lowered(self) -> None:
        """A worker that lowers it gets nothing until it holds fewer than that."""
        bench = BrokerBench()
        bench.ready(b"A", credit=3)
        one, two, three, _ = bench.ask(b"1", b"2", b"3", b"4")
        bench.ready(b"A", credit=1)
        bench.reply(b"A", one, two)
        self.assertEqual(len(bench.sent()), 3)
        bench.reply(b"A", three)
        self.assertEqual(bench.sent(), [(b"A", b"4")])

    def test_repeatedWord(self) -> None:
        """A worker of our own that says ``waiting`` again without info is believed in its answers all the same."""
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.ask(b"1")
        bench.waiting(b"A")
        self.assertFalse(bench.broker.dispatcher.isIdle(b"A"))
        bench.reply(b"A", one)
        self.assertEqual(bench.replies(), [(b"1", b"1")])


class AnswerTests(SynchronousTestCase):
    """Which answers reach a client."""

    def test_ownClient(self) -> None:
        """An answer goes to the client whose request it is for, whatever the order."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        one, two = bench.ask(b"1", b"2")
        bench.reply(b"B", two, body=b"to 2")
        bench.reply(b"A", one, body=b"to 1")
        self.assertEqual(bench.replies(), [(b"2", b"to 2"), (b"1", b"to 1")])
        self.assertEqual((bench.broker.counters.replied, bench.broker.isQuiet()), (2, True))

    def test_envelope(self) -> None:
        """The client's envelope goes in front of it, a native client's own id with it."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.reply(b"A", bench.receive(Request([b"c", b"hop", b""], [b"x"])))
        bench.reply(b"A", *bench.askNatively(b"n"))
        self.assertEqual(bench.framesToClients, [[b"c", b"hop", b"", b"x"], [b"n", b"PIR1kkkkkkkkkkkkkkkn", b"", b"n"]])

    def test_foreign(self) -> None:
        """A worker cannot answer for another, for a waiting request, or for one that never was."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        one, _, waiting = bench.ask(b"1", b"2", b"3")
        bench.reply(b"B", one)
        bench.reply(b"A", waiting)
        bench.reply(b"nobody", one)
        bench.broker.dispatcher.replyReceived(b"A", b"waiting", [b"x"])
        bench.broker.dispatcher.failureReceived(b"B", one.id, Code.APP_ERROR, "x")
        self.assertEqual((bench.replies(), bench.broker.counters.late), ([], 5))
        bench.reply(b"A", one)
        self.assertEqual(bench.replies(), [(b"1", b"1")])

    def test_double(self) -> None:
        """The second answer is dropped and counted, and makes no room that is not there."""
        bench = BrokerBench()
        bench.ready(b"A")
        one, two, _ = bench.ask(b"1", b"2", b"3")
        bench.reply(b"A", one, one)
        bench.fail(b"A", one)
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"A", b"2")])
        self.assertEqual((bench.replies(), bench.broker.counters.late), ([(b"1", b"1")], 2))
        self.assertEqual(bench.broker.dispatcher.inFlight, 1)
        bench.reply(b"A", two)

    def test_outOfOrder(self) -> None:
        """A worker may answer what it holds in any order."""
        bench = BrokerBench()
        bench.ready(b"A", credit=3)
        one, two, three = bench.ask(b"1", b"2", b"3")
        bench.reply(b"A", three, one, two)
        self.assertEqual([client for client, _ in bench.replies()], [b"3", b"1", b"2"])
        self.assertTrue(bench.broker.dispatcher.isIdle(b"A"))

    def test_undeliverable(self) -> None:
        """An answer whose client has gone is counted, and its worker is free."""
        bench = BrokerBench(tellPlain=True)
        bench.ready(b"A")
        bench.away.add(b"1")
        one, two = bench.ask(b"1", b"1")
        bench.reply(b"A", one)
        bench.fail(b"A", two)
        self.assertEqual((bench.broker.counters.undeliverable, bench.broker.counters.replied), (2, 1))
        self.assertTrue(bench.broker.dispatcher.isIdle(b"A"))


class FailureTests(SynchronousTestCase):
    """Apps that fail: an answer like any other, but for whom."""

    def test_native(self) -> None:
        """A native client is told."""
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.askNatively(b"1")
        bench.fail(b"A", one, message="ValueError: x")
        told = {"status": "error", "code": "app-error", "message": "ValueError: x", "attempts": 0}
        self.assertEqual(bench.told(), [(b"1", told)])
        self.assertEqual(bench.broker.counters.failed, {Code.APP_ERROR: 1})
        self.assertTrue(bench.broker.dispatcher.isIdle(b"A"))

    def test_plain(self) -> None:
        """A plain one hears nothing, but it is counted, and told to whoever logs it."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.fail(b"A", *bench.ask(b"1"))
        self.assertEqual(bench.replies(), [])
        self.assertEqual(bench.broker.counters.failed, {Code.APP_ERROR: 1})
        self.assertEqual(bench.givenUp, [(b"1", "app-error", "E: x")])

    def test_plainTold(self) -> None:
        """If so wanted, its answer is the error."""
        bench = BrokerBench(tellPlain=True)
        bench.ready(b"A")
        bench.fail(b"A", *bench.ask(b"1"))
        ((client, body),) = bench.replies()
        self.assertEqual(client, b"1")
        self.assertEqual(json.loads(body), {"pirate": "error", "code": "app-error", "message": "E: x", "attempts": 0})

    def test_noAttempt(self) -> None:
        """A failure is final: it is not tried again."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        bench.fail(b"A", *bench.ask(b"1"))
        self.assertEqual(bench.sent(), [(b"A", b"1")])


class DeathTests(SynchronousTestCase):
    """Workers that die."""

    def test_idle(self) -> None:
        """An idle worker that dies loses nothing and is given nothing."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        bench.gone(b"A")
        bench.ask(b"1")
        self.assertEqual(bench.sent(), [(b"B", b"1")])
        self.assertFalse(bench.broker.dispatcher.knows(b"A"))
        self.assertTrue(bench.broker.dispatcher.knows(b"B"))

    def test_unknown(self) -> None:
        """The death of one that never came changes nothing."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.gone(b"nobody")
        self.assertEqual(bench.broker.dispatcher.idle, 1)

    def test_moved(self) -> None:
        """What it held goes to another at once, and its answer to the client."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        (one,) = bench.ask(b"1")
        bench.gone(b"A")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"1")])
        bench.reply(b"B", one)
        self.assertEqual(bench.replies(), [(b"1", b"1")])
        self.assertEqual((bench.broker.counters.redispatched, bench.broker.counters.received), (1, 1))

    def test_frontInOrder(self) -> None:
        """It goes in front of those that wait, in the order in which it was held."""
        bench = BrokerBench()
        bench.ready(b"A", credit=3)
        requests = bench.ask(b"1", b"2", b"3", b"4", b"5")
        bench.gone(b"A")
        bench.sent()
        bench.ready(b"B")
        for request in requests:
            bench.reply(b"B", request)
        self.assertEqual([name for _, name in bench.sent()], [b"1", b"2", b"3", b"4", b"5"])

    def test_nobodyIsChargedForAnother(self) -> None:
        """With several in hand it is not certain which it was executing: nobody is charged yet."""
        bench = BrokerBench()
        bench.ready(b"A", credit=3)
        one, two, three = bench.ask(b"1", b"2", b"3")
        bench.reply(b"A", one)
        bench.gone(b"A")
        self.assertEqual((one.attempts, two.attempts, three.attempts), (0, 0, 0))

    def test_notDied(self) -> None:
        """One that left of its own will was executing nothing: nobody is charged, all is moved."""
        bench = BrokerBench(maxAttempts=1)
        bench.ready(b"A", credit=2)
        one, two = bench.ask(b"1", b"2")
        bench.gone(b"A", "leaving", died=False)
        bench.ready(b"B", credit=2)
        self.assertEqual((one.attempts, two.attempts, bench.broker.counters.failed), (0, 0, {}))
        self.assertEqual(bench.broker.dispatcher.inFlight + bench.broker.queues.waiting, 2)

    def test_aloneNextTime(self) -> None:
        """Each that it held is alone in the next hand, so that the one that kills takes no other along."""
        bench = BrokerBench()
        bench.ready(b"A", credit=3)
        one, two, three = bench.ask(b"1", b"2", b"3")
        bench.gone(b"A")
        bench.ask(b"4", b"5")
        bench.sent()
        bench.ready(b"B", credit=8)
        self.assertEqual(bench.sent(), [(b"B", b"1")])
        bench.ready(b"B", credit=9)
        self.assertEqual(bench.sent(), [])
        bench.reply(b"B", one)
        self.assertEqual(bench.sent(), [(b"B", b"2")])
        bench.gone(b"B")
        self.assertEqual(two.attempts, 2)
        bench.ready(b"C", credit=8)
        bench.reply(b"C", two)
        bench.sent()
        bench.reply(b"C", three)
        self.assertEqual(bench.sent(), [(b"C", b"4"), (b"C", b"5")])

    def test_aloneAmongBusy(self) -> None:
        """It is not put into a hand that holds something, and nobody overtakes it meanwhile."""
        bench = BrokerBench()
        bench.ready(b"A", credit=1)
        (bad,) = bench.ask(b"bad")
        bench.ready(b"B", credit=4)
        (one,) = bench.ask(b"1")
        bench.gone(b"A")
        bench.ask(b"2")
        self.assertEqual(bench.sent(), [(b"A", b"bad"), (b"B", b"1")])
        bench.reply(b"B", one)
        self.assertEqual(bench.sent(), [(b"B", b"bad")])
        bench.reply(b"B", bad)
        self.assertEqual(bench.sent(), [(b"B", b"2")])

    def test_attemptsUsedUp(self) -> None:
        """A native client whose request has killed so many workers is told so, and it is not tried again."""
        bench = BrokerBench(maxAttempts=3)
        (one,) = bench.askNatively(b"1")
        for worker in (b"A", b"B", b"C"):
            bench.ready(worker)
            bench.gone(worker, "signal SIGSEGV")
        bench.ready(b"D")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"1"), (b"C", b"1")])
        ((client, told),) = bench.told()
        self.assertEqual((client, told["code"], told["attempts"]), (b"1", "worker-lost", 3))
        self.assertIn("signal SIGSEGV", told["message"])
        self.assertIn("3 times", told["message"])
        self.assertEqual((one.attempts, bench.broker.counters.redispatched), (3, 2))

    def test_clientAttempts(self) -> None:
        """
        A client may ask for fewer attempts; with 1 nothing is ever executed twice.

        More than the server allows count as what the server allows: a client cannot have more workers killed.
        """
        bench = BrokerBench(maxAttempts=2)
        bench.askNatively(b"1", attempts=1)
        bench.ready(b"A")
        bench.gone(b"A")
        ((_, told),) = bench.told()
        self.assertEqual((told["code"], told["attempts"]), ("worker-lost", 1))
        self.assertIn("once", told["message"])
        (many,) = bench.askNatively(b"4", attempts=1000)
        bench.sent()
        for worker in (b"B", b"C", b"D", b"E", b"F"):
            bench.ready(worker)
            bench.gone(worker)
        ((_, told),) = bench.told()
        self.assertEqual((len(bench.sent()), many.attempts, told["attempts"]), (2, 2, 2))

    def test_notExecutedNotLost(self) -> None:
        """Requests that may be tried only once share no hand, so that one is not lost with another."""
        bench = BrokerBench(maxAttempts=1)
        bench.ready(b"A", credit=2)
        bench.askNatively(b"bad", b"good", attempts=1)
        bench.gone(b"A")
        bench.ready(b"B")
        self.assertEqual([client for client, _ in bench.told()], [b"bad"])
        self.assertEqual(bench.sent(), [(b"A", b"bad"), (b"B", b"good")])

    def test_plainIsSilent(self) -> None:
        """A plain client of a lost request hears nothing; it is counted, and told to whoever logs it."""
        bench = BrokerBench(maxAttempts=1)
        bench.ready(b"A")
        bench.ask(b"1")
        bench.gone(b"A", "exit code 9")
        self.assertEqual((bench.replies(), bench.broker.isQuiet()), ([], True))
        self.assertEqual(bench.broker.counters.failed, {Code.WORKER_LOST: 1})
        ((client, code, message),) = bench.givenUp
        self.assertEqual((client, code), (b"1", "worker-lost"))
        self.assertIn("exit code 9", message)

    def test_plainTold(self) -> None:
        """If so wanted, it is told by a reply."""
        bench = BrokerBench(maxAttempts=1, tellPlain=True)
        bench.ready(b"A")
        bench.ask(b"1")
        bench.gone(b"A")
        ((client, body),) = bench.replies()
        self.assertEqual((client, json.loads(body)["code"], json.loads(body)["attempts"]), (b"1", "worker-lost", 1))

    def test_poisonTakesNobodyAlong(self) -> None:
        """A request that kills every worker costs its neighbours no more than their wait."""
        bench = BrokerBench(maxAttempts=3)
        bench.ready(b"A", credit=4)
        bad, one, two, three = bench.ask(b"bad", b"1", b"2", b"3")
        for dying, coming in ((b"A", b"B"), (b"B", b"C"), (b"C", b"D")):
            bench.gone(dying)
            bench.ready(coming, credit=4)
        bench.reply(b"D", one, two, three)
        self.assertEqual([client for client, _ in bench.replies()], [b"1", b"2", b"3"])
        self.assertEqual([client for client, *_ in bench.givenUp], [b"bad"])
        self.assertEqual((bad.attempts, one.attempts, two.attempts, three.attempts), (3, 0, 0, 0))


class LateTests(SynchronousTestCase):
    """Answers of workers that have died meanwhile."""

    def test_whileWaiting(self) -> None:
        """The answer counts, and the request is not executed again."""
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.ask(b"1")
        bench.gone(b"A")
        bench.reply(b"A", one, body=b"late")
        self.assertEqual((bench.replies(), bench.broker.isQuiet()), ([(b"1", b"late")], True))
        bench.ready(b"B")
        bench.ask(b"2")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"2")])

    def test_whileExecutedAgain(self) -> None:
        """The first answer counts, the other is dropped; its worker is busy until then, and free afterwards."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        one, two = bench.ask(b"1", b"2")
        bench.reply(b"B", two)
        bench.gone(b"A")
        self.assertEqual(bench.sent()[2:], [(b"B", b"1")])
        bench.reply(b"A", one, body=b"late")
        self.assertTrue(bench.broker.isQuiet())
        self.assertFalse(bench.broker.dispatcher.isIdle(b"B"))
        bench.ask(b"3")
        self.assertEqual(bench.sent(), [])
        bench.reply(b"B", one, body=b"again")
        self.assertEqual(bench.sent(), [(b"B", b"3")])
        self.assertEqual(bench.replies(), [(b"2", b"2"), (b"1", b"late")])
        self.assertEqual((bench.broker.counters.late, bench.broker.counters.replied), (1, 2))

    def test_failure(self) -> None:
        """A late failure is an answer as well."""
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.askNatively(b"1")
        bench.gone(b"A")
        bench.fail(b"A", one)
        bench.ready(b"B")
        self.assertEqual([told["code"] for _, told in bench.told()], ["app-error"])
        self.assertEqual(bench.sent(), [(b"A", b"1")])

    def test_twice(self) -> None:
        """Each departed worker that held it may answer, but only one answer counts."""
        bench = BrokerBench()
        (one,) = bench.ask(b"1")
        for worker in (b"A", b"B"):
            bench.ready(worker)
            bench.gone(worker)
        bench.reply(b"B", one, one)
        bench.reply(b"A", one)
        self.assertEqual((bench.replies(), bench.broker.counters.late), ([(b"1", b"1")], 2))

    def test_stranger(self) -> None:
        """One that never held it cannot, departed or not."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", b"C")
        (one,) = bench.ask(b"1")
        bench.gone(b"C")
        bench.gone(b"A")
        bench.reply(b"C", one)
        bench.reply(b"nobody", one)
        self.assertEqual((bench.replies(), bench.broker.counters.late), ([], 2))

    def test_deathWithAnswered(self) -> None:
        """A worker that dies with a request that another has answered does not bring it back."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", b"C")
        (one,) = bench.ask(b"1")
        bench.gone(b"A")
        bench.reply(b"A", one)
        bench.gone(b"B")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"1")])
        self.assertEqual((one.attempts, bench.broker.isQuiet()), (1, True))

    def test_givenUp(self) -> None:
        """After an error the answer comes too late."""
        bench = BrokerBench(maxAttempts=1)
        bench.ready(b"A")
        (one,) = bench.askNatively(b"1")
        bench.gone(b"A")
        bench.reply(b"A", one)
        self.assertEqual((len(bench.replies()), bench.broker.counters.late), (1, 1))


class PartTests(SynchronousTestCase):
    """Answers that come bit by bit."""

    def part(self, bench: BrokerBench, request: Request, body: bytes) -> None:
        """A worker sends a part."""
        bench.broker.dispatcher.partReceived(b"A", request.id, [body])
        bench.check()

    def test_together(self) -> None:
        """A client that takes no parts gets the frames of all of them in order, with the last."""
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.ask(b"1")
        self.part(bench, one, b"a")
        self.part(bench, one, b"b")
        self.assertEqual(bench.replies(), [])
        bench.reply(b"A", one, body=b"c")
        self.assertEqual(bench.framesToClients, [[b"1", b"", b"a", b"b", b"c"]])

    def test_tooSlow(self) -> None:
        """A client that does not take its parts is given up, and the worker is told not to go on."""
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.askNatively(b"1", partial=True)
        bench.sent()
        bench.away.add(b"1")
        self.part(bench, one, b"a")
        self.assertEqual(bench.sent(), [(b"A", one.id)])
        self.assertEqual(bench.broker.counters.failed, {Code.CANCELLED: 1})
        self.part(bench, one, b"b")
        bench.reply(b"A", one)
        self.assertEqual((bench.broker.counters.late, bench.broker.dispatcher.idle), (2, 1))

    def test_joinedBody(self) -> None:
        """Of a request that joins another nothing is kept that nobody needs: it would count for no bound."""
        bench = BrokerBench()
        bench.askNatively(b"1")
        (again,) = bench.askNatively(b"1")
        self.assertEqual((bench.broker.counters.joined, again.body), (1, []))

    def test_joinedHadParts(self) -> None:
        """A client that joined and has had parts is not sent them again after the worker's death."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        (one,) = bench.askNatively(b"1")
        bench.askNatively(b"1", partial=True)
        self.part(bench, one, b"a")
        bench.gone(b"A")
        self.assertEqual({told.get("code") for _, told in bench.told()[-2:]}, {"worker-lost"})

    def test_tooMuch(self) -> None:
        """Parts that are kept for a client which takes them together are bounded."""
        self.patch(replies, "PARTS_LIMIT", 3)
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.askNatively(b"1")
        self.part(bench, one, b"aa")
        self.part(bench, one, b"bb")
        ((_, told),) = bench.told()
        self.assertEqual(told["code"], "cancelled")
        self.assertIn("more than 3 bytes", told["message"])

    def test_tooMuchToRepeat(self) -> None:
        """A client that takes parts gets them all, however many; only they are not kept for one that asks again."""
        self.patch(replies, "PARTS_LIMIT", 3)
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.askNatively(b"1", partial=True)
        for body in (b"aa", b"bb", b"cc"):
            self.part(bench, one, body)
        bench.reply(b"A", one, body=b"end")
        self.assertEqual([body for _, body in bench.replies()], [b"aa", b"bb", b"cc", b"end"])
        bench.askNatively(b"1", partial=True)
        self.assertEqual((bench.broker.counters.remembered, bench.broker.dispatcher.inFlight), (0, 1))


class EndedTests(SynchronousTestCase):
    """What is kept of requests that have ended."""

    def test_bodies(self) -> None:
        """Nothing that a request brought is kept once it is answered, also if it waited and had a deadline."""
        bench = BrokerBench()
        bench.ready(b"A")
        requests = bench.askNatively(b"1", b"2", timeout_ms=60_000)
        for request in requests:
            bench.reply(b"A", request, body=b"answer")
        self.assertEqual([request.body for request in requests], [[], []])

    def test_noTime(self) -> None:
        """A request whose time is over when it comes is not begun."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.askNatively(b"1", timeout_ms=0)
        ((_, told),) = bench.told()
        self.assertEqual((told["code"], bench.sent()), ("expired", []))

    def test_behindAnother(self) -> None:
        """
        A request whose time is over while its worker executes another is given up then, and the worker told.

        The one that is being executed is not, whatever its time, nor is one that has time left.
        """
        bench = BrokerBench()
        bench.ready(b"A", credit=4)
        one, two = bench.askNatively(b"1", b"2", timeout_ms=1000)
        (three,) = bench.askNatively(b"3", timeout_ms=5000)
        bench.ask(b"4")
        bench.sent()
        self.assertEqual(bench.broker.deadlines.due, 1.0)
        bench.broker.tick(0.99)
        self.assertEqual(bench.told(), [])
        self.assertEqual(bench.broker.tick(1.0), 5.0)
        self.assertEqual([(client, told["code"]) for client, told in bench.told()], [(b"2", "expired")])
        self.assertEqual(bench.sent(), [(b"A", two.id)])
        bench.reply(b"A", one)
        bench.fail(b"A", two)
        bench.broker.tick(5.0)
        bench.reply(b"A", three)
        self.assertEqual(bench.replies(), [(b"1", b"1"), (b"3", b"3")])

    def test_behindAnotherOften(self) -> None:
        """However many deadlines there are, the workers are looked through at most once in a hundredth of a second."""
        bench = BrokerBench()
        bench.ready(b"A", credit=64)
        for number in range(60):
            bench.askNatively(b"%d" % number, timeout_ms=1000 + number)
        ticks = 0
        while bench.broker.deadlines.due < 2.0:
            bench.broker.tick(bench.broker.deadlines.due)
            ticks += 1
        self.assertEqual((len(bench.told()), bench.broker.dispatcher.inFlight), (59, 1))
        self.assertLess(ticks, 10)

    def test_atTheSameTime(self) -> None:
        """A worker that executes all that it holds has begun it: nothing expires there."""
        bench = BrokerBench()
        bench.broker.dispatcher.workerReady(b"A", Info(1, "", 4, False, concurrency=4))
        bench.askNatively(b"1", b"2", timeout_ms=1000)
        bench.broker.tick(1.0)
        self.assertEqual((bench.told(), bench.broker.dispatcher.inFlight), ([], 2))


class PlainWorkerTests(SynchronousTestCase):
    """Workers that never announce themselves, and say ``waiting`` before each request."""

    def test_idleOnlyAfterWaiting(self) -> None:
        """Its answer reaches the client at once, but it gets the next request when it asks for it."""
        bench = BrokerBench()
        bench.waiting(b"P")
        one, _ = bench.ask(b"1", b"2")
        bench.reply(b"P", one)
        self.assertEqual((bench.replies(), bench.sent()), ([(b"1", b"1")], [(b"P", b"1")]))
        self.assertEqual((bench.broker.dispatcher.isIdle(b"P"), bench.broker.dispatcher.inFlight), (False, 0))
        bench.waiting(b"P")
        self.assertEqual(bench.sent(), [(b"P", b"2")])

    def test_amongOthers(self) -> None:
        """It takes its turn with our own."""
        bench = BrokerBench()
        bench.waiting(b"P")
        bench.ready(b"A")
        one, two = bench.ask(b"1", b"2")
        bench.reply(b"A", two)
        bench.reply(b"P", one)
        bench.waiting(b"P")
        bench.ask(b"3", b"4")
        self.assertEqual(bench.sent()[2:], [(b"A", b"3"), (b"P", b"4")])

    def test_double(self) -> None:
        """Its second answer to one request is dropped."""
        bench = BrokerBench()
        bench.waiting(b"P")
        (one,) = bench.ask(b"1")
        bench.reply(b"P", one, one)
        self.assertEqual((len(bench.replies()), bench.broker.counters.late), (1, 1))

    def test_leaves(self) -> None:
        """One that leaves between two requests loses nothing."""
        bench = BrokerBench()
        bench.waiting(b"P")
        bench.reply(b"P", *bench.ask(b"1"))
        bench.gone(b"P", "leaving", died=False)
        self.assertEqual(
            (bench.broker.counters.redispatched, bench.broker.isQuiet(), bench.broker.dispatcher.idle), (0, True, 0)
        )

    def test_leavesWithoutAnswer(self) -> None:
        """The original leaves when its app has died of a request: that is an attempt, and another gets it."""
        bench = BrokerBench()
        bench.waiting(b"P", b"Q")
        (one,) = bench.ask(b"1")
        bench.gone(b"P", "leaving", died=False)
        self.assertEqual((one.attempts, bench.sent()), (1, [(b"P", b"1"), (b"Q", b"1")]))

    def test_asksWithoutAnswer(self) -> None:
        """One that asks for the next without an answer will not give one: its client is told, nobody waits for it."""
        bench = BrokerBench()
        bench.waiting(b"P")
        (one,) = bench.askNatively(b"1")
        bench.ask(b"2")
        bench.waiting(b"P")
        self.assertEqual([(client, told["code"]) for client, told in bench.told()], [(b"1", "app-error")])
        self.assertEqual((bench.sent(), bench.broker.dispatcher.inFlight), ([(b"P", b"1"), (b"P", b"2")], 1))
        bench.reply(b"P", one)
        self.assertEqual((bench.replies(), bench.broker.counters.late), ([], 1))

    def test_announcesItselfLater(self) -> None:
        """One that announces itself in the end is treated from then on as one that did at once."""
        bench = BrokerBench()
        bench.waiting(b"P")
        one, two, _ = bench.ask(b"1", b"2", b"3")
        bench.reply(b"P", one)
        bench.ready(b"P", credit=2)
        self.assertEqual(bench.sent(), [(b"P", b"1"), (b"P", b"2"), (b"P", b"3")])
        bench.reply(b"P", two)
        bench.ask(b"4")
        self.assertEqual(bench.sent(), [(b"P", b"4")])


class RetireTests(SynchronousTestCase):
    """Workers that are asked to leave."""

    def test_idle(self) -> None:
        """An idle one is told so, and gets nothing more."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        bench.broker.dispatcher.retire(b"A")
        bench.ask(b"1", b"2")
        self.assertEqual(bench.framesToWorkers[0], [b"A", b"", RETIRE])
        self.assertEqual(bench.sent()[1:], [(b"B", b"1")])

    def test_behindItsRequests(self) -> None:
        """A busy one is told behind what it holds; its answers count, and it is not given another."""
        bench = BrokerBench()
        bench.ready(b"A", credit=2)
        one, two, _ = bench.ask(b"1", b"2", b"3")
        bench.broker.dispatcher.retire(b"A")
        bench.reply(b"A", one, two)
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"A", b"2"), (b"A", RETIRE)])
        self.assertEqual(len(bench.replies()), 2)
        bench.gone(b"A", "leaving", died=False)
        bench.ready(b"B")
        self.assertEqual(bench.sent(), [(b"B", b"3")])

    def test_once(self) -> None:
        """It is told once, and one that is not there is not told."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.broker.dispatcher.retire(b"A")
        bench.broker.dispatcher.retire(b"A")
        bench.broker.dispatcher.retire(b"nobody")
        bench.ready(b"A", credit=5)
        bench.ask(b"1")
        self.assertEqual(bench.sent(), [(b"A", RETIRE)])

    def test_withhold(self) -> None:
        """One may be left in peace without being told, once."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        self.assertTrue(bench.broker.dispatcher.withhold(b"A"))
        self.assertFalse(bench.broker.dispatcher.withhold(b"A"))
        self.assertFalse(bench.broker.dispatcher.withhold(b"nobody"))
        bench.broker.dispatcher.retire(b"A")
        bench.ask(b"1")
        self.assertEqual(bench.sent(), [(b"B", b"1")])

    def test_dies(self) -> None:
        """One that dies while it is leaving is as dead as any: what it held is moved."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        (one,) = bench.ask(b"1")
        bench.broker.dispatcher.retire(b"A")
        bench.gone(b"A")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"A", RETIRE), (b"B", b"1")])
        self.assertEqual(one.attempts, 1)


class LifetimeTests(SynchronousTestCase):
    """Workers that are given so many requests."""

    def test_retiredBehindTheLast(self) -> None:
        """With its last request it is asked to leave, and the pool hears of it."""
        bench = BrokerBench()
        bench.ready(b"A", lifetime=2)
        one, two, _ = bench.ask(b"1", b"2", b"3")
        bench.reply(b"A", one)
        self.assertEqual((bench.sent(), bench.retired), ([(b"A", b"1"), (b"A", b"2"), (b"A", RETIRE)], [b"A"]))
        bench.reply(b"A", two)
        self.assertEqual((bench.sent(), bench.broker.queues.waiting), ([], 1))
        self.assertEqual(len(bench.replies()), 2)

    def test_withCredit(self) -> None:
        """A large credit does not make it longer."""
        bench = BrokerBench()
        bench.ready(b"A", credit=8, lifetime=3)
        bench.ask(*[b"x"] * 5)
        self.assertEqual(bench.sent(), [*[(b"A", b"x")] * 3, (b"A", RETIRE)])

    def test_halved(self) -> None:
        """The pool hears each time that half of what was left has been given, as long as something is left."""
        bench = BrokerBench()
        bench.ready(b"A", lifetime=10)
        for _ in range(10):
            bench.reply(b"A", *bench.ask(b"x"))
        self.assertEqual((bench.halves, bench.retired), ([5, 8, 9], [b"A"]))

    def test_announcedAgain(self) -> None:
        """A new credit does not begin another life."""
        bench = BrokerBench()
        bench.ready(b"A", lifetime=2)
        bench.reply(b"A", *bench.ask(b"1"))
        bench.ready(b"A", credit=2)
        bench.ask(b"2", b"3")
        self.assertEqual((bench.retired, bench.broker.queues.waiting), ([b"A"], 1))

    def test_endless(self) -> None:
        """A negative one never ends."""
        bench = BrokerBench()
        bench.ready(b"A", lifetime=-1)
        for _ in range(50):
            bench.reply(b"A", *bench.ask(b"x"))
        self.assertEqual((bench.retired, bench.broker.counters.replied), ([], 50))


class UnreachableTests(SynchronousTestCase):
    """Workers whose connection is gone before anybody has heard of their end."""

    def test_nextOne(self) -> None:
        """The request goes to the next worker, and the pool hears of the one that cannot be reached."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", b"C")
        bench.away |= {b"A", b"B"}
        (one,) = bench.ask(b"1")
        self.assertEqual((bench.sent(), bench.lost), ([(b"C", b"1")], [b"A", b"B"]))
        self.assertEqual(
            (one.attempts, bench.broker.dispatcher.knows(b"A"), bench.broker.dispatcher.idle), (0, False, 0)
        )

    def test_nobody(self) -> None:
        """With nobody left it waits."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.away.add(b"A")
        bench.ask(b"1", b"2")
        self.assertEqual(bench.broker.queues.waiting, 2)
        bench.ready(b"B", credit=2)
        self.assertEqual(bench.sent(), [(b"B", b"1"), (b"B", b"2")])

    def test_fromBacklog(self) -> None:
        """A worker that says it can take one and is gone when it is sent it costs those that wait nothing."""
        bench = BrokerBench()
        bench.ask(b"1", b"2")
        bench.away.add(b"A")
        bench.ready(b"A")
        self.assertEqual((bench.lost, bench.broker.queues.waiting), ([b"A"], 2))
        bench.ready(b"B", credit=2)
        self.assertEqual(bench.sent(), [(b"B", b"1"), (b"B", b"2")])

    def test_itsHand(self) -> None:
        """What it held is moved too, in order; the first may have been executed, so it is charged."""
        bench = BrokerBench()
        bench.ready(b"A", credit=2)
        (one,) = bench.ask(b"1")
        bench.away.add(b"A")
        bench.ask(b"2")
        self.assertEqual((one.attempts, bench.broker.queues.waiting), (1, 2))
        bench.ready(b"B", credit=2)
        bench.reply(b"B", one)
        self.assertEqual(bench.sent()[1:], [(b"B", b"1"), (b"B", b"2")])

    def test_orderFromBacklog(self) -> None:
        """The one at the front stays there while others find a worker."""
        bench = BrokerBench()
        bench.ready(b"A", credit=2)
        first, second = bench.ask(b"1", b"2")
        bench.ask(b"3")
        bench.away.add(b"A")
        bench.reply(b"A", first)
        self.assertEqual((bench.lost, bench.broker.queues.waiting), ([b"A"], 2))
        bench.ready(b"B", credit=4)
        bench.reply(b"B", second)
        self.assertEqual(bench.sent()[2:], [(b"B", b"2"), (b"B", b"3")])

    def test_missedTogether(self) -> None:
        """Those that were sent together and did not arrive wait in their order, behind what the worker held before."""
        bench = BrokerBench()
        bench.ready(b"A", credit=4)
        bench.ask(b"1")
        bench.away.add(b"A")
        requests = [Request([name, b""], [name]) for name in (b"2", b"3", b"4")]
        for request in requests:
            bench.broker.requestReceived(request)
        bench.check()
        self.assertEqual([request.attempts for request in requests], [0, 0, 0])
        bench.sent()
        for name in (b"B", b"C", b"D", b"E"):
            bench.ready(name)
        self.assertEqual(bench.sent(), [(b"B", b"1"), (b"C", b"2"), (b"D", b"3"), (b"E", b"4")])

    def test_missedByOneThatLeaves(self) -> None:
        """What did not reach one whose end will be told goes to another at once; the rest of its hand is its own."""
        bench = BrokerBench()
        bench.endsAreReported = True
        bench.ready(b"A", credit=2)
        (one,) = bench.ask(b"1")
        bench.away.add(b"A")
        bench.ask(b"2")
        bench.ready(b"B", credit=2)
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"2")])
        bench.reply(b"A", one)
        self.assertEqual(bench.replies(), [(b"1", b"1")])
        bench.gone(b"A")
        self.assertEqual(one.attempts, 0)

    def missByTwo(self, bench: BrokerBench) -> list[Request]:
        """Two workers have answered what they held before what they were sent later turns out to be missing."""
        bench.ready(b"A", b"B", credit=2)
        one, two = bench.ask(b"1", b"2")
        bench.away |= {b"A", b"B"}
        later = [Request([name, b""], [name]) for name in (b"3", b"4")]
        for request in later:
            bench.broker.requestReceived(request)
        bench.broker.dispatcher.replyReceived(b"A", one.id, one.body)
        bench.broker.dispatcher.replyReceived(b"B", two.id, two.body)
        bench.sent()
        return later

    def test_missedByTwo(self) -> None:
        """While what one did not get finds another, nothing of what the next did not get is lost."""
        bench = BrokerBench()
        self.missByTwo(bench)
        bench.check()
        self.assertEqual((bench.broker.queues.waiting, bench.broker.dispatcher.inFlight), (2, 0))
        bench.ready(b"C", credit=2)
        self.assertEqual(bench.sent(), [(b"C", b"3"), (b"C", b"4")])

    def test_missedByTwoForAMoment(self) -> None:
        """One that did not get something is given nothing more, even if it could be reached again."""
        bench = BrokerBench()
        bench.endsAreReported = True
        self.missByTwo(bench)
        bench.away.clear()
        bench.check()
        self.assertEqual((bench.sent(), bench.broker.queues.waiting, bench.broker.dispatcher.idle), ([], 2, 2))

    def test_missedByTwoThatAreForgotten(self) -> None:
        """What one of two did not get is not given to the other, which is about to be forgotten as well."""
        bench = BrokerBench()
        later = self.missByTwo(bench)
        bench.away.clear()
        bench.check()
        self.assertEqual((bench.sent(), bench.broker.queues.waiting), ([], 2))
        self.assertEqual([request.attempts for request in later], [0, 0])

    def test_missedWord(self) -> None:
        """A word that does not reach its worker changes nothing."""
        bench = BrokerBench()
        bench.ready(b"A", credit=2)
        bench.ask(b"1")
        bench.away.add(b"A")
        bench.broker.dispatcher.retire(b"A")
        bench.check()
        self.assertEqual((bench.lost, bench.broker.dispatcher.inFlight), ([], 1))

    def test_missedHeartbeat(self) -> None:
        """One that could not be asked for a sign of life is asked again: what it never got may still be found out."""
        bench = BrokerBench(deliveryTimeout=5)
        bench.ready(b"A")
        (one,) = bench.ask(b"1")
        bench.away.add(b"A")
        bench.broker.tick(5)
        bench.check()
        bench.away.clear()
        bench.sent()
        bench.broker.tick(10)
        self.assertEqual(bench.sent(), [(b"A", HEARTBEAT)])
        bench.broker.dispatcher.workerAlive(b"A")
        bench.check()
        self.assertEqual((bench.sent(), one.attempts), ([(b"A", b"1")], 0))

    def test_lostOnTheWay(self) -> None:
        """What counts for a worker that did not get its first request is when it began what it got afterwards."""
        bench = BrokerBench(deliveryTimeout=5, jobTimeout=20, cancelKills=8)
        bench.ready(b"A", credit=2)
        first, second = bench.askNatively(b"1", b"2")
        bench.broker.tick(5)
        bench.broker.cancel(first)  # type: ignore[arg-type]
        bench.reply(b"A", second)
        bench.ask(b"3")
        bench.broker.tick(12)
        bench.broker.dispatcher.workerAlive(b"A")
        bench.check()
        for now in (13, 25):
            bench.broker.tick(now)
        self.assertEqual(
            (bench.givenUp, bench.broker.dispatcher.inFlight), ([(b"1", "cancelled", "its client cancelled it")], 1)
        )
        bench.broker.tick(32)
        self.assertEqual([code for _, code, _ in bench.givenUp], ["cancelled", "timeout"])

    def test_many(self) -> None:
        """A whole machine full of workers may have gone at once."""
        bench = BrokerBench()
        workers = [b"%d" % number for number in range(2000)]
        for worker in workers:
            bench.broker.dispatcher.workerReady(worker)
        bench.broker.dispatcher.workerReady(b"here")
        bench.away |= set(workers)
        (one,) = bench.ask(b"1")
        bench.ask(b"2")
        self.assertEqual((bench.sent(), len(bench.lost)), ([(b"here", b"1")], 2000))
        bench.reply(b"here", one)
        bench.broker.dispatcher.workerReady(b"here")
        self.assertEqual(bench.sent(), [(b"here", b"2")])


class ServiceTests(SynchronousTestCase):
    """Named services."""

    def test_own(self) -> None:
        """A request goes to a worker that serves its name, and waits only for such a one."""
        bench = BrokerBench()
        bench.ready(b"A", services=("a",))
        bench.ready(b"B", services=("b",))
        (one,) = bench.ask(b"1", service="b")
        bench.ask(b"2", service="b")
        bench.ask(b"3", service="a")
        self.assertEqual(bench.sent(), [(b"B", b"1"), (b"A", b"3")])
        bench.reply(b"B", one)
        self.assertEqual(bench.sent(), [(b"B", b"2")])

    def test_unknown(self) -> None:
        """A name that nobody serves is refused, while the unnamed service waits for its workers."""
        bench = BrokerBench()
        bench.askNatively(b"1", service="x")
        bench.askNatively(b"2")
        ((client, told),) = bench.told()
        self.assertEqual((client, told["code"], bench.broker.queues.waiting), (b"1", "unknown-service", 1))
        self.assertIn("'x'", told["message"])
        self.assertEqual(bench.broker.counters.failed, {Code.UNKNOWN_SERVICE: 1})

    def test_unnamedIsNoOther(self) -> None:
        """A worker of a named service gets none of the unnamed, nor the other way round."""
        bench = BrokerBench()
        bench.ready(b"A", services=("a",))
        bench.ready(b"B")
        bench.ask(b"1", b"2")
        self.assertEqual((bench.sent(), bench.broker.queues.waiting), ([(b"B", b"1")], 1))

    def test_severalNames(self) -> None:
        """A worker of several takes from them in turn, and is busy for all of them."""
        bench = BrokerBench()
        bench.ready(b"A", services=("a", "b", ""))
        (zero,) = bench.ask(b"0", service="b")
        (one,) = bench.ask(b"1", service="b")
        (two,) = bench.ask(b"2", service="a")
        (three,) = bench.ask(b"3")
        (four,) = bench.ask(b"4", service="b")
        for request in (zero, two, one, three, four):
            bench.reply(b"A", request)
        self.assertEqual([name for _, name in bench.sent()], [b"0", b"2", b"1", b"3", b"4"])

    def test_sharedWorkers(self) -> None:
        """Workers may share some names: the least used of those that serve it gets a request."""
        bench = BrokerBench()
        bench.ready(b"A", services=("a", "b"))
        bench.ready(b"B", services=("b", "c"))
        bench.ask(b"1", service="b")
        bench.ask(b"2", service="b")
        bench.ask(b"3", service="a")
        self.assertEqual((bench.sent(), bench.broker.queues.waiting), ([(b"A", b"1"), (b"B", b"2")], 1))

    def test_forgotten(self) -> None:
        """When the last worker of a name has gone it is unknown again, unless somebody waits for it."""
        bench = BrokerBench()
        bench.ready(b"A", services=("a", "b"))
        bench.ask(b"1", service="a")
        bench.ask(b"2", service="b")
        bench.gone(b"A")
        bench.ask(b"3", service="a")
        self.assertEqual((bench.broker.queues.waiting, bench.broker.counters.failed), (3, {}))
        bench.ready(b"B", services=("b",))
        self.assertEqual(bench.sent()[1:], [(b"B", b"2")])
        bench.gone(b"B", died=False)
        bench.ready(b"C", services=("c",))
        bench.gone(b"C")
        bench.ask(b"4", service="c")
        self.assertEqual(bench.broker.counters.failed, {Code.UNKNOWN_SERVICE: 1})

    def test_lastOneUnreachable(self) -> None:
        """A request that finds the last worker of its name out of reach waits for the next one."""
        bench = BrokerBench()
        bench.ready(b"A", services=("a",))
        bench.away.add(b"A")
        bench.ask(b"1", service="a")
        self.assertEqual((bench.lost, bench.broker.queues.waiting), ([b"A"], 1))
        bench.ready(b"B", services=("a",))
        self.assertEqual(bench.sent(), [(b"B", b"1")])

    def test_lastOneUnreachableFromBacklog(self) -> None:
        """So does one that waited already."""
        bench = BrokerBench()
        bench.ready(b"A", services=("a",))
        (one,) = bench.ask(b"1", service="a")
        bench.ask(b"2", service="a")
        bench.away.add(b"A")
        bench.reply(b"A", one)
        self.assertEqual((bench.lost, bench.broker.queues.waiting), ([b"A"], 1))
        bench.ready(b"B", services=("a",))
        self.assertEqual(bench.sent()[1:], [(b"B", b"2")])

    def test_manyNames(self) -> None:
        """What a dead worker of several names held goes to those who serve each name."""
        bench = BrokerBench()
        bench.ready(b"A", credit=2, services=("a", "b"))
        bench.ask(b"1", service="a")
        bench.ask(b"2", service="b")
        bench.ready(b"X", services=("b",))
        bench.ready(b"Y", services=("a",))
        bench.gone(b"A")
        self.assertEqual(sorted(bench.sent()[2:]), [(b"X", b"2"), (b"Y", b"1")])


class EndTests(SynchronousTestCase):
    """The server stops."""

    def test_refuse(self) -> None:
        """What comes now is refused, what has been accepted is still served."""
        bench = BrokerBench()
        bench.ready(b"A")
        one, two = bench.ask(b"1", b"2")
        bench.broker.refuseRequests("the server is stopping")
        bench.askNatively(b"3")
        ((client, told),) = bench.told()
        self.assertEqual((client, told["code"], told["message"]), (b"3", "stopping", "the server is stopping"))
        bench.reply(b"A", one, two)
        self.assertEqual((len(bench.replies()), bench.broker.isQuiet()), (2, True))

    def test_abandon(self) -> None:
        """All that is not answered is given up, told apart by whether it may have been executed."""
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
        """Those whose time was over when a worker was free, and who have not been told yet, are told so then."""
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
        """Nothing of it comes back: not by a late answer, nor by a worker that dies or comes."""
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
        """What was moved from a dead worker and answered late is not given up a second time."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        (one,) = bench.ask(b"1")
        bench.gone(b"A")
        bench.reply(b"A", one)
        self.assertEqual(bench.broker.dispatcher.abandon("stopped"), (0, 0))


class MemoryTests(SynchronousTestCase):
    """What the broker remembers."""

    def test_forgets(self) -> None:
        """Nothing is kept of a request that is done, however it came to be done."""

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


class WatchTests(SynchronousTestCase):
    """Whoever wants to know when a worker is busy."""

    def test_changes(self) -> None:
        """Each change is told once: the first request that it is given, and the last that it answers."""
        bench = BrokerBench()
        bench.ready(b"A", credit=2)
        one, two = bench.ask(b"1", b"2")
        bench.reply(b"A", one)
        self.assertEqual(bench.changes, [(b"A", True)])
        bench.reply(b"A", two)
        self.assertEqual(bench.changes, [(b"A", True), (b"A", False)])

    def test_plainWorker(self) -> None:
        """A plain worker is busy until it says ``waiting``."""
        bench = BrokerBench()
        bench.waiting(b"P")
        bench.reply(b"P", *bench.ask(b"1"))
        self.assertEqual(bench.changes, [(b"P", True)])
        bench.waiting(b"P")
        self.assertEqual(bench.changes, [(b"P", True), (b"P", False)])
