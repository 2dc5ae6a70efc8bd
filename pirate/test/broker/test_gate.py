# -*- test-case-name: pirate.test.broker.test_gate -*-
"""Which requests are refused before anything is done with them, on a stage."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from pirate.broker.quota import makeRequestFilter
from pirate.hooks import Hooks, RequestContext
from pirate.settings.limits import PeerLimits
from pirate.test.support.testbed import KEY, ProtocolCase
from pirate.wire.frontend import header, parseHeader


class Doorkeeper(Hooks):
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self, verdict: Any) -> None:
        self.verdict = verdict
        self.asked: list[RequestContext] = []

    def allowRequest(self, context: RequestContext) -> bool | str | None:
        self.asked.append(context)
        if isinstance(self.verdict, Exception):
            raise self.verdict
        result: bool | str | None = self.verdict
        return result


class GateCase(ProtocolCase):
    """A server that a test starts itself."""

    def setUp(self) -> None:
        super(ProtocolCase, self).setUp()

    def keys(self, count: int, client: bytes = b"n") -> list[str]:
        """
        So many native requests of one client, each with a key of its own.

        :return: the codes of its answers.
        """
        keys = [client.ljust(8) + b"%08d" % number for number in range(count)]
        for key in keys:
            self.native({}, client, key)
        answers = [frames[0] for frames in self.frontend.sentTo(client)]
        return [self.code(each) for each in answers if each[4:20] in keys and each[20:]]

    def code(self, frame: bytes) -> str:
        """The code in a native header."""
        parsed = parseHeader(frame)
        assert parsed is not None
        return str(parsed[1].get("code"))


class QuotaTests(GateCase):
    """The shares of clients."""

    def test_none(self) -> None:
        """Without a bound or a rule there is nothing to pass."""
        self.assertIsNone(makeRequestFilter(PeerLimits(), None))

    def test_open(self) -> None:
        """
        One client's third request is refused while two are open, told ``busy``, and counted; another's is not.  When
        one is done, the next is accepted.
        """
        self.begin(peerLimits=PeerLimits(clientRequests=2))
        self.assertEqual(self.keys(4), ["busy", "busy"])
        self.assertEqual(self.keys(1, b"other"), [])
        stats = self.server.stats()
        self.assertEqual((stats["failed"], stats["in_flight"] + stats["backlog"]), ({"busy": 2}, 3))
        self.busy().answer()
        self.settle()
        self.native({}, b"n", b"another request!")
        self.assertEqual(self.server.stats()["failed"], {"busy": 2})

    def test_balance(self) -> None:
        """However requests end, joined, cancelled, refused, lost or withdrawn, the client's share is free again."""
        self.begin(2, peerLimits=PeerLimits(clientRequests=3))
        self.native({})
        self.native({})
        self.native({"service": "nobody's"}, key=b"b" * 16)
        self.native({}, key=b"c" * 16)
        self.native({}, key=b"d" * 16)
        self.native({"command": "cancel"}, key=b"d" * 16)
        for worker in self.bed.living():
            worker.process.ends(signal="KILL")
        self.settle(10, steps=100)
        for worker in self.bed.living():
            worker.answering = True
            while worker.held:
                worker.answer()
        self.settle(1, steps=10)
        stats = self.server.stats()
        self.assertEqual((stats["in_flight"], stats["backlog"]), (0, 0))
        for worker in self.bed.living():
            worker.answering = False
        self.frontend.sent.clear()
        self.assertEqual(self.keys(4), ["busy"])

    def test_rate(self) -> None:
        """Beyond its rate a client is told ``busy``, and the next second it is welcome again; pings count, too."""
        self.begin(peerLimits=PeerLimits(rate=2, burst=2))
        self.native({"command": "ping"})
        self.assertEqual(self.told()["server"], "pirate")
        self.assertEqual(self.keys(2), ["busy"])
        self.settle(0.5)
        self.native({"command": "ping"})
        self.assertEqual(self.told()["server"], "pirate")

    def test_plain(self) -> None:
        """A plain client is told nothing, but counted, and the log says so."""
        self.begin(peerLimits=PeerLimits(clientRequests=1))
        for _ in range(3):
            self.frontend.receive(b"c", b"", b"x")
        self.settle()
        self.assertEqual((self.frontend.sent, self.server.stats()["failed"]), ([], {"busy": 2}))
        self.assertIn("which its plain client was not told", self.log()[-1])

    def test_user(self) -> None:
        """Two connections of one user have one share."""
        self.begin(peerLimits=PeerLimits(clientRequests=1))
        self.bed.transports[-1].users.update({b"a": "alice", b"b": "alice", b"c": "carol"})
        for client in (b"a", b"b", b"c"):
            self.native({}, client, client * 16)
        self.assertEqual(self.told(b"b", b"b" * 16)["code"], "busy")
        self.assertEqual([self.frontend.sentTo(each) for each in (b"a", b"c")], [[], []])

    def test_reconnected(self) -> None:
        """A connection that is closed takes its account with it, though its request is still worked on."""
        self.begin(peerLimits=PeerLimits(clientRequests=1))
        self.native({})
        self.bed.transports[-1].vanish(b"n")
        self.native({}, key=b"b" * 16)
        self.assertEqual(self.server.stats()["failed"], {})
        self.busy().answer()
        self.settle()
        self.native({}, key=b"c" * 16)
        self.assertEqual(self.server.stats()["failed"], {"busy": 1})


