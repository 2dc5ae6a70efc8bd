# -*- test-case-name: pirate.test.broker.test_dispatcher -*-
"""Which worker gets which request, whose reply counts, and workers that cannot be reached."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker import replies as replies
from pirate.broker.request import Request
from pirate.test.support.broker import BrokerBench, ConcurrencyBench, cancelling
from pirate.wire.backend import Announcement
from pirate.wire.words import CANCEL, HEARTBEAT, PACKED_SIZE, RETIRE, Code


class DispatchTests(SynchronousTestCase):
    """Which worker gets a request."""

    def test_leastRecentlyUsed(self) -> None:
        """Of idle workers, the least recently used gets the request."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", b"C")
        one, two = bench.ask(b"1", b"2")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"2")])
        bench.reply(b"B", two)
        bench.reply(b"A", one)
        bench.ask(b"3", b"4", b"5")
        self.assertEqual(bench.sent(), [(b"C", b"3"), (b"B", b"4"), (b"A", b"5")])

    def test_fewestInFlight(self) -> None:
        """No worker gets a second request while another has none, nor a third while another has one."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", credit=3)
        bench.ask(b"1", b"2", b"3", b"4", b"5")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"2"), (b"A", b"3"), (b"B", b"4"), (b"A", b"5")])

    def test_fewestThenLeastRecentlyUsed(self) -> None:
        """Of workers with equally many requests, the least recently used gets the next one."""
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
        """The worker receives the broker's id in the place of the client's address, and the whole body."""
        bench = BrokerBench()
        bench.ready(b"A")
        request = bench.receive(Request([b"c", b"hop", b""], [b"a", b"", b"b"]))
        self.assertEqual(bench.framesToWorkers, [[b"A", b"", request.brokerId, b"", b"a", b"", b"b"]])
        self.assertEqual(bench.framesToClients, [])

    def test_ids(self) -> None:
        """Each request has an id of 8 bytes of its own, which can never be a word."""
        bench = BrokerBench()
        ids = [request.brokerId for request in bench.ask(*[b"x"] * 1000)]
        self.assertEqual(len(set(ids)), 1000)
        self.assertTrue(all(len(each) == 8 and each[0] >= 0x80 for each in ids))

    def test_firstId(self) -> None:
        """The numbering starts at the given id, so a worker that knew another broker knows none of these ids."""
        first, second = BrokerBench(firstId=1000), BrokerBench(firstId=(1 << 62) - 1)
        ids = {request.brokerId for bench in (first, second) for request in bench.ask(*[b"x"] * 100)}
        self.assertEqual(len(ids), 200)
        self.assertTrue(all(len(each) == 8 and each[0] >= 0x80 for each in ids))

    def test_context(self) -> None:
        """Only a worker whose app wants the context receives it; otherwise it is not looked up."""
        bench = BrokerBench()
        bench.ready(b"A")
        self.assertFalse(bench.broker.dispatcher.wantsContext)
        bench.broker.dispatcher.workerReady(b"B", Announcement("", 1, True))
        self.assertTrue(bench.broker.dispatcher.wantsContext)
        for name in (b"1", b"2"):
            bench.broker.requestReceived(Request([name, b""], [name], "", "10.0.0.1"))
        plain, told = bench.framesToWorkers
        self.assertEqual(len(plain), 5)
        self.assertEqual(json.loads(told[3]), {"client": "10.0.0.1", "service": "", "attempt": 1})


class CreditTests(SynchronousTestCase):
    """How many requests a worker may hold."""

    def test_one(self) -> None:
        """With a credit of 1 no request waits behind another in a worker."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.ask(b"1", b"2")
        self.assertEqual(bench.sent(), [(b"A", b"1")])

    def test_raised(self) -> None:
        """A worker that raises its credit at once gets as many requests as it may hold now."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.ask(b"1", b"2", b"3", b"4")
        bench.ready(b"A", credit=3)
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"A", b"2"), (b"A", b"3")])

    def test_lowered(self) -> None:
        """A worker that lowers its credit gets no request until it holds fewer."""
        bench = BrokerBench()
        bench.ready(b"A", credit=3)
        one, two, three, _ = bench.ask(b"1", b"2", b"3", b"4")
        bench.ready(b"A", credit=1)
        bench.reply(b"A", one, two)
        self.assertEqual(len(bench.sent()), 3)
        bench.reply(b"A", three)
        self.assertEqual(bench.sent(), [(b"A", b"4")])

    def test_repeatedWord(self) -> None:
        """A worker that says ``waiting`` again without an announcement keeps what it holds, and its replies count."""
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.ask(b"1")
        bench.waiting(b"A")
        self.assertFalse(bench.broker.dispatcher.isIdle(b"A"))
        bench.reply(b"A", one)
        self.assertEqual(bench.replies(), [(b"1", b"1")])


class ReplyTests(SynchronousTestCase):
    """Which replies reach a client."""

    def test_ownClient(self) -> None:
        """A reply goes to the client of its request, whatever the order of replies."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        one, two = bench.ask(b"1", b"2")
        bench.reply(b"B", two, body=b"to 2")
        bench.reply(b"A", one, body=b"to 1")
        self.assertEqual(bench.replies(), [(b"2", b"to 2"), (b"1", b"to 1")])
        self.assertEqual((bench.broker.counters.replied, bench.broker.isQuiet()), (2, True))

    def test_envelope(self) -> None:
        """The client's envelope stands in front of the reply, with a native client's own request id in it."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.reply(b"A", bench.receive(Request([b"c", b"hop", b""], [b"x"])))
        bench.reply(b"A", *bench.askNatively(b"n"))
        self.assertEqual(bench.framesToClients, [[b"c", b"hop", b"", b"x"], [b"n", b"PIR1kkkkkkkkkkkkkkkn", b"", b"n"]])

    def test_foreign(self) -> None:
        """A worker cannot reply for another worker, nor to a request that waits or does not exist."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        one, _, waiting = bench.ask(b"1", b"2", b"3")
        bench.reply(b"B", one)
        bench.reply(b"A", waiting)
        bench.reply(b"nobody", one)
        bench.broker.dispatcher.replyReceived(b"A", b"waiting", [b"x"])
        bench.broker.dispatcher.failureReceived(b"B", one.brokerId, Code.APP_ERROR, "x")
        self.assertEqual((bench.replies(), bench.broker.counters.late), ([], 5))
        bench.reply(b"A", one)
        self.assertEqual(bench.replies(), [(b"1", b"1")])

    def test_double(self) -> None:
        """A second reply is dropped and counted, and frees no capacity."""
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
        """A worker may reply to its requests in any order."""
        bench = BrokerBench()
        bench.ready(b"A", credit=3)
        one, two, three = bench.ask(b"1", b"2", b"3")
        bench.reply(b"A", three, one, two)
        self.assertEqual([client for client, _ in bench.replies()], [b"3", b"1", b"2"])
        self.assertTrue(bench.broker.dispatcher.isIdle(b"A"))

    def test_undeliverable(self) -> None:
        """A reply whose client has gone is counted, and its worker is free."""
        bench = BrokerBench(errorReply=True)
        bench.ready(b"A")
        bench.away.add(b"1")
        one, two = bench.ask(b"1", b"1")
        bench.reply(b"A", one)
        bench.fail(b"A", two)
        self.assertEqual((bench.broker.counters.undeliverable, bench.broker.counters.replied), (2, 1))
        self.assertTrue(bench.broker.dispatcher.isIdle(b"A"))


