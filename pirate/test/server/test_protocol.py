# -*- test-case-name: pirate.test.server.test_protocol -*-
"""Messages of every kind, and what the server does with them, on a test bed."""

from __future__ import annotations

import re
from typing import Any

from twisted.logger import capturedLogs

import pirate
from pirate.broker.request import Request, RequestFacts
from pirate.hooks import Hooks
from pirate.server import protocol
from pirate.server.logs import MAX_KINDS, MAX_PER_KIND, AppErrorLog, ServerLog
from pirate.server.waitingclients import BATCH
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.test.support.testbed import REQUEST_ID, ProtocolCase
from pirate.wire.frontend import header, packRequests, parseHeader
from pirate.wire.words import ERROR, EXITING, HEARTBEAT, MAX_JSON, PARTIAL, PROCESSING, WAITING


class ClientTests(ProtocolCase):
    """Messages of clients."""

    def test_envelope(self) -> None:
        """An envelope of any frames comes back in front of the reply, in order, and the body is passed on whole."""
        envelope = (b"hop", b"\x00\x00\x00\x01")
        self.frontend.receive(b"c", *envelope, b"", b"a", b"", b"b")
        self.settle()
        worker = self.busy()
        self.assertEqual(worker.inFlight[0][1:], [b"", b"a", b"", b"b"])
        worker.reply()
        self.settle()
        self.assertEqual(self.frontend.sentTo(b"c"), [[*envelope, b"", b"a", b"", b"b"]])

    def test_odd(self) -> None:
        """Clients whose routing ids look like words, or are bytes of any kind, are served like any other."""
        for client in (b"waiting", b"\x00\x80\xff\xfe\x01", b"retire"):
            self.frontend.receive(client, b"", b"x")
            self.settle()
            self.busy().reply()
            self.settle()
            self.assertEqual(self.frontend.sentTo(client), [[b"", b"x"]])

    def test_malformed(self) -> None:
        """A malformed message is dropped and counted by reason, without a reply."""
        for frames in ([], [b"x"], [b"x"] * 40, [b"e", b""]):
            self.frontend.receive(b"c", *frames)
        self.settle()
        self.assertEqual(self.dropped(), {"no-delimiter": 2, "envelope-too-long": 1, "empty-body": 1})
        self.assertEqual((self.frontend.sent, self.server.stats()["received"]), ([], 0))

    def test_greeting(self) -> None:
        """A greeting, which a socket with PROBE_ROUTER sends, is not malformed and gets no reply."""
        self.frontend.receive(b"c", b"")
        self.backend.receive(b"w", b"")
        self.settle()
        self.assertEqual((self.dropped(), self.frontend.sent), ({}, []))

    def test_badHeader(self) -> None:
        """A native client whose header is malformed gets an error."""
        self.native({"timeout_ms": "soon"})
        self.assertEqual((self.told()["status"], self.told()["code"]), ("error", "malformed"))
        self.assertEqual(self.dropped(), {"bad-header": 1})

    def test_ping(self) -> None:
        """The server itself replies to a ping, even while all workers are busy."""
        self.native({"command": "ping"})
        first = self.told()
        self.assertEqual((first["server"], first["version"]), ("pirate", pirate.__version__))
        names = ("state", "workers", "busy", "idle", "backlog")
        self.assertEqual([first[name] for name in names], ["ready", 1, 0, 1, 0])
        for client in (b"a", b"b", b"c"):
            self.bed.request(client, b"x")
        self.native({"command": "ping"})
        self.assertEqual([self.told()[name] for name in names], ["ready", 1, 1, 0, 2])

    def test_dialect(self) -> None:
        """A request of another dialect is a command if its attribute says so."""
        for command, counted in (("ping", 0), ("cancel", 0), ("request", 1)):

            class Dialect(Request):
                """A request of another dialect."""

            Dialect.command = command
            self.patch(protocol, "Request", Dialect)
            before, sent = self.server.stats()["received"], len(self.frontend.sentTo(b"d"))
            self.frontend.receive(b"d", b"", b"x")
            self.settle()
            self.assertEqual(self.server.stats()["received"] - before, counted)
            self.assertEqual(len(self.frontend.sentTo(b"d")) - sent, command == "ping")

    def test_cancelUnknown(self) -> None:
        """A cancel of an unknown request gets an error, and is not counted as a request."""
        self.native({"command": "cancel"})
        self.assertEqual(self.told()["code"], "cancelled")
        self.assertEqual(self.server.stats()["received"], 0)

    def test_cancel(self) -> None:
        """A waiting request that is cancelled is not run."""
        self.native({})
        self.native({"command": "cancel"})
        self.assertEqual(self.told()["code"], "cancelled")
        self.assertEqual(self.server.stats()["failed"], {"cancelled": 1})

    def test_vanished(self) -> None:
        """The waiting request of a plain client that disconnects is not run."""
        self.bed.request(b"a", b"first")
        self.bed.request(b"b", b"second")
        self.bed.transports[0].disconnectClient(b"b")
        self.busy().reply(b"answer")
        self.settle()
        self.assertEqual((self.server.stats()["withdrawn"], self.server.stats()["backlog"]), (1, 0))

    def test_vanishedWithMany(self) -> None:
        """Many waiting requests of a client that disconnects are withdrawn over several turns."""
        self.bed.request(b"a", b"first")
        for _ in range(3 * BATCH):
            self.frontend.receive(b"b", b"", b"x")
        self.settle()
        transport = self.bed.transports[0]
        waiting, turns = self.server.stats()["backlog"], transport.turns
        transport.disconnectClient(b"b")
        self.settle()
        self.assertGreaterEqual(transport.turns - turns, 3)
        self.assertEqual(
            (waiting, self.server.stats()["backlog"], self.server.stats()["withdrawn"]), (3 * BATCH, 0, 3 * BATCH)
        )

    def test_superseded(self) -> None:
        """A new request of a REQ socket replaces its waiting one."""
        self.bed.transports[0].req = True
        self.bed.request(b"a", b"first")
        self.bed.request(b"b", b"second")
        self.bed.request(b"b", b"third")
        self.assertEqual((self.server.stats()["withdrawn"], self.server.stats()["backlog"]), (1, 1))

    def test_unknownService(self) -> None:
        """A request for a service that no worker offers is refused by name; a plain request is served."""
        self.native({"service": "translate"})
        self.assertEqual(self.told()["code"], "unknown-service")
        self.assertIn("translate", self.told()["message"])

    def test_native(self) -> None:
        """A native request gets a reply under its own id."""
        self.native({"timeout_ms": 1000})
        self.busy().reply(b"answer")
        self.settle()
        self.assertEqual(self.frontend.sentTo(b"n"), [[header(REQUEST_ID, {}), b"", b"answer"]])


