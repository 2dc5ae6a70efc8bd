# -*- test-case-name: pirate.test.client.test_client -*-
"""The client's core with plain numbers: when it tries, which answer it takes, what it raises."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from functools import partial
from inspect import Parameter, signature
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import pirate
from pirate import client
from pirate.broker.request import NativeRequest, readRequest
from pirate.client import errors
from pirate.client.call import Call, margin
from pirate.client.endpoints import Outage
from pirate.client.options import ClientOptions, OptionArguments
from pirate.client.session import Session
from pirate.errors import PirateError
from pirate.test.support.properties import steady
from pirate.wire.frontend import header, parseServerReply
from pirate.wire.words import Code, Frames

KEY = bytes(range(16))


def makeCall(*, timeout: float = 10.0, attempts: int = 2, plain: bool = False, **given: Any) -> Call:
    """Return a call that begins at second 100."""
    key, done = b"" if plain else KEY, list[Call]().append
    return Call([b"a", b"b"], now=100.0, timeout=timeout, attempts=attempts, done=done, endpoint="E", key=key, **given)


def parsed(call: Call, now: float = 100.0) -> NativeRequest:
    """What a broker makes of a try."""
    request = readRequest([b"c", *call.frames(now)])
    assert isinstance(request, NativeRequest)
    return request


def told(call: Call, *body: bytes, **options: Any) -> list[bytes]:
    """Return the frames that the caller gets for a reply, or raise the error."""
    session = Session(call.plain, Random(1), lambda: b"", Driver())
    sent = session.add("E", Sink())
    session.connected(sent, 100.0)
    session.begin(call, 100.0)
    session.received(sent, body if call.plain else [header(KEY, options), b"", *body], 100.0)
    if call.error is not None:
        raise call.error
    assert call.reply is not None
    return list(call.reply.body)


class Driver:
    """A driver of a session that needs none."""

    def connect(self, endpoint: str) -> None:
        """See :class:`~pirate.client.session.SessionDriver`."""

    def reportOutage(self, outage: Outage) -> None:
        """See :class:`~pirate.client.session.SessionDriver`."""


class Sink:
    """A connection that takes everything."""

    def send(self, frames: Frames) -> bool:
        """See :class:`~pirate.client.endpoints.MessageSink`."""
        return True

    def reopen(self) -> None:
        """See :class:`~pirate.client.endpoints.MessageSink`."""


class TryTests(SynchronousTestCase):
    """When a call is sent, and what."""

    def test_shares(self) -> None:
        """Three tries of a 9 second call are due at 0, 3 and 6 seconds, and it ends at 9."""
        call = makeCall(timeout=9.0, attempts=3)
        for at in (100.0, 103.0, 106.0):
            self.assertEqual(call.next, at)
            call.markSent(at)
        self.assertEqual((call.next, call.deadline, call.sent), (float("inf"), 109.0, 3))

    def test_jitter(self) -> None:
        """A share may be stretched, so that clients do not all ask again at the same time."""
        call = makeCall()
        call.markSent(100.0, 1.25)
        self.assertEqual(call.next, 106.25)

    def test_lateConnection(self) -> None:
        """A try that waited for its connection shares what is left: sent at 6 of 10 seconds, the next is due at 8."""
        call = makeCall()
        call.markSent(106.0)
        self.assertEqual(call.next, 108.0)

    def test_oneTry(self) -> None:
        """With one try nothing is ever sent again; nor is what takes parts, which would come twice."""
        stream = makeCall(attempts=3, part=lambda frames: None)
        for call in (makeCall(attempts=1), stream):
            call.markSent(100.0)
            self.assertEqual(call.next, float("inf"))

    def test_frames(self) -> None:
        """A try carries the id, and in milliseconds what is left until its expiry, as the broker reads it."""
        call = makeCall()
        for now, left in ((100.0, 9.5), (107.0, 2.5), (109.4999, 0.001), (109.9, 0.001)):
            request = parsed(call, now)
            self.assertEqual((request.key, request.body, request.service), (KEY, [b"a", b"b"], ""))
            self.assertAlmostEqual(request.timeout or 0.0, left)

    def test_options(self) -> None:
        """The name of a service, the trace and the wish for parts are in the header, and the time too."""
        call = makeCall(service="resize", trace="00-1", part=lambda frames: None)
        request = parsed(call)
        self.assertEqual(
            (request.service, request.trace, request.partial, request.timeout), ("resize", "00-1", True, 9.5)
        )

    def test_margin(self) -> None:
        """The server is told 5 % less, 50 ms to a second; of a short time, no more than a quarter."""
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
        """A plain call sends its body and not a byte more."""
        self.assertEqual(makeCall(plain=True).frames(100.0), [b"a", b"b"])


class AnswerTests(SynchronousTestCase):
    """What an answer says."""

    def test_frames(self) -> None:
        """A reply's frames arrive as they are, an empty one too."""
        self.assertEqual(told(makeCall(), b"x"), [b"x"])
        self.assertEqual(told(makeCall(), b""), [b""])
        self.assertEqual(told(makeCall(), b"x", b"", status="ok"), [b"x", b""])

    def test_ownHeader(self) -> None:
        """A broker that knows only the envelope rule returns our own header: that is an answer like any other."""
        self.assertEqual(told(makeCall(), b"x", timeout_ms=10000, service="resize"), [b"x"])

    def test_plain(self) -> None:
        """On a REQ socket whatever comes is the answer, even what looks like a header."""
        self.assertEqual(told(makeCall(plain=True), b"x"), [b"x"])
        self.assertEqual(told(makeCall(plain=True), b"PIR1", b"", b"x"), [b"PIR1", b"", b"x"])

    @steady
    @given(
        st.lists(st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(lambda each: b"PIR1" + each)), max_size=5)
    )
    def test_total(self, frames: list[bytes]) -> None:
        """Any frames give an answer or None."""
        found = parseServerReply(frames)
        self.assertTrue(found is None or (len(found.key) == 16 and len(found.body) >= 1))

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
        """Whatever a header says, the call ends in a reply or a CallError."""
        try:
            told(makeCall(), b"x", **options)
        except errors.CallError as error:
            self.assertIsInstance(error.attempts, int)
        except AssertionError:
            self.assertEqual(options.get("status"), "partial")


