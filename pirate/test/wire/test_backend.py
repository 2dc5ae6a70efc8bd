# -*- test-case-name: pirate.test.wire.test_backend -*-
"""The messages on the backend: every shape of a worker's message, and what workers are sent."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.wire.backend import (
    Announcement,
    ErrorReply,
    PackedReplies,
    Part,
    Status,
    WorkerMessage,
    announcementFrame,
    idsOf,
    pack,
    packedRequests,
    parseWorkerMessage,
    requestFrames,
    unpack,
)
from pirate.wire.words import (
    LARGEST_PACK,
    MAX_CONCURRENCY,
    MAX_CREDIT,
    MAX_PACKED,
    MAX_SERVICE,
    MAX_TEXT,
    PACKED_SIZE,
    WORDS,
    Malformed,
)

ID = b"\x80" + bytes(7)


def parse(*frames: bytes) -> WorkerMessage | Malformed | None:
    """Parse the message of a worker named ``w``."""
    return parseWorkerMessage([b"w", *frames])


def info(**told: Any) -> Announcement | Malformed:
    """Parse an announcement."""
    status = parse(b"", b"waiting", json.dumps(told).encode())
    if isinstance(status, Malformed):
        return status
    assert isinstance(status, Status) and status.info is not None
    return status.info


class StatusTests(SynchronousTestCase):
    """The status of a worker."""

    def test_words(self) -> None:
        """Each word alone is a status without an announcement."""
        for word in WORDS:
            self.assertEqual(parse(b"", word), Status(b"w", word, None))

    def test_info(self) -> None:
        """An announcement may follow the word; unknown keys are ignored."""
        self.assertEqual(
            info(pirate=1, token="t", credit=3, context=True, services=["a", "", "a"], heartbeat=2, novelty={}),
            Announcement("t", 3, True, ("a", "")),
        )

    def test_infoDefaults(self) -> None:
        """An empty announcement means one request at a time, for the unnamed service."""
        self.assertEqual(info(), Announcement("", 1, False, ("",)))

    def test_creditBounds(self) -> None:
        """A credit out of bounds counts as the nearest that is within."""
        for asked, given in (
            (-5, 1),
            (0, 1),
            (MAX_CREDIT, MAX_CREDIT),
            (MAX_CREDIT + 1, MAX_CREDIT),
            (10**30, MAX_CREDIT),
        ):
            found = info(credit=asked)
            assert isinstance(found, Announcement)
            self.assertEqual(found.credit, given)

    def test_concurrency(self) -> None:
        """With a concurrency, the credit may be as large as that, and no larger."""
        for told, credit, concurrency in (
            ({"credit": 100, "concurrency": 100}, 100, 100),
            ({"credit": 100, "concurrency": 10}, 10, 10),
            ({"credit": 1, "concurrency": 10}, 1, 10),
            ({"credit": 10**9, "concurrency": 10**9}, MAX_CONCURRENCY, MAX_CONCURRENCY),
            ({"credit": 100, "concurrency": 1}, MAX_CREDIT, 1),
            ({"credit": 100, "concurrency": -1}, MAX_CREDIT, 1),
        ):
            found = info(**told)
            assert isinstance(found, Announcement)
            self.assertEqual((found.credit, found.concurrency), (credit, concurrency), told)

    def test_badInfo(self) -> None:
        """An announcement with an invalid value is malformed."""
        bad: dict[str, list[Any]] = {
            "token": [1, None, [], {}],
            "credit": ["1", None, 1.5, True, float("nan")],
            "concurrency": ["1", None, 1.5, True],
            "services": [None, "a", [], {}, [1], [None], ["a", ["b"]], ["x" * (MAX_SERVICE + 1)]],
        }
        for name, values in bad.items():
            for value in values:
                self.assertEqual(info(**{name: value}), Malformed("bad-info"), (name, value))

    def test_noJson(self) -> None:
        """What follows the word must be a JSON object."""
        for frame in (b"", b"x", b"[]", b"{", b"\xff", b"null", b"[" * 60_000, b'{"credit":' + b"9" * 50_000 + b"}"):
            self.assertEqual(parse(b"", b"waiting", frame), Malformed("bad-info"), frame[:20])

    def test_unknownWord(self) -> None:
        """A word that is no worker's is malformed: the broker's own words, other spellings."""
        for word in (b"", b"retire", b"cancel", b"WAITING", b"waiting ", b"partial", b"\xff" * 1000):
            self.assertEqual(parse(b"", word), Malformed("unknown-word"), word)
            self.assertEqual(parse(b"", word, b"{}"), Malformed("unknown-word"), word)

    def test_largeWord(self) -> None:
        """A large frame in the place of a word, which is not of type bytes, is malformed, too."""
        frames: list[Any] = [b"w", b"", memoryview(b"x" * 10_000)]
        self.assertEqual(parseWorkerMessage(frames), Malformed("unknown-word"))


class ReplyTests(SynchronousTestCase):
    """The replies of a worker."""

    def test_reply(self) -> None:
        """A reply has the request's id and a body of one or more frames, which may be empty."""
        self.assertEqual(parse(b"", ID, b"", b"x"), (b"w", ID, [b"x"]))
        self.assertEqual(parse(b"", ID, b"", b"", b"x", b""), (b"w", ID, [b"", b"x", b""]))

    def test_shortReply(self) -> None:
        """A reply may omit its delimiters: then its first frame is the id, and the rest is the body."""
        self.assertEqual(parse(ID, b"x"), (b"w", ID, [b"x"]))
        self.assertEqual(parse(ID, b"", b"partial", b""), (b"w", ID, [b"", b"partial", b""]))

    def test_noShortReply(self) -> None:
        """An id without a body is no reply, nor is a first frame without the form of an id."""
        self.assertEqual(parse(ID), Malformed("no-delimiter"))
        for first in (ID + b"x", ID[:7], b"\x7f" + bytes(7), b"x" * 5000):
            self.assertEqual(parse(first, b"x"), Malformed("no-delimiter"), first)

    def test_replyOfWords(self) -> None:
        """A reply that contains words is a reply: the number of frames decides, not their content."""
        self.assertEqual(parse(b"", b"waiting", b"", b"exiting"), (b"w", b"waiting", [b"exiting"]))

    def test_part(self) -> None:
        """A part of a reply is not a reply that ends the request."""
        self.assertEqual(parse(b"", ID, b"partial", b"a", b"b"), Part(b"w", ID, [b"a", b"b"]))
        self.assertNotEqual(parse(b"", ID, b"partial", b"a"), (b"w", ID, [b"a"]))

    def test_failure(self) -> None:
        """An error of the app has a code and a text."""
        self.assertEqual(parse(b"", ID, b"error", b"app-error", b"E: x"), ErrorReply(b"w", ID, b"app-error", b"E: x"))

    def test_trail(self) -> None:
        """An error may tell where in the app it arose."""
        told = parse(b"", ID, b"error", b"app-error", b"E: x", b"/app.py:1 in app")
        self.assertEqual(told, ErrorReply(b"w", ID, b"app-error", b"E: x", b"/app.py:1 in app"))

    def test_largeFailure(self) -> None:
        """No more of an error is kept than is read."""
        told = parse(b"", ID, b"error", *([b"x" * 1_000_000] * 3))
        assert isinstance(told, ErrorReply)
        self.assertEqual([len(each) for each in (told.code, told.text, told.trail)], [MAX_TEXT + 1] * 3)

    def test_failureOfOtherLengths(self) -> None:
        """An error has a code and a text, and nothing else but the place."""
        for rest in ([b"app-error"], [b"app-error", b"text", b"place", b"more"]):
            self.assertEqual(parse(b"", ID, b"error", *rest), Malformed("unknown-reply"))

    def test_unknownKind(self) -> None:
        """A reply of another kind is malformed, not guessed at."""
        for kind in (b"ok", b"PARTIAL", b" ", ID, b"x" * 5000):
            self.assertEqual(parse(b"", ID, kind, b"x"), Malformed("unknown-reply"), kind)

    def test_noBody(self) -> None:
        """An id and a delimiter without a body are neither a reply nor a status."""
        self.assertEqual(parse(b"", ID, b""), Malformed("empty-body"))
        self.assertEqual(parse(b"", ID), Malformed("empty-body"))

    def test_largeFrames(self) -> None:
        """Frames of another type are passed on untouched in a body, and copied where they are text."""
        large: Any = memoryview(b"x" * 100)
        message = parse(b"", ID, b"", large)
        assert isinstance(message, tuple)
        self.assertIs(message[2][0], large)
        self.assertEqual(parse(b"", ID, b"error", b"app-error", large), ErrorReply(b"w", ID, b"app-error", b"x" * 100))


