# -*- test-case-name: pirate.test.server.test_pending -*-
"""Clients that wait, and those that do so no more."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.queues import Share
from pirate.broker.request import NativeRequest, Request, State
from pirate.server.pending import MOST, Waiting


class Peer:
    """
    Who sends requests.

    :ivar asked: how often it was asked where it comes from.
    """

    def __init__(self, number: int | None, req: bool = False) -> None:
        self.number = number
        self.req = req
        self.asked = 0
        self.isGoneFor = False

    def address(self) -> str | None:
        """Nowhere."""
        return None

    def userId(self) -> str | None:
        """Nobody."""
        return None

    def isGone(self) -> bool:
        """Whether its connection is closed."""
        return self.isGoneFor

    def connection(self) -> int | None:
        """Its number."""
        self.asked += 1
        return self.number

    def asksOneByOne(self) -> bool:
        """Whether it is a REQ socket."""
        return self.req


class WaitingTests(SynchronousTestCase):
    """Whose requests are withdrawn, and when."""

    def setUp(self) -> None:
        """Nobody waits."""
        self.withdrawn: list[Request] = []
        self._number = 0
        self.waiting = Waiting(self.withdrawn.append)

    def wait(self, name: bytes, peer: Peer) -> Request:
        """A request begins to wait."""
        request = Request([name, b""], [b"x"])
        request.state = State.QUEUED
        self._number += 1
        request.id = self._number.to_bytes(8, "big")
        self.waiting.add(request, peer)
        return request

    def test_gone(self) -> None:
        """All that came by a connection is withdrawn when it is closed, once, and nothing else."""
        one, two, other = Peer(1), Peer(1), Peer(2)
        requests = [self.wait(b"\0one", one), self.wait(b"\0one", two)]
        self.wait(b"\0other", other)
        self.waiting.gone(1)
        self.waiting.gone(1)
        self.waiting.gone(99)
        self.assertEqual(self.withdrawn, requests)
        self.assertEqual(len(self.waiting), 1)

    def test_goneWithMany(self) -> None:
        """Of very many some are withdrawn at a time, the oldest first."""
        requests = [self.wait(b"\0one", Peer(1)) for _ in range(2 * MOST + 1)]
        self.waiting.gone(1)
        steps = []
        while self.waiting.orphans:
            self.waiting.withdraw()
            steps.append(len(self.withdrawn))
        self.assertEqual(steps, [MOST, 2 * MOST, 2 * MOST + 1])
        self.assertEqual(self.withdrawn, requests)

    def test_askedOnce(self) -> None:
        """A client that ZeroMQ named is asked once where it comes from, until its connection is closed."""
        peer = Peer(1)
        for _ in range(5):
            self.wait(b"\0one", peer)
        self.assertEqual(peer.asked, 1)
        self.waiting.gone(1)
        self.wait(b"\0two", peer)
        self.assertEqual(peer.asked, 2)

    def test_comesBack(self) -> None:
        """A client that names itself and comes back by another connection keeps what it asks by that one."""
        before, after = Peer(1), Peer(2)
        old = self.wait(b"name", before)
        new = self.wait(b"name", after)
        self.waiting.gone(1)
        self.assertEqual(self.withdrawn, [old])
        self.waiting.gone(2)
        self.assertEqual(self.withdrawn, [old, new])

    def test_goneWhenAsked(self) -> None:
        """To ask where a client comes from may tell of the end of its last connection, which had the same number."""
        peer = Peer(1)
        old = self.wait(b"name", peer)
        again = Peer(1)
        again.connection = lambda: self.waiting.gone(1) or 1  # type: ignore[method-assign, func-returns-value]
        new = self.wait(b"name", again)
        self.assertEqual(self.withdrawn, [old])
        self.waiting.gone(1)
        self.assertEqual(self.withdrawn, [old, new])

    def test_oneByOne(self) -> None:
        """A REQ socket that asks again does not wait for the first answer any more, by whatever connection it asks."""
        first = self.wait(b"\0one", Peer(1, req=True))
        second = self.wait(b"\0one", Peer(1, req=True))
        self.assertEqual(self.withdrawn, [first])
        named = self.wait(b"name", Peer(2, req=True))
        self.wait(b"name", Peer(3, req=True))
        self.assertEqual(self.withdrawn, [first, named])
        self.assertIsNot(second, first)

    def test_unknown(self) -> None:
        """Of one whose connection is not known, nothing is kept."""
        self.wait(b"\0one", Peer(None))
        self.assertEqual(len(self.waiting), 0)

    def test_goneBefore(self) -> None:
        """What is read of a client after its connection was closed is not taken, if that is known for certain."""
        gone = Peer(None)
        gone.isGoneFor = True
        request = Request([b"\0\0\0\0\1", b""], [b"x"])
        self.assertFalse(self.waiting.add(request, gone))
        self.assertTrue(self.waiting.add(request, Peer(None)))

    def test_numberPassedOn(self) -> None:
        """A client whose connection's number has passed on to another is known by its name, which is older."""
        old, new, third = b"\0\xff\xff\xff\xff", b"\0\0\0\0\0", b"\0\0\0\0\1"
        self.wait(old, Peer(7))
        self.waiting.gone(7)
        self.assertEqual(len(self.withdrawn), 1)
        # Nobody else has been seen with the number yet.
        self.assertFalse(self.waiting.add(Request([old, b""], [b"x"]), Peer(7)))
        self.wait(third, Peer(7))
        self.assertFalse(self.waiting.add(Request([new, b""], [b"x"]), Peer(7)))
        self.assertEqual((len(self.withdrawn), len(self.waiting)), (1, 1))
        # The new owner of a number replaces one that has gone unseen.
        self.wait(b"\0\0\0\0\2", Peer(7))
        self.assertEqual((len(self.withdrawn), len(self.waiting)), (2, 1))

    def test_hungUp(self) -> None:
        """What waits of a client that has hung up is withdrawn, and what is read of it later is known to be its."""
        for name in (b"\0\0\0\0\7", b"name"):
            self.withdrawn.clear()
            request = self.wait(name, Peer(7))
            self.waiting.hungUp(7)
            self.assertEqual(self.withdrawn, [request])
            self.assertTrue(name in self.waiting.departed and self.waiting.hasDeparted(name, Peer(7)))
            self.assertFalse(self.waiting.add(Request([name, b""], [b"x"]), Peer(7)))
            self.waiting.gone(7)
        # One with a name of its own may come back, by the same number.
        self.assertNotIn(b"name", self.waiting.departed)
        self.wait(b"name", Peer(7))
        self.assertEqual((len(self.waiting), len(self.withdrawn)), (1, 1))

    def test_heldBack(self) -> None:
        """The connection of a client with more than its share is noted, until it has gone."""
        for over in (False, True):
            request = Request([b"\0one", b""], [b"x"])
            request.share = Share()
            request.share.over = over
            self.waiting.add(request, Peer(1))
            self.assertEqual(self.waiting.heldBack, {1} if over else set())
        self.waiting.gone(1)
        self.assertEqual(self.waiting.heldBack, set())

    def waitNatively(self, name: bytes, number: int) -> NativeRequest:
        """A native request begins to wait."""
        request = NativeRequest([name, b"PIR1" + bytes(16), b""], [b"x"], bytes(16), {})
        request.state = State.QUEUED
        self._number += 1
        request.id = self._number.to_bytes(8, "big")
        self.waiting.add(request, Peer(number))
        return request

    def test_native(self) -> None:
        """A native request is withdrawn as well when its client goes away."""
        request = self.waitNatively(b"\0one", 1)
        self.waiting.gone(1)
        self.assertEqual(self.withdrawn, [request])

    def test_nativeOfTwo(self) -> None:
        """One that was sent again by another connection is withdrawn when the last of both is closed."""
        for order in ((1, 2), (2, 1)):
            one, two = b"\0one%d" % order[0], b"\0two%d" % order[0]
            request = self.waitNatively(one, 1)
            again = NativeRequest([two, b"PIR1" + bytes(16), b""], [], bytes(16), {})
            request.joined.append(again)
            self.waiting.add(request, Peer(2), two)
            self.waiting.gone(order[0])
            self.assertEqual(self.withdrawn, [])
            self.waiting.gone(order[1])
            self.assertEqual(self.withdrawn, [request])
            self.withdrawn.clear()

    def test_sentAgain(self) -> None:
        """One that is sent again and again by the same connection is noted once."""
        request = self.waitNatively(b"\0one", 1)
        for _ in range(100):
            self.waiting.add(request, Peer(1), b"\0one")
        self.assertEqual(len(self.waiting), 1)
        self.waiting.gone(1)
        self.assertEqual(self.withdrawn, [request])

    def test_many(self) -> None:
        """What is kept of a client does not grow with the number of its requests that have been answered."""
        peer = Peer(1)
        for _ in range(1000):
            self.wait(b"\0one", peer).state = State.DONE
        self.assertLess(len(self.waiting), 20)