class LateTests(SynchronousTestCase):
    """Replies of workers that have died."""

    def test_whileWaiting(self) -> None:
        """The reply to a request that waits again counts, and the request is not executed again."""
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
        """The first reply counts and the other is dropped; its worker is busy until then, and idle afterwards."""
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
        """A late error counts as a reply does."""
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.askNatively(b"1")
        bench.gone(b"A")
        bench.fail(b"A", one)
        bench.ready(b"B")
        self.assertEqual([told["code"] for _, told in bench.told()], ["app-error"])
        self.assertEqual(bench.sent(), [(b"A", b"1")])

    def test_twice(self) -> None:
        """Each lost worker that held the request may reply, but only one reply counts."""
        bench = BrokerBench()
        (one,) = bench.ask(b"1")
        for worker in (b"A", b"B"):
            bench.ready(worker)
            bench.gone(worker)
        bench.reply(b"B", one, one)
        bench.reply(b"A", one)
        self.assertEqual((bench.replies(), bench.broker.counters.late), ([(b"1", b"1")], 2))

    def test_stranger(self) -> None:
        """A worker that never held the request cannot reply to it, lost or not."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", b"C")
        (one,) = bench.ask(b"1")
        bench.gone(b"C")
        bench.gone(b"A")
        bench.reply(b"C", one)
        bench.reply(b"nobody", one)
        self.assertEqual((bench.replies(), bench.broker.counters.late), ([], 2))

    def test_deathWithReplied(self) -> None:
        """A worker that dies with a request that another has replied to does not bring it back."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", b"C")
        (one,) = bench.ask(b"1")
        bench.gone(b"A")
        bench.reply(b"A", one)
        bench.gone(b"B")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"B", b"1")])
        self.assertEqual((one.deaths, bench.broker.isQuiet()), (1, True))

    def test_givenUp(self) -> None:
        """A reply after the error is too late."""
        bench = BrokerBench(maxAttempts=1)
        bench.ready(b"A")
        (one,) = bench.askNatively(b"1")
        bench.gone(b"A")
        bench.reply(b"A", one)
        self.assertEqual((len(bench.replies()), bench.broker.counters.late), (1, 1))