class NothingTests(SynchronousTestCase):
    """Frames that are no message."""

    def test_greeting(self) -> None:
        """A PROBE_ROUTER greeting is neither a message nor malformed."""
        self.assertIsNone(parse(b""))

    def test_noDelimiter(self) -> None:
        """A worker's message begins with an empty frame, or with the id of a request."""
        self.assertEqual(parseWorkerMessage([]), Malformed("no-delimiter"))
        self.assertEqual(parse(), Malformed("no-delimiter"))
        self.assertEqual(parse(b"waiting"), Malformed("no-delimiter"))
        self.assertEqual(parse(b"x", b"", ID, b"", b"y"), Malformed("no-delimiter"))


class SendingTests(SynchronousTestCase):
    """What workers are sent, and their announcement."""

    def test_request(self) -> None:
        """The broker's id stands where the original put the client's address."""
        self.assertEqual(requestFrames(b"w", ID, [b"a", b""]), [b"w", b"", ID, b"", b"a", b""])

    def test_context(self) -> None:
        """A worker that wants the context finds it between the id and the delimiter."""
        *front, context, delimiter, first, second = requestFrames(b"w", ID, [b"a", b""], {"attempt": 3})
        self.assertEqual((front, delimiter, first, second), ([b"w", b"", ID], b"", b"a", b""))
        self.assertEqual(json.loads(context), {"attempt": 3})

    def test_announcement(self) -> None:
        """The broker reads what a worker announces; the frame carries the protocol's number."""
        for each in (Announcement(), Announcement("t", 64, True, ("a", "é"), pack=True)):
            frame = announcementFrame(each)
            self.assertEqual(parse(b"", b"waiting", frame), Status(b"w", b"waiting", each))
            self.assertEqual(json.loads(frame)["pirate"], 1)


