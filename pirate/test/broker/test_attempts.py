# -*- test-case-name: pirate.test.broker.test_attempts -*-
"""Which requests are charged with the death of a worker, and which are tried again."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker import replies as replies
from pirate.test.support.broker import BrokerBench, ConcurrencyBench, cancelling
from pirate.wire.words import Code


class DeathTests(SynchronousTestCase):
    """Workers that die."""

    def test_idle(self) -> None:
        """An idle worker that dies loses nothing, and gets no request any more."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        bench.gone(b"A")
        bench.ask(b"1")
        self.assertEqual(bench.sent(), [(b"B", b"1")])
        self.assertFalse(bench.broker.dispatcher.knows(b"A"))
        self.assertTrue(bench.broker.dispatcher.knows(b"B"))

    def test_unknown(self) -> None:
        """The death of an unknown worker changes nothing."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.gone(b"nobody")
        self.assertEqual(bench.broker.dispatcher.idle, 1)

    def test_moved(self) -> None:
        """Its request goes to another worker at once, whose reply goes to the client."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        (one,) = bench.ask(b"1")
        bench.gone(b"A")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"1")])
        bench.reply(b"B", one)
        self.assertEqual(bench.replies(), [(b"1", b"1")])
        self.assertEqual((bench.broker.counters.redispatched, bench.broker.counters.received), (1, 1))

    def test_frontInOrder(self) -> None:
        """Its requests go in front of those that wait, in the order in which they were sent."""
        bench = BrokerBench()
        bench.ready(b"A", credit=3)
        requests = bench.ask(b"1", b"2", b"3", b"4", b"5")
        bench.gone(b"A")
        bench.sent()
        bench.ready(b"B")
        for request in requests:
            bench.reply(b"B", request)
        self.assertEqual([name for _, name in bench.sent()], [b"1", b"2", b"3", b"4", b"5"])

    def test_attemptOfSuspects(self) -> None:
        """An app is told that a request may have been run before, even if it is not certain which one was."""
        bench = BrokerBench()
        bench.ready(b"A", credit=2)
        requests = bench.ask(b"1", b"2")
        bench.gone(b"A")
        self.assertEqual([each.context(0.0)["attempt"] for each in requests], [2, 2])
        self.assertEqual([each.deaths for each in requests], [0, 0])

    def test_noneIsCharged(self) -> None:
        """With several requests it is not certain which one it was executing: none is charged yet."""
        bench = BrokerBench()
        bench.ready(b"A", credit=3)
        one, two, three = bench.ask(b"1", b"2", b"3")
        bench.reply(b"A", one)
        bench.gone(b"A")
        self.assertEqual((one.deaths, two.deaths, three.deaths), (0, 0, 0))

    def test_notDied(self) -> None:
        """A worker that leaves was executing nothing: none of its requests is charged, and all are moved."""
        bench = BrokerBench(maxAttempts=1)
        bench.ready(b"A", credit=2)
        one, two = bench.ask(b"1", b"2")
        bench.gone(b"A", "it left", died=False)
        bench.ready(b"B", credit=2)
        self.assertEqual((one.deaths, two.deaths, bench.broker.counters.failed), (0, 0, {}))
        self.assertEqual(bench.broker.dispatcher.inFlight + bench.broker.queues.waiting, 2)

    def test_aloneNextTime(self) -> None:
        """Each of its requests is alone with its next worker, so that the one that kills takes no other down."""
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
        self.assertEqual(two.deaths, 2)
        bench.ready(b"C", credit=8)
        bench.reply(b"C", two)
        bench.sent()
        bench.reply(b"C", three)
        self.assertEqual(bench.sent(), [(b"C", b"4"), (b"C", b"5")])

    def test_aloneAmongBusy(self) -> None:
        """Such a request is not sent to a worker that holds another, and none overtakes it while it waits."""
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
        """A request that has used up its attempts fails, and its native client is told so."""
        bench = BrokerBench(maxAttempts=3)
        (one,) = bench.askNatively(b"1")
        for worker in (b"A", b"B", b"C"):
            bench.ready(worker)
            bench.gone(worker, "it ended with signal SIGSEGV")
        bench.ready(b"D")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"1"), (b"C", b"1")])
        ((client, told),) = bench.told()
        self.assertEqual((client, told["code"], told["attempts"]), (b"1", "worker-lost", 3))
        self.assertEqual(told["message"], "its worker was lost (attempt 3): it ended with signal SIGSEGV")
        self.assertEqual((one.deaths, bench.broker.counters.redispatched), (3, 2))

    def test_lostInParts(self) -> None:
        """A request whose client has been sent parts is not tried again, and its client is told how many."""
        for count, parts in ((1, "1 part"), (2, "2 parts")):
            bench = BrokerBench()
            bench.ready(b"A")
            (one,) = bench.askNatively(b"1", partial=True)
            for _ in range(count):
                bench.broker.dispatcher.partReceived(b"A", one.brokerId, [b"x"])
            bench.gone(b"A", "it left", died=False)
            message = bench.told()[-1][1]["message"]
            self.assertEqual(message, f"its worker was lost after {parts} of the reply: it left")

    def test_lostWithAnother(self) -> None:
        """A request whose last attempt ends because another job of its worker took too long is told so."""
        bench = ConcurrencyBench(jobTimeout=10, maxAttempts=1)
        bench.several(b"A")
        bench.ask(b"1")
        bench.tick(5)
        bench.ask(b"2")
        bench.tick(10)
        self.assertEqual(
            [message for _, _, message in bench.givenUp],
            [
                "the job took longer than 10 seconds",
                "its worker was lost (attempt 1): it was stopped because the job took longer than 10 seconds",
            ],
        )

    def test_clientAttempts(self) -> None:
        """
        A client may ask for fewer attempts; with 1 its request is never executed twice.

        It cannot ask for more than the server allows, and so cannot have more workers killed.
        """
        bench = BrokerBench(maxAttempts=2)
        bench.askNatively(b"1", attempts=1)
        bench.ready(b"A")
        bench.gone(b"A")
        ((_, told),) = bench.told()
        self.assertEqual((told["code"], told["attempts"]), ("worker-lost", 1))
        self.assertIn("(attempt 1)", told["message"])
        (many,) = bench.askNatively(b"4", attempts=1000)
        bench.sent()
        for worker in (b"B", b"C", b"D", b"E", b"F"):
            bench.ready(worker)
            bench.gone(worker)
        ((_, told),) = bench.told()
        self.assertEqual((len(bench.sent()), many.deaths, told["attempts"]), (2, 2, 2))

    def test_withdrawn(self) -> None:
        """A request that was withdrawn, or expired, and is sent again has only the attempts that it has not used."""
        for end in ("withdrawn", "expired"):
            bench = BrokerBench(maxAttempts=3)
            (one,) = bench.askNatively(b"1", **({"timeout_ms": 5000} if end == "expired" else {}))
            for worker in (b"A", b"B"):
                bench.ready(worker)
                bench.gone(worker)
            if end == "expired":
                bench.tick(5.0)
            else:
                bench.broker.withdraw(one)
            bench.told()
            (again,) = bench.askNatively(b"1")
            bench.ready(b"C")
            bench.gone(b"C")
            ((_, told),) = bench.told()
            self.assertEqual((told["code"], told["attempts"], again.deaths), ("worker-lost", 3, 3), end)
            self.assertEqual([worker for worker, body in bench.sent() if body == b"1"], [b"A", b"B", b"C"], end)

    def test_withdrawnSuspect(self) -> None:
        """A suspect that was withdrawn and is sent again is alone with its worker, and charged with both deaths."""
        bench = BrokerBench(maxAttempts=2)
        bench.ready(b"A", credit=2)
        one, _ = bench.askNatively(b"1", b"2")
        bench.gone(b"A")
        bench.broker.withdraw(one)
        bench.told()
        bench.sent()
        (again,) = bench.askNatively(b"1")
        self.assertEqual((again.deaths, again.suspected, again.alone), (0, 1, True))

    def test_withdrawnIsNotAnswered(self) -> None:
        """To cancel a request that was withdrawn is told that there is none, whatever attempts it has used."""
        bench = BrokerBench()
        (one,) = bench.askNatively(b"1")
        bench.ready(b"A")
        bench.gone(b"A")
        bench.broker.withdraw(one)
        bench.told()
        bench.broker.cancel(cancelling(one))
        self.assertEqual([told["message"] for _, told in bench.told()], ["there is no such request"])

    def test_notExecutedNotLost(self) -> None:
        """A request that may be tried only once is never together with others, so it is not lost with them."""
        bench = BrokerBench(maxAttempts=1)
        bench.ready(b"A", credit=2)
        bench.askNatively(b"bad", b"good", attempts=1)
        bench.gone(b"A")
        bench.ready(b"B")
        self.assertEqual([client for client, _ in bench.told()], [b"bad"])
        self.assertEqual(bench.sent(), [(b"A", b"bad"), (b"B", b"good")])

    def test_plainIsSilent(self) -> None:
        """A plain client of a lost request is sent nothing; the failure is counted and reported."""
        bench = BrokerBench(maxAttempts=1)
        bench.ready(b"A")
        bench.ask(b"1")
        bench.gone(b"A", "it ended with exit code 9")
        self.assertEqual((bench.replies(), bench.broker.isQuiet()), ([], True))
        self.assertEqual(bench.broker.counters.failed, {Code.WORKER_LOST: 1})
        ((client, code, message),) = bench.givenUp
        self.assertEqual((client, code), (b"1", "worker-lost"))
        self.assertIn("exit code 9", message)

    def test_plainTold(self) -> None:
        """If the server is configured so, the error is a plain client's reply."""
        bench = BrokerBench(maxAttempts=1, errorReply=True)
        bench.ready(b"A")
        bench.ask(b"1")
        bench.gone(b"A")
        ((client, body),) = bench.replies()
        self.assertEqual((client, json.loads(body)["code"], json.loads(body)["attempts"]), (b"1", "worker-lost", 1))

    def test_poison(self) -> None:
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
        self.assertEqual((bad.deaths, one.deaths, two.deaths, three.deaths), (3, 0, 0, 0))