class PlainWorkerTests(SynchronousTestCase):
    """Workers that never announce themselves, and say ``waiting`` before each request."""

    def test_idleOnlyAfterWaiting(self) -> None:
        """Its reply reaches the client at once, but it gets the next request only when it asks for it."""
        bench = BrokerBench()
        bench.waiting(b"P")
        one, _ = bench.ask(b"1", b"2")
        bench.reply(b"P", one)
        self.assertEqual((bench.replies(), bench.sent()), ([(b"1", b"1")], [(b"P", b"1")]))
        self.assertEqual((bench.broker.dispatcher.isIdle(b"P"), bench.broker.dispatcher.inFlight), (False, 0))
        bench.waiting(b"P")
        self.assertEqual(bench.sent(), [(b"P", b"2")])

    def test_amongOthers(self) -> None:
        """It takes its turn with workers that announce themselves."""
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
        """Its second reply to one request is dropped."""
        bench = BrokerBench()
        bench.waiting(b"P")
        (one,) = bench.ask(b"1")
        bench.reply(b"P", one, one)
        self.assertEqual((len(bench.replies()), bench.broker.counters.late), (1, 1))

    def test_leaves(self) -> None:
        """A plain worker that leaves between two requests loses nothing."""
        bench = BrokerBench()
        bench.waiting(b"P")
        bench.reply(b"P", *bench.ask(b"1"))
        bench.gone(b"P", "it left", died=False)
        self.assertEqual(
            (bench.broker.counters.redispatched, bench.broker.isQuiet(), bench.broker.dispatcher.idle), (0, True, 0)
        )

    def test_leavesWithoutReply(self) -> None:
        """The Perl original leaves when its app has died: that is an attempt, and another worker gets the request."""
        bench = BrokerBench()
        bench.waiting(b"P", b"Q")
        (one,) = bench.ask(b"1")
        bench.gone(b"P", "it left", died=False)
        self.assertEqual((one.deaths, bench.sent()), (1, [(b"P", b"1"), (b"Q", b"1")]))

    def test_asksWithoutReply(self) -> None:
        """If it asks for the next request without a reply, the last one has failed."""
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
        """A plain worker that announces itself later is treated as any other from then on."""
        bench = BrokerBench()
        bench.waiting(b"P")
        one, two, _ = bench.ask(b"1", b"2", b"3")
        bench.reply(b"P", one)
        bench.ready(b"P", credit=2)
        self.assertEqual(bench.sent(), [(b"P", b"1"), (b"P", b"2"), (b"P", b"3")])
        bench.reply(b"P", two)
        bench.ask(b"4")
        self.assertEqual(bench.sent(), [(b"P", b"4")])


class ConcurrencyTests(SynchronousTestCase):
    """The requests that a worker with a concurrency holds."""

    def test_anyOrder(self) -> None:
        """Replies come in any order, and each makes room for one more request."""
        bench = ConcurrencyBench()
        bench.several(b"A", concurrency=3)
        requests = bench.ask(b"1", b"2", b"3", b"4", b"5")
        self.assertEqual([name for _, name in bench.sent()], [b"1", b"2", b"3"])
        bench.reply(b"A", requests[2])
        bench.reply(b"A", requests[0])
        self.assertEqual([name for _, name in bench.sent()], [b"4", b"5"])
        self.assertEqual([name for _, name in bench.replies()], [b"3", b"1"])

    def test_evenly(self) -> None:
        """Of two workers, the one with fewer requests gets the next."""
        bench = ConcurrencyBench()
        bench.several(b"A", b"B")
        requests = bench.ask(b"1", b"2", b"3", b"4")
        bench.reply(b"B", requests[1], requests[3])
        bench.sent()
        bench.ask(b"5", b"6")
        self.assertEqual([worker for worker, _ in bench.sent()], [b"B", b"B"])

    def test_spare(self) -> None:
        """A worker with less than half of what it could execute counts as spare, so no others are started for it."""
        bench = ConcurrencyBench()
        bench.several(b"A", concurrency=4)
        bench.ready(b"B")
        self.assertTrue(bench.broker.dispatcher.isSpare(b"A"))
        bench.ask(b"1", b"2")
        self.assertEqual((bench.broker.dispatcher.isSpare(b"A"), bench.broker.dispatcher.isSpare(b"B")), (True, False))
        bench.ask(b"3")
        self.assertFalse(bench.broker.dispatcher.isSpare(b"A"))
        self.assertFalse(bench.broker.dispatcher.isSpare(b"nobody"))


