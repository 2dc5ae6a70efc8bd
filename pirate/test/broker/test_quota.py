# -*- test-case-name: pirate.test.broker.test_quota -*-
"""Which requests are refused before anything is done with them: by a quota, and by the app's own rule."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.quota import Account, Quota, makeRequestFilter
from pirate.hooks import Hooks, RequestFacts
from pirate.settings.limits import PeerLimits
from pirate.test.support.testbed import REQUEST_ID, ProtocolCase
from pirate.wire.frontend import header, parseHeader


class RateTests(SynchronousTestCase):
    """The token bucket."""

    def setUp(self) -> None:
        self.quota = Quota(0, 10, 3)

    def sent(self, client: object, now: float, times: int = 1) -> int:
        """Return how many of a number of messages are accepted."""
        return sum(self.quota.takeToken(self.quota.account(client, now), now) is None for _ in range(times))

    def test_burst(self) -> None:
        """As many messages as the burst may come at once, then none until a token has come back."""
        self.assertEqual(self.sent(1, 100.0, 10), 3)
        self.assertEqual(self.sent(1, 100.05), 0)
        self.assertEqual(self.sent(1, 100.15, 2), 1)

    def test_average(self) -> None:
        """A client that never stops gets its rate, and a refused message takes no token."""
        accepted = sum(self.sent(1, 100 + step / 100) for step in range(1001))
        self.assertIn(accepted, range(102, 105))

    def test_full(self) -> None:
        """A long silence saves up no more than the burst."""
        self.sent(1, 100.0, 3)
        self.assertEqual(self.sent(1, 1000.0, 10), 3)

    def test_apart(self) -> None:
        """The messages of one client take no tokens of another."""
        self.sent(1, 100.0, 10)
        self.assertEqual(self.sent("somebody", 100.0, 10), 3)

    def test_words(self) -> None:
        """The reason tells what is allowed."""
        account = self.quota.account(1, 0.0)
        account.tokens = 0
        self.assertEqual(self.quota.takeToken(account, 0.0), "this client may send 10 requests a second, 3 at once")

    def test_commands(self) -> None:
        """A message that opens no request takes a token, too."""
        account = self.quota.account(1, 0.0)
        self.assertEqual(
            [self.quota.takeToken(account, 0.0, opens=False) is None for _ in range(4)], [True] * 3 + [False]
        )


class OpenTests(SynchronousTestCase):
    """Requests that wait or are in flight."""

    def test_share(self) -> None:
        """A client with as many open requests as it may have is refused one more until one has ended."""
        quota = Quota(2, 0, 1)
        account = quota.account(1, 0.0)
        self.assertIsNone(quota.takeToken(account, 0.0))
        account.open = 2
        self.assertEqual(quota.takeToken(account, 0.0), "2 requests of this client are open, which is the limit")
        self.assertIsNone(quota.takeToken(account, 0.0, opens=False))
        account.open = 1
        self.assertIsNone(quota.takeToken(account, 0.0))

    def test_same(self) -> None:
        """A client keeps its account as long as it has an open request, however long it is silent."""
        quota = Quota(2, 0, 1)
        account = quota.account(1, 0.0)
        account.open = 1
        for other in range(100):
            quota.account(f"other {other}", 1000.0)
        self.assertIs(quota.account(1, 2000.0), account)

    def test_gone(self) -> None:
        """A connection that is closed leaves nothing to the next one with its number."""
        quota = Quota(1, 0, 1)
        account = quota.account(7, 0.0)
        account.open = 1
        quota.gone(7)
        quota.gone(8)
        self.assertEqual(quota.account(7, 0.0).open, 0)
        account.open -= 1


class MemoryTests(SynchronousTestCase):
    """The accounts are limited in number and time."""

    def test_dropped(self) -> None:
        """The accounts of quiet clients are dropped as others come; those with an open request stay."""
        quota = Quota(5, 100, 10)
        kept: list[Account] = []
        for number in range(10_000):
            account = quota.account(number, number / 100)
            quota.takeToken(account, number / 100)
            if number % 1000 == 0:
                account.open = 1
                kept.append(account)
        self.assertLess(len(quota), 200)
        self.assertIs(quota.account(0, 200.0), kept[0])

    def test_constant(self) -> None:
        """With a hundred thousand busy clients each call takes no longer than with a hundred."""

        def cost(clients: int) -> float:
            quota = Quota(5, 1, 10)
            for number in range(clients):
                quota.account(number, 0.0).open = 1
            best = float("inf")
            for _ in range(5):
                began = perf_counter()
                for number in range(200):
                    quota.takeToken(quota.account(number % clients, 1.0), 1.0)
                best = min(best, perf_counter() - began)
            return best

        self.assertLess(cost(100_000), 20 * cost(100))


class Doorkeeper(Hooks):
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self, verdict: Any) -> None:
        self.verdict = verdict
        self.asked: list[RequestFacts] = []

    def allowRequest(self, context: RequestFacts) -> bool | str | None:
        self.asked.append(context)
        if isinstance(self.verdict, Exception):
            raise self.verdict
        result: bool | str | None = self.verdict
        return result


class FilterCase(ProtocolCase):
    """A server that a test starts itself."""

    def setUp(self) -> None:
        super(ProtocolCase, self).setUp()

    def codes(self, count: int, client: bytes = b"n") -> list[str]:
        """
        Send native requests of one client, each with a request id of its own.

        :return: the codes of its answers.
        """
        ids = [client.ljust(8) + b"%08d" % number for number in range(count)]
        for requestId in ids:
            self.native({}, client, requestId)
        answers = [frames[0] for frames in self.frontend.sentTo(client)]
        return [self.code(each) for each in answers if each[4:20] in ids and each[20:]]

    def code(self, frame: bytes) -> str:
        """The code in a native header."""
        parsed = parseHeader(frame)
        assert parsed is not None
        return str(parsed[1].get("code"))


class QuotaTests(FilterCase):
    """The quota of a client."""

    def test_none(self) -> None:
        """Without a limit or a rule there is no filter."""
        self.assertIsNone(makeRequestFilter(PeerLimits(), None))

    def test_open(self) -> None:
        """
        A client's third request gets ``busy`` while two are open, and is counted; another client's is accepted.

        When one of the two has ended, the next is accepted.
        """
        self.begin(peerLimits=PeerLimits(clientRequests=2))
        self.assertEqual(self.codes(4), ["busy", "busy"])
        self.assertEqual(self.codes(1, b"other"), [])
        stats = self.server.stats()
        self.assertEqual((stats["failed"], stats["in_flight"] + stats["backlog"]), ({"busy": 2}, 3))
        self.busy().reply()
        self.settle()
        self.native({}, b"n", b"another request!")
        self.assertEqual(self.server.stats()["failed"], {"busy": 2})

    def test_balance(self) -> None:
        """However requests end, joined, cancelled, refused, lost or withdrawn, the client's quota is free again."""
        self.begin(2, peerLimits=PeerLimits(clientRequests=3))
        self.native({})
        self.native({})
        self.native({"service": "nobody's"}, requestId=b"b" * 16)
        self.native({}, requestId=b"c" * 16)
        self.native({}, requestId=b"d" * 16)
        self.native({"command": "cancel"}, requestId=b"d" * 16)
        for worker in self.bed.livingWorkers():
            worker.process.end(signal="KILL")
        self.settle(10, steps=100)
        for worker in self.bed.livingWorkers():
            worker.autoReply = True
            while worker.inFlight:
                worker.reply()
        self.settle(1, steps=10)
        stats = self.server.stats()
        self.assertEqual((stats["in_flight"], stats["backlog"]), (0, 0))
        for worker in self.bed.livingWorkers():
            worker.autoReply = False
        self.frontend.sent.clear()
        self.assertEqual(self.codes(4), ["busy"])

    def test_rate(self) -> None:
        """Beyond its rate a client gets ``busy``, and may send again a second later; pings count, too."""
        self.begin(peerLimits=PeerLimits(rate=2, burst=2))
        self.native({"command": "ping"})
        self.assertEqual(self.told()["server"], "pirate")
        self.assertEqual(self.codes(2), ["busy"])
        self.settle(0.5)
        self.native({"command": "ping"})
        self.assertEqual(self.told()["server"], "pirate")

    def test_rateOfCommands(self) -> None:
        """A ping or a cancel beyond the rate gets ``busy``, but is no request, so it is not counted as one."""
        self.begin(peerLimits=PeerLimits(rate=2, burst=2))
        self.assertEqual(self.codes(2), [])
        for command in ("ping", "cancel"):
            self.frontend.sent.clear()
            self.native({"command": command})
            self.assertEqual(self.told()["code"], "busy")
        stats = self.server.stats()
        self.assertEqual((stats["received"], stats["failed"]), (2, {}))

    def test_plain(self) -> None:
        """A plain client is sent nothing, but counted, and the log says so."""
        self.begin(peerLimits=PeerLimits(clientRequests=1))
        for _ in range(3):
            self.frontend.receive(b"c", b"", b"x")
        self.settle()
        self.assertEqual((self.frontend.sent, self.server.stats()["failed"]), ([], {"busy": 2}))
        self.assertIn("which its plain client was not told", self.log()[-1])

    def test_user(self) -> None:
        """Two connections of one user have one account."""
        self.begin(peerLimits=PeerLimits(clientRequests=1))
        self.bed.transports[-1].users.update({b"a": "alice", b"b": "alice", b"c": "carol"})
        for client in (b"a", b"b", b"c"):
            self.native({}, client, client * 16)
        self.assertEqual(self.told(b"b", b"b" * 16)["code"], "busy")
        self.assertEqual([self.frontend.sentTo(each) for each in (b"a", b"c")], [[], []])

    def test_reconnected(self) -> None:
        """The account of a connection ends with it, even if its request is still in flight."""
        self.begin(peerLimits=PeerLimits(clientRequests=1))
        self.native({})
        self.bed.transports[-1].disconnectClient(b"n")
        self.native({}, requestId=b"b" * 16)
        self.assertEqual(self.server.stats()["failed"], {})
        self.busy().reply()
        self.settle()
        self.native({}, requestId=b"c" * 16)
        self.assertEqual(self.server.stats()["failed"], {"busy": 1})