class PingTests(ProtocolCase):
    """The reply to a ping."""

    def begin(self, workers: int = 1, **given: Any) -> None:
        """Leave the start of a server to each test."""

    def state(self) -> str:
        """Return what a ping is told now."""
        self.native({"command": "ping"})
        told: str = self.told()["state"]
        return told

    def test_life(self) -> None:
        """A server is starting until its workers are ready, then ready, and stopping once it has been asked to stop."""
        self.bed.autoAnnounce = False
        super().begin(2)
        self.bed.workers[0].announce()
        self.settle()
        self.assertEqual((self.state(), self.told()["workers"]), ("starting", 1))
        self.bed.workers[1].announce()
        self.settle()
        self.assertEqual((self.state(), self.told()["workers"]), ("ready", 2))
        self.bed.request(b"c", b"x")
        self.server.stopService()
        self.assertEqual(self.state(), "stopping")

    def test_crashLoop(self) -> None:
        """A server whose workers die soon after they are ready has no workers until one has lasted for a second."""
        super().begin(1)
        self.settle(10)
        self.bed.livingWorkers()[0].process.end(1)
        self.settle()
        self.assertEqual((self.state(), self.told()["workers"]), ("ready", 1))
        for _ in range(3):
            self.bed.livingWorkers()[0].process.end(1)
            self.settle(0.01)
            self.assertEqual((self.state(), self.told()["workers"]), ("no-workers", 0))
            while not self.bed.livingWorkers():
                self.settle(0.01)
            self.settle()
            self.assertEqual((self.state(), self.told()["workers"]), ("no-workers", 1))
        self.settle(1.0)
        self.assertEqual((self.state(), self.told()["workers"]), ("ready", 1))

    def test_onDemand(self) -> None:
        """A server that starts workers on demand is ready; one that may not have any is not."""
        super().begin(0, limits=PoolLimits(minServers=0, maxServers=2, minSpareServers=0))
        self.assertEqual((self.state(), self.told()["workers"]), ("ready", 0))
        self.setUp()
        super().begin(0)
        self.assertEqual(self.state(), "no-workers")

    def test_externalWorkers(self) -> None:
        """External workers make a server ready too."""
        super().begin(0, externalWorkers=True)
        self.backend.connect(b"w")
        self.backend.receive(b"w", b"", WAITING)
        self.settle()
        self.assertEqual((self.state(), self.told()["workers"]), ("ready", 1))

    def test_limits(self) -> None:
        """A ping tells the limits of a message."""
        super().begin(1, peerLimits=PeerLimits(maxMessageSize=0.5, maxMessageTotal=2, maxMessageFrames=9))
        self.state()
        told = [self.told()[f"max_message_{name}"] for name in ("size", "total", "frames")]
        self.assertEqual(told, [1 << 19, 2 << 20, 9])


