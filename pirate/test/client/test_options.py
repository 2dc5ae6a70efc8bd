# -*- test-case-name: pirate.test.client.test_options -*-
"""Tests of the options of a client: which arguments are valid, and how they are parsed."""

from __future__ import annotations

from collections.abc import Sequence
from socket import AF_INET, AF_INET6, SOCK_STREAM
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pirate.client import options
from pirate.client.call import Call
from pirate.client.codecs import toFrames
from pirate.client.options import ClientOptions, resolve
from pirate.errors import ConfigurationError
from pirate.test.support.properties import steady


class Frames:
    """A codec that encodes every request the same."""

    def __init__(self, frames: Any) -> None:
        self.frames = frames

    def encode(self, values: tuple[Any, ...]) -> Any:
        return self.frames

    def decode(self, frames: Sequence[bytes]) -> Any:
        return frames


class EndpointTests(SynchronousTestCase):
    """The forms of an endpoint."""

    def test_short(self) -> None:
        """A bare port means the loopback interface, as it does in the server; a host needs no scheme."""
        self.assertEqual(options.canonicalEndpoint(6660), "tcp://127.0.0.1:6660")
        self.assertEqual(options.canonicalEndpoint("6660"), "tcp://127.0.0.1:6660")
        self.assertEqual(options.canonicalEndpoint("jobs.example:1"), "tcp://jobs.example:1")
        self.assertEqual(options.canonicalEndpoint("[::1]:65535"), "tcp://[::1]:65535")

    def test_full(self) -> None:
        """A ZeroMQ endpoint stays as it is."""
        for each in ("tcp://127.0.0.1:6660", "tcp://[::1]:6660", "ipc:///run/pirate/frontend"):
            self.assertEqual(options.canonicalEndpoint(each), each)

    def test_refused(self) -> None:
        """Anything else raises an error of one line with the value and the valid forms."""
        wrong: list[Any] = [0, 65536, -1, True, None, b"6660", "", "host", "host:", ":6660", "*:6660", "tcp://*:1"]
        wrong += [
            "::1:6660",
            "host:0",
            "host:99999",
            "host:0000080",
            "host:\u0661",
            "ipc://",
            "inproc://x",
            "a b:1",
            "h:1\n2",
            "a..b:1",
            ".:1",
            f"{64 * 'x'}:1",
            "b\u00fccher:1",
        ]
        for each in wrong:
            error = self.assertRaises(ConfigurationError, options.canonicalEndpoint, each)
            self.assertIn(repr(each), str(error))
            self.assertIn("tcp://host:port", str(error))
            self.assertNotIn("\n", str(error))

    @steady
    @given(st.one_of(st.text("09ahi:/[]*.@ \n\0\u0661"), st.integers(-9, 99999)))
    def test_total(self, value: str | int) -> None:
        """Any text or number parses to an endpoint that parses to itself, or raises ConfigurationError."""
        try:
            found = options.canonicalEndpoint(value)
        except ConfigurationError:
            return
        self.assertEqual(options.canonicalEndpoint(found), found)