class PackTests(SynchronousTestCase):
    """Several requests or replies in one message."""

    ids = (ID, b"\x80" + bytes(6) + b"\1")

    def test_bytes(self) -> None:
        """A pack is the number, the ids, the sizes and the bodies."""
        frame = b"\2" + b"".join(self.ids) + b"\0\1" + b"\0\0" + b"a"
        self.assertEqual(pack(self.ids, [b"a", b""]), frame)
        self.assertEqual(unpack(frame), (self.ids, [b"a", b""]))
        self.assertEqual(parse(b"pack", frame), PackedReplies(b"w", self.ids, [b"a", b""]))

    def test_requests(self) -> None:
        """Several requests are one message; a single one is an ordinary message."""
        frames = packedRequests(b"w", self.ids, [b"a", b"b"])
        self.assertEqual(frames, [b"w", b"", b"pack", pack(self.ids, [b"a", b"b"])])
        self.assertEqual(packedRequests(b"w", self.ids[:1], [b"a"]), requestFrames(b"w", ID, [b"a"]))

    def test_ids(self) -> None:
        """The ids in a message to a worker, packed or not, can be told."""
        self.assertEqual(idsOf(packedRequests(b"w", self.ids, [b"a", b"b"])), self.ids)
        self.assertEqual(idsOf(requestFrames(b"w", ID, [b"a"])), (ID,))

    def test_most(self) -> None:
        """A pack holds 64 bodies, of which the largest are as large as the sizes can tell in the documented limit."""
        ids, bodies = [ID] * MAX_PACKED, [b"x" * PACKED_SIZE] * MAX_PACKED
        frame = pack(ids, bodies)
        self.assertEqual((len(frame), unpack(frame)), (LARGEST_PACK, (tuple(ids), bodies)))
        self.assertEqual(unpack(memoryview(frame)), unpack(frame))  # type: ignore[arg-type]

    def test_malformed(self) -> None:
        """A number out of range, or sizes that do not add up exactly, are malformed."""
        good = pack(self.ids, [b"a", b"bc"])
        bad = [
            b"",
            b"\0",
            b"\1",
            b"\x41" + good[1:],
            b"\xff" * 700,
            good[:-1],
            good + b"x",
            good[:12],
            b"\3" + good[1:],
        ]
        for frame in bad:
            self.assertIsNone(unpack(frame), frame)
            self.assertEqual(parse(b"pack", frame), Malformed("bad-pack"), frame)
        self.assertEqual(parse(b"pack"), Malformed("no-delimiter"))
        self.assertEqual(parse(b"pack", good, b"more"), Malformed("no-delimiter"))