class WorkerTests(ProtocolCase):
    """Messages of workers."""

    def test_appError(self) -> None:
        """An exception of the app reaches a native client with its type and text, and the worker goes on."""
        self.native({})
        self.busy().fail("ValueError: no \u2603".encode())
        self.settle()
        self.assertEqual((self.told()["code"], self.told()["message"]), ("app-error", "ValueError: no \u2603"))
        self.assertEqual(self.server.stats()["workers"], {"waiting": 1})

    def test_plainAppError(self) -> None:
        """A plain client gets no error by default, and a JSON object with error-reply."""
        self.bed.request(b"c", b"x")
        self.busy().fail(b"ValueError: no")
        self.settle()
        self.assertEqual(self.frontend.sent, [])
        self.begin(errorReply=True)
        self.bed.request(b"c", b"x")
        self.busy().fail(b"ValueError: no")
        self.settle()
        [[delimiter, body]] = self.frontend.sentTo(b"c")
        self.assertEqual(delimiter, b"")
        self.assertIn(b'"message":"ValueError: no"', body)

    def test_errorCodes(self) -> None:
        """An unknown code, or one that is no text, is taken for an error of the app."""
        for code in (b"nonsense", b"\xff"):
            requestId = code.ljust(16)
            self.native({}, requestId=requestId)
            worker = self.busy()
            worker.send(worker.inFlight.pop()[0], ERROR, code, b"\xff!")
            self.settle()
            told = self.told(requestId=requestId)
            self.assertEqual((told["code"], told["message"]), ("app-error", "\ufffd!"))

    def test_spoofed(self) -> None:
        """A reply from a worker that does not hold the request is dropped, and the holder's counts."""
        self.bed.request(b"c", b"x")
        worker = self.busy()
        request = worker.inFlight[0][0]
        self.backend.receive(b"stranger", b"", request, b"", b"spoofed")
        self.backend.receive(worker.identity, b"", b"\x80" * 8, b"", b"no such request")
        self.settle()
        self.assertEqual((self.frontend.sent, self.server.stats()["late"]), ([], 2))
        worker.reply(b"right")
        self.settle()
        self.assertEqual(self.frontend.sentTo(b"c"), [[b"", b"right"]])

    def test_twice(self) -> None:
        """Only the first reply to a request reaches its client."""
        self.bed.request(b"c", b"x")
        worker = self.busy()
        request = worker.inFlight[0][0]
        worker.reply(b"first")
        worker.send(request, b"", b"second")
        self.settle()
        self.assertEqual(self.frontend.sent, [[b"c", b"", b"first"]])

    def test_malformed(self) -> None:
        """A malformed message on the backend is dropped and counted by reason."""
        worker = self.bed.workers[0]
        for frames in ([b"dance"], [WAITING, b"no json"], [b"id", b"what", b"ever"]):
            worker.send(*frames)
        self.backend.receive(worker.identity, b"no delimiter")
        self.settle()
        self.assertEqual(self.dropped(), {"unknown-word": 1, "bad-info": 1, "unknown-reply": 1, "no-delimiter": 1})

    def test_part(self) -> None:
        """A plain client gets the parts of a reply together with the last one."""
        self.bed.request(b"c", b"x")
        worker = self.busy()
        worker.send(worker.inFlight[0][0], PARTIAL, b"half")
        worker.reply(b"whole")
        self.settle()
        self.assertEqual(self.frontend.sentTo(b"c"), [[b"", b"half", b"whole"]])

    def test_credit(self) -> None:
        """A worker that raises its credit is given more requests at a time."""
        for client in (b"a", b"b", b"c"):
            self.bed.request(client, b"x")
        worker = self.busy()
        self.assertEqual(len(worker.inFlight), 1)
        worker.announce(credit=2)
        self.settle()
        self.assertEqual(len(worker.inFlight), 2)

    def test_logged(self) -> None:
        """Dropped messages are logged once a second."""
        for _ in range(1000):
            self.frontend.receive(b"c", b"junk")
        self.settle()
        self.assertEqual(self.dropped(), {"no-delimiter": 1000})
        self.assertEqual(len([line for line in self.log() if "dropped" in line]), 1)


