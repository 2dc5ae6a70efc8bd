# -*- test-case-name: pirate.test.settings.test_endpoints -*-
"""Tests of the endpoints that a server binds."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.settings.endpoints import MAX_IPC_PATH, canonicalEndpoint, hostOf, isPublic, portOf


class ParseTests(SynchronousTestCase):
    """Parsing an endpoint."""

    def test_table(self) -> None:
        """Every form has one full form."""
        table: dict[Any, str] = {
            6660: "tcp://127.0.0.1:6660",
            "6660": "tcp://127.0.0.1:6660",
            " 6660\n": "tcp://127.0.0.1:6660",
            "1": "tcp://127.0.0.1:1",
            "65535": "tcp://127.0.0.1:65535",
            "*": "tcp://127.0.0.1:*",
            0: "tcp://127.0.0.1:*",
            "0": "tcp://127.0.0.1:*",
            "localhost:6660": "tcp://localhost:6660",
            "10.0.0.1:6660": "tcp://10.0.0.1:6660",
            "10.0.0.1:*": "tcp://10.0.0.1:*",
            "*:6660": "tcp://*:6660",
            "tcp://*:*": "tcp://*:*",
            "tcp://127.0.0.1:6660": "tcp://127.0.0.1:6660",
            "tcp://127.0.0.1:0": "tcp://127.0.0.1:*",
            "[::1]:6660": "tcp://[::1]:6660",
            "[::]:*": "tcp://[::]:*",
            "tcp://[fe80::1%eth0]:6660": "tcp://[fe80::1%eth0]:6660",
            "tcp://eth0:6660": "tcp://eth0:6660",
            "ipc:///run/pirate/frontend": "ipc:///run/pirate/frontend",
            "ipc:///run/with space:1": "ipc:///run/with space:1",
            "ipc://frontend": f"ipc://{os.getcwd()}/frontend",
        }
        for given, full in table.items():
            self.assertEqual(canonicalEndpoint(given), full, given)

    def test_idempotent(self) -> None:
        """A full endpoint is parsed to itself."""
        for given in (6660, "*", "[::1]:1", "tcp://*:*", "ipc:///run/x", "ipc://x"):
            self.assertEqual(canonicalEndpoint(canonicalEndpoint(given)), canonicalEndpoint(given))

    def test_invalid(self) -> None:
        """Any other text is refused with one line that repeats it."""
        invalid: list[Any] = [None, True, b"6660", 1.5, -1, 65536, (6660,)]
        invalid += ["", " ", "x", "-1", "+1", "1e3", "1_0", "65536", "99999999", "9" * 5000, "\u0661", "6660 6661"]
        invalid += [":", ":1", "host:", "host:x", "host:-1", "host:65536", "host:**", "host: 1", "6660:", "tcp://"]
        invalid += ["tcp://:1", "tcp://6660", "tcp://host", "tcp://host:", "tcp://*", "tcp:/host:1"]
        invalid += ["::1:6660", "tcp://::1:6660", "[::1]", "[::1", "[::1:6660", "::1]:6660", "[]:1", "[x]:1"]
        invalid += ["[127.0.0.1]:1", "[localhost]:1", "[::g]:1", "[[::1]]:1", "[1:2]:3", "[%eth0]:1"]
        invalid += ["udp://host:1", "inproc://x", "http://host:1", "://host:1", "TCP://host:1", "x://"]
        invalid += ["ipc://", "ipc://@abstract", "ipc://a\0b", "ipc://a\nb", "ipc://\udcff", "ho\0st:1", "h\nost:1"]
        for given in invalid:
            error = self.assertRaises(ConfigurationError, canonicalEndpoint, given)
            self.assertIn(repr(str(given).strip()), str(error))
            self.assertNotIn("\n", str(error))

    def test_longPath(self) -> None:
        """The absolute path of a UNIX socket has a limit in bytes."""
        path = "/" + "x" * (MAX_IPC_PATH - 1)
        self.assertEqual(canonicalEndpoint(f"ipc://{path}"), f"ipc://{path}")
        for long in (f"{path}x", f"{path[:-1]}é", "x" * MAX_IPC_PATH):
            error = self.assertRaises(ConfigurationError, canonicalEndpoint, f"ipc://{long}")
            self.assertIn(str(MAX_IPC_PATH), str(error))

    def test_systemLimit(self) -> None:
        """The limit is the size of ``sun_path`` without the final zero."""
        self.assertEqual(MAX_IPC_PATH, 107)


class PublicTests(SynchronousTestCase):
    """Endpoints that other machines can reach."""

    def test_private(self) -> None:
        """Loopback addresses and UNIX sockets are private."""
        for given in (6660, "*", "localhost:1", "127.1.2.3:1", "[::1]:1", "ipc://x", "ipc:///tmp/0.0.0.0:1"):
            self.assertFalse(isPublic(canonicalEndpoint(given)), given)

    def test_public(self) -> None:
        """Every other address is public, and so is every name except ``localhost``."""
        given = ["*:1", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "192.168.1.1:1", "[fe80::1%eth0]:1", "[2001:db8::1]:1"]
        for each in [*given, "eth0:1", "example.org:1", "localhost.example.org:1", "127.0.0.1.example.org:1"]:
            self.assertTrue(isPublic(canonicalEndpoint(each)), each)


class PartTests(SynchronousTestCase):
    """The parts of an endpoint."""

    def test_host(self) -> None:
        """``hostOf`` keeps the brackets of an IPv6 address."""
        self.assertEqual(hostOf("tcp://127.0.0.1:6660"), "127.0.0.1")
        self.assertEqual(hostOf("tcp://[::1]:*"), "[::1]")

    def test_port(self) -> None:
        """``portOf`` returns the port, or the file name of a UNIX socket."""
        self.assertEqual(portOf("tcp://[::1]:6660"), "6660")
        self.assertEqual(portOf("ipc:///run/pirate:2/frontend"), "frontend")