class ServiceTests(SynchronousTestCase):
    """Named services."""

    def test_own(self) -> None:
        """A request goes to a worker that serves its name, and waits only for such a worker."""
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
        """A name that no worker serves is refused, while the unnamed service waits for its workers."""
        bench = BrokerBench()
        bench.askNatively(b"1", service="x")
        bench.askNatively(b"2")
        ((client, told),) = bench.told()
        self.assertEqual((client, told["code"], bench.broker.queues.waiting), (b"1", "unknown-service", 1))
        self.assertIn("'x'", told["message"])
        self.assertEqual(bench.broker.counters.failed, {Code.UNKNOWN_SERVICE: 1})

    def test_unnamedIsNoOther(self) -> None:
        """A worker of a named service gets no request of the unnamed one, nor the other way round."""
        bench = BrokerBench()
        bench.ready(b"A", services=("a",))
        bench.ready(b"B")
        bench.ask(b"1", b"2")
        self.assertEqual((bench.sent(), bench.broker.queues.waiting), ([(b"B", b"1")], 1))

    def test_severalNames(self) -> None:
        """A worker of several services takes from them in turn, and is busy for all of them."""
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
        """Workers may share some names: the least used worker of a name gets its request."""
        bench = BrokerBench()
        bench.ready(b"A", services=("a", "b"))
        bench.ready(b"B", services=("b", "c"))
        bench.ask(b"1", service="b")
        bench.ask(b"2", service="b")
        bench.ask(b"3", service="a")
        self.assertEqual((bench.sent(), bench.broker.queues.waiting), ([(b"A", b"1"), (b"B", b"2")], 1))

    def test_forgotten(self) -> None:
        """A name is unknown again when its last worker has gone, unless a request waits for it."""
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
        """A request that finds the last worker of its name unreachable waits for the next one."""
        bench = BrokerBench()
        bench.ready(b"A", services=("a",))
        bench.away.add(b"A")
        bench.ask(b"1", service="a")
        self.assertEqual((bench.lost, bench.broker.queues.waiting), ([b"A"], 1))
        bench.ready(b"B", services=("a",))
        self.assertEqual(bench.sent(), [(b"B", b"1")])

    def test_lastOneUnreachableFromBacklog(self) -> None:
        """The same is true of a request that waited already."""
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
        """The requests of a dead worker with several services go to workers of the same services."""
        bench = BrokerBench()
        bench.ready(b"A", credit=2, services=("a", "b"))
        bench.ask(b"1", service="a")
        bench.ask(b"2", service="b")
        bench.ready(b"X", services=("b",))
        bench.ready(b"Y", services=("a",))
        bench.gone(b"A")
        self.assertEqual(sorted(bench.sent()[2:]), [(b"X", b"2"), (b"Y", b"1")])


class RetireTests(SynchronousTestCase):
    """Workers that are asked to leave."""

    def test_idle(self) -> None:
        """An idle worker is told to leave, and gets no more requests."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        bench.broker.dispatcher.retire(b"A")
        bench.ask(b"1", b"2")
        self.assertEqual(bench.framesToWorkers[0], [b"A", b"", RETIRE])
        self.assertEqual(bench.sent()[1:], [(b"B", b"1")])

    def test_behindItsRequests(self) -> None:
        """A busy worker is told behind its requests; its replies count, and it gets no more requests."""
        bench = BrokerBench()
        bench.ready(b"A", credit=2)
        one, two, _ = bench.ask(b"1", b"2", b"3")
        bench.broker.dispatcher.retire(b"A")
        bench.reply(b"A", one, two)
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"A", b"2"), (b"A", RETIRE)])
        self.assertEqual(len(bench.replies()), 2)
        bench.gone(b"A", "it left", died=False)
        bench.ready(b"B")
        self.assertEqual(bench.sent(), [(b"B", b"3")])

    def test_once(self) -> None:
        """A worker is told once, and an unknown worker is not told."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.broker.dispatcher.retire(b"A")
        bench.broker.dispatcher.retire(b"A")
        bench.broker.dispatcher.retire(b"nobody")
        bench.ready(b"A", credit=5)
        bench.ask(b"1")
        self.assertEqual(bench.sent(), [(b"A", RETIRE)])

    def test_withhold(self) -> None:
        """A worker can be given no more requests without being told."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        self.assertTrue(bench.broker.dispatcher.stopAssigning(b"A"))
        self.assertFalse(bench.broker.dispatcher.stopAssigning(b"A"))
        self.assertFalse(bench.broker.dispatcher.stopAssigning(b"nobody"))
        bench.broker.dispatcher.retire(b"A")
        bench.ask(b"1")
        self.assertEqual(bench.sent(), [(b"B", b"1")])

    def test_dies(self) -> None:
        """A retiring worker that dies is as dead as any: its requests are moved."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        (one,) = bench.ask(b"1")
        bench.broker.dispatcher.retire(b"A")
        bench.gone(b"A")
        self.assertEqual(bench.sent(), [(b"A", b"1"), (b"A", RETIRE), (b"B", b"1")])
        self.assertEqual(one.deaths, 1)