class ErrorTests(ProtocolCase):
    """The log of the errors of the app."""

    def failed(self, client: bytes = b"c", text: bytes = b"ValueError: no", *trail: bytes) -> None:
        """Let the request of a plain client fail."""
        self.bed.request(client, b"x")
        self.busy().fail(text, *trail)
        self.settle()

    def errors(self) -> list[str]:
        """Return the lines about app errors."""
        return [line for line in self.log() if line.startswith("app error")]

    def test_event(self) -> None:
        """An event holds the error, its place, the request, the service and the client, even at log-level 0."""
        self.begin(logLevel=0)
        self.native({})
        request = self.busy().inFlight[0][0].hex()
        self.busy().fail(b"ValueError: no", b"/app.py:3 in app, from /app.py:9 in main")
        self.settle()
        [event] = [event for event in self.events if "error" in event]
        self.assertEqual((event["type"], event["text"], event["service"]), ("ValueError", "no", ""))
        lines = "/app.py:3 in app, from /app.py:9 in main"
        told = f"app error: ValueError: no, at {lines}; request {request} ({REQUEST_ID.hex()}), client {b'n'.hex()}"
        self.assertEqual(self.log()[-1:], [told])

    def test_client(self) -> None:
        """A client is named by its user and its address, as far as they are known."""
        self.bed.transports[-1].users[b"c"] = "alice"
        self.failed()
        self.assertTrue(self.errors()[0].endswith("client alice"), self.errors())
        request = Request([b"c", b""], [b"x"], "sums", "192.0.2.7")
        AppErrorLog(self.reactor, ServerLog(0)).report(request, "ValueError: no", "")
        self.assertTrue(self.errors()[1].endswith(", service 'sums', client 192.0.2.7"), self.errors())

    def test_many(self) -> None:
        """A few errors of one type at one place are logged in a second, then their count; other errors are logged."""
        for _ in range(100):
            self.failed(b"c", b"ValueError: no", b"/app.py:3 in app, from /app.py:9 in main")
        self.failed(b"c", b"ValueError: no", b"/app.py:4 in app")
        self.failed(b"c", b"TypeError: no", b"/app.py:3 in app")
        self.assertEqual(len(self.errors()), MAX_PER_KIND + 2)
        self.settle(1)
        self.assertEqual(
            self.errors()[MAX_PER_KIND + 2 :],
            [f"app error: ValueError, at /app.py:3 in app: {100 - MAX_PER_KIND} more within a second"],
        )
        self.failed(b"c", b"ValueError: no", b"/app.py:3 in app")
        self.assertEqual(len(self.errors()), MAX_PER_KIND + 4)

    def test_kinds(self) -> None:
        """The errors of a worker that makes up types and places without end are counted together."""
        for number in range(MAX_KINDS + 100):
            self.failed(b"c", b"E%d: no" % number)
        self.assertEqual(len(self.errors()), MAX_KINDS + MAX_PER_KIND)
        self.settle(1)
        told = f"app error: errors of other types or places: {100 - MAX_PER_KIND} more within a second"
        self.assertEqual(self.errors()[-1], told)

    def test_stop(self) -> None:
        """The counts are logged when the server stops, and no timer is left."""
        for _ in range(MAX_PER_KIND + 1):
            self.failed()
        self.server.stopService()
        self.settle()
        self.assertTrue(self.errors()[-1].endswith(": 1 more within a second"))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_notTheApp(self) -> None:
        """A cancelled request is no error of the app; nor is a reply that no client waits for."""
        self.native({})
        worker = self.busy()
        request = worker.inFlight.pop()[0]
        worker.send(request, ERROR, b"cancelled", b"it was")
        worker.send(request, ERROR, b"app-error", b"E: late")
        self.settle()
        self.assertEqual(self.errors(), [])

    def test_large(self) -> None:
        """The error text of a worker is cut, so that a client can read it."""
        self.native({})
        self.busy().fail(b"E: " + b"\0" * 100_000, b"x" * 100_000)
        self.settle()
        self.assertEqual(self.told()["code"], "app-error")
        self.assertTrue(self.told()["message"].endswith("..."))
        self.assertLess(len(self.frontend.sentTo(b"n")[-1][0]), MAX_JSON)


