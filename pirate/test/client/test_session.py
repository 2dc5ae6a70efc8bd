# -*- test-case-name: pirate.test.client.test_session -*-
"""Tests of the session with plain numbers: which connection a call goes to, when it moves, how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.request import NativeRequest, readRequest
from pirate.client import errors
from pirate.client.call import Call
from pirate.client.endpoints import Outage, Peer
from pirate.client.session import ASK_PATIENCE, SIZE_PATIENCE, Session
from pirate.test.support.properties import steady
from pirate.wire.frontend import REPLY_BATCH_HEADER, header, packReplies, parseHeader, parseRequests
from pirate.wire.words import MAX_BATCH, MAX_BATCHED_BYTES, Code

#: The events of a session.
EVENTS = (
    *("begin", "reply", "busy", "stop", "lost", "ready", "cancel", "wake", "full"),
    *("collect", "flush", "replies", "malformed"),
)
#: The options of the answer of a server that does not know batches.
REFUSED = {"status": "error", "code": "malformed", "message": "", "attempts": 0}


class FakeConnection:
    """
    A connection that records the messages it is sent.

    :ivar sent: the messages.
    :ivar full: whether it accepts no more.
    :ivar reopened: how often it was replaced.
    """

    def __init__(self) -> None:
        self.sent: list[list[bytes]] = []
        self.full = False
        self.reopened = 0

    def send(self, frames: Sequence[bytes]) -> bool:
        """See :class:`~pirate.client.endpoints.MessageSink`."""
        if not self.full:
            self.sent.append(list(frames))
        return not self.full

    def reopen(self) -> None:
        """See :class:`~pirate.client.endpoints.MessageSink`."""
        self.reopened += 1

    def requests(self) -> list[tuple[str, bytes]]:
        """Return the requests as a broker reads them: each command, with the first byte of the id."""
        found = []
        for frames in self.sent:
            request = readRequest([b"c", *frames])
            assert isinstance(request, NativeRequest)
            found.append((request.command, request.requestId[:1]))
        return found


class SessionCase(SynchronousTestCase):
    """
    A session with fake connections; this is its driver.

    :ivar outages: the outages that were reported.
    :ivar ended: the calls that have ended, by the first byte of their ids.
    """

    plain = False

    def setUp(self) -> None:
        """Make a session."""
        self.outages: list[Outage] = []
        self.session = Session(self.plain, Random(1), lambda: b"p" * 16, self)
        self.connections: list[FakeConnection] = []
        self.peers: list[Peer] = []
        self.ended: list[str] = []

    def connect(self, endpoint: str) -> None:
        """Open one more connection; see :class:`~pirate.client.session.SessionDriver`."""
        self.add(endpoint)

    def reportOutage(self, outage: Outage) -> None:
        """Record an outage; see :class:`~pirate.client.session.SessionDriver`."""
        self.outages.append(outage)

    def add(self, endpoint: str, ready: bool = False) -> Peer:
        """Add a connection."""
        connection = FakeConnection()
        peer = self.session.add(endpoint, connection)
        self.connections.append(connection)
        self.peers.append(peer)
        if ready:
            self.session.connected(peer, 0.0)
        return peer

    def addReady(self, *endpoints: str) -> None:
        """Add connections that are ready at second 0."""
        for endpoint in endpoints:
            self.add(endpoint, ready=True)

    def begin(self, name: str, now: float = 0.0, timeout: float = 10.0, attempts: int = 2, **given: Any) -> Call:
        """Begin a call whose id is one byte sixteen times."""
        requestId = b"" if self.plain else name.encode() * 16
        given.setdefault("done", lambda call: self.ended.append(name))
        call = Call(
            [name.encode()], now=now, timeout=timeout, attempts=attempts, endpoint="any", request=requestId, **given
        )
        self.session.begin(call, now)
        return call

    def answer(self, number: int, call: Call, now: float = 1.0, *body: bytes, **options: Any) -> None:
        """Deliver a reply on one of the connections."""
        self.session.received(self.peers[number], [header(call.request, options), b"", *(body or (b"x",))], now)

    def refuse(self, number: int, call: Call, code: Code, now: float = 1.0) -> None:
        """Deliver a server's refusal."""
        self.answer(number, call, now, b"", status="error", code=code, message="", attempts=0)

    def body(self, call: Call) -> list[bytes]:
        """Return the frames of a call's reply."""
        assert call.reply is not None
        return list(call.reply.body)

    def peerOf(self, call: Call) -> Peer:
        """Return the connection that a call was sent on."""
        assert call.peer is not None
        return call.peer

    def counts(self) -> list[int]:
        """Return how many messages each connection was sent."""
        return [len(connection.sent) for connection in self.connections]

    def inFlight(self) -> list[int]:
        """Return how many calls each connection has in flight."""
        return [peer.inFlight for peer in self.peers]