class AllowTests(FilterCase):
    """The application's own rule."""

    def beginWith(self, verdict: Any) -> Doorkeeper:
        """Start a server with a rule."""
        keeper = Doorkeeper(verdict)
        self.begin(hooks=keeper)
        return keeper

    def test_asked(self) -> None:
        """The rule gets the address, the user, the service and the size of each request, and of nothing else."""
        keeper = self.beginWith(True)
        self.bed.transports[-1].users[b"n"] = "alice"
        self.native({"service": "resize"})
        self.frontend.receive(b"c", b"", b"ab", b"c")
        self.native({"command": "ping"})
        self.native({"command": "cancel"})
        expected = [RequestFacts("127.0.0.1", "alice", "resize", 4), RequestFacts("127.0.0.1", None, "", 3)]
        self.assertEqual(keeper.asked, expected)

    def test_allowed(self) -> None:
        """``True`` and ``None`` allow a request."""
        for verdict in (True, None):
            self.beginWith(verdict)
            self.native({})
            self.assertEqual(self.server.stats()["in_flight"], 1)
            self.server.abort()
            self.settle()

    def test_refused(self) -> None:
        """``False`` and a reason refuse a request: the client is told, and the app is not called."""
        for verdict, message in ((False, "it is not allowed"), ("not on a Sunday", "not on a Sunday")):
            self.beginWith(verdict)
            self.native({})
            self.assertEqual((self.told()["code"], self.told()["message"]), ("denied", message))
            stats = self.server.stats()
            self.assertEqual((stats["failed"], stats["in_flight"], stats["received"]), ({"denied": 1}, 0, 1))

    def test_raises(self) -> None:
        """A rule that raises refuses, and the log says why, in one line, once a second."""
        self.beginWith(ValueError("a\nb\x1b[2J"))
        for _ in range(5):
            self.frontend.receive(b"n", header(REQUEST_ID, {}), b"", b"x")
        self.settle()
        self.assertEqual(self.told()["code"], "denied")
        lines = [line for line in self.log() if "allowRequest" in line]
        self.assertEqual(len(lines), 1)
        self.assertIn(r"a request was refused: ValueError: a b\x1b[2J", lines[0])

    def test_neither(self) -> None:
        """Any other result, such as a Deferred, refuses, and the log says why."""
        verdicts: list[Any] = [Deferred(), 0, [True]]
        for verdict in verdicts:
            self.beginWith(verdict)
            self.native({})
            self.assertEqual((self.told()["code"], self.server.stats()["in_flight"]), ("denied", 0))
            why = f"a request was refused: it returned a {type(verdict).__name__}, not True, False or a text"
            self.assertEqual(len([line for line in self.log() if why in line]), 1)
            self.server.abort()
            self.settle()
