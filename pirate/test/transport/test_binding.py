# -*- test-case-name: pirate.test.transport.test_binding -*-
"""One endpoint, bound with care: a stand-in for the ZeroMQ socket, but real files."""

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
    """A ZeroMQ socket that binds UNIX sockets, and says that it has bound what it is asked to on TCP."""

    def __init__(self) -> None:
        self.ipv6 = False
        self.last_endpoint = b""
        self.refusal: zmq.ZMQError | None = None
        self.listening: list[socket.socket] = []

    def bind(self, endpoint: str) -> None:
        """Bind, or not."""
        if self.refusal is not None:
            raise self.refusal
        self.last_endpoint = endpoint.replace("*", "50000").encode()
        if endpoint.startswith("ipc://"):
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(endpoint.removeprefix("ipc://"))
            listening.listen()
            self.listening.append(listening)

    def close(self) -> None:
        """Listen no more; the file stays."""
        for each in self.listening:
            each.close()


class BindingTests(SynchronousTestCase):
    """What is bound, what is refused, and what is left."""

    def setUp(self) -> None:
        # Short enough for the path of a UNIX socket, which that of a test's own directory may not be.
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.path = self.root / "frontend"
        self.socket = Socket()
        self.addCleanup(self.socket.close)

    def make(self, endpoint: str = "") -> Binding:
        """The binding of an endpoint, or of the UNIX socket of the test."""
        return Binding(self.socket, "frontend", endpoint or f"ipc://{self.path}")

    def refused(self, reason: str) -> None:
        """The test's UNIX socket cannot be bound."""
        error = self.assertRaises(BindError, self.make().bind)
        self.assertEqual(str(error), f"frontend ipc://{self.path}: {reason}")

    def test_port(self) -> None:
        """A free port is reported as the one that it is."""
        self.assertEqual(self.make("tcp://127.0.0.1:*").bind(), "tcp://127.0.0.1:50000")
        self.assertFalse(self.socket.ipv6)

    def test_ipv6(self) -> None:
        """IPv6 is for addresses of IPv6."""
        self.make("tcp://[::1]:*").bind()
        self.assertTrue(self.socket.ipv6)

    def test_inUse(self) -> None:
        """A refusal of the system names the side, the endpoint and the reason, shortly."""
        self.socket.refusal = zmq.ZMQError(errno.EADDRINUSE)
        error = self.assertRaises(BindError, self.make("tcp://127.0.0.1:6660").bind)
        self.assertEqual(str(error), f"frontend tcp://127.0.0.1:6660: {os.strerror(errno.EADDRINUSE)}")
        self.assertLess(len(f"pirate: {error}"), 100)

    def test_mode(self) -> None:
        """A UNIX socket is the owner's alone; the process's umask is as before, also after a refusal."""
        mask = os.umask(0o022)
        self.addCleanup(os.umask, mask)
        self.assertEqual(self.make().bind(), f"ipc://{self.path}")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)
        self.socket.refusal = zmq.ZMQError(errno.EADDRINUSE)
        self.assertRaises(BindError, self.make("tcp://127.0.0.1:1").bind)
        self.assertEqual(os.umask(0o022), 0o022)

    def test_removed(self) -> None:
        """The file is removed afterwards, once; it may have gone already."""
        binding = self.make()
        binding.bind()
        self.socket.close()
        binding.remove()
        self.assertFalse(self.path.exists())
        binding.remove()

    def test_stale(self) -> None:
        """A socket that nobody listens on any more is replaced."""
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(self.path))
        left.close()
        self.make().bind()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.path))

    def test_live(self) -> None:
        """A socket on which somebody listens is refused, and left alone."""
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(self.path))
            other.listen()
            self.refused("another server listens there")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.path))

    def test_otherFile(self) -> None:
        """A file that is no socket is refused, and left alone."""
        self.path.write_text("precious")
        self.refused("there is a file that is not a socket")
        self.assertEqual(self.path.read_text(), "precious")

    def test_link(self) -> None:
        """So is a link, wherever it leads."""
        (self.root / "other").write_text("precious")
        self.path.symlink_to(self.root / "other")
        self.refused("there is a file that is not a socket")
        self.assertTrue(self.path.is_symlink())

    def test_refusedNotRemoved(self) -> None:
        """What we could not bind is not ours to remove."""
        self.path.write_text("precious")
        binding = self.make()
        self.assertRaises(BindError, binding.bind)
        binding.remove()
        self.assertTrue(self.path.exists())

    def test_noDirectory(self) -> None:
        """A directory that is a file is refused by name, not by a traceback."""
        self.path = self.root / "file" / "frontend"
        (self.root / "file").write_text("")
        self.refused(os.strerror(errno.ENOTDIR))