class ChoiceTests(SessionCase):
    """The choice of a connection."""

    def test_fewest(self) -> None:
        """A call goes to the connection with the fewest calls in flight."""
        self.addReady("A", "B", "C")
        calls = [self.begin(name) for name in "abcdef"]
        self.assertEqual(self.counts(), [2, 2, 2])
        for call in calls:
            if call.endpoint == "B":
                self.answer(1, call)
        self.begin("g")
        self.begin("h")
        self.assertEqual(self.counts(), [2, 4, 2])

    def test_notThere(self) -> None:
        """A call waits until a connection is ready; calls that wait are sent in order."""
        self.addReady("A")
        self.add("B")
        self.begin("a")
        self.begin("b")
        self.assertEqual(self.counts(), [2, 0])
        self.session.lost(self.peers[0], 1.0)
        self.begin("c", 1.0)
        self.assertEqual(self.counts(), [2, 0])
        self.session.connected(self.peers[1], 2.0)
        self.assertEqual(self.connections[1].requests(), [("request", b"a"), ("request", b"b"), ("request", b"c")])

    def test_full(self) -> None:
        """A call that a connection does not accept waits; no later call overtakes it."""
        self.addReady("A")
        self.connections[0].full = True
        self.begin("a")
        self.connections[0].full = False
        self.begin("b")
        self.assertEqual(self.counts(), [0])
        self.session.connected(self.peers[0], 1.0)
        self.assertEqual(self.connections[0].requests(), [("request", b"a"), ("request", b"b")])

    def test_budget(self) -> None:
        """A call that has waited tells the server the time that is left, less the margin."""
        self.add("A")
        call = self.begin("a")
        self.session.connected(self.peers[0], 4.0)
        request = readRequest([b"c", *self.connections[0].sent[0]])
        assert isinstance(request, NativeRequest)
        self.assertEqual((request.timeout, call.sentAt), (5.5, 4.0))


class RetryTests(SessionCase):
    """Further attempts."""

    def test_share(self) -> None:
        """An attempt gets its share of the time and up to a quarter more; the next one goes to another connection."""
        self.addReady("A", "B")
        call = self.begin("a")
        first = self.peers.index(self.peerOf(call))
        self.session.wake(4.9)
        self.assertEqual(sum(len(connection.sent) for connection in self.connections), 1 + self.pings())
        self.assertTrue(5.0 <= call.next <= 6.25)
        self.session.wake(6.3)
        self.assertEqual(self.inFlight()[first], 0)
        self.assertEqual(call.sent, 2)
        self.answer(first, call, 7.0)
        self.assertEqual((self.ended, self.body(call)), (["a"], [b"x"]))
        # The other server is told to cancel.
        self.assertIn(("cancel", b"a"), self.connections[1 - first].requests())

    def test_errorOfAnEarlierServer(self) -> None:
        """The error of a server names that server, although the call has been sent to another since."""
        self.addReady("A", "B")
        call = self.begin("a")
        first = self.peerOf(call)
        self.session.wake(6.3)
        self.assertIsNot(self.peerOf(call), first)
        self.answer(self.peers.index(first), call, 7.0, b"", status="error", code="timeout", message="", attempts=0)
        assert call.error is not None
        self.assertEqual(call.error.endpoint, first.endpoint)

    def pings(self) -> int:
        """Return how many pings were sent."""
        return sum(("ping", b"p") in connection.requests() for connection in self.connections)

    def test_sameAgain(self) -> None:
        """With one connection the next attempt goes there with the same id, and the calls in flight stay as many."""
        self.addReady("A")
        call = self.begin("a")
        self.session.wake(call.next)
        self.assertEqual((self.connections[0].requests(), self.inFlight()), ([("request", b"a")] * 2, [1]))

    def test_once(self) -> None:
        """A call with one attempt is never sent again: neither late, nor when its connection is lost."""
        self.addReady("A", "B")
        self.begin("a", attempts=1)
        call = self.begin("b", attempts=1)
        self.session.wake(9.9)
        self.session.lost(self.peerOf(call), 9.9)
        self.assertEqual(self.ended, ["b"])
        self.assertIsInstance(call.error, errors.Unavailable)
        self.assertIn("may have run", str(call.error))

    def test_lost(self) -> None:
        """The calls of a lost connection go to another at once, with the time that is left."""
        self.addReady("A", "B")
        calls = [self.begin(name) for name in "abcd"]
        self.session.lost(self.peers[0], 3.0)
        self.assertEqual(self.inFlight(), [0, 4])
        for call in calls:
            self.answer(1, call)
        self.assertEqual(sorted(self.ended), list("abcd"))
        self.assertEqual(self.inFlight(), [0, 0])

    def test_lostAgain(self) -> None:
        """An attempt after a loss counts: a call is never sent more often than ``attempts``."""
        self.addReady("A")
        call = self.begin("a", attempts=3)
        for now in (1.0, 2.0, 3.0, 4.0):
            self.session.lost(self.peers[0], now)
            self.session.connected(self.peers[0], now + 0.5)
        self.assertEqual((call.sent, self.inFlight(), self.ended), (3, [0], ["a"]))
        self.assertIsInstance(call.error, errors.Unavailable)
        self.assertIn("(3 attempts)", str(call.error))

    def test_lostForGood(self) -> None:
        """A call whose connection stays lost ends as Unavailable; one without a reply after that, as Timeout."""
        self.addReady("A")
        lost = self.begin("a")
        self.session.lost(self.peers[0], 1.0)
        self.session.wake(10.0)
        self.assertIsInstance(lost.error, errors.Unavailable)
        self.assertIn("did not come back within 10 s (1 attempt), the job may have run", str(lost.error))
        self.session.connected(self.peers[0], 11.0)
        silent = self.begin("b", 11.0)
        self.session.lost(self.peers[0], 12.0)
        self.session.connected(self.peers[0], 13.0)
        self.session.wake(21.0)
        self.assertEqual((silent.sent, type(silent.error)), (2, errors.Timeout))

    def test_parts(self) -> None:
        """A call is not sent again after a part of its reply has arrived: parts would arrive twice."""
        parts: list[list[bytes]] = []
        self.addReady("A", "B")
        call = self.begin("a", attempts=9, part=parts.append)
        at = self.peers.index(self.peerOf(call))
        self.answer(at, call, 1.0, b"1", status="partial")
        self.answer(1 - at, call, 1.0, b"no", status="partial")
        self.session.wake(9.0)
        self.session.lost(self.peers[at], 9.0)
        self.assertEqual(parts, [[b"1"]])
        self.assertIsInstance(call.error, errors.Unavailable)