class AllowTests(GateCase):
    """The application's own rule."""

    def beginWith(self, verdict: Any) -> Doorkeeper:
        """A server with a rule."""
        keeper = Doorkeeper(verdict)
        self.begin(hooks=keeper)
        return keeper

    def test_asked(self) -> None:
        """It is told the address, the user, the service and the size of each request, and of nothing else."""
        keeper = self.beginWith(True)
        self.bed.transports[-1].users[b"n"] = "alice"
        self.native({"service": "resize"})
        self.frontend.receive(b"c", b"", b"ab", b"c")
        self.native({"command": "ping"})
        self.native({"command": "cancel"})
        expected = [RequestContext("127.0.0.1", "alice", "resize", 4), RequestContext("127.0.0.1", None, "", 3)]
        self.assertEqual(keeper.asked, expected)

    def test_allowed(self) -> None:
        """True allows, and so does to say nothing."""
        for verdict in (True, None):
            self.beginWith(verdict)
            self.native({})
            self.assertEqual(self.server.stats()["in_flight"], 1)
            self.server.abort()
            self.settle()

    def test_refused(self) -> None:
        """False and a reason refuse: the client is told, the app is not."""
        for verdict, message in ((False, "it is not allowed"), ("not on a Sunday", "not on a Sunday")):
            self.beginWith(verdict)
            self.native({})
            self.assertEqual((self.told()["code"], self.told()["message"]), ("denied", message))
            stats = self.server.stats()
            self.assertEqual((stats["failed"], stats["in_flight"], stats["received"]), ({"denied": 1}, 0, 1))

    def test_raises(self) -> None:
        """A rule that fails lets nobody in, and says why, in one line, once a second."""
        self.beginWith(ValueError("a\nb\x1b[2J"))
        for _ in range(5):
            self.frontend.receive(b"n", header(KEY, {}), b"", b"x")
        self.settle()
        self.assertEqual(self.told()["code"], "denied")
        lines = [line for line in self.log() if "allowRequest" in line]
        self.assertEqual(len(lines), 1)
        self.assertIn(r"a request was refused: ValueError: a b\x1b[2J", lines[0])

    def test_neither(self) -> None:
        """What is neither a yes nor a no, such as what will be one later, lets nobody in, and the log says why."""
        verdicts: list[Any] = [Deferred(), 0, [True]]
        for verdict in verdicts:
            self.beginWith(verdict)
            self.native({})
            self.assertEqual((self.told()["code"], self.server.stats()["in_flight"]), ("denied", 0))
            why = f"a request was refused: it returned a {type(verdict).__name__}, not True, False or a text"
            self.assertEqual(len([line for line in self.log() if why in line]), 1)
            self.server.abort()
            self.settle()
