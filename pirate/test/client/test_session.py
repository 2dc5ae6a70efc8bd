# -*- test-case-name: pirate.test.client.test_session -*-
"""The client's core with plain numbers: which connection a call goes to, when it moves, how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.request import NativeRequest, readRequest
from pirate.client import errors
from pirate.client.call import Call
from pirate.client.endpoints import Outage, Peer
from pirate.client.session import ASK_PATIENCE, SIZE_PATIENCE, Session
from pirate.test.support.properties import steady
from pirate.wire.frontend import header
from pirate.wire.words import Code

#: What may happen to a session.
JOBS = ("begin", "reply", "busy", "stop", "lost", "ready", "cancel", "wake", "full")


class FakeConnection:
    """
    A connection that keeps what it is sent.

    :ivar sent: the messages so far.
    :ivar full: whether it takes no more.
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
        """What a broker makes of it: each command, with the first byte of the id."""
        found = []
        for frames in self.sent:
            request = readRequest([b"c", *frames])
            assert isinstance(request, NativeRequest)
            found.append((request.command, request.key[:1]))
        return found


class SessionCase(SynchronousTestCase):
    """
    A session with connections that are fakes.

    :ivar told: what the caller was told while calls waited.
    :ivar ended: the calls that have ended, by the first byte of their ids.
    """

    plain = False

    def setUp(self) -> None:
        """Make the session."""
        self.told: list[Outage] = []
        self.session = Session(self.plain, Random(1), lambda: b"p" * 16, self)
        self.connections: list[FakeConnection] = []
        self.peers: list[Peer] = []
        self.ended: list[str] = []

    def connect(self, endpoint: str) -> None:
        """Open one more connection; see :class:`~pirate.client.session.SessionDriver`."""
        self.add(endpoint)

    def reportOutage(self, outage: Outage) -> None:
        """Record an outage; see :class:`~pirate.client.session.SessionDriver`."""
        self.told.append(outage)

    def add(self, endpoint: str, ready: bool = False) -> Peer:
        """One more connection."""
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
        """Begin a call, whose id is one byte sixteen times."""
        key = b"" if self.plain else name.encode() * 16
        given.setdefault("done", lambda call: self.ended.append(name))
        call = Call([name.encode()], now=now, timeout=timeout, attempts=attempts, endpoint="any", key=key, **given)
        self.session.begin(call, now)
        return call

    def answer(self, number: int, call: Call, now: float = 1.0, *body: bytes, **options: Any) -> None:
        """A message comes on one of the connections."""
        self.session.received(self.peers[number], [header(call.key, options), b"", *(body or (b"x",))], now)

    def refuse(self, number: int, call: Call, code: Code, now: float = 1.0) -> None:
        """A server says that it will not."""
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
        """How many messages each connection was sent."""
        return [len(connection.sent) for connection in self.connections]

    def inFlight(self) -> list[int]:
        """How many calls each connection has in hand."""
        return [peer.inFlight for peer in self.peers]


class ChoiceTests(SessionCase):
    """Where a call goes."""

    def test_fewest(self) -> None:
        """To the connection that has the fewest in hand."""
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
        """Not to one that is not there; with none there it waits, in the order of its coming."""
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
        """What a connection does not take now waits until it does, and nobody overtakes."""
        self.addReady("A")
        self.connections[0].full = True
        self.begin("a")
        self.connections[0].full = False
        self.begin("b")
        self.assertEqual(self.counts(), [0])
        self.session.connected(self.peers[0], 1.0)
        self.assertEqual(self.connections[0].requests(), [("request", b"a"), ("request", b"b")])

    def test_budget(self) -> None:
        """A call that has waited tells the server what is left of its time, less what an answer may take."""
        self.add("A")
        call = self.begin("a")
        self.session.connected(self.peers[0], 4.0)
        request = readRequest([b"c", *self.connections[0].sent[0]])
        assert isinstance(request, NativeRequest)
        self.assertEqual((request.timeout, call.sentAt), (5.5, 4.0))