class RefusalTests(SessionCase):
    """Requests that one server refuses and another accepts."""

    def test_elsewhere(self) -> None:
        """A request refused by a busy or stopping server goes to another, even with one attempt."""
        for code in (Code.BUSY, Code.STOPPING):
            self.setUp()
            self.addReady("A", "B")
            call = self.begin("a", attempts=1)
            first = self.peers.index(self.peerOf(call))
            self.refuse(first, call, code)
            self.assertEqual((call.finished, self.inFlight()[1 - first]), (False, 1))
            self.refuse(1 - first, call, code)
            self.assertEqual((call.error and call.error.code, self.inFlight()), (code, [0, 0]))

    def test_stopping(self) -> None:
        """A stopping server is chosen last, until its connection is established again."""
        self.addReady("A", "B")
        call = self.begin("a")
        first = self.peers.index(self.peerOf(call))
        self.refuse(first, call, Code.STOPPING)
        for name in "bcd":
            self.begin(name)
        self.assertEqual(self.inFlight()[first], 0)
        self.session.connected(self.peers[first], 2.0)
        self.begin("e")
        self.assertEqual(self.inFlight()[first], 1)

    def test_lateRefusal(self) -> None:
        """An error that says that an attempt did not run is ignored if the call has been sent elsewhere since."""
        self.addReady("A", "B")
        call = self.begin("a")
        first = self.peers.index(self.peerOf(call))
        self.session.wake(call.next)
        for code in (Code.BUSY, Code.STOPPING, Code.EXPIRED, Code.CANCELLED):
            self.refuse(first, call, code, 8.0)
        self.assertFalse(call.finished)
        self.refuse(first, call, Code.APP_ERROR, 8.0)
        self.assertIsInstance(call.error, errors.AppError)

    def test_final(self) -> None:
        """Any other error ends the call at once."""
        self.addReady("A", "B")
        for name, code in zip("abcdef", set(Code) - {Code.BUSY, Code.STOPPING}, strict=False):
            call = self.begin(name)
            self.refuse(self.peers.index(self.peerOf(call)), call, code)
            self.assertEqual(call.error and call.error.code, code)

    def test_denied(self) -> None:
        """If every server rejects the client, waiting calls end at once; a later call opens new connections."""
        self.add("A")
        self.add("B")
        first = self.begin("a")
        self.session.denied(self.peers[0])
        self.assertFalse(first.finished)
        self.session.denied(self.peers[1])
        second = self.begin("b")
        self.assertEqual([connection.reopened for connection in self.connections], [1, 1])
        self.session.denied(self.peers[0])
        self.assertFalse(second.finished)
        self.session.denied(self.peers[1])
        for call in (first, second):
            self.assertIsInstance(call.error, errors.Denied)


class OutageTests(SessionCase):
    """Reports of outages."""

    def test_lost(self) -> None:
        """The loss of a connection with calls in flight is reported at once, and so is its return, each once."""
        self.addReady("A")
        self.begin("a")
        self.begin("b")
        self.session.lost(self.peers[0], 1.0)
        self.session.wake(5.0)
        self.assertEqual(self.outages, [Outage("lost", "A", 2)])
        self.assertEqual(str(self.outages[0]), "connection to A lost, waiting")
        self.session.connected(self.peers[0], 6.0)
        self.session.connected(self.peers[0], 7.0)
        self.assertEqual(self.outages[1:], [Outage("connected", "A", 0)])
        self.assertEqual(self.connections[0].requests(), [("request", b"a"), ("request", b"b")] * 2)

    def test_unreachable(self) -> None:
        """Without a connection an outage is reported after a second, and its end when there is one."""
        self.add("A")
        self.begin("a")
        self.assertEqual(self.session.nextWake, 1.0)
        self.session.wake(0.9)
        self.assertEqual(self.outages, [])
        self.session.wake(1.0)
        self.session.wake(2.0)
        self.begin("b", 2.0)
        self.session.wake(4.0)
        self.assertEqual((self.outages, str(self.outages[0])), ([Outage("unreachable", "any", 1)], "waiting for any"))
        self.session.connected(self.peers[0], 5.0)
        self.assertEqual(str(self.outages[1]), "connected to A")

    def test_nothingToTell(self) -> None:
        """No outage is reported for an idle connection, for calls that go elsewhere, or for calls that end in time."""
        self.addReady("A", "B")
        call = self.begin("a")
        at = self.peers.index(self.peerOf(call))
        self.session.lost(self.peers[at], 1.0)
        self.answer(1 - at, call, 2.0)
        self.session.lost(self.peers[1 - at], 2.0)
        late = self.begin("b", 3.0)
        self.session.cancel(late, 3.5)
        self.session.wake(4.0)
        self.assertEqual(self.outages, [])


