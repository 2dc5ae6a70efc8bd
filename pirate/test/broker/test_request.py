# -*- test-case-name: pirate.test.broker.test_request -*-
"""Requests: every shape of a client's message, every reply, and the context."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.request import NativeRequest, Request, State, readRequest
from pirate.wire.frontend import header, parseHeader
from pirate.wire.words import MAX_JSON, MAX_SERVICE, Code

REQUEST_ID = bytes(range(16))


def plain(*frames: bytes) -> Request:
    """Return the plain request that some frames are."""
    request = readRequest([*frames])
    assert type(request) is Request, request
    return request


def native(*envelope: bytes, body: list[bytes] | None = None, **options: Any) -> NativeRequest:
    """Return the request of a client with a native header behind some envelope frames."""
    request = readRequest([b"c", *envelope, header(REQUEST_ID, options), b"", *(body or [b"x"])])
    assert type(request) is NativeRequest, request
    return request


class PlainTests(SynchronousTestCase):
    """Clients without a native header."""

    def test_req(self) -> None:
        """A REQ's request: routing id, delimiter, payload."""
        request = plain(b"c", b"", b"payload")
        self.assertEqual((request.route, request.body), ([b"c", b""], [b"payload"]))
        self.assertEqual((request.service, request.peer, request.brokerId, request.state), ("", None, b"", State.NEW))

    def test_reply(self) -> None:
        """The reply goes back to the same routing id, byte for byte."""
        request = plain(b"c", b"", b"in")
        self.assertEqual(request.reply([b"out"]), [b"c", b"", b"out"])
        self.assertEqual(request.reply([b"", b"two"]), [b"c", b"", b"", b"two"])

    def test_correlate(self) -> None:
        """A REQ_CORRELATE number, which may look like anything of 4 bytes, comes back in its place."""
        for number in (b"\x00\x00\x00\x01", b"PIR1", b"\xff\xff\xff\xff"):
            self.assertEqual(plain(b"c", number, b"", b"x").reply([b"y"]), [b"c", number, b"", b"y"])

    def test_proxies(self) -> None:
        """The hops of proxies, with the client's own envelope behind them, come back in order."""
        route = [b"proxy2", b"\x00proxy1", b"client", b"\x00\x00\x00\x07", b""]
        request = plain(*route, b"x")
        self.assertEqual(request.route, route)
        self.assertEqual(request.reply([b"y"]), [*route, b"y"])

    def test_statusWords(self) -> None:
        """A client whose routing id or payload is a word of a worker is a client."""
        for word in (b"waiting", b"exiting", b"retire"):
            self.assertEqual(plain(word, b"", word).reply([b"y"]), [word, b"", b"y"])
            self.assertEqual(plain(b"c", word, b"", word).reply([b"y"]), [b"c", word, b"", b"y"])

    def test_headerElsewhere(self) -> None:
        """Only the last envelope frame may be a header: a routing id, a hop or a body like one is opaque."""
        own = header(REQUEST_ID, {"service": "x"})
        for frames in ([own, b"", b"x"], [b"c", own, b"hop", b"", b"x"], [b"c", b"", own], [own, b"", own, b"", b"x"]):
            request = plain(*frames)
            self.assertEqual(request.service, "")
            self.assertEqual([*request.route, *request.body], frames)

    def test_body(self) -> None:
        """A body has any number of frames, including empty ones and an empty first one."""
        self.assertEqual(plain(b"c", b"", b"a", b"", b"b", b"").body, [b"a", b"", b"b", b""])
        self.assertEqual(plain(b"c", b"", b"").body, [b""])
        self.assertEqual(plain(b"c", b"", b"", b"").body, [b"", b""])
        self.assertEqual(plain(b"c", b"", *[b"x"] * 5000).body, [b"x"] * 5000)

    def test_largeFrame(self) -> None:
        """A frame of another type is passed on untouched, and counts with its length."""
        large = memoryview(b"x" * 100)
        request = readRequest([b"c", b"", large, b"abc"])  # type: ignore[list-item]
        assert type(request) is Request
        self.assertIs(request.body[0], large)
        self.assertEqual(request.size(), 103)

    def test_anonymous(self) -> None:
        """A routing id that a ROUTER has made begins with a zero byte, and is as good as any."""
        self.assertEqual(plain(b"\x00k\x8bEg", b"", b"x").route[0], b"\x00k\x8bEg")