class RetryTests(SessionCase):
    """When a call is sent again."""

    def test_share(self) -> None:
        """A try that has had its share of the time, and up to a quarter more, is followed by another: elsewhere."""
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
        # The other need not do it any more.
        self.assertIn(("cancel", b"a"), self.connections[1 - first].requests())

    def pings(self) -> int:
        """How many pings were sent."""
        return sum(("ping", b"p") in connection.requests() for connection in self.connections)

    def test_sameAgain(self) -> None:
        """With one connection the same id is sent there again, and the calls in hand stay as many."""
        self.addReady("A")
        call = self.begin("a")
        self.session.wake(call.next)
        self.assertEqual((self.connections[0].requests(), self.inFlight()), ([("request", b"a")] * 2, [1]))

    def test_once(self) -> None:
        """A call with one try is never sent again: not late, not when its connection is lost."""
        self.addReady("A", "B")
        self.begin("a", attempts=1)
        call = self.begin("b", attempts=1)
        self.session.wake(9.9)
        self.session.lost(self.peerOf(call), 9.9)
        self.assertEqual(self.ended, ["b"])
        self.assertIsInstance(call.error, errors.Unavailable)
        self.assertIn("may have run", str(call.error))

    def test_lost(self) -> None:
        """A lost connection's calls go to another at once, with what is left of their time."""
        self.addReady("A", "B")
        calls = [self.begin(name) for name in "abcd"]
        self.session.lost(self.peers[0], 3.0)
        self.assertEqual(self.inFlight(), [0, 4])
        for call in calls:
            self.answer(1, call)
        self.assertEqual(sorted(self.ended), list("abcd"))
        self.assertEqual(self.inFlight(), [0, 0])

    def test_lostAgain(self) -> None:
        """What is sent again after a loss counts: a call is never sent more often than it may be."""
        self.addReady("A")
        call = self.begin("a", attempts=3)
        for now in (1.0, 2.0, 3.0, 4.0):
            self.session.lost(self.peers[0], now)
            self.session.connected(self.peers[0], now + 0.5)
        self.assertEqual((call.sent, self.inFlight(), self.ended), (3, [0], ["a"]))
        self.assertIsInstance(call.error, errors.Unavailable)
        self.assertIn("(3 attempts)", str(call.error))

    def test_lostForGood(self) -> None:
        """A call whose connection does not come back ends as Unavailable; one that nobody answers there, as Timeout."""
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
        """A call of whose answer there were parts is not sent again: they would come twice."""
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
    """What one server will not do, another may."""

    def test_elsewhere(self) -> None:
        """A busy or stopping server's refusal is another's request, even if there is one try only."""
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
        """One that stops is asked last, until it has come back."""
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
        """What says that a request was not run means nothing if it has been sent elsewhere since."""
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
        """Every other error is the caller's at once."""
        self.addReady("A", "B")
        for name, code in zip("abcdef", set(Code) - {Code.BUSY, Code.STOPPING}, strict=False):
            call = self.begin(name)
            self.refuse(self.peers.index(self.peerOf(call)), call, code)
            self.assertEqual(call.error and call.error.code, code)

    def test_denied(self) -> None:
        """If no server lets the client in, what waits ends at once; for a later call they are tried again."""
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
    """What the caller is told while calls wait for a connection."""

    def test_lost(self) -> None:
        """A connection that is lost with calls under way is told at once, and its return, too; each once."""
        self.addReady("A")
        self.begin("a")
        self.begin("b")
        self.session.lost(self.peers[0], 1.0)
        self.session.wake(5.0)
        self.assertEqual(self.told, [Outage("lost", "A", 2)])
        self.assertEqual(str(self.told[0]), "connection to A lost, waiting")
        self.session.connected(self.peers[0], 6.0)
        self.session.connected(self.peers[0], 7.0)
        self.assertEqual(self.told[1:], [Outage("connected", "A", 0)])
        self.assertEqual(self.connections[0].requests(), [("request", b"a"), ("request", b"b")] * 2)

    def test_unreachable(self) -> None:
        """Where there is no connection the caller is told after a second, and when there is one."""
        self.add("A")
        self.begin("a")
        self.assertEqual(self.session.nextWake, 1.0)
        self.session.wake(0.9)
        self.assertEqual(self.told, [])
        self.session.wake(1.0)
        self.session.wake(2.0)
        self.begin("b", 2.0)
        self.session.wake(4.0)
        self.assertEqual((self.told, str(self.told[0])), ([Outage("unreachable", "any", 1)], "waiting for any"))
        self.session.connected(self.peers[0], 5.0)
        self.assertEqual(str(self.told[1]), "connected to A")

    def test_nothingToTell(self) -> None:
        """Nothing is told of a connection that is lost idle, of calls that go elsewhere, or that end in time."""
        self.addReady("A", "B")
        call = self.begin("a")
        at = self.peers.index(self.peerOf(call))
        self.session.lost(self.peers[at], 1.0)
        self.answer(1 - at, call, 2.0)
        self.session.lost(self.peers[1 - at], 2.0)
        late = self.begin("b", 3.0)
        self.session.cancel(late, 3.5)
        self.session.wake(4.0)
        self.assertEqual(self.told, [])