class SizeTests(SessionCase):
    """Requests that exceed a server's limits."""

    def setUp(self) -> None:
        """Give each ping an id of its own."""
        super().setUp()
        ids = count()
        self.session = Session(False, Random(1), lambda: b"p%015d" % next(ids), self)

    def ask(self, size: int, now: float = 0.0, attempts: int = 2, frames: int = 1) -> Call:
        """Begin a call with frames of so many bytes."""
        call = Call(
            [bytes(size)] * frames,
            now=now,
            timeout=10.0,
            attempts=attempts,
            done=lambda call: self.ended.append("l"),
            endpoint="any",
            request=b"l" * 16,
        )
        self.session.begin(call, now)
        return call

    def limit(self, number: int = 0, now: float = 0.1, **limits: int) -> None:
        """Answer the last ping of a connection."""
        requestId = self.connections[number].sent[-1][0][4:20]
        self.session.received(self.peers[number], [header(requestId, {"server": "pirate", **limits}), b"", b""], now)

    def commands(self) -> list[str]:
        """Return the commands that the first connection was sent."""
        return [name for name, _ in self.connections[0].requests()]

    def test_asksFirst(self) -> None:
        """A very large request waits until the server has stated its limits; the next one does not wait."""
        self.addReady("A")
        call = self.ask(2 << 20)
        small = self.begin("s")
        self.assertEqual(self.commands(), ["ping", "request"])
        self.answer(0, small)
        self.session.received(self.peers[0], [header(b"p%015d" % 0, {"max_message_size": 4 << 20}), b"", b""], 0.1)
        self.assertEqual((self.commands(), call.sent, self.inFlight()), (["ping", "request", "request"], 1, [1]))
        self.answer(0, call)
        again = self.ask(3 << 20)
        self.assertEqual((again.sent, self.session.open, self.inFlight()), (1, 1, [1]))

    def test_refused(self) -> None:
        """A request that exceeds a limit fails before it is sent, with both sizes; so does the next, without a ping."""
        for limits, words in (
            ({"max_message_size": 1 << 20}, "2097152 bytes in one frame, and the server accepts 1048576"),
            ({"max_message_total": 1 << 20}, "bytes in all, and the server accepts 1048576"),
            ({"max_message_frames": 2}, "3 frames, and the server accepts 2"),
        ):
            self.setUp()
            self.addReady("A")
            call = self.ask(2 << 20)
            self.limit(**limits)
            again = self.ask(2 << 20)
            for each in (call, again):
                self.assertIsInstance(each.error, errors.TooLarge)
                self.assertIn(words, str(each.error))
                self.assertEqual(each.error and each.error.sent, 0)
            self.assertEqual((self.commands(), self.inFlight(), self.session.open), (["ping"], [0], 0))

    def test_broken(self) -> None:
        """A large request whose connection was lost may be the reason: the server is pinged before it is sent again."""
        for attempts, size in ((1, 100 << 10), (2, 100 << 10), (1, 1025), (2, 1025)):
            self.setUp()
            self.addReady("A")
            call = self.ask(size, attempts=attempts)
            self.session.lost(self.peers[0], 1.0)
            self.session.connected(self.peers[0], 1.1)
            self.assertEqual(self.commands(), ["request", "ping"])
            self.limit(max_message_size=1 << 10)
            self.assertIsInstance(call.error, errors.TooLarge)
            self.assertEqual(call.error and call.error.sent, 1)

    def test_brokenOtherwise(self) -> None:
        """
        If it was not the reason, it is sent again; without an attempt left it ends as Unavailable.

        A request that is too small to be the reason ends at once.
        """
        self.addReady("A")
        call = self.ask(100 << 10)
        once = self.begin("s", attempts=1)
        self.session.lost(self.peers[0], 1.0)
        self.assertIsInstance(once.error, errors.Unavailable)
        self.session.connected(self.peers[0], 1.1)
        self.limit(max_message_size=1 << 20)
        self.assertEqual((self.commands(), call.sent), (["request", "request", "ping", "request"], 2))
        self.session.lost(self.peers[0], 2.0)
        self.session.connected(self.peers[0], 2.1)
        self.limit(max_message_size=1 << 20)
        self.assertIsInstance(call.error, errors.Unavailable)

    def test_notToldInTime(self) -> None:
        """A server that does not answer the ping, or states no limits, is sent the request."""
        self.addReady("A")
        call = self.ask(2 << 20)
        self.session.wake(ASK_PATIENCE)
        self.assertEqual((self.commands(), call.sent), (["ping", "request"], 1))
        self.setUp()
        self.addReady("A")
        call = self.ask(2 << 20)
        self.limit()
        self.assertEqual(call.sent, 1)

    def test_checkEnds(self) -> None:
        """A request without an attempt left waits only briefly to learn whether it was too large."""
        self.addReady("A")
        call = self.ask(100 << 10, attempts=1)
        self.session.lost(self.peers[0], 1.0)
        self.session.wake(1.0 + SIZE_PATIENCE)
        self.assertIsInstance(call.error, errors.Unavailable)
        self.assertIn("lost before the reply came", str(call.error))

    def test_lostWhileHeld(self) -> None:
        """A request that waits for the limits moves when the connection is lost, unless it was cancelled."""
        self.addReady("A")
        call = self.ask(2 << 20, attempts=1)
        self.session.lost(self.peers[0], 0.5)
        self.session.connected(self.peers[0], 0.6)
        self.assertEqual((self.commands(), call.finished), (["ping", "ping"], False))
        self.session.cancel(call, 0.7)
        self.limit(now=0.8)
        self.assertEqual((call.sent, self.ended, self.inFlight()), (0, ["l"], [0]))

    def test_full(self) -> None:
        """If the connection does not accept the ping, the request waits like any other."""
        self.addReady("A")
        self.connections[0].full = True
        call = self.ask(2 << 20)
        self.assertEqual((self.commands(), self.inFlight(), call.finished), ([], [0], False))
        self.connections[0].full = False
        self.session.connected(self.peers[0], 1.0)
        self.assertEqual(self.commands(), ["ping"])

    def test_close(self) -> None:
        """Closing the session ends the requests that wait for limits."""
        self.addReady("A")
        call = self.ask(2 << 20)
        self.session.close()
        self.assertEqual((type(call.error), self.session.open), (errors.Cancelled, 0))


