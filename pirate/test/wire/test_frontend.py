# -*- test-case-name: pirate.test.wire.test_frontend -*-
"""The frontend leg: every shape that a client's message may have, and every reply."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.wire.frontend import NativeRequest, Request, State, header, parseHeader, parseRequest
from pirate.wire.words import MAX_ENVELOPE, MAX_ENVELOPE_BYTES, MAX_JSON, MAX_SERVICE, Code, Malformed

KEY = bytes(range(16))


def plain(*frames: bytes) -> Request:
    """The plain request that some frames are."""
    request = parseRequest([*frames])
    assert type(request) is Request, request
    return request


def native(*envelope: bytes, body: list[bytes] | None = None, **options: Any) -> NativeRequest:
    """The request of a client with a native header, behind some envelope frames."""
    request = parseRequest([b"c", *envelope, header(KEY, options), b"", *(body or [b"x"])])
    assert type(request) is NativeRequest, request
    return request


class PlainTests(SynchronousTestCase):
    """Clients that know nothing of pirate."""

    def test_req(self) -> None:
        """A REQ's request: routing id, delimiter, payload."""
        request = plain(b"c", b"", b"payload")
        self.assertEqual((request.route, request.body), ([b"c", b""], [b"payload"]))
        self.assertEqual((request.service, request.peer, request.id, request.state), ("", None, b"", State.NEW))

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
        """A client named as a worker's word, or whose payload is one, is a client."""
        for word in (b"waiting", b"exiting", b"retire"):
            self.assertEqual(plain(word, b"", word).reply([b"y"]), [word, b"", b"y"])
            self.assertEqual(plain(b"c", word, b"", word).reply([b"y"]), [b"c", word, b"", b"y"])

    def test_headerElsewhere(self) -> None:
        """Only the last envelope frame may be a header: a routing id, a hop or a body that looks like one is opaque."""
        own = header(KEY, {"service": "x"})
        for frames in ([own, b"", b"x"], [b"c", own, b"hop", b"", b"x"], [b"c", b"", own], [own, b"", own, b"", b"x"]):
            request = plain(*frames)
            self.assertEqual(request.service, "")
            self.assertEqual([*request.route, *request.body], frames)

    def test_body(self) -> None:
        """A body is any number of frames, empty ones too, also when the first is empty."""
        self.assertEqual(plain(b"c", b"", b"a", b"", b"b", b"").body, [b"a", b"", b"b", b""])
        self.assertEqual(plain(b"c", b"", b"").body, [b""])
        self.assertEqual(plain(b"c", b"", b"", b"").body, [b"", b""])
        self.assertEqual(plain(b"c", b"", *[b"x"] * 5000).body, [b"x"] * 5000)

    def test_largeFrame(self) -> None:
        """A frame of another type passes untouched, and counts with its length."""
        large = memoryview(b"x" * 100)
        request = parseRequest([b"c", b"", large, b"abc"])  # type: ignore[list-item]
        assert type(request) is Request
        self.assertIs(request.body[0], large)
        self.assertEqual(request.size(), 103)

    def test_anonymous(self) -> None:
        """The routing id that a ROUTER makes up begins with a zero byte, and is as good as any."""
        self.assertEqual(plain(b"\x00k\x8bEg", b"", b"x").route[0], b"\x00k\x8bEg")