class ForeignTests(ProtocolCase):
    """Peers that use the wrong socket, or another protocol, are named in the log."""

    def setUp(self) -> None:
        super().setUp()
        self.transport = self.bed.transports[-1]

    def line(self) -> str:
        """Return the one line about dropped messages."""
        self.settle()
        [line] = [line for line in self.log() if line.startswith("messages")]
        return line

    def assertDropped(self, socket: str, reason: str, who: str) -> None:
        """Check that one message was dropped for a reason, and that the log names its sender."""
        self.assertEqual(
            self.line(), f"messages dropped at the {socket}: {reason} (1); the last one from 127.0.0.1{who}"
        )
        self.assertEqual(self.dropped(), {reason: 1})

    def test_address(self) -> None:
        """The log names the socket, and the address of the last sender."""
        self.frontend.receive(b"c", b"x")
        self.settle()
        self.assertDropped("frontend", "no-delimiter", "")

    def test_backend(self) -> None:
        """The log names the sender of a dropped message of a worker, too."""
        self.backend.receive(b"w", b"", b"dance")
        self.settle()
        self.assertDropped("backend", "unknown-word", "")

    def test_workers(self) -> None:
        """Each message of the workers of the guide's other patterns is recognized."""
        unknown = "; this server does not speak that protocol"
        for reason, who, *frames in (
            ("majordomo-worker", "a Majordomo worker", b"", b"MDPW01", b"\x01", b"echo"),
            ("majordomo-worker", "a Majordomo worker", b"", b"MDPW02", b"\x04"),
            ("majordomo-client", "a Majordomo client", b"", b"MDPC01", b"echo", b"x"),
            ("paranoid-pirate", "a Paranoid Pirate worker", b"\x01"),
            ("paranoid-pirate", "a Paranoid Pirate worker", b"\x02"),
            ("simple-pirate", "a Simple Pirate worker of the guide", b"", b"\x01"),
            ("hashmap-client", "a client of the Clustered Hashmap Protocol", b"HUGZ"),
        ):
            self.tearDownServer()
            self.backend.receive(b"w", *frames)
            self.settle()
            self.assertDropped("backend", reason, f": {who} is calling the backend{unknown}")

    def tearDownServer(self) -> None:
        """Begin with a new server and an empty log."""
        self.server.stopService()
        self.settle(1)
        self.events = self.enterContext(capturedLogs())
        self.begin()

    def test_hashmapClient(self) -> None:
        """A client that asks for the snapshot of a hashmap is recognized."""
        self.frontend.receive(b"c", b"ICANHAZ?", b"")
        self.settle()
        who = "a client of the Clustered Hashmap Protocol is calling the frontend"
        self.assertDropped("frontend", "hashmap-client", f": {who}; this server does not speak that protocol")

    def test_majordomoClient(self) -> None:
        """The log names a Majordomo client, and the app gets its frames as the body."""
        self.bed.request(b"c", b"MDPC01", b"echo", b"x")
        self.assertEqual(self.busy().inFlight[0][2:], [b"MDPC01", b"echo", b"x"])
        self.assertEqual(
            self.line(),
            "messages of another protocol at the frontend: majordomo-client (1); the last one from 127.0.0.1: a "
            "Majordomo client is calling the frontend; this server does not speak that protocol; the app gets its "
            "frames as they are",
        )
        self.assertEqual(self.dropped(), {})

    CLIENT = ": a client is calling the backend, where workers connect; clients call the frontend"

    def test_nativeClient(self) -> None:
        """A native client that calls the backend gets an error that says so."""
        self.backend.receive(b"n", header(REQUEST_ID, {}), b"", b"x")
        self.settle()
        [[frame, delimiter, body]] = self.backend.sentTo(b"n")
        parsed = parseHeader(frame)
        assert parsed is not None
        self.assertEqual((parsed[0], parsed[1]["code"], delimiter, body), (REQUEST_ID, "malformed", b"", b""))
        self.assertIn("a client is calling the backend", parsed[1]["message"])
        self.assertDropped("backend", "client-at-backend", self.CLIENT)

    def test_req(self) -> None:
        """A REQ socket that calls the backend is named in the log."""
        self.transport.req = True
        for frames in ([b"", b"hello"], [b"", b"a", b"b", b"c"], [b"\0\0\0\1", b"", b"x"]):
            self.backend.receive(b"c", *frames)
        self.settle(1)
        self.assertEqual(self.dropped(), {"client-at-backend": 3})
        self.assertEqual(self.backend.sentTo(b"c"), [])
        self.assertIn(f"client-at-backend (1); the last one from 127.0.0.1{self.CLIENT}", "".join(self.log()))


