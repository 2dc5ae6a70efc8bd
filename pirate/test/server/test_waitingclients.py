# -*- test-case-name: pirate.test.server.test_waitingclients -*-
"""Which requests are withdrawn when their clients disconnect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.queues import ClientUsage
from pirate.broker.request import NativeRequest, Request, State
from pirate.server.waitingclients import BATCH, WaitingClients


class FakeSender:
    """
    The sender of a request.

    :ivar lookups: how often its connection was looked up.
    :ivar gone: whether its connection is closed for certain.
    """

    def __init__(self, number: int | None, req: bool = False) -> None:
        self.number = number
        self.req = req
        self.lookups = 0
        self.gone = False

    def address(self) -> str | None:
        """Return no address."""
        return None

    def userId(self) -> str | None:
        """Return no user."""
        return None

    def isGone(self) -> bool:
        """Return whether its connection is closed."""
        return self.gone

    def connection(self) -> int | None:
        """Return the number of its connection."""
        self.lookups += 1
        return self.number

    def asksOneByOne(self) -> bool:
        """Return whether it is a REQ socket."""
        return self.req


class WaitingTests(SynchronousTestCase):
    """The clients whose requests wait, and what becomes of the requests."""

    def setUp(self) -> None:
        self.withdrawn: list[Request] = []
        self._number = 0
        self.waiting = WaitingClients(self)

    def withdraw(self, request: Request) -> None:
        """See :class:`~pirate.server.waitingclients.RequestOwner`."""
        self.withdrawn.append(request)

    def wait(self, name: bytes, peer: FakeSender) -> Request:
        """Add a request of a client, and return it."""
        request = Request([name, b""], [b"x"])
        request.state = State.QUEUED
        self._number += 1
        request.brokerId = self._number.to_bytes(8, "big")
        self.waiting.add(request, peer)
        return request

    def test_disconnected(self) -> None:
        """The requests of a connection, and no others, are withdrawn once when it is closed."""
        one, two, other = FakeSender(1), FakeSender(1), FakeSender(2)
        requests = [self.wait(b"\0one", one), self.wait(b"\0one", two)]
        self.wait(b"\0other", other)
        self.waiting.disconnected(1)
        self.waiting.disconnected(1)
        self.waiting.disconnected(99)
        self.assertEqual(self.withdrawn, requests)
        self.assertEqual(len(self.waiting), 1)

    def test_goneWithMany(self) -> None:
        """Very many requests are withdrawn in batches, the oldest first."""
        requests = [self.wait(b"\0one", FakeSender(1)) for _ in range(2 * BATCH + 1)]
        self.waiting.disconnected(1)
        steps = []
        while self.waiting.toWithdraw:
            self.waiting.withdrawBatch()
            steps.append(len(self.withdrawn))
        self.assertEqual(steps, [BATCH, 2 * BATCH, 2 * BATCH + 1])
        self.assertEqual(self.withdrawn, requests)

    def test_lookedUpOnce(self) -> None:
        """The connection of a generated routing id is looked up once, until it is closed."""
        peer = FakeSender(1)
        for _ in range(5):
            self.wait(b"\0one", peer)
        self.assertEqual(peer.lookups, 1)
        self.waiting.disconnected(1)
        self.wait(b"\0two", peer)
        self.assertEqual(peer.lookups, 2)

    def test_comesBack(self) -> None:
        """A client with a routing id of its own that comes back keeps the requests of the new connection."""
        before, after = FakeSender(1), FakeSender(2)
        old = self.wait(b"name", before)
        new = self.wait(b"name", after)
        self.waiting.disconnected(1)
        self.assertEqual(self.withdrawn, [old])
        self.waiting.disconnected(2)
        self.assertEqual(self.withdrawn, [old, new])

    def test_goneWhenLookedUp(self) -> None:
        """Looking up a connection may report the end of an earlier one that had the same number."""
        peer = FakeSender(1)
        old = self.wait(b"name", peer)
        again = FakeSender(1)
        again.connection = lambda: self.waiting.disconnected(1) or 1  # type: ignore[method-assign, func-returns-value]
        new = self.wait(b"name", again)
        self.assertEqual(self.withdrawn, [old])
        self.waiting.disconnected(1)
        self.assertEqual(self.withdrawn, [old, new])

    def test_oneByOne(self) -> None:
        """A new request of a REQ socket withdraws the one before, by whatever connection it comes."""
        first = self.wait(b"\0one", FakeSender(1, req=True))
        second = self.wait(b"\0one", FakeSender(1, req=True))
        self.assertEqual(self.withdrawn, [first])
        named = self.wait(b"name", FakeSender(2, req=True))
        self.wait(b"name", FakeSender(3, req=True))
        self.assertEqual(self.withdrawn, [first, named])
        self.assertIsNot(second, first)

    def test_unknown(self) -> None:
        """Nothing is kept of a client whose connection is not known."""
        self.wait(b"\0one", FakeSender(None))
        self.assertEqual(len(self.waiting), 0)

    def test_goneBefore(self) -> None:
        """A request that is read after its connection was closed is refused, if that is certain."""
        gone = FakeSender(None)
        gone.gone = True
        request = Request([b"\0\0\0\0\1", b""], [b"x"])
        self.assertFalse(self.waiting.add(request, gone))
        self.assertTrue(self.waiting.add(request, FakeSender(None)))

    def test_numberPassedOn(self) -> None:
        """A client whose connection number has passed on to another is recognized by its older routing id."""
        old, new, third = b"\0\xff\xff\xff\xff", b"\0\0\0\0\0", b"\0\0\0\0\1"
        self.wait(old, FakeSender(7))
        self.waiting.disconnected(7)
        self.assertEqual(len(self.withdrawn), 1)
        # No other client has been seen with the number yet.
        self.assertFalse(self.waiting.add(Request([old, b""], [b"x"]), FakeSender(7)))
        self.wait(third, FakeSender(7))
        self.assertFalse(self.waiting.add(Request([new, b""], [b"x"]), FakeSender(7)))
        self.assertEqual((len(self.withdrawn), len(self.waiting)), (1, 1))
        # A new client with a number replaces one whose end was not noticed.
        self.wait(b"\0\0\0\0\2", FakeSender(7))
        self.assertEqual((len(self.withdrawn), len(self.waiting)), (2, 1))

    def test_hungUp(self) -> None:
        """The requests of a client that has hung up are withdrawn, and its later messages are recognized."""
        for name in (b"\0\0\0\0\7", b"name"):
            self.withdrawn.clear()
            request = self.wait(name, FakeSender(7))
            self.waiting.hungUp(7)
            self.assertEqual(self.withdrawn, [request])
            self.assertTrue(
                name in self.waiting.closedConnections and self.waiting.hasDisconnected(name, FakeSender(7))
            )
            self.assertFalse(self.waiting.add(Request([name, b""], [b"x"]), FakeSender(7)))
            self.waiting.disconnected(7)
        # A client with a routing id of its own may come back with the same number.
        self.assertNotIn(b"name", self.waiting.closedConnections)
        self.wait(b"name", FakeSender(7))
        self.assertEqual((len(self.waiting), len(self.withdrawn)), (1, 1))

    def test_heldBack(self) -> None:
        """The connection of a client that exceeds its share is held back until it is closed."""
        for over in (False, True):
            request = Request([b"\0one", b""], [b"x"])
            request.share = ClientUsage()
            request.share.over = over
            self.waiting.add(request, FakeSender(1))
            self.assertEqual(self.waiting.heldBack, {1} if over else set())
        self.waiting.disconnected(1)
        self.assertEqual(self.waiting.heldBack, set())

    def test_refused(self) -> None:
        """So is that of a client with waiting requests of which one is given up: it may hang up as well."""
        self.wait(b"\0one", FakeSender(1))
        self.waiting.noteRefused(b"\0two")
        self.waiting.noteRefused(b"\0one")
        self.assertEqual(self.waiting.takeHeldBack(), {1})

    def waitNatively(self, name: bytes, number: int) -> NativeRequest:
        """Add a native request of a client, and return it."""
        request = NativeRequest([name, b"PIR1" + bytes(16), b""], [b"x"], bytes(16), {})
        request.state = State.QUEUED
        self._number += 1
        request.brokerId = self._number.to_bytes(8, "big")
        self.waiting.add(request, FakeSender(number))
        return request

    def test_native(self) -> None:
        """A native request is withdrawn when its client disconnects."""
        request = self.waitNatively(b"\0one", 1)
        self.waiting.disconnected(1)
        self.assertEqual(self.withdrawn, [request])

    def test_nativeOfTwo(self) -> None:
        """A request that was sent again on another connection is withdrawn when both are closed."""
        for order in ((1, 2), (2, 1)):
            one, two = b"\0one%d" % order[0], b"\0two%d" % order[0]
            request = self.waitNatively(one, 1)
            again = NativeRequest([two, b"PIR1" + bytes(16), b""], [], bytes(16), {})
            request.joined += (again,)
            self.waiting.add(request, FakeSender(2), two)
            self.waiting.disconnected(order[0])
            self.assertEqual(self.withdrawn, [])
            self.waiting.disconnected(order[1])
            self.assertEqual(self.withdrawn, [request])
            self.withdrawn.clear()

    def test_sentAgain(self) -> None:
        """A request that is sent again on the same connection is noted once."""
        request = self.waitNatively(b"\0one", 1)
        for _ in range(100):
            self.waiting.add(request, FakeSender(1), b"\0one")
        self.assertEqual(len(self.waiting), 1)
        self.waiting.disconnected(1)
        self.assertEqual(self.withdrawn, [request])

    def test_many(self) -> None:
        """The record of a client does not grow with its finished requests."""
        peer = FakeSender(1)
        for _ in range(1000):
            self.wait(b"\0one", peer).state = State.DONE
        self.assertLess(len(self.waiting), 20)