class ErrorTests(SynchronousTestCase):
    """What is raised, and what it tells."""

    def error(self, **options: Any) -> errors.CallError:
        """The error that a server's header gives."""
        error: errors.CallError = self.assertRaises(
            errors.CallError, told, makeCall(), b"", **{"status": "error", **options}
        )
        return error

    def test_everyCode(self) -> None:
        """Each code has a class of its own, with the facts in its attributes and advice in its docstring."""
        seen = set()
        for code in Code:
            error = self.error(code=code, message="words", attempts=3)
            seen.add(type(error))
            self.assertEqual((error.code, error.detail, error.attempts, error.sent), (code, "words", 3, 1))
            self.assertEqual((error.endpoint, error.request), ("E", KEY))
            self.assertTrue(str(error).endswith(": words"))
            self.assertIn(":", type(error).__doc__ or "")
        self.assertEqual(len(seen), len(Code))
        self.assertNotIn(errors.CallError, seen)

    def test_backend(self) -> None:
        """What calls the backend of a server is told so, and nothing about versions."""
        call = makeCall()
        told = "this is the backend: a client is calling the backend, where workers connect; call the frontend"
        error = call.failure({"status": "error", "code": "malformed", "message": told})
        self.assertEqual((type(error), error.code, error.detail), (errors.Malformed, "malformed", told))
        self.assertEqual(str(error), "E is a server's backend, where its workers connect: call its frontend")

    def test_tooLarge(self) -> None:
        """What the server denies because of its size is a TooLarge, with the server's own code."""
        error = errors.failure("denied", "it has more frames than max-message-frames allows", "E")
        self.assertEqual((type(error), error.code), (errors.TooLarge, "denied"))
        self.assertIs(type(errors.failure("denied", "not you", "E")), errors.Denied)

    def test_unknownCode(self) -> None:
        """A code of a later version still ends the call, with the code in the message."""
        error = self.error(code="too-late")
        self.assertIs(type(error), errors.CallError)
        self.assertEqual(error.code, "too-late")
        self.assertIn("too-late", str(error))

    def test_unknownStatus(self) -> None:
        """So does a status of a later version: it is not taken for a reply."""
        self.assertEqual(self.error(status="moved").code, "moved")

    def test_appError(self) -> None:
        """An AppError has the remote exception's type and text apart, if the server gave both."""
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
        """Whoever catches Timeout catches all three ways of running out of time."""
        for code in (Code.EXPIRED, Code.TIMEOUT):
            self.assertIsInstance(self.error(code=code), errors.Timeout)

    def test_nothingSent(self) -> None:
        """A Timeout tells whether anything was sent: if not, calling again is safe and the endpoint is suspect."""
        error = makeCall(timeout=2.5).timedOut()
        self.assertEqual((error.sent, error.code, error.endpoint, error.request), (0, "", "E", KEY))
        self.assertIsInstance(error, errors.Unavailable)
        self.assertIn("within 2.5 s, nothing was sent", str(error))

    def test_noReply(self) -> None:
        """Otherwise it tells how often, and that the job may have run."""
        call = makeCall()
        call.markSent(100.0)
        self.assertIn("(1 attempt), the job may have run", str(call.timedOut()))
        call.markSent(105.0)
        self.assertIn("(2 attempts)", str(call.timedOut()))
        self.assertEqual(call.timedOut().sent, 2)

    def test_pickle(self) -> None:
        """An error survives the way between processes with all that it knows."""
        error = self.error(code="app-error", message="ValueError: bad", attempts=1)
        copy = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(copy), str(copy), vars(copy)), (type(error), str(error), vars(error)))

    def test_tree(self) -> None:
        """Every public error is a PirateError, so one except clause is enough."""
        for name in client.__all__:
            each = getattr(client, name)
            if isinstance(each, type) and issubclass(each, Exception):
                self.assertTrue(issubclass(each, PirateError), name)


