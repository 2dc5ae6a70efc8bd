# -*- test-case-name: pirate.test.transport.test_binding -*-
"""The tests of bindings, with a stand-in for the ZeroMQ socket and real files."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path

import zmq
from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import BindError
from pirate.transport.binding import Binding


class Socket:
    """A ZeroMQ socket that binds UNIX sockets, and pretends to bind TCP endpoints."""

    def __init__(self) -> None:
        self.ipv6 = False
        self.last_endpoint = b""
        self.refusal: zmq.ZMQError | None = None
        self.listening: list[socket.socket] = []

    def bind(self, endpoint: str) -> None:
        """Bind an endpoint, or raise the error that the test has set."""
        if self.refusal is not None:
            raise self.refusal
        self.last_endpoint = endpoint.replace("*", "50000").encode()
        if endpoint.startswith("ipc://"):
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(endpoint.removeprefix("ipc://"))
            listening.listen()
            self.listening.append(listening)

    def close(self) -> None:
        """Stop listening; the files stay."""
        for each in self.listening:
            each.close()


class BindingTests(SynchronousTestCase):
    """Bind endpoints, refuse them, and remove their files."""

    def setUp(self) -> None:
        # Short enough for the path of a UNIX socket, which that of a test's own directory may not be.
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.path = self.root / "frontend"
        self.socket = Socket()
        self.addCleanup(self.socket.close)

    def make(self, endpoint: str = "") -> Binding:
        """Return the binding of an endpoint; by default, of the UNIX socket of the test."""
        return Binding(self.socket, "frontend", endpoint or f"ipc://{self.path}")

    def refused(self, reason: str) -> None:
        """Check that the UNIX socket of the test cannot be bound, and why."""
        error = self.assertRaises(BindError, self.make().bind)
        self.assertEqual(str(error), f"frontend ipc://{self.path}: {reason}")

    def test_port(self) -> None:
        """The real port is reported in place of ``*``."""
        self.assertEqual(self.make("tcp://127.0.0.1:*").bind(), "tcp://127.0.0.1:50000")
        self.assertFalse(self.socket.ipv6)

    def test_ipv6(self) -> None:
        """IPv6 is enabled for IPv6 addresses only."""
        self.make("tcp://[::1]:*").bind()
        self.assertTrue(self.socket.ipv6)

    def test_inUse(self) -> None:
        """An error of the system is one short line with the side, the endpoint and the reason."""
        self.socket.refusal = zmq.ZMQError(errno.EADDRINUSE)
        error = self.assertRaises(BindError, self.make("tcp://127.0.0.1:6660").bind)
        self.assertEqual(str(error), f"frontend tcp://127.0.0.1:6660: {os.strerror(errno.EADDRINUSE)}")
        self.assertLess(len(f"pirate: {error}"), 100)

    def test_mode(self) -> None:
        """A UNIX socket has mode 0700, and the process's umask is restored, even after an error."""
        mask = os.umask(0o022)
        self.addCleanup(os.umask, mask)
        self.assertEqual(self.make().bind(), f"ipc://{self.path}")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)
        self.socket.refusal = zmq.ZMQError(errno.EADDRINUSE)
        self.assertRaises(BindError, self.make("tcp://127.0.0.1:1").bind)
        self.assertEqual(os.umask(0o022), 0o022)

    def test_removed(self) -> None:
        """The file is removed; a second removal does nothing."""
        binding = self.make()
        binding.bind()
        self.socket.close()
        binding.remove()
        self.assertFalse(self.path.exists())
        binding.remove()

    def test_stale(self) -> None:
        """A socket on which no process listens is replaced."""
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(self.path))
        left.close()
        self.make().bind()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.path))

    def test_live(self) -> None:
        """A socket on which a process listens is refused, and left alone."""
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(self.path))
            other.listen()
            self.refused("another process listens there")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.path))

    def test_otherFile(self) -> None:
        """A file that is not a socket is refused, and left alone."""
        self.path.write_text("precious")
        self.refused("the path exists and is not a socket")
        self.assertEqual(self.path.read_text(), "precious")

    def test_link(self) -> None:
        """A link is refused, and left alone."""
        (self.root / "other").write_text("precious")
        self.path.symlink_to(self.root / "other")
        self.refused("the path exists and is not a socket")
        self.assertTrue(self.path.is_symlink())

    def test_refusedNotRemoved(self) -> None:
        """A file that could not be bound is not removed."""
        self.path.write_text("precious")
        binding = self.make()
        self.assertRaises(BindError, binding.bind)
        binding.remove()
        self.assertTrue(self.path.exists())

    def test_noDirectory(self) -> None:
        """A path through a file is a BindError, not a traceback."""
        self.path = self.root / "file" / "frontend"
        (self.root / "file").write_text("")
        self.refused(os.strerror(errno.ENOTDIR))
