# -*- test-case-name: pirate.test.client.test_call -*-
"""Tests of one call with plain numbers: its attempts, its replies and its errors."""

from __future__ import annotations

import pickle
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pirate import client
from pirate.broker.request import NativeRequest, readRequest
from pirate.client import errors
from pirate.client.call import Call, margin
from pirate.client.endpoints import Outage
from pirate.client.session import Session
from pirate.errors import PirateError
from pirate.test.support.properties import steady
from pirate.wire.frontend import header, parseServerReply
from pirate.wire.words import Code, Frames

REQUEST_ID = bytes(range(16))


def makeCall(*, timeout: float = 10.0, attempts: int = 2, plain: bool = False, **given: Any) -> Call:
    """Return a call that begins at second 100."""
    requestId, done = b"" if plain else REQUEST_ID, list[Call]().append
    return Call(
        [b"a", b"b"], now=100.0, timeout=timeout, attempts=attempts, done=done, endpoint="E", request=requestId, **given
    )


def parsed(call: Call, now: float = 100.0) -> NativeRequest:
    """Return an attempt as a broker reads it."""
    request = readRequest([b"c", *call.frames(now)])
    assert isinstance(request, NativeRequest)
    return request


def replyTo(call: Call, *body: bytes, **options: Any) -> list[bytes]:
    """Return the frames that the caller gets for a reply, or raise the error."""
    session = Session(call.plain, Random(1), lambda: b"", Driver())
    sent = session.add("E", Sink())
    session.connected(sent, 100.0)
    session.begin(call, 100.0)
    session.received(sent, body if call.plain else [header(REQUEST_ID, options), b"", *body], 100.0)
    if call.error is not None:
        raise call.error
    assert call.reply is not None
    return list(call.reply.body)


class Driver:
    """A driver that does nothing."""

    def connect(self, endpoint: str) -> None:
        """See :class:`~pirate.client.session.SessionDriver`."""

    def reportOutage(self, outage: Outage) -> None:
        """See :class:`~pirate.client.session.SessionDriver`."""


class Sink:
    """A connection that accepts every message."""

    def send(self, frames: Frames) -> bool:
        """See :class:`~pirate.client.endpoints.MessageSink`."""
        return True

    def reopen(self) -> None:
        """See :class:`~pirate.client.endpoints.MessageSink`."""


class AttemptTests(SynchronousTestCase):
    """The attempts of a call."""

    def test_shares(self) -> None:
        """Three attempts of a call of 9 seconds are due at 0, 3 and 6 seconds, and it ends at 9."""
        call = makeCall(timeout=9.0, attempts=3)
        for at in (100.0, 103.0, 106.0):
            self.assertEqual(call.next, at)
            call.markSent(at)
        self.assertEqual((call.next, call.deadline, call.sent), (float("inf"), 109.0, 3))

    def test_jitter(self) -> None:
        """Jitter stretches a share of the time, so that clients do not retry in step."""
        call = makeCall()
        call.markSent(100.0, 1.25)
        self.assertEqual(call.next, 106.25)

    def test_lateConnection(self) -> None:
        """Attempts share the time that is left: if the first is sent at 6 of 10 seconds, the next is due at 8."""
        call = makeCall()
        call.markSent(106.0)
        self.assertEqual(call.next, 108.0)

    def test_oneAttempt(self) -> None:
        """A call with one attempt, or one that takes parts, is never sent again by the clock."""
        stream = makeCall(attempts=3, part=lambda frames: None)
        for call in (makeCall(attempts=1), stream):
            call.markSent(100.0)
            self.assertEqual(call.next, float("inf"))

    def test_frames(self) -> None:
        """An attempt carries the id and the milliseconds until its expiry, as the broker reads them."""
        call = makeCall()
        for now, left in ((100.0, 9.5), (107.0, 2.5), (109.4999, 0.001), (109.9, 0.001)):
            request = parsed(call, now)
            self.assertEqual((request.requestId, request.body, request.service), (REQUEST_ID, [b"a", b"b"], ""))
            self.assertAlmostEqual(request.timeout or 0.0, left)

    def test_once(self) -> None:
        """A call with one attempt tells the server so, and is in no batch; one with more leaves it to the server."""
        for attempts, told in ((1, 1), (2, 0), (5, 0)):
            call = Call([b"a"], now=100.0, timeout=1, attempts=attempts, done=id, request=REQUEST_ID)
            self.assertEqual((parsed(call).maxAttempts, call.small), (told, attempts > 1))
        self.assertEqual(parsed(makeCall(attempts=1, part=list[Any]().append)).maxAttempts, 1)
        self.assertEqual(parsed(makeCall(attempts=1, command="ping")).maxAttempts, 0)

    def test_options(self) -> None:
        """The header carries the service, the trace, the request for parts and the timeout."""
        call = makeCall(service="resize", trace="00-1", part=lambda frames: None)
        request = parsed(call)
        self.assertEqual(
            (request.service, request.trace, request.partial, request.timeout), ("resize", "00-1", True, 9.5)
        )

    def test_margin(self) -> None:
        """The server's deadline is 5 % earlier, but 50 ms to a second; of a short timeout, a quarter at most."""
        for timeout, less in (
            (0.02, 0.005),
            (0.2, 0.05),
            (0.5, 0.05),
            (1.0, 0.05),
            (10.0, 0.5),
            (20.0, 1.0),
            (1e9, 1.0),
        ):
            self.assertAlmostEqual(margin(timeout), less)

    def test_plainFrames(self) -> None:
        """A plain call sends its body and nothing else."""
        self.assertEqual(makeCall(plain=True).frames(100.0), [b"a", b"b"])