class HealthTests(SessionCase):
    """Servers that are connected but do not answer."""

    def wakeUntil(self, end: float) -> None:
        """Wake the session whenever it asks to be woken, until a time."""
        while self.session.nextWake <= end:
            self.session.wake(self.session.nextWake)

    def test_ping(self) -> None:
        """Silence with calls in flight leads to a ping; without an answer the calls move, and later ones too."""
        self.addReady("A", "B")
        call = self.begin("a")
        at = self.peers.index(self.peerOf(call))
        self.wakeUntil(0.9)
        self.assertEqual(self.counts()[at], 1)
        self.wakeUntil(1.5)
        self.assertEqual(self.connections[at].requests()[1:], [("ping", b"p")])
        self.wakeUntil(2.0)
        self.assertEqual((call.endpoint, self.inFlight()[at]), ("BA"[at], 0))
        for name in "bcd":
            self.begin(name, 2.0)
        self.assertEqual(self.inFlight()[at], 0)

    def test_answered(self) -> None:
        """Any message makes a server trusted: it keeps its calls, and one that was suspect gets calls again."""
        self.addReady("A", "B")
        call = self.begin("a")
        at = self.peers.index(self.peerOf(call))
        for now in (1.4, 2.8, 4.2):
            self.wakeUntil(now)
            self.session.received(self.peers[at], [header(b"p" * 16, {"server": "pirate"}), b"", b""], now)
        self.assertIs(call.peer, self.peers[at])
        self.peers[at].suspect = True
        self.session.received(self.peers[at], [b"whatever"], 5.0)
        self.assertFalse(self.peers[at].suspect)

    def test_nowhereElse(self) -> None:
        """With one endpoint no server is pinged, and calls stay where they are."""
        self.addReady("A")
        self.begin("a", attempts=1)
        self.wakeUntil(9.0)
        self.assertEqual(self.connections[0].requests(), [("request", b"a")])

    def test_idle(self) -> None:
        """Without calls in flight the session need not be woken."""
        self.addReady("A", "B")
        call = self.begin("a")
        self.answer(self.peers.index(self.peerOf(call)), call, 0.5)
        self.wakeUntil(20.0)
        self.assertEqual(self.session.nextWake, float("inf"))

    def test_silent(self) -> None:
        """After a call without any message the next one waits for a new connection."""
        self.addReady("A")
        self.begin("a", attempts=1)
        self.session.wake(10.0)
        self.begin("b", 11.0)
        self.assertEqual((self.connections[0].reopened, self.counts(), self.session.open), (1, [1], 1))
        self.session.connected(self.peers[0], 11.0)
        self.assertEqual(self.counts(), [2])

    def test_strange(self) -> None:
        """A reply without the header is ignored, but if no other arrives, the error recommends plain mode."""
        for frames in ([b"", b"x"], [b"x"], [], [header(b"a" * 16, {}), b""], [b"PIR1", b"", b"x"]):
            self.setUp()
            self.addReady("A")
            call = self.begin("a")
            self.session.received(self.peers[0], frames, 1.0)
            self.session.wake(10.0)
            self.assertIn("plain mode", str(call.error))

    def test_foreign(self) -> None:
        """Replies with an unknown or an earlier id are ignored, and so are parts that were not requested."""
        self.addReady("A")
        old, call = self.begin("o"), self.begin("a")
        self.answer(0, old)
        self.answer(0, old)
        self.answer(0, call, 1.0, b"x", status="partial")
        self.session.received(self.peers[0], [header(b"y" * 16, {}), b"", b"x"], 1.0)
        self.assertEqual(self.ended, ["o"])