class SignatureTests(SynchronousTestCase):
    """The arguments that the faces take."""

    def test_faces(self) -> None:
        """All faces take the same arguments by name, with the types of ``OptionArguments`` and the same defaults."""
        expected = {name: each.__forward_arg__ for name, each in OptionArguments.__annotations__.items()}
        for name in ("Client", "AsyncClient", "Executor", "TwistedClient"):
            shown = dict(signature(getattr(client, name)).parameters)
            self.assertEqual(shown.pop("endpoint").default, "tcp://127.0.0.1:6660", name)
            self.assertEqual(shown.pop("reactor", None) is not None, name == "TwistedClient", name)
            self.assertEqual(shown.pop("codec").default, "bytes", name)
            self.assertEqual({each.name: each.annotation for each in shown.values()}, expected, name)
            self.assertEqual({each.kind for each in shown.values()}, {Parameter.KEYWORD_ONLY}, name)
            defaults = {each.name: each.default for each in shown.values()}
            self.assertEqual(defaults.pop("timeout"), 3600 if name == "Executor" else 10, name)
            checked = {each.name: each.default for each in signature(ClientOptions).parameters.values()}
            self.assertEqual(defaults, {each: checked[each] for each in defaults}, name)

    def test_map(self) -> None:
        """All clients' ``map`` take the same arguments, with the same defaults."""
        expected = signature(client.Client.map).parameters
        for each in (client.AsyncClient, client.TwistedClient):
            self.assertEqual(signature(each.map).parameters, expected)

    def test_misspelt(self) -> None:
        """A misspelt argument is rejected by its name."""
        wrong: Any = {"tiemout": 2}
        for make in (client.Client, client.AsyncClient, client.Executor, partial(client.TwistedClient, None)):
            self.assertIn("unexpected keyword argument 'tiemout'", str(self.assertRaises(TypeError, make, **wrong)))


class ImportTests(SynchronousTestCase):
    """What the client costs to import."""

    def test_light(self) -> None:
        """Neither Twisted nor txZMQ is loaded, nor what is slow in the standard library."""
        heavy = {"twisted", "txzmq", "dataclasses", "inspect", "asyncio", "logging"}
        code = f"import sys, pirate.commands.client; print(*{heavy!r} & set(sys.modules))"
        environ = {**os.environ, "PYTHONPATH": str(Path(pirate.__file__).parent.parent)}
        run = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(run, env=environ, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.stdout.strip(), done.stderr), ("", ""))
