# -*- test-case-name: pirate.test.broker.test_replies -*-
"""Errors and replies in parts."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker import replies as replies
from pirate.broker.request import Request
from pirate.test.support.broker import BrokerBench
from pirate.wire.words import Code


class FailureTests(SynchronousTestCase):
    """Errors of the app."""

    def test_native(self) -> None:
        """A native client is sent the error."""
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.askNatively(b"1")
        bench.fail(b"A", one, message="ValueError: x")
        told = {"status": "error", "code": "app-error", "message": "ValueError: x", "attempts": 0}
        self.assertEqual(bench.told(), [(b"1", told)])
        self.assertEqual(bench.broker.counters.failed, {Code.APP_ERROR: 1})
        self.assertTrue(bench.broker.dispatcher.isIdle(b"A"))

    def test_plain(self) -> None:
        """A plain client is sent nothing; the failure is counted and reported."""
        bench = BrokerBench()
        bench.ready(b"A")
        bench.fail(b"A", *bench.ask(b"1"))
        self.assertEqual(bench.replies(), [])
        self.assertEqual(bench.broker.counters.failed, {Code.APP_ERROR: 1})
        self.assertEqual(bench.givenUp, [(b"1", "app-error", "E: x")])

    def test_plainTold(self) -> None:
        """If the server is configured so, the error is a plain client's reply."""
        bench = BrokerBench(errorReply=True)
        bench.ready(b"A")
        bench.fail(b"A", *bench.ask(b"1"))
        ((client, body),) = bench.replies()
        self.assertEqual(client, b"1")
        self.assertEqual(json.loads(body), {"pirate": "error", "code": "app-error", "message": "E: x", "attempts": 0})

    def test_final(self) -> None:
        """An error is final: the request is not tried again."""
        bench = BrokerBench()
        bench.ready(b"A", b"B")
        bench.fail(b"A", *bench.ask(b"1"))
        self.assertEqual(bench.sent(), [(b"A", b"1")])


class PartTests(SynchronousTestCase):
    """Replies in parts."""

    def part(self, bench: BrokerBench, request: Request, body: bytes) -> None:
        """Have a worker send a part."""
        bench.broker.dispatcher.partReceived(b"A", request.brokerId, [body])
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
        """The request of a client that does not read its parts is given up, and its worker told so."""
        bench = BrokerBench()
        bench.ready(b"A")
        (one,) = bench.askNatively(b"1", partial=True)
        bench.sent()
        bench.away.add(b"1")
        self.part(bench, one, b"a")
        self.assertEqual(bench.sent(), [(b"A", one.brokerId)])
        self.assertEqual(bench.broker.counters.failed, {Code.CANCELLED: 1})
        self.part(bench, one, b"b")
        bench.reply(b"A", one)
        self.assertEqual((bench.broker.counters.late, bench.broker.dispatcher.idle), (2, 1))

    def test_joinedBody(self) -> None:
        """The body of a request that joins another is not kept, because it would count towards no limit."""
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
        """The parts that are kept for a client that takes them together are limited."""
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
        """A client that takes parts gets all of them; beyond the limit they are not kept for a retry."""
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