class EndTests(SessionCase):
    """The ends of calls."""

    def test_timeout(self) -> None:
        """A call ends at its deadline, and its error says whether it was sent."""
        self.addReady("A")
        sent = self.begin("a", attempts=1)
        self.session.lost(self.peers[0], 0.0)
        waiting = self.begin("b", timeout=3.0)
        self.session.wake(3.0)
        self.assertEqual((type(sent.error), type(waiting.error)), (errors.Unavailable, errors.Unavailable))
        assert waiting.error is not None
        self.assertEqual(waiting.error.sent, 0)

    def test_cancel(self) -> None:
        """A cancelled call ends at once, and every server that has it is told."""
        self.addReady("A", "B")
        call = self.begin("a")
        self.session.wake(call.next)
        self.session.cancel(call, 7.0)
        self.session.cancel(call, 7.0)
        self.assertIsInstance(call.error, errors.Cancelled)
        self.assertTrue(all(("cancel", b"a") in connection.requests() for connection in self.connections))
        self.assertEqual((self.ended, self.inFlight()), (["a"], [0, 0]))

    def test_cancelWaiting(self) -> None:
        """A call that was cancelled before it was sent is never sent."""
        self.add("A")
        self.session.cancel(self.begin("a"), 1.0)
        self.session.connected(self.peers[0], 2.0)
        self.assertEqual(self.counts(), [0])

    def test_cancelId(self) -> None:
        """A request of another client is cancelled at every server."""
        self.addReady("A", "B")
        self.session.cancelId(b"z" * 16, 1.0)
        self.assertEqual([connection.requests() for connection in self.connections], [[("cancel", b"z")]] * 2)

    def test_close(self) -> None:
        """Closing the session ends all calls, and those that begin later."""
        self.addReady("A")
        calls = [self.begin("a")]
        self.session.lost(self.peers[0], 1.0)
        calls.append(self.begin("b"))
        self.session.close()
        calls.append(self.begin("c"))
        self.assertEqual(self.ended, ["a", "b", "c"])
        self.assertEqual({type(call.error) for call in calls}, {errors.Cancelled})

    def test_bounded(self) -> None:
        """Calls that have ended leave nothing behind, however far away their deadlines are."""
        self.addReady("A")
        for _ in range(2000):
            self.answer(0, self.begin("a"))
        self.assertLess(len(self.session._schedule), 300)
        self.assertEqual((self.session.open, self.inFlight()), (0, [0]))

    def test_beginInDone(self) -> None:
        """``done`` may begin the next call."""
        self.addReady("A")
        call = self.begin("a", done=lambda call: self.ended.append(str(self.begin("b").finished)))
        self.answer(0, call)
        self.assertEqual((self.ended, self.inFlight()), (["False"], [1]))

    def newCall(self, requestId: bytes, now: float, ends: list[Call]) -> Call:
        """Return a small call."""
        return Call([b"x"], now=now, timeout=5.0, attempts=2, done=ends.append, request=requestId)

    @steady
    @given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 7)), max_size=60))
    def test_anything(self, events: list[tuple[str, int]]) -> None:
        """In any sequence of events every call ends once, and the counts of calls in flight are correct."""
        self.setUp()
        self.addReady("A", "B")
        self.add("C")
        calls: list[Call] = []
        ends: list[Call] = []
        now = 0.0
        for event, number in events:
            peer, call = self.peers[number % 3], calls[number % len(calls)] if calls else None
            now += 0.3
            if event == "begin":
                requestId = bytes([len(calls)]) * 16
                attempts = 1 + number % 3
                fresh = Call(
                    [b""], now=now, timeout=3.0 + number, attempts=attempts, done=ends.append, request=requestId
                )
                calls.append(fresh)
                self.session.begin(fresh, now)
            elif event == "collect":
                for _ in range(number):
                    fresh = self.newCall(bytes([len(calls)]) * 16, now, ends)
                    calls.append(fresh)
                    self.session.collect(fresh, now)
            elif event == "flush":
                self.session.flush(now)
            elif event == "malformed":
                batchId = peer.trial[0] if peer.trial else b"q" * 16
                self.session.received(peer, [header(batchId, REFUSED), b"", b""], now)
            elif event == "replies":
                replies = [(each.request, b"x") for each in calls[: number + 1]] or [(b"q" * 16, b"x")]
                self.session.received(peer, [REPLY_BATCH_HEADER, b"", packReplies(replies)], now)
            elif event == "lost":
                self.session.lost(peer, now)
            elif event == "ready":
                self.connections[number % 3].full = False
                self.session.connected(peer, now)
            elif event == "full":
                self.connections[number % 3].full = True
            elif event == "wake":
                self.session.wake(now)
            elif call is not None and event == "cancel":
                self.session.cancel(call, now)
            elif call is not None and event == "reply":
                self.answer(number % 3, call, now)
            elif call is not None:
                self.refuse(number % 3, call, Code.BUSY if event == "busy" else Code.STOPPING, now)
            held = [sum(each.peer is one for each in calls if not each.finished) for one in self.peers]
            self.assertEqual(self.inFlight(), held)
        self.session.flush(now)
        while self.session.open:
            self.assertLess(self.session.nextWake, 1000.0)
            self.session.wake(max(now, self.session.nextWake))
        self.assertEqual(len(ends), len(calls))
        self.assertEqual(len({id(each) for each in ends}), len(calls))


