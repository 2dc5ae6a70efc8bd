# -*- test-case-name: pirate.test.wire.test_backend -*-
"""The backend leg: every shape that a worker's message may have, and what workers are sent."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.wire.backend import (
    Failure,
    Info,
    Part,
    Status,
    WorkerMessage,
    announcement,
    parseWorkerMessage,
    requestFrames,
)
from pirate.wire.words import MAX_CONCURRENCY, MAX_CREDIT, MAX_SERVICE, MAX_TEXT, WORDS, Malformed

ID = b"\x80" + bytes(7)


def parse(*frames: bytes) -> WorkerMessage | Malformed | None:
    """What a worker named ``w`` says with some frames."""
    return parseWorkerMessage([b"w", *frames])


def info(**told: Any) -> Info | Malformed:
    """The info that a JSON object gives."""
    status = parse(b"", b"waiting", json.dumps(told).encode())
    if isinstance(status, Malformed):
        return status
    assert isinstance(status, Status) and status.info is not None
    return status.info


class StatusTests(SynchronousTestCase):
    """A worker's word about itself."""

    def test_words(self) -> None:
        """Each word alone is a status without info."""
        for word in WORDS:
            self.assertEqual(parse(b"", word), Status(b"w", word, None))

    def test_info(self) -> None:
        """The word may be followed by an info, whose keys of a later version are not minded."""
        self.assertEqual(
            info(pirate=1, pid=7, token="t", credit=3, context=True, services=["a", "", "a"], heartbeat=2, novelty={}),
            Info(7, "t", 3, True, ("a", "")),
        )

    def test_infoDefaults(self) -> None:
        """An empty info says nothing: one request at a time, for the unnamed service."""
        self.assertEqual(info(), Info(0, "", 1, False, ("",)))

    def test_creditBounds(self) -> None:
        """A credit out of bounds is taken to the nearest that is within."""
        for asked, given in (
            (-5, 1),
            (0, 1),
            (MAX_CREDIT, MAX_CREDIT),
            (MAX_CREDIT + 1, MAX_CREDIT),
            (10**30, MAX_CREDIT),
        ):
            found = info(credit=asked)
            assert isinstance(found, Info)
            self.assertEqual(found.credit, given)

    def test_concurrency(self) -> None:
        """With a concurrency, a credit beyond it means nothing, and one beyond that of other workers is allowed."""
        for told, credit, concurrency in (
            ({"credit": 100, "concurrency": 100}, 100, 100),
            ({"credit": 100, "concurrency": 10}, 10, 10),
            ({"credit": 1, "concurrency": 10}, 1, 10),
            ({"credit": 10**9, "concurrency": 10**9}, MAX_CONCURRENCY, MAX_CONCURRENCY),
            ({"credit": 100, "concurrency": 1}, MAX_CREDIT, 1),
            ({"credit": 100, "concurrency": -1}, MAX_CREDIT, 1),
        ):
            found = info(**told)
            assert isinstance(found, Info)
            self.assertEqual((found.credit, found.concurrency), (credit, concurrency), told)

    def test_badInfo(self) -> None:
        """A key with a value that it cannot have makes the whole info worthless."""
        bad: dict[str, list[Any]] = {
            "pid": ["1", None, 1.5, True, []],
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
        for frame in (b"", b"x", b"[]", b"{", b"\xff", b"null", b"[" * 60_000, b'{"pid":' + b"9" * 50_000 + b"}"):
            self.assertEqual(parse(b"", b"waiting", frame), Malformed("bad-info"), frame[:20])

    def test_unknownWord(self) -> None:
        """What is no word of a worker's is dropped: the broker's own words, other spellings."""
        for word in (b"", b"retire", b"cancel", b"WAITING", b"waiting ", b"partial", b"\xff" * 1000):
            self.assertEqual(parse(b"", word), Malformed("unknown-word"), word)
            self.assertEqual(parse(b"", word, b"{}"), Malformed("unknown-word"), word)

    def test_largeWord(self) -> None:
        """A large frame in the place of a word, which is not of type bytes, is as unknown as any."""
        frames: list[Any] = [b"w", b"", memoryview(b"x" * 10_000)]
        self.assertEqual(parseWorkerMessage(frames), Malformed("unknown-word"))


class AnswerTests(SynchronousTestCase):
    """What a worker answers."""

    def test_reply(self) -> None:
        """A reply has the request's id and a body of one or more frames, which may be empty."""
        self.assertEqual(parse(b"", ID, b"", b"x"), (b"w", ID, [b"x"]))
        self.assertEqual(parse(b"", ID, b"", b"", b"x", b""), (b"w", ID, [b"", b"x", b""]))

    def test_shortReply(self) -> None:
        """A reply may do without its delimiters: then its first frame is the id, and the rest is the body."""
        self.assertEqual(parse(ID, b"x"), (b"w", ID, [b"x"]))
        self.assertEqual(parse(ID, b"", b"partial", b""), (b"w", ID, [b"", b"partial", b""]))

    def test_noShortReply(self) -> None:
        """An id without a body is no reply, and what has not the form of an id is none."""
        self.assertEqual(parse(ID), Malformed("no-delimiter"))
        for first in (ID + b"x", ID[:7], b"\x7f" + bytes(7), b"x" * 5000):
            self.assertEqual(parse(first, b"x"), Malformed("no-delimiter"), first)

    def test_replyOfWords(self) -> None:
        """An answer with words in it is still an answer: the number of frames tells, not their content."""
        self.assertEqual(parse(b"", b"waiting", b"", b"exiting"), (b"w", b"waiting", [b"exiting"]))

    def test_part(self) -> None:
        """One part of several; it is no reply that ends the request."""
        self.assertEqual(parse(b"", ID, b"partial", b"a", b"b"), Part(b"w", ID, [b"a", b"b"]))
        self.assertNotEqual(parse(b"", ID, b"partial", b"a"), (b"w", ID, [b"a"]))

    def test_failure(self) -> None:
        """The app failed: a code and a text."""
        self.assertEqual(parse(b"", ID, b"error", b"app-error", b"E: x"), Failure(b"w", ID, b"app-error", b"E: x"))

    def test_trail(self) -> None:
        """It may say where in the app the error arose."""
        told = parse(b"", ID, b"error", b"app-error", b"E: x", b"/app.py:1 in app")
        self.assertEqual(told, Failure(b"w", ID, b"app-error", b"E: x", b"/app.py:1 in app"))

    def test_largeFailure(self) -> None:
        """No more of all that is kept than is read."""
        told = parse(b"", ID, b"error", *([b"x" * 1_000_000] * 3))
        assert isinstance(told, Failure)
        self.assertEqual([len(each) for each in (told.code, told.text, told.trail)], [MAX_TEXT + 1] * 3)

    def test_failureOfOtherLengths(self) -> None:
        """A failure has a code and a text, and nothing but the place."""
        for rest in ([b"app-error"], [b"app-error", b"text", b"place", b"more"]):
            self.assertEqual(parse(b"", ID, b"error", *rest), Malformed("unknown-reply"))

    def test_unknownKind(self) -> None:
        """Another kind of answer is dropped, not guessed at."""
        for kind in (b"ok", b"PARTIAL", b" ", ID, b"x" * 5000):
            self.assertEqual(parse(b"", ID, kind, b"x"), Malformed("unknown-reply"), kind)

    def test_noBody(self) -> None:
        """An id and a delimiter without a body are not taken for an answer, nor for a status."""
        self.assertEqual(parse(b"", ID, b""), Malformed("empty-body"))
        self.assertEqual(parse(b"", ID), Malformed("empty-body"))

    def test_largeFrames(self) -> None:
        """Frames of another type pass untouched in a body, and are copied where they are text."""
        large: Any = memoryview(b"x" * 100)
        message = parse(b"", ID, b"", large)
        assert isinstance(message, tuple)
        self.assertIs(message[2][0], large)
        self.assertEqual(parse(b"", ID, b"error", b"app-error", large), Failure(b"w", ID, b"app-error", b"x" * 100))


class NothingTests(SynchronousTestCase):
    """What is no message."""

    def test_greeting(self) -> None:
        """A PROBE_ROUTER greeting is neither a message nor an offence."""
        self.assertIsNone(parse(b""))

    def test_noDelimiter(self) -> None:
        """A worker's message begins with an empty frame, or with the id of a request."""
        self.assertEqual(parseWorkerMessage([]), Malformed("no-delimiter"))
        self.assertEqual(parse(), Malformed("no-delimiter"))
        self.assertEqual(parse(b"waiting"), Malformed("no-delimiter"))
        self.assertEqual(parse(b"x", b"", ID, b"", b"y"), Malformed("no-delimiter"))


class SendingTests(SynchronousTestCase):
    """What workers are sent, and what ours send first."""

    def test_request(self) -> None:
        """The broker's id stands where the original put the client's address."""
        self.assertEqual(requestFrames(b"w", ID, [b"a", b""]), [b"w", b"", ID, b"", b"a", b""])

    def test_context(self) -> None:
        """A worker that wants the context finds it between the id and the delimiter."""
        *front, context, delimiter, first, second = requestFrames(b"w", ID, [b"a", b""], {"attempt": 3})
        self.assertEqual((front, delimiter, first, second), ([b"w", b"", ID], b"", b"a", b""))
        self.assertEqual(json.loads(context), {"attempt": 3})

    def test_announcement(self) -> None:
        """What a worker announces is what the broker reads, and carries the protocol's number."""
        for each in (Info(), Info(7, "t", 64, True, ("a", "é"))):
            frame = announcement(each)
            self.assertEqual(parse(b"", b"waiting", frame), Status(b"w", b"waiting", each))
            self.assertEqual(json.loads(frame)["pirate"], 1)