class ArgumentTests(SynchronousTestCase):
    """The other arguments."""

    def test_seconds(self) -> None:
        """A timeout is a finite number above 0: zero, infinity, NaN, text and booleans are invalid."""
        self.assertEqual(options.checkTimeout(1), 1.0)
        self.assertEqual(options.checkTimeout(0.001), 0.001)
        wrong: list[Any] = [0, -1, float("inf"), float("nan"), True, "2", None, 1e10]
        for each in wrong:
            self.assertIn(repr(each), str(self.assertRaises(ConfigurationError, options.checkTimeout, each)))

    def test_attempts(self) -> None:
        """The number of attempts is an integer of at least 1."""
        self.assertEqual((options.checkAttempts(1), options.checkAttempts(1000)), (1, 1000))
        wrong: list[Any] = [-1, 0, 1001, 1.5, True, "2", None]
        for each in wrong:
            self.assertIn(repr(each), str(self.assertRaises(ConfigurationError, options.checkAttempts, each)))

    def test_endpoints(self) -> None:
        """There is one endpoint, or there are several, each once; an empty list is invalid."""
        self.assertEqual(options.canonicalEndpoints(6660), ("tcp://127.0.0.1:6660",))
        self.assertEqual(options.canonicalEndpoints(["6660", 6660, "a:1"]), ("tcp://127.0.0.1:6660", "tcp://a:1"))
        wrong: list[Any] = [[], None, b"6660", ["nowhere"], True]
        for each in wrong:
            self.assertRaises(ConfigurationError, options.canonicalEndpoints, each)

    def test_isLocal(self) -> None:
        """The loopback interface and UNIX sockets are local."""
        for endpoint in ("tcp://127.0.0.1:1", "tcp://127.9.9.9:1", "tcp://[::1]:1", "tcp://localhost:1", "ipc:///x"):
            self.assertTrue(options.isLocal(endpoint), endpoint)
        for endpoint in ("tcp://10.0.0.1:1", "tcp://127.0.0.1.example:1", "tcp://[2001:db8::1]:1", "tcp://127.x:1"):
            self.assertFalse(options.isLocal(endpoint), endpoint)

    def test_resolve(self) -> None:
        """A name with several addresses is several endpoints, IPv4 before IPv6; with one it stays as it is."""

        def found(*hosts: str) -> list[Any]:
            return [(AF_INET6 if ":" in host else AF_INET, SOCK_STREAM, 6, "", (host, 1)) for host in hosts]

        name = "tcp://jobs.example:1"
        self.assertEqual(resolve(name, found("10.0.0.1", "::1", "10.0.0.2")), ["tcp://10.0.0.1:1", "tcp://10.0.0.2:1"])
        self.assertEqual(resolve(name, found("fd::1", "fd::2")), ["tcp://[fd::1]:1", "tcp://[fd::2]:1"])
        for several in ([], found("10.0.0.1"), found("10.0.0.1", "10.0.0.1")):
            self.assertEqual(resolve(name, several), [name])
        for endpoint in ("tcp://10.0.0.1:1", "tcp://[::1]:1", "ipc:///x"):
            self.assertEqual(resolve(endpoint), [endpoint])

    def test_identity(self) -> None:
        """An identity is a valid routing id, with room for the number of a replaced socket."""
        for right in (None, b"x", b"x" * 240):
            self.assertEqual(options.checkIdentity(right), right)
        wrong: list[Any] = [b"", b"\0x", b"x" * 241, "x"]
        for each in wrong:
            self.assertIn(repr(each), str(self.assertRaises(ConfigurationError, options.checkIdentity, each)))

    def test_service(self) -> None:
        """The name of a service is text that the broker accepts."""
        self.assertEqual(options.checkService("resize"), "resize")
        wrong: list[Any] = ["x" * 256, b"resize", None]
        for each in wrong:
            self.assertRaises(ConfigurationError, options.checkService, each)

    def test_request(self) -> None:
        """The id of a request is 16 bytes."""
        self.assertEqual(options.checkRequestId(b"x" * 16), b"x" * 16)
        wrong: list[Any] = [b"", b"x" * 15, "x" * 16, None]
        for each in wrong:
            self.assertIn(repr(each), str(self.assertRaises(ConfigurationError, options.checkRequestId, each)))

    def test_ownCodec(self) -> None:
        """The frames of a user's codec are checked before they are sent."""
        ends: list[Call] = []
        wrong: list[Any] = [["text"], [], b"frames", [b"x", None]]
        for frames in wrong:
            self.assertRaises(TypeError, ClientOptions(1, Frames(frames)).newCall, (1,), ends.append)
        right = ClientOptions(1, Frames((b"a", bytearray(b"b"))))
        self.assertEqual(right.newCall((1,), ends.append).body, [b"a", b"b"])

    def test_body(self) -> None:
        """Frames are bytes; those that could change before a retry are copied; text and lists are invalid."""
        changing = bytearray(b"b")
        frames = toFrames((b"a", changing, memoryview(b"c")))
        changing[:] = b"X"
        self.assertEqual(frames, [b"a", b"b", b"c"])
        wrong: list[Any] = [(), ("a",), ([b"a"],), (None,)]
        for each in wrong:
            self.assertRaises(TypeError, toFrames, each)