class ExternalTests(ProtocolCase):
    """Workers that are not the server's children."""

    def ten(self, *frames: bytes) -> None:
        """Send a message of the guide's ten-line worker."""
        self.backend.receive(b"child_1", b"", *frames)
        self.settle()

    def test_shut(self) -> None:
        """Without external-workers no other worker is admitted, and each attempt is counted."""
        self.begin(0)
        for word in (WAITING, PROCESSING, EXITING, HEARTBEAT):
            self.ten(word)
        self.bed.request(b"c", b"x")
        self.assertEqual((self.backend.sent, self.dropped()), ([], {"unknown-worker": 4}))

    def test_tenLines(self) -> None:
        """With external-workers, a worker without token or info serves: waiting, processing, reply, waiting."""
        self.begin(0, externalWorkers=True)
        self.ten(WAITING)
        for client in (b"a", b"b"):
            self.bed.request(client, b"x")
        [[_, request, delimiter, body]] = self.backend.sentTo(b"child_1")
        self.assertEqual((delimiter, body), (b"", b"x"))
        self.ten(PROCESSING)
        self.ten(request, b"", b"X")
        self.assertEqual(self.frontend.sentTo(b"a"), [[b"", b"X"]])
        self.assertEqual(len(self.backend.sent), 1)
        self.ten(WAITING)
        self.assertEqual(len(self.backend.sent), 2)

    def test_leaves(self) -> None:
        """A worker that says that it leaves is given no more, and its request goes to another."""
        self.begin(1, externalWorkers=True)
        ours = self.bed.livingWorkers()[-1]
        self.bed.request(b"a", b"busy")
        self.ten(WAITING)
        self.bed.request(b"b", b"moved")
        self.assertEqual(len(self.backend.sentTo(b"child_1")), 1)
        self.ten(EXITING)
        ours.reply()
        self.settle()
        self.assertEqual(ours.inFlight[0][2:], [b"moved"])
        self.assertEqual(self.dropped(), {})