class RequestsLeftTests(SynchronousTestCase):
    """Workers with a limited number of requests."""

    def test_retiredBehindTheLast(self) -> None:
        """A worker is asked to leave behind its last request, and the event is reported."""
        bench = BrokerBench()
        bench.ready(b"A", requestsLeft=2)
        one, two, _ = bench.ask(b"1", b"2", b"3")
        bench.reply(b"A", one)
        self.assertEqual((bench.sent(), bench.retired), ([(b"A", b"1"), (b"A", b"2"), (b"A", RETIRE)], [b"A"]))
        bench.reply(b"A", two)
        self.assertEqual((bench.sent(), bench.broker.queues.waiting), ([], 1))
        self.assertEqual(len(bench.replies()), 2)

    def test_withCredit(self) -> None:
        """A large credit does not add to the requests that a worker has left."""
        bench = BrokerBench()
        bench.ready(b"A", credit=8, requestsLeft=3)
        bench.ask(*[b"x"] * 5)
        self.assertEqual(bench.sent(), [*[(b"A", b"x")] * 3, (b"A", RETIRE)])

    def test_halved(self) -> None:
        """Each time that half of what was left has been sent is reported, as long as something is left."""
        bench = BrokerBench()
        bench.ready(b"A", requestsLeft=10)
        for _ in range(10):
            bench.reply(b"A", *bench.ask(b"x"))
        self.assertEqual((bench.halves, bench.retired), ([5, 8, 9], [b"A"]))

    def test_announcedAgain(self) -> None:
        """A new credit does not change how many requests a worker has left."""
        bench = BrokerBench()
        bench.ready(b"A", requestsLeft=2)
        bench.reply(b"A", *bench.ask(b"1"))
        bench.ready(b"A", credit=2)
        bench.ask(b"2", b"3")
        self.assertEqual((bench.retired, bench.broker.queues.waiting), ([b"A"], 1))

    def test_endless(self) -> None:
        """With a negative number of requests left there is no limit."""
        bench = BrokerBench()
        bench.ready(b"A", requestsLeft=-1)
        for _ in range(50):
            bench.reply(b"A", *bench.ask(b"x"))
        self.assertEqual((bench.retired, bench.broker.counters.replied), ([], 50))