class ReplyTests(SynchronousTestCase):
    """Replies."""

    def test_frames(self) -> None:
        """A reply's frames arrive as they are, an empty one too."""
        self.assertEqual(replyTo(makeCall(), b"x"), [b"x"])
        self.assertEqual(replyTo(makeCall(), b""), [b""])
        self.assertEqual(replyTo(makeCall(), b"x", b"", status="ok"), [b"x", b""])

    def test_ownHeader(self) -> None:
        """A broker that knows only the envelope rule returns our own header: that is a reply like any other."""
        self.assertEqual(replyTo(makeCall(), b"x", timeout_ms=10000, service="resize"), [b"x"])

    def test_plain(self) -> None:
        """On a REQ socket every message is the reply, even one that looks like a header."""
        self.assertEqual(replyTo(makeCall(plain=True), b"x"), [b"x"])
        self.assertEqual(replyTo(makeCall(plain=True), b"PIR1", b"", b"x"), [b"PIR1", b"", b"x"])

    @steady
    @given(
        st.lists(st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(lambda each: b"PIR1" + each)), max_size=5)
    )
    def test_total(self, frames: list[bytes]) -> None:
        """Any frames parse to a reply or to None."""
        found = parseServerReply(frames)
        self.assertTrue(found is None or (len(found.requestId) == 16 and len(found.body) >= 1))

    @steady
    @given(
        st.dictionaries(
            st.sampled_from(["status", "code", "message", "attempts"]),
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.text("ab:\n"),
                st.lists(st.integers()),
                st.sampled_from(list(Code)),
            ),
        )
    )
    def test_anyOptions(self, options: dict[str, Any]) -> None:
        """Any header ends the call in a reply or a CallError."""
        try:
            replyTo(makeCall(), b"x", **options)
        except errors.CallError as error:
            self.assertIsInstance(error.attempts, int)
        except AssertionError:
            self.assertEqual(options.get("status"), "partial")