class SizeTests(SessionCase):
    """Requests that are larger than a server takes."""

    def setUp(self) -> None:
        """Each ping has an id of its own."""
        super().setUp()
        ids = count()
        self.session = Session(False, Random(1), lambda: b"p%015d" % next(ids), self)

    def ask(self, size: int, now: float = 0.0, attempts: int = 2, frames: int = 1) -> Call:
        """Begin a call of so many bytes in each of some frames."""
        call = Call(
            [bytes(size)] * frames,
            now=now,
            timeout=10.0,
            attempts=attempts,
            done=lambda call: self.ended.append("l"),
            endpoint="any",
            key=b"l" * 16,
        )
        self.session.begin(call, now)
        return call

    def limit(self, number: int = 0, now: float = 0.1, **limits: int) -> None:
        """The server on a connection answers its last ping."""
        key = self.connections[number].sent[-1][0][4:20]
        self.session.received(self.peers[number], [header(key, {"server": "pirate", **limits}), b"", b""], now)

    def commands(self) -> list[str]:
        """The commands that the first connection was sent."""
        return [name for name, _ in self.connections[0].requests()]

    def test_asksFirst(self) -> None:
        """A very large request waits until the server has told that it takes so much; the next does not wait."""
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
        """One that is larger is refused before it is sent, with both sizes; also the next, without a ping."""
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
        """A large request with which the connection was lost may be the reason: that is asked before it goes again."""
        for attempts in (1, 2):
            self.setUp()
            self.addReady("A")
            call = self.ask(100 << 10, attempts=attempts)
            self.session.lost(self.peers[0], 1.0)
            self.session.connected(self.peers[0], 1.1)
            self.assertEqual(self.commands(), ["request", "ping"])
            self.limit(max_message_size=64 << 10)
            self.assertIsInstance(call.error, errors.TooLarge)
            self.assertEqual(call.error and call.error.sent, 1)

    def test_brokenOtherwise(self) -> None:
        """If it was not, it goes again; if it may not, it ends as it would have."""
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
        """A server that does not answer the ping, or does not tell, is sent the request."""
        self.addReady("A")
        call = self.ask(2 << 20)
        self.session.wake(ASK_PATIENCE)
        self.assertEqual((self.commands(), call.sent), (["ping", "request"], 1))
        self.setUp()
        self.addReady("A")
        call = self.ask(2 << 20)
        self.limit()
        self.assertEqual(call.sent, 1)

    def test_doubtEnds(self) -> None:
        """A request that may not be sent again waits only for a moment to learn whether it was too large."""
        self.addReady("A")
        call = self.ask(100 << 10, attempts=1)
        self.session.lost(self.peers[0], 1.0)
        self.session.wake(1.0 + SIZE_PATIENCE)
        self.assertIsInstance(call.error, errors.Unavailable)
        self.assertIn("lost before the reply came", str(call.error))

    def test_lostWhileHeld(self) -> None:
        """A request that waits for the limits goes elsewhere when the connection is lost; a cancelled one nowhere."""
        self.addReady("A")
        call = self.ask(2 << 20, attempts=1)
        self.session.lost(self.peers[0], 0.5)
        self.session.connected(self.peers[0], 0.6)
        self.assertEqual((self.commands(), call.finished), (["ping", "ping"], False))
        self.session.cancel(call, 0.7)
        self.limit(now=0.8)
        self.assertEqual((call.sent, self.ended, self.inFlight()), (0, ["l"], [0]))

    def test_full(self) -> None:
        """Where the connection takes nothing, the request waits, as any would."""
        self.addReady("A")
        self.connections[0].full = True
        call = self.ask(2 << 20)
        self.assertEqual((self.commands(), self.inFlight(), call.finished), ([], [0], False))
        self.connections[0].full = False
        self.session.connected(self.peers[0], 1.0)
        self.assertEqual(self.commands(), ["ping"])

    def test_close(self) -> None:
        """Closing ends what is held."""
        self.addReady("A")
        call = self.ask(2 << 20)
        self.session.close()
        self.assertEqual((type(call.error), self.session.open), (errors.Cancelled, 0))