class BatchTests(SessionCase):
    """Several calls in one message."""

    def collect(self, names: str, now: float = 2.0, **given: Any) -> list[Call]:
        """Begin calls in one moment, each with an id of one byte sixteen times."""
        given = {"body": b"x", "done": lambda call: self.ended.append(call.request[:1].decode()), **given}
        body = given.pop("body")
        calls = [
            Call([body], now=now, timeout=10.0, attempts=2, endpoint="any", request=name.encode() * 16, **given)
            for name in names
        ]
        for call in calls:
            self.session.collect(call, now)
        return calls

    def flushed(self, names: str, now: float = 2.0, **given: Any) -> list[Call]:
        """Begin calls in one moment, and send them."""
        calls = self.collect(names, now, **given)
        self.session.flush(now)
        return calls

    def messages(self, number: int = 0) -> list[str]:
        """Return the first letters of the ids in each message that a connection was sent, and forget the messages."""
        found = []
        for head, _, *body in self.connections[number].sent:
            parsed = parseHeader(head)
            assert parsed is not None
            requests = parseRequests(body) if parsed[1].get("command") == "batch" else None
            names = [parsed[0]] if requests is None else [requestId for requestId, _, _ in requests]
            found.append(b"".join(each[:1] for each in names).decode())
        self.connections[number].sent.clear()
        return found

    def learn(self, *endpoints: str) -> None:
        """Add servers that have shown that they take batches."""
        self.addReady(*(endpoints or "A"))
        for number, peer in enumerate(self.peers):
            self.session.received(peer, [REPLY_BATCH_HEADER, b"", packReplies([(b"q" * 16, b"")])], 1.0)
            self.connections[number].sent.clear()

    def test_learning(self) -> None:
        """Calls go singly until a server is known to be a pirate; then one batch is tried; then all go in batches."""
        self.addReady("A")
        [first, *_] = self.flushed("abc")
        self.assertEqual(self.messages(), ["a", "b", "c"])
        self.answer(0, first)
        self.flushed("def")
        self.assertEqual(self.messages(), ["def"])
        [*_, last] = self.flushed("gh")
        self.assertEqual(self.messages(), ["g", "h"])
        self.answer(0, last)
        self.flushed("ij")
        self.assertEqual(self.messages(), ["i", "j"])
        self.session.received(self.peers[0], [header(b"d" * 16, {}), b"", b"x"], 3.0)
        self.flushed("kl")
        self.assertEqual(self.messages(), ["kl"])

    def test_envelopeRule(self) -> None:
        """A broker that returns the header as it was is never sent a batch."""
        self.addReady("A")
        [call] = self.flushed("a")
        self.answer(0, call, timeout_ms=9500)
        self.assertTrue(call.finished)
        self.flushed("bc")
        self.assertEqual(self.messages(), ["a", "b", "c"])

    def test_unknown(self) -> None:
        """A server that does not know batches is sent the same requests singly, under their ids, and no batch again."""
        self.addReady("A")
        [first] = self.flushed("a")
        self.answer(0, first)
        self.messages()
        calls = self.flushed("bcd")
        self.session.cancel(calls[2], 2.0)
        self.assertEqual(self.messages(), ["bcd", "d"])
        self.session.received(self.peers[0], [header(b"p" * 16, REFUSED), b"", b""], 2.0)
        self.assertEqual(self.messages(), ["b", "c"])
        self.assertEqual([call.sent for call in calls[:2]], [1, 1])
        self.flushed("ef")
        self.assertEqual(self.messages(), ["e", "f"])
        for call in calls[:2]:
            self.answer(0, call)
        self.assertEqual((self.ended, self.inFlight()), (["a", "d", "b", "c"], [2]))

    def test_trialIsShort(self) -> None:
        """The first batch is so short that no server closes the connection because of it; the rest goes singly."""
        self.addReady("A")
        [first] = self.flushed("a")
        self.answer(0, first)
        self.messages()
        self.flushed("bcdef", body=bytes(300))
        self.assertEqual(self.messages(), ["bcd", "e", "f"])

    def test_newServer(self) -> None:
        """After a new connection the server may be another, so it has to show again that it takes batches."""
        self.learn()
        calls = self.flushed("ab")
        self.messages()
        self.session.lost(self.peers[0], 3.0)
        self.session.connected(self.peers[0], 3.0)
        self.flushed("cd")
        self.assertEqual(self.messages(), ["a", "b", "c", "d"])
        self.assertEqual([call.sent for call in calls], [2, 2])

    def test_replies(self) -> None:
        """The replies in one message end their calls; unknown ids, and malformed messages, are ignored."""
        self.learn()
        calls = self.flushed("abc")
        replies = [(b"b" * 16, b"2"), (b"z" * 16, b"0"), (b"a" * 16, b"1")]
        self.session.received(self.peers[0], [REPLY_BATCH_HEADER, b"", packReplies(replies) + b"x"], 3.0)
        self.session.received(self.peers[0], [REPLY_BATCH_HEADER], 3.0)
        self.assertEqual(self.ended, [])
        self.session.received(self.peers[0], [REPLY_BATCH_HEADER, b"", packReplies(replies)], 3.0)
        self.assertEqual((self.ended, self.inFlight()), (["b", "a"], [1]))
        self.assertEqual([self.body(call) for call in calls[:2]], [[b"1"], [b"2"]])

    def test_whatFits(self) -> None:
        """Large calls, those of several frames, streams and those with a trace go singly, and keep their places."""
        self.learn()
        several = Call([b"", b""], now=2.0, timeout=9.0, attempts=1, done=id, request=b"m" * 16)
        self.collect("ab")
        self.collect("c", body=bytes(MAX_BATCHED_BYTES + 1))
        self.collect("de")
        self.session.collect(several, 2.0)
        self.collect("f", part=lambda frames: None)
        self.collect("gh", body=bytes(MAX_BATCHED_BYTES))
        self.collect("i", trace="t")
        self.collect("j")
        self.session.flush(2.0)
        self.assertEqual(self.messages(), ["ab", "c", "de", "m", "f", "gh", "i", "j"])

    def test_services(self) -> None:
        """A batch is for one service, which its header names."""
        self.learn()
        self.collect("ab", service="s")
        self.collect("cd")
        self.session.flush(2.0)
        found = [parseHeader(frames[0]) for frames in self.connections[0].sent]
        self.assertEqual([each[1].get("service") for each in found if each is not None], ["s", None])
        self.assertEqual(self.messages(), ["ab", "cd"])

    def test_most(self) -> None:
        """A batch has at most 64 calls."""
        self.learn()
        self.flushed("".join(map(chr, range(MAX_BATCH + 1))))
        self.assertEqual([len(each) for each in self.messages()], [MAX_BATCH, 1])

    def test_deadlines(self) -> None:
        """The server is told how long each caller waits, and each call is sent again or times out by itself."""
        self.learn()
        [first, second] = self.collect("ab")
        second.deadline, second.expiry = 4.0, 3.9
        self.session.flush(2.0)
        requests = parseRequests(self.connections[0].sent[0][2:])
        assert requests is not None
        self.assertEqual([timeout for _, timeout, _ in requests], [9500, 1900])
        self.messages()
        self.session.received(self.peers[0], [REPLY_BATCH_HEADER], 3.0)
        self.session.wake(4.0)
        self.assertIsInstance(second.error, errors.Timeout)
        self.session.wake(7.0)
        self.assertEqual((self.messages(), first.sent), (["a"], 2))

    def test_full(self) -> None:
        """If the connection accepts no message, the calls wait, in order, and are sent when it does."""
        self.learn()
        self.connections[0].full = True
        calls = self.flushed("ab")
        self.assertEqual((self.inFlight(), [call.sent for call in calls]), ([0], [0, 0]))
        self.flushed("c")
        self.connections[0].full = False
        self.session.connected(self.peers[0], 3.0)
        self.assertEqual(self.messages(), ["a", "b", "c"])

    def test_fullForEver(self) -> None:
        """If the connection never accepts a message, the calls time out."""
        self.learn()
        self.connections[0].full = True
        calls = self.flushed("ab")
        self.assertLessEqual(self.session.nextWake, 12.0)
        self.session.wake(12.0)
        self.assertEqual({type(call.error) for call in calls}, {errors.Unavailable})

    def test_interrupted(self) -> None:
        """Calls whose sending a signal has interrupted are sent by the next flush."""
        self.learn()
        self.collect("ab")
        with mock.patch.object(self.connections[0], "send", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, self.session.flush, 2.0)
        self.assertTrue(self.session.hasCollected)
        self.flushed("c")
        self.assertEqual((self.messages(), self.inFlight()), (["abc"], [3]))

    def test_neverSent(self) -> None:
        """A call that ends or moves before its batch is sent is not in it."""
        self.learn("A", "B")
        [a, b, *_] = self.collect("abcd")
        self.session.cancel(a, 2.0)
        self.session.lost(self.peerOf(b), 2.0)
        self.session.flush(2.0)
        self.assertEqual(sorted("".join(self.messages(0) + self.messages(1))), ["b", "c", "d"])
        self.assertEqual(sum(self.inFlight()), 3)

    def test_several(self) -> None:
        """With several servers the calls are shared out, and each server gets its own in one message."""
        self.learn("A", "B")
        self.flushed("abcd")
        self.assertEqual([len("".join(self.messages(number))) for number in (0, 1)], [2, 2])

    def test_refused(self) -> None:
        """A call of a batch that one server refuses goes to the other, alone."""
        self.learn("A", "B")
        calls = self.flushed("abcd")
        self.messages(0), self.messages(1)
        moved = next(call for call in calls if call.endpoint == "A")
        self.refuse(0, moved, Code.BUSY, 2.0)
        self.assertEqual((len(self.messages(1)), moved.endpoint), (1, "B"))