class NativeTests(SynchronousTestCase):
    """Clients with a native header."""

    def test_bare(self) -> None:
        """A header of 20 bytes has a request id and every default."""
        request = native()
        self.assertEqual(len(request.route[1]), 20)
        self.assertEqual(
            (request.requestId, request.command, request.service, request.timeout, request.maxAttempts),
            (REQUEST_ID, "request", "", None, 0),
        )
        self.assertEqual((request.partial, request.trace, request.body), (False, "", [b"x"]))

    def test_options(self) -> None:
        """Every known option is understood, and unknown ones are ignored."""
        request = native(
            command="ping",
            service="resize",
            timeout_ms=1500,
            attempts=1,
            partial=True,
            trace="00-a-b-01",
            novelty=[1],
        )
        self.assertEqual(
            (request.command, request.service, request.timeout, request.maxAttempts, request.partial, request.trace),
            ("ping", "resize", 1.5, 1, True, "00-a-b-01"),
        )

    def test_edges(self) -> None:
        """The least and the greatest value of each option."""
        self.assertEqual(native(timeout_ms=0).timeout, 0.0)
        self.assertEqual(native(timeout_ms=0.5).timeout, 0.0005)
        self.assertEqual(native(attempts=1000).maxAttempts, 1000)
        self.assertEqual(native(service="x" * MAX_SERVICE).service, "x" * MAX_SERVICE)
        self.assertEqual(native(service="").service, "")

    def test_reply(self) -> None:
        """The header of a reply is the request id alone.  The hops in front of it stay."""
        request = native(b"hop", b"\x00\x00\x00\x01", service="s")
        self.assertEqual(
            request.reply([b"a", b""]), [b"c", b"hop", b"\x00\x00\x00\x01", b"PIR1" + REQUEST_ID, b"", b"a", b""]
        )

    def test_error(self) -> None:
        """An error carries code, message and attempts in the header, and one empty frame as its body."""
        request = native(b"hop")
        request.deaths = 2
        *route, head, delimiter, body = request.error(Code.WORKER_LOST, "signal SIGKILL")
        self.assertEqual((route, delimiter, body), ([b"c", b"hop"], b"", b""))
        told = {"status": "error", "code": "worker-lost", "message": "signal SIGKILL", "attempts": 2}
        self.assertEqual(parseHeader(head), (REQUEST_ID, told))

    def test_errorIsTold(self) -> None:
        """A native client is sent errors whether or not plain ones are."""
        self.assertEqual(native().error(Code.BUSY, "m", False), native().error(Code.BUSY, "m", True))

    def test_largeError(self) -> None:
        """Whatever a message is, a client can read the header, and the beginning of the message."""
        for message in ("x" * 1_000_000, "\0" * 10_000, "\U0001f600" * 10_000, "\udcff" * 10_000):
            frames = native().error(Code.APP_ERROR, message)
            self.assertLess(len(frames[1]), MAX_JSON)
            parsed = parseHeader(frames[1])
            assert parsed is not None
            self.assertTrue(parsed[1]["message"].endswith("..."))

    def test_ping(self) -> None:
        """A ping is replied to by facts in the header."""
        facts = {"server": "pirate", "version": "1", "idle": 2, "backlog": 0}
        self.assertEqual(native(b"hop").pingReply(facts), [b"c", b"hop", header(REQUEST_ID, facts), b"", b""])

    def test_brokerWithoutHeaders(self) -> None:
        """A broker that knows only the envelope rule would return the header as an envelope frame."""
        self.assertEqual(plain(b"c", header(REQUEST_ID, {}), b"hop", b"", b"x").reply([b"y"])[1], b"PIR1" + REQUEST_ID)


class PlainErrorTests(SynchronousTestCase):
    """What a client without a header is sent in case of an error."""

    def test_silence(self) -> None:
        """By default it is sent nothing, because it would take an error for a reply."""
        self.assertIsNone(plain(b"c", b"", b"x").error(Code.APP_ERROR, "ValueError: x", False))

    def test_told(self) -> None:
        """If configured, it is sent one JSON object as the only body frame, behind the whole envelope."""
        request = plain(b"c", b"\x00\x00\x00\x01", b"", b"x")
        request.deaths = 3
        frames = request.error(Code.APP_ERROR, "ValueError: é", True)
        assert frames is not None
        self.assertEqual(frames[:-1], [b"c", b"\x00\x00\x00\x01", b""])
        told = {"pirate": "error", "code": "app-error", "message": "ValueError: é", "attempts": 3}
        self.assertEqual(json.loads(frames[-1]), told)


class ContextTests(SynchronousTestCase):
    """What an app may know of a request besides its body."""

    def test_context(self) -> None:
        """The context has what is known; attempts are counted from 1."""
        request = Request([b"c", b"", b"ignored"], [b"a", b""], "resize", "10.0.0.1")
        request.deaths = 2
        self.assertEqual(request.context(0.0), {"client": "10.0.0.1", "service": "resize", "attempt": 3})

    def test_remaining(self) -> None:
        """What is left of the caller's time is told in milliseconds, and is never negative."""
        request = native(timeout_ms=1500)
        request.deadline = 2.0
        self.assertEqual([request.context(now)["remaining_ms"] for now in (0.5, 3.0)], [1500, 0])

    def test_user(self) -> None:
        """The context names the user, where it is known, and the trace."""
        request = native(trace="00-a-b-01")
        request.user = "alice"
        context = request.context(0.0)
        self.assertEqual((context["user"], context["trace"]), ("alice", "00-a-b-01"))