class HealthTests(SessionCase):
    """Servers that are there, but do not answer."""

    def wakeUntil(self, end: float) -> None:
        """Let time pass as a face does."""
        while self.session.nextWake <= end:
            self.session.wake(self.session.nextWake)

    def test_ping(self) -> None:
        """With calls in hand, silence leads to a ping, and no answer to that to the calls' removal, and to mistrust."""
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

    def test_pong(self) -> None:
        """One that answers, whatever that is, is trusted, and keeps its calls; so is one that was not, from then on."""
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
        """Without an elsewhere nobody is pinged, and calls stay where they are."""
        self.addReady("A")
        self.begin("a", attempts=1)
        self.wakeUntil(9.0)
        self.assertEqual(self.connections[0].requests(), [("request", b"a")])

    def test_idle(self) -> None:
        """With nothing in hand there is nothing to wake for."""
        self.addReady("A", "B")
        call = self.begin("a")
        self.answer(self.peers.index(self.peerOf(call)), call, 0.5)
        self.wakeUntil(20.0)
        self.assertEqual(self.session.nextWake, float("inf"))

    def test_silent(self) -> None:
        """After a call in silence the connection is replaced before the next, which waits for the new one."""
        self.addReady("A")
        self.begin("a", attempts=1)
        self.session.wake(10.0)
        self.begin("b", 11.0)
        self.assertEqual((self.connections[0].reopened, self.counts(), self.session.open), (1, [1], 1))
        self.session.connected(self.peers[0], 11.0)
        self.assertEqual(self.counts(), [2])

    def test_strange(self) -> None:
        """An answer without the header is no answer, but a hint: if no other comes, plain mode is advised."""
        for frames in ([b"", b"x"], [b"x"], [], [header(b"a" * 16, {}), b""], [b"PIR1", b"", b"x"]):
            self.setUp()
            self.addReady("A")
            call = self.begin("a")
            self.session.received(self.peers[0], frames, 1.0)
            self.session.wake(10.0)
            self.assertIn("plain mode", str(call.error))

    def test_foreign(self) -> None:
        """Another id, an older one, and parts that nobody asked for are passed over."""
        self.addReady("A")
        old, call = self.begin("o"), self.begin("a")
        self.answer(0, old)
        self.answer(0, old)
        self.answer(0, call, 1.0, b"x", status="partial")
        self.session.received(self.peers[0], [header(b"y" * 16, {}), b"", b"x"], 1.0)
        self.assertEqual(self.ended, ["o"])