class PlainTests(SessionCase):
    """Plain calls, of which a connection carries one at a time."""

    plain = True

    def test_connections(self) -> None:
        """Calls in flight have connections of their own, which are used again."""
        self.addReady("A")
        calls = [self.begin(name) for name in "abc"]
        self.assertEqual((self.counts(), len(self.peers)), ([1, 0, 0], 3))
        for number in (1, 2):
            self.session.connected(self.peers[number], 0.0)
        self.assertEqual(self.counts(), [1, 1, 1])
        for number, call in enumerate(calls):
            self.session.received(self.peers[number], [b"%d" % number], 1.0)
            self.assertEqual(self.body(call), [b"%d" % number])
        self.begin("d")
        self.assertEqual((sum(self.counts()), len(self.peers)), (4, 3))

    def test_mostConnections(self) -> None:
        """The number of connections is limited; further calls wait."""
        self.addReady("A")
        for _ in range(200):
            self.begin("a")
            for peer in self.peers:
                if not peer.ready:
                    self.session.connected(peer, 0.0)
        self.assertEqual((len(self.peers), sum(self.counts())), (64, 64))
        self.session.received(self.peers[5], [b"x"], 1.0)
        self.assertEqual((sum(self.counts()), self.inFlight()), (65, [1] * 64))

    def test_late(self) -> None:
        """After an attempt or a call without a reply the connection is replaced, so that a late reply is not read."""
        self.addReady("A")
        call = self.begin("a")
        self.session.wake(call.next)
        self.assertEqual((self.connections[0].reopened, self.counts()), (1, [1]))
        self.session.connected(self.peers[0], 7.0)
        self.assertEqual(self.counts(), [2])
        self.session.wake(10.0)
        self.assertEqual((self.connections[0].reopened, call.finished), (2, True))
        other = self.begin("b", 11.0)
        self.session.connected(self.peers[0], 11.0)
        self.session.cancel(other, 12.0)
        self.assertEqual(self.connections[0].reopened, 3)