class UnreachableTests(SynchronousTestCase):
    """Workers whose connection has gone before their end is known."""

    def test_nextOne(self) -> None:
        """The request goes to the next worker, and the unreachable one is reported."""
        bench = BrokerBench()
        bench.ready(b"A", b"B", b"C")
        bench.away |= {b"A", b"B"}
        (one,) = bench.ask(b"1")
        self.assertEqual((bench.sent(), bench.lost), ([(b"C", b"1")], [b"A", b"B"]))
        self.assertEqual((one.deaths, bench.broker.dispatcher.knows(b"A"), bench.broker.dispatcher.idle), (0, False, 0))

    def test_none(self) -> None:
        """If no other worker is left, the request waits."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.away.add(b"A")
        bench.ask(b"1", b"2")
        self.assertEqual(bench.broker.queues.waiting, 2)
        bench.ready(b"B", credit=2)
        self.assertEqual(bench.sent(), [(b"B", b"1"), (b"B", b"2")])

    def test_fromBacklog(self) -> None:
        """A worker that asks for a request and is gone when it is sent one costs the requests that wait nothing."""
        bench = BrokerBench()
        bench.ask(b"1", b"2")
        bench.away.add(b"A")
        bench.ready(b"A")
        self.assertEqual((bench.lost, bench.broker.queues.waiting), ([b"A"], 2))
        bench.ready(b"B", credit=2)
        self.assertEqual(bench.sent(), [(b"B", b"1"), (b"B", b"2")])

    def test_inFlight(self) -> None:
        """The worker's requests are moved in order; the first may have been run, so it counts as an attempt."""
        bench = BrokerBench()
        bench.ready(b"A", credit=2)
        (one,) = bench.ask(b"1")
        bench.away.add(b"A")
        bench.ask(b"2")
        self.assertEqual((one.deaths, bench.broker.queues.waiting), (1, 2))
        bench.ready(b"B", credit=2)
        bench.reply(b"B", one)
        self.assertEqual(bench.sent()[1:], [(b"B", b"1"), (b"B", b"2")])

    def test_orderFromBacklog(self) -> None:
        """The request at the front stays there while others find a worker."""
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
        """Requests that were sent together and did not arrive wait in order, behind what the worker held before."""
        bench = BrokerBench()
        bench.ready(b"A", credit=4)
        bench.ask(b"1")
        bench.away.add(b"A")
        requests = [Request([name, b""], [name]) for name in (b"2", b"3", b"4")]
        for request in requests:
            bench.broker.requestReceived(request)
        bench.check()
        self.assertEqual([request.deaths for request in requests], [0, 0, 0])
        bench.sent()
        for name in (b"B", b"C", b"D", b"E"):
            bench.ready(name)
        self.assertEqual(bench.sent(), [(b"B", b"1"), (b"C", b"2"), (b"D", b"3"), (b"E", b"4")])

    def test_missedByOneThatLeaves(self) -> None:
        """A request that did not reach a worker goes to another at once; the worker keeps the rest until its end."""
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
        self.assertEqual(one.deaths, 0)

    def missByTwo(self, bench: BrokerBench) -> list[Request]:
        """Have two workers reply to what they held before what they were sent later turns out to be missing."""
        bench.ready(b"A", b"B", credit=2)
        one, two = bench.ask(b"1", b"2")
        bench.away |= {b"A", b"B"}
        later = [Request([name, b""], [name]) for name in (b"3", b"4")]
        for request in later:
            bench.broker.requestReceived(request)
        bench.broker.dispatcher.replyReceived(b"A", one.brokerId, one.body)
        bench.broker.dispatcher.replyReceived(b"B", two.brokerId, two.body)
        bench.sent()
        return later

    def test_missedByTwo(self) -> None:
        """While what one worker did not get finds another, nothing of what the second did not get is lost."""
        bench = BrokerBench()
        self.missByTwo(bench)
        bench.check()
        self.assertEqual((bench.broker.queues.waiting, bench.broker.dispatcher.inFlight), (2, 0))
        bench.ready(b"C", credit=2)
        self.assertEqual(bench.sent(), [(b"C", b"3"), (b"C", b"4")])

    def test_missedByTwoForAMoment(self) -> None:
        """A worker that did not get a message gets no more requests, even if it could be reached again."""
        bench = BrokerBench()
        bench.endsAreReported = True
        self.missByTwo(bench)
        bench.away.clear()
        bench.check()
        self.assertEqual((bench.sent(), bench.broker.queues.waiting, bench.broker.dispatcher.idle), ([], 2, 2))

    def test_missedByTwoThatAreRemoved(self) -> None:
        """What one worker did not get does not go to the other, which is about to be removed as well."""
        bench = BrokerBench()
        later = self.missByTwo(bench)
        bench.away.clear()
        bench.check()
        self.assertEqual((bench.sent(), bench.broker.queues.waiting), ([], 2))
        self.assertEqual([request.deaths for request in later], [0, 0])

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
        """A worker that did not get the heartbeat is asked again."""
        bench = BrokerBench(deliveryTimeout=5)
        bench.ready(b"A")
        (one,) = bench.ask(b"1")
        bench.away.add(b"A")
        bench.tick(5)
        bench.check()
        bench.away.clear()
        bench.sent()
        bench.tick(10)
        self.assertEqual(bench.sent(), [(b"A", HEARTBEAT)])
        bench.broker.dispatcher.workerAlive(b"A")
        bench.check()
        self.assertEqual((bench.sent(), one.deaths), ([(b"A", b"1")], 0))

    def test_lostOnTheWay(self) -> None:
        """The job of a worker that did not get its first request begins with the next one that it got."""
        bench = BrokerBench(deliveryTimeout=5, jobTimeout=20, cancelGrace=8)
        bench.ready(b"A", credit=2)
        first, second = bench.askNatively(b"1", b"2")
        bench.tick(5)
        bench.broker.cancel(first)
        bench.reply(b"A", second)
        bench.ask(b"3")
        bench.tick(12)
        bench.broker.dispatcher.workerAlive(b"A")
        bench.check()
        for now in (13, 25):
            bench.tick(now)
        self.assertEqual(
            (bench.givenUp, bench.broker.dispatcher.inFlight), ([(b"1", "cancelled", "its client cancelled it")], 1)
        )
        bench.tick(32)
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


class BusyTests(SynchronousTestCase):
    """Changes of workers between idle and busy."""

    def test_changes(self) -> None:
        """Each change is reported once: at the first request of a worker, and at its last reply."""
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


