# -*- test-case-name: pirate.test.wire.test_frontend -*-
"""The parser of clients' messages: what it rejects, and the native header."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pirate.test.support.properties import steady
from pirate.wire.frontend import (
    MAX_BATCH_BYTES,
    MAX_BATCHED_TIMEOUT,
    header,
    packReplies,
    packRequests,
    parseHeader,
    parseReplies,
    parseRequest,
    parseRequests,
)
from pirate.wire.words import (
    MAX_BATCH,
    MAX_BATCHED_BYTES,
    MAX_ENVELOPE,
    MAX_ENVELOPE_BYTES,
    MAX_JSON,
    MAX_SERVICE,
    Malformed,
)

REQUEST_ID = bytes(range(16))


class MalformedTests(SynchronousTestCase):
    """Frames that are no request."""

    def test_greeting(self) -> None:
        """A PROBE_ROUTER greeting is neither a request nor malformed."""
        self.assertIsNone(parseRequest([b"c", b""]))

    def test_noDelimiter(self) -> None:
        """Without an empty frame there is no beginning of the body."""
        for frames in ([], [b"c"], [b"c", b"x"], [b"c", b"x", b"y", b"z"], [b""]):
            self.assertEqual(parseRequest(frames), Malformed("no-delimiter"), frames)

    def test_emptyBody(self) -> None:
        """An envelope without a body is malformed."""
        self.assertEqual(parseRequest([b"c", b"x", b""]), Malformed("empty-body"))
        self.assertEqual(parseRequest([b"c", header(REQUEST_ID, {}), b""]), Malformed("empty-body"))

    def test_longEnvelope(self) -> None:
        """An envelope has a limited number of frames."""
        hops = [b"%d" % number for number in range(MAX_ENVELOPE)]
        self.assertEqual(parseRequest([b"c", *hops, b"", b"x"]), ([b"c", *hops, b""], [b"x"], b"", {}))
        self.assertEqual(parseRequest([b"c", *hops, b"one more", b"", b"x"]), Malformed("envelope-too-long"))
        self.assertEqual(parseRequest([b"c", *hops * 1000]), Malformed("envelope-too-long"))

    def test_largeEnvelope(self) -> None:
        """An envelope has a limited number of bytes, which routing ids and the longest header fit in."""
        ids = [bytes([number]) * 255 for number in range(1, MAX_ENVELOPE)]
        longest = b"PIR1" + REQUEST_ID + b"{}".ljust(MAX_JSON)
        self.assertEqual(
            parseRequest([b"c", *ids, longest, b"", b"x"]), ([b"c", *ids, longest, b""], [b"x"], REQUEST_ID, {})
        )
        half = bytes(MAX_ENVELOPE_BYTES // 2)
        self.assertEqual(parseRequest([b"c", half, half, b"", b"x"]), ([b"c", half, half, b""], [b"x"], b"", {}))
        self.assertEqual(parseRequest([b"c", half, half, b"1", b"", b"x"]), Malformed("envelope-too-long"))


class BadHeaderTests(SynchronousTestCase):
    """Malformed headers."""

    def rejection(self, frame: bytes) -> Malformed:
        """Return the result for a malformed header frame."""
        malformed = parseRequest([b"c", b"hop", frame, b"", b"x"])
        assert type(malformed) is Malformed, malformed
        self.assertEqual(malformed.reason, "bad-header")
        return malformed

    def assertTold(self, frame: bytes) -> None:
        """Check that the client is told, under its own request id, that its header is malformed."""
        reply = self.rejection(frame).reply
        assert reply is not None
        found = parseHeader(reply[2])
        assert found is not None
        requestId, told = found
        self.assertEqual((reply[:2], reply[3:], requestId), ([b"c", b"hop"], [b"", b""], REQUEST_ID))
        self.assertEqual((told["status"], told["code"]), ("error", "malformed"))

    def test_short(self) -> None:
        """A header without a whole request id cannot be replied to."""
        for frame in (b"PIR1" + REQUEST_ID[:1], b"PIR1" + REQUEST_ID[:15]):
            self.assertIsNone(self.rejection(frame).reply)

    def test_noJson(self) -> None:
        """What follows the request id must be a JSON object."""
        for rest in (b"x", b"[]", b"{", b"null", b"\xff", b"[" * 60_000, b'{"a":' + b"9" * 50_000 + b"}"):
            self.assertTold(b"PIR1" + REQUEST_ID + rest)

    def test_tooLong(self) -> None:
        """A header longer than the limit is rejected."""
        self.assertTold(b"PIR1" + REQUEST_ID + b'{"trace":"' + b"x" * MAX_JSON + b'"}')

    def test_badValues(self) -> None:
        """An option with an invalid value is rejected, not ignored, because the caller relies on it."""
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
                self.assertTold(header(REQUEST_ID, {name: value}))


class HeaderTests(SynchronousTestCase):
    """The header frame itself."""

    def test_roundTrip(self) -> None:
        """A header is parsed to what it was made of; without options it is the shortest frame."""
        self.assertEqual(parseHeader(header(REQUEST_ID, {"a": 1})), (REQUEST_ID, {"a": 1}))
        self.assertEqual(header(REQUEST_ID, {}), b"PIR1" + REQUEST_ID)
        self.assertEqual(parseHeader(b"PIR1" + REQUEST_ID), (REQUEST_ID, {}))

    def test_bad(self) -> None:
        """A frame without a whole request id, or with anything but an object behind it, is malformed."""
        for frame in (
            b"",
            b"PIR1",
            b"PIR1" + REQUEST_ID[:15],
            b"PIR1" + REQUEST_ID + b" ",
            b"PIR1" + REQUEST_ID + b"[]",
        ):
            self.assertIsNone(parseHeader(frame), frame)

    def test_shortcut(self) -> None:
        """The header that most requests have is parsed as any other, and so is what only looks like it."""
        for number in ("0", "1", "10000", "9" * 16, "9" * 17, "007", "-1", "1.5", "1e3", "", " 1", "1}"):
            text = b'{"timeout_ms":%b}' % number.encode()
            try:
                expected = (REQUEST_ID, json.loads(text))
            except ValueError:
                expected = None
            self.assertEqual(parseHeader(b"PIR1" + REQUEST_ID + text), expected, text)


IDS = st.binary(min_size=16, max_size=16)
BODIES = st.binary(max_size=MAX_BATCHED_BYTES)
REQUESTS = st.lists(st.tuples(IDS, st.integers(0, MAX_BATCHED_TIMEOUT), BODIES), min_size=1, max_size=MAX_BATCH)
REPLIES = st.lists(st.tuples(IDS, BODIES), min_size=1, max_size=MAX_BATCH)


class BatchTests(SynchronousTestCase):
    """Several requests or replies in one message."""

    @steady
    @given(REQUESTS, REPLIES)
    def test_roundTrip(self, requests: list[tuple[bytes, int, bytes]], replies: list[tuple[bytes, bytes]]) -> None:
        """What was packed is parsed to the same."""
        self.assertEqual(parseRequests([packRequests(requests)]), requests)
        self.assertEqual(parseReplies([packReplies(replies)]), replies)

    def test_largest(self) -> None:
        """The largest batch is as long as a server must allow."""
        requests = [(REQUEST_ID, MAX_BATCHED_TIMEOUT, bytes(MAX_BATCHED_BYTES))] * MAX_BATCH
        packed = packRequests(requests)
        self.assertEqual(len(packed), MAX_BATCH_BYTES)
        # ZeroMQ's large frames are no bytes objects.
        self.assertEqual(parseRequests([memoryview(packed)]), requests)  # type: ignore[list-item]

    @steady
    @given(REQUESTS, REPLIES, st.data())
    def test_exact(
        self, requests: list[tuple[bytes, int, bytes]], replies: list[tuple[bytes, bytes]], data: st.DataObject
    ) -> None:
        """A byte too many, or any byte missing at the end, makes the whole message malformed."""
        for parse, packed in ((parseRequests, packRequests(requests)), (parseReplies, packReplies(replies))):
            length = data.draw(st.integers(0, len(packed) - 1))
            self.assertIsNone(parse([packed + b"x"]))
            self.assertIsNone(parse([packed[:length]]))
            self.assertIsNone(parse([packed, b""]))
            self.assertIsNone(parse([]))

    def test_counts(self) -> None:
        """A message has 1 to 64 requests or replies, none of which is too long."""
        for count in (0, MAX_BATCH + 1, 255):
            self.assertIsNone(parseRequests([bytes([count]) + bytes(22 * count)]))
            self.assertIsNone(parseReplies([bytes([count]) + bytes(18 * count)]))
        long = bytes(MAX_BATCHED_BYTES + 1)
        self.assertIsNone(parseRequests([packRequests([(REQUEST_ID, 1, long)])]))
        self.assertIsNone(parseReplies([packReplies([(REQUEST_ID, long)])]))

    @steady
    @given(st.binary(max_size=200), st.integers(0, 5))
    def test_anything(self, data: bytes, count: int) -> None:
        """Anything else is malformed, or is what its parts say, which make up all of it."""
        for frame in (data, bytes([count]) + data):
            requests, replies = parseRequests([frame]), parseReplies([frame])
            self.assertIn(frame, (frame if requests is None else packRequests(requests),))
            self.assertIn(frame, (frame if replies is None else packReplies(replies),))