class ErrorTests(SynchronousTestCase):
    """Errors, and what they say."""

    def error(self, **options: Any) -> errors.CallError:
        """Return the error for a server's header."""
        error: errors.CallError = self.assertRaises(
            errors.CallError, replyTo, makeCall(), b"", **{"status": "error", **options}
        )
        return error

    def test_everyCode(self) -> None:
        """Each code has a class, with the facts in its attributes and advice in its docstring."""
        seen = set()
        for code in Code:
            error = self.error(code=code, message="words", attempts=3)
            seen.add(type(error))
            self.assertEqual((error.code, error.detail, error.attempts, error.sent), (code, "words", 3, 1))
            self.assertEqual((error.endpoint, error.request), ("E", REQUEST_ID))
            self.assertTrue(str(error).endswith(": words"))
            self.assertIn(":", type(error).__doc__ or "")
        self.assertEqual(len(seen), len(Code))
        self.assertNotIn(errors.CallError, seen)

    def test_backend(self) -> None:
        """A client that calls the backend is told so; the error does not mention versions."""
        call = makeCall()
        told = "this is the backend: a client is calling the backend, where workers connect; call the frontend"
        error = call.failure({"status": "error", "code": "malformed", "message": told})
        self.assertEqual((type(error), error.code, error.detail), (errors.Malformed, "malformed", told))
        self.assertEqual(str(error), "E is a server's backend, where its workers connect: call its frontend")

    def test_tooLarge(self) -> None:
        """A request that the server denies because of its size raises TooLarge, with the server's code."""
        error = errors.failure("denied", "it has more frames than max-message-frames allows", "E")
        self.assertEqual((type(error), error.code), (errors.TooLarge, "denied"))
        self.assertIs(type(errors.failure("denied", "not you", "E")), errors.Denied)

    def test_unknownCode(self) -> None:
        """A code of a later version ends the call, with the code in the message."""
        error = self.error(code="too-late")
        self.assertIs(type(error), errors.CallError)
        self.assertEqual(error.code, "too-late")
        self.assertIn("too-late", str(error))

    def test_unknownStatus(self) -> None:
        """A status of a later version ends the call too: it is not taken for a reply."""
        self.assertEqual(self.error(status="moved").code, "moved")

    def test_appError(self) -> None:
        """An AppError separates the remote exception's type from its text, if the server sent both."""
        for message, kind, text in (
            ("ValueError: bad: very", "ValueError", "bad: very"),
            ("my.module.Error: x", "my.module.Error", "x"),
            ("KeyError", "KeyError", ""),
            ("no type here: x", "", "no type here: x"),
            ("", "", ""),
        ):
            error = self.error(code="app-error", message=message)
            assert isinstance(error, errors.AppError)
            self.assertEqual((error.type, error.text), (kind, text))

    def test_timeKinds(self) -> None:
        """Timeout is the base of every error of a timeout."""
        for code in (Code.EXPIRED, Code.TIMEOUT):
            self.assertIsInstance(self.error(code=code), errors.Timeout)

    def test_nothingSent(self) -> None:
        """A Timeout says whether anything was sent: if not, the endpoint is suspect, and calling again is safe."""
        error = makeCall(timeout=2.5).timeoutError()
        self.assertEqual((error.sent, error.code, error.endpoint, error.request), (0, "", "E", REQUEST_ID))
        self.assertIsInstance(error, errors.Unavailable)
        self.assertIn("within 2.5 s, nothing was sent", str(error))

    def test_noReply(self) -> None:
        """A Timeout says how often the request was sent, and that the job may have run."""
        call = makeCall()
        call.markSent(100.0)
        self.assertIn("(1 attempt), the job may have run", str(call.timeoutError()))
        call.markSent(105.0)
        self.assertIn("(2 attempts)", str(call.timeoutError()))
        self.assertEqual(call.timeoutError().sent, 2)

    def test_plainSize(self) -> None:
        """The error of a plain call that may exceed a server's limits says so; the server has not told its client."""
        for size, plain, told in ((1025, True, True), (1024, True, False), (1025, False, False)):
            call = makeCall(plain=plain)
            call.body = [bytes(size)]
            call.markSent(100.0)
            for error in (call.timeoutError(), call.timeoutError(connected=False), call.connectionLostError()):
                self.assertEqual(f"its limits may be lower than the {size} bytes" in str(error), told)

    def test_pickle(self) -> None:
        """Pickling keeps all attributes of an error."""
        error = self.error(code="app-error", message="ValueError: bad", attempts=1)
        copy = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(copy), str(copy), vars(copy)), (type(error), str(error), vars(error)))

    def test_tree(self) -> None:
        """Every public error is a PirateError, so that one except clause is enough."""
        for name in client.__all__:
            each = getattr(client, name)
            if isinstance(each, type) and issubclass(each, Exception):
                self.assertTrue(issubclass(each, PirateError), name)