class MalformedTests(SynchronousTestCase):
    """What is no request."""

    def test_greeting(self) -> None:
        """A PROBE_ROUTER greeting is neither a request nor an offence."""
        self.assertIsNone(parseRequest([b"c", b""]))

    def test_noDelimiter(self) -> None:
        """Without an empty frame nobody knows where the body begins."""
        for frames in ([], [b"c"], [b"c", b"x"], [b"c", b"x", b"y", b"z"], [b""]):
            self.assertEqual(parseRequest(frames), Malformed("no-delimiter"), frames)

    def test_emptyBody(self) -> None:
        """An envelope with nothing behind it asks for nothing."""
        self.assertEqual(parseRequest([b"c", b"x", b""]), Malformed("empty-body"))
        self.assertEqual(parseRequest([b"c", header(KEY, {}), b""]), Malformed("empty-body"))

    def test_longEnvelope(self) -> None:
        """So many envelope frames and no more."""
        hops = [b"%d" % number for number in range(MAX_ENVELOPE)]
        self.assertEqual(plain(b"c", *hops, b"", b"x").reply([b"y"]), [b"c", *hops, b"", b"y"])
        self.assertEqual(parseRequest([b"c", *hops, b"one more", b"", b"x"]), Malformed("envelope-too-long"))
        self.assertEqual(parseRequest([b"c", *hops * 1000]), Malformed("envelope-too-long"))

    def test_largeEnvelope(self) -> None:
        """So many bytes and no more: routing ids and the longest header fit, and nothing else is kept for a client."""
        ids = [bytes([number]) * 255 for number in range(1, MAX_ENVELOPE)]
        longest = b"PIR1" + KEY + b"{}".ljust(MAX_JSON)
        self.assertIsInstance(parseRequest([b"c", *ids, longest, b"", b"x"]), NativeRequest)
        half = bytes(MAX_ENVELOPE_BYTES // 2)
        self.assertEqual(plain(b"c", half, half, b"", b"x").weight(), MAX_ENVELOPE_BYTES + 2)
        self.assertEqual(parseRequest([b"c", half, half, b"1", b"", b"x"]), Malformed("envelope-too-long"))


class NativeTests(SynchronousTestCase):
    """Clients with a native header."""

    def test_bare(self) -> None:
        """A header of 20 bytes has an id and every default."""
        request = native()
        self.assertEqual(len(request.route[1]), 20)
        self.assertEqual(
            (request.key, request.command, request.service, request.timeout, request.maxAttempts),
            (KEY, "request", "", None, 0),
        )
        self.assertEqual((request.partial, request.trace, request.body), (False, "", [b"x"]))

    def test_options(self) -> None:
        """Every key is understood, and the ones of a later version are not minded."""
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
        """The least and the most that a key may say."""
        self.assertEqual(native(timeout_ms=0).timeout, 0.0)
        self.assertEqual(native(timeout_ms=0.5).timeout, 0.0005)
        self.assertEqual(native(attempts=1000).maxAttempts, 1000)
        self.assertEqual(native(service="x" * MAX_SERVICE).service, "x" * MAX_SERVICE)
        self.assertEqual(native(service="").service, "")

    def test_reply(self) -> None:
        """A reply carries the id alone: there is nothing to say but the answer.  The hops in front stay."""
        request = native(b"hop", b"\x00\x00\x00\x01", service="s")
        self.assertEqual(request.reply([b"a", b""]), [b"c", b"hop", b"\x00\x00\x00\x01", b"PIR1" + KEY, b"", b"a", b""])

    def test_error(self) -> None:
        """An error carries code, message and attempts in the header, and one empty frame as its body."""
        request = native(b"hop")
        request.attempts = 2
        *route, head, delimiter, body = request.error(Code.WORKER_LOST, "signal SIGKILL")
        self.assertEqual((route, delimiter, body), ([b"c", b"hop"], b"", b""))
        told = {"status": "error", "code": "worker-lost", "message": "signal SIGKILL", "attempts": 2}
        self.assertEqual(parseHeader(head), (KEY, told))

    def test_errorIsTold(self) -> None:
        """A native client is told of errors whether or not plain ones are."""
        self.assertEqual(native().error(Code.BUSY, "m", False), native().error(Code.BUSY, "m", True))

    def test_largeError(self) -> None:
        """Whatever a message is, a client can read the header, and the beginning of the message."""
        for message in ("x" * 1_000_000, "\0" * 10_000, "\U0001f600" * 10_000, "\udcff" * 10_000):
            frames = native().error(Code.APP_ERROR, message)
            self.assertLess(len(frames[1]), MAX_JSON)
            parsed = parseHeader(frames[1])
            assert parsed is not None
            self.assertTrue(parsed[1]["message"].endswith("..."))

    def test_pong(self) -> None:
        """A ping is answered by facts in the header."""
        facts = {"server": "pirate", "version": "1", "waiting": 2, "backlog": 0}
        self.assertEqual(native(b"hop").pingReply(facts), [b"c", b"hop", header(KEY, facts), b"", b""])

    def test_brokerWithoutHeaders(self) -> None:
        """A broker that knows only the envelope rule would return the header, so ours is a proper envelope frame."""
        self.assertEqual(plain(b"c", header(KEY, {}), b"hop", b"", b"x").reply([b"y"])[1], b"PIR1" + KEY)


class PlainErrorTests(SynchronousTestCase):
    """What a client without a header is told of errors."""

    def test_silence(self) -> None:
        """By default nothing, for it would take an error for an answer."""
        self.assertIsNone(plain(b"c", b"", b"x").error(Code.APP_ERROR, "ValueError: x", False))

    def test_told(self) -> None:
        """If asked for, one JSON object as the only body frame, behind the whole envelope."""
        request = plain(b"c", b"\x00\x00\x00\x01", b"", b"x")
        request.attempts = 3
        frames = request.error(Code.APP_ERROR, "ValueError: é", True)
        assert frames is not None
        self.assertEqual(frames[:-1], [b"c", b"\x00\x00\x00\x01", b""])
        told = {"pirate": "error", "code": "app-error", "message": "ValueError: é", "attempts": 3}
        self.assertEqual(json.loads(frames[-1]), told)


class BadHeaderTests(SynchronousTestCase):
    """Headers that are not understood."""

    def refusal(self, frame: bytes) -> Malformed:
        """What a header frame that is not understood gives."""
        malformed = parseRequest([b"c", b"hop", frame, b"", b"x"])
        assert type(malformed) is Malformed, malformed
        self.assertEqual(malformed.reason, "bad-header")
        return malformed

    def assertTold(self, frame: bytes) -> None:
        """The client is told, by its own id, that its header is malformed."""
        reply = self.refusal(frame).reply
        assert reply is not None
        found = parseHeader(reply[2])
        assert found is not None
        key, told = found
        self.assertEqual((reply[:2], reply[3:], key), ([b"c", b"hop"], [b"", b""], KEY))
        self.assertEqual((told["status"], told["code"]), ("error", "malformed"))

    def test_short(self) -> None:
        """A header without a whole id cannot be answered."""
        for frame in (b"PIR1" + KEY[:1], b"PIR1" + KEY[:15]):
            self.assertIsNone(self.refusal(frame).reply)

    def test_noJson(self) -> None:
        """What follows the id must be a JSON object."""
        for rest in (b"x", b"[]", b"{", b"null", b"\xff", b"[" * 60_000, b'{"a":' + b"9" * 50_000 + b"}"):
            self.assertTold(b"PIR1" + KEY + rest)

    def test_tooLong(self) -> None:
        """A header longer than any that is meant is refused."""
        self.assertTold(b"PIR1" + KEY + b'{"trace":"' + b"x" * MAX_JSON + b'"}')

    def test_badValues(self) -> None:
        """A key with a value that it cannot have is not passed over, for the caller relies on it."""
        bad: dict[str, list[Any]] = {
            "command": ["", "REQUEST", "retire", None, 1, [], {}],
            "service": [None, 1, ["x"], "x" * (MAX_SERVICE + 1)],
            "timeout_ms": [-1, -0.1, 1e13, "100", None, True, [], float("nan"), float("inf"), 10**400],
            "attempts": [0, -1, 1001, 1.0, "1", None, True, 10**400],
            "partial": [0, 1, "true", None],
            "trace": [None, 1, "x" * 513],
        }
        for name, values in bad.items():
            for value in values:
                self.assertTold(header(KEY, {name: value}))


class HeaderTests(SynchronousTestCase):
    """The header frame itself."""

    def test_roundTrip(self) -> None:
        """What is put in comes out; no options make the shortest frame."""
        self.assertEqual(parseHeader(header(KEY, {"a": 1})), (KEY, {"a": 1}))
        self.assertEqual(header(KEY, {}), b"PIR1" + KEY)
        self.assertEqual(parseHeader(b"PIR1" + KEY), (KEY, {}))

    def test_bad(self) -> None:
        """A frame without a whole id, or with something else than an object behind it, is none."""
        for frame in (b"", b"PIR1", b"PIR1" + KEY[:15], b"PIR1" + KEY + b" ", b"PIR1" + KEY + b"[]"):
            self.assertIsNone(parseHeader(frame), frame)

    def test_shortcut(self) -> None:
        """The header that most requests have is read as any other, and what only looks like it too."""
        for number in ("0", "1", "10000", "9" * 16, "9" * 17, "007", "-1", "1.5", "1e3", "", " 1", "1}"):
            text = b'{"timeout_ms":%b}' % number.encode()
            try:
                expected = (KEY, json.loads(text))
            except ValueError:
                expected = None
            self.assertEqual(parseHeader(b"PIR1" + KEY + text), expected, text)