class EndTests(SessionCase):
    """How calls end, and what is left of them."""

    def test_timeout(self) -> None:
        """At its deadline a call ends, wherever it is, and tells whether it was sent."""
        self.addReady("A")
        sent = self.begin("a", attempts=1)
        self.session.lost(self.peers[0], 0.0)
        waiting = self.begin("b", timeout=3.0)
        self.session.wake(3.0)
        self.assertEqual((type(sent.error), type(waiting.error)), (errors.Unavailable, errors.Unavailable))
        assert waiting.error is not None
        self.assertEqual(waiting.error.sent, 0)

    def test_cancel(self) -> None:
        """A call that is cancelled ends at once, and every server that has it is told."""
        self.addReady("A", "B")
        call = self.begin("a")
        self.session.wake(call.next)
        self.session.cancel(call, 7.0)
        self.session.cancel(call, 7.0)
        self.assertIsInstance(call.error, errors.Cancelled)
        self.assertTrue(all(("cancel", b"a") in connection.requests() for connection in self.connections))
        self.assertEqual((self.ended, self.inFlight()), (["a"], [0, 0]))

    def test_cancelWaiting(self) -> None:
        """One that was not sent never is."""
        self.add("A")
        self.session.cancel(self.begin("a"), 1.0)
        self.session.connected(self.peers[0], 2.0)
        self.assertEqual(self.counts(), [0])

    def test_cancelId(self) -> None:
        """A request of another client is cancelled wherever it may be."""
        self.addReady("A", "B")
        self.session.cancelId(b"z" * 16, 1.0)
        self.assertEqual([connection.requests() for connection in self.connections], [[("cancel", b"z")]] * 2)

    def test_close(self) -> None:
        """All calls end when the session does, and so do those that come later."""
        self.addReady("A")
        calls = [self.begin("a")]
        self.session.lost(self.peers[0], 1.0)
        calls.append(self.begin("b"))
        self.session.close()
        calls.append(self.begin("c"))
        self.assertEqual(self.ended, ["a", "b", "c"])
        self.assertEqual({type(call.error) for call in calls}, {errors.Cancelled})

    def test_bounded(self) -> None:
        """Calls that have ended leave nothing behind, however far their deadlines are."""
        self.addReady("A")
        for _ in range(2000):
            self.answer(0, self.begin("a"))
        self.assertLess(len(self.session._schedule), 300)
        self.assertEqual((self.session.open, self.inFlight()), (0, [0]))

    def test_beginInDone(self) -> None:
        """Whoever is told of an end may begin the next call at once."""
        self.addReady("A")
        call = self.begin("a", done=lambda call: self.ended.append(str(self.begin("b").finished)))
        self.answer(0, call)
        self.assertEqual((self.ended, self.inFlight()), (["False"], [1]))

    @steady
    @given(st.lists(st.tuples(st.sampled_from(JOBS), st.integers(0, 7))))
    def test_anything(self, deeds: list[tuple[str, int]]) -> None:
        """Whatever happens, in whatever order, every call ends once, and what connections have in hand adds up."""
        self.setUp()
        self.addReady("A", "B")
        self.add("C")
        calls: list[Call] = []
        ends: list[Call] = []
        now = 0.0
        for deed, number in deeds:
            peer, call = self.peers[number % 3], calls[number % len(calls)] if calls else None
            now += 0.3
            if deed == "begin":
                key = bytes([len(calls)]) * 16
                attempts = 1 + number % 3
                fresh = Call([b""], now=now, timeout=3.0 + number, attempts=attempts, done=ends.append, key=key)
                calls.append(fresh)
                self.session.begin(fresh, now)
            elif deed == "lost":
                self.session.lost(peer, now)
            elif deed == "ready":
                self.connections[number % 3].full = False
                self.session.connected(peer, now)
            elif deed == "full":
                self.connections[number % 3].full = True
            elif deed == "wake":
                self.session.wake(now)
            elif call is not None and deed == "cancel":
                self.session.cancel(call, now)
            elif call is not None and deed == "reply":
                self.answer(number % 3, call, now)
            elif call is not None:
                self.refuse(number % 3, call, Code.BUSY if deed == "busy" else Code.STOPPING, now)
            held = [sum(each.peer is one for each in calls if not each.finished) for one in self.peers]
            self.assertEqual(self.inFlight(), held)
        while self.session.open:
            self.assertLess(self.session.nextWake, 1000.0)
            self.session.wake(max(now, self.session.nextWake))
        self.assertEqual(len(ends), len(calls))
        self.assertEqual(len({id(each) for each in ends}), len(calls))


class PlainTests(SessionCase):
    """Calls without a header, of which a connection has one in hand at a time."""

    plain = True

    def test_lanes(self) -> None:
        """Calls at the same time have connections of their own, which serve call after call."""
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

    def test_mostLanes(self) -> None:
        """There is an end to the number of connections; what is too much waits its turn."""
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
        """A try, or a call, that was not answered has its connection replaced: what comes there late is not read."""
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