class HostileTests(ProtocolCase):
    """Texts from the wire, and messages that exceed a limit."""

    NAME = "x\n2026-01-01T00:00:00+0000 [-] forged\r\x1b[2J\x1b]0;owned\x07\u202e"

    def test_names(self) -> None:
        """
        No service name, trace, routing id or error of a worker makes a line of its own in the log, or gets a control
        character into it; and none becomes the name of a counter.
        """
        name = self.NAME.encode()
        self.begin(externalWorkers=True)
        self.native({"service": self.NAME})
        self.assertEqual(self.told()["code"], "unknown-service")
        self.native({"trace": self.NAME, "timeout_ms": "x"}, name)
        worker = self.bed.livingWorkers()[-1]
        for code in (b"worker-lost", b"expired", name):
            self.bed.reactor.advance(2)
            self.bed.request(name, b"x")
            worker.send(worker.inFlight.pop(0)[0], ERROR, code, name)
            self.settle()
        self.backend.receive(name, b"", name, b"", b"y")
        self.backend.receive(name, b"", name)
        self.settle(2)
        shown = "".join(self.log())
        self.assertIn(r"\x1b]0;owned\x07", shown)
        self.assertTrue(shown.isprintable(), ascii(shown))
        stats = self.server.stats()
        counters = {*stats["failed"], *stats["dropped"], *stats["exits"]}
        self.assertEqual([each for each in counters if not re.fullmatch("[a-z-]+", each)], [])

    def test_tooMuch(self) -> None:
        """A native client is told which limit its message exceeds, a plain one is not; both are counted by reason."""
        self.frontend.connect(b"n")
        events = self.bed.transports[-1].events
        events.clientMessageRejected([b"n", header(REQUEST_ID, {}), b"", b"x", b"y"], "too-many-frames")
        self.assertEqual(self.told()["code"], "denied")
        self.assertIn("max-message-frames", self.told()["message"])
        events.clientMessageRejected([b"c", b"", b"x"], "too-large")
        events.clientMessageRejected([b"c"], "too-large")
        self.assertEqual(len(self.frontend.sent), 1)
        self.assertEqual(self.dropped(), {"too-many-frames": 1, "too-large": 2})

    def test_tooMuchAnswer(self) -> None:
        """A reply that exceeds a limit ends its request with an error."""
        self.native({})
        worker = self.busy()
        events = self.bed.transports[-1].events
        events.workerMessageRejected([worker.identity, b"", worker.inFlight[0][0], b"", b"x"], "too-large")
        events.workerMessageRejected([worker.identity, b"", b"waiting"], "too-large")
        self.settle()
        self.assertEqual(self.told()["code"], "app-error")
        self.assertIn("max-message-total", self.told()["message"])
        self.assertEqual(self.server.stats()["in_flight"], 0)


class BatchTests(ProtocolCase):
    """Several requests in one message."""

    def batch(self, *requests: tuple[bytes, int, bytes], client: bytes = b"n", **options: Any) -> None:
        """Send a batch."""
        head = header(REQUEST_ID, {"command": "batch", **options})
        self.frontend.receive(client, head, b"", packRequests(requests))
        self.settle()

    def codes(self) -> dict[bytes, str]:
        """Return the code of each error by the id of its request."""
        told = [parseHeader(frames[0]) for frames in self.frontend.sentTo(b"n")]
        return {each[0]: each[1]["code"] for each in told if each is not None}

    def names(self, count: int) -> list[bytes]:
        """Return so many ids of requests."""
        return [bytes([number]) * 16 for number in range(1, count + 1)]

    def test_each(self) -> None:
        """Each request is one of its own: it is counted, waits, runs and is replied to under its own id."""
        first, second, third = self.names(3)
        self.batch((first, 5000, b"1"), (second, 5000, b"2"), (third, 5000, b"3"))
        self.assertEqual(self.server.stats()["received"], 3)
        for _ in range(3):
            self.busy().reply()
            self.settle()
        sent = sorted(self.frontend.sentTo(b"n"))
        self.assertEqual(
            sent, [[header(each, {}), b"", b"%d" % at] for at, each in enumerate((first, second, third), 1)]
        )

    def test_deadlines(self) -> None:
        """Each has its own deadline."""
        names = self.names(2)
        self.batch((names[0], 60000, b"x"), (names[1], 100, b"x"))
        self.settle(1)
        self.assertEqual(self.told(b"n", names[1])["code"], "expired")
        self.assertEqual(len(self.frontend.sentTo(b"n")), 1)

    def test_cancel(self) -> None:
        """One of them can be cancelled."""
        names = self.names(3)
        self.batch(*((each, 5000, b"x") for each in names))
        self.native({"command": "cancel"}, requestId=names[2])
        self.assertEqual(self.told(b"n", names[2])["code"], "cancelled")
        self.assertEqual(len(self.frontend.sentTo(b"n")), 1)

    def test_service(self) -> None:
        """The service in the header is that of all."""
        names = self.names(2)
        self.batch(*((each, 5000, b"x") for each in names), service="none")
        self.assertEqual(self.codes(), dict.fromkeys(names, "unknown-service"))

    def test_again(self) -> None:
        """A request that is sent again, in the same batch too, does not run again."""
        [name] = self.names(1)
        self.batch((name, 5000, b"x"), (name, 5000, b"x"))
        self.busy().reply()
        self.settle()
        self.assertEqual((self.server.stats()["received"], self.server.stats()["replied"]), (2, 1))
        self.assertEqual(len(self.frontend.sentTo(b"n")), 2)

    def test_malformed(self) -> None:
        """A malformed batch gets one error, under its own id, and is counted."""
        good = packRequests([(self.names(1)[0], 1, b"x")])
        for body in ([b""], [good, b""], [good[:-1]], [b"\0"], [bytes([65]) + bytes(65 * 22)]):
            self.frontend.receive(b"n", header(REQUEST_ID, {"command": "batch"}), b"", *body)
        self.settle()
        self.assertEqual(self.told()["code"], "malformed")
        self.assertEqual((self.dropped(), len(self.frontend.sent)), ({"bad-batch": 5}, 5))
        self.assertEqual(self.server.stats()["received"], 0)

    def test_proxy(self) -> None:
        """A batch through a proxy is refused: its client sends the requests singly."""
        head = header(REQUEST_ID, {"command": "batch"})
        self.frontend.receive(b"p", b"client", head, b"", packRequests([(self.names(1)[0], 1, b"x")]))
        self.settle()
        [[client, told, *_]] = self.frontend.sentTo(b"p")
        parsed = parseHeader(told)
        assert parsed is not None
        self.assertEqual((client, parsed[1]["code"]), (b"client", "malformed"))
        self.assertEqual(self.server.stats()["received"], 0)

    def test_rejected(self) -> None:
        """A batch of a client whose key was removed is refused request by request."""
        names = self.names(2)
        events = self.bed.transports[-1].events
        self.frontend.connect(b"n")
        body = packRequests([(each, 1, b"x") for each in names])
        events.clientMessageRejected([b"n", header(REQUEST_ID, {"command": "batch"}), b"", body], "key-removed")
        self.assertEqual(self.codes(), dict.fromkeys((REQUEST_ID, *names), "denied"))