class ConcurrentDeathTests(SynchronousTestCase):
    """The death of a worker with a concurrency."""

    def test_allAreCharged(self) -> None:
        """It was executing all its requests: each is charged, and goes to the front in the old order."""
        bench = ConcurrencyBench()
        bench.several(b"A")
        requests = bench.ask(b"1", b"2", b"3")
        bench.gone(b"A")
        self.assertEqual([each.deaths for each in requests], [1, 1, 1])
        bench.sent()
        bench.several(b"B")
        self.assertEqual([name for _, name in bench.sent()], [b"1", b"2", b"3"])

    def test_repliedIsNotCharged(self) -> None:
        """A request that has had its reply is not charged, and a cancelled one is not tried again."""
        bench = ConcurrencyBench()
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
        """A worker that leaves has begun nothing of what it still holds: none is charged."""
        bench = ConcurrencyBench()
        bench.several(b"A")
        (one,) = bench.ask(b"1")
        bench.gone(b"A", "it left", died=False)
        self.assertEqual(one.deaths, 0)

    def test_poison(self) -> None:
        """A request that kills is alone at its last attempt, so it takes no other down for the third time."""
        bench = ConcurrencyBench(maxAttempts=3)
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
        self.assertEqual((bad.deaths, [name for name, _, _ in bench.givenUp]), (3, [b"bad"]))
        bench.reply(b"D", good)
        self.assertEqual(bench.sent(), [(b"D", b"next")])
        self.assertEqual(bench.replies(), [(b"good", b"good")])

    def test_onlyOnce(self) -> None:
        """A request that may be tried only once is together with others, because it has certainly been tried."""
        bench = ConcurrencyBench()
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
        """What is missing when the worker answers a heartbeat is sent again, unless it was cancelled."""
        bench = ConcurrencyBench(deliveryTimeout=1)
        bench.several(b"A")
        (one,) = bench.askNatively(b"1")
        bench.ask(b"2")
        bench.broker.cancel(cancelling(one))
        bench.sent()
        bench.tick(1)
        bench.broker.dispatcher.workerAlive(b"A")
        bench.check()
        self.assertEqual(bench.sent()[1:], [(b"A", b"2")])