class PackBench(BrokerBench):
    """
    A bench that notes what may go to a worker in one message.

    :ivar packs: the numbers of requests that were posted together.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.packs: list[int] = []

    def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """Note how many there are."""
        self.packs.append(len(requests))
        super().postRequests(worker, requests, bodies)


class PackTests(SynchronousTestCase):
    """Requests and replies that go in one message."""

    def setUp(self) -> None:
        """Make a broker with a worker that may hold eight requests."""
        self.bench = PackBench()
        self.bench.ready(b"A", credit=8, packs=True)

    def ask(self, count: int) -> list[Request]:
        """Request so many jobs."""
        return self.bench.ask(*(b"%d" % number for number in range(count)))

    def test_half(self) -> None:
        """A worker that may hold many is sent more when half is done, at once and in order."""
        requests = self.ask(20)
        self.assertEqual(len(self.bench.sent()), 8)
        self.bench.packs.clear()
        self.bench.reply(b"A", *requests[:3])
        self.assertEqual(self.bench.sent(), [])
        self.bench.reply(b"A", requests[3])
        self.assertEqual(self.bench.sent(), [(b"A", b"%d" % number) for number in range(8, 12)])
        self.assertEqual(self.bench.packs, [4])
        self.bench.replyPacked(b"A", *requests[4:12])
        self.assertEqual(self.bench.sent(), [(b"A", b"%d" % number) for number in range(12, 20)])
        self.assertEqual(self.bench.packs[1:], [7])
        self.bench.replyPacked(b"A", *requests[12:])
        self.assertEqual([body for _, body in self.bench.replies()], [b"%d" % number for number in range(20)])

    def test_few(self) -> None:
        """A worker that may hold fewer than four, or executes all at once, is sent another for each reply."""
        for info in (Announcement("", 3, pack=True), Announcement("", 8, concurrency=8, pack=True)):
            bench = PackBench()
            bench.broker.dispatcher.workerReady(b"A", info)
            requests = bench.ask(*(b"%d" % number for number in range(20)))
            self.assertEqual(len(bench.sent()), info.credit)
            bench.reply(b"A", requests[0])
            self.assertEqual(bench.sent(), [(b"A", b"%d" % info.credit)])

    def test_onlyIfAnnounced(self) -> None:
        """Nothing is packed for a worker that has not announced it, wants the context, or serves several names."""
        for info in (
            Announcement("", 8),
            Announcement("", 8, True, pack=True),
            Announcement("", 8, services=("", "a"), pack=True),
            Announcement("", 8, concurrency=8, pack=True),
        ):
            bench = PackBench()
            bench.broker.dispatcher.workerReady(b"A", info)
            requests = bench.ask(*(b"%d" % number for number in range(20)))
            bench.reply(b"A", *requests[:8])
            self.assertEqual((len(bench.sent()) >= 12, bench.packs), (True, []))

    def test_large(self) -> None:
        """A large body, or one of several frames, goes by itself, in its turn."""
        self.ask(8)
        bodies = [[b"a"], [b"x" * PACKED_SIZE], [b"x" * (PACKED_SIZE + 1)], [b"b"], [b"c", b"d"], [b"e"]]
        more = [self.bench.receive(Request([b"c%d" % number, b""], body)) for number, body in enumerate(bodies)]
        self.bench.packs.clear()
        self.bench.framesToWorkers.clear()
        self.bench.replyPacked(b"A", *list(self.bench.broker.dispatcher.workers[b"A"].inFlight.values())[:6])
        self.assertEqual([each[2] for each in self.bench.framesToWorkers], [each.brokerId for each in more])
        self.assertEqual(self.bench.packs, [2, 1, 1])

    def test_alone(self) -> None:
        """A request with a single attempt is never together with others, and those behind it wait."""
        first = self.ask(3)
        self.bench.sent()
        [single] = self.bench.askNatively(b"single", attempts=1)
        self.ask(2)
        self.assertEqual(self.bench.sent(), [])
        self.bench.replyPacked(b"A", *first)
        self.assertEqual(self.bench.sent(), [(b"A", b"single")])
        self.bench.replyPacked(b"A", single)
        self.assertEqual(self.bench.sent(), [(b"A", b"0"), (b"A", b"1")])

    def test_expired(self) -> None:
        """A request whose deadline has passed is not packed; the others are."""
        self.ask(8)
        self.bench.askNatively(b"late", timeout_ms=1000)
        self.ask(2)
        self.bench.sent()
        self.bench.broker.deadlines.now = 2.0
        self.bench.replyPacked(b"A", *self.bench.broker.dispatcher.workers[b"A"].inFlight.values())
        self.assertEqual(self.bench.sent(), [(b"A", b"0"), (b"A", b"1")])
        self.bench.tick(2.0)
        self.assertEqual(self.bench.givenUp[-1][:2], (b"late", Code.EXPIRED))

    def test_late(self) -> None:
        """In a packed message only the replies count that are to requests of that worker, and each once."""
        bench = self.bench
        bench.ready(b"B", credit=8, packs=True)
        ours: list[Request] = []
        theirs: list[Request] = []
        for request in self.ask(6):
            (ours if request.holder == b"A" else theirs).append(request)
        bench.replyPacked(b"A", ours[0], theirs[0], ours[1], ours[1], ours[2])
        self.assertEqual((bench.broker.counters.replied, bench.broker.counters.late), (3, 2))
        bench.replyPacked(b"A", *ours)
        bench.replyPacked(b"nobody", *theirs)
        self.assertEqual((bench.broker.counters.replied, bench.broker.counters.late), (3, 8))
        self.assertTrue(bench.broker.dispatcher.isIdle(b"A"))

    def test_lostReplies(self) -> None:
        """A worker that dies with replies unsent costs no request an attempt; each is tried alone."""
        self.ask(4)
        self.bench.sent()
        self.bench.gone(b"A")
        self.bench.ready(b"B", credit=8, packs=True)
        self.assertEqual([request.deaths for request in self.bench.broker.queues.queued()], [0, 0, 0])
        self.assertEqual(self.bench.sent(), [(b"B", b"0")])

    def test_fromGone(self) -> None:
        """Packed replies of a worker that is gone count, if nobody else has replied."""
        requests = self.ask(4)
        self.bench.gone(b"A")
        self.bench.replyPacked(b"A", *requests)
        self.assertEqual((self.bench.broker.counters.replied, self.bench.broker.isQuiet()), (4, True))

    def test_unsent(self) -> None:
        """The requests of a packed message that cannot be sent come back in their order."""
        bench = self.bench
        requests = self.ask(20)
        bench.sent()
        bench.endsAreReported = True
        bench.away.add(b"A")
        bench.replyPacked(b"A", *requests[:4])
        bench.ready(b"B", credit=64)
        self.assertEqual(bench.sent(), [(b"B", b"%d" % number) for number in range(8, 20)])
        self.assertEqual(bench.lost, [b"A"])
        bench.gone(b"A", died=False)
        self.assertEqual(bench.sent(), [(b"B", b"%d" % number) for number in range(4, 8)])

    def test_used(self) -> None:
        """A worker that is to leave after so many requests gets no more, however many go in a message."""
        bench = PackBench()
        bench.ready(b"A", credit=64, packs=True, requestsLeft=10)
        requests = bench.ask(*(b"%d" % number for number in range(20)))
        self.assertEqual([body for _, body in bench.sent()], [*(b"%d" % number for number in range(10)), RETIRE])
        bench.replyPacked(b"A", *requests[:10])
        self.assertEqual((bench.sent(), bench.retired), ([], [b"A"]))
        bench = PackBench()
        bench.ask(*(b"%d" % number for number in range(20)))
        bench.ready(b"A", credit=64, packs=True, requestsLeft=10)
        self.assertEqual([body for _, body in bench.sent()], [*(b"%d" % number for number in range(10)), RETIRE])
        self.assertEqual(bench.packs, [4, 3, 1, 1])

    def test_cancel(self) -> None:
        """A request in a packed message can be cancelled; the others are not affected."""
        bench = PackBench(cancelGrace=5.0)
        bench.ready(b"A", credit=8, packs=True)
        requests = bench.askNatively(*(b"%d" % number for number in range(4)))
        bench.sent()
        bench.broker.cancel(cancelling(requests[2]))
        self.assertEqual(bench.framesToWorkers, [[b"A", b"", CANCEL, requests[2].brokerId]])
        ids = [request.brokerId for request in requests]
        bench.broker.dispatcher.repliesReceived(b"A", ids, [b"r"] * 4)
        bench.check()
        self.assertEqual((bench.broker.counters.replied, bench.broker.counters.late), (3, 1))
        self.assertTrue(bench.broker.dispatcher.isIdle(b"A"))

    def test_tooLong(self) -> None:
        """When a job takes too long, what its worker held besides is alone the next time: it may be the cause."""
        bench = PackBench(jobTimeout=10.0)
        bench.ready(b"A", credit=8, packs=True)
        requests = bench.ask(b"1", b"2", b"3")
        bench.sent()
        bench.tick(11.0)
        self.assertEqual((bench.stopped, [each[:2] for each in bench.givenUp]), ([b"A"], [(b"1", Code.TIMEOUT)]))
        bench.ready(b"B", credit=8, packs=True)
        self.assertEqual(bench.sent(), [(b"B", b"2")])
        bench.tick(22.0)
        self.assertEqual([each[:2] for each in bench.givenUp[1:]], [(b"2", Code.TIMEOUT)])
        self.assertEqual(requests[2].deaths, 0)