class Picky(Hooks):
    """Refuses the first request, fails at the second, and allows the others."""

    def __init__(self) -> None:
        self.asked = 0

    def allowRequest(self, context: RequestFacts) -> bool:
        """See :class:`~pirate.hooks.Hooks`."""
        self.asked += 1
        if self.asked == 2:
            raise ValueError("the hook is broken")
        return self.asked > 2


class SmallBatchTests(ProtocolCase):
    """Batches and the limits of requests."""

    def batch(self, count: int) -> list[str]:
        """Send a batch, and return the codes of the errors."""
        names = [bytes([number]) * 16 for number in range(1, count + 1)]
        body = packRequests([(each, 5000, b"x") for each in names])
        self.frontend.receive(b"n", header(REQUEST_ID, {"command": "batch"}), b"", body)
        self.settle()
        told = [parseHeader(frames[0]) for frames in self.frontend.sentTo(b"n")]
        return [each[1]["code"] for each in told if each is not None]

    def test_quota(self) -> None:
        """Each request of a batch counts towards what a client may have open."""
        self.begin(peerLimits=PeerLimits(clientRequests=3))
        self.assertEqual(self.batch(5), ["busy"] * 2)

    def test_rate(self) -> None:
        """Each request of a batch counts towards what a client may send in a second."""
        self.begin(peerLimits=PeerLimits(rate=2, burst=2))
        self.assertEqual(self.batch(5), ["busy"] * 3)

    def test_share(self) -> None:
        """Each request of a batch counts towards a client's share of the backlog."""
        self.begin(policy=RequestPolicy(backlog=4, clientShare=0.5))
        self.assertEqual(self.batch(10), ["busy"] * 7)

    def test_hook(self) -> None:
        """The hook is asked for each request; where it fails, that request alone is denied."""
        self.begin(hooks=Picky())
        self.assertEqual(self.batch(4), ["denied"] * 2)
        self.assertEqual(self.server.stats()["in_flight"] + self.server.stats()["backlog"], 2)
        self.flushLoggedErrors(ValueError)

    def test_lowLimit(self) -> None:
        """A server that accepts only short frames takes no batches."""
        self.begin(peerLimits=PeerLimits(maxMessageSize=0.0625))
        self.assertEqual(self.batch(2), ["malformed"])
